package share

import (
	"math"

	"slipstream/protocol"
)

// Write is what is to be kept of a share-partition: where it begins now, and which
// records have changed since the last one. One is on its way at a time; what is
// acknowledged meanwhile goes with the next.
type Write struct {
	Seq                   uint64
	StateEpoch            int32
	StartOffset           int64
	DeliveryCompleteCount int32 // records from StartOffset on that are done with
	Batches               []StateBatch
}

// retryMillis is how long after a failed write another one is made that nobody waits for.
const retryMillis = 1_000

// Answer is that to an Acknowledge that waited for a write.
type Answer struct {
	Token uint64
	Code  protocol.ErrorCode
}

// writes is what a share-partition has to say.
type writes struct {
	begun    bool // the start was set without a record having changed
	seq      uint64
	inFlight bool
	failed   bool     // the last one: the next waits for retryAt, or until somebody waits for it
	retryAt  int64    // milliseconds
	queued   []uint64 // who waits for the next write
	waiting  []uint64 // and for the one in flight
	answers  []Answer
}

// Answers hands out what has been decided since it was called last. The slice is good
// until the next call of any method.
func (p *Partition) Answers() []Answer {
	a := p.out.answers
	p.out.answers = p.out.answers[:0]
	return a
}

// NextWrite is what is to be written now; ok is false if there is nothing, or a write
// is on its way still. What it says is so once it is in the log: until then the records
// are with whoever has them.
func (p *Partition) NextWrite() (w Write, ok bool) {
	o := &p.out
	if o.inFlight || p.fenced != 0 {
		return Write{}, false
	}
	seq := o.seq + 1
	news := o.begun && !o.failed || len(o.queued) > 0
	leading, start, complete := true, p.start, int64(0)
	for i := range p.runs {
		r := &p.runs[i]
		state := r.state
		if r.moving {
			state = r.next
		}
		if leading = leading && state.terminal(); leading {
			start = r.last + 1
		} else if state.terminal() {
			complete += r.last - r.first + 1
		}
		if !r.moving && !r.unsaved {
			continue
		}
		news = news || r.moving || !o.failed
		r.write = seq
		if leading {
			continue
		}
		b := StateBatch{r.first, r.last, state, r.count}
		if state == Acquired { // again, before it was written that it had been given back
			b.State, b.DeliveryCount = Available, r.count-1
		}
		if n := len(w.Batches); n > 0 && w.Batches[n-1].follows(b) {
			w.Batches[n-1].Last = b.Last
		} else {
			w.Batches = append(w.Batches, b)
		}
	}
	if !news {
		for i := range p.runs {
			if r := &p.runs[i]; r.write == seq {
				r.write = 0
			}
		}
		return Write{}, false
	}
	o.seq, o.inFlight, o.begun, o.failed = seq, true, false, false
	o.waiting, o.queued = o.queued, o.waiting[:0]
	w.Seq, w.StateEpoch, w.StartOffset = seq, p.stateEpoch, start
	w.DeliveryCompleteCount = int32(min(complete, math.MaxInt32))
	return w, true
}

// Written says what has become of a write. One that failed leaves the records with
// whoever has them, so that they can be acknowledged again; one that was fenced ends
// the share-partition, because somebody else decides now.
func (p *Partition) Written(nowMillis int64, seq uint64, code protocol.ErrorCode) {
	p.advanceClock(nowMillis)
	o := &p.out
	if !o.inFlight || seq != o.seq {
		return
	}
	o.inFlight = false
	if code != protocol.NONE {
		o.failed, o.retryAt = true, p.now+retryMillis
	}
	told := PersisterError(code)
	for _, token := range o.waiting {
		o.answers = append(o.answers, Answer{token, told})
	}
	o.waiting = o.waiting[:0]
	for i := range p.runs {
		if r := &p.runs[i]; r.write == seq {
			p.settle(r, code)
		}
	}
	p.join(p.start, p.end)
	p.advance()
	switch code {
	case protocol.FENCED_STATE_EPOCH, protocol.FENCED_LEADER_EPOCH, protocol.GROUP_ID_NOT_FOUND, protocol.UNKNOWN_TOPIC_OR_PARTITION:
		p.Fence(told)
	}
}

// settle makes of a run what its write came to.
func (p *Partition) settle(r *run, code protocol.ErrorCode) {
	r.write = 0
	switch {
	case !r.moving:
		r.unsaved = code != protocol.NONE && r.unsaved
	case code != protocol.NONE:
		r.moving, r.next = false, 0
		p.locked(r.deadline)
	default:
		r.state, r.moving, r.next, r.member, r.deadline = r.next, false, 0, "", 0
		if r.state == Available {
			p.free = min(p.free, r.first)
		}
	}
}

// Fence ends the share-partition: whoever waits, and whoever comes, is told code.
func (p *Partition) Fence(code protocol.ErrorCode) {
	if p.fenced != protocol.NONE {
		return
	}
	p.fenced, p.locks = code, 0
	o := &p.out
	for _, tokens := range [...][]uint64{o.waiting, o.queued} {
		for _, token := range tokens {
			o.answers = append(o.answers, Answer{token, code})
		}
	}
	o.waiting, o.queued, o.inFlight = nil, nil, false
}

// PersisterError is what a member is told when the state could not be written or read.
func PersisterError(code protocol.ErrorCode) protocol.ErrorCode {
	switch code {
	case protocol.NONE, protocol.GROUP_ID_NOT_FOUND, protocol.UNKNOWN_TOPIC_OR_PARTITION:
		return code
	case protocol.NOT_COORDINATOR, protocol.COORDINATOR_NOT_AVAILABLE, protocol.COORDINATOR_LOAD_IN_PROGRESS:
		return protocol.COORDINATOR_NOT_AVAILABLE
	case protocol.FENCED_LEADER_EPOCH, protocol.FENCED_STATE_EPOCH:
		return protocol.NOT_LEADER_OR_FOLLOWER
	}
	return protocol.UNKNOWN_SERVER_ERROR
}
