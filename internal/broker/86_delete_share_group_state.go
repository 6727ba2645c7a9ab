package broker

import (
	"slipstream/internal/share"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteShareGroupState (86), version 0 (KIP-932): forgets the states of share-partitions.
//
// No departures from Kafka.

func (s *Shard) serveDeleteShareGroupState(c *call) {
	req := c.body.(*kmsg.DeleteShareGroupStateRequest)
	resp := kmsg.NewPtrDeleteShareGroupStateResponse()
	w := s.newShareStates(req.GroupID, func() { c.reply(resp) })
	for _, t := range req.Topics {
		rt := kmsg.NewDeleteShareGroupStateResponseTopic()
		rt.TopicID, rt.Partitions = t.TopicID, make([]kmsg.DeleteShareGroupStateResponseTopicPartition, len(t.Partitions))
		resp.Topics = append(resp.Topics, rt)
		for i := range t.Partitions {
			p, out := &t.Partitions[i], &rt.Partitions[i]
			out.Partition = p.Partition
			w.ask(share.Request{Action: share.Delete, Key: share.Key{Topic: t.TopicID, Partition: p.Partition}}, func(r share.Result) {
				out.ErrorCode, out.ErrorMessage = stateError(r)
			})
		}
	}
	w.start()
}
