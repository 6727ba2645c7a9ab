package group

import (
	"slices"
	"strings"

	"slipstream/protocol"
)

// solver computes an assignment in pieces: run does about units of work. The
// results are in the members that it was made for.
type solver interface {
	run(units int) (used int, done bool)
}

func newSolver(name string, members []specMember, topics []specTopic) solver {
	switch {
	case name == "range":
		return newRange(members, topics)
	case homogeneous(members):
		return newUniform(members, topics)
	}
	return newMixed(members, topics)
}

// homogeneous: everyone reads the same topics.
func homogeneous(members []specMember) bool {
	for i := range members {
		if !slices.Equal(members[i].topics, members[0].topics) {
			return false
		}
	}
	return true
}

// rangeSolver is Kafka's `range`: of each topic its readers, in a fixed order, get
// ranges that differ by at most one partition. Topics with the same readers and
// as many partitions are divided alike, so that they can be joined.
type rangeSolver struct {
	members []specMember
	topics  []specTopic
	readers [][]int32 // of each topic, by member index, in the order of the ranges
	order   []int32
	step    int
	phase   int8
}

func newRange(members []specMember, topics []specTopic) *rangeSolver {
	return &rangeSolver{members: members, topics: topics, readers: make([][]int32, len(topics))}
}

func (s *rangeSolver) run(units int) (used int, done bool) {
	for used < units {
		switch {
		case s.phase == 0:
			s.sort()
			used += len(s.members)
			s.phase = 1
		case s.phase == 1 && s.step < len(s.order):
			m := s.order[s.step]
			for _, t := range s.members[m].topics {
				s.readers[t] = append(s.readers[t], m)
			}
			used += 1 + len(s.members[m].topics)
			s.step++
		case s.phase == 1:
			s.phase, s.step = 2, 0
		case s.step < len(s.topics):
			used += s.divide(s.step)
			s.step++
		default:
			return used, true
		}
	}
	return used, false
}

// sort: static members come first, by instance id; the others by member id.
func (s *rangeSolver) sort() {
	s.order = make([]int32, len(s.members))
	for i := range s.order {
		s.order[i] = int32(i) // by member id
	}
	slices.SortStableFunc(s.order, func(a, b int32) int {
		x, y := s.members[a].instance, s.members[b].instance
		switch {
		case x != nil && y != nil:
			return strings.Compare(*x, *y)
		case x != nil:
			return -1
		case y != nil:
			return 1
		}
		return 0
	})
}

func (s *rangeSolver) divide(t int) int {
	readers, topic := s.readers[t], s.topics[t]
	if len(readers) == 0 {
		return 1
	}
	least, more := topic.partitions/int32(len(readers)), topic.partitions%int32(len(readers))
	next := int32(0)
	for i, m := range readers {
		n := least
		if int32(i) < more {
			n++
		}
		if n == 0 {
			break
		}
		part := topicAssignment{topic: topic.id, partitions: make([]int32, n)}
		for k := range part.partitions {
			part.partitions[k] = next
			next++
		}
		s.members[m].result = append(s.members[m].result, part)
	}
	return 1 + 2*len(readers) + int(topic.partitions)/2
}

// ownership is which member has each partition while an assignment is worked out.
type ownership struct {
	topics []specTopic
	by     [][]int32 // by topic and partition: a member's index, -1: nobody
}

func newOwnership(topics []specTopic) *ownership {
	return &ownership{topics: topics, by: make([][]int32, len(topics))}
}

func (o *ownership) of(topic int32) []int32 {
	if o.by[topic] == nil {
		by := make([]int32, o.topics[topic].partitions)
		for i := range by {
			by[i] = -1
		}
		o.by[topic] = by
	}
	return o.by[topic]
}

// index finds a topic by id, or -1.
func (o *ownership) index(t *topicAssignment) int32 {
	i, ok := slices.BinarySearchFunc(o.topics, t.topic, func(s specTopic, id protocol.UUID) int { return slices.Compare(s.id[:], id[:]) })
	if !ok {
		return -1
	}
	return int32(i)
}

// keep gives a member what it has already, of the topics that it reads and that
// nobody before it has. What it keeps is shared with what it had if that is all.
func (o *ownership) keep(member int32, m *specMember) (kept assignment, count int) {
	same := true
	for i := range m.current {
		t := &m.current[i]
		topic := o.index(t)
		if topic < 0 {
			same = false
			continue
		}
		if _, reads := slices.BinarySearch(m.topics, topic); !reads {
			same = false
			continue
		}
		by := o.of(topic)
		part := topicAssignment{topic: t.topic}
		for _, p := range t.partitions {
			if p >= 0 && int(p) < len(by) && by[p] < 0 {
				by[p] = member
				part.partitions = append(part.partitions, p)
			}
		}
		if len(part.partitions) == len(t.partitions) {
			part.partitions = t.partitions
		} else {
			same = false
		}
		if len(part.partitions) > 0 {
			kept = append(kept, part)
			count += len(part.partitions)
		}
	}
	if same {
		return m.current, count
	}
	return kept, count
}

// uniformSolver is Kafka's `uniform` where everyone reads the same: all have the
// same number of partitions, give or take one, and keep as many of what they had
// as that allows.
type uniformSolver struct {
	members []specMember
	own     *ownership
	has     []int // how many each keeps
	phase   int8
	step    int
	least   int   // partitions that everyone gets
	more    int   // members that get one more
	topic   int32 // where the next free partition is looked for
	place   int32
}

func newUniform(members []specMember, topics []specTopic) *uniformSolver {
	return &uniformSolver{members: members, own: newOwnership(topics), has: make([]int, len(members))}
}

func (s *uniformSolver) run(units int) (used int, done bool) {
	for used < units {
		if s.step == len(s.members) {
			if s.step, s.phase = 0, s.phase+1; s.phase == 3 || len(s.members) == 0 {
				return used, true
			}
			if s.phase == 1 {
				used += s.quotas()
			}
			continue
		}
		m := &s.members[s.step]
		switch s.phase {
		case 0:
			m.result, s.has[s.step] = s.own.keep(int32(s.step), m)
			used += 3 + 2*len(m.current) + m.current.count()
		case 1:
			used += s.trim(m)
		case 2:
			used += s.fill(m)
		}
		s.step++
	}
	return used, false
}

// quotas: who has more than the least already is first to have one more.
func (s *uniformSolver) quotas() int {
	total := 0
	for i := range s.own.topics {
		if _, reads := slices.BinarySearch(s.members[0].topics, int32(i)); reads {
			total += int(s.own.topics[i].partitions)
		}
	}
	s.least, s.more = total/len(s.members), total%len(s.members)
	return len(s.own.topics)
}

// trim takes from a member what is above its quota, from the end.
func (s *uniformSolver) trim(m *specMember) int {
	n := s.has[s.step]
	if n <= s.least {
		return 1
	}
	quota := s.least
	if s.more > 0 {
		s.more--
		quota++
	}
	if n > quota {
		m.result = s.own.release(m.result, n-quota)
		s.has[s.step] = quota
	}
	return 1 + n - s.has[s.step]
}

// release frees the last n partitions of an assignment.
func (o *ownership) release(a assignment, n int) assignment {
	a = slices.Clone(a)
	for n > 0 {
		last := &a[len(a)-1]
		cut := min(n, len(last.partitions))
		by := o.of(o.index(last))
		keep := len(last.partitions) - cut
		for _, p := range last.partitions[keep:] {
			by[p] = -1
		}
		last.partitions = last.partitions[:keep:keep]
		if n -= cut; keep == 0 {
			a = a[:len(a)-1]
		}
	}
	return a
}

// fill gives a member free partitions up to its quota.
func (s *uniformSolver) fill(m *specMember) (used int) {
	quota := s.least
	if s.has[s.step] <= s.least && s.more > 0 {
		s.more--
		quota++
	}
	var got assignment
	for n := quota - s.has[s.step]; n > 0; {
		if int(s.topic) == len(s.own.topics) {
			break
		}
		used++
		if _, reads := slices.BinarySearch(m.topics, s.topic); !reads || s.place == s.own.topics[s.topic].partitions {
			s.topic, s.place = s.topic+1, 0
			continue
		}
		if by := s.own.of(s.topic); by[s.place] < 0 {
			by[s.place] = int32(s.step)
			got = got.one(s.own.topics[s.topic].id, s.place)
			n--
		}
		s.place++
	}
	if got != nil {
		m.result = union(m.result, got)
	}
	return used + 1
}

// one adds a partition at the end.
func (a assignment) one(topic protocol.UUID, partition int32) assignment {
	if n := len(a); n > 0 && a[n-1].topic == topic {
		a[n-1].partitions = append(a[n-1].partitions, partition)
		return a
	}
	return append(a, topicAssignment{topic: topic, partitions: []int32{partition}})
}

// union puts two assignments without epochs together that have no partition in
// common.
func union(a, b assignment) assignment {
	out := merged(a, b)
	for i := range out {
		out[i].epochs = nil
	}
	return out
}
