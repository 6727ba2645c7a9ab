package metrics

import (
	"cmp"
	"slices"
)

// limiter keeps the number of series that clients can make in bounds. The most
// active ones get a name and keep it for as long as they are there; all others
// are added up. No counter of those that are shown ever goes backwards, nor does the
// sum of the others: what leaves it for a name of its own stays in it, and what of a
// named one is handed to the others when it is gone was told already.
type limiter struct {
	limit   int
	named   map[string][]uint64
	unnamed map[string][]uint64 // added up, the last time
	carried []uint64            // added to the sum of the others; wraps around below zero
	highest []uint64            // that the sum of the others has been
}

// item is a key and its counters.
type item struct {
	key    string
	counts []uint64
	at     int // its place where it came from
}

func newLimiter(limit, width int) limiter {
	return limiter{limit: limit, named: map[string][]uint64{}, carried: make([]uint64, width), highest: make([]uint64, width)}
}

// update takes in how things stand. rest is what was counted for nobody in
// particular, which the counts of those that are gone have been added to.
func (l *limiter) update(items []item, rest []uint64) (named []item, others []uint64) {
	present := make(map[string]bool, len(items))
	var waiting []item
	for _, it := range items {
		present[it.key] = true
		if _, ok := l.named[it.key]; ok {
			l.named[it.key] = it.counts
			named = append(named, it)
		} else {
			waiting = append(waiting, it)
		}
	}
	for key, last := range l.named {
		if !present[key] {
			delete(l.named, key)
			for i, n := range last {
				l.carried[i] -= n
			}
		}
	}
	slices.SortStableFunc(waiting, func(a, b item) int { return cmp.Compare(sum(b.counts), sum(a.counts)) })
	others = slices.Clone(rest)
	before := l.unnamed
	l.unnamed = map[string][]uint64{}
	for _, it := range waiting {
		if len(l.named) < l.limit {
			l.named[it.key] = it.counts
			named = append(named, it)
			for i, n := range before[it.key] {
				l.carried[i] += n
			}
			continue
		}
		l.unnamed[it.key] = it.counts
		for i, n := range it.counts {
			others[i] += n
		}
	}
	for i := range others {
		if n := others[i] + l.carried[i]; int64(n) > 0 {
			l.highest[i] = max(l.highest[i], n)
		}
	}
	return named, slices.Clone(l.highest)
}

func sum(counts []uint64) (total uint64) {
	for _, n := range counts {
		total += n
	}
	return total
}
