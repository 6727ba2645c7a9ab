package group

import (
	"bytes"
	"iter"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicState is where a classic group is in its life. Kafka's Dead does not
// occur: a group that is gone is not there.
//
//	          join                 all have joined, or time is up
//	Empty ----------> PreparingRebalance ----------> CompletingRebalance
//	  ^                  ^        |                      |      |
//	  |                  |        | nobody is left       |      | the leader's assignment is committed
//	  +------------------|--------+                      |      v
//	                     +---- join, leave, crash -------+-- Stable
type classicState int8

const (
	classicEmpty classicState = iota
	preparingRebalance
	completingRebalance
	classicStable
)

// String is Kafka's name of the state.
func (s classicState) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// classicGroup is a group whose members agree on a protocol and whose leader
// assigns the partitions.
type classicGroup struct {
	state, previous classicState
	since           int64 // milliseconds, when the state began; -1: not known
	generation      int32
	protocolType    string // "": none, a group that only has offsets
	protocol        *string
	leader          string // a member id; "": none
	recorded        bool   // the log has a record of it
	unsettled       bool   // it was loaded as a downgrade has left it (groupEnd)

	members  classicMembers
	static   map[string]*classicMember // by instance id
	pending  pendingMembers            // have been given an id and are to join with it
	joining  int                       // members whose JoinGroup waits for its answer
	syncing  int                       // members that have not sent their SyncGroup
	newcomer bool                      // someone joined since the initial delay began
	support  map[string]int            // how many members know a protocol
	bytes    int64                     // of its members' protocols
	account  *account                  // where they are counted; nil: not yet, or no more

	subscription subscription

	joinTimer, syncTimer timer
}

// classicMember is a member of a classic group.
type classicMember struct {
	id              string
	instance        *string
	clientID        string
	clientHost      string
	rebalanceMillis int32
	sessionMillis   int32
	protocols       []ClassicProtocol // of each name one, in the member's order of preference
	assignment      []byte

	isNew    bool // its first JoinGroup has not been answered
	unsynced bool // it has not sent its SyncGroup
	missed   bool // it did not join the last generation, or, as it was loaded, may not have (claims.go)
	join     *parked
	sync     *parked
	session  timer

	before, after *classicMember // in the order of joining
}

// parked is a request that waits for its answer.
type parked struct {
	token   uint64
	version int16
}

func newClassicGroup(c *Coordinator, g *group) *classicGroup {
	cg := &classicGroup{since: c.now, static: map[string]*classicMember{}, support: map[string]int{}}
	cg.members.byID = map[string]*classicMember{}
	cg.pending.byID = map[string]*pendingMember{}
	cg.joinTimer.fire = func(c *Coordinator) { c.completeJoin(g) }
	cg.syncTimer.fire = func(c *Coordinator) { c.expireSync(g) }
	return cg
}

func (cg *classicGroup) become(c *Coordinator, s classicState) {
	cg.previous, cg.state, cg.since = cg.state, s, c.now
}

func (cg *classicGroup) canRebalance() bool { return cg.state != preparingRebalance }

func (cg *classicGroup) allJoined() bool {
	return cg.members.count() == cg.joining && len(cg.pending.byID) == 0
}

func (cg *classicGroup) isConsumer() bool { return cg.protocolType == consumerProtocolType }

// supports says whether a member with these protocols can be in the group: at
// least one must be known to everyone.
func (cg *classicGroup) supports(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if cg.state == classicEmpty {
		return protocolType != "" && len(protocols) > 0
	}
	return protocolType == cg.protocolType && slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		return cg.support[p.Name] == cg.members.count()
	})
}

func (cg *classicGroup) countProtocols(m *classicMember, by int) {
	for _, p := range m.protocols {
		if cg.support[p.Name] += by; cg.support[p.Name] == 0 {
			delete(cg.support, p.Name)
		}
	}
	bytes := int64(by) * protocolBytes(m.protocols)
	cg.bytes += bytes
	if cg.account != nil {
		cg.account.charge(bytes)
	}
}

// add takes a member in. The first one makes the group's protocol type its own.
func (cg *classicGroup) add(m *classicMember, protocolType string) {
	if cg.members.count() == 0 {
		cg.protocolType = protocolType
	}
	if m.instance != nil {
		cg.static[*m.instance] = m
	}
	if cg.leader == "" {
		cg.leader = m.id
	}
	cg.members.add(m)
	cg.countProtocols(m, 1)
	if m.join != nil {
		cg.joining++
	}
}

// remove takes a member out. If it led, the longest member leads.
func (c *Coordinator) removeClassicMember(cg *classicGroup, m *classicMember) {
	c.timers.stop(&m.session)
	cg.members.remove(m)
	cg.countProtocols(m, -1)
	if m.join != nil {
		cg.joining--
	}
	cg.synced(m)
	if m.instance != nil && cg.static[*m.instance] == m {
		delete(cg.static, *m.instance)
	}
	if cg.leader == m.id {
		cg.leader = ""
		if cg.members.first != nil {
			cg.leader = cg.members.first.id
		}
	}
}

func (cg *classicGroup) synced(m *classicMember) {
	if m.unsynced {
		m.unsynced = false
		cg.syncing--
	}
}

// rebalanceMillis is how long members have to join: as long as the slowest wants.
func (cg *classicGroup) rebalanceMillis() (longest int32) {
	for m := range cg.members.all() {
		longest = max(longest, m.rebalanceMillis)
	}
	return longest
}

// electLeader sees to it that a member that has joined leads. It is false if
// nobody has.
func (cg *classicGroup) electLeader() bool {
	if m := cg.members.byID[cg.leader]; m != nil && m.join != nil {
		return true
	}
	for m := range cg.members.all() {
		if m.join != nil {
			cg.leader = m.id
			return true
		}
	}
	return false
}

// choose is the protocol for the next generation: of those that every member
// knows, the one that most prefer. Among equals it is the first in the order of
// names, where Kafka's choice is its hash table's.
func (cg *classicGroup) choose() string {
	votes := make(map[string]int, len(cg.support))
	best := ""
	for m := range cg.members.all() {
		for _, p := range m.protocols {
			if cg.support[p.Name] == cg.members.count() {
				votes[p.Name]++
				break
			}
		}
	}
	for name, n := range votes {
		if best == "" || n > votes[best] || n == votes[best] && name < best {
			best = name
		}
	}
	return best
}

func (m *classicMember) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// sameProtocols says whether a JoinGroup brings nothing new.
func (m *classicMember) sameProtocols(protocols []ClassicProtocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b ClassicProtocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// alive says whether the end of its session does not count: it is waiting for us.
func (m *classicMember) alive() bool {
	return !m.isNew && (m.join != nil || m.sync != nil)
}

// classicMembers are a group's members, by id and in the order of joining.
type classicMembers struct {
	byID        map[string]*classicMember
	first, last *classicMember
}

func (l *classicMembers) count() int { return len(l.byID) }

func (l *classicMembers) all() iter.Seq[*classicMember] {
	return func(yield func(*classicMember) bool) {
		for m := l.first; m != nil; {
			next := m.after // m may be removed on the way
			if !yield(m) {
				return
			}
			m = next
		}
	}
}

func (l *classicMembers) add(m *classicMember) {
	l.byID[m.id] = m
	m.before, m.after = l.last, nil
	if l.last != nil {
		l.last.after = m
	} else {
		l.first = m
	}
	l.last = m
}

func (l *classicMembers) remove(m *classicMember) {
	delete(l.byID, m.id)
	if m.before != nil {
		m.before.after = m.after
	} else {
		l.first = m.after
	}
	if m.after != nil {
		m.after.before = m.before
	} else {
		l.last = m.before
	}
}

// pendingMember is someone who was given an id and has not joined with it.
type pendingMember struct {
	id            string
	session       timer
	before, after *pendingMember
}

// pendingMembers are kept in the order in which they were made: the oldest goes
// when there are too many.
type pendingMembers struct {
	byID        map[string]*pendingMember
	first, last *pendingMember
}

func (l *pendingMembers) add(p *pendingMember) {
	l.byID[p.id] = p
	p.before = l.last
	if l.last != nil {
		l.last.after = p
	} else {
		l.first = p
	}
	l.last = p
}

func (l *pendingMembers) remove(p *pendingMember) {
	delete(l.byID, p.id)
	if p.before != nil {
		p.before.after = p.after
	} else {
		l.first = p.after
	}
	if p.after != nil {
		p.after.before = p.before
	} else {
		l.last = p.before
	}
}

// protocolsOf copies a request's protocols; of a name that occurs twice the first
// counts.
func protocolsOf(asked []kmsg.JoinGroupRequestProtocol) []ClassicProtocol {
	out := make([]ClassicProtocol, 0, len(asked))
	for _, p := range asked {
		if !slices.ContainsFunc(out, func(have ClassicProtocol) bool { return have.Name == p.Name }) {
			out = append(out, ClassicProtocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)})
		}
	}
	return out
}
