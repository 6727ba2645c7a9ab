package broker

import (
	"slices"
	"strings"

	"slipstream/protocol"
	"slipstream/reactor"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeLogDirs (35), versions 1-5: the data directory, the size of its
// partitions' segments, and of its file system.

// logDirsCall is such a request on its way: each core says how large its partitions
// are, then a helper asks the file system.
type logDirsCall struct {
	call  *call
	asked []logDirPart
	resp  *kmsg.DescribeLogDirsResponse

	total, usable int64
	err           error
}

// logDirPart is one partition that was asked for.
type logDirPart struct {
	topic string
	key   partitionKey
	bytes int64 // -1: it is not there
}

func (s *Shard) serveDescribeLogDirs(c *call) {
	l := &logDirsCall{call: c, asked: s.partitionsInDir(c.body.(*kmsg.DescribeLogDirsRequest)), resp: kmsg.NewPtrDescribeLogDirsResponse()}
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
			p.bytes = log.Bytes()
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
	l.total, l.usable, l.err = k.Space(l.call.shard.broker.dir)
	return l
}

// Deliver implements reactor.Message: home again.
func (l *logDirsCall) Deliver(*reactor.Core) {
	d := kmsg.NewDescribeLogDirsResponseDir()
	d.Dir, d.TotalBytes, d.UsableBytes = l.call.shard.broker.logDir, l.total, l.usable
	if l.err != nil {
		d.ErrorCode, d.TotalBytes, d.UsableBytes = int16(protocol.KAFKA_STORAGE_ERROR), -1, -1
	}
	for i := range l.asked {
		p := &l.asked[i]
		if p.bytes < 0 || l.err != nil {
			continue
		}
		if n := len(d.Topics); n == 0 || d.Topics[n-1].Topic != p.topic {
			t := kmsg.NewDescribeLogDirsResponseDirTopic()
			t.Topic = p.topic
			d.Topics = append(d.Topics, t)
		}
		t := &d.Topics[len(d.Topics)-1]
		out := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		out.Partition, out.Size = p.key.partition, p.bytes
		t.Partitions = append(t.Partitions, out)
	}
	l.resp.Dirs = append(l.resp.Dirs, d)
	l.call.reply(l.resp)
}
