package storage

import (
	"slipstream/protocol"

	"golang.org/x/sys/unix"
)

// quietReader reads a segment from its beginning to its end and leaves the page cache as it was: what it brought in, and only that, is
// dropped behind it. What was there before it began is somebody's, and stays.
type quietReader struct {
	log     *logReader
	absent  []span // of the file, rising: not in the page cache when reading began
	dropped int64  // as far as absent pages were dropped
	at      int64  // the next batch
}

// span is a range of a file.
type span struct{ from, to int64 }

// maxAbsent is how many ranges are told apart; beyond them everything is taken for somebody's.
const maxAbsent = 4096

// dropStep is how much is read before it is dropped.
const dropStep = 1 << 20

func (q *quietReader) open(k kernel, path string, size int64) error {
	log, err := openLog(k, path, size)
	if err != nil {
		return err
	}
	*q = quietReader{log: log, absent: absentIn(k, log.fd, log.size, q.absent[:0])}
	return nil
}

// absentIn finds what of a file is not in the page cache.
func absentIn(k kernel, fd int, size int64, all []span) []span {
	for off := int64(0); off < size && len(all) < maxAbsent; {
		n := int(min(size-off, 1<<30))
		if there := int64(k.Resident(fd, off, n)); there > 0 {
			off += there
			continue
		}
		gone := int64(k.Absent(fd, off, n))
		if gone <= 0 {
			return all // the kernel does not say
		}
		all = append(all, span{off, off + gone})
		off += gone
	}
	return all
}

// done says whether all has been read.
func (q *quietReader) done() bool { return q.at >= q.log.size }

// next reads the next batch, checked. It is good until the next call.
func (q *quietReader) next() (protocol.Batch, error) {
	b, err := q.log.batch(q.at)
	if err != nil {
		return nil, err
	}
	q.at += int64(len(b))
	if q.at-q.dropped >= dropStep {
		q.drop(q.at &^ (pageBytes - 1))
	}
	return b, nil
}

// wasAbsent says whether the page at an offset was not in the page cache.
func (q *quietReader) wasAbsent(off int64) bool {
	return len(q.absent) > 0 && off >= q.absent[0].from
}

// drop gives up what was read up to an offset and was not there before.
func (q *quietReader) drop(upTo int64) {
	for len(q.absent) > 0 && q.absent[0].from < upTo {
		a := &q.absent[0]
		to := min(a.to, upTo)
		_ = q.log.k.Advise(q.log.fd, a.from, to-a.from, unix.FADV_DONTNEED) // advice
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
			b, err := readFile(k, j.dir+"/"+fileName(l.base, txnIndexSuffix), maxAbortedBytes)
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
		m.reset(j.to-j.from, j.options.MapBytes)
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
		err = j.cleaner.filter.EachKey(b, func(r *protocol.RecordShape) bool {
			if r.Key != nil && r.Offset >= j.from {
				full = !m.put(hashOf(r.Key), r.Offset)
			}
			return !full
		})
	}
	if err == nil && !full && b.LastOffset() >= j.from {
		m.latest = max(m.latest, b.LastOffset())
	}
	return full, err
}
