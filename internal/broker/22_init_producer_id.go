package broker

import (
	"slipstream/internal/metadata"
	"slipstream/internal/txn"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId (22), versions 0-5, for idempotent and for transactional producers.
//
// Ids come in blocks of 1,000 from the metadata log (ProducerIdsRecord), one
// block to a core at a time, so an id is given out once, ever: what a core had
// left of its block is lost at a restart, as in Kafka.
//
// Departures from Kafka: a request that has to wait for a block of ids does; Kafka
// answers COORDINATOR_LOAD_IN_PROGRESS.

// producerIDs is a core's block of producer ids.
type producerIDs struct {
	next, end int64
	asked     bool
	waiting   []func(id int64, code protocol.ErrorCode)
}

func (s *Shard) serveInitProducerID(c *call) {
	req := c.body.(*kmsg.InitProducerIDRequest)
	if req.TransactionalID != nil {
		s.initTransactional(c, req)
		return
	}
	if (req.ProducerID == -1) != (req.ProducerEpoch == -1) {
		c.replyProducer(txn.Response{Code: protocol.INVALID_REQUEST, ProducerID: -1, ProducerEpoch: -1})
		return
	}
	s.takeProducerID(func(id int64, code protocol.ErrorCode) {
		r := txn.Response{Code: code, ProducerID: id}
		if code != protocol.NONE {
			r.ProducerEpoch = -1
		}
		c.replyProducer(r)
	})
}

// initTransactional asks the coordinator of the transactional id.
func (s *Shard) initTransactional(c *call, req *kmsg.InitProducerIDRequest) {
	r := txn.OfInitProducerID(req)
	if code := s.transactionConfig.RefusesInit(&r); code != protocol.NONE {
		c.replyProducer(txn.Response{Code: code, ProducerID: -1, ProducerEpoch: -1})
		return
	}
	s.atTransaction(r.TransactionalID, func(to *txn.Coordinator, nowMillis int64, tag txn.Tag) {
		to.InitProducerID(nowMillis, tag, r)
	}, c.replyProducer)
}

func (c *call) replyProducer(r txn.Response) {
	c.reply(txn.InitProducerIDResponse(c.header.Version, r))
}

// takeProducerID gives take a producer id that nobody else has, or why there is none, now or later.
func (s *Shard) takeProducerID(take func(id int64, code protocol.ErrorCode)) {
	s.producerIDs.waiting = append(s.producerIDs.waiting, take)
	s.giveProducerIDs()
}

// giveProducerIDs answers who waits, from the block, and asks for the next block
// when there is none.
func (s *Shard) giveProducerIDs() {
	ids := &s.producerIDs
	for len(ids.waiting) > 0 && ids.next < ids.end {
		take, id := ids.waiting[0], ids.next
		ids.waiting = ids.waiting[1:]
		ids.next++
		take(id, protocol.NONE)
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
	for _, take := range waiting {
		take(-1, code)
	}
}
