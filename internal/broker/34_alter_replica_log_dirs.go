package broker

import (
	"slices"

	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterReplicaLogDirs (34), versions 1-2.
//
// Departures from Kafka: a partition is not moved between directories while it is
// served: that is refused with INVALID_REQUEST. It is moved with the broker
// stopped, by moving its directory.

func (s *Shard) serveAlterReplicaLogDirs(c *call) {
	req := c.body.(*kmsg.AlterReplicaLogDirsRequest)
	resp := kmsg.NewPtrAlterReplicaLogDirsResponse()
	at := map[string]int{} // of the topics in the answer
	for i := range req.Dirs {
		d := &req.Dirs[i]
		for j := range d.Topics {
			asked := &d.Topics[j]
			t := s.image.TopicByName(asked.Topic)
			for _, n := range asked.Partitions {
				p := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				p.Partition = n
				p.ErrorCode = int16(s.mayMove(t, n, d.Dir))
				k, ok := at[asked.Topic]
				if !ok {
					k = len(resp.Topics)
					at[asked.Topic] = k
					out := kmsg.NewAlterReplicaLogDirsResponseTopic()
					out.Topic = asked.Topic
					resp.Topics = append(resp.Topics, out)
				}
				resp.Topics[k].Partitions = append(resp.Topics[k].Partitions, p)
			}
		}
	}
	c.reply(resp)
}

// mayMove says whether a partition may be where it is wanted: where it is.
func (s *Shard) mayMove(t *metadata.Topic, partition int32, dir string) protocol.ErrorCode {
	i := slices.IndexFunc(s.broker.dirs, func(d *logDir) bool { return d.abs == dir })
	switch {
	case i < 0:
		return protocol.LOG_DIR_NOT_FOUND
	case s.offline[i]:
		return protocol.KAFKA_STORAGE_ERROR
	case t == nil || t.Partition(partition) == nil:
		return protocol.UNKNOWN_TOPIC_OR_PARTITION
	}
	p := t.Partition(partition)
	at := slices.Index(p.Replicas, s.broker.nodeID)
	if len(s.broker.dirs) > 1 && (at < 0 || at >= len(p.Directories) || p.Directories[at] != s.broker.dirs[i].id()) {
		return protocol.INVALID_REQUEST
	}
	return protocol.NONE
}
