package group

import (
	"strings"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// shareBeat is a heartbeat on its way to its answer.
type shareBeat struct {
	token uint64
	id    string
	full  bool // it is to be told all that it has
}

// stepShare takes the requests about share groups, and refuses what cannot be done
// with one.
func (c *Coordinator) stepShare(r *Request) bool {
	refuse := func(id string, code protocol.ErrorCode) bool {
		sg := c.shares.byID[id]
		if sg != nil {
			c.respond(&sg.group, r, refusedResponse(r.Body, code))
		}
		return sg != nil
	}
	switch body := r.Body.(type) {
	case *kmsg.ShareGroupHeartbeatRequest:
		c.shareHeartbeat(r, body)
	case *kmsg.ShareGroupDescribeRequest:
		c.shareDescribe(r, body)
	case *kmsg.DescribeShareGroupOffsetsRequest:
		c.describeShareOffsets(r, body)
	case *kmsg.AlterShareGroupOffsetsRequest:
		c.alterShareOffsets(r, body)
	case *kmsg.DeleteShareGroupOffsetsRequest:
		c.deleteShareOffsets(r, body)
	case *kmsg.DeleteGroupsRequest:
		return c.deleteShareGroups(r, body)
	case *kmsg.JoinGroupRequest:
		return refuse(body.Group, protocol.INCONSISTENT_GROUP_PROTOCOL)
	case *kmsg.SyncGroupRequest:
		return refuse(body.Group, protocol.UNKNOWN_MEMBER_ID)
	case *kmsg.HeartbeatRequest:
		return refuse(body.Group, protocol.UNKNOWN_MEMBER_ID)
	case *kmsg.LeaveGroupRequest:
		sg := c.shares.byID[body.Group]
		if sg == nil || body.Version < 3 {
			return refuse(body.Group, protocol.UNKNOWN_MEMBER_ID)
		}
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.Version = body.Version
		for _, m := range body.Members {
			resp.Members = append(resp.Members, kmsg.LeaveGroupResponseMember{MemberID: m.MemberID, InstanceID: m.InstanceID, ErrorCode: int16(protocol.UNKNOWN_MEMBER_ID)})
		}
		c.respond(&sg.group, r, resp)
	case *kmsg.OffsetCommitRequest:
		return refuse(body.Group, protocol.GROUP_ID_NOT_FOUND)
	case *kmsg.TxnOffsetCommitRequest:
		return refuse(body.Group, protocol.GROUP_ID_NOT_FOUND)
	case *kmsg.OffsetDeleteRequest:
		return refuse(body.Group, protocol.GROUP_ID_NOT_FOUND)
	case *kmsg.ConsumerGroupHeartbeatRequest:
		if sg := c.shares.byID[body.Group]; sg != nil {
			c.respond(&sg.group, r, heartbeatError(body.Version, refusef(protocol.GROUP_ID_NOT_FOUND, "Group %s is not a consumer group.", sg.id)))
			return true
		}
		return false
	default:
		return false
	}
	return true
}

// shareHeartbeat serves ShareGroupHeartbeat (key 76) v1. Unlike Kafka's, the heartbeat
// that a member joins with is answered when the member has been assigned to, so that it
// need not wait for its next one.
func (c *Coordinator) shareHeartbeat(r *Request, req *kmsg.ShareGroupHeartbeatRequest) {
	if refused := checkShareHeartbeat(req); refused != nil {
		c.respond(nil, r, shareHeartbeatError(refused))
		return
	}
	sg, refused := c.shareGroupFor(req.GroupID, req.MemberEpoch)
	if refused == nil {
		refused = c.checkShareMember(sg, req)
	}
	if refused != nil {
		c.respondShare(sg, r.Token, shareHeartbeatError(refused))
		return
	}
	if req.MemberEpoch == leftEpoch {
		resp := kmsg.NewPtrShareGroupHeartbeatResponse()
		resp.MemberID, resp.MemberEpoch = &req.MemberID, leftEpoch
		if !c.removeShareMember(sg, sg.members[req.MemberID]) {
			resp = shareHeartbeatError(&refusal{code: protocol.UNKNOWN_SERVER_ERROR})
		}
		c.respondShare(sg, r.Token, resp)
		return
	}
	next := sg.factsOf(req.MemberID)
	known := sg.members[req.MemberID] != nil
	next.update(r, req)
	if !c.updateShareMember(sg, req.MemberID, known, next) {
		c.sweepShare(sg)
		c.respondShare(sg, r.Token, shareHeartbeatError(&refusal{code: protocol.UNKNOWN_SERVER_ERROR}))
		return
	}
	c.keepShareSession(sg, sg.members[req.MemberID])
	beat := &shareBeat{token: r.Token, id: req.MemberID, full: req.MemberEpoch == 0 || req.SubscribedTopicNames != nil}
	if req.MemberEpoch == 0 {
		sg.delayed = append(sg.delayed, beat)
		c.progressShare(sg)
		return
	}
	c.progressShare(sg)
	c.finishShare(sg, beat)
}

// checkShareHeartbeat refuses what no heartbeat may be.
func checkShareHeartbeat(req *kmsg.ShareGroupHeartbeatRequest) *refusal {
	empty := func(s string) bool { return strings.TrimSpace(s) == "" }
	invalid := func(text string) *refusal { return &refusal{protocol.INVALID_REQUEST, text} }
	switch {
	case empty(req.MemberID):
		return invalid("MemberId can't be empty.")
	case empty(req.GroupID):
		return invalid("GroupId can't be empty.")
	case req.RackID != nil && empty(*req.RackID):
		return invalid("RackId can't be empty.")
	case req.MemberEpoch == 0 && len(req.SubscribedTopicNames) == 0:
		return invalid("SubscribedTopicNames must be set in first request.")
	case req.MemberEpoch < leftEpoch:
		return invalid("MemberEpoch is invalid.")
	}
	return nil
}

func shareHeartbeatError(r *refusal) *kmsg.ShareGroupHeartbeatResponse {
	resp := kmsg.NewPtrShareGroupHeartbeatResponse()
	resp.Version, resp.ErrorCode, resp.ErrorMessage = 1, int16(r.code), r.text()
	return resp
}

func (c *Coordinator) respondShare(sg *shareGroup, token uint64, resp *kmsg.ShareGroupHeartbeatResponse) {
	resp.Version = 1
	if sg == nil {
		c.respondTo(nil, token, resp)
		return
	}
	c.respondTo(&sg.group, token, resp)
}

// shareGroupFor finds the group of a heartbeat; who joins makes it.
func (c *Coordinator) shareGroupFor(id string, epoch int32) (*shareGroup, *refusal) {
	if sg := c.shares.byID[id]; sg != nil {
		return sg, nil
	}
	switch {
	case c.find(id) != nil:
		return nil, refusef(protocol.GROUP_ID_NOT_FOUND, "Group %s is not a share group.", id)
	case epoch < 0:
		return nil, refusef(protocol.GROUP_ID_NOT_FOUND, "Group %s not found.", id)
	case epoch > 0:
		return nil, refusef(protocol.GROUP_ID_NOT_FOUND, "Share group %s not found.", id)
	}
	return c.placeShare(id), nil
}

// checkShareMember refuses a heartbeat of who is not, or not any more, the member that
// it was.
func (c *Coordinator) checkShareMember(sg *shareGroup, req *kmsg.ShareGroupHeartbeatRequest) *refusal {
	m := sg.members[req.MemberID]
	switch {
	case m == nil && req.MemberEpoch != 0:
		return refusef(protocol.UNKNOWN_MEMBER_ID, "Member %s is not a member of group %s.", req.MemberID, sg.id)
	case m == nil && len(sg.members) >= int(c.settings.ShareMaxSize):
		return refusef(protocol.GROUP_MAX_SIZE_REACHED, "The share group has reached its maximum capacity of %d members.", c.settings.ShareMaxSize)
	case m == nil || req.MemberEpoch <= 0 || req.MemberEpoch == m.epoch || req.MemberEpoch == m.previous:
		return nil
	case req.MemberEpoch > m.epoch:
		return refusef(protocol.FENCED_MEMBER_EPOCH, "The share group member has a greater member epoch (%d) than the one known by the group coordinator (%d)."+
			" The member must abandon all its partitions and rejoin.", req.MemberEpoch, m.epoch)
	}
	return refusef(protocol.FENCED_MEMBER_EPOCH, "The share group member has a smaller member epoch (%d) than the one known by the group coordinator (%d)."+
		" The member must abandon all its partitions and rejoin.", req.MemberEpoch, m.epoch)
}

func (m *shareMemberFacts) update(r *Request, req *kmsg.ShareGroupHeartbeatRequest) {
	if req.RackID != nil {
		m.rack = req.RackID
	}
	if req.SubscribedTopicNames != nil {
		m.topics = sortedNames(req.SubscribedTopicNames)
	}
	m.clientID, m.clientHost = r.ClientID, r.ClientHost
}

// updateShareMember writes what is new of a member, and raises the group's epoch if its
// assignment may have to change.
func (c *Coordinator) updateShareMember(sg *shareGroup, id string, known bool, next shareMemberFacts) bool {
	old := sg.factsOf(id)
	same := known && sameString(old.rack, next.rack) && old.clientID == next.clientID && old.clientHost == next.clientHost
	subscribed := !known || !sameNames(old.topics, next.topics)
	if !same || subscribed {
		records := []Record{shareMemberRecord(sg, id, &next)}
		if subscribed {
			records = append(records, shareEpochRecord(sg, sg.epoch+1, sg.recordedHash))
		}
		if !c.writeShare(sg, records...) {
			return false
		}
	}
	if hash := c.topicsHash(sg); hash != sg.recordedHash {
		epoch := sg.epoch
		if !subscribed {
			epoch++
		}
		return c.writeShare(sg, shareEpochRecord(sg, epoch, hash))
	}
	return true
}

func sameNames(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// finishShare gives a member what it is to have and answers it.
func (c *Coordinator) finishShare(sg *shareGroup, b *shareBeat) {
	m := sg.members[b.id]
	if m == nil {
		c.respondShare(sg, b.token, shareHeartbeatError(refusef(protocol.UNKNOWN_MEMBER_ID, "Member %s is not a member of group %s.", b.id, sg.id)))
		return
	}
	next := m.shareMemberFacts
	target := sg.target[b.id]
	changed := !next.assigned.samePartitions(target)
	if next.epoch != sg.assignmentEpoch || changed {
		next.previous, next.epoch, next.assigned = next.epoch, sg.assignmentEpoch, target
		if !c.writeShare(sg, shareAssignmentRecord(sg, b.id, &next)) {
			c.respondShare(sg, b.token, shareHeartbeatError(&refusal{code: protocol.UNKNOWN_SERVER_ERROR}))
			return
		}
	}
	resp := kmsg.NewPtrShareGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch = &m.id, m.epoch
	resp.HeartbeatIntervalMillis = int32(c.shareMillis(sg.id, func(s *GroupSettings) int32 { return s.ShareHeartbeatIntervalMillis }, c.settings.ShareHeartbeatIntervalMillis))
	if b.full || changed {
		resp.Assignment = &kmsg.ShareGroupHeartbeatResponseAssignment{TopicPartitions: make([]kmsg.ShareGroupHeartbeatResponseAssignmentTopicPartition, len(m.assigned))}
		for i, t := range m.assigned {
			resp.Assignment.TopicPartitions[i].TopicID, resp.Assignment.TopicPartitions[i].Partitions = t.topic, t.partitions
		}
	}
	c.respondShare(sg, b.token, resp)
}

// keepShareSession gives a member its whole session timeout from now.
func (c *Coordinator) keepShareSession(sg *shareGroup, m *shareMember) {
	c.timers.arm(&m.session, c.now+c.shareMillis(sg.id, func(s *GroupSettings) int32 { return s.ShareSessionTimeoutMillis }, c.settings.ShareSessionTimeoutMillis))
}

// removeShareMember takes out a member that leaves, or has not been heard of.
func (c *Coordinator) removeShareMember(sg *shareGroup, m *shareMember) bool {
	if sg.members[m.id] != m {
		return true
	}
	records := append(shareMemberTombstones(sg, m.id), shareEpochRecord(sg, sg.epoch+1, sg.recordedHash))
	if !c.writeShare(sg, records...) {
		return false
	}
	c.progressShare(sg)
	return true
}

// sweepShare takes back a group that was being made for someone who was refused.
func (c *Coordinator) sweepShare(sg *shareGroup) {
	if sg.epoch == 0 && len(sg.members) == 0 {
		c.dropShare(sg)
	}
}

// answerWaitingShares tells everyone who waits for a share group's target.
func (c *Coordinator) answerWaitingShares(code protocol.ErrorCode) {
	for _, sg := range c.shares.sorted {
		for _, b := range sg.delayed {
			c.respondShare(sg, b.token, shareHeartbeatError(&refusal{code: code}))
		}
		sg.delayed = nil
	}
	for id := uint64(1); id <= c.shares.errand; id++ { // in order: the map must not show
		if done := c.shares.inHand[id]; done != nil {
			delete(c.shares.inHand, id)
			done(c, []protocol.ErrorCode{code})
		}
		if len(c.shares.inHand) == 0 {
			return
		}
	}
}
