package storage

import (
	"slipstream/protocol"

	"golang.org/x/sys/unix"
)

// quietReader reads a segment from its beginning to its end and leaves the page cache as it was: what it brought in, and only that, is
// dropped behind it. What was there before it came near is somebody's, and stays.
type quietReader struct {
	k       kernel
	log     *logReader
	absent  []span // of the file, rising: not in the page cache when they were noted
	noted   int64  // as far as it is known what is absent
	asked   int64  // as far as the kernel was asked to read ahead
	dropped int64  // as far as absent pages were dropped
	at      int64  // the next batch
	warm    bool   // the last batch was in the page cache
	buffer  []byte // of the file read last
}

// span is a range of a file.
type span struct{ from, to int64 }

const (
	// quietRead is how much is read at a time, and dropped: a kernel without preemption keeps the processor for as long as a call copies.
	quietRead = 256 << 10
	// quietAhead is how much the kernel is asked to read ahead, so that nobody waits for the disk.
	quietAhead = 2 << 20
	// quietNote is how far ahead it is noted what is absent: the kernel reads ahead on its own too, up to read_ahead_kb, and
	// what it brings in is not somebody's.
	quietNote = 16 << 20
	// quietNoteStep is how much is noted at a time. It bounds what a cache full of holes costs: a hole is found by halving.
	quietNoteStep = 1 << 20
	// maxAbsent is how many ranges are told apart; beyond them everything is taken for somebody's.
	maxAbsent = 4096
)

func (q *quietReader) open(k kernel, path string, size int64) error {
	log, err := openLog(k, path, size)
	if err != nil {
		return err
	}
	if log.atATime = quietRead; q.buffer != nil {
		log.buf = q.buffer[:0]
	}
	*q = quietReader{k: k, log: log, absent: q.absent[:0], buffer: q.buffer}
	return nil
}

// note notes what is not in the page cache of the next of the file.
func (q *quietReader) note() {
	for q.noted < min(q.at+quietNote, q.log.size) {
		end := min(q.noted+quietNoteStep, q.log.size)
		for off := q.noted; off < end && len(q.absent) < maxAbsent; {
			n := int(end - off)
			gone := int64(q.k.Absent(q.log.fd, off, n))
			if gone > 0 {
				q.lacks(span{off, off + gone})
				off += gone
				continue
			}
			there := int64(q.k.Resident(q.log.fd, off, n))
			if there <= 0 {
				break // the kernel does not say
			}
			off += there
		}
		q.noted = end
	}
}

// lacks adds a range to those that are absent.
func (q *quietReader) lacks(s span) {
	if n := len(q.absent); n > 0 && q.absent[n-1].to == s.from {
		q.absent[n-1].to = s.to
		return
	}
	q.absent = append(q.absent, s)
}

// ahead asks the kernel to have what comes next ready.
func (q *quietReader) ahead() {
	from := max(q.asked, q.at)
	if upTo := min(q.at+2*quietAhead, q.log.size); upTo-from >= min(quietAhead, q.log.size-from) && upTo > from {
		if len(q.absent) > 0 { // else all of it is there
			_ = q.k.Advise(q.log.fd, from, upTo-from, unix.FADV_WILLNEED) // advice
		}
		q.asked = upTo
	}
}

// done says whether all has been read.
func (q *quietReader) done() bool { return q.at >= q.log.size }

// next reads the next batch, checked. It is good until the next call.
func (q *quietReader) next() (protocol.Batch, error) {
	if q.at >= q.noted-quietNote+quietNoteStep {
		q.note()
		q.ahead()
	}
	b, err := q.log.batch(q.at)
	if err != nil {
		return nil, err
	}
	q.warm = !q.wasAbsent(q.at)
	q.at += int64(len(b))
	if q.at-q.dropped >= quietRead {
		q.drop(q.at &^ (pageBytes - 1))
	}
	return b, nil
}

// wasAbsent says whether the page at a place behind what was dropped was not in the page cache.
func (q *quietReader) wasAbsent(at int64) bool {
	for _, a := range q.absent {
		if at < a.to {
			return at >= a.from
		}
	}
	return false
}

// drop gives up what was read up to an offset and was not there before.
func (q *quietReader) drop(upTo int64) {
	for len(q.absent) > 0 && q.absent[0].from < upTo {
		a := &q.absent[0]
		to := min(a.to, upTo)
		_ = q.k.Advise(q.log.fd, a.from, to-a.from, unix.FADV_DONTNEED) // advice
		if a.from = to; a.from < a.to {
			break
		}
		q.absent = q.absent[1:]
	}
	q.dropped = upTo
}

func (q *quietReader) close() {
	if q.log == nil {
		return
	}
	q.drop(q.log.size)
	q.buffer = q.log.buf
	q.log.close()
	q.log = nil
}

// laterAborts is where the aborted transactions of a segment are: in memory, or in its .txnindex.
type laterAborts struct {
	base, end int64
	list      []abortedTxn
}

// abortedWithin finds the aborted transactions with records in [from, to), as AbortedTransactions does.
func (j *cleaning) abortedWithin(k kernel, from, to int64) (found []abortedTxn, err error) {
	for i := range j.later {
		l := &j.later[i]
		if l.end <= from {
			continue
		}
		list := l.list
		if list == nil {
			b, err := ReadFile(k, j.dir+"/"+fileName(l.base, txnIndexSuffix), maxAbortedBytes)
			if err != nil {
				return nil, err
			}
			if list, err = decodeAborted(b, l.base, l.end); err != nil {
				return nil, err
			}
		}
		for _, e := range list {
			if e.last < from {
				continue
			}
			if e.first < to {
				found = append(found, e)
			}
			if e.stable >= to {
				return found, nil
			}
		}
	}
	return found, nil
}

// buildMap takes a piece of the dirty part into the map.
func (j *cleaning) buildMap(k kernel) error {
	m := &j.cleaner.offsets
	if !j.prepared {
		j.prepared = true
		if err := m.reset(k, j.to-j.from, j.options.MapBytes); err != nil {
			return err
		}
		aborted, err := j.abortedWithin(k, j.from, j.to)
		if err != nil {
			return err
		}
		j.txns.expect(aborted)
	}
	for j.moved < j.piece && j.at < len(j.segments) {
		if err := j.openNext(k); err != nil {
			return err
		}
		for j.moved < j.piece && !j.reading.done() {
			b, err := j.reading.next()
			if err != nil {
				return err
			}
			j.moved += int64(len(b))
			j.result.ReadBytes += int64(len(b))
			full, err := j.mapBatch(b)
			if err != nil {
				return err
			}
			if full {
				j.at = len(j.segments)
				return nil
			}
		}
		if j.reading.done() {
			m.latest = max(m.latest, j.ends[j.at]-1)
			j.closeRead()
		}
	}
	return nil
}

// openNext opens the segment that is to be read.
func (j *cleaning) openNext(k kernel) error {
	if j.opened {
		return nil
	}
	s := j.segments[j.at]
	if err := j.reading.open(k, j.dir+"/"+fileName(s.base, logSuffix), s.size); err != nil {
		return err
	}
	j.opened = true
	return nil
}

func (j *cleaning) closeRead() {
	j.reading.close()
	j.opened = false
	j.at++
}

// mapBatch takes a batch into the map. full: there was no room for all of it.
func (j *cleaning) mapBatch(b protocol.Batch) (full bool, err error) {
	m := &j.cleaner.offsets
	j.result.MapRecords += int64(b.Count())
	switch {
	case b.IsControl():
		j.txns.control(b)
	case j.txns.batch(b): // aborted
	case b.LastOffset() < j.from:
	default:
		err = j.cleaner.filter.EachRun(b, m.digestOf, func(run []protocol.RecordShape) bool {
			m.near(run)
			for i := range run {
				if r := &run[i]; r.HasKey && r.Offset >= j.from && !m.put(r.Key, r.Offset) {
					full = true
					break
				}
			}
			return !full
		})
	}
	if err == nil && !full && b.LastOffset() >= j.from {
		m.latest = max(m.latest, b.LastOffset())
	}
	return full, err
}
