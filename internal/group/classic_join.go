package group

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// newMemberJoinMillis is how long a new member's JoinGroup may wait before it is
// taken for gone: nothing else tells, because it cannot send heartbeats yet.
const newMemberJoinMillis = 300_000

// joinGroup serves JoinGroup (key 11) v0-9.
func (c *Coordinator) joinGroup(r *Request, req *kmsg.JoinGroupRequest) {
	switch {
	case req.Group == "":
		c.respond(nil, r, joinError(req, req.MemberID, protocol.INVALID_GROUP_ID))
		return
	case req.SessionTimeoutMillis < c.settings.MinSessionTimeoutMillis, req.SessionTimeoutMillis > c.settings.MaxSessionTimeoutMillis:
		c.respond(nil, r, joinError(req, req.MemberID, protocol.INVALID_SESSION_TIMEOUT))
		return
	}
	g := c.find(req.Group)
	if !c.hasRoom(g.keeps(req.MemberID), askedBytes(req.Protocols)) {
		c.respond(g, r, joinError(req, req.MemberID, protocol.GROUP_MAX_SIZE_REACHED))
		return
	}
	if g != nil && g.consumer != nil && !g.empty() {
		c.joinConsumerGroup(r, g, req)
		return
	}
	if req.MemberID == "" {
		c.joinNew(r, g, req)
	} else {
		c.joinAgain(r, g, req)
	}
}

func joinError(req *kmsg.JoinGroupRequest, memberID string, code protocol.ErrorCode) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version, resp.MemberID, resp.ErrorCode = req.Version, memberID, int16(code)
	resp.Members = []kmsg.JoinGroupResponseMember{}
	return resp
}

// joinNew takes in who has no member id. The group is made if it is not there; it
// is then written to the log, empty, so that the next coordinator knows of it too.
func (c *Coordinator) joinNew(r *Request, g *group, req *kmsg.JoinGroupRequest) {
	known := g != nil && g.classic != nil
	switch {
	case known && !g.classic.supports(req.ProtocolType, req.Protocols),
		!known && (req.ProtocolType == "" || len(req.Protocols) == 0):
		c.respond(nil, r, joinError(req, "", protocol.INCONSISTENT_GROUP_PROTOCOL))
		return
	case known && !c.accepts(g.classic, nil):
		c.respond(nil, r, joinError(req, "", protocol.GROUP_MAX_SIZE_REACHED))
		return
	case !known:
		if g = c.makeClassic(req.Group); g == nil {
			c.respond(nil, r, joinError(req, "", protocol.UNKNOWN_SERVER_ERROR))
			return
		}
	}
	if req.InstanceID != nil {
		id := c.newMemberID(*req.InstanceID)
		if m := g.classic.static[*req.InstanceID]; m != nil {
			c.replaceStatic(r, g, m, id, req)
		} else {
			c.addClassicMember(r, g, id, req)
		}
		return
	}
	id := c.newMemberID(r.ClientID)
	if req.Version < 4 {
		c.addClassicMember(r, g, id, req)
		return
	}
	c.addPending(g, id, req.SessionTimeoutMillis)
	c.respond(g, r, joinError(req, id, protocol.MEMBER_ID_REQUIRED))
}

// makeClassic makes an empty classic group, in the place of an empty consumer
// group if there is one. It is nil if that could not be written.
func (c *Coordinator) makeClassic(id string) *group {
	g := c.place(id)
	records := c.consumerTombstones(g)
	cg := newClassicGroup(c, g)
	records = append(records, Record{Key{Type: TypeGroupMetadata, Group: id}, cg.record()})
	if !c.append(g, records...) {
		c.sweep(g)
		return nil
	}
	if g.consumer != nil {
		c.dropConsumer(g)
	}
	cg.recorded = true
	c.adopt(g, cg)
	return g
}

// accepts says whether group.max.size leaves room for m; nil: someone new.
func (c *Coordinator) accepts(cg *classicGroup, m *classicMember) bool {
	limit := int(c.settings.MaxSize)
	switch cg.state {
	case classicEmpty:
		return true
	case preparingRebalance:
		// Who waits counts, not who is a member: should the limit have been lowered,
		// the last to rejoin are left out.
		return m != nil && m.join != nil || cg.joining < limit
	}
	return m != nil || cg.members.count() < limit
}

// addPending remembers an id that was given out until someone joins with it.
func (c *Coordinator) addPending(g *group, id string, sessionMillis int32) {
	cg := g.classic
	if len(cg.pending.byID) >= maxPendingMembers {
		c.forgetPending(cg, cg.pending.first)
	}
	p := &pendingMember{id: id}
	p.session.fire = func(c *Coordinator) { c.expirePending(g, p) }
	cg.pending.add(p)
	c.timers.arm(&p.session, c.now+int64(sessionMillis))
}

func (c *Coordinator) forgetPending(cg *classicGroup, p *pendingMember) {
	c.timers.stop(&p.session)
	cg.pending.remove(p)
}

func (c *Coordinator) expirePending(g *group, p *pendingMember) {
	if g.classic == nil || g.classic.pending.byID[p.id] != p {
		return
	}
	c.forgetPending(g.classic, p)
	if g.classic.state == preparingRebalance && g.classic.allJoined() {
		c.completeJoin(g)
	}
	c.sweep(g)
}

func (c *Coordinator) addClassicMember(r *Request, g *group, id string, req *kmsg.JoinGroupRequest) {
	cg := g.classic
	m := &classicMember{
		id: id, instance: req.InstanceID, clientID: r.ClientID, clientHost: r.ClientHost,
		rebalanceMillis: rebalanceTimeout(req), sessionMillis: req.SessionTimeoutMillis,
		protocols: protocolsOf(req.Protocols), isNew: true, join: &parked{r.Token, req.Version},
	}
	m.session.fire = func(c *Coordinator) { c.expireSession(g, m) }
	if cg.state == preparingRebalance && cg.previous == classicEmpty {
		cg.newcomer = true
	}
	cg.add(m, req.ProtocolType)
	c.timers.arm(&m.session, c.now+newMemberJoinMillis)
	c.rebalanceOrComplete(g)
}

// rebalanceTimeout is the session timeout where a request has no other, which is
// what -1 in a record is read as, too.
func rebalanceTimeout(req *kmsg.JoinGroupRequest) int32 {
	if req.Version == 0 || req.RebalanceTimeoutMillis == -1 {
		return req.SessionTimeoutMillis
	}
	return req.RebalanceTimeoutMillis
}

// joinAgain takes in who comes with an id.
func (c *Coordinator) joinAgain(r *Request, g *group, req *kmsg.JoinGroupRequest) {
	if g == nil || g.classic == nil {
		c.respond(nil, r, joinError(req, req.MemberID, protocol.UNKNOWN_MEMBER_ID))
		return
	}
	cg := g.classic
	m := cg.members.byID[req.MemberID]
	if !c.accepts(cg, m) {
		c.leaveOut(g, m, req.MemberID)
		c.respond(g, r, joinError(req, "", protocol.GROUP_MAX_SIZE_REACHED))
		return
	}
	if !cg.supports(req.ProtocolType, req.Protocols) {
		c.respond(g, r, joinError(req, req.MemberID, protocol.INCONSISTENT_GROUP_PROTOCOL))
		return
	}
	if p := cg.pending.byID[req.MemberID]; p != nil {
		if req.InstanceID != nil { // an id was only given to who had no instance id
			c.respond(g, r, joinError(req, req.MemberID, protocol.UNKNOWN_SERVER_ERROR))
			return
		}
		c.forgetPending(g.classic, p)
		c.addClassicMember(r, g, req.MemberID, req)
		return
	}
	m, code := cg.validate(req.MemberID, req.InstanceID)
	if code != protocol.NONE {
		c.respond(g, r, joinError(req, req.MemberID, code))
		return
	}
	if cg.claimsUnknown(m, req.Protocols) {
		c.respond(g, r, notKnown(req))
		return
	}
	c.rejoin(r, g, m, req)
}

// leaveOut removes a member that the group has no room for.
func (c *Coordinator) leaveOut(g *group, m *classicMember, id string) {
	if m != nil {
		c.answerJoin(g, m, "", protocol.UNKNOWN_MEMBER_ID)
		c.removeClassicMember(g.classic, m)
	}
	if p := g.classic.pending.byID[id]; p != nil {
		c.forgetPending(g.classic, p)
	}
}

// validate finds a member. An instance id that belongs to another member id by
// now fences whoever comes with the old one (KIP-345).
func (cg *classicGroup) validate(memberID string, instance *string) (*classicMember, protocol.ErrorCode) {
	if instance != nil {
		switch m := cg.static[*instance]; {
		case m == nil:
			return nil, protocol.UNKNOWN_MEMBER_ID
		case m.id != memberID:
			return nil, protocol.FENCED_INSTANCE_ID
		}
	}
	m := cg.members.byID[memberID]
	if m == nil {
		return nil, protocol.UNKNOWN_MEMBER_ID
	}
	return m, protocol.NONE
}

func (c *Coordinator) rejoin(r *Request, g *group, m *classicMember, req *kmsg.JoinGroupRequest) {
	cg := g.classic
	protocols := protocolsOf(req.Protocols)
	leads := cg.leader == m.id
	switch {
	case cg.state == classicEmpty:
		c.respond(g, r, joinError(req, m.id, protocol.UNKNOWN_MEMBER_ID))
	case cg.state == completingRebalance && m.sameProtocols(protocols),
		// A follower with nothing new need not disturb the others. A leader does: it
		// joins again when it has seen that topics have changed.
		cg.state == classicStable && !leads && m.sameProtocols(protocols):
		round := cg.round(leads && cg.state == completingRebalance)
		c.respond(g, r, round.answerTo(m.id, req.Version))
	default:
		c.updateClassicMember(g, m, protocols, req, &parked{r.Token, req.Version})
		c.rebalanceOrComplete(g)
	}
}

// updateClassicMember takes over what a JoinGroup says and has it wait. An older
// one of the same member is told to try again: its client has moved on, and Kafka
// forgets it.
func (c *Coordinator) updateClassicMember(g *group, m *classicMember, protocols []ClassicProtocol, req *kmsg.JoinGroupRequest, p *parked) {
	cg := g.classic
	cg.countProtocols(m, -1)
	m.protocols = protocols
	cg.countProtocols(m, 1)
	m.rebalanceMillis, m.sessionMillis = rebalanceTimeout(req), req.SessionTimeoutMillis
	if m.join != nil {
		c.answerJoin(g, m, m.id, protocol.REBALANCE_IN_PROGRESS)
	}
	m.join = p
	cg.joining++
}

// answerJoin ends a JoinGroup that waits, with an error.
func (c *Coordinator) answerJoin(g *group, m *classicMember, id string, code protocol.ErrorCode) {
	if m.join == nil {
		return
	}
	req := kmsg.JoinGroupRequest{Version: m.join.version}
	c.respondTo(g, m.join.token, joinError(&req, id, code))
	m.join = nil
	g.classic.joining--
}
