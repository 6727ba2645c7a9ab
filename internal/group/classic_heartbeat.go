package group

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// heartbeat serves Heartbeat (key 12) v0-4.
func (c *Coordinator) heartbeat(r *Request, req *kmsg.HeartbeatRequest) {
	g := c.find(req.Group)
	code := protocol.UNKNOWN_MEMBER_ID
	switch {
	case req.Group == "":
		code = protocol.INVALID_GROUP_ID
	case g == nil:
	case g.consumer != nil:
		code = c.heartbeatConsumerGroup(g, req)
	default:
		code = c.heartbeatClassic(g.classic, req)
	}
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version, resp.ErrorCode = req.Version, int16(code)
	c.respond(g, r, resp)
}

func (c *Coordinator) heartbeatClassic(cg *classicGroup, req *kmsg.HeartbeatRequest) protocol.ErrorCode {
	m, code := cg.validate(req.MemberID, req.InstanceID)
	switch {
	case code != protocol.NONE:
		return code
	case req.Generation != cg.generation:
		return protocol.ILLEGAL_GENERATION
	case cg.state == classicEmpty:
		return protocol.UNKNOWN_MEMBER_ID
	}
	c.timers.arm(&m.session, c.now+int64(m.sessionMillis))
	if cg.state == preparingRebalance {
		return protocol.REBALANCE_IN_PROGRESS
	}
	return protocol.NONE
}

// leaveGroup serves LeaveGroup (key 13) v0-5. From v3 on it removes several
// members at once, static ones by their instance id.
func (c *Coordinator) leaveGroup(r *Request, req *kmsg.LeaveGroupRequest) {
	members := req.Members
	if req.Version < 3 {
		members = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	g := c.find(req.Group)
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = req.Version
	resp.Members = make([]kmsg.LeaveGroupResponseMember, len(members))
	for i, m := range members {
		resp.Members[i].MemberID, resp.Members[i].InstanceID = m.MemberID, m.InstanceID
	}
	switch {
	case req.Group == "":
		resp.Members, resp.ErrorCode = nil, int16(protocol.INVALID_GROUP_ID)
	case g == nil:
		for i := range resp.Members {
			resp.Members[i].ErrorCode = int16(protocol.UNKNOWN_MEMBER_ID)
		}
	case g.consumer != nil:
		c.leaveConsumerGroup(g, members, resp.Members)
	default:
		c.leaveClassic(g, members, resp.Members)
	}
	if req.Version < 3 && len(resp.Members) == 1 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	c.respond(g, r, resp)
}

func (c *Coordinator) leaveClassic(g *group, members []kmsg.LeaveGroupRequestMember, answers []kmsg.LeaveGroupResponseMember) {
	cg := g.classic
	left := false
	for i, asked := range members {
		code := c.leaveOne(g, asked)
		answers[i].ErrorCode = int16(code)
		left = left || code == protocol.NONE
	}
	switch {
	case !left:
	case cg.state == classicStable || cg.state == completingRebalance:
		c.prepareRebalance(g)
	case cg.state == preparingRebalance:
		c.completeIfAllJoined(g)
	default:
		c.sweep(g)
	}
}

func (c *Coordinator) leaveOne(g *group, asked kmsg.LeaveGroupRequestMember) protocol.ErrorCode {
	cg := g.classic
	if asked.MemberID == "" { // an administrator removes a static member
		if asked.InstanceID == nil || cg.static[*asked.InstanceID] == nil {
			return protocol.UNKNOWN_MEMBER_ID
		}
		c.dismiss(g, cg.static[*asked.InstanceID])
		return protocol.NONE
	}
	if p := cg.pending.byID[asked.MemberID]; p != nil {
		c.forgetPending(cg, p)
		return protocol.NONE
	}
	m, code := cg.validate(asked.MemberID, asked.InstanceID)
	if code == protocol.NONE {
		c.dismiss(g, m)
	}
	return code
}
