package storage

import (
	"math"

	"slipstream/protocol"
)

// Query is what a reader wants of a log: whole batches from the one that holds Offset on, at most MaxBytes of
// them, or just the first, however large, if that is larger and AtLeastOne is set.
type Query struct {
	Offset     int64
	MaxBytes   int
	AtLeastOne bool
	// Committed stops at the last stable offset instead of the high watermark: a consumer that reads committed records
	// only, and is told of the aborted ones among them (AbortedTransactions).
	Committed bool
}

// Range is whole batches in one file. File is retained for the caller, who releases it, or hands it to who
// does; it is nil when Len is 0.
type Range struct {
	File *File
	Pos  int64
	Len  int
	End  int64 // the offset behind the last batch

	turn          uint64 // in which it is pieces [first, first+pieces) of the store's, if it is any
	first, pieces int
}

// Shorten cuts the range to its first n bytes, which end with the batch before offset end.
func (r *Range) Shorten(n int, end int64) {
	if n < r.Len {
		r.Len, r.End, r.pieces = n, end, 0
	}
}

// Release gives the file back, if there is one.
func (r *Range) Release() {
	if r.File != nil {
		r.File.Release()
	}
	*r = Range{}
}

const cursorCount = 4

// Plan finds the batches that a query is for. A range never passes the high watermark (the last stable offset, if the
// query says so) or the end of a segment. An offset at or beyond that yields an empty range; one outside the log OFFSET_OUT_OF_RANGE.
//
// Readers that go on where a range ended, and readers at the log's end, are found by a cursor; others by the
// index. Nothing is read that is not in memory: where that is not enough, Plan returns no range but a Lookup, which a
// helper has been given. Once it is done, Plan has its answer, if it is asked the same and given the lookup. (It may
// return another one: where compaction has left a hole at the end of a segment, the batches are in the next.) A lookup
// of something else is the same as none.
func (p *Partition) Plan(q Query, l *Lookup) (Range, *Lookup, protocol.ErrorCode) {
	if wanted, code := p.check(q); !wanted {
		return Range{}, nil, code
	}
	if l != nil && l.p == p && l.query == q {
		if !l.done {
			return Range{}, l, protocol.NONE
		}
		return p.lookedUp(l)
	}
	return p.planAnew(q)
}

// planAnew makes a plan for a query that has something to be found.
func (p *Partition) planAnew(q Query) (Range, *Lookup, protocol.ErrorCode) {
	from, o := p.locate(&q)
	if o == unknown {
		return p.unexamined(q, from.segment)
	}
	if o != present {
		return p.unplanned(q, cursor{}, o)
	}
	return p.planFrom(q, from)
}

// lookedUp is the answer of a lookup.
func (p *Partition) lookedUp(l *Lookup) (Range, *Lookup, protocol.ErrorCode) {
	f := &l.finder
	switch {
	case l.outcome == unknown, !f.segment.live(), l.outcome != present && l.generation != p.generation: // another is in its place, or its files are
		return p.planAnew(l.query)
	case l.outcome != present:
		if f.brokeAt >= 0 {
			p.store.note("the log of %s cannot be read at position %d of segment %d: the disk gives no batch there", &p.id, f.brokeAt, f.base)
		}
		return Range{}, nil, protocol.KAFKA_STORAGE_ERROR
	case l.from.position >= f.end:
		from, ok := p.afterSegment(f.base, p.readable(&l.query))
		if !ok {
			return Range{}, nil, protocol.KAFKA_STORAGE_ERROR
		}
		return p.planFrom(l.query, from)
	}
	return p.planned(l.from, l.to)
}

// check says whether a query has anything to be found, or what is wrong with it.
func (p *Partition) check(q Query) (wanted bool, code protocol.ErrorCode) {
	o := &p.offsets
	switch {
	case p.store == nil || p.state == gone:
		return false, protocol.NOT_LEADER_OR_FOLLOWER
	case q.Offset < o.LogStart || q.Offset > o.LogEnd:
		return false, protocol.OFFSET_OUT_OF_RANGE
	}
	if q.Offset >= o.HighWatermark {
		p.readAt(q.Offset, 0)
		return false, protocol.NONE
	}
	if q.Committed && q.Offset >= o.LastStable {
		return false, protocol.NONE
	}
	return q.MaxBytes > 0 || q.AtLeastOne, protocol.NONE
}

// planFrom finds where the range that begins at from ends.
func (p *Partition) planFrom(q Query, from cursor) (Range, *Lookup, protocol.ErrorCode) {
	if !from.segment.known.Load() {
		return p.unexamined(q, from.segment)
	}
	f := p.finderOf(from.segment, p.readable(&q))
	to, o := f.boundary(p.store.source(p, from.segment), from, int64(max(q.MaxBytes, 0)), q.AtLeastOne)
	p.learn(f)
	if o == present && to.position > from.position {
		if _, opened := p.store.files.getNow(p, from.segment, logFile); opened == cold {
			o = cold
		}
	}
	if o != present {
		return p.unplanned(q, from, o)
	}
	return p.planned(from, to)
}

// unplanned answers a plan that could not be made from memory.
func (p *Partition) unplanned(q Query, from cursor, o outcome) (Range, *Lookup, protocol.ErrorCode) {
	if o == cold {
		return Range{}, p.lookUp(q, from), protocol.NONE
	}
	return Range{}, nil, protocol.KAFKA_STORAGE_ERROR
}

// unexamined answers a plan that has come to a segment of which nothing is known yet.
func (p *Partition) unexamined(q Query, s *segment) (Range, *Lookup, protocol.ErrorCode) {
	return Range{}, p.lookUpUnknown(q, s), protocol.NONE
}

// planned makes a range of the places where it begins and ends.
func (p *Partition) planned(from, to cursor) (Range, *Lookup, protocol.ErrorCode) {
	if to.position <= from.position {
		return Range{}, nil, protocol.NONE
	}
	f, err := p.store.files.get(p, from.segment, logFile)
	if err != nil {
		p.store.note("the log of %s could not be opened to be read: %v", &p.id, err)
		return Range{}, nil, protocol.KAFKA_STORAGE_ERROR
	}
	f.Retain()
	f.readable.Store(visibleEnd(from.segment, p.visible))
	p.remind(to)
	p.readAt(from.offset, p.fromEnd(from.place))
	r := Range{File: f, Pos: from.position, Len: int(to.position - from.position), End: to.offset}
	p.relayed(&r, from.segment)
	return r, nil, protocol.NONE
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

// visibleEnd is how far a segment may be read by who may read to limit.
func visibleEnd(s *segment, limit place) int64 {
	switch {
	case s == limit.segment:
		return limit.position
	case s.base > limit.segment.base:
		return 0
	}
	return s.size
}

// endOfVisible is the offset after the last one of a segment that may be read by who may read to limit.
func (p *Partition) endOfVisible(s *segment, limit place) int64 {
	if s == limit.segment {
		return limit.offset
	}
	return p.endOf(p.segmentFor(s.base))
}

// locate finds the batch that holds a query's offset, which may be read, or the next one if compaction has
// removed it. When it returns cold, the store's finder is the one that was stopped.
func (p *Partition) locate(q *Query) (cursor, outcome) {
	offset, limit := q.Offset, p.readable(q)
	if p.previous.segment != nil && p.previous.offset == offset {
		return p.inSegment(cursor{p.previous, -1}, limit)
	}
	for i := range p.cursors {
		if c := &p.cursors[i]; c.segment != nil && c.offset == offset {
			return p.inSegment(*c, limit)
		}
	}
	s := p.segments[p.segmentFor(offset)]
	if !s.known.Load() {
		return cursor{place: place{segment: s}}, unknown
	}
	f := p.finderOf(s, limit)
	c, o := f.search(p.store.source(p, s), offset)
	p.learn(f)
	if o != present || c.position < f.end {
		return c, o
	}
	c, ok := p.afterSegment(s.base, limit)
	return c, presentIf(ok)
}

// inSegment moves a place at the end of a closed segment to the beginning of the next.
func (p *Partition) inSegment(c cursor, limit place) (cursor, outcome) {
	if c.position < c.segment.size {
		return c, present
	}
	c, ok := p.afterSegment(c.segment.base, limit)
	return c, presentIf(ok)
}

// afterSegment is the first batch that follows a segment.
func (p *Partition) afterSegment(base int64, limit place) (cursor, bool) {
	for _, s := range p.segments[p.segmentFor(base)+1:] {
		if visibleEnd(s, limit) > 0 || !s.known.Load() && s.base < limit.segment.base {
			return cursor{place{s, 0, s.base}, 0}, true
		}
	}
	return cursor{}, false
}

// finderOf is the store's finder, set to a segment. It is good until the next call.
func (p *Partition) finderOf(s *segment, limit place) *finder {
	st := p.store
	st.finder = finder{
		segment: s, base: s.base, size: s.size, end: visibleEnd(s, limit), endOffset: p.endOfVisible(s, limit),
		entries: int(s.entries), scratch: st.indexScratch[:], brokeAt: -1,
	}
	if s == p.activeSegment() {
		st.finder.recent = p.active.index
	}
	return &st.finder
}

// learn takes note of what a search has found to be wrong.
func (p *Partition) learn(f *finder) {
	p.store.Stats.BadIndexEntries += uint64(f.bad)
	f.bad = 0
	if f.brokeAt >= 0 {
		p.store.note("the log of %s cannot be read at position %d of segment %d: the disk gives no batch there", &p.id, f.brokeAt, f.base)
	}
}
