package group

import (
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// While a group moves from one protocol to the other it has members of both. Those
// that speak the classic protocol are served by its requests: a JoinGroup is a
// heartbeat that joins, its generation the member's epoch; SyncGroup tells what
// the member has; and REBALANCE_IN_PROGRESS tells it to join again when there is
// something to give up or to get.

// joinConsumerGroup serves a JoinGroup to a consumer group that has members.
func (c *Coordinator) joinConsumerGroup(r *Request, g *group, req *kmsg.JoinGroupRequest) {
	cg := g.consumer
	id, known := req.MemberID, req.MemberID != ""
	if !known {
		id = c.random().String()
	}
	switch {
	case c.settings.ConsumerMigrationPolicy == MigrationDisabled:
		c.respond(g, r, joinError(req, req.MemberID, protocol.INCONSISTENT_GROUP_PROTOCOL))
		return
	case len(cg.members) >= int(c.settings.ConsumerMaxSize) && cg.members[id] == nil:
		c.respond(g, r, joinError(req, req.MemberID, protocol.GROUP_MAX_SIZE_REACHED))
		return
	case !cg.supportsClassic(req.ProtocolType, req.Protocols):
		c.respond(g, r, joinError(req, req.MemberID, protocol.INCONSISTENT_GROUP_PROTOCOL))
		return
	case !known && req.InstanceID == nil && req.Version >= 4:
		c.respond(g, r, joinError(req, id, protocol.MEMBER_ID_REQUIRED))
		return
	}
	subscription, err := parseSubscription(req.Protocols[0].Metadata)
	if err != nil {
		c.respond(g, r, joinError(req, req.MemberID, protocol.INCONSISTENT_GROUP_PROTOCOL))
		return
	}
	j := &classicJoin{token: r.Token, version: req.Version, id: id, session: req.SessionTimeoutMillis, rebalance: rebalanceTimeout(req),
		own: owned{true, topicIDs(c.topics, subscription.owned)}}
	old, downgrades, code := c.classicJoining(g, req.InstanceID, id, known)
	if code != protocol.NONE {
		c.respond(g, r, joinError(req, req.MemberID, code))
		return
	}
	if m := cg.members[id]; known && m != nil && m.classic != nil && cg.claimsOthers(m, j.own.topics) {
		c.respond(g, r, notKnown(req))
		return
	}
	next := memberFacts{rebalance: -1}
	if old != nil {
		copied := *old
		old, next = &copied, copied
	}
	next.updateClassic(r, req, &subscription)
	subscribed, refused := c.updateMember(g, id, old, &next)
	if refused != nil {
		c.respond(g, r, joinError(req, req.MemberID, refused.code))
		return
	}
	j.subscribed = subscribed
	if downgrades {
		c.downgradeFor(g, j)
		return
	}
	c.withTarget(g, &beat{join: j, token: r.Token, id: id})
}

// supportsClassic: at least one protocol must be known to every member that
// speaks the classic protocol.
func (cg *consumerGroup) supportsClassic(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	return protocolType == consumerProtocolType && slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		return cg.protocols[p.Name] == cg.classics
	})
}

// classicJoin is a JoinGroup on its way to its answer.
type classicJoin struct {
	token      uint64
	version    int16
	id         string
	session    int32 // milliseconds
	rebalance  int32 // milliseconds
	own        owned
	subscribed bool
}

// classicJoining is joining for a JoinGroup. downgrades says that with this member
// nobody is left who speaks the consumer protocol.
func (c *Coordinator) classicJoining(g *group, instance *string, id string, known bool) (old *memberFacts, downgrades bool, code protocol.ErrorCode) {
	cg := g.consumer
	if instance == nil {
		if m := cg.members[id]; m != nil {
			return &m.memberFacts, false, protocol.NONE
		}
		return nil, false, protocol.NONE
	}
	m := cg.staticMember(instance)
	switch {
	case m == nil && known:
		return nil, false, protocol.UNKNOWN_MEMBER_ID
	case m == nil:
		return nil, false, protocol.NONE
	case known && m.id != id:
		return nil, false, protocol.FENCED_INSTANCE_ID
	}
	downgrades = c.downgradesWith(cg, m)
	if known {
		return &m.memberFacts, downgrades, protocol.NONE
	}
	facts, refused := c.takePlace(g, m, id)
	if refused != nil {
		return nil, false, refused.code
	}
	return facts, downgrades, protocol.NONE
}

// updateClassic takes over what a JoinGroup says.
func (m *memberFacts) updateClassic(r *Request, req *kmsg.JoinGroupRequest, s *consumerSubscription) {
	if req.InstanceID != nil {
		m.instance = req.InstanceID
	}
	if s.rack != nil && *s.rack != "" {
		m.rack = s.rack
	}
	if t := rebalanceTimeout(req); t != -1 {
		m.rebalance = t
	}
	m.setTopics(s.topics)
	m.regex = "" // a classic member has none
	m.clientID, m.clientHost = r.ClientID, r.ClientHost
	m.classic = &ClassicMemberMetadata{SessionTimeoutMillis: req.SessionTimeoutMillis, SupportedProtocols: protocolsOf(req.Protocols)}
}

// finishJoin brings a classic member closer to its target and answers its
// JoinGroup. Nobody leads in such a group: everyone gets its own assignment.
func (c *Coordinator) finishJoin(g *group, j *classicJoin) {
	req := kmsg.JoinGroupRequest{Version: j.version}
	if g.consumer == nil || g.consumer.members[j.id] == nil {
		c.respondTo(g, j.token, joinError(&req, j.id, protocol.UNKNOWN_MEMBER_ID))
		return
	}
	m := g.consumer.members[j.id]
	if refused := c.reconcile(g, m, j.subscribed, j.own); refused != nil {
		c.respondTo(g, j.token, joinError(&req, j.id, refused.code))
		return
	}
	c.timers.stop(&m.join)
	c.timers.arm(&m.session, c.now+int64(j.session))
	c.timers.arm(&m.sync, c.now+int64(j.rebalance))
	c.respondTo(g, j.token, joinedConsumer(m, j.version))
}

func joinedConsumer(m *consumerMember, version int16) *kmsg.JoinGroupResponse {
	kind := consumerProtocolType
	round := joinRound{generation: m.epoch, protocolType: &kind, protocol: &m.classic.SupportedProtocols[0].Name, members: []kmsg.JoinGroupResponseMember{}}
	return round.answerTo(m.id, version)
}

// memberOf finds the member of a classic request.
func (cg *consumerGroup) memberOf(id string, instance *string) (*consumerMember, protocol.ErrorCode) {
	if instance != nil {
		switch m := cg.staticMember(instance); {
		case m == nil:
			return nil, protocol.UNKNOWN_MEMBER_ID
		case m.id != id:
			return nil, protocol.FENCED_INSTANCE_ID
		}
	}
	m := cg.members[id]
	if m == nil || m.classic == nil {
		return nil, protocol.UNKNOWN_MEMBER_ID
	}
	return m, protocol.NONE
}

// syncConsumerGroup serves a SyncGroup: the member is told what it has.
func (c *Coordinator) syncConsumerGroup(r *Request, g *group, req *kmsg.SyncGroupRequest) {
	cg := g.consumer
	m, code := cg.memberOf(req.MemberID, req.InstanceID)
	switch {
	case code != protocol.NONE:
	case req.Generation != m.epoch:
		code = protocol.ILLEGAL_GENERATION
	case req.ProtocolType != nil && *req.ProtocolType != consumerProtocolType,
		req.Protocol != nil && *req.Protocol != m.classic.SupportedProtocols[0].Name:
		code = protocol.INCONSISTENT_GROUP_PROTOCOL
	case cg.epoch > m.epoch && m.state != unrevokedPartitions:
		// Who has something to give up gives it up first; then it is told to join.
		c.awaitJoin(m)
		code = protocol.REBALANCE_IN_PROGRESS
	}
	if code != protocol.NONE {
		c.respond(g, r, syncError(req.Version, code))
		return
	}
	c.timers.stop(&m.sync)
	c.keepSession(g, m)
	version, _ := protocolVersion(m.classic.SupportedProtocols[0].Metadata)
	resp := syncError(req.Version, protocol.NONE)
	resp.ProtocolType, resp.Protocol = req.ProtocolType, req.Protocol
	resp.MemberAssignment = assignmentBytes(c.topics, m.assigned, version)
	c.respond(g, r, resp)
}

func (c *Coordinator) awaitJoin(m *consumerMember) {
	if !m.join.armed() {
		c.timers.arm(&m.join, c.now+int64(m.memberFacts.rebalance))
	}
}

// heartbeatConsumerGroup serves a Heartbeat: the member is told to join again when
// there is a new epoch, something to give up, or what it waits for is free.
func (c *Coordinator) heartbeatConsumerGroup(g *group, req *kmsg.HeartbeatRequest) protocol.ErrorCode {
	cg := g.consumer
	m, code := cg.memberOf(req.MemberID, req.InstanceID)
	switch {
	case code != protocol.NONE:
		return code
	case req.Generation != m.epoch:
		return protocol.ILLEGAL_GENERATION
	}
	c.keepSession(g, m)
	if m.epoch < cg.epoch || m.state == unrevokedPartitions || m.state == unreleasedPartitions && !cg.waits(m) {
		c.awaitJoin(m)
		return protocol.REBALANCE_IN_PROGRESS
	}
	return protocol.NONE
}

// waits says whether something that a member is to have is still someone else's.
func (cg *consumerGroup) waits(m *consumerMember) bool {
	for _, t := range cg.target[m.id] {
		has := m.assigned.of(t.topic)
		for _, p := range t.partitions {
			if cg.owners.of(t.topic, p) != nil && !has.has(p) {
				return true
			}
		}
	}
	return false
}

// leaveConsumerGroup serves a LeaveGroup.
func (c *Coordinator) leaveConsumerGroup(g *group, asked []kmsg.LeaveGroupRequestMember, answers []kmsg.LeaveGroupResponseMember) {
	cg := g.consumer
	var members []*consumerMember
	for i, a := range asked {
		m := cg.members[a.MemberID]
		code := protocol.UNKNOWN_MEMBER_ID
		if a.InstanceID != nil {
			if m = cg.staticMember(a.InstanceID); m != nil && a.MemberID != "" && m.id != a.MemberID {
				m, code = nil, protocol.FENCED_INSTANCE_ID
			}
		}
		if m == nil {
			answers[i].ErrorCode = int16(code)
			continue
		}
		if !slices.Contains(members, m) {
			members = append(members, m)
		}
	}
	if !c.fenceAll(g, members) {
		for i := range answers {
			answers[i].ErrorCode = int16(protocol.UNKNOWN_SERVER_ERROR)
		}
	}
}

// consumerDescribe serves ConsumerGroupDescribe (key 69) v0-1.
func (c *Coordinator) consumerDescribe(r *Request, req *kmsg.ConsumerGroupDescribeRequest) {
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	resp.Version = req.Version
	var newest *group
	for _, id := range req.Groups {
		d := kmsg.NewConsumerGroupDescribeResponseGroup()
		d.Group, d.Members = id, []kmsg.ConsumerGroupDescribeResponseGroupMember{}
		g := c.find(id)
		if g != nil && (newest == nil || g.batch > newest.batch) {
			newest = g
		}
		switch {
		case id == "":
			d.ErrorCode = int16(protocol.INVALID_GROUP_ID)
		case g == nil && c.shares.byID[id] == nil:
			refused := refusef(protocol.GROUP_ID_NOT_FOUND, "Group %s not found.", id)
			d.ErrorCode, d.ErrorMessage = int16(refused.code), refused.text()
		case g == nil || g.consumer == nil:
			refused := refusef(protocol.GROUP_ID_NOT_FOUND, "Group %s is not a consumer group.", id)
			d.ErrorCode, d.ErrorMessage = int16(refused.code), refused.text()
		default:
			c.describeConsumer(g.consumer, &d)
		}
		resp.Groups = append(resp.Groups, d)
	}
	c.respond(newest, r, resp)
}

func (c *Coordinator) describeConsumer(cg *consumerGroup, d *kmsg.ConsumerGroupDescribeResponseGroup) {
	d.State, d.Epoch, d.AssignmentEpoch, d.AssignorName = cg.state().String(), cg.epoch, cg.assignmentEpoch, c.assignor(cg)
	for _, m := range cg.sorted {
		member := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		member.MemberID, member.InstanceID, member.RackID, member.MemberEpoch = m.id, m.instance, m.rack, m.epoch
		member.ClientID, member.ClientHost = m.clientID, m.clientHost
		member.SubscribedTopics = m.topics
		regex := m.regex // the answer is encoded on another core
		member.SubscribedTopicRegex = &regex
		// What it still has to give up, it has.
		member.Assignment, member.TargetAssignment = c.described(merged(m.assigned, m.revoking)), c.described(cg.target[m.id])
		member.MemberType = 1
		if m.classic != nil {
			member.MemberType = 0
		}
		d.Members = append(d.Members, member)
	}
}

func (c *Coordinator) described(a assignment) kmsg.Assignment {
	out := kmsg.NewAssignment()
	out.TopicPartitions = []kmsg.AssignmentTopicPartition{}
	for _, t := range a {
		if topic, ok := c.topics.TopicByID(t.topic); ok {
			out.TopicPartitions = append(out.TopicPartitions, kmsg.AssignmentTopicPartition{TopicID: t.topic, Topic: topic.Name, Partitions: t.partitions})
		}
	}
	return out
}
