package txn

import "slipstream/protocol"

// Committed says that the records of a Ready are in the log for good: what they say is true from here on, and
// whoever waited for it is answered.
func (c *Coordinator) Committed(nowMillis int64, append uint64) {
	written := c.inFlight[append]
	delete(c.inFlight, append)
	for _, t := range written {
		c.committed(nowMillis, t)
	}
}

func (c *Coordinator) committed(nowMillis int64, t *transaction) {
	a, begins := t.answer, t.state != Ongoing
	t.meta, t.pending, t.answer, t.fencing = t.to, noState, answer{}, false
	switch t.state {
	case Ongoing:
		if begins {
			c.Stats.Begun++
		}
	case PrepareCommit, PrepareAbort:
		switch a.kind {
		case tryAgainLater:
			c.Stats.Fenced++
		case toNobody:
			c.Stats.TimedOut++
		}
		c.complete(nowMillis, t)
	case CompleteCommit:
		c.Stats.Committed++
		c.release(t)
	case CompleteAbort:
		c.Stats.Aborted++
		c.release(t)
	case Dead:
		c.Stats.Expired++
		c.remove(t)
		return
	}
	c.answer(nowMillis, t, a)
	c.schedule(t)
}

// answer tells who waited for t's record.
func (c *Coordinator) answer(nowMillis int64, t *transaction, a answer) {
	r := Response{Tag: a.tag, ProducerID: -1, ProducerEpoch: -1}
	switch a.kind {
	case toNobody:
		return
	case withProducer:
		r.ProducerID, r.ProducerEpoch = t.producerID, t.producerEpoch
	case tryAgainLater:
		r.Code = protocol.CONCURRENT_TRANSACTIONS
	case toEndTxnWithNext:
		r.ProducerID, r.ProducerEpoch = t.to.producerID, t.to.producerEpoch
	}
	if (a.kind == toEndTxn || a.kind == toEndTxnWithNext) && c.config.SettleMillis > 0 {
		t.held, t.heldUntil = &r, nowMillis+c.config.SettleMillis
		return
	}
	c.respond(r)
}

// release sends the answer that was held back until the markers were written.
func (c *Coordinator) release(t *transaction) {
	if t.held != nil {
		c.respond(*t.held)
		t.held = nil
	}
}

// Failed says that the records of a Ready are not in the log and will not be, with storage's code. What they
// would have said is forgotten; who waited for it is told in Kafka's way that it may ask again.
func (c *Coordinator) Failed(nowMillis int64, append uint64, code protocol.ErrorCode) {
	written := c.inFlight[append]
	delete(c.inFlight, append)
	code = asCoordinator(code)
	c.Stats.FailedAppends++
	for _, t := range written {
		c.failed(nowMillis, t, code)
	}
}

func (c *Coordinator) failed(nowMillis int64, t *transaction, code protocol.ErrorCode) {
	if t.state.ending() {
		// The markers are written, and nobody else will write this: it has to be tried until it is there.
		t.retry = nowMillis + retryMillis
		c.schedule(t)
		return
	}
	a := t.answer
	t.failedFence = t.failedFence || t.fencing
	t.pending, t.answer, t.fencing = noState, answer{}, false
	t.notBefore = nowMillis + retryMillis
	if a.kind != toNobody {
		c.refuse(a.tag, code)
	}
	c.giveBack(t)
	if t.producerEpoch == -1 {
		c.remove(t) // it never was
		return
	}
	c.schedule(t)
}

// asCoordinator is what a client is told of a failed append: Kafka's TransactionStateManager.
func asCoordinator(code protocol.ErrorCode) protocol.ErrorCode {
	switch code {
	case protocol.UNKNOWN_TOPIC_OR_PARTITION, protocol.NOT_ENOUGH_REPLICAS, protocol.NOT_ENOUGH_REPLICAS_AFTER_APPEND, protocol.REQUEST_TIMED_OUT:
		return protocol.COORDINATOR_NOT_AVAILABLE
	case protocol.NOT_LEADER_OR_FOLLOWER, protocol.KAFKA_STORAGE_ERROR:
		return protocol.NOT_COORDINATOR
	case protocol.MESSAGE_TOO_LARGE, protocol.RECORD_LIST_TOO_LARGE:
		return protocol.UNKNOWN_SERVER_ERROR
	}
	return code
}
