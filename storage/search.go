package storage

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"sort"

	"slipstream/protocol"
	"slipstream/ring"
)

// Searcher is a log as it was when it was asked for, for a helper to search by time while the core goes
// on.
type Searcher struct {
	dir      string
	closed   []*segment // only what does not change any more is looked at
	base     int64      // of the active segment
	size     int64
	entries  int32
	times    int32
	maximum  int64 // the active segment's largest timestamp
	limit    int64 // the high watermark: records from there on are not found
	logStart int64
	swapped  map[int64]bool // segments whose files are called .swap
	scratch  protocol.Scratch

	generation uint32
}

// Found is a record that a search found; without one all fields are -1.
type Found struct {
	Offset      int64
	Timestamp   int64 // ms
	LeaderEpoch int32
}

var nothing = Found{-1, -1, -1}

// Searcher takes a snapshot of the log for a helper.
func (p *Partition) Searcher() *Searcher {
	n := len(p.segments) - 1
	s := p.segments[n]
	var swapped map[int64]bool
	if p.cleaning != nil {
		swapped = map[int64]bool{}
		for _, c := range p.segments {
			if c.phase == segmentSwapped {
				swapped[c.base] = true
			}
		}
	}
	return &Searcher{
		swapped: swapped, dir: p.dir, closed: p.segments[:n:n], base: s.base, size: s.size, entries: s.entries, times: s.timeEntries,
		maximum: p.active.maxTimestamp, limit: p.offsets.HighWatermark, logStart: p.offsets.LogStart,
		generation: p.generation,
	}
}

// Stale reports whether closed segments have left the log since the snapshot was taken: what was found, or that nothing
// could be, may not be so. Whoever needs to know searches again.
func (q *Searcher) Stale(p *Partition) bool { return q.generation != p.generation }

// target is one segment as a search sees it.
type target struct {
	base    int64
	size    int64 // wholeFile: this and what follows but for end is not known
	entries int32 // of the .index
	times   int32 // of the .timeindex
	largest int64 // of its timestamps
	end     int64 // the offset after the last, as far as it is known
}

// wholeFile stands for the size of a segment that nobody has come to since the start.
const wholeFile = -1

func (q *Searcher) targets() []target {
	all := make([]target, 0, len(q.closed)+1)
	for i, s := range q.closed {
		end := q.base
		if i+1 < len(q.closed) {
			end = q.closed[i+1].base
		}
		if !s.known.Load() {
			all = append(all, target{base: s.base, size: wholeFile, end: end})
			continue
		}
		all = append(all, target{s.base, s.size, s.entries, s.timeEntries, s.largest, end})
	}
	return append(all, target{q.base, q.size, q.entries, q.times, q.maximum, q.limit})
}

// OffsetForTimestamp finds the first record whose timestamp (ms) is at least timestamp, below the high
// watermark, as ListOffsets asks. Blocking.
func (q *Searcher) OffsetForTimestamp(k ring.Kernel, timestamp int64) (Found, error) {
	for _, t := range q.targets() {
		if t.end <= q.logStart && t.end != t.base {
			continue
		}
		if err := q.learn(k, &t); err != nil {
			return nothing, err
		}
		if t.largest < timestamp {
			continue
		}
		found, err := q.searchSegment(k, t, timestamp)
		if err != nil || found.Offset >= 0 {
			return q.within(found), err
		}
	}
	return nothing, nil
}

// within takes a record at or beyond the high watermark for none.
func (q *Searcher) within(f Found) Found {
	if f.Offset >= q.limit {
		return nothing
	}
	return f
}

// learn finds out what is not known of a segment yet, and changes nothing. Where the indexes are doubtful it goes without.
func (q *Searcher) learn(k ring.Files, t *target) error {
	if t.size != wholeFile {
		return nil
	}
	f := segmentFiles{k: k, dir: q.dir, base: t.base, end: t.end}
	x, err := f.examine()
	if errors.Is(err, errDoubtful) {
		var w walked
		w, err = f.walk(k, math.MaxInt32)
		x = w.facts
	}
	t.size, t.entries, t.times, t.largest = x.size, x.entries, x.timeEntries, x.largest
	return err
}

func (q *Searcher) path(base int64, suffix string) string {
	path := q.dir + "/" + fileName(base, suffix)
	if q.swapped[base] {
		return path + swapSuffix // and if it is not any more, the snapshot is stale
	}
	return path
}

// readTimes reads entries [from, to) of a segment's .timeindex.
func (q *Searcher) readTimes(k ring.Files, t target, from, to int32) ([]byte, error) {
	if from < 0 || from >= to {
		return nil, nil
	}
	fd, err := k.Open(q.path(t.base, timeIndexSuffix), readOnly, 0)
	if err != nil {
		return nil, err
	}
	defer closeQuietly(k, fd)
	b := make([]byte, int(to-from)*timeIndexEntryBytes)
	return b, readFull(k, fd, b, int64(from)*timeIndexEntryBytes)
}

// before is an offset before which a segment has nothing at or after a time: from the .timeindex.
func (q *Searcher) before(k ring.Files, t target, timestamp int64) (int64, error) {
	b, err := q.readTimes(k, t, 0, t.times)
	if err != nil {
		return t.base, err
	}
	n := sort.Search(int(t.times), func(i int) bool { return decodeTimeEntry(b[i*timeIndexEntryBytes:]).timestamp >= timestamp })
	if n == 0 {
		return t.base, nil
	}
	return t.base + int64(decodeTimeEntry(b[(n-1)*timeIndexEntryBytes:]).relative), nil
}

// searchSegment finds the first record of a segment at or after a time: the .timeindex says before which offset
// nothing so late occurs, the .index where to begin reading.
func (q *Searcher) searchSegment(k ring.Files, t target, timestamp int64) (Found, error) {
	from, err := q.before(k, t, timestamp)
	if err != nil {
		return nothing, err
	}
	found := nothing
	err = q.eachBatch(k, t, max(from, q.logStart), func(r *logReader, position int64, h header) (bool, error) {
		if h.MaxTimestamp() < timestamp || h.LastOffset() < q.logStart {
			return true, nil
		}
		b, err := r.batch(position)
		if err != nil {
			return false, err
		}
		offset, ts, ok, err := b.FindTimestamp(timestamp, q.logStart, &q.scratch)
		if err != nil || !ok {
			return err == nil, err
		}
		found = Found{offset, ts, b.LeaderEpoch()}
		return false, nil
	})
	return found, err
}

// MaxTimestamp finds the first record that has the largest timestamp of the log. Blocking.
func (q *Searcher) MaxTimestamp(k ring.Kernel) (Found, error) {
	targets := q.targets()
	for i := range targets {
		if err := q.learn(k, &targets[i]); err != nil {
			return nothing, err
		}
	}
	slices.SortStableFunc(targets, func(a, b target) int { return cmp.Compare(b.largest, a.largest) })
	best := nothing
	for _, t := range targets {
		if t.largest < 0 || t.largest < best.Timestamp {
			break // what follows has nothing later
		}
		found, err := q.latestOf(k, t)
		if err != nil {
			return nothing, err
		}
		if found.Timestamp > best.Timestamp || found.Timestamp == best.Timestamp && found.Offset < best.Offset {
			best = found
		}
	}
	return q.within(best), nil
}

// latestOf finds the first record of a segment that has the segment's largest timestamp. What Kafka's cleaner has left may say of a segment
// that it has one that only a batch without records has: then all of it is looked through.
func (q *Searcher) latestOf(k ring.Kernel, t target) (Found, error) {
	from, err := q.before(k, t, t.largest)
	if err != nil {
		return nothing, err
	}
	found, err := q.latestFrom(k, t, from, t.largest)
	if err == nil && found.Offset < 0 {
		found, err = q.latestFrom(k, t, t.base, math.MinInt64)
	}
	return found, err
}

// latestFrom finds the record with the largest timestamp, at least so late, from an offset on.
func (q *Searcher) latestFrom(k ring.Kernel, t target, from, atLeast int64) (found Found, err error) {
	found = nothing
	err = q.eachBatch(k, t, from, func(r *logReader, position int64, h header) (bool, error) {
		if h.Count() == 0 || h.MaxTimestamp() < atLeast || h.MaxTimestamp() <= found.Timestamp {
			return true, nil
		}
		b, err := r.batch(position)
		if err != nil {
			return false, err
		}
		offset, ts, err := b.OffsetOfMaxTimestamp(&q.scratch)
		if err == nil && ts > found.Timestamp {
			found = Found{offset, ts, b.LeaderEpoch()}
		}
		return found.Timestamp < t.largest, err
	})
	return found, err
}

// eachBatch calls f with the headers of a segment's batches from the one with an offset on, until f returns
// false or the snapshot ends.
func (q *Searcher) eachBatch(k ring.Files, t target, from int64, f func(r *logReader, position int64, h header) (bool, error)) error {
	r, err := openLog(k, q.path(t.base, logSuffix), t.size)
	if err != nil {
		return err
	}
	defer r.close()
	position, err := q.startPosition(k, r, t, from)
	if err != nil {
		return err
	}
	for position < r.size {
		h, err := r.header(position)
		if err != nil {
			return err
		}
		size := batchBytes(h)
		if on, err := f(r, position, h); err != nil || !on {
			return err
		}
		position += size
	}
	return nil
}

// startPosition finds where to begin reading for an offset: by the .index, if what it says is so.
func (q *Searcher) startPosition(k ring.Files, r *logReader, t target, from int64) (int64, error) {
	if t.entries == 0 {
		return 0, nil
	}
	fd, err := k.Open(q.path(t.base, indexSuffix), readOnly, 0)
	if err != nil {
		return 0, err
	}
	defer closeQuietly(k, fd)
	scratch := make([]byte, indexWindow*indexEntryBytes)
	e, slot, o := floorOnDisk(&blockingReader{k, fd}, scratch, int(t.entries), byOffset, from-t.base)
	if o != present || slot < 0 || int64(e.position) >= r.size {
		return 0, nil
	}
	h, err := r.header(int64(e.position))
	if errors.Is(err, errNoBatch) || err == nil && h.LastOffset() != t.base+int64(e.relative) {
		return 0, nil
	}
	return int64(e.position), err
}

// blockingReader reads an index file for a search on a helper.
type blockingReader struct {
	k  ring.Files
	fd int
}

func (r *blockingReader) readIndex(p []byte, off int64) outcome {
	return presentIf(readFull(r.k, r.fd, p, off) == nil)
}
