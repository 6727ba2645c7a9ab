package group

import (
	"slices"
	"strings"

	"slipstream/protocol"
)

// A share group (KIP-932): members that read the same partitions together, each record
// going to one of them. The coordinator says who reads what; who has which record is
// not its concern (internal/share). But a partition is only assigned once it has a
// state that says where the group is in it, and making those, setting them and deleting
// them is the coordinator's: it sends the driver on errands to whoever keeps them.
//
//	heartbeat -> member, epoch -> states made (errand) -> target -> answer

// shareMemberFacts is what the log says of a member of a share group.
type shareMemberFacts struct {
	rack            *string
	clientID        string
	clientHost      string
	topics          []string // sorted, each once
	epoch, previous int32
	assigned        assignment
}

type shareMember struct {
	id string
	shareMemberFacts
	session timer
}

// shareGroup is a share group. As a group it has nothing but its id and its newest batch.
type shareGroup struct {
	group
	epoch           int32
	assignmentEpoch int32
	assignedAt      int64 // milliseconds; 0: never
	recordedHash    int64 // of the topics at epoch

	members map[string]*shareMember
	sorted  []*shareMember // by id
	target  map[string]assignment
	states  *ShareGroupStatePartitionMetadataValue // replaced whole, never changed

	subscribed map[string]int // how many members want a topic
	hash       int64          // of those topics that there are
	version    int64          // of the image that hash was worked out from

	assign  timer
	delayed []*shareBeat // who joins waits for a target
	making  bool         // an errand makes states
	retryAt int64        // when to try again to make states
}

// shareGroups are a coordinator's.
type shareGroups struct {
	byID   map[string]*shareGroup
	sorted []*shareGroup // by id

	errands, errandsOut []ShareErrand
	inHand              map[uint64]func(c *Coordinator, codes []protocol.ErrorCode)
	errand              uint64
	left, leftOut       []ShareMember
}

// ShareMember is a member that has left a share group: what it has acquired is free.
type ShareMember struct {
	Group, Member string
	Last          bool // nobody is left
}

func (s *shareGroups) search(id string) (int, bool) {
	return slices.BinarySearchFunc(s.sorted, id, func(g *shareGroup, id string) int { return strings.Compare(g.id, id) })
}

// placeShare gives the share group of an id, made if need be.
func (c *Coordinator) placeShare(id string) *shareGroup {
	if sg := c.shares.byID[id]; sg != nil {
		return sg
	}
	sg := &shareGroup{
		members: map[string]*shareMember{}, target: map[string]assignment{}, subscribed: map[string]int{},
		states: &ShareGroupStatePartitionMetadataValue{}, version: -1,
	}
	sg.id = id
	sg.assign.fire = func(c *Coordinator) { c.progressShare(sg) }
	c.shares.byID[id] = sg
	at, _ := c.shares.search(id)
	c.shares.sorted = slices.Insert(c.shares.sorted, at, sg)
	return sg
}

// dropShare forgets a share group.
func (c *Coordinator) dropShare(sg *shareGroup) {
	c.timers.stop(&sg.assign)
	for _, m := range sg.sorted {
		c.timers.stop(&m.session)
	}
	if c.shares.byID[sg.id] == sg {
		delete(c.shares.byID, sg.id)
		if at, ok := c.shares.search(sg.id); ok {
			c.shares.sorted = slices.Delete(c.shares.sorted, at, at+1)
		}
	}
}

// state is Kafka's name for how far the group is.
func (sg *shareGroup) state() string {
	if len(sg.members) == 0 {
		return "Empty"
	}
	return "Stable"
}

func (sg *shareGroup) search(id string) (int, bool) {
	return slices.BinarySearchFunc(sg.sorted, id, func(m *shareMember, id string) int { return strings.Compare(m.id, id) })
}

// setShareMember makes a member what next says; it is taken in if it is new.
func (c *Coordinator) setShareMember(sg *shareGroup, id string, next shareMemberFacts) {
	m := sg.members[id]
	if m == nil {
		m = &shareMember{id: id}
		m.session.fire = func(c *Coordinator) { c.removeShareMember(sg, m) }
		sg.members[id] = m
		at, _ := sg.search(id)
		sg.sorted = slices.Insert(sg.sorted, at, m)
	}
	if !slices.Equal(m.topics, next.topics) {
		sg.count(m.topics, -1)
		sg.count(next.topics, 1)
	}
	m.shareMemberFacts = next
}

// count counts who wants which topic.
func (sg *shareGroup) count(topics []string, by int) {
	for _, t := range topics {
		if sg.subscribed[t] += by; sg.subscribed[t] <= 0 {
			delete(sg.subscribed, t)
		}
	}
	sg.version = -1
}

func (c *Coordinator) dropShareMember(sg *shareGroup, m *shareMember) {
	c.timers.stop(&m.session)
	sg.count(m.topics, -1)
	delete(sg.members, m.id)
	if at, ok := sg.search(m.id); ok {
		sg.sorted = slices.Delete(sg.sorted, at, at+1)
	}
	c.shares.left = append(c.shares.left, ShareMember{Group: sg.id, Member: m.id, Last: len(sg.members) == 0})
}

// topicsHash is that of the group's topics, as they are now.
func (c *Coordinator) topicsHash(sg *shareGroup) int64 {
	if v := c.topics.Version(); sg.version != v {
		sg.version, sg.hash = v, 0
		for name := range sg.subscribed { // a sum: the order does not matter
			if h, ok := topicHash(c.topics, name); ok {
				sg.hash += int64(h)
			}
		}
	}
	return sg.hash
}

// applyShare is a record of a share group, as it comes from the log: while it is
// loaded, and while it is served.
func (c *Coordinator) applyShare(k Key, v Value) {
	if v == nil {
		if sg := c.shares.byID[k.Group]; sg != nil {
			c.applyShareTombstone(sg, k)
		}
		return
	}
	sg := c.placeShare(k.Group)
	switch v := v.(type) {
	case *ShareGroupMetadataValue:
		sg.epoch, sg.recordedHash = v.Epoch, v.MetadataHash
	case *ShareGroupMemberMetadataValue:
		next := sg.factsOf(k.Name)
		next.rack, next.clientID, next.clientHost = v.RackID, v.ClientID, v.ClientHost
		next.topics = sortedNames(v.SubscribedTopicNames)
		c.setShareMember(sg, k.Name, next)
	case *ConsumerGroupTargetAssignmentMetadataValue:
		sg.assignmentEpoch, sg.assignedAt = v.AssignmentEpoch, v.AssignmentTimestamp
	case *ConsumerGroupTargetAssignmentMemberValue:
		sg.target[k.Name] = assignmentOf(v.TopicPartitions, 0, false)
	case *ShareGroupCurrentMemberAssignmentValue:
		next := sg.factsOf(k.Name)
		next.epoch, next.previous = v.MemberEpoch, v.PreviousMemberEpoch
		next.assigned = assignmentOf(v.AssignedPartitions, 0, false)
		c.setShareMember(sg, k.Name, next)
	case *ShareGroupStatePartitionMetadataValue:
		sg.states = v.inOrder()
	}
}

func (c *Coordinator) applyShareTombstone(sg *shareGroup, k Key) {
	m := sg.members[k.Name]
	switch k.Type {
	case TypeShareGroup:
		c.dropShare(sg)
	case TypeShareMember:
		if m != nil {
			c.dropShareMember(sg, m)
		}
	case TypeShareTarget:
		sg.assignmentEpoch, sg.assignedAt = -1, 0
	case TypeShareTargetMember:
		delete(sg.target, k.Name)
	case TypeShareMemberAssignment:
		if m != nil {
			m.epoch, m.previous, m.assigned = leftEpoch, leftEpoch, nil
		}
	case TypeShareStatePartitions:
		sg.states = &ShareGroupStatePartitionMetadataValue{}
	}
}

func (sg *shareGroup) factsOf(id string) shareMemberFacts {
	if m := sg.members[id]; m != nil {
		return m.shareMemberFacts
	}
	return shareMemberFacts{}
}

func sortedNames(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}

// writeShare appends records of a share group and takes them into the state. It is
// false, and nothing has happened, if they are too much for a batch.
func (c *Coordinator) writeShare(sg *shareGroup, records ...Record) bool {
	if !c.append(&sg.group, records...) {
		return false
	}
	for _, r := range records {
		c.applyShare(r.Key, r.Value)
	}
	return true
}

func shareMemberRecord(sg *shareGroup, id string, m *shareMemberFacts) Record {
	return Record{Key{Type: TypeShareMember, Group: sg.id, Name: id}, &ShareGroupMemberMetadataValue{
		RackID: m.rack, ClientID: m.clientID, ClientHost: m.clientHost, SubscribedTopicNames: m.topics,
	}}
}

func shareAssignmentRecord(sg *shareGroup, id string, m *shareMemberFacts) Record {
	return Record{Key{Type: TypeShareMemberAssignment, Group: sg.id, Name: id}, &ShareGroupCurrentMemberAssignmentValue{
		MemberEpoch: m.epoch, PreviousMemberEpoch: m.previous, AssignedPartitions: m.assigned.records(false),
	}}
}

func shareEpochRecord(sg *shareGroup, epoch int32, hash int64) Record {
	return Record{Key{Type: TypeShareGroup, Group: sg.id}, &ShareGroupMetadataValue{Epoch: epoch, MetadataHash: hash}}
}

func shareStatesRecord(sg *shareGroup, v *ShareGroupStatePartitionMetadataValue) Record {
	return Record{Key{Type: TypeShareStatePartitions, Group: sg.id}, v}
}

func shareMemberTombstones(sg *shareGroup, id string) []Record {
	return []Record{
		{Key: Key{Type: TypeShareMemberAssignment, Group: sg.id, Name: id}},
		{Key: Key{Type: TypeShareTargetMember, Group: sg.id, Name: id}},
		{Key: Key{Type: TypeShareMember, Group: sg.id, Name: id}},
	}
}

// shareTombstones say that a share group without members is gone.
func shareTombstones(sg *shareGroup) []Record {
	return []Record{
		{Key: Key{Type: TypeShareTarget, Group: sg.id}},
		{Key: Key{Type: TypeShareStatePartitions, Group: sg.id}},
		{Key: Key{Type: TypeShareGroup, Group: sg.id}},
	}
}

// wakeShares arms the timers of the share groups that a replay has brought back.
type wakeShares struct{ at int }

func (w *wakeShares) run(c *Coordinator, units int) (used int, done bool) {
	for ; used < units && w.at < len(c.shares.sorted); w.at++ {
		sg := c.shares.sorted[w.at]
		used += 5 + 5*len(sg.sorted)
		for _, m := range sg.sorted {
			if !m.session.armed() {
				c.keepShareSession(sg, m)
			}
		}
	}
	return used, w.at >= len(c.shares.sorted)
}
