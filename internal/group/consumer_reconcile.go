package group

import (
	"slices"

	"slipstream/protocol"
)

// reconcile brings a member closer to its target. A member gives up what it is
// not to have before it gets anything, and gets only what nobody else has: that
// is how no partition ever has two owners.
func (c *Coordinator) reconcile(g *group, m *consumerMember, subscribed bool, own owned) *refusal {
	cg := g.consumer
	if !subscribed && m.reconciled(cg.assignmentEpoch) {
		return nil
	}
	next, refused := c.nextAssignment(g, m, subscribed, own)
	if refused != nil {
		return refused
	}
	if next.sameAssignment(&m.memberFacts) {
		return nil
	}
	if !c.write(g, assignmentRecord(g, m.id, &next)) {
		return &refusal{code: protocol.UNKNOWN_SERVER_ERROR}
	}
	if m.classic != nil {
		return nil // these have other timers
	}
	if m.state == unrevokedPartitions {
		c.awaitRevocation(m)
	} else {
		c.timers.stop(&m.rebalance)
	}
	return nil
}

func (c *Coordinator) nextAssignment(g *group, m *consumerMember, subscribed bool, own owned) (memberFacts, *refusal) {
	switch m.state {
	case stableMember:
		switch {
		case m.epoch != g.consumer.assignmentEpoch:
			return c.towardsTarget(g, m, m.epoch, own), nil
		case subscribed:
			return c.withinSubscription(g, m, own), nil
		}
		return m.memberFacts, nil
	case unrevokedPartitions:
		switch {
		case !own.any(m.revoking):
			return c.towardsTarget(g, m, m.epoch, own), nil
		case subscribed:
			return c.withinSubscription(g, m, own), nil
		}
		return m.memberFacts, nil
	case unreleasedPartitions:
		return c.towardsTarget(g, m, m.epoch, own), nil
	}
	// A newer Kafka has written a state that is not known here.
	if !own.known || len(own.topics) > 0 {
		return m.memberFacts, refusef(protocol.FENCED_MEMBER_EPOCH, "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.")
	}
	return c.towardsTarget(g, m, g.consumer.assignmentEpoch, own), nil
}

// reads gives the ids of the topics that a member reads. A regular expression that
// is not resolved yet means none.
func (c *Coordinator) reads(cg *consumerGroup, m *memberFacts) func(protocol.UUID) bool {
	var matched []string
	if r := cg.regexes[m.regex]; m.regex != "" && r != nil {
		matched = r.topics
	}
	return func(id protocol.UUID) bool {
		t, ok := c.topics.TopicByID(id)
		if !ok {
			return false
		}
		if _, found := slices.BinarySearch(m.topics, t.Name); found {
			return true
		}
		_, found := slices.BinarySearch(matched, t.Name)
		return found
	}
}

// withinSubscription takes away at once what a member no longer reads, without
// waiting for a new target.
func (c *Coordinator) withinSubscription(g *group, m *consumerMember, own owned) memberFacts {
	next := m.memberFacts
	reads := c.reads(g.consumer, &m.memberFacts)
	next.assigned = nil
	var away assignment
	for _, t := range m.assigned {
		if reads(t.topic) {
			next.assigned = append(next.assigned, t)
		} else {
			away = append(away, t)
		}
	}
	if len(away) == 0 {
		return m.memberFacts
	}
	revoking := merged(m.revoking, away)
	next.previous = m.epoch
	if own.any(revoking) {
		next.state, next.revoking = unrevokedPartitions, revoking
	}
	return next
}

// towardsTarget is one step: what of the target the member has it keeps, what is
// not in the target it must give up, and if there is nothing to give up it gets
// what is free.
func (c *Coordinator) towardsTarget(g *group, m *consumerMember, epoch int32, own owned) memberFacts {
	cg := g.consumer
	reads := c.reads(cg, &m.memberFacts)
	s := split{cg: cg, m: m, epoch: cg.assignmentEpoch}
	target := cg.target[m.id]
	for i, j := 0, 0; i < len(target) || j < len(m.assigned); {
		var want, has topicAssignment
		switch {
		case j == len(m.assigned) || i < len(target) && lessID(target[i].topic, m.assigned[j].topic):
			want = target[i]
			has.topic = want.topic
			i++
		case i == len(target) || lessID(m.assigned[j].topic, target[i].topic):
			has = m.assigned[j]
			want.topic = has.topic
			j++
		default:
			want, has = target[i], m.assigned[j]
			i, j = i+1, j+1
		}
		if !reads(want.topic) {
			want.partitions = nil
		}
		s.topic(want, has)
	}
	next := m.memberFacts
	if len(s.revoke) > 0 && own.any(s.revoke) {
		next.state, next.previous, next.epoch = unrevokedPartitions, m.epoch, epoch
		next.assigned, next.revoking = s.keep, s.revoke
		return next
	}
	next.previous, next.epoch = m.epoch, cg.assignmentEpoch
	next.assigned, next.revoking = merged(s.keep, s.get), nil
	next.state = stableMember
	if s.unreleased {
		next.state = unreleasedPartitions
	}
	return next
}

// split is the target and what a member has, taken apart.
type split struct {
	cg                *consumerGroup
	m                 *consumerMember
	epoch             int32
	keep, revoke, get assignment
	unreleased        bool // something in the target is still someone else's
}

func (s *split) topic(want, has topicAssignment) {
	var keep, revoke, get topicAssignment
	i, j := 0, 0
	for i < len(want.partitions) || j < len(has.partitions) {
		switch {
		case j == len(has.partitions) || i < len(want.partitions) && want.partitions[i] < has.partitions[j]:
			if s.free(want.topic, want.partitions[i]) {
				get.partitions = append(get.partitions, want.partitions[i])
				get.epochs = append(get.epochs, s.epoch)
			} else {
				s.unreleased = true
			}
			i++
		case i == len(want.partitions) || has.partitions[j] < want.partitions[i]:
			revoke.take(has, j)
			j++
		default:
			keep.take(has, j)
			i, j = i+1, j+1
		}
	}
	s.keep = s.keep.plus(want.topic, keep)
	s.revoke = s.revoke.plus(want.topic, revoke)
	s.get = s.get.plus(want.topic, get)
}

// free says whether nobody else has a partition. What the member itself still has
// to give up is its own to get back.
func (s *split) free(topic protocol.UUID, partition int32) bool {
	has := s.cg.owners.of(topic, partition)
	if has != s.m {
		return has == nil
	}
	revoking := s.m.revoking.of(topic)
	return revoking.has(partition)
}

func (t *topicAssignment) take(from topicAssignment, i int) {
	if t.partitions == nil {
		t.partitions, t.epochs = make([]int32, 0, len(from.partitions)-i), make([]int32, 0, len(from.partitions)-i)
	}
	t.partitions = append(t.partitions, from.partitions[i])
	t.epochs = append(t.epochs, from.epochs[i])
}

func (a assignment) plus(topic protocol.UUID, t topicAssignment) assignment {
	if len(t.partitions) == 0 {
		return a
	}
	t.topic = topic
	return append(a, t)
}

func lessID(a, b protocol.UUID) bool { return string(a[:]) < string(b[:]) }

// merged puts two assignments without a partition in common together.
func merged(a, b assignment) assignment {
	var out assignment
	for len(a) > 0 && len(b) > 0 {
		switch {
		case lessID(a[0].topic, b[0].topic):
			out, a = append(out, a[0]), a[1:]
		case lessID(b[0].topic, a[0].topic):
			out, b = append(out, b[0]), b[1:]
		default:
			t := topicAssignment{a[0].topic, slices.Concat(a[0].partitions, b[0].partitions), slices.Concat(a[0].epochs, b[0].epochs)}
			t.sort()
			out, a, b = append(out, t), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// commitFence holds a commit of a consumer with an older epoch to what it had
// then: what it was given later it may commit only once it knows (KIP-1251).
type commitFence struct {
	member *consumerMember // nil: no fence
	epoch  int32
}

func (f *commitFence) check(topic protocol.UUID, partition int32) protocol.ErrorCode {
	if f.member == nil {
		return protocol.NONE
	}
	epoch, ok := f.member.assigned.epochOf(topic, partition)
	if !ok {
		epoch, ok = f.member.revoking.epochOf(topic, partition)
	}
	if ok && f.epoch >= epoch {
		return protocol.NONE
	}
	return f.member.staleEpoch()
}

func (m *memberFacts) staleEpoch() protocol.ErrorCode {
	if m.classic != nil {
		return protocol.ILLEGAL_GENERATION
	}
	return protocol.STALE_MEMBER_EPOCH
}

func (c *Coordinator) validateConsumerCommit(g *group, by *commitBy, fence *commitFence) protocol.ErrorCode {
	cg := g.consumer
	if by.generation < 0 && len(cg.members) == 0 {
		return protocol.NONE
	}
	if by.transactional && by.generation == -1 && by.memberID == "" && by.instance == nil {
		return protocol.NONE
	}
	m := cg.members[by.memberID]
	switch {
	case m == nil:
		return protocol.UNKNOWN_MEMBER_ID
	case !by.transactional && m.classic == nil && by.version < 9:
		return protocol.UNSUPPORTED_VERSION
	case by.generation == m.epoch:
		return protocol.NONE
	case by.generation > m.epoch:
		return m.staleEpoch()
	}
	*fence = commitFence{m, by.generation}
	return protocol.NONE
}
