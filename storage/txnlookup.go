package storage

import "slipstream/reactor"

// AbortedLookup reads the .txnindex files that an answer of AbortedTransactions needs, on a helper.
type AbortedLookup struct {
	p          *Partition
	from, upTo int64
	generation uint32 // of the log
	parts      []abortedPart
	next       int64 // base of the first segment that is not in parts, -1: there is none
	found      []AbortedTransaction
	err        error
	done       bool
	waiter     AbortedWaiter
}

// AbortedWaiter is told, on the partition's core, that a lookup is done.
type AbortedWaiter interface{ AbortedFound(l *AbortedLookup) }

// abortedPart is a segment as a lookup sees it: with the entries that are in memory, or where they are.
type abortedPart struct {
	segment   *segment
	list      []abortedTxn
	path      string
	base, end int64
	read      bool
}

// abortedParts is how many segments one trip to a helper looks through.
const abortedParts = 64

// lookUpAborted gives the segments with aborted transactions from a base offset on to a helper, which stops where it
// has all.
func (p *Partition) lookUpAborted(from, upTo, base int64) *AbortedLookup {
	l := &AbortedLookup{p: p, from: from, upTo: upTo}
	l.submit(base)
	return l
}

func (l *AbortedLookup) submit(base int64) {
	p := l.p
	l.next, l.generation = -1, p.generation
	if s := p.unknownAborting(base); s != nil {
		l.next = base
		p.examineFor(s, l)
		return
	}
	for _, s := range p.txns.abortingFrom(base) {
		if len(l.parts) == abortedParts {
			l.next = s.base
			break
		}
		part := abortedPart{segment: s, list: s.aborts.list[:len(s.aborts.list):len(s.aborts.list)]}
		if s.aborts.list == nil {
			part.path, _ = p.segmentPath(s, txnIndexSuffix) // what becomes of a name meanwhile, Deliver finds out
			part.base, part.end = s.base, p.endOf(p.segmentFor(s.base))
		}
		l.parts = append(l.parts, part)
	}
	p.store.Stats.AbortedLookups++
	p.store.core.Offload(l)
}

// unknownAborting is the first of the segments which submit would look through that has to be examined before.
func (p *Partition) unknownAborting(base int64) *segment {
	list := p.txns.abortingFrom(base)
	for _, s := range list[:min(len(list), abortedParts)] {
		if !s.known.Load() {
			return s
		}
	}
	return nil
}

// examined implements examinee.
func (l *AbortedLookup) examined(err error) {
	if l.err = err; err == nil && l.p.state != gone {
		l.submit(l.next)
		return
	}
	l.finish()
}

// finish tells whoever waits that the answer is there.
func (l *AbortedLookup) finish() {
	l.done, l.parts = true, nil
	if w := l.waiter; w != nil {
		l.waiter = nil
		w.AbortedFound(l)
	}
}

// Done reports whether the answer is there.
func (l *AbortedLookup) Done() bool { return l.done }

// Wait has w told when the lookup is done, which it is not. Nil: nobody any more.
func (l *AbortedLookup) Wait(w AbortedWaiter) { l.waiter = w }

// Work implements reactor.Job.
func (l *AbortedLookup) Work(k kernel) reactor.Message {
	for i := range l.parts {
		part := &l.parts[i]
		if part.path != "" {
			b, err := ReadFile(k, part.path, maxAbortedBytes)
			if err == nil {
				part.list, err = decodeAborted(b, part.base, part.end)
			}
			if l.err = err; err != nil {
				return l
			}
			part.read = true
		}
		var complete bool
		if l.found, complete = collectAborted(part.list, l.from, l.upTo, l.found); complete {
			l.next = -1
			break
		}
	}
	return l
}

// Deliver implements reactor.Message.
func (l *AbortedLookup) Deliver(*reactor.Core) {
	p := l.p
	for i := range l.parts {
		part := &l.parts[i]
		if part.read && p.state != gone && p.segments[p.segmentFor(part.base)] == part.segment {
			p.store.aborts.keep(part.segment, part.list)
		}
	}
	if l.err != nil && l.generation != p.generation && p.state != gone { // its files were given up meanwhile
		l.parts, l.found, l.err = l.parts[:0], nil, nil
		l.submit(p.segments[p.segmentFor(l.from)].base)
		return
	}
	if l.err != nil {
		p.store.note("the aborted transactions of %s could not be read: %v", &p.id, l.err)
	}
	l.parts = l.parts[:0]
	if l.next >= 0 && l.err == nil && p.state != gone {
		l.submit(l.next)
		return
	}
	l.finish()
}
