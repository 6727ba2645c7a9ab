package guarantees

import "slices"

// Ranges is a set of offsets, as ranges in order that do not touch.
type Ranges struct {
	list []span
}

type span struct{ from, to int64 } // to is not in it

// Add adds the offsets from, up to and without to.
func (r *Ranges) Add(from, to int64) {
	if from >= to {
		return
	}
	first, _ := slices.BinarySearchFunc(r.list, from, func(s span, at int64) int { return compare(s.to, at) })
	last := first
	for last < len(r.list) && r.list[last].from <= to {
		from, to = min(from, r.list[last].from), max(to, r.list[last].to)
		last++
	}
	r.list = slices.Replace(r.list, first, last, span{from, to})
}

// Gap is the first range between from and to that is not in the set. ok is false
// if all of it is.
func (r *Ranges) Gap(from, to int64) (gapFrom, gapTo int64, ok bool) {
	for _, s := range r.list {
		if from >= to {
			break
		}
		if s.to <= from {
			continue
		}
		if s.from > from {
			return from, min(s.from, to), true
		}
		from = s.to
	}
	return from, to, from < to
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
