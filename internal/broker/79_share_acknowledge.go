package broker

import (
	"slipstream/internal/share"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ShareAcknowledge (79), versions 1-2 (KIP-932, KIP-1222). It is answered when what it
// says is in the log.
//
// No departures from Kafka.

func (s *Shard) serveShareAcknowledge(c *call) {
	req := c.body.(*kmsg.ShareAcknowledgeRequest)
	op := s.newShareOp(c, req.GroupID, req.MemberID)
	op.then = (*shareFetchOp).respondAcknowledge
	switch {
	case !s.shareGroupsEnabled():
		op.code = protocol.UNSUPPORTED_VERSION
	case req.GroupID == nil || req.MemberID == nil || !share.ValidMemberID(*req.MemberID):
		op.code = protocol.INVALID_REQUEST
	}
	if op.code != protocol.NONE {
		op.then(op)
		return
	}
	r := &shareSessionRequest{key: op.member, epoch: req.ShareSessionEpoch, on: c.req.Conn}
	s.askSession(r, func() {
		if op.code = r.code; op.code != protocol.NONE {
			op.then(op)
			return
		}
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[j]
				batches := make([]share.AcknowledgementBatch, len(p.AcknowledgementBatches))
				for n, b := range p.AcknowledgementBatches {
					batches[n] = share.AcknowledgementBatch{First: b.FirstOffset, Last: b.LastOffset, Types: b.AcknowledgeTypes}
				}
				op.addPart(share.TopicPartition{Topic: req.Topics[i].TopicID, Partition: p.Partition}).acknowledgeBy(batches, req.IsRenewAck)
			}
		}
		op.assign()
		if r.epoch == share.FinalEpoch {
			op.acks++ // until what the member has is given back
		}
		op.start()
		if r.epoch == share.FinalEpoch {
			s.shares.releaseAll(op.member, r.partitions, op.acknowledged)
		}
	})
}

// respondAcknowledge sends the answer to a ShareAcknowledge.
func (op *shareFetchOp) respondAcknowledge() {
	resp := kmsg.NewPtrShareAcknowledgeResponse()
	resp.ErrorCode = int16(op.code)
	if op.message != "" {
		resp.ErrorMessage = &op.message
	}
	if op.version >= 2 {
		resp.AcquisitionLockTimeoutMillis = op.lockMillis()
	}
	at := make(map[protocol.UUID]int)
	for i := range op.parts {
		p := &op.parts[i]
		k, ok := at[p.key.topic]
		if !ok {
			k = len(resp.Topics)
			at[p.key.topic] = k
			t := kmsg.NewShareAcknowledgeResponseTopic()
			t.TopicID = p.key.topic
			resp.Topics = append(resp.Topics, t)
		}
		rp := kmsg.NewShareAcknowledgeResponseTopicPartition()
		rp.Partition, rp.ErrorCode = p.key.partition, int16(p.ackCode)
		if text := p.ackText(); text != "" {
			rp.ErrorMessage = &text
		}
		resp.Topics[k].Partitions = append(resp.Topics[k].Partitions, rp)
	}
	op.c.reply(resp)
}
