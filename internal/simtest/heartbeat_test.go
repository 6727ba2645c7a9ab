package simtest

import (
	"fmt"
	"slices"

	"slipstream/internal/guarantees"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// reconciling speaks ConsumerGroupHeartbeat (KIP-848): it is told what it is to
// have, gives up what that does not contain, says so, and is given more.
type reconciling struct {
	m        *member
	assignor *string
	pattern  *string // what it subscribes to, in place of names
	joined   bool
	full     bool // the next heartbeat says everything
	beating  bool
	beatAt   int64
	trimming bool
	next     []guarantees.Partition
	told     []guarantees.Partition // that it has, in the last heartbeat that was answered
	epoch    int32                  // the member's; the records are of m.epoch, which follows
}

func (c *reconciling) settled() bool {
	return c.joined && !c.trimming && len(c.m.shares) == len(c.next)
}

func (c *reconciling) step() error {
	if c.beating || c.m.now() < c.beatAt && !c.trimming {
		return nil
	}
	if c.trimming && !c.trim() {
		return nil
	}
	c.beat()
	return nil
}

// trim gives up what it is not to have any more.
func (c *reconciling) trim() bool {
	m := c.m
	if !m.work.flush() {
		return false
	}
	m.giveUp(missing(m.has(), c.next))
	m.assigned(c.epoch, c.next)
	m.busy, c.trimming = false, false
	return true
}

func (c *reconciling) beat() {
	m, sent, floor := c.m, c.m.now(), c.m.crew.group.Latest()
	joining := !c.joined
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = m.crew.name, m.memberID, c.epoch, m.instance
	req.RebalanceTimeoutMillis = -1
	has := m.has()
	if joining || c.full {
		req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.ServerAssignor = int32(m.crew.rebalance/1e6), m.topics, c.assignor
		if c.pattern != nil {
			req.SubscribedTopicNames, req.SubscribedTopicRegex = []string{}, c.pattern
		}
	}
	if joining || c.full || !slices.Equal(has, c.told) {
		topics, ok := c.owned(has)
		if !ok {
			return // an id is not known yet
		}
		req.Topics = topics
	}
	if joining {
		req.MemberEpoch = 0
	}
	if !joining || m.crew.kind == crewMixed {
		floor = 0 // who has to give something up first is behind
	}
	c.beating = true
	m.coord.call(req, 1, func(resp kmsg.Response) {
		c.beating = false
		if m.dead || m.speaks != speaker(c) {
			return
		}
		if err := c.heard(resp.(*kmsg.ConsumerGroupHeartbeatResponse), sent, floor, has); err != nil {
			m.fail("ConsumerGroupHeartbeat: %w", err)
		}
	}, func() { c.beating, c.full, c.beatAt = false, true, m.now() })
}

// owned is what it has, by topic ids.
func (c *reconciling) owned(has []guarantees.Partition) ([]kmsg.ConsumerGroupHeartbeatRequestTopic, bool) {
	topics := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, p := range has {
		t, ok := c.m.meta[p.Topic]
		if !ok && !c.m.crew.mayVanish(p.Topic) {
			return nil, false
		}
		if n := len(topics); n > 0 && topics[n-1].TopicID == t.id {
			topics[n-1].Partitions = append(topics[n-1].Partitions, p.Number)
		} else if ok {
			topics = append(topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.id, Partitions: []int32{p.Number}})
		}
	}
	return topics, true
}

func (c *reconciling) heard(r *kmsg.ConsumerGroupHeartbeatResponse, sent int64, floor int32, told []guarantees.Partition) error {
	m := c.m
	c.beatAt = m.now() + m.crew.heartbeat
	switch r.ErrorCode {
	case codeNone:
	case codeUnknownMember, codeFencedMemberEpoch:
		m.cutOff()
		c.joined, c.epoch, c.trimming, c.next, c.told = false, 0, false, nil, nil
		c.beatAt = m.now()
		return nil
	case codeUnreleasedInstance:
		m.crew.group.Cause()
		return nil
	case codeGroupIDNotFound, codeInconsistentProtocol:
		if m.crew.kind != crewMixed {
			return fmt.Errorf("error %d", r.ErrorCode)
		}
		m.cutOff() // a classic group in the middle of a rebalance, or no group any more
		c.joined, c.epoch, c.trimming, c.next, c.told = false, 0, false, nil, nil
		return nil
	default:
		c.full = true
		if m.coord.astray(r.ErrorCode) {
			c.beatAt = m.now()
			return nil
		}
		return fmt.Errorf("error %d", r.ErrorCode)
	}
	c.joined, c.full, c.told = true, false, told
	m.alive(sent)
	m.check(m.crew.group.Epoch(m.name, r.MemberEpoch, floor))
	changed := r.MemberEpoch != c.epoch
	c.epoch = r.MemberEpoch
	if r.Assignment != nil {
		next, ok := c.parse(r.Assignment)
		if !ok {
			c.full, c.beatAt, m.metaAt = true, m.now()+5e6, 0 // told again when the topic is known
			return nil
		}
		changed, c.next = true, next
	}
	switch {
	case len(missing(m.has(), c.next)) > 0:
		c.trimming, m.busy = true, true
	case changed:
		m.assigned(c.epoch, c.next)
		if !slices.Equal(m.has(), c.told) {
			c.beatAt = m.now() // says that it has what it was given
		}
	}
	return nil
}

func (c *reconciling) parse(a *kmsg.ConsumerGroupHeartbeatResponseAssignment) (parts []guarantees.Partition, ok bool) {
	for _, t := range a.Topics {
		name, known := c.m.topicByID(t.TopicID)
		if !known {
			return nil, false
		}
		for _, p := range t.Partitions {
			parts = append(parts, guarantees.Partition{Topic: name, Number: p})
		}
	}
	slices.SortFunc(parts, comparePartitions)
	return parts, true
}

func (c *reconciling) leave() bool {
	m := c.m
	m.crew.group.GaveUp(m.name, m.has())
	if !c.joined {
		return false
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.InstanceID, req.RebalanceTimeoutMillis = m.crew.name, m.memberID, -1, m.instance, -1
	if m.instance != nil {
		req.MemberEpoch = -2
	}
	m.coord.call(req, 1, func(resp kmsg.Response) {
		r := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
		made := m.crew.kind == crewMixed && r.ErrorCode == codeGroupIDNotFound // anew, with the other protocol
		if r.ErrorCode != codeNone && r.ErrorCode != codeUnknownMember && !made && !m.coord.astray(r.ErrorCode) {
			m.fail("leaving: error %d", r.ErrorCode)
		}
		m.speaks = nil
	}, func() { m.speaks = nil })
	return true
}
