package group

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// rebalanceOrComplete follows a change of the members: it begins a rebalance, or
// ends the joining of the one that is under way if this was the last they waited
// for. The initial rebalance always has its delay.
func (c *Coordinator) rebalanceOrComplete(g *group) {
	if g.classic.canRebalance() {
		c.prepareRebalance(g)
	} else {
		c.completeIfAllJoined(g)
	}
}

func (c *Coordinator) completeIfAllJoined(g *group) {
	cg := g.classic
	if cg.state == preparingRebalance && cg.previous != classicEmpty && cg.allJoined() {
		c.completeJoin(g)
	}
}

// prepareRebalance has everyone join again.
func (c *Coordinator) prepareRebalance(g *group) {
	cg := g.classic
	if cg.state == completingRebalance {
		c.cancelSyncs(g, protocol.REBALANCE_IN_PROGRESS)
	}
	c.endSyncing(cg)
	initial := cg.state == classicEmpty
	cg.become(c, preparingRebalance)
	switch {
	case initial:
		c.delayInitial(g, cg.rebalanceMillis())
	case cg.allJoined():
		c.completeJoin(g)
	default:
		cg.joinTimer.fire = func(c *Coordinator) { c.completeJoin(g) }
		c.timers.arm(&cg.joinTimer, c.now+int64(cg.rebalanceMillis()))
	}
}

// delayInitial gives the members of a new group time to come together. While
// someone new comes the delay begins again, as long as the rebalance timeout lasts.
func (c *Coordinator) delayInitial(g *group, rebalanceMillis int32) {
	cg := g.classic
	delay := c.settings.InitialRebalanceDelayMillis
	remaining := max(rebalanceMillis-delay, 0)
	cg.joinTimer.fire = func(c *Coordinator) {
		if !cg.newcomer || remaining == 0 {
			c.completeJoin(g)
			return
		}
		cg.newcomer = false
		again := min(c.settings.InitialRebalanceDelayMillis, remaining)
		remaining = max(remaining-delay, 0)
		delay = again
		c.timers.arm(&cg.joinTimer, c.now+int64(again))
	}
	c.timers.arm(&cg.joinTimer, c.now+int64(delay))
}

// completeJoin ends the joining: dynamic members that have not joined are out,
// and those that are left are the next generation.
func (c *Coordinator) completeJoin(g *group) {
	cg := g.classic
	if cg == nil || cg.state != preparingRebalance {
		return
	}
	c.timers.stop(&cg.joinTimer)
	for m := range cg.members.all() {
		if m.join == nil && m.instance == nil {
			c.removeClassicMember(cg, m)
		}
	}
	if !cg.electLeader() && cg.members.count() > 0 {
		// Only static members are left and none has joined: they have until their
		// sessions end.
		cg.joinTimer.fire = func(c *Coordinator) { c.completeJoin(g) }
		c.timers.arm(&cg.joinTimer, c.now+int64(cg.rebalanceMillis()))
		return
	}
	cg.generation++
	cg.newcomer = false
	cg.subscription.stale()
	c.endSyncing(cg)
	if cg.members.count() == 0 {
		cg.protocol = nil
		cg.become(c, classicEmpty)
		// Should this not be written, the previous generation comes back after the
		// next load, finds nobody, and ends the same way.
		c.record(g, cg.record())
		return
	}
	chosen := cg.choose()
	cg.protocol = &chosen
	cg.become(c, completingRebalance)
	c.answerJoins(g)
	c.timers.arm(&cg.syncTimer, c.now+int64(cg.rebalanceMillis()))
}

// answerJoins tells every member of the new generation. The answers are written
// when they are sent.
func (c *Coordinator) answerJoins(g *group) {
	cg := g.classic
	plain := cg.round(false)
	led := cg.round(true)
	answers := make([]joinAnswer, 0, cg.members.count())
	for m := range cg.members.all() {
		m.missed = m.join == nil
		if m.join != nil {
			round := plain
			if m.id == cg.leader {
				round = led
			}
			answers = append(answers, joinAnswer{round, m.id, m.join.version})
			c.enqueue(g, waiting{token: m.join.token, lazy: &answers[len(answers)-1]})
			m.join = nil
			cg.joining--
		}
		c.timers.arm(&m.session, c.now+int64(m.sessionMillis))
		m.isNew, m.unsynced = false, true
	}
	cg.syncing = cg.members.count()
}

// joinRound is what a JoinGroup of one generation is told.
type joinRound struct {
	generation   int32
	protocolType *string
	protocol     *string
	leader       string
	skip         bool
	members      []kmsg.JoinGroupResponseMember // for the leader
}

type joinAnswer struct {
	round   *joinRound
	id      string
	version int16
}

func (a *joinAnswer) response() kmsg.Response { return a.round.answerTo(a.id, a.version) }

func (cg *classicGroup) round(members bool) *joinRound {
	r := &joinRound{generation: cg.generation, protocol: cg.protocol, leader: cg.leader, protocolType: cg.typeOrNull(),
		members: []kmsg.JoinGroupResponseMember{}}
	if !members {
		return r
	}
	r.members = make([]kmsg.JoinGroupResponseMember, 0, cg.members.count())
	for m := range cg.members.all() {
		r.members = append(r.members, kmsg.JoinGroupResponseMember{
			MemberID: m.id, InstanceID: m.instance, ProtocolMetadata: m.metadata(*cg.protocol)})
	}
	return r
}

func (r *joinRound) answerTo(id string, version int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = version
	resp.Generation, resp.ProtocolType, resp.Protocol = r.generation, r.protocolType, r.protocol
	resp.LeaderID, resp.MemberID, resp.Members, resp.SkipAssignment = r.leader, id, r.members, r.skip
	return resp
}

func (cg *classicGroup) typeOrNull() *string {
	if cg.protocolType == "" {
		return nil
	}
	kind := cg.protocolType // answers are encoded on other cores
	return &kind
}

// endSyncing forgets who has not sent its SyncGroup.
func (c *Coordinator) endSyncing(cg *classicGroup) {
	c.timers.stop(&cg.syncTimer)
	if cg.syncing == 0 {
		return
	}
	for m := range cg.members.all() {
		m.unsynced = false
	}
	cg.syncing = 0
}

// expireSync removes members that joined and then never asked for their part.
func (c *Coordinator) expireSync(g *group) {
	cg := g.classic
	if cg == nil || cg.syncing == 0 || cg.state != completingRebalance && cg.state != classicStable {
		return
	}
	for m := range cg.members.all() {
		if m.unsynced {
			c.removeClassicMember(cg, m)
		}
	}
	c.prepareRebalance(g)
}

// expireSession removes a member that has not been heard of for too long.
func (c *Coordinator) expireSession(g *group, m *classicMember) {
	cg := g.classic
	if cg == nil || cg.members.byID[m.id] != m || m.alive() {
		return
	}
	c.removeAndRebalance(g, m)
}

func (c *Coordinator) removeAndRebalance(g *group, m *classicMember) {
	cg := g.classic
	c.dismiss(g, m)
	switch {
	case cg.state == classicStable || cg.state == completingRebalance:
		c.prepareRebalance(g)
	case cg.state == preparingRebalance && cg.allJoined():
		c.completeJoin(g)
	}
}

// dismiss takes a member out and tells whoever still waits in its name.
func (c *Coordinator) dismiss(g *group, m *classicMember) {
	c.answerJoin(g, m, "", protocol.UNKNOWN_MEMBER_ID)
	c.answerSync(g, m, protocol.UNKNOWN_MEMBER_ID)
	c.removeClassicMember(g.classic, m)
}

// replaceStatic gives a static member that starts again its old place (KIP-345).
// As long as the protocol stays the same, nobody else notices.
func (c *Coordinator) replaceStatic(r *Request, g *group, old *classicMember, id string, req *kmsg.JoinGroupRequest) {
	cg := g.classic
	leader := cg.leader
	m := c.renameStatic(g, old, id)
	c.updateClassicMember(g, m, protocolsOf(req.Protocols), req, &parked{r.Token, req.Version})
	c.timers.arm(&m.session, c.now+int64(m.sessionMillis))
	switch {
	case cg.state == completingRebalance:
		// The leader may already be assigning to the old id.
		c.prepareRebalance(g)
	case cg.state != classicStable:
		c.completeIfAllJoined(g)
	case cg.protocol == nil || cg.choose() != *cg.protocol:
		c.rebalanceOrComplete(g)
	default:
		c.keepStatic(g, m, leader)
	}
}

// renameStatic puts a new member in the place of an old one and fences the old.
func (c *Coordinator) renameStatic(g *group, old *classicMember, id string) *classicMember {
	cg := g.classic
	c.answerJoin(g, old, old.id, protocol.FENCED_INSTANCE_ID)
	c.answerSync(g, old, protocol.FENCED_INSTANCE_ID)
	m := &classicMember{
		id: id, instance: old.instance, clientID: old.clientID, clientHost: old.clientHost,
		rebalanceMillis: old.rebalanceMillis, sessionMillis: old.sessionMillis,
		protocols: old.protocols, assignment: old.assignment,
	}
	m.session.fire = func(c *Coordinator) { c.expireSession(g, m) }
	c.timers.stop(&old.session)
	cg.synced(old)
	cg.members.replace(old, m)
	cg.static[*m.instance] = m
	if cg.leader == old.id {
		cg.leader = id
	}
	return m
}

// replace puts m where old was.
func (l *classicMembers) replace(old, m *classicMember) {
	delete(l.byID, old.id)
	l.byID[m.id] = m
	m.before, m.after = old.before, old.after
	if m.before != nil {
		m.before.after = m
	} else {
		l.first = m
	}
	if m.after != nil {
		m.after.before = m
	} else {
		l.last = m
	}
}

// keepStatic writes the new id down and answers without a rebalance. A leader of
// v9 and later is told that it need not assign anything (KIP-814); before, it is
// told that the old leader leads, so that it does not.
func (c *Coordinator) keepStatic(g *group, m *classicMember, leader string) {
	cg := g.classic
	if !c.record(g, cg.record()) {
		c.answerJoin(g, m, "", protocol.UNKNOWN_SERVER_ERROR)
		return
	}
	leads := cg.leader == m.id
	round := cg.round(false)
	if m.join.version >= 9 {
		round = cg.round(leads)
		round.skip = leads
	} else {
		round.leader = leader
	}
	c.respondTo(g, m.join.token, round.answerTo(m.id, m.join.version))
	m.join = nil
	cg.joining--
}
