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
		if h.Count() > 0 && h.MaxTimestamp() > a.maxTimestamp {
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
		r.skims(size)
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

// validated is a segment that was read whole.
type validated struct {
	active
	size     int64 // up to behind its last good batch
	fileSize int64
	modified int64 // ms
	next     int64
	holes    bool         // offsets between its first and next have no record: it was cleaned
	epochs   []epochEntry // later ones than those before, as its batches have them
	torn     error        // what is behind the last good batch
	zeros    bool         // no more than zeros
	read     bool         // or tried to be
	err      error        // it could not be read
}

// readAheadBytes is how far ahead the disk is asked for what is validated next: the kernel's own read-ahead, of 128 KiB, would be waited for.
const readAheadBytes = 4 << 20

// validateLog reads a segment whole and changes nothing: it may run beside others of the same log. told is told of bytes as they
// are read; it may be nil.
func (f *segmentFiles) validateLog(c *Config, told func(bytes int64)) (v validated) {
	v.active = active{indexBuilder: newIndexBuilder(), firstTimestamp: -1}
	v.next, v.read = f.base, true
	info, err := f.k.Stat(f.path(logSuffix))
	if err != nil {
		v.err = err
		return v
	}
	r, err := openLog(f.k, f.path(logSuffix), -1)
	if err != nil {
		v.err = err
		return v
	}
	defer r.close()
	if v.err = c.distrustCache(r); v.err != nil {
		return v
	}
	v.fileSize, v.modified = r.size, info.ModifiedNanos/1e6
	var asked, reported int64
	for v.size < r.size {
		if v.size+readAheadBytes > asked {
			_ = f.k.Advise(r.fd, asked, 2*readAheadBytes, unix.FADV_WILLNEED) // advice
			asked += 2 * readAheadBytes
		}
		b, err := r.batch(v.size)
		if err == nil {
			err = fits(b, f.base, v.next, f.end)
		}
		if errors.Is(err, errNoBatch) {
			v.torn = err
			break
		}
		if err != nil {
			v.err = err
			return v
		}
		v.take(b, f.base, c.IndexIntervalBytes)
		if v.size-reported >= toldBytes && told != nil {
			told(v.size - reported)
			reported = v.size
		}
	}
	v.zeros = v.torn != nil && r.zeroFrom(v.size)
	if told != nil {
		told(r.size - reported)
	}
	return v
}

// toldBytes is how often progress is told.
const toldBytes = 4 << 20

// take takes the next batch in.
func (v *validated) take(b protocol.Batch, base int64, interval int32) {
	if v.size == 0 {
		v.firstTimestamp = b.MaxTimestamp()
	}
	v.addBatch(v.size, len(b), b, base, interval)
	if n := len(v.epochs); n == 0 || b.LeaderEpoch() > v.epochs[n-1].epoch {
		v.epochs = append(v.epochs, epochEntry{b.LeaderEpoch(), b.BaseOffset()})
	}
	v.holes = v.holes || b.BaseOffset() != v.next || int64(b.Count()) != b.NextOffset()-b.BaseOffset()
	v.size += int64(len(b))
	v.next = b.NextOffset()
}

// distrustCache has a log read from the disk, where the topic's appends wait for an fsync. After an fsync that failed the page cache has what
// the disk does not: the pages are clean, the next fsync succeeds, and what a recovery took in from the cache would be gone after a power cut,
// though consumers had read it. An error that nobody has been told yet is told by this fsync.
func (c *Config) distrustCache(r *logReader) error {
	if c.FlushMessages == neverFlush {
		return nil
	}
	return r.distrust()
}

func (r *logReader) distrust() error {
	if err := r.k.Sync(r.fd); err != nil {
		return err
	}
	return r.k.Advise(r.fd, 0, 0, unix.FADV_DONTNEED)
}

// validate reads a segment whole, cuts it behind its last good batch, and writes its indexes anew.
// end is where the next segment begins, or -1.
func (op *opening) validate(s *segment, end int64) (cut bool, err error) {
	f := segmentFiles{k: op.k, dir: op.p.dir, base: s.base, end: end}
	v := f.validateLog(&op.p.config, op.o.Told)
	return op.settle(s, end, &v)
}

// settle makes a segment what was found of it.
func (op *opening) settle(s *segment, end int64, v *validated) (cut bool, err error) {
	if v.err != nil {
		return false, v.err
	}
	if err := op.forgetAborted(s); err != nil {
		return false, err
	}
	op.report.SegmentsScanned++
	op.report.BytesScanned += v.size
	op.p.touched = true
	for _, e := range v.epochs {
		if op.p.epochs.assignSeen(e.epoch, e.start) {
			op.p.epochsLost = true
		}
	}
	v.complete()
	s.size, s.largest, s.oldest, s.modified = v.size, v.maxTimestamp, v.firstTimestamp, v.modified
	// Zeros behind the last segment's batches are room that was made ahead; the file is cut below.
	if v.torn != nil && !(v.zeros && end < 0 && op.p.config.FlushMessages != neverFlush) {
		cut = true
		op.report.BytesCut += v.fileSize - v.size
		op.report.note("segment %d is cut from %d to %d bytes: %v", s.base, v.fileSize, v.size, v.torn)
	}
	v.allocated = v.size
	if err := op.writeIndexes(s, &v.active); err != nil {
		return cut, err
	}
	op.p.active, op.p.next, op.whole = v.active, v.next, !v.holes
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
