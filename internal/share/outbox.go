package share

import "slipstream/protocol"

// batchOverhead and recordOverhead are what a batch and a record weigh beside keys and
// values, at most.
const (
	batchOverhead  = 61
	recordOverhead = 21
)

// held is a result that waits for a batch.
type held struct {
	Result
	seq uint64
}

// outbox is what a coordinator has to say.
type outbox struct {
	open      []RawRecord // of the batch seq, which is still growing
	size      int
	seq       uint64 // of the newest batch
	committed uint64 // every batch up to here is in the log
	closed    []Batch
	held      []held
	ready     []Result

	batches []Batch // the memory of Ready
	results []Result
}

// append puts a record into the open batch and returns that batch's number.
func (c *Coordinator) append(r RawRecord) uint64 {
	o := &c.out
	size := len(r.Key) + len(r.Value) + recordOverhead
	if len(o.open) > 0 && o.size+size > c.settings.MaxBatchBytes-batchOverhead {
		c.closeBatch()
	}
	if len(o.open) == 0 {
		o.seq++
		o.size = 0
	}
	o.open = append(o.open, r)
	o.size += size
	c.position++
	return o.seq
}

func (c *Coordinator) closeBatch() {
	o := &c.out
	if len(o.open) > 0 {
		o.closed = append(o.closed, Batch{Seq: o.seq, Records: o.open})
		o.open = nil
	}
}

// answer gives a result once everything that has been written so far is in the log: a
// state that is read must not be ahead of it.
func (c *Coordinator) answer(r Request, result Result) {
	o := &c.out
	result.Token = r.Token
	if o.seq == o.committed {
		o.ready = append(o.ready, result)
	} else {
		o.held = append(o.held, held{result, o.seq})
	}
}

func (c *Coordinator) refuse(r Request, code protocol.ErrorCode, message string) {
	c.out.ready = append(c.out.ready, Result{Token: r.Token, Code: code, Message: message})
}

// Ready hands out what there is to do: all batches, and at most max results.
func (c *Coordinator) Ready(max int) Ready {
	o := &c.out
	c.closeBatch()
	o.batches, o.closed = o.closed, o.batches[:0]
	clear(o.results)
	n := min(max, len(o.ready))
	o.results = append(o.results[:0], o.ready[:n]...)
	rest := copy(o.ready, o.ready[n:])
	clear(o.ready[rest:])
	o.ready = o.ready[:rest]
	r := Ready{Batches: o.batches, Results: o.results, More: rest > 0 || c.phase == active && len(c.removed) > 0}
	if c.phase == active {
		r.DeadlineMillis = c.coldAt
	}
	return r
}

// Committed says that the batch seq is in the log. Batches are reported in order.
func (c *Coordinator) Committed(nowMillis int64, seq uint64) {
	c.now = max(c.now, nowMillis)
	o := &c.out
	if c.phase == failed || seq <= o.committed {
		return
	}
	o.committed = seq
	kept := o.held[:0]
	for _, h := range o.held {
		if h.seq <= seq {
			o.ready = append(o.ready, h.Result)
		} else {
			kept = append(kept, h)
		}
	}
	clear(o.held[len(kept):])
	o.held = kept
}

// Failed says that the batch seq is not in the log and never will be, and why: who
// waits is told, and the coordinator is to be made anew (Unfinished).
func (c *Coordinator) Failed(nowMillis int64, seq uint64, code protocol.ErrorCode) {
	c.now = max(c.now, nowMillis)
	if c.phase == failed || seq <= c.out.committed {
		return
	}
	c.phase = failed
	c.refuseHeld(appendError(code))
}

func (c *Coordinator) refuseHeld(code protocol.ErrorCode) {
	o := &c.out
	for _, h := range o.held {
		o.ready = append(o.ready, Result{Token: h.Token, Code: code})
	}
	o.held, o.closed, o.open = nil, nil, nil
}

// appendError is what is told when the log could not be written.
func appendError(code protocol.ErrorCode) protocol.ErrorCode {
	switch code {
	case protocol.UNKNOWN_TOPIC_OR_PARTITION, protocol.NOT_ENOUGH_REPLICAS, protocol.REQUEST_TIMED_OUT:
		return protocol.COORDINATOR_NOT_AVAILABLE
	case protocol.NOT_LEADER_OR_FOLLOWER, protocol.KAFKA_STORAGE_ERROR:
		return protocol.NOT_COORDINATOR
	case protocol.MESSAGE_TOO_LARGE, protocol.RECORD_LIST_TOO_LARGE:
		return protocol.UNKNOWN_SERVER_ERROR
	}
	return code
}
