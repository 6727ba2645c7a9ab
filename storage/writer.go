package storage

import (
	"errors"
	"syscall"
	"unsafe"

	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// kernel is the door, as helpers get it.
type kernel = ring.Kernel

// Writer is how queued batches get into the page cache: by a WRITEV in the ring, which costs the turn nothing
// where the file system writes without a worker (XFS), or by pwritev(2) in place, which is many
// times faster where it does not (ext4).
type Writer uint8

// The writers. WriterAuto is for settings: [ProbeWriter] chooses.
const (
	WriterAuto Writer = iota
	WriterRing
	WriterInline
)

// String is the setting's value.
func (w Writer) String() string { return [...]string{"auto", "ring", "inline"}[w] }

// ParseWriter reads what String writes.
func ParseWriter(s string) (Writer, error) {
	for w := WriterAuto; w <= WriterInline; w++ {
		if w.String() == s {
			return w, nil
		}
	}
	return WriterAuto, errors.New("the writer is one of auto, ring, inline")
}

// maxIovecs is the most pieces of one write (IOV_MAX).
const maxIovecs = 1024

const iovecBytes = int(unsafe.Sizeof(unix.Iovec{}))

// writing is a partition's queue of appends and the write in flight.
type writing struct {
	queued appendList
	flight appendList
	bytes  int   // of batches in the write in flight
	nanos  int64 // that the core spent in the write that has just ended, on over bytes
	over   int
	zeros  int            // behind them
	file   *File          // retained for the write in flight
	iovecs *reactor.Block // of the write in flight, or nil
	last   int64          // when it was begun, core.Now
}

// Tags of ring requests.
const (
	tagWrite = iota
	tagSync
)

// Complete implements reactor.Completion.
func (p *Partition) Complete(tag uint64, res int32, _ uint32) {
	if tag == tagSync {
		p.synced(res)
		return
	}
	p.state = idle
	w := &p.writing
	if w.iovecs != nil {
		w.iovecs.Release()
		w.iovecs = nil
	}
	errno := syscall.Errno(0)
	if res < 0 {
		res, errno = 0, syscall.Errno(-res)
	}
	if errno == syscall.EAGAIN || errno == syscall.EINTR || errno == syscall.ECANCELED { // nothing was written: do it in place
		p.requeue()
	} else {
		p.wrote(int(res), errno)
	}
	if !w.queued.empty() {
		p.store.markDirty(p)
	}
	p.quieted()
}

// requeue puts the write in flight back at the head of the queue.
func (p *Partition) requeue() {
	w := &p.writing
	w.file.Release()
	w.file = nil
	w.flight.take(&w.queued)
	w.queued, w.flight = w.flight, appendList{}
}

// write starts what the partition's queue allows: called at the end of the turn.
func (p *Partition) write() {
	for p.state == idle && !p.writing.queued.empty() {
		if p.trouble == mustCut {
			p.cut()
			return
		}
		if !p.writeOnce() {
			return
		}
	}
}

// writeOnce writes as many of the queued batches as one write and one segment take. It returns false if
// the rest has to wait.
func (p *Partition) writeOnce() bool {
	if f := p.activeSegment().files[logFile]; f != nil && f.short.Load() {
		p.truncatedByOthers()
		return false
	}
	w := &p.writing
	iovecs := p.store.iovecs()
	n, bytes := p.gather(iovecs[:max(len(iovecs)-fillIovecs, 1)])
	if n == 0 {
		if w.flight.empty() {
			p.roll()
			return false
		}
		p.wrote(0, 0) // only duplicates, whose originals are written
		return true
	}
	s := p.activeSegment()
	f, err := p.store.files.get(p, s, logFile)
	if err != nil {
		p.store.note("the log of %s could not be opened: %v", &p.id, err)
		p.wrote(0, syscall.EIO)
		return true
	}
	f.Retain()
	w.file, w.bytes = f, bytes
	if zeros := p.fill(bytes); zeros > 0 {
		added := 0
		added, w.zeros = p.store.appendZeros(iovecs[n:], zeros)
		n += added
	}
	if p.disk.Writer == WriterRing || p.preallocating || p.tailCold(f) {
		// fallocate(2) holds the file's lock, for a disk's read of a block bitmap if it comes to that (384 ms were seen);
		// a page of which a part is written is read first. Let a worker wait for that, not the core.
		p.submitWrite(n)
		return false
	}
	before := p.store.core.Clock
	done, errno := p.store.core.Kernel.WriteNow(f.fd, iovecs[:n], s.size)
	p.store.Stats.InlineWrites++
	for errno == syscall.EINTR {
		done, errno = p.store.core.Kernel.WriteNow(f.fd, iovecs[:n], s.size)
	}
	w.nanos, w.over = p.store.core.ReadClock()-before, bytes
	p.wrote(done, errno)
	w.nanos = 0
	return true
}

// restNanos: pages written no longer ago than that are still in the page cache; nobody has even written them out.
const restNanos = 1e9

// tailCold says whether the page that the log ends in has to be read before it can be added to: of a log that was at
// rest, the kernel may have dropped it.
func (p *Partition) tailCold(f *File) bool {
	now := p.store.core.Now
	rested := now - p.writing.last
	p.writing.last = now
	return rested > restNanos && p.store.endCold(f, p.activeSegment().size)
}

// endCold says whether the page that a file ends in, at size, is not in the page cache; then it is being read.
func (s *Store) endCold(f *File, size int64) bool {
	if size%pageBytes == 0 {
		return false
	}
	_, errno := s.core.Kernel.ReadNowait(f.fd, s.indexScratch[:1], size-1)
	return errno == syscall.EAGAIN
}

const pageBytes = 4096

// truncatedByOthers ends a log's writing for good: its file has lost its end to somebody else, and what would be written
// behind the hole could not be read. What is left of it is served on; recovery cuts it off at the hole.
func (p *Partition) truncatedByOthers() {
	p.store.note("the log of %s is shorter than what was written to it: something else has truncated it; it takes no more appends until the broker is restarted", &p.id)
	p.trouble = unsyncable
	p.refuseUnsynced()
	p.refuseQueued(protocol.KAFKA_STORAGE_ERROR)
}

// gather moves queued appends into flight, and their batches into iovecs, until those are full or
// a batch needs a new segment.
func (p *Partition) gather(iovecs []unix.Iovec) (n, bytes int) {
	w := &p.writing
	size := p.activeSegment().size
	nowMillis := p.store.core.Wall / 1e6
	for !w.queued.empty() {
		a := w.queued.head
		if !a.duplicate {
			b := a.Batch
			if n == len(iovecs) || p.shouldRoll(size+int64(bytes), len(b), b.LastOffset(), b.MaxTimestamp(), nowMillis) {
				break
			}
			if size+int64(bytes) == 0 {
				p.active.firstTimestamp = b.MaxTimestamp()
			}
			iovecs[n].Base = &b[0]
			iovecs[n].SetLen(len(b))
			n++
			bytes += len(b)
		}
		w.queued.pop()
		w.flight.push(a)
	}
	return n, bytes
}

// submitWrite gives the gathered batches to the ring. The kernel reads iovecs when it gets to them, so each write has
// its own, from the arena; when that is full, the write is of one batch, which needs none.
func (p *Partition) submitWrite(n int) {
	w := &p.writing
	at := uint64(p.activeSegment().size)
	iovecs := p.store.iovecs()[:n]
	if n > 1 {
		if w.iovecs = p.store.core.Arena.Alloc(n * iovecBytes); w.iovecs == nil {
			p.keepFirst()
		}
	}
	p.state = busy
	sqe := p.store.core.Submit(p, tagWrite)
	if w.iovecs == nil {
		sqe.PrepWrite(w.file.fd, unsafe.Pointer(iovecs[0].Base), uint32(iovecs[0].Len), at)
	} else {
		room := unsafe.Slice((*unix.Iovec)(unsafe.Pointer(unsafe.SliceData(w.iovecs.Bytes()))), n)
		copy(room, iovecs)
		sqe.PrepWritev(w.file.fd, &room[0], uint32(n), at)
	}
	p.store.Stats.RingWrites++
}

// keepFirst puts all but the first batch in flight back into the queue.
func (p *Partition) keepFirst() {
	w := &p.writing
	var kept appendList
	w.zeros = 0
	for w.bytes = 0; w.bytes == 0; {
		a := w.flight.pop()
		kept.push(a)
		if !a.duplicate {
			w.bytes = len(a.Batch)
		}
	}
	w.flight.take(&w.queued)
	w.queued, w.flight = w.flight, kept
}

// share is the part that n bytes have in the time of the write that has just ended.
func (w *writing) share(n int) int64 {
	if w.nanos == 0 || w.over == 0 {
		return 0
	}
	return w.nanos * int64(n) / int64(w.over)
}

// wrote takes the end of a write in: n bytes of the batches in flight were written at the log's end.
func (p *Partition) wrote(n int, errno syscall.Errno) {
	w := &p.writing
	if errno != 0 || n < w.bytes {
		if errno == 0 {
			errno = syscall.ENOSPC // the only reason that a file takes less than it is given
		}
		p.writeFailed(errno)
		return
	}
	if w.file != nil {
		w.file.Release()
		w.file = nil
	}
	if n > 0 {
		p.touched = true
	}
	if w.zeros > 0 {
		p.active.filled = p.activeSegment().size + int64(n)
		if n < w.bytes+w.zeros {
			p.noPreallocation = p.store.core.Now + preallocationPauseNanos // the disk is full
		}
	}
	w.bytes, w.zeros = 0, 0
	done := w.flight
	w.flight = appendList{}
	p.advance(&done)
	p.settle(done)
	p.flushIndex(indexFlushEntries)
	p.preallocate()
}

// advance enters written batches into the segment, its indexes and the log's end.
func (p *Partition) advance(done *appendList) {
	s := p.activeSegment()
	before := s.size
	for a := done.head; a != nil; a = a.next {
		a.Written = p.store.core.Clock
		if a.duplicate {
			continue
		}
		b := a.Batch
		a.WriteNanos = p.writing.share(len(b))
		p.active.add(s.size, len(b), int32(a.end-1-s.base), b.MaxTimestamp(), p.config.IndexIntervalBytes)
		s.size += int64(len(b))
		a.endPlace = place{s, s.size, a.end}
		if a.txn != noTxn {
			p.wroteTransaction(a, place{s, s.size - int64(len(b)), a.BaseOffset})
		}
		o := p.offsets
		o.LogEnd = a.end
		p.offsets.set(o)
		p.syncing.unsynced += int64(b.LastOffsetDelta()) + 1
		if p.syncing.unsynced >= p.config.FlushMessages {
			a.mustSync = true
			p.syncing.unsynced = 0
		}
	}
	if s.size > before {
		s.modified = p.store.core.Wall / 1e6
		p.observeExtent(s)
		p.grew(s.size - before)
	}
	p.syncLater()
}

// settle answers appends that are written, as far as none of them, and none before them, waits
// for an fsync.
func (p *Partition) settle(done appendList) {
	p.syncing.waiting.take(&done)
	if p.trouble == unsyncable {
		p.refuseUnsynced()
		return
	}
	p.answer()
	if !p.syncing.waiting.empty() {
		p.sync(p.offsets.LogEnd)
	}
}

// answer answers the appends that wait for nothing more, having moved the high watermark, and then wakes
// who waits for that.
func (p *Partition) answer() {
	var ready appendList
	waiting := &p.syncing.waiting
	at := p.visible
	for a := waiting.head; a != nil && (!a.mustSync || a.end <= p.offsets.RecoveryPoint); a = waiting.head {
		ready.push(waiting.pop())
		if a.end > at.offset && !a.duplicate {
			at = a.endPlace
		}
	}
	moved, stable := at.offset > p.offsets.HighWatermark, p.offsets.LastStable
	if moved {
		p.previous, p.visible = p.visible, at
		o := p.offsets
		o.HighWatermark = at.offset
		p.stabilize(&o)
		p.offsets.set(o)
	}
	for !ready.empty() {
		a := ready.pop()
		a.LogStart = p.offsets.LogStart
		if moved && (p.waiters.head != nil || p.settled.head != nil) && !a.duplicate {
			p.relay(a)
		}
		a.Owner.Appended(a)
	}
	if moved {
		p.wakeAll(&p.waiters)
	}
	if p.offsets.LastStable > stable {
		p.wakeAll(&p.settled)
	}
}

// writeFailed refuses the appends in flight and all behind them and takes back what they changed.
// Whatever reached the file is cut off before anything else is written.
func (p *Partition) writeFailed(errno syscall.Errno) {
	w := &p.writing
	wrote := w.file != nil
	if wrote {
		w.file.Release()
		w.file = nil
	}
	w.bytes, w.zeros = 0, 0
	p.store.Stats.FailedWrites++
	p.noteFailure(errno)
	if errno == syscall.ENOSPC || errno == syscall.EDQUOT {
		p.noPreallocation = p.store.core.Now + preallocationPauseNanos
	}
	if wrote {
		p.trouble = max(p.trouble, mustCut)
		p.cut()
	}
	p.refuseQueued(protocol.KAFKA_STORAGE_ERROR)
	p.suspect(errno)
}

// failureNoteNanos is how often it is said at most that writes to a log fail for the same reason.
const failureNoteNanos = 60e9

// failures is what was said of a log's failed writes.
type failures struct {
	errno syscall.Errno
	noted int64 // core.Now
	since int64 // failed writes that nothing was said of
}

// noteFailure says that a write has failed. Producers try again ten times a second each for as long as a disk is full, and the log that
// says so may lie on that disk: what was said a moment ago is only counted.
func (p *Partition) noteFailure(errno syscall.Errno) {
	f, now := &p.failures, p.store.core.Now
	switch {
	case errno == f.errno && now-f.noted < failureNoteNanos:
		f.since++
		return
	case errno == f.errno && f.since > 0:
		p.store.note("a write to %s failed: %v (as %d writes did since this was last said)", &p.id, errno, f.since)
	default:
		p.store.note("a write to %s failed: %v", &p.id, errno)
	}
	*f = failures{errno: errno, noted: now}
}

// refuseQueued refuses everything that is not written.
func (p *Partition) refuseQueued(code protocol.ErrorCode) {
	w := &p.writing
	refused := w.flight
	refused.take(&w.queued)
	w.flight = appendList{}
	for a := refused.tail; a != nil; a = a.prev {
		p.forget(a)
	}
	p.next = p.offsets.LogEnd
	if p.cleaning != nil {
		p.cleaning.retracted = true
	}
	if p.epochs.clampEnd(p.next) {
		p.saveEpochs()
	}
	if p.activeSegment().size == 0 {
		p.active.firstTimestamp = -1
	}
	for !refused.empty() {
		refused.pop().refuse(code)
	}
}

// cut takes bytes behind the log's end off the file, on a helper. Until then nothing is written.
func (p *Partition) cut() {
	s := p.activeSegment()
	p.state = cutting
	p.store.core.Offload(&cutJob{p: p, path: p.path(s.base, logSuffix), size: s.size})
}

type cutJob struct {
	p    *Partition
	path string
	size int64
	err  error
}

// Work implements reactor.Job.
func (j *cutJob) Work(k kernel) reactor.Message {
	j.err = truncateFile(k, j.path, j.size)
	return j
}

// Deliver implements reactor.Message.
func (j *cutJob) Deliver(*reactor.Core) {
	p := j.p
	if p.state == cutting {
		p.state = idle
	}
	if j.err != nil {
		p.store.note("%s could not be cut back to its last good batch: %v", &p.id, j.err)
		p.suspect(j.err)
		p.refuseQueued(protocol.KAFKA_STORAGE_ERROR)
	} else {
		p.active.allocated = j.size
		p.observeExtent(p.activeSegment())
		if p.trouble == mustCut {
			p.trouble = sound
		}
	}
	if !p.writing.queued.empty() {
		p.store.markDirty(p)
	}
	p.quieted()
}
