package txn

import (
	"math"

	"slipstream/protocol"
)

// EndTxn commits or aborts a producer's transaction.
type EndTxn struct {
	TransactionalID string
	ProducerID      int64
	ProducerEpoch   int16
	Commit          bool
	Version         int16 // transaction.version that the client goes by: 0 or 2
}

func (r *EndTxn) complete() State {
	if r.Commit {
		return CompleteCommit
	}
	return CompleteAbort
}

// EndTxn answers once the outcome is in the log; the markers are written after that. From
// transaction.version 2 on every transaction has an epoch of its own, and the answer has the next one.
func (c *Coordinator) EndTxn(nowMillis int64, tag Tag, r EndTxn) {
	t, code := c.lookUp(r.TransactionalID)
	if code != protocol.NONE {
		c.refuse(tag, code)
		return
	}
	var do deed
	if r.Version >= 2 {
		do, code = t.endV2(&r)
	} else {
		do, code = t.endV1(&r)
	}
	switch do {
	case refuseIt:
		c.refuse(tag, code)
	case repeatAnswer:
		resp := Response{Tag: tag, ProducerID: -1, ProducerEpoch: -1}
		if r.Version >= 2 {
			resp.ProducerID, resp.ProducerEpoch = t.producerID, t.producerEpoch
		}
		c.respond(resp)
	case endIt, abortNothing:
		e := ending{PrepareAbort, r.Version, do == abortNothing}
		if r.Commit {
			e.state = PrepareCommit
		}
		a := answer{tag, toEndTxn}
		if r.Version >= 2 {
			a.kind = toEndTxnWithNext
		}
		c.end(nowMillis, t, e, a, c.unlessRefused(tag, func(nowMillis int64) { c.EndTxn(nowMillis, tag, r) }))
	}
}

// deed is what is to be done with an EndTxn.
type deed uint8

const (
	refuseIt     deed = iota
	endIt             // there is a transaction
	abortNothing      // there is none, as far as the coordinator knows: the epoch moves on all the same
	repeatAnswer      // it was done before, and the client has not heard of it
)

// endV1 judges an EndTxn below version 5. A retry looks like the request itself.
func (t *transaction) endV1(r *EndTxn) (deed, protocol.ErrorCode) {
	switch {
	case r.ProducerID != t.producerID:
		return refuseIt, protocol.INVALID_PRODUCER_ID_MAPPING
	case r.ProducerEpoch != t.producerEpoch:
		return refuseIt, protocol.PRODUCER_FENCED
	case t.pending != noState:
		return refuseIt, protocol.CONCURRENT_TRANSACTIONS
	case t.state == Ongoing:
		return endIt, protocol.NONE
	case t.state == r.complete():
		return repeatAnswer, protocol.NONE
	case t.state == PrepareCommit && r.Commit || t.state == PrepareAbort && !r.Commit:
		return refuseIt, protocol.CONCURRENT_TRANSACTIONS
	}
	return refuseIt, protocol.INVALID_TXN_STATE
}

// endV2 judges an EndTxn from version 5 on. Each transaction has its own epoch, so a retry has the one before
// the current; with the current epoch it is about the next transaction:
//
//	                 abort             abort      commit            commit
//	                 as a retry        current    as a retry        current
//	Empty            PRODUCER_FENCED   epoch + 1  PRODUCER_FENCED   INVALID_TXN_STATE
//	CompleteAbort    NONE              epoch + 1  INVALID_TXN_STATE INVALID_TXN_STATE
//	CompleteCommit   INVALID_TXN_STATE epoch + 1  NONE              INVALID_TXN_STATE
//
// A client may abort where there is nothing: what it sent to partitions may have failed before any of them
// asked to be added.
func (t *transaction) endV2(r *EndTxn) (deed, protocol.ErrorCode) {
	// The retry may be of a transaction in whose last epoch the producer id was changed.
	overflown := r.ProducerID == t.previousProducerID && r.ProducerEpoch == exhaustedEpoch && t.producerEpoch == 0
	retry := overflown || int32(t.producerEpoch) == int32(r.ProducerEpoch)+1
	valid := r.ProducerEpoch == t.producerEpoch
	switch {
	case t.state.ending():
		valid = retry && !overflown
	case t.state != Ongoing && t.state != Empty:
		valid = valid || retry
	}
	switch {
	case t.pending != noState:
		return refuseIt, protocol.CONCURRENT_TRANSACTIONS
	case r.ProducerID != t.producerID && !overflown:
		return refuseIt, protocol.INVALID_PRODUCER_ID_MAPPING
	case !valid:
		return refuseIt, protocol.PRODUCER_FENCED
	case t.state == Ongoing:
		return endIt, protocol.NONE
	case t.state == PrepareCommit && r.Commit || t.state == PrepareAbort && !r.Commit:
		return refuseIt, protocol.CONCURRENT_TRANSACTIONS
	case retry && t.state == r.complete():
		return repeatAnswer, protocol.NONE
	case retry || r.Commit || t.state.ending():
		return refuseIt, protocol.INVALID_TXN_STATE
	}
	return abortNothing, protocol.NONE
}

// ending says how a transaction ends.
type ending struct {
	state   State // PrepareCommit or PrepareAbort
	version int16 // transaction.version: from 2 on the epoch moves on
	nothing bool  // there was no transaction
}

// end writes the outcome of t's transaction: from then on nothing changes it. It returns false if that has to
// wait for a producer id, and then goes on.
func (c *Coordinator) end(nowMillis int64, t *transaction, e ending, a answer, then again) bool {
	to := t.next(e.state, nowMillis)
	to.clientVersion, to.nextProducerID = e.version, -1
	if e.nothing {
		to.startMillis = nowMillis
	}
	if e.version >= 2 {
		if t.producerEpoch >= exhaustedEpoch {
			producerID, ok := c.takeID(then)
			if !ok {
				return false
			}
			to.nextProducerID = producerID
		}
		to.lastProducerEpoch = t.producerEpoch
		if t.producerEpoch < math.MaxInt16 {
			to.producerEpoch++
		}
	}
	c.write(nowMillis, t, to, a)
	return true
}
