package group

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// syncGroup serves SyncGroup (key 14) v0-5.
func (c *Coordinator) syncGroup(r *Request, req *kmsg.SyncGroupRequest) {
	g := c.find(req.Group)
	switch {
	case req.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil): // KIP-559
		c.respond(nil, r, syncError(req.Version, protocol.INCONSISTENT_GROUP_PROTOCOL))
	case req.Group == "":
		c.respond(nil, r, syncError(req.Version, protocol.INVALID_GROUP_ID))
	case g == nil || g.empty():
		c.respond(g, r, syncError(req.Version, protocol.UNKNOWN_MEMBER_ID))
	case g.consumer != nil:
		c.syncConsumerGroup(r, g, req)
	default:
		c.syncClassic(r, g, req)
	}
}

func syncError(version int16, code protocol.ErrorCode) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version, resp.ErrorCode, resp.MemberAssignment = version, int16(code), []byte{}
	return resp
}

func (c *Coordinator) syncClassic(r *Request, g *group, req *kmsg.SyncGroupRequest) {
	cg := g.classic
	m, code := cg.validate(req.MemberID, req.InstanceID)
	switch {
	case code != protocol.NONE:
	case req.Generation != cg.generation:
		code = protocol.ILLEGAL_GENERATION
	case differs(req.ProtocolType, cg.typeOrNull()) || differs(req.Protocol, cg.protocol):
		code = protocol.INCONSISTENT_GROUP_PROTOCOL
	case cg.state == preparingRebalance:
		code = protocol.REBALANCE_IN_PROGRESS
	}
	if code != protocol.NONE {
		c.respond(g, r, syncError(req.Version, code))
		return
	}
	c.heardSync(cg, m)
	if cg.state == classicStable {
		c.respond(g, r, cg.syncAnswer(m, req.Version))
		return
	}
	c.answerSync(g, m, protocol.REBALANCE_IN_PROGRESS) // an older one of the same member
	m.sync = &parked{r.Token, req.Version}
	if cg.leader == m.id {
		c.assign(g, m, req)
	}
}

// differs says whether what a request names is not what the group has. What
// either does not name does not differ.
func differs(asked, has *string) bool { return asked != nil && has != nil && *asked != *has }

func (c *Coordinator) heardSync(cg *classicGroup, m *classicMember) {
	cg.synced(m)
	if cg.syncing == 0 {
		c.timers.stop(&cg.syncTimer)
	}
}

func (cg *classicGroup) syncAnswer(m *classicMember, version int16) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version, resp.ProtocolType, resp.Protocol, resp.MemberAssignment = version, cg.typeOrNull(), cg.protocol, m.assignment
	if resp.MemberAssignment == nil {
		resp.MemberAssignment = []byte{}
	}
	return resp
}

// stabilize gives everyone what the leader has assigned, and tells those who wait.
func (c *Coordinator) stabilize(g *group, a *assigning) {
	cg := g.classic
	answers := make([]syncAnswer, 0, cg.members.count())
	for m := range cg.members.all() {
		m.assignment = a.of(m)
		if m.sync == nil {
			continue
		}
		answers = append(answers, syncAnswer{cg.typeOrNull(), cg.protocol, m.assignment, m.sync.version})
		c.enqueue(g, waiting{token: m.sync.token, lazy: &answers[len(answers)-1]})
		m.sync = nil
		c.timers.arm(&m.session, c.now+int64(m.sessionMillis))
	}
	cg.become(c, classicStable)
	c.stats.ClassicRebalances++
}

// syncAnswer is a SyncGroup's answer that is written when it is sent.
type syncAnswer struct {
	protocolType, protocol *string
	assignment             []byte
	version                int16
}

func (a *syncAnswer) response() kmsg.Response {
	resp := syncError(a.version, protocol.NONE)
	resp.ProtocolType, resp.Protocol = a.protocolType, a.protocol
	if a.assignment != nil {
		resp.MemberAssignment = a.assignment
	}
	return resp
}

// cancelSyncs takes the assignment back from everyone and tells those who wait.
func (c *Coordinator) cancelSyncs(g *group, code protocol.ErrorCode) {
	for m := range g.classic.members.all() {
		m.assignment = nil
		if m.sync != nil {
			c.answerSync(g, m, code)
			c.timers.arm(&m.session, c.now+int64(m.sessionMillis))
		}
	}
}

// answerSync ends a SyncGroup that waits, with an error.
func (c *Coordinator) answerSync(g *group, m *classicMember, code protocol.ErrorCode) {
	if m.sync == nil {
		return
	}
	c.respondTo(g, m.sync.token, syncError(m.sync.version, code))
	m.sync = nil
}
