package storage

import (
	"encoding/binary"
	"math"
	"syscall"

	"slipstream/protocol"
)

// Range is whole batches in one file. File is retained for the caller, who releases it, or hands it to who
// does; it is nil when Len is 0.
type Range struct {
	File *File
	Pos  int64
	Len  int
}

// place is an offset and where its batch begins.
type place struct {
	segment  *segment
	position int64
	offset   int64
}

// cursor remembers where a reader will go on, and near which .index entry that is.
type cursor struct {
	place
	slot int32
}

const cursorCount = 4

// batchHead is what finding a batch needs of its header: base offset, length, last offset delta.
const batchHeadBytes = 27

type batchHead struct {
	base, last int64
	size       int64
}

// parseHead reads the head of a batch in a segment; ok is false if it cannot be one.
func parseHead(b []byte, s *segment) (h batchHead, ok bool) {
	h.base = int64(binary.BigEndian.Uint64(b))
	length := int32(binary.BigEndian.Uint32(b[8:]))
	delta := int32(binary.BigEndian.Uint32(b[23:]))
	h.size = int64(length) + protocol.LogOverhead
	h.last = h.base + int64(delta)
	return h, length >= protocol.HeaderBytes-protocol.LogOverhead && delta >= 0 && h.base >= s.base && h.last >= h.base
}

// Plan finds whole batches from the one that holds offset on, at most maxBytes of them, or just the first, however
// large, if that is larger and atLeastOne is set. A range never passes the high watermark or the end of a segment. An
// offset at or beyond the high watermark yields an empty range; one outside the log OFFSET_OUT_OF_RANGE.
//
// Readers that go on where a range ended, and readers at the log's end, are found by a cursor; others by the
// index. A cold page makes it wait for the disk, as any read of it would.
func (p *Partition) Plan(offset int64, maxBytes int, atLeastOne bool) (Range, protocol.ErrorCode) {
	o := &p.offsets
	switch {
	case p.store == nil || p.state == gone:
		return Range{}, protocol.NOT_LEADER_OR_FOLLOWER
	case offset < o.LogStart || offset > o.LogEnd:
		return Range{}, protocol.OFFSET_OUT_OF_RANGE
	case offset >= o.HighWatermark || maxBytes <= 0 && !atLeastOne:
		return Range{}, protocol.NONE
	}
	from, ok := p.locate(offset)
	if !ok {
		return Range{}, protocol.KAFKA_STORAGE_ERROR
	}
	end, ok := p.boundary(from, int64(max(maxBytes, 0)), atLeastOne)
	if !ok {
		return Range{}, protocol.KAFKA_STORAGE_ERROR
	}
	if end.position == from.position {
		return Range{}, protocol.NONE
	}
	f, err := p.store.files.get(p, from.segment, logFile)
	if err != nil {
		p.store.note("the log of %s could not be opened to be read: %v", &p.id, err)
		return Range{}, protocol.KAFKA_STORAGE_ERROR
	}
	f.Retain()
	p.remind(end)
	return Range{File: f, Pos: from.position, Len: int(end.position - from.position)}, protocol.NONE
}

// BytesFromEnd is how far the beginning of a range of the active segment is from what may be read of it; a range of a
// closed segment is as far as can be.
func (p *Partition) BytesFromEnd(r Range) int64 {
	if s := p.visible.segment; r.File != nil && s.files[logFile] == r.File {
		return p.visible.position - r.Pos
	}
	return math.MaxInt64
}

// remind keeps a cursor at the place where a range ended.
func (p *Partition) remind(c cursor) {
	if c.offset == p.visible.offset {
		return // readers at the end are found without
	}
	p.cursors[p.cursorAt%cursorCount] = c
	p.cursorAt++
}

// visibleEnd is how far a segment may be read.
func (p *Partition) visibleEnd(s *segment) int64 {
	switch {
	case s == p.visible.segment:
		return p.visible.position
	case s.base > p.visible.segment.base:
		return 0
	}
	return s.size
}

// locate finds the batch that holds offset, which is below the high watermark, or the next one if compaction has
// removed it.
func (p *Partition) locate(offset int64) (cursor, bool) {
	if p.previous.segment != nil && p.previous.offset == offset {
		return p.inSegment(cursor{p.previous, -1})
	}
	for i := range p.cursors {
		if c := &p.cursors[i]; c.segment != nil && c.offset == offset {
			return p.inSegment(*c)
		}
	}
	for i := p.segmentFor(offset); i < len(p.segments); i++ {
		s := p.segments[i]
		c, ok := p.search(s, offset)
		if !ok || c.position < p.visibleEnd(s) {
			return c, ok
		}
	}
	return cursor{}, false
}

// inSegment moves a place at the end of a closed segment to the beginning of the next.
func (p *Partition) inSegment(c cursor) (cursor, bool) {
	for c.position >= c.segment.size {
		i := p.segmentFor(c.segment.base) + 1
		if i >= len(p.segments) {
			return c, false
		}
		c = cursor{place{p.segments[i], 0, c.offset}, -1}
	}
	return c, true
}

// search finds a batch in a segment by its index. An index entry that does not fit the log is not believed: then
// the segment is read from its beginning.
func (p *Partition) search(s *segment, offset int64) (cursor, bool) {
	e, slot, ok := p.floor(s, byOffset, offset-s.base)
	if ok && slot >= 0 && int64(e.position) < p.visibleEnd(s) {
		h, good := p.headAt(s, int64(e.position))
		if good && h.last == s.base+int64(e.relative) {
			return p.walkTo(s, int64(e.position), offset, int32(slot))
		}
		p.store.Stats.BadIndexEntries++
	}
	if ok && slot < 0 {
		return p.walkTo(s, 0, offset, 0)
	}
	return p.walkTo(s, 0, offset, -1)
}

// floor is the last index entry at or below a limit, in memory or on disk; slot -1: there is none.
func (p *Partition) floor(s *segment, k indexKey, limit int64) (e indexEntry, slot int, ok bool) {
	if s == p.activeSegment() {
		if i := floorEntry(p.active.index, k, limit); i >= 0 {
			return p.active.index[i], int(s.entries) + i, true
		}
	}
	if s.entries == 0 {
		return e, -1, true
	}
	f, err := p.store.files.get(p, s, indexFile)
	if err != nil {
		return e, -1, false
	}
	r := p.store.indexReader(f)
	return floorOnDisk(r, p.store.indexScratch[:], int(s.entries), k, limit)
}

// walkTo goes from batch to batch, beginning at position, to the first that ends at or behind offset.
func (p *Partition) walkTo(s *segment, position, offset int64, slot int32) (cursor, bool) {
	end := p.visibleEnd(s)
	for position < end {
		h, ok := p.headAt(s, position)
		if !ok || position+h.size > s.size {
			p.store.note("the log of %s has no batch at position %d of segment %d", &p.id, position, s.base)
			return cursor{}, false
		}
		if h.last >= offset {
			return cursor{place{s, position, h.base}, slot}, true
		}
		position += h.size
	}
	return cursor{place{s, position, offset}, slot}, true
}

// headAt reads the head of the batch at a position, through the store's window on the file.
func (p *Partition) headAt(s *segment, position int64) (batchHead, bool) {
	b := p.store.peek(p, s, position)
	if b == nil {
		return batchHead{}, false
	}
	return parseHead(b, s)
}

// boundary finds where a range that begins at from ends: at the visible end if that is near enough, else at the last
// batch boundary within limit.
func (p *Partition) boundary(from cursor, limit int64, atLeastOne bool) (cursor, bool) {
	s := from.segment
	end := p.visibleEnd(s)
	if end-from.position <= limit {
		c := cursor{place{s, end, p.endOfVisible(s)}, -1}
		return c, true
	}
	at := from
	if e, slot, ok := p.floorNear(s, from.slot, from.position+limit); ok && slot >= 0 && int64(e.position) > from.position && int64(e.position) < end {
		if h, good := p.headAt(s, int64(e.position)); good && h.last == s.base+int64(e.relative) {
			at = cursor{place{s, int64(e.position), h.base}, int32(slot)}
		}
	}
	for at.position < end {
		h, ok := p.headAt(s, at.position)
		if !ok || at.position+h.size > s.size {
			return at, false
		}
		at.offset = h.base
		if at.position+h.size-from.position > limit && (at.position > from.position || !atLeastOne) {
			return at, true
		}
		at.position += h.size
	}
	at.offset = p.endOfVisible(s)
	return at, true
}

// endOfVisible is the offset after the last one of a segment that may be read.
func (p *Partition) endOfVisible(s *segment) int64 {
	if s == p.visible.segment {
		return p.visible.offset
	}
	return p.endOf(p.segmentFor(s.base))
}

// floorNear is floor by position for a reader that goes on from a known entry: one read of the index from
// there finds the next, if it is not far.
func (p *Partition) floorNear(s *segment, slot int32, position int64) (indexEntry, int, bool) {
	n := int(s.entries) - int(slot)
	if slot < 0 || n <= 0 {
		return p.floor(s, byPosition, position)
	}
	f, err := p.store.files.get(p, s, indexFile)
	if err != nil {
		return indexEntry{}, -1, false
	}
	window := p.store.indexScratch[:min(n, indexWindow)*indexEntryBytes]
	if !p.store.indexReader(f).readIndex(window, int64(slot)*indexEntryBytes) {
		return indexEntry{}, -1, false
	}
	count := len(window) / indexEntryBytes
	last := decodeIndexEntry(window[(count-1)*indexEntryBytes:])
	if int64(last.position) <= position {
		return p.floor(s, byPosition, position)
	}
	e, at := lastAtMost(window, position)
	return e, int(slot) + at, at >= 0
}

// lastAtMost is the last of some encoded entries whose position is at most limit.
func lastAtMost(window []byte, limit int64) (e indexEntry, at int) {
	lo, hi := 0, len(window)/indexEntryBytes
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if int64(decodeIndexEntry(window[mid*indexEntryBytes:]).position) <= limit {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return e, -1
	}
	return decodeIndexEntry(window[(lo-1)*indexEntryBytes:]), lo - 1
}

// fileReader reads an index file for a search.
type fileReader struct {
	kernel kernel
	fd     int
}

func (r *fileReader) readIndex(p []byte, off int64) bool { return readNow(r.kernel, r.fd, p, off) }

// readNow reads all of p, or fails.
func readNow(k kernel, fd int, p []byte, off int64) bool {
	for {
		n, errno := k.ReadNow(fd, p, off)
		if errno == syscall.EINTR {
			continue
		}
		return errno == 0 && n == len(p)
	}
}
