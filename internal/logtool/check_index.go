package logtool

import (
	"fmt"
	"strings"

	"slipstream/protocol"
	"slipstream/storage"
)

// indexCheck is an .index whose entries are met as the batches pass.
type indexCheck struct {
	path    string
	entries []storage.IndexEntry
	met     int
}

// timeCheck is a .timeindex.
type timeCheck struct {
	path    string
	entries []storage.TimeIndexEntry
	met     int
	largest int64 // timestamp of the batches so far
}

// Sizes of entries, for positions in what is told.
const (
	indexEntryBytes     = 8
	timeIndexEntryBytes = 12
)

// openIndexes reads a segment's indexes, and leaves out what follows an entry that does not rise.
func (c *check) openIndexes(s *segmentCheck) {
	s.time.largest = -1
	s.offset.path, s.time.path = c.path(s.base, ".index"), c.path(s.base, ".timeindex")
	s.aborted.path = c.path(s.base, ".txnindex")
	if b, ok := c.readIndex(s, ".index", s.offset.path); ok {
		list, zeros, err := storage.DecodeIndex(b)
		c.indexEnds(s, s.offset.path, len(b), zeros, err)
		n := len(list)
		for i, e := range list {
			if e.Relative < 0 || e.Position < 0 || i > 0 && (e.Relative <= list[i-1].Relative || e.Position <= list[i-1].Position) {
				c.indexWrong(s, s.offset.path, int64(i)*indexEntryBytes, "offset %d at position %d does not follow the entry before", s.base+int64(e.Relative), e.Position)
				n = i
				break
			}
		}
		s.offset.entries = list[:n]
	}
	if b, ok := c.readIndex(s, ".timeindex", s.time.path); ok {
		list, zeros, err := storage.DecodeTimeIndex(b)
		c.indexEnds(s, s.time.path, len(b), zeros, err)
		n := len(list)
		for i, e := range list {
			if e.Relative < 0 || e.Timestamp < 0 || i > 0 && (e.Timestamp <= list[i-1].Timestamp || e.Relative < list[i-1].Relative) {
				c.indexWrong(s, s.time.path, int64(i)*timeIndexEntryBytes, "timestamp %d at offset %d does not follow the entry before", e.Timestamp, s.base+int64(e.Relative))
				n = i
				s.time.met = -1 // told: the segment's largest timestamp is not looked for
				break
			}
		}
		s.time.entries = list[:n]
		if s.time.met < 0 {
			s.time.entries, s.time.met = nil, -1
		}
	} else {
		s.time.met = -1
	}
	c.openAborted(s)
}

// readIndex reads an index; ok is false if that cannot be done, which has been told.
func (c *check) readIndex(s *segmentCheck, suffix, path string) (b []byte, ok bool) {
	if !c.dir.has[c.dir.file(s.base, suffix)] {
		c.indexWrong(s, path, -1, "it is missing")
		return nil, false
	}
	b, err := readWhole(c.k, path)
	if err != nil {
		c.cannot(kindOf(path), path, err, false)
		return nil, false
	}
	return b, true
}

func (c *check) indexEnds(s *segmentCheck, path string, size, zeros int, err error) {
	if err != nil {
		c.indexWrong(s, path, -1, "%v", err)
	} else if zeros > 0 && !(s.loose && s.last) { // where it is being written Kafka makes room ahead
		c.indexWrong(s, path, int64(size-zeros), "it ends in %d bytes of zeros", zeros)
	}
}

// indexWrong tells what is wrong in an index: a note where a start makes the index anew.
func (c *check) indexWrong(s *segmentCheck, path string, position int64, format string, args ...any) {
	c.add(Problem{kindOf(path), path, position, fmt.Sprintf(format, args...), s.loose})
}

// kindOf is what is told of an index.
func kindOf(path string) Kind {
	switch path = strings.TrimSuffix(path, ".swap"); {
	case strings.HasSuffix(path, ".timeindex"):
		return KindTimeIndex
	case strings.HasSuffix(path, ".txnindex"):
		return KindTxnIndex
	}
	return KindIndex
}

// offsetEntry meets the index entries up to a batch.
func (c *check) offsetEntry(s *segmentCheck, b protocol.Batch, position int64) {
	x := &s.offset
	for ; x.met < len(x.entries) && int64(x.entries[x.met].Position) <= position; x.met++ {
		e := x.entries[x.met]
		at := int64(x.met) * indexEntryBytes
		switch offset := s.base + int64(e.Relative); {
		case int64(e.Position) < position:
			if !s.damaged {
				c.indexWrong(s, x.path, at, "no batch begins at position %d, where the entry of offset %d points", e.Position, offset)
			}
		case offset != b.LastOffset():
			c.indexWrong(s, x.path, at, "the entry at position %d has offset %d, and the batch there ends with %d", e.Position, offset, b.LastOffset())
		}
	}
}

// timeEntry meets the time index entries up to a batch.
func (c *check) timeEntry(s *segmentCheck, b protocol.Batch) {
	x := &s.time
	before := x.largest
	if b.Count() > 0 { // a batch without records has the timestamp of what it had: Kafka's cleaner indexes it
		x.largest = max(x.largest, b.MaxTimestamp())
	}
	if x.met < 0 || s.damaged {
		return
	}
	for ; x.met < len(x.entries) && s.base+int64(x.entries[x.met].Relative) <= b.LastOffset(); x.met++ {
		e := x.entries[x.met]
		offset, at := s.base+int64(e.Relative), int64(x.met)*timeIndexEntryBytes
		switch {
		case offset < b.BaseOffset():
			c.indexWrong(s, x.path, at, "no batch has offset %d, to which timestamp %d points", offset, e.Timestamp)
		case e.Timestamp != b.MaxTimestamp():
			c.indexWrong(s, x.path, at, "timestamp %d points to offset %d, and the batch there has %d", e.Timestamp, offset, b.MaxTimestamp())
		case before > e.Timestamp:
			c.indexWrong(s, x.path, at, "timestamp %d at offset %d is said to be the largest, and %d came before", e.Timestamp, offset, before)
		}
	}
}

// closeIndexes tells of entries that no batch was met for, and of a largest timestamp that cannot be found.
func (c *check) closeIndexes(s *segmentCheck, size int64) {
	if s.damaged {
		return
	}
	if x := &s.offset; x.met < len(x.entries) {
		e := x.entries[x.met]
		c.indexWrong(s, x.path, int64(x.met)*indexEntryBytes, "no batch begins at position %d of %d, where the entry of offset %d points", e.Position, size, s.base+int64(e.Relative))
	}
	c.closeAborted(s)
	x := &s.time
	if x.met < 0 {
		return
	}
	if x.met < len(x.entries) {
		e := x.entries[x.met]
		c.indexWrong(s, x.path, int64(x.met)*timeIndexEntryBytes, "no batch has offset %d, to which timestamp %d points", s.base+int64(e.Relative), e.Timestamp)
		return
	}
	last := int64(-1)
	if n := len(x.entries); n > 0 {
		last = x.entries[n-1].Timestamp
	}
	if x.largest >= 0 && last < x.largest && !(s.last && !c.a.clean) {
		c.indexWrong(s, x.path, -1, "it ends with timestamp %d, and the segment has %d: a search by time would miss it", last, x.largest)
	}
}
