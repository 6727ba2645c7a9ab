package share

import (
	"slices"

	"slipstream/protocol"
)

// A share-partition is a window of a log, cut into runs of records that are alike:
//
//	log     ... | done | acquired by a | available, 2nd time | acquired by b | new ...
//	            ^ start                                                      ^ end
//
// What lies before start is done with, what lies from end on has not been delivered.
// The runs cover the window without gaps. Acquiring extends it, acknowledging the
// first of its records moves start. Offsets without a record (compacted away, control
// batches) are acquired with the others; whoever finds that they are not there says so.

// Limits are the settings that a share-partition works by. They may differ from call
// to call.
type Limits struct {
	MaxRecordLocks     int32 // how large the window may be for new records to be acquired
	DeliveryCountLimit int16 // how often a record is delivered
	LockMillis         int32 // how long a member may keep a record
	NoRenewals         bool  // nobody may have a lock renewed
}

// run is some records that are alike.
type run struct {
	first, last int64
	state       RecordState
	count       int16  // deliveries
	member      string // who has acquired them
	deadline    int64  // of the lock, milliseconds

	moving bool        // next is what they will be once it is written
	next   RecordState // then
	write  uint64      // the write that carries it, or what is unsaved; 0: none does yet
	// unsaved: state or count has changed without anybody waiting for it, and is to be
	// written with the next that is.
	unsaved bool
}

func (r *run) alike(o *run) bool {
	return r.state == o.state && r.count == o.count && r.member == o.member && r.deadline == o.deadline &&
		r.moving == o.moving && r.next == o.next && r.write == o.write && r.unsaved == o.unsaved
}

// available: anybody may acquire them.
func (r *run) available() bool { return r.state == Available && !r.moving }

// Partition is a group's view of one partition of a topic. It belongs to one core.
type Partition struct {
	limits Limits
	now    int64 // milliseconds, of the latest input

	start, end int64
	runs       []run
	free       int64 // no run before this offset is available
	locks      int64 // no lock ends before this; 0: there are none
	stateEpoch int32

	fenced protocol.ErrorCode // why it cannot go on; NONE: it can

	renewalRefused bool // by the latest Acknowledge

	out writes
}

// NewPartition is a share-partition with the state that was read. start is where it
// begins if the state has no start offset (-1) yet.
func NewPartition(nowMillis int64, limits Limits, s State, start int64) *Partition {
	p := &Partition{limits: limits, now: nowMillis, stateEpoch: s.StateEpoch, start: s.StartOffset}
	if p.start < 0 {
		p.start = start
		p.out.begun = true
	}
	p.end, p.free = p.start, p.start
	for _, b := range s.Batches {
		b.First = max(b.First, p.start)
		if b.Last < b.First {
			continue
		}
		p.extend(b.First)
		p.extend(b.Last + 1)
		at := p.split(b.First)
		p.runs[at].state, p.runs[at].count = b.State, b.DeliveryCount
	}
	p.advance()
	return p
}

// SetLimits changes the settings, for what happens from now on.
func (p *Partition) SetLimits(l Limits) { p.limits = l }

// Start is the first offset that is not done with, End the one after the last that has
// been acquired.
func (p *Partition) Start() int64 { return p.start }

// End is the offset after the window.
func (p *Partition) End() int64 { return p.end }

// StateEpoch is the epoch of the state that was read: it changes when somebody sets
// the group's offsets.
func (p *Partition) StateEpoch() int32 { return p.stateEpoch }

// Fenced is why the share-partition cannot go on, or NONE. It is to be made anew.
func (p *Partition) Fenced() protocol.ErrorCode { return p.fenced }

// find is the run that holds offset, which is in the window.
func (p *Partition) find(offset int64) int {
	at, ok := slices.BinarySearchFunc(p.runs, offset, func(r run, offset int64) int {
		switch {
		case r.last < offset:
			return -1
		case r.first > offset:
			return 1
		}
		return 0
	})
	if !ok {
		return len(p.runs)
	}
	return at
}

// split makes a run begin at offset and says where it is; at the window's end there is
// none, and it would be there.
func (p *Partition) split(offset int64) int {
	at := p.find(offset)
	if at == len(p.runs) || p.runs[at].first == offset {
		return at
	}
	p.runs = slices.Insert(p.runs, at+1, p.runs[at])
	p.runs[at].last, p.runs[at+1].first = offset-1, offset
	return at + 1
}

// extend has the window reach up to offset; what it takes in is available.
func (p *Partition) extend(offset int64) {
	if offset > p.end {
		p.runs = append(p.runs, run{first: p.end, last: offset - 1})
		p.end = offset
	}
}

// each calls f for every run of [first, last], cut to fit.
func (p *Partition) each(first, last int64, f func(r *run)) {
	first = max(first, p.start)
	if last = min(last, p.end-1); first > last {
		return
	}
	p.split(last + 1)
	for at := p.split(first); at < len(p.runs) && p.runs[at].first <= last; at++ {
		f(&p.runs[at])
	}
}

// join makes one of neighbours in [first, last] and around it that are alike.
func (p *Partition) join(first, last int64) {
	if len(p.runs) == 0 {
		return
	}
	at := p.find(min(max(first-1, p.start), p.end-1))
	to := at
	for i := at + 1; i < len(p.runs); i++ {
		r := &p.runs[i]
		if r.alike(&p.runs[to]) {
			p.runs[to].last = r.last
			continue
		}
		to++
		p.runs[to] = *r
		if r.first > last+1 && to == i {
			return // nothing was joined, and nothing that follows will be
		}
	}
	clear(p.runs[to+1:])
	p.runs = p.runs[:to+1]
}

// advance moves the start over what is done with.
func (p *Partition) advance() {
	n := 0
	for n < len(p.runs) && p.runs[n].state.terminal() && !p.runs[n].moving {
		p.start = p.runs[n].last + 1
		n++
	}
	p.drop(n)
}

func (p *Partition) drop(n int) {
	if n > 0 {
		p.runs = slices.Delete(p.runs, 0, n)
	}
	p.free = max(p.free, p.start)
}

// LogStart says where the log begins now: what retention or DeleteRecords has taken is
// done with, whoever has it.
func (p *Partition) LogStart(offset int64) {
	if offset <= p.start {
		return
	}
	p.extend(offset)
	p.drop(p.split(offset))
	p.start = offset
	p.free = max(p.free, p.start)
	p.out.begun = true
	p.advance()
}

// InFlight is how many records are with members.
func (p *Partition) InFlight() (n int64) {
	for i := range p.runs {
		if r := &p.runs[i]; r.state == Acquired {
			n += r.last - r.first + 1
		}
	}
	return n
}
