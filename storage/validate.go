package storage

import (
	"errors"
	"fmt"
	"math"

	"slipstream/protocol"

	"golang.org/x/sys/unix"
)

// header is a batch without its records.
type header = protocol.Batch

const progressBytes = 64 << 20

// trustActive opens the last segment after a clean shutdown: from the last index entry on the batches' headers are
// read, which gives the log's end; they must end where the file does.
func (op *opening) trustActive(s *segment) error {
	info, err := op.k.Stat(op.p.path(s.base, logSuffix))
	if err != nil {
		return err
	}
	s.size, s.modified = info.Size, info.ModifiedNanos/1e6
	f := segmentFiles{k: op.k, dir: op.p.dir, base: s.base, end: -1}
	last, err := f.outer(s.size)
	if err != nil {
		return err
	}
	s.entries, s.timeEntries = last.entries, last.timeEntries
	if last.indexOK && !last.timeOK {
		return fmt.Errorf("%w: the .timeindex is empty and the .index is not", errDoubtful)
	}
	a := active{indexBuilder: newIndexBuilder(), firstTimestamp: -1, allocated: s.size}
	from := int64(0)
	if last.indexOK {
		from = int64(last.index.position)
	}
	if last.timeOK {
		a.lastTime, a.maxTimestamp, a.maxRelative = last.time, last.time.timestamp, last.time.relative
	}
	next, end := s.base, int64(0)
	err = op.eachHeader(s.base, from, func(_ *logReader, pos int64, h header) error {
		if pos == from && last.indexOK && h.LastOffset() != s.base+int64(last.index.relative) || h.BaseOffset() < next || h.LastOffset()-s.base > math.MaxInt32 {
			return fmt.Errorf("%w: a batch at position %d has offset %d", errDoubtful, pos, h.BaseOffset())
		}
		if h.MaxTimestamp() > a.maxTimestamp {
			a.maxTimestamp, a.maxRelative = h.MaxTimestamp(), int32(h.LastOffset()-s.base)
		}
		if pos == 0 {
			a.firstTimestamp = h.MaxTimestamp()
		}
		next, end = h.NextOffset(), pos+batchBytes(h)
		return nil
	})
	if err != nil {
		return err
	}
	if end != s.size {
		return fmt.Errorf("%w: its batches end at %d, the file at %d", errDoubtful, end, s.size)
	}
	if last.timeOK && s.base+int64(last.time.relative) >= next {
		return fmt.Errorf("%w: the .timeindex ends with offset %d", errDoubtful, s.base+int64(last.time.relative))
	}
	a.sinceEntry = s.size - from
	if from > 0 {
		if a.firstTimestamp, err = op.firstTimestamp(s); err != nil {
			return err
		}
	}
	op.p.active, op.p.next = a, next
	return nil
}

// firstTimestamp is the max timestamp of a segment's first batch, -1 if it is empty.
func (op *opening) firstTimestamp(s *segment) (int64, error) {
	first := int64(-1)
	err := op.eachHeader(s.base, 0, func(_ *logReader, _ int64, h header) error {
		first = h.MaxTimestamp()
		return errStop
	})
	return first, err
}

// errStop ends a walk early.
var errStop = errors.New("stop")

// eachHeader calls f with the header of each batch of a segment, from one that begins at position on, until
// there is no whole batch or f fails; errStop ends it without an error.
func (op *opening) eachHeader(base, position int64, f func(r *logReader, position int64, h header) error) error {
	r, err := openLog(op.k, op.p.path(base, logSuffix), -1)
	if err != nil {
		return err
	}
	defer r.close()
	for position < r.size {
		h, err := r.header(position)
		if errors.Is(err, errNoBatch) {
			return nil
		}
		if err != nil {
			return err
		}
		size := batchBytes(h)
		if err := f(r, position, h); err != nil {
			if errors.Is(err, errStop) {
				return nil
			}
			return err
		}
		position += size
	}
	return nil
}

// distrustCache has a log read from the disk, where the topic's appends wait for an fsync. After an fsync that failed the page cache has what
// the disk does not: the pages are clean, the next fsync succeeds, and what a recovery took in from the cache would be gone after a power cut,
// though consumers had read it. An error that nobody has been told yet is told by this fsync.
func (op *opening) distrustCache(r *logReader) error {
	if op.p.config.FlushMessages == neverFlush {
		return nil
	}
	if err := op.k.Sync(r.fd); err != nil {
		return err
	}
	return op.k.Advise(r.fd, 0, 0, unix.FADV_DONTNEED)
}

// validate reads a segment whole, cuts it behind its last good batch, and writes its indexes anew.
// end is where the next segment begins, or -1.
func (op *opening) validate(s *segment, end int64) (cut bool, err error) {
	r, err := openLog(op.k, op.p.path(s.base, logSuffix), -1)
	if err != nil {
		return false, err
	}
	defer r.close()
	if err := op.distrustCache(r); err != nil {
		return false, err
	}
	if err := op.forgetAborted(s); err != nil {
		return false, err
	}
	op.report.SegmentsScanned++
	op.p.touched = true
	a := active{indexBuilder: newIndexBuilder(), firstTimestamp: -1}
	next, position := s.base, int64(0)
	var torn error
	for position < r.size {
		b, err := r.batch(position)
		if err == nil {
			err = fits(b, s.base, next, end)
		}
		if errors.Is(err, errNoBatch) {
			torn = err
			break
		}
		if err != nil {
			return false, err
		}
		if position == 0 {
			a.firstTimestamp = b.MaxTimestamp()
		}
		a.add(position, len(b), int32(b.LastOffset()-s.base), b.MaxTimestamp(), op.p.config.IndexIntervalBytes)
		if op.p.epochs.assignSeen(b.LeaderEpoch(), b.BaseOffset()) {
			op.p.epochsLost = true
		}
		position += int64(len(b))
		next = b.NextOffset()
		op.progressed(int64(len(b)))
	}
	s.size, s.largest, s.oldest, s.modified = position, a.maxTimestamp, a.firstTimestamp, op.modified(s)
	op.report.BytesScanned += position
	if torn != nil && end < 0 && op.p.config.FlushMessages != neverFlush && r.zeroFrom(position) {
		torn = nil // filled ahead, not torn; the file is cut below
	}
	if torn != nil {
		cut = true
		op.report.BytesCut += r.size - position
		op.report.note("segment %d is cut from %d to %d bytes: %v", s.base, r.size, position, torn)
	}
	a.allocated = position
	a.addTime()
	if err := op.writeIndexes(s, &a); err != nil {
		return cut, err
	}
	op.p.active, op.p.next = a, next
	return cut, nil
}

// fits checks a batch against its place in the log.
func fits(b protocol.Batch, base, next, end int64) error {
	switch {
	case b.BaseOffset() < next:
		return fmt.Errorf("%w: its offset is %d where %d is next", errNoBatch, b.BaseOffset(), next)
	case b.LastOffset()-base > math.MaxInt32:
		return fmt.Errorf("%w: its offset %d is too far from the segment's", errNoBatch, b.LastOffset())
	case end >= 0 && b.LastOffset() >= end:
		return fmt.Errorf("%w: its offset %d belongs to the next segment", errNoBatch, b.LastOffset())
	}
	return nil
}

// writeIndexes writes a validated segment's indexes and cuts the log to its size.
func (op *opening) writeIndexes(s *segment, a *active) error {
	c := closingFiles{path: op.p.path(s.base, ""), size: s.size, index: a.index, time: a.time}
	if err := c.finish(op.k, false); err != nil {
		return err
	}
	s.entries, s.timeEntries = int32(len(a.index)), int32(len(a.time))
	a.index, a.time = nil, nil
	return nil
}

// modified is when a segment was last written to (ms).
func (op *opening) modified(s *segment) int64 {
	info, err := op.k.Stat(op.p.path(s.base, logSuffix))
	if err != nil {
		return op.k.Wall() / 1e6
	}
	return info.ModifiedNanos / 1e6
}

func (op *opening) progressed(n int64) {
	op.done += n
	op.since += n
	if op.since >= progressBytes && op.o.Progress != nil {
		op.since = 0
		op.o.Progress(Progress{Partition: op.p.id, DoneBytes: op.done, TotalBytes: max(op.total, op.done)})
	}
}
