package broker

import (
	"slices"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterReplicaLogDirs (34), versions 1-2: there is one data directory, and every
// partition is in it already.

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
				switch {
				case !slices.ContainsFunc(s.broker.dirs, func(have *logDir) bool { return have.abs == d.Dir }):
					p.ErrorCode = int16(protocol.LOG_DIR_NOT_FOUND)
				case t == nil || t.Partition(n) == nil:
					p.ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
				}
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
