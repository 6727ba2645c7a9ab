package broker

import (
	"slipstream/internal/share"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ReadShareGroupStateSummary (87), versions 0-1 (KIP-932): where share-partitions begin.
//
// No departures from Kafka.

func (s *Shard) serveReadShareGroupStateSummary(c *call) {
	req := c.body.(*kmsg.ReadShareGroupStateSummaryRequest)
	resp := kmsg.NewPtrReadShareGroupStateSummaryResponse()
	w := s.newShareStates(req.GroupID, func() { c.reply(resp) })
	for _, t := range req.Topics {
		rt := kmsg.NewReadShareGroupStateSummaryResponseTopic()
		rt.TopicID, rt.Partitions = t.TopicID, make([]kmsg.ReadShareGroupStateSummaryResponseTopicPartition, len(t.Partitions))
		resp.Topics = append(resp.Topics, rt)
		for i := range t.Partitions {
			p, out := &t.Partitions[i], &rt.Partitions[i]
			out.Partition = p.Partition
			w.ask(share.Request{Action: share.ReadSummary, Key: share.Key{Topic: t.TopicID, Partition: p.Partition}, LeaderEpoch: p.LeaderEpoch}, func(r share.Result) {
				out.ErrorCode, out.ErrorMessage = stateError(r)
				if r.Code != protocol.NONE {
					return
				}
				out.StateEpoch, out.LeaderEpoch, out.StartOffset = r.State.StateEpoch, r.State.LeaderEpoch, r.State.StartOffset
				out.DeliveryCompleteCount = r.State.DeliveryCompleteCount
			})
		}
	}
	w.start()
}
