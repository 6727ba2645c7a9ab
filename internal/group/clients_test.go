package group

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Clients that behave as real ones do, one action at a time.

// subscriptionBytes is a consumer's metadata.
func subscriptionBytes(version int16, topics []string, have []topicList) []byte {
	c := codec{buf: binary.BigEndian.AppendUint16(nil, uint16(version))}
	c.strings(&topics)
	c.buf = binary.BigEndian.AppendUint32(c.buf, 0xffffffff)
	if version >= 1 {
		array(&c, &have, 6, (*codec).topicList)
	}
	if version >= 2 {
		c.buf = binary.BigEndian.AppendUint32(c.buf, 0xffffffff)
	}
	if version >= 3 {
		c.buf = append(c.buf, 0xff, 0xff)
	}
	return c.buf
}

// classicClient speaks JoinGroup, SyncGroup, Heartbeat and LeaveGroup.
type classicClient struct {
	w          *world
	name       string
	group      string
	instance   *string
	topics     []string
	memberID   string
	generation int32
	leader     bool
	roster     []kmsg.JoinGroupResponseMember
	protocol   string
	has        []topicList

	waits uint64 // the request it waits for
	state string // "", joining, joined, syncing, stable
}

func (c *classicClient) act(random *rand.Rand) {
	if c.waits != 0 {
		answer := c.w.answers[c.waits]
		if answer == nil {
			return
		}
		c.waits = 0
		c.hear(answer)
		return
	}
	switch c.state {
	case "":
		c.join()
	case "joined":
		c.sync(random)
	case "stable":
		req := kmsg.NewPtrHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 4, c.group, c.memberID, c.generation, c.instance
		c.waits = c.w.send(c.name, req)
	}
}

func (c *classicClient) join() {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID = 9, c.group, c.memberID, c.instance
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = 10_000, 30_000, consumerProtocolType
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: subscriptionBytes(1, c.topics, c.has)}}
	c.state = "joining"
	c.waits = c.w.send(c.name, req)
}

func (c *classicClient) hear(answer kmsg.Response) {
	switch r := answer.(type) {
	case *kmsg.JoinGroupResponse:
		c.heardJoin(r)
	case *kmsg.SyncGroupResponse:
		switch protocol.ErrorCode(r.ErrorCode) {
		case protocol.NONE:
			c.has, _ = parseAssignment(r.MemberAssignment)
			c.state = "stable"
		case protocol.REBALANCE_IN_PROGRESS:
			c.state = ""
		default:
			c.reset()
		}
	case *kmsg.HeartbeatResponse:
		switch protocol.ErrorCode(r.ErrorCode) {
		case protocol.NONE:
		case protocol.REBALANCE_IN_PROGRESS:
			c.state = ""
		default:
			c.reset()
		}
	}
}

func (c *classicClient) heardJoin(r *kmsg.JoinGroupResponse) {
	switch protocol.ErrorCode(r.ErrorCode) {
	case protocol.NONE:
		c.memberID, c.generation, c.roster, c.leader = r.MemberID, r.Generation, r.Members, r.LeaderID == r.MemberID && !r.SkipAssignment
		c.protocol = orEmpty(r.Protocol)
		c.state = "joined"
	case protocol.MEMBER_ID_REQUIRED:
		c.memberID, c.state = r.MemberID, ""
	case protocol.REBALANCE_IN_PROGRESS:
		c.state = ""
	default:
		c.reset()
	}
}

func (c *classicClient) reset() { c.memberID, c.state, c.has = "", "", nil }

// sync sends the assignment if it leads: each topic's partitions in turn to those
// who read it.
func (c *classicClient) sync(random *rand.Rand) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 5, c.group, c.memberID, c.instance, c.generation
	kind := consumerProtocolType
	req.ProtocolType, req.Protocol = &kind, &c.protocol
	if c.leader {
		lists := make([][]topicList, len(c.roster))
		for _, name := range c.w.topics.names {
			var readers []int
			for i, m := range c.roster {
				if s, err := parseSubscription(m.ProtocolMetadata); err == nil && slices.Contains(s.topics, name) {
					readers = append(readers, i)
					lists[i] = append(lists[i], topicList{topic: name})
				}
			}
			for p := range c.w.topics.byName[name].Partitions {
				if len(readers) > 0 {
					l := lists[readers[(int(p)+random.IntN(2))%len(readers)]]
					l[len(l)-1].partitions = append(l[len(l)-1].partitions, p)
				}
			}
		}
		for i, m := range c.roster {
			enc := codec{buf: []byte{0, 1}}
			array(&enc, &lists[i], 6, (*codec).topicList)
			enc.buf = binary.BigEndian.AppendUint32(enc.buf, 0xffffffff)
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.MemberID, MemberAssignment: enc.buf})
		}
	}
	c.state = "syncing"
	c.waits = c.w.send(c.name, req)
}

func (c *classicClient) leave() {
	if c.memberID == "" {
		return
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, c.group
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: c.memberID, InstanceID: c.instance}}
	c.w.send(c.name, req)
	c.reset()
	c.waits = 0
}

// consumerClient speaks ConsumerGroupHeartbeat.
type consumerClient struct {
	w        *world
	name     string
	group    string
	id       string
	instance *string
	topics   []string
	regex    *string
	assignor *string
	epoch    int32
	joined   bool
	has      assignment
	wants    assignment // what it was told that it has
	waits    uint64
	lazy     int // beats before it gives partitions up
}

func (c *consumerClient) act(random *rand.Rand) {
	if c.waits != 0 {
		if answer := c.w.answers[c.waits]; answer != nil {
			c.waits = 0
			c.hear(answer.(*kmsg.ConsumerGroupHeartbeatResponse))
		}
		return
	}
	if c.lazy > 0 {
		c.lazy--
	} else {
		c.has = c.wants
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, c.group, c.id, c.epoch, c.instance
	if !c.joined || random.IntN(4) == 0 {
		req.RebalanceTimeoutMillis, req.ServerAssignor = 20_000, c.assignor
		req.SubscribedTopicNames, req.SubscribedTopicRegex = append([]string{}, c.topics...), c.regex
	}
	if req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}; c.joined {
		for _, t := range c.has {
			req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.topic, Partitions: t.partitions})
		}
	}
	c.waits = c.w.send(c.name, req)
}

func (c *consumerClient) hear(r *kmsg.ConsumerGroupHeartbeatResponse) {
	if r.ErrorCode != 0 {
		c.reset()
		return
	}
	c.joined, c.epoch, c.id = true, r.MemberEpoch, *r.MemberID
	if r.Assignment != nil {
		c.wants = nil
		for _, t := range r.Assignment.Topics {
			c.wants = append(c.wants, topicAssignment{topic: t.TopicID, partitions: t.Partitions})
		}
		c.wants = c.wants.normal()
	}
}

func (c *consumerClient) reset() { c.joined, c.epoch, c.has, c.wants = false, 0, nil, nil }

func (c *consumerClient) leave(epoch int32) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, c.group, c.id, epoch, c.instance
	c.w.send(c.name, req)
	c.reset()
	c.waits = 0
}
