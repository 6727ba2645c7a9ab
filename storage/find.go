package storage

import (
	"encoding/binary"

	"slipstream/protocol"
)

// place is an offset and where its batch begins.
type place struct {
	segment  *segment
	position int64
	offset   int64
}

// cursor is a place near which an .index entry is known; slot -1: none is.
type cursor struct {
	place
	slot int32
}

// outcome is how a search, or a read that it makes, has ended.
type outcome uint8

const (
	present outcome = iota
	cold            // what has to be read next is not in memory: a helper's work
	broken          // it cannot be read, or is no log
	unknown         // the segment has to be examined first
)

// source is what a finder reads from: on a core only what is in memory, on a helper the disk.
type source interface {
	// head returns at least the head of the batch at a position of the .log. It is good until the next call.
	head(position int64) ([]byte, outcome)
	// readIndex fills p from the .index.
	readIndex(p []byte, off int64) outcome
}

// finder finds batches in one segment, as that was when the finder was made. All that it knows is its own, so
// that a helper can go on with a copy.
type finder struct {
	segment   *segment     // to name it in the places found; not looked into
	base      int64        // of the segment
	size      int64        // of its .log
	end       int64        // how far it may be read
	endOffset int64        // the offset after the last that may be read
	entries   int          // of the .index, on disk
	recent    []indexEntry // those that follow and are not on disk yet
	scratch   []byte       // room for indexWindow entries

	bad     int   // index entries that did not fit the log
	brokeAt int64 // where the log has no batch, or cannot be read; -1: nowhere
}

// batchHeadBytes is what finding a batch needs of its header: base offset, length, last offset delta.
const batchHeadBytes = 27

type batchHead struct {
	base, last int64
	size       int64
}

// parseHead reads the head of a batch in a segment; ok is false if it cannot be one.
func parseHead(b []byte, base int64) (h batchHead, ok bool) {
	h.base = int64(binary.BigEndian.Uint64(b))
	length := int32(binary.BigEndian.Uint32(b[8:]))
	delta := int32(binary.BigEndian.Uint32(b[23:]))
	h.size = int64(length) + protocol.LogOverhead
	h.last = h.base + int64(delta)
	return h, length >= protocol.HeaderBytes-protocol.LogOverhead && delta >= 0 && h.base >= base && h.last >= h.base
}

// headAt reads the head of the batch at a position.
func (q *finder) headAt(src source, position int64) (batchHead, outcome) {
	b, o := src.head(position)
	if o != present {
		return batchHead{}, o
	}
	h, ok := parseHead(b, q.base)
	if !ok || position+h.size > q.size {
		return h, broken
	}
	return h, present
}

// search finds the first batch that ends at or behind offset; a place at the readable end: there is none. An index
// entry that does not fit the log is not believed: then the segment is read from its beginning.
func (q *finder) search(src source, offset int64) (cursor, outcome) {
	e, slot, o := q.floor(src, byOffset, offset-q.base)
	switch {
	case o == cold:
		return cursor{}, cold
	case o == broken:
		return q.walkTo(src, 0, offset, -1)
	case slot < 0:
		return q.walkTo(src, 0, offset, 0)
	}
	if int64(e.position) < q.end {
		if _, o = q.fits(src, e); o == cold {
			return cursor{}, cold
		}
		if o == present {
			return q.walkTo(src, int64(e.position), offset, int32(slot))
		}
	}
	q.bad++
	return q.walkTo(src, 0, offset, -1)
}

// fits reads the batch that an index entry points at; broken: it is not the entry's.
func (q *finder) fits(src source, e indexEntry) (batchHead, outcome) {
	h, o := q.headAt(src, int64(e.position))
	if o == present && h.last != q.base+int64(e.relative) {
		o = broken
	}
	return h, o
}

// floor is the last index entry at or below a limit, in memory or on disk; slot -1: there is none.
func (q *finder) floor(src source, k indexKey, limit int64) (e indexEntry, slot int, o outcome) {
	if i := floorEntry(q.recent, k, limit); i >= 0 {
		return q.recent[i], q.entries + i, present
	}
	if q.entries == 0 {
		return e, -1, present
	}
	return floorOnDisk(src, q.scratch, q.entries, k, limit)
}

// walkTo goes from batch to batch, beginning at position, to the first that ends at or behind offset.
func (q *finder) walkTo(src source, position, offset int64, slot int32) (cursor, outcome) {
	for position < q.end {
		h, o := q.headAt(src, position)
		if o != present {
			return cursor{}, q.stoppedAt(position, o)
		}
		if h.last >= offset {
			return cursor{place{q.segment, position, h.base}, slot}, present
		}
		position += h.size
	}
	return cursor{place{q.segment, position, offset}, slot}, present
}

// stoppedAt notes where a log could not be read on.
func (q *finder) stoppedAt(position int64, o outcome) outcome {
	if o == broken {
		q.brokeAt = position
	}
	return o
}

// boundary finds where a range that begins at from ends: at the readable end if that is near enough, else at the
// last batch boundary within limit.
func (q *finder) boundary(src source, from cursor, limit int64, atLeastOne bool) (cursor, outcome) {
	if q.end-from.position <= limit {
		return cursor{place{q.segment, q.end, q.endOffset}, -1}, present
	}
	at, o := q.skip(src, from, from.position+limit)
	if o != present {
		return at, o
	}
	for at.position < q.end {
		h, o := q.headAt(src, at.position)
		if o == broken && at.position > from.position {
			return at, present // what comes before the damage can be had
		}
		if o != present {
			return at, q.stoppedAt(at.position, o)
		}
		at.offset = h.base
		if at.position+h.size-from.position > limit && (at.position > from.position || !atLeastOne) {
			return at, present
		}
		at.position += h.size
		at.offset = h.last + 1
	}
	at.offset = q.endOffset
	return at, present
}

// skip goes from a place as far as the index leads, at most to limit.
func (q *finder) skip(src source, from cursor, limit int64) (cursor, outcome) {
	e, slot, o := q.floorNear(src, from.slot, limit)
	if o == cold {
		return from, cold
	}
	if o == broken || slot < 0 || int64(e.position) <= from.position || int64(e.position) >= q.end {
		return from, present
	}
	h, o := q.fits(src, e)
	switch o {
	case present:
		return cursor{place{q.segment, int64(e.position), h.base}, int32(slot)}, present
	case cold:
		return from, cold
	}
	q.bad++
	return from, present
}

// floorNear is floor by position for a reader that goes on from a known entry: one read of the index from
// there finds the next, if it is not far.
func (q *finder) floorNear(src source, slot int32, position int64) (indexEntry, int, outcome) {
	n := q.entries - int(slot)
	if slot < 0 || n <= 0 {
		return q.floor(src, byPosition, position)
	}
	window := q.scratch[:min(n, indexWindow)*indexEntryBytes]
	if o := src.readIndex(window, int64(slot)*indexEntryBytes); o != present {
		return indexEntry{}, -1, o
	}
	count := len(window) / indexEntryBytes
	last := decodeIndexEntry(window[(count-1)*indexEntryBytes:])
	if int64(last.position) <= position {
		return q.floor(src, byPosition, position)
	}
	e, at := lastAtMost(window, position)
	return e, int(slot) + at, presentIf(at >= 0)
}

func presentIf(ok bool) outcome {
	if ok {
		return present
	}
	return broken
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
