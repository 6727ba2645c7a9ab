package group

import (
	"slices"
	"strings"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerHeartbeat serves ConsumerGroupHeartbeat (key 68) v0-1: the whole of
// KIP-848's protocol. A heartbeat takes a member in or changes what it reads,
// which raises the group's epoch; a higher epoch has a new target assignment
// computed; and the member is brought closer to its part of the target.
func (c *Coordinator) consumerHeartbeat(r *Request, req *kmsg.ConsumerGroupHeartbeatRequest) {
	if refused := c.checkHeartbeat(req); refused != nil {
		c.respond(nil, r, heartbeatError(req.Version, refused))
		return
	}
	if req.MemberEpoch < 0 {
		c.leaveConsumer(r, req)
		return
	}
	if refused := c.roomFor(req); refused != nil {
		c.respond(nil, r, heartbeatError(req.Version, refused))
		return
	}
	g, refused := c.consumerGroupFor(req.Group, req.MemberEpoch == 0)
	if refused != nil {
		c.respond(g, r, heartbeatError(req.Version, refused))
		return
	}
	id := req.MemberID
	if id == "" { // v0: the coordinator names the member
		id = c.random().String()
	}
	joined, refused := c.joining(g, r, req, id)
	if refused != nil {
		c.respond(g, r, heartbeatError(req.Version, refused))
		return
	}
	c.heartbeatMember(g, r, req, id, joined)
}

// checkHeartbeat refuses what no heartbeat may be.
func (c *Coordinator) checkHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	empty := func(s *string) bool { return s != nil && strings.TrimSpace(*s) == "" }
	invalid := func(text string) *refusal { return &refusal{protocol.INVALID_REQUEST, text} }
	switch {
	case (req.Version >= 1 || req.MemberEpoch > 0 || req.MemberEpoch == leftEpoch) && empty(&req.MemberID):
		return invalid("MemberId can't be empty.")
	case empty(&req.Group):
		return invalid("GroupId can't be empty.")
	case empty(req.InstanceID):
		return invalid("InstanceId can't be empty.")
	case empty(req.RackID):
		return invalid("RackId can't be empty.")
	case req.MemberEpoch == 0 && req.RebalanceTimeoutMillis == -1:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case req.MemberEpoch == 0 && (req.Topics == nil || len(req.Topics) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case req.MemberEpoch == 0 && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case req.MemberEpoch == leftForNowEpoch && req.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case req.MemberEpoch < leftForNowEpoch:
		return invalid("MemberEpoch is invalid.")
	case req.ServerAssignor != nil && !slices.Contains(c.settings.ConsumerAssignors, *req.ServerAssignor):
		return refusef(protocol.UNSUPPORTED_ASSIGNOR, "ServerAssignor %s is not supported. Supported assignors: %s.",
			*req.ServerAssignor, strings.Join(c.settings.ConsumerAssignors, ", "))
	}
	return nil
}

func heartbeatError(version int16, r *refusal) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version, resp.ErrorCode, resp.ErrorMessage = version, int16(r.code), r.text()
	return resp
}

// consumerGroupFor finds the group of a heartbeat. Who joins makes it: where there
// is none or a classic one that is empty a new one, and of a classic one with
// members, if the policy lets it, a consumer group with the same members.
func (c *Coordinator) consumerGroupFor(id string, make bool) (*group, *refusal) {
	g := c.find(id)
	switch {
	case g == nil && !make:
		return nil, refusef(protocol.GROUP_ID_NOT_FOUND, "Consumer group %s not found.", id)
	case g == nil:
		return c.place(id), nil
	case g.consumer != nil:
		return g, nil
	case !make:
		return g, refusef(protocol.GROUP_ID_NOT_FOUND, "Group %s is not a consumer group.", id)
	case g.classic.state == classicEmpty:
		if g.classic.recorded && !c.append(g, Record{Key: Key{Type: TypeGroupMetadata, Group: id}}) {
			return g, &refusal{code: protocol.UNKNOWN_SERVER_ERROR}
		}
		c.dropClassic(g)
		return g, nil
	}
	return g, c.upgrade(g)
}

// joining finds what is known so far of the member that a heartbeat is of; nil
// pointer in the answer: nothing, it is new. A static member that takes another's
// place finds what was known of that.
func (c *Coordinator) joining(g *group, r *Request, req *kmsg.ConsumerGroupHeartbeatRequest, id string) (*memberFacts, *refusal) {
	cg := g.consumer
	if cg == nil { // it is only now being made
		g.consumer = newConsumerGroup(g)
		return nil, nil
	}
	m := cg.members[id]
	if len(cg.members) >= int(c.settings.ConsumerMaxSize) && m == nil {
		return nil, refusef(protocol.GROUP_MAX_SIZE_REACHED, "The consumer group has reached its maximum capacity of %d members.", c.settings.ConsumerMaxSize)
	}
	own := ownedOf(req.Topics)
	if req.InstanceID != nil {
		return c.joiningStatic(g, req.InstanceID, id, req.MemberEpoch, own)
	}
	switch {
	case m == nil && req.MemberEpoch > 0:
		return nil, refusef(protocol.UNKNOWN_MEMBER_ID, "Member %s is not a member of group %s.", id, g.id)
	case m == nil:
		return nil, nil
	}
	return &m.memberFacts, m.checkEpoch(req.MemberEpoch, own)
}

func (c *Coordinator) joiningStatic(g *group, instance *string, id string, epoch int32, own owned) (*memberFacts, *refusal) {
	m := g.consumer.staticMember(instance)
	switch {
	case m == nil && epoch == 0:
		if there := g.consumer.members[id]; there != nil {
			return &there.memberFacts, nil
		}
		return nil, nil
	case m == nil:
		return nil, refusef(protocol.UNKNOWN_MEMBER_ID, "Instance id %s is unknown.", *instance)
	case epoch > 0 && m.id != id:
		return nil, refusef(protocol.FENCED_INSTANCE_ID, "Static member %s with instance id %s was fenced by member %s.", id, *instance, m.id)
	case epoch > 0:
		return &m.memberFacts, m.checkEpoch(epoch, own)
	case m.classic == nil && m.epoch != leftForNowEpoch:
		return nil, refusef(protocol.UNRELEASED_INSTANCE_ID,
			"Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.", id, *instance, m.id)
	}
	return c.takePlace(g, m, id)
}

// takePlace gives a static member's place, with all that it has, to a new id.
func (c *Coordinator) takePlace(g *group, old *consumerMember, id string) (*memberFacts, *refusal) {
	next := old.memberFacts
	next.epoch, next.previous = 0, 0
	target := g.consumer.target[old.id]
	records := append(memberTombstones(g, old.id), memberRecord(g, id, &next), targetRecord(g, id, target), assignmentRecord(g, id, &next))
	if !c.write(g, records...) {
		return nil, &refusal{code: protocol.UNKNOWN_SERVER_ERROR}
	}
	c.restartJob(g) // it knows the old id
	return &g.consumer.members[id].memberFacts, nil
}

// checkEpoch fences a member that is not where we know it to be. One step behind
// is fine if it has nothing that it should not have: the answer that told it of
// the new epoch may have been lost.
func (m *consumerMember) checkEpoch(epoch int32, own owned) *refusal {
	switch {
	case epoch == 0, epoch == m.epoch:
		return nil
	case epoch > m.epoch:
		return refusef(protocol.FENCED_MEMBER_EPOCH, "The consumer group member has a greater member epoch (%d) than the one known by the group coordinator (%d)."+
			" The member must abandon all its partitions and rejoin.", epoch, m.epoch)
	case epoch == m.previous && own.within(m.assigned):
		return nil
	}
	return refusef(protocol.FENCED_MEMBER_EPOCH, "The consumer group member has a smaller member epoch (%d) than the one known by the group coordinator (%d)."+
		" The member must abandon all its partitions and rejoin.", epoch, m.epoch)
}

// heartbeatMember takes over what a heartbeat says and goes on to the assignment.
func (c *Coordinator) heartbeatMember(g *group, r *Request, req *kmsg.ConsumerGroupHeartbeatRequest, id string, known *memberFacts) {
	var old *memberFacts
	next := memberFacts{rebalance: -1}
	if known != nil {
		copied := *known
		old, next = &copied, copied
	}
	next.update(r, req)
	subscribed, refused := c.updateMember(g, id, old, &next)
	if refused != nil {
		c.abandonNew(g)
		c.respond(g, r, heartbeatError(req.Version, refused))
		return
	}
	beat := &beat{
		token: r.Token, version: req.Version, id: id, own: ownedOf(req.Topics), subscribed: subscribed, was: next.assigned,
		full: req.MemberEpoch == 0 ||
			req.RebalanceTimeoutMillis != -1 && (req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil) && req.Topics != nil,
	}
	c.withTarget(g, beat)
}

// update takes over what a heartbeat says; what it leaves out stays.
func (m *memberFacts) update(r *Request, req *kmsg.ConsumerGroupHeartbeatRequest) {
	if req.InstanceID != nil {
		m.instance = req.InstanceID
	}
	if req.RackID != nil {
		m.rack = req.RackID
	}
	if req.RebalanceTimeoutMillis != -1 {
		m.rebalance = req.RebalanceTimeoutMillis
	}
	if req.ServerAssignor != nil {
		m.assignor = req.ServerAssignor
	}
	if req.SubscribedTopicNames != nil {
		m.setTopics(req.SubscribedTopicNames)
	}
	if req.SubscribedTopicRegex != nil {
		m.regex = *req.SubscribedTopicRegex
	}
	m.clientID, m.clientHost, m.classic = r.ClientID, r.ClientHost, nil
}

func (m *memberFacts) setTopics(names []string) {
	m.topics = slices.Clone(names)
	slices.Sort(m.topics)
	m.topics = slices.Compact(m.topics)
}

// updateMember writes what is new of a member and raises the group's epoch if its
// assignment may have to change. It says whether what the member reads has changed.
func (c *Coordinator) updateMember(g *group, id string, old, next *memberFacts) (subscribed bool, _ *refusal) {
	cg := g.consumer
	var records []Record
	topics := old == nil && len(next.topics) > 0 || old != nil && !slices.Equal(old.topics, next.topics)
	if old == nil || !old.sameFacts(next) {
		records = append(records, memberRecord(g, id, next))
	}
	regex, more, refused := c.changeRegex(g, old, next)
	if refused != nil {
		return false, refused
	}
	records = append(records, more...)
	hash := c.hashAfter(cg, change{old, next})
	if topics || regex.status == regexKnown || hash != cg.recordedHash || cg.unsettled {
		records = append(records, epochRecord(g, cg.epoch+1, hash))
	}
	if cg.oldPartitions && len(records) > 0 {
		records = append(records, Record{Key: Key{Type: TypeConsumerPartitions, Group: g.id}})
	}
	if !c.write(g, records...) {
		return false, &refusal{code: protocol.UNKNOWN_SERVER_ERROR}
	}
	cg.unsettled = false
	c.keepSession(g, cg.members[id])
	if regex.status == regexNew {
		r := cg.regex(next.regex)
		r.compiled, r.cost = regex.compiled, regex.cost
	}
	c.resolveRegexes(g, regex.status == regexNew)
	return topics || regex.status != regexSame, nil
}

// abandonNew takes back a group that was being made for someone who was refused.
func (c *Coordinator) abandonNew(g *group) {
	if cg := g.consumer; cg != nil && cg.epoch == 1 && len(cg.members) == 0 {
		g.consumer = nil
	}
	c.sweep(g)
}

// beat is a heartbeat on its way to its answer.
type beat struct {
	token      uint64
	version    int16
	id         string
	own        owned
	subscribed bool // what the member reads has changed
	full       bool // it is to be told all that it has
	was        assignment
	join       *classicJoin // it is a JoinGroup
}

// finish brings the member closer to its target and answers.
func (c *Coordinator) finish(g *group, b *beat) {
	if b.join != nil {
		c.finishJoin(g, b.join)
		return
	}
	if g.consumer == nil || g.consumer.members[b.id] == nil {
		c.respondTo(g, b.token, heartbeatError(b.version, refusef(protocol.UNKNOWN_MEMBER_ID, "Member %s is not a member of group %s.", b.id, g.id)))
		return
	}
	m := g.consumer.members[b.id]
	if refused := c.reconcile(g, m, b.subscribed, b.own); refused != nil {
		c.respondTo(g, b.token, heartbeatError(b.version, refused))
		return
	}
	c.keepSession(g, m)
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version, resp.MemberEpoch, resp.HeartbeatIntervalMillis = b.version, m.epoch, c.consumerHeartbeatMillis(g.id)
	id := m.id // the answer is encoded on another core
	resp.MemberID = &id
	if b.full || !b.was.samePartitions(m.assigned) {
		resp.Assignment = kmsgAssignment(m.assigned)
	}
	c.respondTo(g, b.token, resp)
}

func kmsgAssignment(a assignment) *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	out := &kmsg.ConsumerGroupHeartbeatResponseAssignment{Topics: make([]kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic, len(a))}
	for i, t := range a {
		out.Topics[i].TopicID, out.Topics[i].Partitions = t.topic, t.partitions
	}
	return out
}

// leaveConsumer serves the heartbeat of a member that leaves: for good, or (-2) a
// static one that keeps its place until its session ends.
func (c *Coordinator) leaveConsumer(r *Request, req *kmsg.ConsumerGroupHeartbeatRequest) {
	g := c.find(req.Group)
	m, refused := leaving(g, req)
	if refused != nil {
		c.respond(g, r, heartbeatError(req.Version, refused))
		return
	}
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version, resp.MemberID, resp.MemberEpoch = req.Version, &req.MemberID, req.MemberEpoch
	if req.MemberEpoch == leftForNowEpoch && req.InstanceID != nil {
		next := m.memberFacts
		next.epoch, next.revoking = leftForNowEpoch, nil
		if !c.write(g, assignmentRecord(g, m.id, &next)) {
			resp = heartbeatError(req.Version, &refusal{code: protocol.UNKNOWN_SERVER_ERROR})
		}
	} else if !c.fenceAll(g, []*consumerMember{m}) {
		resp = heartbeatError(req.Version, &refusal{code: protocol.UNKNOWN_SERVER_ERROR})
	}
	c.respond(g, r, resp)
}

func leaving(g *group, req *kmsg.ConsumerGroupHeartbeatRequest) (*consumerMember, *refusal) {
	switch {
	case g == nil:
		return nil, refusef(protocol.GROUP_ID_NOT_FOUND, "Group %s not found.", req.Group)
	case g.consumer == nil:
		return nil, refusef(protocol.GROUP_ID_NOT_FOUND, "Group %s is not a consumer group.", req.Group)
	case req.InstanceID == nil:
		if m := g.consumer.members[req.MemberID]; m != nil {
			return m, nil
		}
		return nil, refusef(protocol.UNKNOWN_MEMBER_ID, "Member %s is not a member of group %s.", req.MemberID, g.id)
	}
	m := g.consumer.staticMember(req.InstanceID)
	switch {
	case m == nil:
		return nil, refusef(protocol.UNKNOWN_MEMBER_ID, "Instance id %s is unknown.", *req.InstanceID)
	case m.id != req.MemberID:
		return nil, refusef(protocol.FENCED_INSTANCE_ID, "Static member %s with instance id %s was fenced by member %s.", req.MemberID, *req.InstanceID, m.id)
	}
	return m, nil
}

// fence removes a member that has not been heard of, or has not done what it must.
func (c *Coordinator) fence(g *group, m *consumerMember) {
	if g.consumer != nil && g.consumer.members[m.id] == m {
		c.fenceAll(g, []*consumerMember{m})
	}
}

// fenceAll removes members. If all that are left speak the classic protocol, the
// group becomes a classic one. It is false, and nothing has happened, if that
// could not be written.
func (c *Coordinator) fenceAll(g *group, members []*consumerMember) bool {
	if len(members) == 0 {
		return true
	}
	if c.downgradesWithout(g.consumer, members) {
		return c.downgrade(g, members, true) == nil
	}
	cg := g.consumer
	var records []Record
	var changes []change
	left := map[string]int{}
	for _, m := range members {
		records = append(records, memberTombstones(g, m.id)...)
		changes = append(changes, change{old: &m.memberFacts})
		left[m.regex]++
	}
	for _, regex := range cg.regexNames() {
		if left[regex] > 0 && left[regex] >= cg.regexes[regex].members {
			records = append(records, Record{Key: Key{Type: TypeConsumerRegex, Group: g.id, Name: regex}})
		}
	}
	records = append(records, epochRecord(g, cg.epoch+1, c.hashAfter(cg, changes...)))
	return c.write(g, records...)
}
