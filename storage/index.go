package storage

import (
	"encoding/binary"
	"sort"

	"slipstream/protocol"
)

// An .index file is entries of 8 bytes, big-endian, both fields rising:
//
//	0                 4            8
//	+-----------------+------------+
//	| relative offset | position   |   the batch at this position of the .log ends with this
//	| int32           | int32      |   offset (less the segment's base offset)
//	+-----------------+------------+
//
// A .timeindex file is entries of 12 bytes:
//
//	0             8                 12
//	+-------------+-----------------+
//	| timestamp   | relative offset |   the largest timestamp (ms) of a record so far, and the last offset of
//	| int64       | int32           |   the first batch that has it
//	+-------------+-----------------+
//
// Both get an entry, at most, before a batch that more than index.interval.bytes of log precede since
// the last; the first batch of a segment never has one. When a segment is closed its .timeindex gets a last entry.
// Kafka preallocates the active segment's files and leaves zeros behind the entries when it is killed.
const (
	indexEntryBytes     = 8
	timeIndexEntryBytes = 12
)

// indexEntry is an .index entry, its fields as they are on disk.
type indexEntry struct {
	relative int32
	position int32
}

func (e indexEntry) put(b []byte) {
	binary.BigEndian.PutUint32(b, uint32(e.relative))
	binary.BigEndian.PutUint32(b[4:], uint32(e.position))
}

func decodeIndexEntry(b []byte) indexEntry {
	return indexEntry{int32(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[4:]))}
}

// timeEntry is a .timeindex entry.
type timeEntry struct {
	timestamp int64
	relative  int32
}

func (e timeEntry) put(b []byte) {
	binary.BigEndian.PutUint64(b, uint64(e.timestamp))
	binary.BigEndian.PutUint32(b[8:], uint32(e.relative))
}

func decodeTimeEntry(b []byte) timeEntry {
	return timeEntry{int64(binary.BigEndian.Uint64(b)), int32(binary.BigEndian.Uint32(b[8:]))}
}

// indexKey says which field of an .index a search goes by: the entries rise by both.
type indexKey uint8

const (
	byOffset indexKey = iota
	byPosition
)

func (e indexEntry) key(k indexKey) int64 {
	if k == byOffset {
		return int64(e.relative)
	}
	return int64(e.position)
}

// floorEntry is the last of the entries whose key is at most limit, or -1.
func floorEntry(entries []indexEntry, k indexKey, limit int64) int {
	return sort.Search(len(entries), func(i int) bool { return entries[i].key(k) > limit }) - 1
}

// indexReader reads a piece of an index file: all of p, or none.
type indexReader interface {
	readIndex(p []byte, off int64) outcome
}

// indexWindow is how many entries a search reads at once when it has come close.
const indexWindow = 256

// floorOnDisk is floorEntry for the n entries of a file, by binary search. at is the entry's number, -1 if there
// is none. scratch has room for indexWindow entries. An index that is not in order yields some entry
// or none: whoever uses one checks what is there.
func floorOnDisk(r indexReader, scratch []byte, n int, k indexKey, limit int64) (e indexEntry, at int, o outcome) {
	lo, hi := 0, n // entries below lo are at most limit, those from hi on larger
	for hi-lo > indexWindow {
		mid := int(uint(lo+hi) / 2)
		if o := r.readIndex(scratch[:indexEntryBytes], int64(mid)*indexEntryBytes); o != present {
			return e, -1, o
		}
		if decodeIndexEntry(scratch).key(k) <= limit {
			lo = mid
		} else {
			hi = mid
		}
	}
	if hi == lo {
		return e, -1, present
	}
	window := scratch[:(hi-lo)*indexEntryBytes]
	if o := r.readIndex(window, int64(lo)*indexEntryBytes); o != present {
		return e, -1, o
	}
	i := sort.Search(hi-lo, func(i int) bool { return decodeIndexEntry(window[i*indexEntryBytes:]).key(k) > limit }) - 1
	if i < 0 {
		return e, -1, present
	}
	return decodeIndexEntry(window[i*indexEntryBytes:]), lo + i, present
}

// allZero says whether an entry is none: Kafka never writes one of zeros.
func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// indexBuilder makes the index entries of a segment as batches are added to it: the rule that
// appending and recovery share.
type indexBuilder struct {
	sinceEntry   int64     // log bytes since the last entry
	maxTimestamp int64     // of the segment, -1 if it is empty
	maxRelative  int32     // where that is
	lastTime     timeEntry // the last .timeindex entry; its timestamp is -1 if there is none
	emptied      timeEntry // the largest timestamp of batches without records
	index        []indexEntry
	time         []timeEntry
}

func newIndexBuilder() indexBuilder {
	return indexBuilder{maxTimestamp: -1, lastTime: timeEntry{timestamp: -1}, emptied: timeEntry{timestamp: -1}}
}

// add takes a batch at position in: its size, last offset (relative) and max timestamp.
func (x *indexBuilder) add(position int64, size int, relative int32, maxTimestamp int64, interval int32) {
	if maxTimestamp > x.maxTimestamp {
		x.maxTimestamp, x.maxRelative = maxTimestamp, relative
	}
	if x.sinceEntry > int64(interval) {
		x.index = append(x.index, indexEntry{relative, int32(position)})
		x.addTime()
		x.sinceEntry = 0
	}
	x.sinceEntry += int64(size)
}

// addBatch takes a batch of a segment that may have been compacted. A batch without records has the largest timestamp of those that it
// had. It gets no time entry (Kafka's cleaner makes one): a search by time would come to it and find nothing, and DumpLogSegments
// finds that it does not fit the log.
func (x *indexBuilder) addBatch(position int64, size int, h protocol.Batch, base int64, interval int32) {
	relative, timestamp := int32(h.LastOffset()-base), h.MaxTimestamp()
	if h.Count() == 0 {
		if timestamp > x.emptied.timestamp {
			x.emptied = timeEntry{timestamp, relative}
		}
		timestamp = protocol.NoTimestamp
	}
	x.add(position, size, relative, timestamp, interval)
}

// complete is what is said at the end of a segment. A closed one has a time entry: if it has no records at all, one of a batch that had some.
func (x *indexBuilder) complete() {
	if x.maxTimestamp < 0 && x.emptied.timestamp >= 0 {
		x.maxTimestamp, x.maxRelative = x.emptied.timestamp, x.emptied.relative
	}
	x.addTime()
}

// addTime adds a time entry if the largest timestamp has grown since the last.
func (x *indexBuilder) addTime() {
	if x.maxTimestamp <= x.lastTime.timestamp {
		return
	}
	x.lastTime = timeEntry{x.maxTimestamp, x.maxRelative}
	x.time = append(x.time, x.lastTime)
}

func encodeIndex(entries []indexEntry) []byte {
	b := make([]byte, len(entries)*indexEntryBytes)
	for i, e := range entries {
		e.put(b[i*indexEntryBytes:])
	}
	return b
}

func encodeTimeIndex(entries []timeEntry) []byte {
	b := make([]byte, len(entries)*timeIndexEntryBytes)
	for i, e := range entries {
		e.put(b[i*timeIndexEntryBytes:])
	}
	return b
}
