package broker

import (
	"slipstream/internal/share"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReadShareGroupState (84), version 0 (KIP-932): what is kept of share-partitions.
//
// No departures from Kafka.

func (s *Shard) serveReadShareGroupState(c *call) {
	req := c.body.(*kmsg.ReadShareGroupStateRequest)
	resp := kmsg.NewPtrReadShareGroupStateResponse()
	w := s.newShareStates(req.GroupID, func() { c.reply(resp) })
	for _, t := range req.Topics {
		rt := kmsg.NewReadShareGroupStateResponseTopic()
		rt.TopicID, rt.Partitions = t.TopicID, make([]kmsg.ReadShareGroupStateResponseTopicPartition, len(t.Partitions))
		resp.Topics = append(resp.Topics, rt)
		for i := range t.Partitions {
			p, out := &t.Partitions[i], &rt.Partitions[i]
			out.Partition = p.Partition
			w.ask(share.Request{Action: share.Read, Key: share.Key{Topic: t.TopicID, Partition: p.Partition}, LeaderEpoch: p.LeaderEpoch}, func(r share.Result) {
				out.ErrorCode, out.ErrorMessage = stateError(r)
				if r.Code != protocol.NONE {
					return
				}
				out.StateEpoch, out.StartOffset = r.State.StateEpoch, r.State.StartOffset
				for _, b := range r.State.Batches {
					out.StateBatches = append(out.StateBatches, kmsg.ReadShareGroupStateResponseTopicPartitionStateBatch{
						FirstOffset: b.First, LastOffset: b.Last, DeliveryState: int8(b.State), DeliveryCount: b.DeliveryCount,
					})
				}
			})
		}
	}
	w.start()
}
