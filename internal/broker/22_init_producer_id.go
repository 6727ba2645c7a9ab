package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId (22), versions 0-5, for idempotent producers.
//
// Ids come in blocks of 1,000 from the metadata log (ProducerIdsRecord), one
// block to a core at a time, so an id is given out once, ever: what a core had
// left of its block is lost at a restart, as in Kafka.
// Departures from Kafka: a transactional id is refused with
// TRANSACTIONAL_ID_AUTHORIZATION_FAILED until transactions are served.

// producerIDs is a core's block of producer ids.
type producerIDs struct {
	next, end int64
	asked     bool
	waiting   []*call
}

func (s *Shard) serveInitProducerID(c *call) {
	req := c.body.(*kmsg.InitProducerIDRequest)
	if req.TransactionalID != nil {
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.ErrorCode = int16(protocol.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
		if *req.TransactionalID == "" {
			resp.ErrorCode = int16(protocol.INVALID_REQUEST)
		}
		resp.ProducerID, resp.ProducerEpoch = -1, -1
		c.reply(resp)
		return
	}
	if (req.ProducerID == -1) != (req.ProducerEpoch == -1) {
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.ErrorCode = int16(protocol.INVALID_REQUEST)
		resp.ProducerID, resp.ProducerEpoch = -1, -1
		c.reply(resp)
		return
	}
	s.producerIDs.waiting = append(s.producerIDs.waiting, c)
	s.giveProducerIDs()
}

// giveProducerIDs answers who waits, from the block, and asks for the next block
// when there is none.
func (s *Shard) giveProducerIDs() {
	ids := &s.producerIDs
	for len(ids.waiting) > 0 && ids.next < ids.end {
		c := ids.waiting[0]
		ids.waiting = ids.waiting[1:]
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.ProducerID, resp.ProducerEpoch = ids.next, 0
		ids.next++
		c.reply(resp)
	}
	if len(ids.waiting) == 0 || ids.asked {
		return
	}
	ids.asked = true
	var first int64
	var count int32
	var refusal *metadata.Refusal
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		first, count, records, refusal = ctl.AllocateProducerIDs()
		return records
	}, func(code protocol.ErrorCode) {
		ids.asked = false
		if refusal != nil {
			code = refusal.Code
		}
		if code != protocol.NONE {
			s.refuseProducerIDs(code)
			return
		}
		ids.next, ids.end = first, first+int64(count)
		s.giveProducerIDs()
	})
}

func (s *Shard) refuseProducerIDs(code protocol.ErrorCode) {
	waiting := s.producerIDs.waiting
	s.producerIDs.waiting = nil
	for _, c := range waiting {
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.ErrorCode = int16(code)
		resp.ProducerID, resp.ProducerEpoch = -1, -1
		c.reply(resp)
	}
}
