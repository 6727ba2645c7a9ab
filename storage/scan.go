package storage

import (
	"slipstream/protocol"
	"slipstream/ring"
)

// Scan is a log from an offset on, as it was when it was asked for, for a helper to read batch by batch while the
// core goes on: how a coordinator is loaded. What is below the high watermark is in it.
//
// Compaction and deletion may take a segment's file away before the helper opens it, or put another in its place. Read may
// then fail; the scan is Stale, and a new one from where it came to sees what took its place.
type Scan struct {
	search Searcher
	from   int64
}

// Scan takes a snapshot of the log from an offset on. It belongs to whoever reads it.
func (p *Partition) Scan(from int64) *Scan { return &Scan{search: *p.Searcher(), from: from} }

// Read calls f with each batch that ends behind the scan's beginning, in order, as long as f returns true. A batch is
// whole and its CRC is right; it is good until f returns. next is the offset behind the last batch that f has seen, and done says that there
// are no more. Blocking.
func (s *Scan) Read(k ring.Kernel, f func(b protocol.Batch) bool) (next int64, done bool, err error) {
	q := &s.search
	next = max(s.from, q.logStart)
	for _, t := range q.targets() {
		if t.end <= next && t.base != q.base {
			continue
		}
		if next > t.base { // it begins within
			if err := q.learn(k, &t); err != nil {
				return next, false, err
			}
		}
		more := true
		err := q.eachBatch(k, t, next, func(r *logReader, position int64, h header) (bool, error) {
			if h.LastOffset() < next {
				return true, nil
			}
			if h.BaseOffset() >= q.limit {
				more = false
				return false, nil
			}
			b, err := r.batch(position)
			if err != nil {
				return false, err
			}
			more = f(b)
			next = b.NextOffset()
			return more, nil
		})
		if err != nil {
			return next, false, err
		}
		if !more {
			return next, next >= q.limit, nil
		}
	}
	return next, true, nil
}

// Stale reports whether closed segments have left the log since the scan was made: an error of Read may come of that.
func (s *Scan) Stale(p *Partition) bool { return s.search.Stale(p) }
