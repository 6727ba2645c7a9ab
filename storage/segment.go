package storage

import (
	"errors"
	"io/fs"
	"math"
	"sync/atomic"
)

// segment is one .log file with its indexes. Once closed, by a roll, and known, only its phase, dirty, finishing, files and
// aborts fields change. Of one that is not known (examine.go) nothing but the base offset and the phase means anything.
type segment struct {
	base        int64
	known       atomic.Bool
	unreadable  bool         // its examination has failed: left to those who want to read it
	examination *examination // under way
	phase       phase
	finishing   bool  // a helper puts it in order after its roll
	size        int64 // bytes of whole batches
	dirty       int64 // of these, the last that are neither on the disk nor on their way
	largest     int64 // of its timestamps (ms), -1 if there are none; once it is closed
	oldest      int64 // the largest timestamp of its first batch, or near it (the first in .timeindex), once it is closed; -1: none
	modified    int64 // when it was last written to (ms)
	noted       bool  // that largest lies in the future
	entries     int32 // on disk, in .index
	timeEntries int32 // on disk, in .timeindex
	unnamed     bool  // its name in the directory is not known to be durable
	unsettled   bool  // closed, and its indexes are not known to be durable
	files       [fileKinds]*File
	observed    uint32 // the .log's number with the core's CacheObserver, once it was opened; 0: it has none
	aborts      aborts
}

// fileKind is which of a segment's files.
type fileKind uint8

const (
	logFile fileKind = iota
	indexFile
	timeIndexFile
	fileKinds
)

var fileSuffixes = [fileKinds]string{logSuffix, indexSuffix, timeIndexSuffix}

// active is what is known of the segment being appended to, beside its segment.
type active struct {
	indexBuilder         // the entries not yet on disk
	firstTimestamp int64 // max timestamp of the first batch, -1 if there is none
	createdMillis  int64 // when the segment was made or opened
	jitterMillis   int64 // taken off segment.ms
	allocated      int64 // the file has blocks up to here
	filled         int64 // and is as long as this, if that is more than the segment's size
}

// shouldRoll says whether a batch must go to a new segment: Kafka's LogSegment.shouldRoll. size is
// the segment's with all that is before the batch.
func (p *Partition) shouldRoll(size int64, batchBytes int, lastOffset, maxTimestamp, nowMillis int64) bool {
	s, a := p.activeSegment(), &p.active
	switch {
	case size > int64(p.config.SegmentBytes)-int64(batchBytes):
		return size > 0
	case lastOffset-s.base > math.MaxInt32:
		return true
	case size == 0:
		return false
	}
	waited := nowMillis - a.createdMillis
	if a.firstTimestamp >= 0 {
		waited = maxTimestamp - a.firstTimestamp
	}
	return waited > p.config.maxSegmentMillis()-a.jitterMillis || p.indexFull()
}

// indexFull says whether either index has no room for another entry; the last .timeindex entry is kept for the roll.
func (p *Partition) indexFull() bool {
	s, a := p.activeSegment(), &p.active
	return int(s.entries)+len(a.index) >= int(p.config.IndexBytes)/indexEntryBytes ||
		int(s.timeEntries)+len(a.time) >= int(p.config.IndexBytes)/timeIndexEntryBytes-1
}

// segmentFor is the place in p.segments of the segment that offset is, or would be, in.
func (p *Partition) segmentFor(offset int64) int {
	lo, hi := 0, len(p.segments) // segments below lo begin at or before offset
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if p.segments[mid].base <= offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return max(lo-1, 0)
}

func (p *Partition) activeSegment() *segment { return p.segments[len(p.segments)-1] }

// endOf is the offset after the last of segment i.
func (p *Partition) endOf(i int) int64 {
	if i+1 < len(p.segments) {
		return p.segments[i+1].base
	}
	return p.offsets.LogEnd
}

// observeExtent tells the core's CacheObserver where a segment's bytes end: what is brought into the page cache behind
// that is written, not read.
func (p *Partition) observeExtent(s *segment) {
	if s.observed != 0 {
		p.store.files.observer.Extent(s.observed, s.size)
	}
}

// segmentPath is where one of a segment's files is. One that a cleaner has just put into the log is called .swap, or, if it is
// not there, otherwise already: that is the other path, empty where there is none.
func (p *Partition) segmentPath(s *segment, suffix string) (path, other string) {
	path = p.path(s.base, suffix)
	if s.phase == segmentSwapped {
		return path + swapSuffix, path
	}
	return path, ""
}

// openSegmentFile opens a file at a path or else at another.
func openSegmentFile(k kernel, path, other string, flags int) (int, error) {
	fd, err := k.Open(path, flags, 0)
	if other != "" && errors.Is(err, fs.ErrNotExist) {
		return k.Open(other, flags, 0)
	}
	return fd, err
}

func (p *Partition) path(base int64, suffix string) string {
	return p.dir + "/" + fileName(base, suffix)
}
