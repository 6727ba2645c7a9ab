package simtest

import (
	"fmt"

	"slipstream/internal/guarantees"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// classic speaks JoinGroup, SyncGroup, Heartbeat and LeaveGroup. An eager member
// gives everything up before it joins again; a cooperative one only what the new
// assignment does not have, and then joins once more so that others can have it.
type classic struct {
	m           *member
	cooperative bool
	state       classicStep
	wait        int64

	generation int32
	leads      bool
	roster     []kmsg.JoinGroupResponseMember
	counts     map[string]int32 // of partitions, when it assigned as the leader
	beating    bool
	beatAt     int64
	again      bool // is to join again when it has given up what it must
	next       []guarantees.Partition
}

type classicStep int8

const (
	classicOut      classicStep = iota // is to join
	classicRevoking                    // is to give up everything (eager) and join again
	classicJoining
	classicJoined // is to sync
	classicSyncing
	classicTrimming // has its assignment, and more than that
	classicStable
)

func (c *classic) settled() bool { return c.state == classicStable && !c.again }

func (c *classic) step() error {
	if c.m.now() < c.wait {
		return nil
	}
	switch c.state {
	case classicOut:
		c.join()
	case classicRevoking:
		c.m.busy = true
		if c.m.work.flush() {
			if !c.cooperative {
				c.m.giveUp(c.m.has())
			}
			c.m.busy, c.state = false, classicOut
		}
	case classicJoined:
		return c.sync()
	case classicTrimming:
		c.trim()
	case classicStable:
		c.stable()
	}
	return nil
}

func (c *classic) stable() {
	if !c.again && c.leads && c.topicsHaveGrown() {
		c.m.crew.group.Cause()
		c.again = true
	}
	if c.again {
		c.again, c.state = false, classicRevoking
		return
	}
	if c.beating || c.m.now() < c.beatAt {
		return
	}
	c.beating = true
	m, sent := c.m, c.m.now()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = m.crew.name, m.memberID, c.generation, m.instance
	m.coord.call(req, 4, func(resp kmsg.Response) {
		c.beating, c.beatAt = false, m.now()+m.crew.heartbeat
		if c.gone() || c.state != classicStable {
			return
		}
		switch code := resp.(*kmsg.HeartbeatResponse).ErrorCode; code {
		case codeNone:
			m.alive(sent)
		case codeRebalanceInProgress:
			c.state = classicRevoking
		default:
			c.refused("Heartbeat", code)
		}
	}, func() { c.beating = false })
}

func (c *classic) topicsHaveGrown() bool {
	for name, n := range c.counts { // any of them: the order does not show
		if t, ok := c.m.meta[name]; ok && t.partitions > n {
			return true
		}
	}
	return false
}

// refused takes in an error that says that it is no member any more.
func (c *classic) refused(what string, code int16) {
	m := c.m
	switch code {
	case codeUnknownMember, codeFencedMemberEpoch:
		m.memberID = ""
		m.cutOff()
	case codeIllegalGeneration, codeStaleMemberEpoch:
		m.cutOff()
	case codeFencedInstance:
		m.die() // another one is in its place
		return
	case codeRebalanceInProgress:
	default:
		if !m.coord.astray(code) {
			m.fail("%s: error %d", what, code)
		}
		if c.state == classicStable {
			return // the same again, when the coordinator is found
		}
	}
	c.state, c.again = classicOut, false
	c.wait = m.now() + 5e6
}

func (c *classic) join() {
	m, sent, floor := c.m, c.m.now(), c.m.crew.group.Latest()
	if m.crew.kind == crewMixed {
		floor = 0 // in a consumer group who has to give something up first is behind
	}
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.InstanceID = m.crew.name, m.memberID, m.instance
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = int32(m.crew.session/1e6), int32(m.crew.rebalance/1e6), "consumer"
	for _, name := range m.crew.protocols {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, c.subscription()
		req.Protocols = append(req.Protocols, p)
	}
	c.state = classicJoining
	m.logf("join has %v, generation %d", m.has(), c.generation)
	m.coord.call(req, int16(5+m.crew.run.rand.IntN(5)), func(resp kmsg.Response) {
		if !c.gone() {
			c.heardJoin(resp.(*kmsg.JoinGroupResponse), sent, floor)
		}
	}, func() {
		m.crew.group.Cause() // it joins once more
		c.state = classicOut
	})
}

// subscription is what it tells the leader.
func (c *classic) subscription() []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Version, s.Topics, s.Generation = 2, c.m.topics, c.generation
	if len(c.m.shares) == 0 {
		s.Generation = -1
	}
	for _, share := range c.m.shares {
		o := kmsg.NewConsumerMemberMetadataOwnedPartition()
		o.Topic, o.Partitions = share.part.Topic, []int32{share.part.Number}
		s.OwnedPartitions = append(s.OwnedPartitions, o)
	}
	return s.AppendTo(nil)
}

func (c *classic) heardJoin(r *kmsg.JoinGroupResponse, sent int64, floor int32) {
	m := c.m
	switch r.ErrorCode {
	case codeNone:
		m.check(m.crew.group.Joined(m.name, r.Generation, floor))
		m.alive(sent)
		m.memberID, c.generation, c.roster = r.MemberID, r.Generation, r.Members
		c.leads = r.LeaderID == r.MemberID && !r.SkipAssignment
		c.state = classicJoined
	case codeMemberIDRequired:
		m.memberID, c.state = r.MemberID, classicOut
	default:
		c.refused("JoinGroup", r.ErrorCode)
	}
}

// sync sends the assignment if it leads, and asks for its own.
func (c *classic) sync() error {
	m, sent, generation := c.m, c.m.now(), c.generation
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = m.crew.name, m.memberID, c.generation, m.instance
	if c.leads {
		list, err := c.assign()
		if err != nil {
			return err
		}
		if list == nil {
			return nil // the topics are not known yet
		}
		req.GroupAssignment = list
	}
	c.state = classicSyncing
	m.coord.call(req, int16(3+m.crew.run.rand.IntN(2)), func(resp kmsg.Response) {
		r := resp.(*kmsg.SyncGroupResponse)
		if c.gone() {
			return
		}
		if r.ErrorCode != codeNone {
			c.refused("SyncGroup", r.ErrorCode)
			return
		}
		m.alive(sent)
		c.heardSync(generation, r.MemberAssignment)
	}, func() {
		m.crew.group.Cause()
		c.state = classicOut
	})
	return nil
}

func (c *classic) heardSync(generation int32, b []byte) {
	m := c.m
	var a kmsg.ConsumerMemberAssignment
	if len(b) > 0 {
		if err := a.ReadFrom(b); err != nil {
			m.fail("the assignment of generation %d: %w", generation, err)
			return
		}
	}
	m.logf("sync generation %d", generation)
	c.next = nil
	for _, t := range a.Topics {
		for _, p := range t.Partitions {
			c.next = append(c.next, guarantees.Partition{Topic: t.Topic, Number: p})
		}
	}
	c.beatAt = m.now()
	if lost := missing(m.has(), c.next); len(lost) > 0 {
		c.state, m.busy = classicTrimming, true
		return
	}
	c.state = classicStable
	m.assigned(generation, c.next)
}

// trim gives up what the new assignment does not have: commits are of the new
// generation already.
func (c *classic) trim() {
	m := c.m
	m.epoch = c.generation
	if !m.work.flush() {
		return
	}
	m.giveUp(missing(m.has(), c.next))
	m.assigned(c.generation, c.next)
	m.busy, c.state = false, classicStable
	c.again = c.cooperative
	m.crew.group.Cause()
}

func (c *classic) gone() bool { return c.m.dead || c.m.speaks != speaker(c) }

func (c *classic) leave() bool {
	m := c.m
	m.crew.group.GaveUp(m.name, m.has())
	if m.memberID == "" {
		return false
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = m.crew.name
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID, one.InstanceID = m.memberID, m.instance
	req.Members = append(req.Members, one)
	m.coord.call(req, int16(3+m.crew.run.rand.IntN(3)), func(resp kmsg.Response) {
		r := resp.(*kmsg.LeaveGroupResponse)
		if r.ErrorCode != codeNone && !m.coord.astray(r.ErrorCode) {
			m.fail("LeaveGroup: error %d", r.ErrorCode)
		}
		m.speaks = nil
	}, func() { m.speaks = nil })
	return true
}

// assign makes the leader's assignment: each of the group's protocols is one way.
func (c *classic) assign() ([]kmsg.SyncGroupRequestGroupAssignment, error) {
	c.counts = map[string]int32{}
	for _, name := range c.m.topics {
		if t, ok := c.m.meta[name]; ok {
			c.counts[name] = t.partitions
		} else if !c.m.crew.mayVanish(name) {
			return nil, nil
		}
	}
	if len(c.roster) == 0 {
		return []kmsg.SyncGroupRequestGroupAssignment{}, nil // in a consumer group the broker assigns
	}
	members := make([]assignee, len(c.roster))
	for i, r := range c.roster {
		var s kmsg.ConsumerMemberMetadata
		if err := s.ReadFrom(r.ProtocolMetadata); err != nil {
			return nil, fmt.Errorf("the metadata of %s: %w", r.MemberID, err)
		}
		members[i] = assignee{id: r.MemberID, generation: s.Generation}
		for _, o := range s.OwnedPartitions {
			for _, p := range o.Partitions {
				members[i].owned = append(members[i].owned, guarantees.Partition{Topic: o.Topic, Number: p})
			}
		}
	}
	c.m.logf("assign generation %d: %+v", c.generation, members)
	divide(members, c.counts, c.m.crew.protocols[0], c.cooperative)
	list := []kmsg.SyncGroupRequestGroupAssignment{}
	for _, m := range members {
		a := kmsg.NewConsumerMemberAssignment()
		for _, p := range m.gets {
			t := kmsg.NewConsumerMemberAssignmentTopic()
			t.Topic, t.Partitions = p.Topic, []int32{p.Number}
			a.Topics = append(a.Topics, t)
		}
		g := kmsg.NewSyncGroupRequestGroupAssignment()
		g.MemberID, g.MemberAssignment = m.id, a.AppendTo(nil)
		list = append(list, g)
	}
	return list, nil
}
