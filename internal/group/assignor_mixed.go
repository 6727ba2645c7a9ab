package group

import "slices"

// mixedSolver is Kafka's `uniform` where members read different topics. Everyone
// keeps what it has and reads; what is free goes to the least loaded reader, the
// topics with the fewest readers first; then partitions are moved from more to
// less loaded readers of the same topic until no move would even anything out.
type mixedSolver struct {
	members []specMember
	own     *ownership
	readers [][]int32
	order   []int32 // topics, fewest readers first
	load    []int

	phase mixedPhase
	step  int // member or position in order, as the phase has it
	place int32
	moved bool // in this pass
	pass  int
}

type mixedPhase int8

const (
	mixedKeep mixedPhase = iota
	mixedOrder
	mixedFill
	mixedBalance
	mixedCollect
	mixedDone
)

// maxPasses ends a balancing that should have ended long before: each move lowers
// the sum of the squared loads.
const maxPasses = 64

func newMixed(members []specMember, topics []specTopic) *mixedSolver {
	return &mixedSolver{members: members, own: newOwnership(topics), readers: make([][]int32, len(topics)), load: make([]int, len(members))}
}

func (s *mixedSolver) run(units int) (used int, done bool) {
	for used < units && s.phase != mixedDone {
		switch s.phase {
		case mixedKeep:
			used += s.keep()
		case mixedOrder:
			used += s.sort()
		case mixedFill:
			used += s.fill()
		case mixedBalance:
			used += s.balance()
		case mixedCollect:
			used += s.collect()
		}
	}
	return used, s.phase == mixedDone
}

func (s *mixedSolver) next(p mixedPhase) { s.phase, s.step, s.place = p, 0, 0 }

func (s *mixedSolver) keep() int {
	if s.step == len(s.members) {
		s.next(mixedOrder)
		return 1
	}
	m := &s.members[s.step]
	_, s.load[s.step] = s.own.keep(int32(s.step), m)
	for _, t := range m.topics {
		s.readers[t] = append(s.readers[t], int32(s.step))
	}
	s.step++
	return 3 + len(m.topics) + m.current.count()
}

func (s *mixedSolver) sort() int {
	for t := range s.own.topics {
		if len(s.readers[t]) > 0 {
			s.order = append(s.order, int32(t))
		}
	}
	slices.SortStableFunc(s.order, func(a, b int32) int { return len(s.readers[a]) - len(s.readers[b]) })
	s.next(mixedFill)
	return 1 + 5*len(s.order)
}

// fill hands one free partition out.
func (s *mixedSolver) fill() int {
	if s.step == len(s.order) {
		s.next(mixedBalance)
		return 1
	}
	t := s.order[s.step]
	by := s.own.of(t)
	for ; int(s.place) < len(by); s.place++ {
		if by[s.place] >= 0 {
			continue
		}
		m, used := s.leastLoaded(t)
		by[s.place] = m
		s.load[m]++
		s.place++
		return used + 1
	}
	s.step, s.place = s.step+1, 0
	return 1 + len(by)/8
}

func (s *mixedSolver) leastLoaded(t int32) (member int32, used int) {
	member = s.readers[t][0]
	for _, m := range s.readers[t] {
		if s.load[m] < s.load[member] {
			member = m
		}
	}
	return member, len(s.readers[t]) / 4
}

// balance moves one partition, or goes on to the next topic.
func (s *mixedSolver) balance() int {
	if s.step == len(s.order) {
		if s.pass++; !s.moved || s.pass == maxPasses {
			s.next(mixedCollect)
			return 1
		}
		s.moved = false
		s.next(mixedBalance)
		return 1
	}
	t := s.order[s.step]
	low, used := s.leastLoaded(t)
	by := s.own.of(t)
	high := -1
	for p, m := range by {
		if high < 0 || s.load[m] > s.load[by[high]] {
			high = p
		}
	}
	if high < 0 || s.load[by[high]] <= s.load[low]+1 {
		s.step++
		return used + 1 + len(by)/4
	}
	s.load[by[high]]--
	s.load[low]++
	by[high] = low
	s.moved = true
	return used + 1 + len(by)/4
}

// collect gives each member its part of a topic. Topics are gone through by id, so
// that the parts come in order.
func (s *mixedSolver) collect() int {
	if s.step == len(s.own.topics) {
		s.next(mixedDone)
		return 1
	}
	t := int32(s.step)
	s.step++
	if len(s.readers[t]) == 0 {
		return 1
	}
	by := s.own.of(t)
	for p, m := range by {
		s.members[m].result = s.members[m].result.one(s.own.topics[t].id, int32(p))
	}
	return 1 + 2*len(by)
}
