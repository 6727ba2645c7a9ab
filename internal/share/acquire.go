package share

// Range is the offsets from First up to Last.
type Range struct{ First, Last int64 }

// AcquiredRecords are records that a member has been given.
type AcquiredRecords struct {
	First, Last   int64
	DeliveryCount int16
}

// NextFetchOffset is where there may be something to acquire: the first record that is
// available again, else the first new one. ok is false if nothing may be acquired
// because too much is under way already.
func (p *Partition) NextFetchOffset() (offset int64, ok bool) {
	if p.fenced != 0 {
		return 0, false
	}
	if p.free < p.end {
		for at := p.find(max(p.free, p.start)); at < len(p.runs); at++ {
			if p.runs[at].available() {
				p.free = max(p.free, p.runs[at].first)
				return p.free, true
			}
		}
		p.free = p.end
	}
	return p.end, p.room() > 0
}

// room is how many new records may be acquired.
func (p *Partition) room() int64 { return int64(p.limits.MaxRecordLocks) - (p.end - p.start) }

// LastOf is the last offset to acquire of [from, to) for at most n records: what is
// available counts, what is with others does not. Where it lies inside a batch of the
// log, whoever may exceed n goes on to the batch's end. It is below from if there is
// nothing to acquire.
func (p *Partition) LastOf(from, to int64, n int64) int64 {
	last := from - 1
	if from < p.end {
		for at := p.find(max(from, p.start)); at < len(p.runs) && p.runs[at].first < to && n > 0; at++ {
			r := &p.runs[at]
			if !r.available() {
				continue
			}
			first := max(r.first, from)
			last = min(r.last, to-1, first+n-1)
			n -= last - first + 1
		}
	}
	if n = min(n, p.room()); n > 0 && p.end < to && from <= p.end {
		last = min(to-1, p.end+n-1)
	}
	return last
}

// Acquire gives a member everything in [from, to) that is available or new, but for
// what aborted transactions have written, which is archived. from is not beyond the
// window's end.
func (p *Partition) Acquire(nowMillis int64, member string, from, to int64, aborted []Range) (acquired []AcquiredRecords) {
	p.advanceClock(nowMillis)
	if p.fenced != 0 || from >= to || from > p.end {
		return nil
	}
	p.extend(to)
	for _, a := range aborted {
		p.each(max(a.First, from), min(a.Last, to-1), func(r *run) {
			if r.available() {
				r.state, r.unsaved, r.write = Archived, true, 0
			}
		})
	}
	deadline := p.now + int64(p.limits.LockMillis)
	p.each(from, to-1, func(r *run) {
		if !r.available() {
			return
		}
		r.state, r.member, r.deadline = Acquired, member, deadline
		r.count++
		if n := len(acquired); n > 0 && acquired[n-1].Last == r.first-1 && acquired[n-1].DeliveryCount == r.count {
			acquired[n-1].Last = r.last
			return
		}
		acquired = append(acquired, AcquiredRecords{r.first, r.last, r.count})
	})
	if len(acquired) > 0 {
		p.locked(deadline)
	}
	p.join(from, to-1)
	p.advance()
	return acquired
}

func (p *Partition) advanceClock(nowMillis int64) { p.now = max(p.now, nowMillis) }

// locked notes that a lock ends at deadline.
func (p *Partition) locked(deadline int64) {
	if p.locks == 0 || deadline < p.locks {
		p.locks = deadline
	}
}

// Deadline is when Tick is to be called; 0: no need.
func (p *Partition) Deadline() int64 {
	if p.out.failed && (p.locks == 0 || p.out.retryAt < p.locks) {
		return p.out.retryAt
	}
	return p.locks
}

// Tick takes back what members have kept for too long.
func (p *Partition) Tick(nowMillis int64) {
	p.advanceClock(nowMillis)
	if p.out.failed && p.now >= p.out.retryAt {
		p.out.failed = false
	}
	if p.locks == 0 || p.now < p.locks {
		return
	}
	p.locks = 0
	for i := range p.runs {
		r := &p.runs[i]
		switch {
		case r.state != Acquired || r.moving:
		case r.deadline <= p.now:
			p.giveBack(r)
		default:
			p.locked(r.deadline)
		}
	}
	p.join(p.start, p.end)
	p.advance()
}

// giveBack makes acquired records available, unless that was the last time.
func (p *Partition) giveBack(r *run) {
	r.state, r.member, r.deadline, r.unsaved, r.write = Available, "", 0, true, 0
	if r.count >= p.limits.DeliveryCountLimit {
		r.state = Archived
		return
	}
	p.free = min(p.free, r.first)
}

// Release takes back what a member has that it has not acknowledged: it has gone.
func (p *Partition) Release(nowMillis int64, member string) {
	p.advanceClock(nowMillis)
	for i := range p.runs {
		if r := &p.runs[i]; r.state == Acquired && !r.moving && r.member == member {
			p.giveBack(r)
		}
	}
	p.join(p.start, p.end)
	p.advance()
}
