package broker

import (
	"slipstream/internal/share"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitializeShareGroupState (83), version 0 (KIP-932): begins the states of share-partitions.
//
// No departures from Kafka.

func (s *Shard) serveInitializeShareGroupState(c *call) {
	req := c.body.(*kmsg.InitializeShareGroupStateRequest)
	resp := kmsg.NewPtrInitializeShareGroupStateResponse()
	w := s.newShareStates(req.GroupID, func() { c.reply(resp) })
	for _, t := range req.Topics {
		rt := kmsg.NewInitializeShareGroupStateResponseTopic()
		rt.TopicID, rt.Partitions = t.TopicID, make([]kmsg.InitializeShareGroupStateResponseTopicPartition, len(t.Partitions))
		resp.Topics = append(resp.Topics, rt)
		for i := range t.Partitions {
			p, out := &t.Partitions[i], &rt.Partitions[i]
			out.Partition = p.Partition
			w.ask(share.Request{Action: share.Initialize, Key: share.Key{Topic: t.TopicID, Partition: p.Partition}, StateEpoch: p.StateEpoch, StartOffset: p.StartOffset}, func(r share.Result) {
				out.ErrorCode, out.ErrorMessage = stateError(r)
			})
		}
	}
	w.start()
}
