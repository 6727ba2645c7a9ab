package txn

import (
	"math"

	"slipstream/protocol"
)

// InitProducerID asks for a producer id and epoch: the client's own from then on,
// everyone else who has used the transactional id is fenced.
type InitProducerID struct {
	TransactionalID string
	TimeoutMillis   int32
	// ProducerID and ProducerEpoch are what a client that recovers believes to have
	// (KIP-360); both are -1 if it begins.
	ProducerID    int64
	ProducerEpoch int16
}

// expects says whether the client has a producer already.
func (r *InitProducerID) expects() bool { return r.ProducerID != -1 }

// exhaustedEpoch is the last epoch that a client may be given: the one after it is left for fencing.
const exhaustedEpoch = math.MaxInt16 - 1

// InitProducerID answers with the producer to use. If a transaction of an earlier
// user of the id is ongoing it is aborted first, and the answer is
// CONCURRENT_TRANSACTIONS until that is done.
func (c *Coordinator) InitProducerID(nowMillis int64, tag Tag, r InitProducerID) {
	if code := c.refusesInit(&r); code != protocol.NONE {
		c.refuse(tag, code)
		return
	}
	then := c.unlessRefused(tag, func(nowMillis int64) { c.InitProducerID(nowMillis, tag, r) })
	t := c.byID[r.TransactionalID]
	if t == nil {
		producerID, ok := c.takeID(then)
		if !ok {
			return
		}
		t = c.add(r.TransactionalID)
		t.producerID, t.timeoutMillis, t.updateMillis = producerID, r.TimeoutMillis, nowMillis
	}
	switch {
	case t.pending != noState:
		c.refuse(tag, protocol.CONCURRENT_TRANSACTIONS)
	case r.expects() && !t.knows(&r):
		c.refuse(tag, protocol.PRODUCER_FENCED)
	case t.state.ending():
		c.refuse(tag, protocol.CONCURRENT_TRANSACTIONS)
	case t.state == Ongoing:
		c.fence(nowMillis, t, answer{tag, tryAgainLater}, then)
	default:
		c.initialize(nowMillis, t, tag, &r, then)
	}
}

// RefusesInit says what is wrong with a request whoever the coordinator is; NONE: nothing.
func (c Config) RefusesInit(r *InitProducerID) protocol.ErrorCode {
	switch {
	case (r.ProducerID == -1) != (r.ProducerEpoch == -1), r.TransactionalID == "":
		return protocol.INVALID_REQUEST
	case r.TimeoutMillis <= 0 || r.TimeoutMillis > c.MaxTimeoutMillis:
		return protocol.INVALID_TRANSACTION_TIMEOUT
	}
	return protocol.NONE
}

func (c *Coordinator) refusesInit(r *InitProducerID) protocol.ErrorCode {
	if code := c.config.RefusesInit(r); code != protocol.NONE || c.loaded {
		return code
	}
	return protocol.COORDINATOR_LOAD_IN_PROGRESS
}

// knows says whether the client's producer may be the id's. Its epoch is looked at later, but for a producer
// whose epochs had run out: then the client may not have heard of the new one.
func (t *transaction) knows(r *InitProducerID) bool {
	return t.producerEpoch == -1 || r.ProducerID == t.producerID ||
		r.ProducerID == t.previousProducerID && r.ProducerEpoch >= exhaustedEpoch
}

// initialize gives the client the next epoch, or a new producer id if there is none.
func (c *Coordinator) initialize(nowMillis int64, t *transaction, tag Tag, r *InitProducerID, then again) {
	to := t.next(Empty, nowMillis)
	to.timeoutMillis, to.partitions, to.startMillis = r.TimeoutMillis, nil, -1
	current := !r.expects() || r.ProducerEpoch == t.producerEpoch
	switch {
	case t.producerEpoch >= exhaustedEpoch && current:
		producerID, ok := c.takeID(then)
		if !ok {
			return
		}
		to.producerID, to.producerEpoch, to.lastProducerEpoch = producerID, 0, -1
		if r.expects() {
			to.lastProducerEpoch = t.producerEpoch
		}
	case t.producerEpoch >= exhaustedEpoch:
		c.refuse(tag, protocol.UNKNOWN_SERVER_ERROR)
		return
	case current || t.producerEpoch == -1:
		to.producerEpoch, to.lastProducerEpoch = t.producerEpoch+1, -1
		if r.expects() {
			to.lastProducerEpoch = t.producerEpoch
		}
	case r.ProducerEpoch != t.lastProducerEpoch:
		c.refuse(tag, protocol.PRODUCER_FENCED)
		return
	}
	// What is left is a client that did not get our answer: it is given the same again.
	c.write(nowMillis, t, to, answer{tag, withProducer})
}

// next is what t has now, in another state.
func (t *transaction) next(s State, nowMillis int64) meta {
	to := t.meta
	to.state, to.updateMillis, to.previousProducerID = s, nowMillis, t.producerID
	return to
}

// fence aborts t's transaction in the coordinator's own name, with an epoch that the producer does not have. It
// returns false if that has to wait for a producer id, and then goes on.
func (c *Coordinator) fence(nowMillis int64, t *transaction, a answer, then again) bool {
	if c.config.Version >= 2 {
		return c.end(nowMillis, t, ending{PrepareAbort, 2, false}, a, then)
	}
	if !t.failedFence && t.producerEpoch < math.MaxInt16 {
		t.producerEpoch++
	}
	t.lastProducerEpoch, t.fencing = -1, true
	return c.end(nowMillis, t, ending{PrepareAbort, 0, false}, a, then)
}
