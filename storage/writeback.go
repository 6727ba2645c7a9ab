package storage

import (
	"syscall"

	"slipstream/reactor"

	"golang.org/x/sys/unix"
)

// Writeback behind the head: what was appended is given to the disk at a steady pace, so that dirty pages never pile up
// to where the kernel holds those who write (vm.dirty_*), its own writeback does not come in bursts, and an fsync, when it
// comes, finds little to write.
//
//	segment    |-- on the disk or on its way --|-- eligible --|-- the last mebibyte --|
//	                                           ^ size - dirty                         ^ size
//
// One SYNC_FILE_RANGE(WRITE) is in flight a core, a step of at most writebackStep, from partitions in turn. Steps come so
// that what is eligible would be gone one horizon later: at a steady rate of appends, a horizon's worth stays dirty.
// The last mebibyte of an active segment stays, for its pages will be written to again soon: writing them would be for nothing, and
// on devices that need stable pages an append would wait for it. A log that has not grown for a horizon is written to its
// end, one that grows slowly after writebackRest.
//
// Errors. SYNC_FILE_RANGE with WRITE alone starts writeback and returns what starting it came to. It neither reads nor
// advances the error mark of the file (errseq_t, file->f_wb_err): an error that is found later, when the disk has answered,
// is still there for the next fsync on this descriptor, and for one on a descriptor opened later (an error that nobody has
// seen counts for whoever opens the file next). Flags that wait (WAIT_BEFORE, WAIT_AFTER) would take the mark: they are not
// used. An error that the step itself returns means what a failed fsync means, that pages may be lost, and does
// the same. The mark is lost only with the inode, when no descriptor is open: so the file of an append that waits for an fsync stays open
// until then, and so does that of a segment while a step is in flight.
const (
	writebackStep      = 1 << 20
	writebackLeast     = 256 << 10 // an active segment with less than this to write behind is left alone
	writebackTail      = 1 << 20   // of an active segment, not written behind while it grows
	writebackAlign     = 64 << 10
	writebackRestNanos = 10e9  // before the kernel's own vm.dirty_expire_centisecs, 30 s
	writebackPause     = 100e6 // nanoseconds, after a step that could not be made
	writebackLooks     = 64    // resting partitions looked at in one turn
)

// writeback is a store's pace.
type writeback struct {
	store    *Store
	horizon  int64 // nanoseconds; 0: off
	step     int64
	least    int64
	tail     int64
	eligible int64 // bytes, of all partitions on the ready list
	ready    trailList
	resting  trailList // dirty, too little to write behind; those that were put here first are first
	next     int64     // no step before this time (core.Now)
	timer    reactor.Timer
	waiting  bool // the timer is for the resting list: no partition was ready

	// The step in flight.
	file    *File
	p       *Partition
	segment *segment
	bytes   int64
	began   int64
}

// trail is what of a partition's log has not been given to the disk.
type trail struct {
	dirty    int64 // bytes; each segment has its share
	eligible int64 // of these, counted in writeback.eligible
	grew     int64 // when the log last grew (core.Now)
	dirtied  int64 // when it last began to be dirty, or a step was made
	listed   int64 // when it was put on the list
	list     *trailList
	toEnd    bool  // the last mebibyte too, in the next step
	sync     int64 // the offset to sync to once closed segments are written behind; 0: none

	next, prev *Partition
}

// trailList is a queue of partitions.
type trailList struct{ head, tail *Partition }

func (l *trailList) push(p *Partition) {
	t := &p.trail
	t.list, t.next, t.prev = l, nil, l.tail
	if l.tail != nil {
		l.tail.trail.next = p
	} else {
		l.head = p
	}
	l.tail = p
}

func (l *trailList) remove(p *Partition) {
	t := &p.trail
	if t.prev != nil {
		t.prev.trail.next = t.next
	} else {
		l.head = t.next
	}
	if t.next != nil {
		t.next.trail.prev = t.prev
	} else {
		l.tail = t.prev
	}
	t.list, t.next, t.prev = nil, nil, nil
}

func newWriteback(s *Store, horizonMillis int64) writeback {
	return writeback{
		store: s, horizon: max(min(horizonMillis, maxFlushMillis), 0) * 1e6,
		step: writebackStep, least: writebackLeast, tail: writebackTail,
	}
}

// grew notes n more bytes in the active segment.
func (p *Partition) grew(n int64) {
	s := p.store
	if p.trail.dirty == 0 {
		p.trail.dirtied = s.core.Now
	}
	p.activeSegment().dirty += n
	p.trail.dirty += n
	p.trail.grew = s.core.Now
	s.Stats.DirtyBytes += n
	s.writeback.relist(p)
}

// cleaned notes that all but the last `left` bytes of a segment are on the disk or on their way.
func (p *Partition) cleaned(s *segment, left int64) {
	n := s.dirty - max(left, 0)
	if n <= 0 {
		return
	}
	s.dirty -= n
	p.trail.dirty -= n
	p.store.Stats.DirtyBytes -= n
	p.store.writeback.relist(p)
}

// activeEnd is up to where the active segment may be written behind.
func (w *writeback) activeEnd(p *Partition) int64 {
	s := p.activeSegment()
	if p.trail.toEnd {
		return s.size
	}
	return max(s.size-w.tail, 0) &^ (writebackAlign - 1)
}

// eligibleOf is how much of a partition may be written behind now.
func (w *writeback) eligibleOf(p *Partition) int64 {
	s := p.activeSegment()
	closed := p.trail.dirty - s.dirty
	open := w.activeEnd(p) - (s.size - s.dirty)
	if open < w.least && !p.trail.toEnd {
		open = 0
	}
	return closed + max(open, 0)
}

// oldestDirty is the first segment that is not on the disk or on its way, and up to where it may be written behind.
func (w *writeback) oldestDirty(p *Partition) (s *segment, end int64) {
	i := len(p.segments) - 1
	for i > 0 && p.segments[i-1].dirty > 0 {
		i--
	}
	if s = p.segments[i]; s == p.activeSegment() {
		return s, w.activeEnd(p)
	}
	return s, s.size
}

// relist puts a partition on the list that it belongs to and sees to it that somebody will look.
func (w *writeback) relist(p *Partition) {
	if w.horizon == 0 || p.closed || p.trouble == unsyncable {
		return
	}
	t := &p.trail
	eligible := w.eligibleOf(p)
	w.eligible += eligible - t.eligible
	t.eligible = eligible
	var list *trailList
	switch {
	case eligible > 0:
		list = &w.ready
	case t.dirty > 0:
		list = &w.resting
	}
	if t.list != list {
		if t.list != nil {
			t.list.remove(p)
		}
		if list != nil {
			list.push(p)
			t.listed = w.store.core.Now
		}
	}
	if w.file == nil && (!w.timer.Armed() || w.waiting && w.ready.head != nil) {
		w.arm()
	}
}

// forget takes a partition that is being closed or deleted, or has failed, off the lists: what it has dirty is of no more interest.
func (w *writeback) forget(p *Partition) {
	t := &p.trail
	if t.list != nil {
		t.list.remove(p)
	}
	w.eligible -= t.eligible
	w.store.Stats.DirtyBytes -= t.dirty
	for i := len(p.segments) - 1; i >= 0 && t.dirty > 0; i-- {
		t.dirty -= p.segments[i].dirty
		p.segments[i].dirty = 0
	}
	*t = trail{sync: t.sync}
}

// arm sets the timer for what comes next.
func (w *writeback) arm() {
	at := w.next
	if w.waiting = w.ready.head == nil; w.waiting {
		if w.resting.head == nil {
			return
		}
		at = max(at, w.resting.head.trail.listed+w.horizon)
	}
	core := w.store.core
	if w.timer.Armed() {
		core.Cancel(&w.timer)
	}
	core.After(max(at-core.Now, 0), &w.timer, w)
}

// Fire implements reactor.TimerHandler.
func (w *writeback) Fire(*reactor.Timer) {
	if w.file == nil {
		w.rouse()
		w.start()
	}
}

// rouse looks at partitions that have rested for a horizon: those that have not grown meanwhile, or are dirty for long, are
// written behind to their end.
func (w *writeback) rouse() {
	now := w.store.core.Now
	for range writebackLooks {
		p := w.resting.head
		if p == nil || p.trail.listed+w.horizon > now {
			return
		}
		t := &p.trail
		if t.grew+w.horizon <= now || t.dirtied+max(writebackRestNanos, w.horizon) <= now {
			t.toEnd = true
			w.relist(p)
			continue
		}
		w.resting.remove(p)
		w.resting.push(p)
		t.listed = now
	}
}

// start begins the next step, if it is time.
func (w *writeback) start() {
	core := w.store.core
	p := w.ready.head
	if w.horizon == 0 {
		return
	}
	if p == nil || w.next > core.Now {
		w.arm()
		return
	}
	s, end := w.oldestDirty(p)
	off := s.size - s.dirty
	n := min(end-off, w.step)
	if p.trail.toEnd {
		n = min(end-off, 2*w.step) // a mebibyte, and what was too little for a step
	}
	if n <= 0 {
		w.relist(p)
		w.arm()
		return
	}
	f, err := w.store.files.get(p, s, logFile)
	if err != nil {
		w.store.note("the log of %s could not be opened to be written behind: %v", &p.id, err)
		w.next = core.Now + writebackPause
		p.cleaned(s, 0) // it is the kernel's
		w.arm()
		return
	}
	sqe := core.Submit(w, 0)
	if sqe == nil {
		w.next = core.Now + writebackPause
		w.arm()
		return
	}
	sqe.PrepSyncFileRange(f.fd, uint32(n), uint64(off), unix.SYNC_FILE_RANGE_WRITE)
	f.Retain()
	w.file, w.p, w.segment, w.bytes, w.began = f, p, s, n, core.Now
	w.next = core.Now + int64(float64(n)*float64(w.horizon)/float64(max(w.eligible, n)))
	w.store.jobs++ // the store is not closed while it is in flight
	w.ready.remove(p)
	w.ready.push(p) // the others' turn
	p.trail.dirtied, p.trail.toEnd = core.Now, false
	p.cleaned(s, s.size-off-n)
}

// Complete implements reactor.Completion: a step has been taken in by the disk's queue.
func (w *writeback) Complete(_ uint64, res int32, _ uint32) {
	st, p := w.store, w.p
	w.file.Release()
	w.file, w.p = nil, nil
	st.Stats.WritebackSteps++
	st.Stats.WritebackNanos += uint64(max(st.core.Now-w.began, 0))
	switch errno := syscall.Errno(-res); {
	case res >= 0:
		st.Stats.WritebackBytes += uint64(w.bytes)
	case errno == syscall.EINTR, errno == syscall.EAGAIN, errno == syscall.ECANCELED, errno == syscall.ENOMEM:
		st.Stats.WritebackFailures++ // the kernel will do it
		w.next = max(w.next, st.core.Now+writebackPause)
	case errno == syscall.EINVAL, errno == syscall.ESPIPE, errno == syscall.EOPNOTSUPP, errno == syscall.ENOSYS:
		st.Stats.WritebackFailures++
		w.off(errno)
	default:
		st.Stats.WritebackFailures++
		p.writebackFailed(errno)
	}
	w.segment = nil
	p.syncBehind()
	w.start()
	st.jobEnded()
}

// off leaves writeback to the kernel for good.
func (w *writeback) off(errno syscall.Errno) {
	w.store.note("dirty pages are left to the kernel: the file system does not take sync_file_range: %v", errno)
	w.stop()
	for _, p := range w.store.partitions {
		p.syncBehind()
	}
}

// stop ends the pace; a step in flight comes to its end.
func (w *writeback) stop() {
	w.horizon = 0
	if w.timer.Armed() {
		w.store.core.Cancel(&w.timer)
	}
}

// syncClosed makes closed segments durable, now or, where nobody waits for it, once they are written behind: an
// fsync that finds everything on its way is a short one, and what is written by others meanwhile does not wait behind it.
func (p *Partition) syncClosed(upTo int64) {
	p.trail.sync = max(p.trail.sync, upTo)
	p.syncBehind()
}

// syncBehind does what syncClosed has put off, when its time has come.
func (p *Partition) syncBehind() {
	t := &p.trail
	if t.sync == 0 || p.state == gone {
		return
	}
	if p.store.writeback.horizon > 0 && !p.closed && p.syncing.waiting.empty() && t.dirty > p.activeSegment().dirty {
		return
	}
	p.sync(t.sync)
	t.sync = 0
}

// writebackFailed ends the log's writing, as a failed fsync does: pages may be lost.
func (p *Partition) writebackFailed(errno syscall.Errno) {
	if p.state == gone || p.trouble == unsyncable {
		return
	}
	p.store.note("writeback of %s failed: %v; its log takes no more appends until the broker is restarted", &p.id, errno)
	p.syncFailed(errno)
}
