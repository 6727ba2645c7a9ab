package broker

import (
	"slices"
	"strings"

	"slipstream/protocol"
	"slipstream/reactor"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeLogDirs (35), versions 1-5: the data directories, the sizes of their
// partitions' segments, and of their file systems. One that is out of service has
// KAFKA_STORAGE_ERROR and nothing else, as in Kafka.

// logDirsCall is such a request on its way: each core says how large its partitions
// are, then a helper asks the file system.
type logDirsCall struct {
	call  *call
	asked []logDirPart
	resp  *kmsg.DescribeLogDirsResponse

	offline []bool     // as of now
	spaces  []dirSpace // by logDir.index
}

// dirSpace is a directory's file system.
type dirSpace struct {
	total, usable int64
	err           error
}

// logDirPart is one partition that was asked for.
type logDirPart struct {
	topic string
	key   partitionKey
	dir   *logDir
	bytes int64 // -1: it is not there
}

func (s *Shard) serveDescribeLogDirs(c *call) {
	l := &logDirsCall{call: c, asked: s.partitionsInDir(c.body.(*kmsg.DescribeLogDirsRequest)), resp: kmsg.NewPtrDescribeLogDirsResponse(),
		offline: slices.Clone(s.offline)}
	sp := newSpread(s, func(owner *Shard, part int, done func()) {
		p := &l.asked[part]
		p.bytes = -1
		h := owner.hosted[p.key]
		if h == nil || h.log == nil {
			done()
			return
		}
		log := h.log
		log.Survey(func() { // soon after a start sizes are not known yet
			p.bytes, p.dir = log.Bytes(), h.dir
			done()
		})
	}, func() { s.core.Offload(l) })
	for i := range l.asked {
		sp.add(l.asked[i].key, i)
	}
	sp.start()
}

// partitionsInDir lists what a request asks for and there is, each once, by topic
// and partition.
func (s *Shard) partitionsInDir(req *kmsg.DescribeLogDirsRequest) (parts []logDirPart) {
	if req.Topics == nil {
		for _, t := range s.image.Topics() {
			for i := range t.Partitions {
				parts = append(parts, logDirPart{topic: t.Name, key: partitionKey{protocol.UUID(t.ID), t.Partitions[i].Index}})
			}
		}
		return parts
	}
	seen := map[partitionKey]bool{}
	for i := range req.Topics {
		t := s.image.TopicByName(req.Topics[i].Topic)
		if t == nil {
			continue
		}
		for _, n := range req.Topics[i].Partitions {
			key := partitionKey{protocol.UUID(t.ID), n}
			if t.Partition(n) != nil && !seen[key] {
				seen[key] = true
				parts = append(parts, logDirPart{topic: t.Name, key: key})
			}
		}
	}
	slices.SortFunc(parts, func(a, b logDirPart) int {
		if a.topic != b.topic {
			return strings.Compare(a.topic, b.topic)
		}
		return int(a.key.partition) - int(b.key.partition)
	})
	return parts
}

// Work implements reactor.Job.
func (l *logDirsCall) Work(k kernel) reactor.Message {
	dirs := l.call.shard.broker.dirs
	l.spaces = make([]dirSpace, len(dirs))
	for i, d := range dirs {
		if p := &l.spaces[i]; !l.offline[i] {
			p.total, p.usable, p.err = k.Space(d.path)
		}
	}
	return l
}

// Deliver implements reactor.Message: home again.
func (l *logDirsCall) Deliver(*reactor.Core) {
	for i, d := range l.call.shard.broker.dirs {
		l.resp.Dirs = append(l.resp.Dirs, l.describe(d, &l.spaces[i]))
	}
	l.call.reply(l.resp)
}

func (l *logDirsCall) describe(d *logDir, space *dirSpace) kmsg.DescribeLogDirsResponseDir {
	out := kmsg.NewDescribeLogDirsResponseDir()
	out.Dir = d.abs
	if l.offline[d.index] || space.err != nil {
		out.ErrorCode = int16(protocol.KAFKA_STORAGE_ERROR)
		return out
	}
	out.TotalBytes, out.UsableBytes = space.total, space.usable
	for i := range l.asked {
		p := &l.asked[i]
		if p.bytes < 0 || p.dir != d {
			continue
		}
		if n := len(out.Topics); n == 0 || out.Topics[n-1].Topic != p.topic {
			t := kmsg.NewDescribeLogDirsResponseDirTopic()
			t.Topic = p.topic
			out.Topics = append(out.Topics, t)
		}
		t := &out.Topics[len(out.Topics)-1]
		part := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		part.Partition, part.Size = p.key.partition, p.bytes
		t.Partitions = append(t.Partitions, part)
	}
	return out
}
