package storage

import (
	"slipstream/reactor"

	"golang.org/x/sys/unix"
)

// Lookup is a Plan that could not be made from what is in memory: a helper makes it, reading the disk. It belongs to
// the partition's core. Whoever has asked for it may forget it.
//
// The helper makes the whole plan and not only the one read that was missing. So a plan ends after one trip, or one for
// each segment that it comes through, even if pages leave the cache as fast as they are read.
type Lookup struct {
	p          *Partition
	query      Query
	generation uint32 // of the log
	finder     finder
	located    bool
	from       cursor
	to         cursor
	outcome    outcome
	files      [timeIndexFile]lookupFile // .log and .index
	done       bool
	waiter     LookupWaiter
}

// LookupWaiter is told, on the partition's core, that a lookup is done.
type LookupWaiter interface{ LookedUp(l *Lookup) }

// lookupFile is a file that a lookup reads: one that the store has open, or the path of one that it has not. Opening
// a file whose name is not cached waits for the disk too.
type lookupFile struct {
	file  *File // retained
	path  string
	other string // where it may be instead
	fd    int    // opened by the helper, -1 if it was not
}

// lookUp gives a plan to a helper: from the place where it begins, if that is known, or else what the store's
// finder was stopped at.
func (p *Partition) lookUp(q Query, from cursor) *Lookup {
	st := p.store
	l := &Lookup{p: p, query: q, generation: p.generation, finder: st.finder, located: from.segment != nil, from: from}
	f := &l.finder
	f.recent = append([]indexEntry(nil), f.recent...)
	f.scratch = nil
	for kind := range l.files {
		x := &l.files[kind]
		x.fd = -1
		if x.file = f.segment.files[kind]; x.file != nil {
			x.file.Retain()
		} else {
			x.path, x.other = p.segmentPath(f.segment, fileSuffixes[kind])
		}
	}
	st.Stats.Lookups++
	st.core.Offload(l)
	return l
}

// lookUpUnknown has the segment examined that a plan has come to; then the plan is made anew.
func (p *Partition) lookUpUnknown(q Query, s *segment) *Lookup {
	l := &Lookup{p: p, query: q, finder: finder{segment: s, base: s.base, brokeAt: -1}}
	p.store.Stats.Lookups++
	p.examineFor(s, l)
	return l
}

// examined implements examinee.
func (l *Lookup) examined(err error) {
	l.outcome = unknown
	if err != nil {
		l.outcome = broken
	}
	l.finish()
}

// finish tells whoever waits that the answer is there.
func (l *Lookup) finish() {
	l.done = true
	if w := l.waiter; w != nil {
		l.waiter = nil
		w.LookedUp(l)
	}
}

// Done reports whether the answer is there, for Plan.
func (l *Lookup) Done() bool { return l.done }

// Wait has w told when the lookup is done, which it is not. Nil: nobody any more.
func (l *Lookup) Wait(w LookupWaiter) { l.waiter = w }

// Work implements reactor.Job.
func (l *Lookup) Work(k kernel) reactor.Message {
	src := &diskSource{k: k, size: l.finder.size, log: -1, index: -1}
	fds := [...]*int{logFile: &src.log, indexFile: &src.index}
	for kind := range l.files {
		x := &l.files[kind]
		if x.file != nil {
			*fds[kind] = x.file.fd
			continue
		}
		if kind == int(indexFile) && l.finder.entries == 0 {
			continue
		}
		fd, err := openSegmentFile(k, x.path, x.other, readWrite)
		if err != nil {
			l.outcome = broken
			return l
		}
		x.fd, *fds[kind] = fd, fd
		if kind == int(logFile) {
			_ = k.Advise(fd, 0, 0, unix.FADV_RANDOM) // as the store's table does
		}
	}
	l.outcome = l.find(src)
	return l
}

// find makes the plan.
func (l *Lookup) find(src source) (o outcome) {
	f, q := &l.finder, &l.query
	f.scratch = make([]byte, indexWindow*indexEntryBytes)
	if !l.located {
		if l.from, o = f.search(src, q.Offset); o != present || l.from.position >= f.end {
			return o
		}
	}
	l.to, o = f.boundary(src, l.from, int64(max(q.MaxBytes, 0)), q.AtLeastOne)
	return o
}

// Deliver implements reactor.Message.
func (l *Lookup) Deliver(*reactor.Core) {
	p, s := l.p, l.finder.segment
	for kind := range l.files {
		x := &l.files[kind]
		switch {
		case x.file != nil:
			x.file.Release()
			x.file = nil
		case x.fd < 0:
		case p.state == gone || !s.live() || s.files[kind] != nil:
			p.store.core.Kernel.CloseNow(x.fd)
		default:
			p.store.files.add(p, s, fileKind(kind), x.fd)
		}
	}
	p.store.Stats.BadIndexEntries += uint64(l.finder.bad)
	l.finder.recent, l.finder.scratch = nil, nil
	l.finish()
}

// diskSource reads a segment's files on a helper.
type diskSource struct {
	k          kernel
	log, index int // descriptors
	size       int64
	at         int64
	window     []byte
	reads      int
}

// Most plans need a few heads, and what is read for them stays in the page cache; one that has to walk reads in
// larger steps.
const (
	diskPeeks     = 4
	diskPeekBytes = 4 << 10
	diskWalkBytes = 64 << 10
)

func (d *diskSource) readIndex(p []byte, off int64) outcome {
	return presentIf(readFull(d.k, d.index, p, off) == nil)
}

func (d *diskSource) head(position int64) ([]byte, outcome) {
	if position >= d.at && position+batchHeadBytes <= d.at+int64(len(d.window)) {
		return d.window[position-d.at:], present
	}
	step := diskPeekBytes
	if d.reads++; d.reads > diskPeeks {
		step = diskWalkBytes
	}
	n := int(min(int64(step), d.size-position))
	if position < 0 || n < batchHeadBytes {
		return nil, broken
	}
	if cap(d.window) < n {
		d.window = make([]byte, step)
	}
	d.window, d.at = d.window[:n], position
	if readFull(d.k, d.log, d.window, position) != nil {
		d.window = d.window[:0]
		return nil, broken
	}
	return d.window, present
}
