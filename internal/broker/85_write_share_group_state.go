package broker

import (
	"slipstream/internal/share"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// WriteShareGroupState (85), versions 0-1 (KIP-932): what has changed of share-partitions.
//
// Departures from Kafka: batches that are out of order, overlap or are in a state that
// is not kept are refused, which Kafka keeps as they are.

func (s *Shard) serveWriteShareGroupState(c *call) {
	req := c.body.(*kmsg.WriteShareGroupStateRequest)
	resp := kmsg.NewPtrWriteShareGroupStateResponse()
	w := s.newShareStates(req.GroupID, func() { c.reply(resp) })
	for _, t := range req.Topics {
		rt := kmsg.NewWriteShareGroupStateResponseTopic()
		rt.TopicID, rt.Partitions = t.TopicID, make([]kmsg.WriteShareGroupStateResponseTopicPartition, len(t.Partitions))
		resp.Topics = append(resp.Topics, rt)
		for i := range t.Partitions {
			p, out := &t.Partitions[i], &rt.Partitions[i]
			out.Partition = p.Partition
			w.ask(share.Request{Action: share.WriteState, Key: share.Key{Topic: t.TopicID, Partition: p.Partition}, StateEpoch: p.StateEpoch, LeaderEpoch: p.LeaderEpoch,
				StartOffset: p.StartOffset, DeliveryCompleteCount: p.DeliveryCompleteCount, Batches: stateBatches(p.StateBatches)}, func(r share.Result) {
				out.ErrorCode, out.ErrorMessage = stateError(r)
			})
		}
	}
	w.start()
}

func stateBatches(in []kmsg.WriteShareGroupStateRequestTopicPartitionStateBatch) []share.StateBatch {
	out := make([]share.StateBatch, len(in))
	for i, b := range in {
		out[i] = share.StateBatch{First: b.FirstOffset, Last: b.LastOffset, State: share.RecordState(b.DeliveryState), DeliveryCount: b.DeliveryCount}
	}
	return out
}
