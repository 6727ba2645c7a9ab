package group

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// answer makes a response when it is its turn to be sent: a rebalance of a
// thousand members queues a thousand small answers, not a thousand responses.
type answer interface{ response() kmsg.Response }

// waiting is an answer with what it waits for.
type waiting struct {
	token uint64
	batch uint64 // the batch that must be committed
	body  kmsg.Response
	lazy  answer // in place of body
}

// outbox is what the coordinator has to say: batches and answers.
type outbox struct {
	open      *openBatch // still growing
	closed    []Batch    // not yet handed out
	inFlight  []flight   // handed out or about to be, by rising seq
	seq       uint64     // of the newest batch
	committed uint64     // every batch up to here is

	ready   []waiting // may be sent
	held    []waiting // wait for a batch
	batches []Batch   // the memory of Ready
	answers []Response
}

// flight is a batch on its way, and what happens when it has arrived.
type flight struct {
	seq  uint64
	done []func(c *Coordinator)                        // in order, when committed
	undo func(c *Coordinator, code protocol.ErrorCode) // of a batch that may fail alone
}

// openBatch is a batch that records are still put into.
type openBatch struct {
	seq     uint64
	size    int
	records []RawRecord
}

func (o *outbox) init() {}

// respond answers a request once what it says of g is committed; g nil: at once.
func (c *Coordinator) respond(g *group, r *Request, body kmsg.Response) {
	c.respondTo(g, r.Token, body)
}

func (c *Coordinator) respondTo(g *group, token uint64, body kmsg.Response) {
	c.enqueue(g, waiting{token: token, body: body})
}

func (c *Coordinator) enqueue(g *group, w waiting) {
	if g != nil {
		w.batch = g.batch
	}
	if w.batch <= c.out.committed {
		c.out.ready = append(c.out.ready, w)
	} else {
		c.out.held = append(c.out.held, w)
	}
}

// append puts records of g into a batch, all into the same. It is false, and
// nothing has happened, if they weigh more than a batch may.
func (c *Coordinator) append(g *group, records ...Record) bool {
	if len(records) == 0 {
		return true
	}
	raw, size := encodeAll(records)
	limit := int(c.settings.MaxBatchBytes) - batchOverhead
	if size > limit {
		return false
	}
	o := &c.out
	if o.open != nil && o.open.size+size > limit {
		c.closeBatch()
	}
	c.openNext()
	o.open.records = append(o.open.records, raw...)
	o.open.size += size
	c.position += int64(len(records))
	g.batch = o.seq
	return true
}

// appendRaw puts records that are encoded into as many batches as they take.
func (c *Coordinator) appendRaw(g *group, raw []RawRecord) {
	limit := int(c.settings.MaxBatchBytes) - batchOverhead
	o := &c.out
	for _, r := range raw {
		size := len(r.Key) + len(r.Value) + recordOverhead
		if o.open != nil && o.open.size+size > limit {
			c.closeBatch()
		}
		c.openNext()
		o.open.records = append(o.open.records, r)
		o.open.size += size
	}
	c.position += int64(len(raw))
	if len(raw) > 0 {
		g.batch = o.seq
	}
}

func (c *Coordinator) openNext() {
	o := &c.out
	if o.open == nil {
		o.seq++
		o.open = &openBatch{seq: o.seq}
		o.inFlight = append(o.inFlight, flight{seq: o.seq})
	}
}

// sizeOf is about what a classic group's record weighs, so that the memory for a
// thousand members is taken at once; other records are small.
func sizeOf(v Value) (size int) {
	if g, ok := v.(*GroupMetadataValue); ok {
		for i := range g.Members {
			m := &g.Members[i]
			size += 40 + len(m.MemberID) + len(orEmpty(m.GroupInstanceID)) + len(m.ClientID) + len(m.ClientHost) + len(m.Subscription) + len(m.Assignment)
		}
	}
	return size
}

// encodeAll encodes records into one piece of memory.
func encodeAll(records []Record) (raw []RawRecord, size int) {
	raw = make([]RawRecord, len(records))
	buf := make([]byte, 0, 128*len(records)+sizeOf(records[0].Value))
	type span struct{ key, value, end int }
	spans := make([]span, len(records))
	for i, r := range records {
		spans[i].key = len(buf)
		buf = AppendKey(buf, r.Key)
		spans[i].value = len(buf)
		if r.Value != nil {
			buf = AppendValue(buf, r.Key.Type, r.Value)
		}
		spans[i].end = len(buf)
	}
	for i, s := range spans {
		raw[i].Key = buf[s.key:s.value:s.value]
		if records[i].Value != nil {
			raw[i].Value = buf[s.value:s.end:s.end]
		}
	}
	return raw, len(buf) + recordOverhead*len(records)
}

// appendTransactional makes a batch of its own, of a producer's transaction. It
// may fail alone: then undo takes back what the caller has done for it.
func (c *Coordinator) appendTransactional(producerID int64, epoch int16, records []Record,
	done func(*Coordinator), undo func(*Coordinator, protocol.ErrorCode)) bool {
	raw, size := encodeAll(records)
	if size > int(c.settings.MaxBatchBytes)-batchOverhead {
		return false
	}
	c.closeBatch()
	c.position += int64(len(records))
	o := &c.out
	o.seq++
	o.inFlight = append(o.inFlight, flight{seq: o.seq, done: []func(*Coordinator){done}, undo: undo})
	o.closed = append(o.closed, Batch{Seq: o.seq, Records: raw, ProducerID: producerID, ProducerEpoch: epoch})
	return true
}

// whenCommitted has done called when the newest batch of g is committed; at once
// if it is.
func (c *Coordinator) whenCommitted(g *group, done func(c *Coordinator)) {
	if g.batch <= c.out.committed {
		done(c)
		return
	}
	for i := len(c.out.inFlight) - 1; i >= 0; i-- {
		if f := &c.out.inFlight[i]; f.seq == g.batch {
			f.done = append(f.done, done)
			return
		}
	}
}

func (c *Coordinator) closeBatch() {
	o := &c.out
	if o.open == nil {
		return
	}
	o.closed = append(o.closed, Batch{Seq: o.open.seq, Records: o.open.records, ProducerID: -1, ProducerEpoch: -1})
	o.open = nil
}

// Ready hands out what there is to do: all batches, and at most max responses.
func (c *Coordinator) Ready(max int) Ready {
	o := &c.out
	c.closeBatch()
	o.batches, o.closed = o.closed, o.batches[:0]
	clear(o.answers)
	o.answers = o.answers[:0]
	n := min(max, len(o.ready))
	for _, w := range o.ready[:n] {
		if w.lazy != nil {
			w.body = w.lazy.response()
		}
		o.answers = append(o.answers, Response{w.token, w.body})
	}
	rest := copy(o.ready, o.ready[n:])
	clear(o.ready[rest:])
	o.ready = o.ready[:rest]
	return Ready{
		Batches: o.batches, Responses: o.answers,
		Errands: c.shares.takeErrands(), Left: c.shares.takeLeft(),
		DeadlineMillis: c.deadline(), More: rest > 0 || c.phase == active && c.jobs.any(),
	}
}

func (c *Coordinator) deadline() int64 {
	if c.phase != active {
		return 0
	}
	return c.timers.next()
}

// Committed says that the batch seq is in the log, as durably as responses are to
// rest on. Batches are reported in order.
func (c *Coordinator) Committed(nowMillis int64, seq uint64) {
	c.advance(nowMillis)
	f, ok := c.landed(seq)
	if !ok || c.phase == failedPhase {
		return
	}
	c.out.committed = seq
	for _, done := range f.done {
		done(c)
	}
	c.release()
}

// landed takes the oldest batch off the list, which seq must be.
func (c *Coordinator) landed(seq uint64) (flight, bool) {
	o := &c.out
	if len(o.inFlight) == 0 || o.inFlight[0].seq != seq {
		return flight{}, false
	}
	f := o.inFlight[0]
	rest := copy(o.inFlight, o.inFlight[1:])
	o.inFlight[rest] = flight{}
	o.inFlight = o.inFlight[:rest]
	return f, true
}

// release lets go of answers whose batch is committed, in their order.
func (c *Coordinator) release() {
	o := &c.out
	kept := o.held[:0]
	for _, w := range o.held {
		if w.batch <= o.committed {
			o.ready = append(o.ready, w)
		} else {
			kept = append(kept, w)
		}
	}
	clear(o.held[len(kept):])
	o.held = kept
}

// Failed says that the batch seq is not in the log and never will be, and why. A
// transactional batch fails alone. With any other the state is ahead of the log
// for good: everyone who waits is answered with an error, and the coordinator is
// to be made anew (Unfinished).
func (c *Coordinator) Failed(nowMillis int64, seq uint64, code protocol.ErrorCode) {
	c.advance(nowMillis)
	f, ok := c.landed(seq)
	if !ok || c.phase == failedPhase {
		return
	}
	if f.undo != nil {
		c.out.committed = seq // nothing rests on it
		f.undo(c, code)
		c.release()
		return
	}
	c.fail(appendError(code))
}

func (c *Coordinator) fail(code protocol.ErrorCode) {
	o := &c.out
	if c.phase == active {
		c.answerAllWaiting(code)
	}
	c.phase, c.failed = failedPhase, code
	c.account.settle()
	for _, w := range o.held {
		if w.lazy != nil {
			w.body = w.lazy.response()
		}
		refuse(w.body, code)
		o.ready = append(o.ready, waiting{token: w.token, body: w.body})
	}
	o.held = nil
	c.abandon(code)
	o.inFlight, o.closed, o.open = nil, nil, nil
}

// abandon answers for transactional batches in flight, whose end nobody here will
// see.
func (c *Coordinator) abandon(code protocol.ErrorCode) {
	c.refuseListings(code)
	for i := range c.out.inFlight {
		f := &c.out.inFlight[i]
		if f.undo != nil {
			f.undo(c, code)
			f.undo = func(*Coordinator, protocol.ErrorCode) {}
		}
		f.done = nil
	}
}

// appendError is what a client is told when the log could not be written.
func appendError(code protocol.ErrorCode) protocol.ErrorCode {
	switch code {
	case protocol.UNKNOWN_TOPIC_OR_PARTITION, protocol.NOT_ENOUGH_REPLICAS, protocol.REQUEST_TIMED_OUT:
		return protocol.COORDINATOR_NOT_AVAILABLE
	case protocol.NOT_LEADER_OR_FOLLOWER, protocol.KAFKA_STORAGE_ERROR:
		return protocol.NOT_COORDINATOR
	case protocol.MESSAGE_TOO_LARGE, protocol.RECORD_LIST_TOO_LARGE, protocol.INVALID_FETCH_SIZE:
		return protocol.UNKNOWN_SERVER_ERROR
	}
	return code
}

// answerAllWaiting tells everyone who waits for a rebalance or an assignment.
func (c *Coordinator) answerAllWaiting(code protocol.ErrorCode) {
	c.answerWaitingShares(code)
	for _, g := range c.sorted {
		if g.classic != nil {
			for m := range g.classic.members.all() {
				c.answerJoin(g, m, m.id, code)
				c.answerSync(g, m, code)
			}
		}
		if g.consumer != nil {
			for _, b := range g.consumer.waiting() {
				b.refuse(c, g, &refusal{code: code})
			}
		}
	}
}
