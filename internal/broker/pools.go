package broker

import (
	"slipstream/protocol"
)

// keptParts is the largest request whose memory a pooled op keeps: a consumer of a
// thousand partitions, and what append rounds that up to.
const keptParts = 1536

// Produce and fetch ops are pooled per core, so that a request in steady state
// allocates nothing. A pool grows to the most requests that were ever in flight,
// which the connections' limits bound.

func (s *Shard) takeProduce() *produceOp {
	op := s.freeProduce
	if op == nil {
		return &produceOp{home: s}
	}
	s.freeProduce, op.next = op.next, nil
	return op
}

func (s *Shard) putProduce(op *produceOp) {
	for i := range op.parts {
		p := &op.parts[i]
		// Everything but the intrusive state that storage keeps in append.
		*p = producePart{}
	}
	if cap(op.parts) > keptParts {
		op.parts = nil
	}
	op.req = nil
	op.times = produceTimes{}
	op.clientID, op.accounted, op.throttleMillis = nil, false, 0
	op.decoded = protocol.ProduceRequest{}
	op.next = s.freeProduce
	s.freeProduce = op
}

func (s *Shard) takeFetch() *fetchOp {
	op := s.freeFetch
	if op == nil {
		op = &fetchOp{home: s, visits: make([]fetchVisit, len(s.broker.shards))}
		for i := range op.visits {
			v := &op.visits[i]
			v.op, v.owner, v.cancel.visit = op, s.broker.shards[i], v
		}
		return op
	}
	s.freeFetch, op.next = op.next, nil
	return op
}

func (s *Shard) putFetch(op *fetchOp) {
	s.fetching.remove(op)
	for i := range op.parts {
		op.parts[i].at.Release()
		op.parts[i].lookup = nil
		op.parts[i].emptyAborted()
	}
	op.parts, op.asked, op.clientID, op.missed = op.parts[:0], op.asked[:0], nil, 0
	for i := range op.visits {
		op.visits[i].parts = op.visits[i].parts[:0]
		if cap(op.visits[i].parts) > keptParts {
			op.visits[i].parts = nil
		}
	}
	if cap(op.parts) > keptParts {
		op.parts, op.asked = nil, nil
	}
	op.req, op.session, op.sessionID, op.sessionCode = nil, nil, noSession, protocol.NONE
	op.chosen, op.expired, op.woken, op.waits = false, false, false, false
	op.topicGroups, op.headerBytes, op.throttleMillis = 0, 0, 0
	op.next = s.freeFetch
	s.freeFetch = op
}

// retryUnanswered tries those once more whose response found the arena full; where
// there still is no room they queue up again, and are in nobody's way.
func (s *Shard) retryUnanswered() {
	for calls := s.unsent.take(); calls.head != nil; {
		if c := calls.pop(); !c.send(c.waiting) {
			s.unsent.push(c)
		}
	}
	for produces := s.unansweredProduce.take(); produces.head != nil; {
		s.finishProduce(produces.pop())
	}
	for fetches := s.unansweredFetch.take(); fetches.head != nil; {
		fetches.pop().respond()
	}
}
