package group

import (
	"bytes"
	"hash/fnv"
	"slices"
	"strings"
)

// memberState is where a consumer is on its way to what it is to have. The
// numbers are those of the log.
//
//	           nothing to give up, all that it is to get is free
//	Stable  <----------------------------------------------------+
//	  |  a new target                                             |
//	  +--> UnrevokedPartitions: must give up partitions first ----+
//	  |                          has given them up                |
//	  +--> UnreleasedPartitions: others must give up some first --+
type memberState int8

const (
	stableMember         memberState = 0
	unrevokedPartitions  memberState = 1
	unreleasedPartitions memberState = 2
)

// leftEpoch and leftForNowEpoch are the epochs of a member that leaves, the latter
// a static one that will be back.
const (
	leftEpoch       = -1
	leftForNowEpoch = -2
)

// consumerState is Kafka's name for how far a consumer group is.
type consumerState string

const (
	consumerEmpty       consumerState = "Empty"
	consumerAssigning   consumerState = "Assigning"
	consumerReconciling consumerState = "Reconciling"
	consumerStable      consumerState = "Stable"
)

// String is Kafka's name of the state.
func (s consumerState) String() string { return string(s) }

// memberFacts is what the log says of a member. It is compared and replaced as a
// whole.
type memberFacts struct {
	instance   *string
	rack       *string
	clientID   string
	clientHost string
	topics     []string // sorted, each once
	regex      string   // "": none
	rebalance  int32    // milliseconds; -1: not said
	assignor   *string
	classic    *ClassicMemberMetadata // nil: it speaks the consumer protocol

	epoch, previous int32
	state           memberState
	assigned        assignment // with epochs
	revoking        assignment // with epochs
}

// consumerMember is a member of a consumer group.
type consumerMember struct {
	id string
	memberFacts

	session    timer
	rebalance  timer // to give up what it must
	join, sync timer // of one that speaks the classic protocol
	awaits     int32 // the epoch that the rebalance timer is about
}

// consumerGroup is a group whose partitions the coordinator assigns (KIP-848).
type consumerGroup struct {
	epoch           int32
	assignmentEpoch int32
	assignedAt      int64 // milliseconds, when the target was ready; 0: never
	recordedHash    int64 // of the topics at epoch
	oldPartitions   bool  // the log has a ConsumerGroupPartitionMetadata of it

	members map[string]*consumerMember
	sorted  []*consumerMember // by id
	static  map[string]string // member ids by instance id
	target  map[string]assignment
	regexes map[string]*groupRegex

	// What follows is worked out from what is above as it changes.
	subscribed map[string]int    // how many members and regular expressions want a topic
	hashes     map[string]uint64 // of each of those topics that there is
	hash       uint64            // their sum
	assignors  map[string]int    // how many members want one
	owners     owners            // who has, or must give up, each partition
	stable     map[int32]int     // how many members are stable, by epoch
	classics   int               // members that speak the classic protocol
	protocols  map[string]int    // how many of them know a protocol

	job       *assignJob
	assign    timer   // the end of an assignment interval in which someone waits
	delayed   []*beat // JoinGroups that wait for it
	resolving bool
	unsettled bool // it was a classic group in the middle of a rebalance
}

// newConsumerGroup: a group begins at epoch 1 with an empty target, so that who
// joins before there is another has an epoch that is not the 0 of joining.
func newConsumerGroup(g *group) *consumerGroup {
	cg := &consumerGroup{
		epoch: 1, assignmentEpoch: 1,
		members: map[string]*consumerMember{}, static: map[string]string{}, target: map[string]assignment{}, regexes: map[string]*groupRegex{},
		subscribed: map[string]int{}, hashes: map[string]uint64{}, assignors: map[string]int{},
		stable: map[int32]int{}, protocols: map[string]int{},
	}
	cg.assign.fire = func(c *Coordinator) {
		if g.consumer == cg {
			c.assignLate(g)
		}
	}
	return cg
}

func (cg *consumerGroup) state() consumerState {
	switch {
	case len(cg.members) == 0:
		return consumerEmpty
	case cg.epoch > cg.assignmentEpoch:
		return consumerAssigning
	case cg.stable[cg.assignmentEpoch] < len(cg.members):
		return consumerReconciling
	}
	return consumerStable
}

// reconciled: the member has what it is to have.
func (m *memberFacts) reconciled(epoch int32) bool {
	return m.state == stableMember && m.epoch == epoch
}

func (cg *consumerGroup) search(id string) (int, bool) {
	return slices.BinarySearchFunc(cg.sorted, id, func(m *consumerMember, id string) int { return strings.Compare(m.id, id) })
}

// staticMember is who has an instance id, or nil.
func (cg *consumerGroup) staticMember(instance *string) *consumerMember {
	if instance == nil {
		return nil
	}
	id, ok := cg.static[*instance]
	if !ok {
		return nil
	}
	return cg.members[id]
}

// setMember makes a member what next says; it is taken in if it is new.
func (c *Coordinator) setMember(g *group, id string, next memberFacts) *consumerMember {
	cg := g.consumer
	m := cg.members[id]
	if m == nil {
		m = c.newConsumerMember(g, id)
		cg.members[id] = m
		at, _ := cg.search(id)
		cg.sorted = slices.Insert(cg.sorted, at, m)
	} else {
		c.uncount(g, m)
	}
	m.memberFacts = next
	c.count(g, m)
	return m
}

// removeMember takes a member out, with everything that is known of it but its
// target, which has its own record.
func (c *Coordinator) removeMember(g *group, m *consumerMember) {
	cg := g.consumer
	c.stopTimers(m)
	c.uncount(g, m)
	delete(cg.members, m.id)
	if at, ok := cg.search(m.id); ok {
		cg.sorted = slices.Delete(cg.sorted, at, at+1)
	}
}

func (c *Coordinator) newConsumerMember(g *group, id string) *consumerMember {
	m := &consumerMember{id: id}
	m.session.fire = func(c *Coordinator) { c.fence(g, m) }
	m.join.fire, m.sync.fire = m.session.fire, m.session.fire
	m.memberFacts.rebalance = -1
	m.rebalance.fire = func(c *Coordinator) {
		if m.epoch == m.awaits {
			c.fence(g, m)
		}
	}
	return m
}

func (c *Coordinator) stopTimers(m *consumerMember) {
	c.timers.stop(&m.session)
	c.timers.stop(&m.rebalance)
	c.timers.stop(&m.join)
	c.timers.stop(&m.sync)
}

// count adds a member to everything that is worked out from the members.
func (c *Coordinator) count(g *group, m *consumerMember) {
	cg := g.consumer
	c.account.charge(m.bytes())
	for _, t := range m.topics {
		c.want(g, t, 1)
	}
	if m.regex != "" {
		c.useRegex(g, m.regex, 1)
	}
	if m.assignor != nil {
		cg.assignors[*m.assignor]++
	}
	for _, a := range [...]assignment{m.assigned, m.revoking} {
		for i := range a {
			topic, _ := c.topics.TopicByID(a[i].topic)
			cg.owners.add(m, &a[i], topic.Partitions)
		}
	}
	if m.state == stableMember {
		cg.stable[m.epoch]++
	}
	if m.instance != nil {
		cg.static[*m.instance] = m.id
	}
	if m.classic != nil {
		cg.classics++
		for _, p := range m.classic.SupportedProtocols {
			cg.protocols[p.Name]++
		}
	}
}

// uncount takes a member out of everything that count adds it to.
func (c *Coordinator) uncount(g *group, m *consumerMember) {
	cg := g.consumer
	c.account.charge(-m.bytes())
	for _, t := range m.topics {
		c.want(g, t, -1)
	}
	if m.regex != "" {
		c.useRegex(g, m.regex, -1)
	}
	if m.assignor != nil {
		decrement(cg.assignors, *m.assignor)
	}
	for _, a := range [...]assignment{m.assigned, m.revoking} {
		for i := range a {
			cg.owners.remove(m, &a[i])
		}
	}
	if m.state == stableMember {
		decrement(cg.stable, m.epoch)
	}
	if m.instance != nil && cg.static[*m.instance] == m.id {
		delete(cg.static, *m.instance)
	}
	if m.classic != nil {
		cg.classics--
		for _, p := range m.classic.SupportedProtocols {
			decrement(cg.protocols, p.Name)
		}
	}
}

func decrement[K comparable](counts map[K]int, k K) {
	if counts[k]--; counts[k] <= 0 {
		delete(counts, k)
	}
}

// want counts who wants a topic, and keeps the hash of the topics and the index
// of groups by topic in step.
func (c *Coordinator) want(g *group, topic string, by int) {
	cg := g.consumer
	n := cg.subscribed[topic] + by
	switch {
	case n <= 0:
		delete(cg.subscribed, topic)
		cg.hash -= cg.hashes[topic]
		delete(cg.hashes, topic)
		delete(c.byTopic[topic], g.id)
		if len(c.byTopic[topic]) == 0 {
			delete(c.byTopic, topic)
		}
	case n == by:
		cg.subscribed[topic] = n
		if c.byTopic[topic] == nil {
			c.byTopic[topic] = map[string]*group{}
		}
		c.byTopic[topic][g.id] = g
		cg.rehash(topic, c.topics)
	default:
		cg.subscribed[topic] = n
	}
}

// rehash takes in what a topic is by now.
func (cg *consumerGroup) rehash(topic string, topics Topics) {
	cg.hash -= cg.hashes[topic]
	delete(cg.hashes, topic)
	if h, ok := topicHash(topics, topic); ok {
		cg.hashes[topic] = h
		cg.hash += h
	}
}

// topicHash changes when a topic is made anew or has more partitions. The hash of
// several topics is the sum of theirs, so that it can be kept up to date.
func topicHash(topics Topics, name string) (uint64, bool) {
	t, ok := topics.TopicByName(name)
	if !ok {
		return 0, false
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	h.Write(t.ID[:])
	p := t.Partitions
	h.Write([]byte{byte(p >> 24), byte(p >> 16), byte(p >> 8), byte(p)})
	return h.Sum64(), true
}

// refreshSubscribers has the groups that read a topic look at it again. Their
// members notice with their next heartbeat.
func (c *Coordinator) refreshSubscribers(topic string) {
	for _, g := range c.byTopic[topic] { // each on its own: the order does not show
		if g.consumer != nil {
			g.consumer.rehash(topic, c.topics)
		}
	}
}

// change is a member before and after; nil: it was not, or will not be, there.
type change struct{ old, next *memberFacts }

// hashAfter is what the hash of the topics will be after some changes.
func (c *Coordinator) hashAfter(cg *consumerGroup, changes ...change) int64 {
	delta := map[string]int{}
	left := map[string]int{} // members that leave a regular expression
	for _, ch := range changes {
		old, next := ch.old, ch.next
		if old != nil && next != nil && slices.Equal(old.topics, next.topics) && old.regex == next.regex {
			continue
		}
		if old != nil {
			for _, t := range old.topics {
				delta[t]--
			}
			left[old.regex]++
		}
		if next != nil {
			for _, t := range next.topics {
				delta[t]++
			}
			left[next.regex]--
		}
	}
	for regex, n := range left { // sums: the order does not matter, here and below
		if r := cg.regexes[regex]; r != nil && n >= r.members {
			for _, t := range r.topics {
				delta[t]--
			}
		}
	}
	hash := cg.hash
	for t, by := range delta {
		before := cg.subscribed[t]
		if before > 0 && before+by <= 0 {
			hash -= cg.hashes[t]
		} else if before == 0 && by > 0 {
			if h, ok := topicHash(c.topics, t); ok {
				hash += h
			}
		}
	}
	return int64(hash)
}

// sameFacts compares what a member says of itself, without its assignment.
func (m *memberFacts) sameFacts(o *memberFacts) bool {
	return sameString(m.instance, o.instance) && sameString(m.rack, o.rack) && m.clientID == o.clientID && m.clientHost == o.clientHost &&
		slices.Equal(m.topics, o.topics) && m.regex == o.regex && m.rebalance == o.rebalance &&
		sameString(m.assignor, o.assignor) && sameClassic(m.classic, o.classic)
}

func (m *memberFacts) sameAssignment(o *memberFacts) bool {
	return m.epoch == o.epoch && m.previous == o.previous && m.state == o.state && m.assigned.equal(o.assigned) && m.revoking.equal(o.revoking)
}

func sameString(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

func sameClassic(a, b *ClassicMemberMetadata) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.SessionTimeoutMillis == b.SessionTimeoutMillis && slices.EqualFunc(a.SupportedProtocols, b.SupportedProtocols, func(x, y ClassicProtocol) bool {
		return x.Name == y.Name && bytes.Equal(x.Metadata, y.Metadata)
	})
}

// assignor is the one that most members want; among equals the first by name.
// Nobody wanting any, it is the default.
func (c *Coordinator) assignor(cg *consumerGroup) string {
	best := ""
	for name, n := range cg.assignors {
		if best == "" || n > cg.assignors[best] || n == cg.assignors[best] && name < best {
			best = name
		}
	}
	if best == "" && len(c.settings.ConsumerAssignors) > 0 {
		best = c.settings.ConsumerAssignors[0]
	}
	return best
}

// dropConsumer ends the group's life as a consumer group.
func (c *Coordinator) dropConsumer(g *group) {
	cg := g.consumer
	for _, m := range cg.sorted {
		c.stopTimers(m)
		c.uncount(g, m)
	}
	for topic := range cg.subscribed {
		delete(c.byTopic[topic], g.id)
		if len(c.byTopic[topic]) == 0 {
			delete(c.byTopic, topic)
		}
	}
	c.abortJob(g)
	g.consumer = nil
}

// wakeConsumer arms the timers of a group that was loaded.
func (c *Coordinator) wakeConsumer(g *group) {
	for _, m := range g.consumer.sorted {
		if !m.session.armed() {
			c.keepSession(g, m)
		}
		if m.state == unrevokedPartitions && m.classic == nil && !m.rebalance.armed() {
			c.awaitRevocation(m)
		}
	}
}

// keepSession gives a member its whole session timeout from now.
func (c *Coordinator) keepSession(g *group, m *consumerMember) {
	millis := c.consumerSessionMillis(g.id)
	if m.classic != nil {
		millis = m.classic.SessionTimeoutMillis
	}
	c.timers.arm(&m.session, c.now+int64(millis))
}

func (c *Coordinator) awaitRevocation(m *consumerMember) {
	m.awaits = m.epoch
	c.timers.arm(&m.rebalance, c.now+int64(m.memberFacts.rebalance))
}
