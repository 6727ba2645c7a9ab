package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"slipstream/ring"
)

// A start knows a log's closed segments by their names only: ten thousand of them cost it one listing of the directory, and no
// call for any one. What else there is to know of a segment is found when it is wanted, or in passing (survey.go), by an
// examination on a helper: from the size of its .log and the outer entries of its indexes. Where these do not fit each other, or one is
// missing, they are made anew from the batches.

// facts are what an examination finds of a closed segment.
type facts struct {
	size        int64
	modified    int64 // ms
	largest     int64 // of its timestamps (ms), -1: none
	oldest      int64 // the first of its .timeindex, -1: none
	entries     int32
	timeEntries int32
	aborted     int32
}

// learn takes over what was found of a segment, on its core or before it has one. A helper that has seen known may read it.
func (s *segment) learn(f *facts) {
	s.size, s.modified, s.largest, s.oldest = f.size, f.modified, f.largest, f.oldest
	s.entries, s.timeEntries, s.aborts.count = f.entries, f.timeEntries, f.aborted
	s.known.Store(true)
}

// errDoubtful: a segment's files do not fit each other, or are missing. Its batches tell.
var errDoubtful = errors.New("its indexes do not fit its log")

// segmentFiles is a segment by its files.
type segmentFiles struct {
	k    ring.Files
	dir  string
	base int64
	end  int64 // the offset after its last, -1: not known
}

func (f *segmentFiles) path(suffix string) string { return f.dir + "/" + fileName(f.base, suffix) }

// examine looks at a closed segment's files and takes them at their word, if that makes sense: otherwise it is errDoubtful. What a
// rebuild would not change is no doubt.
func (f *segmentFiles) examine() (x facts, err error) {
	info, err := f.k.Stat(f.path(logSuffix))
	if err != nil {
		return x, err
	}
	x.size, x.modified = info.Size, info.ModifiedNanos/1e6
	last, err := f.outer(x.size)
	x.entries, x.timeEntries = last.entries, last.timeEntries
	x.largest, x.oldest = last.largest()
	if err == nil && !last.timeOK && x.size > 0 {
		// A roll leaves the segment's largest timestamp there: without it a search by
		// time would pass the segment over.
		err = fmt.Errorf("%w: the .timeindex of a closed segment is empty", errDoubtful)
	}
	if err != nil {
		return x, err
	}
	list, err := f.aborted()
	x.aborted = int32(len(list))
	return x, err
}

// aborted reads the .txnindex. A segment without aborted transactions has none.
func (f *segmentFiles) aborted() ([]abortedTxn, error) {
	b, err := ReadFile(f.k, f.path(txnIndexSuffix), maxAbortedBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeAborted(b, f.base, f.end)
}

// lastEntries are the last entries of a segment's indexes; ok says which there are.
type lastEntries struct {
	entries     int32
	timeEntries int32
	index       indexEntry
	indexOK     bool
	time        timeEntry
	timeOK      bool

	firstTime int64 // the timestamp of the first .timeindex entry
}

// largest is the segment's largest timestamp, and one of the first.
func (l *lastEntries) largest() (largest, oldest int64) {
	if !l.timeOK {
		return -1, -1
	}
	return l.time.timestamp, l.firstTime
}

// outer counts the entries of a segment's indexes and checks the outer ones against a log of size bytes.
func (f *segmentFiles) outer(size int64) (l lastEntries, err error) {
	limit := int64(math.MaxInt32)
	if f.end >= 0 {
		limit = f.end - f.base - 1
	}
	first, last, n, err := f.outerEntries(indexSuffix, indexEntryBytes)
	if err != nil {
		return l, err
	}
	if n > 0 {
		l.index, l.indexOK = decodeIndexEntry(last), true
		if e, before := l.index, decodeIndexEntry(first); n > 1 && (before.relative >= e.relative || before.position >= e.position) || e.relative < 0 || int64(e.relative) > limit || e.position < 0 || int64(e.position) >= size {
			return l, fmt.Errorf("%w: the .index ends with offset %d at position %d", errDoubtful, f.base+int64(e.relative), e.position)
		}
	}
	l.entries = int32(n)
	if first, last, n, err = f.outerEntries(timeIndexSuffix, timeIndexEntryBytes); err != nil {
		return l, err
	}
	if n > 0 {
		l.time, l.timeOK = decodeTimeEntry(last), true
		before := decodeTimeEntry(first)
		l.firstTime = before.timestamp
		if e := l.time; n > 1 && (before.timestamp >= e.timestamp || before.relative > e.relative) || e.relative < 0 || int64(e.relative) > limit || e.timestamp < 0 {
			return l, fmt.Errorf("%w: the .timeindex ends with offset %d", errDoubtful, f.base+int64(e.relative))
		}
	}
	l.timeEntries = int32(n)
	return l, nil
}

// outerEntries finds the first and the last entry of an index, and how many there are. Zeros at its end are what Kafka
// preallocates for an active segment and trims at a roll or a clean stop: where an index is to be trusted they do not belong.
func (f *segmentFiles) outerEntries(suffix string, size int64) (first, last []byte, n int64, err error) {
	fd, err := f.k.Open(f.path(suffix), readOnly, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, 0, fmt.Errorf("%w: there is no %s", errDoubtful, suffix)
	}
	if err != nil {
		return nil, nil, 0, err
	}
	defer closeQuietly(f.k, fd)
	bytes, err := f.k.Size(fd)
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
	err = errors.Join(readFull(f.k, fd, first, 0), readFull(f.k, fd, last, (n-1)*size))
	if err == nil && allZero(last) {
		err = fmt.Errorf("%w: the %s ends in zeros", errDoubtful, suffix)
	}
	return first, last, n, err
}
