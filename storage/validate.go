package storage

import (
	"errors"
	"fmt"
	"math"

	"slipstream/protocol"
)

// header is a batch without its records.
type header = protocol.Batch

// errDoubtful: a segment's files do not fit each other, or are missing. Its batches tell.
var errDoubtful = errors.New("its indexes do not fit its log")

const progressBytes = 64 << 20

// trustClosed opens a closed segment without reading it: sizes and the last entries of the indexes must
// make sense.
func (op *opening) trustClosed(s *segment, end int64) error {
	info, err := op.k.Stat(op.p.path(s.base, logSuffix))
	if err != nil {
		return err
	}
	s.size, s.modified = info.Size, info.ModifiedNanos/1e6
	last, err := op.trustIndexes(s, end)
	s.largest, s.oldest = last.largest()
	if err == nil && !last.timeOK && s.size > 0 {
		// A roll leaves the segment's largest timestamp there: without it a search by
		// time would pass the segment over.
		return fmt.Errorf("%w: the .timeindex of a closed segment is empty", errDoubtful)
	}
	return err
}

// lastEntries are the last entries of a segment's indexes; ok says which there are.
type lastEntries struct {
	index   indexEntry
	indexOK bool
	time    timeEntry
	timeOK  bool

	firstTime int64 // the timestamp of the first .timeindex entry
}

// largest is the segment's largest timestamp, and one of the first.
func (l *lastEntries) largest() (largest, oldest int64) {
	if !l.timeOK {
		return -1, -1
	}
	return l.time.timestamp, l.firstTime
}

// trustIndexes counts the entries of a segment's indexes and checks the last ones against the log: end is the
// offset after the segment's last, or -1 if that is not known.
func (op *opening) trustIndexes(s *segment, end int64) (last lastEntries, err error) {
	limit := int64(math.MaxInt32)
	if end >= 0 {
		limit = end - s.base - 1
	}
	first, b, n, err := op.outerEntries(s, indexSuffix, indexEntryBytes)
	if err != nil {
		return last, err
	}
	if n > 0 {
		last.index, last.indexOK = decodeIndexEntry(b), true
		if e, f := last.index, decodeIndexEntry(first); n > 1 && (f.relative >= e.relative || f.position >= e.position) || e.relative < 0 || int64(e.relative) > limit || e.position < 0 || int64(e.position) >= s.size {
			return last, fmt.Errorf("%w: the .index ends with offset %d at position %d", errDoubtful, s.base+int64(e.relative), e.position)
		}
	}
	s.entries = int32(n)
	if first, b, n, err = op.outerEntries(s, timeIndexSuffix, timeIndexEntryBytes); err != nil {
		return last, err
	}
	if n > 0 {
		last.time, last.timeOK = decodeTimeEntry(b), true
		last.firstTime = decodeTimeEntry(first).timestamp
		if e, f := last.time, decodeTimeEntry(first); n > 1 && (f.timestamp >= e.timestamp || f.relative > e.relative) || e.relative < 0 || int64(e.relative) > limit || e.timestamp < 0 {
			return last, fmt.Errorf("%w: the .timeindex ends with offset %d", errDoubtful, s.base+int64(e.relative))
		}
	}
	s.timeEntries = int32(n)
	return last, nil
}

// outerEntries finds the first and the last entry of an index, and how many there are. Zeros at its end are what Kafka
// preallocates for an active segment and trims at a roll or a clean stop: where an index is to be trusted they do not belong.
func (op *opening) outerEntries(s *segment, suffix string, size int64) (first, last []byte, n int64, err error) {
	if !op.files.has(s.base, suffix) {
		return nil, nil, 0, fmt.Errorf("%w: there is no %s", errDoubtful, suffix)
	}
	fd, err := op.k.Open(op.p.path(s.base, suffix), readOnly, 0)
	if err != nil {
		return nil, nil, 0, err
	}
	defer closeQuietly(op.k, fd)
	bytes, err := op.k.Size(fd)
	if err != nil {
		return nil, nil, 0, err
	}
	if bytes%size != 0 || bytes > math.MaxInt32 {
		return nil, nil, 0, fmt.Errorf("%w: the %s has %d bytes", errDoubtful, suffix, bytes)
	}
	first, last = make([]byte, size), make([]byte, size)
	if n = bytes / size; n == 0 {
		return first, last, 0, nil
	}
	err = errors.Join(readFull(op.k, fd, first, 0), readFull(op.k, fd, last, (n-1)*size))
	if err == nil && allZero(last) {
		err = fmt.Errorf("%w: the %s ends in zeros", errDoubtful, suffix)
	}
	return first, last, n, err
}

// trustActive opens the last segment after a clean shutdown: from the last index entry on the batches' headers are
// read, which gives the log's end; they must end where the file does.
func (op *opening) trustActive(s *segment) error {
	info, err := op.k.Stat(op.p.path(s.base, logSuffix))
	if err != nil {
		return err
	}
	s.size, s.modified = info.Size, info.ModifiedNanos/1e6
	last, err := op.trustIndexes(s, -1)
	if err != nil {
		return err
	}
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

// validate reads a segment whole, cuts it behind its last good batch, and writes its indexes anew.
// end is where the next segment begins, or -1.
func (op *opening) validate(s *segment, end int64) (cut bool, err error) {
	r, err := openLog(op.k, op.p.path(s.base, logSuffix), -1)
	if err != nil {
		return false, err
	}
	defer r.close()
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
