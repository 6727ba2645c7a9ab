package group

import (
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// shareDescribe serves ShareGroupDescribe (key 77) v1.
func (c *Coordinator) shareDescribe(r *Request, req *kmsg.ShareGroupDescribeRequest) {
	resp := kmsg.NewPtrShareGroupDescribeResponse()
	resp.Version = req.Version
	for _, id := range req.GroupIDs {
		d := kmsg.NewShareGroupDescribeResponseGroup()
		d.GroupID, d.Members = id, []kmsg.ShareGroupDescribeResponseGroupMember{}
		if sg := c.shares.byID[id]; sg == nil {
			refused := c.noShareGroup(id)
			d.ErrorCode, d.ErrorMessage = int16(refused.code), refused.text()
		} else {
			c.describeShare(sg, &d)
		}
		resp.Groups = append(resp.Groups, d)
	}
	c.enqueue(nil, waiting{token: r.Token, batch: c.out.seq, body: resp})
}

func (c *Coordinator) noShareGroup(id string) *refusal {
	if c.find(id) != nil {
		return refusef(protocol.GROUP_ID_NOT_FOUND, "Group %s is not a share group.", id)
	}
	return refusef(protocol.GROUP_ID_NOT_FOUND, "Group %s not found.", id)
}

func (c *Coordinator) describeShare(sg *shareGroup, d *kmsg.ShareGroupDescribeResponseGroup) {
	d.GroupState, d.GroupEpoch, d.AssignmentEpoch, d.Assignor = sg.state(), sg.epoch, sg.assignmentEpoch, "simple"
	for _, m := range sg.sorted {
		member := kmsg.NewShareGroupDescribeResponseGroupMember()
		member.MemberID, member.RackID, member.MemberEpoch = m.id, m.rack, m.epoch
		member.ClientID, member.ClientHost, member.SubscribedTopicNames = m.clientID, m.clientHost, m.topics
		for _, t := range c.described(m.assigned).TopicPartitions {
			member.Assignment.TopicPartitions = append(member.Assignment.TopicPartitions,
				kmsg.ShareGroupDescribeResponseGroupMemberAssignmentTopicPartition{TopicID: t.TopicID, Topic: t.Topic, Partitions: t.Partitions})
		}
		d.Members = append(d.Members, member)
	}
}

// listShares adds share groups to a ListGroups.
func (c *Coordinator) listShares(resp *kmsg.ListGroupsResponse, req *kmsg.ListGroupsRequest) {
	if !matches(req.TypesFilter, "share") {
		return
	}
	n := len(resp.Groups)
	for _, sg := range c.shares.sorted {
		if matches(req.StatesFilter, sg.state()) {
			resp.Groups = append(resp.Groups, kmsg.ListGroupsResponseGroup{Group: sg.id, ProtocolType: "share", GroupState: sg.state(), GroupType: "share"})
		}
	}
	if n > 0 && n < len(resp.Groups) {
		slices.SortStableFunc(resp.Groups, func(a, b kmsg.ListGroupsResponseGroup) int {
			switch {
			case a.Group < b.Group:
				return -1
			case a.Group > b.Group:
				return 1
			}
			return 0
		})
	}
}

// describeShareOffsets serves this coordinator's part of DescribeShareGroupOffsets (key
// 90): which partitions there are. What their states say is not known here; the driver
// asks for those that are answered without an error and with leader epoch -1.
func (c *Coordinator) describeShareOffsets(r *Request, req *kmsg.DescribeShareGroupOffsetsRequest) {
	resp := kmsg.NewPtrDescribeShareGroupOffsetsResponse()
	resp.Version = req.Version
	for i := range req.Groups {
		ask := &req.Groups[i]
		d := kmsg.NewDescribeShareGroupOffsetsResponseGroup()
		d.GroupID, d.Topics = ask.GroupID, []kmsg.DescribeShareGroupOffsetsResponseGroupTopic{}
		sg := c.shares.byID[ask.GroupID]
		switch {
		case ask.Topics == nil && sg == nil: // as Kafka: there is nothing to tell
		case ask.Topics == nil:
			for _, t := range sg.states.InitializedTopics {
				d.Topics = append(d.Topics, c.describeShareTopic(sg.states, t.TopicName, t.Partitions))
			}
		default:
			states := &ShareGroupStatePartitionMetadataValue{}
			if sg != nil {
				states = sg.states
			}
			for _, t := range ask.Topics {
				d.Topics = append(d.Topics, c.describeShareTopic(states, t.Topic, t.Partitions))
			}
		}
		resp.Groups = append(resp.Groups, d)
	}
	c.enqueue(nil, waiting{token: r.Token, batch: c.out.seq, body: resp})
}

func (c *Coordinator) describeShareTopic(states *ShareGroupStatePartitionMetadataValue, name string, partitions []int32) kmsg.DescribeShareGroupOffsetsResponseGroupTopic {
	d := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopic()
	d.Topic, d.Partitions = name, []kmsg.DescribeShareGroupOffsetsResponseGroupTopicPartition{}
	t, ok := c.topics.TopicByName(name)
	d.TopicID = t.ID
	have := partitionsOf(states.InitializedTopics, t.ID)
	for _, p := range partitions {
		dp := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopicPartition()
		dp.Partition, dp.StartOffset = p, -1
		if _, kept := slices.BinarySearch(have, p); ok && kept {
			dp.LeaderEpoch = -1
		} else if !ok {
			dp.ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
			dp.ErrorMessage = kmsg.StringPtr(unknownTopicText)
		}
		d.Partitions = append(d.Partitions, dp)
	}
	return d
}

const unknownTopicText = "This server does not host this topic-partition."

// alterShareOffsets serves AlterShareGroupOffsets (key 91) v0: states are begun anew,
// at the offsets given, under a new epoch.
func (c *Coordinator) alterShareOffsets(r *Request, req *kmsg.AlterShareGroupOffsetsRequest) {
	resp := kmsg.NewPtrAlterShareGroupOffsetsResponse()
	resp.Version = req.Version
	sg, refused := c.emptyShareGroup(req.GroupID, true)
	if refused != nil {
		resp.ErrorCode, resp.ErrorMessage = int16(refused.code), refused.text()
		c.respond(nil, r, resp)
		return
	}
	e := ShareErrand{Action: InitializeShares, StateEpoch: sg.epoch + 1}
	var want []ShareTopicPartitions
	type place struct{ topic, partition int }
	var places []place
	for _, t := range req.Topics {
		topic, ok := c.topics.TopicByName(t.Topic)
		out := kmsg.NewAlterShareGroupOffsetsResponseTopic()
		out.Topic, out.TopicID = t.Topic, topic.ID
		for _, p := range t.Partitions {
			out.Partitions = append(out.Partitions, kmsg.AlterShareGroupOffsetsResponseTopicPartition{Partition: p.Partition})
			if !ok || p.Partition < 0 || p.Partition >= topic.Partitions {
				last := &out.Partitions[len(out.Partitions)-1]
				last.ErrorCode, last.ErrorMessage = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION), kmsg.StringPtr(unknownTopicText)
				continue
			}
			want = append(want, ShareTopicPartitions{TopicID: topic.ID, TopicName: topic.Name, Partitions: []int32{p.Partition}})
			e.Partitions = append(e.Partitions, SharePartition{topic.ID, p.Partition, p.StartOffset})
			places = append(places, place{len(resp.Topics), len(out.Partitions) - 1})
		}
		resp.Topics = append(resp.Topics, out)
	}
	next := *sg.states // what has a state keeps the old one, should this fail
	next.InitializingTopics = added(next.InitializingTopics, taken(added(nil, want), next.InitializedTopics))
	if len(want) == 0 || !c.writeShare(sg, shareEpochRecord(sg, sg.epoch+1, sg.recordedHash), shareStatesRecord(sg, &next)) {
		c.sweepShare(sg)
		c.respond(nil, r, resp)
		return
	}
	token := r.Token
	sg.making = true
	c.send(sg, e, func(c *Coordinator, codes []protocol.ErrorCode) {
		for i, at := range places {
			resp.Topics[at.topic].Partitions[at.partition].ErrorCode = int16(codes[min(i, len(codes)-1)])
		}
		c.statesMade(sg, e.Partitions, codes)
		c.respondTo(&sg.group, token, resp)
	})
}

// emptyShareGroup finds a share group whose offsets may be changed: one without members.
func (c *Coordinator) emptyShareGroup(id string, make bool) (*shareGroup, *refusal) {
	sg := c.shares.byID[id]
	switch {
	case id == "":
		return nil, &refusal{protocol.INVALID_GROUP_ID, "The group id is invalid."}
	case sg == nil && (!make || c.find(id) != nil):
		return nil, c.noShareGroup(id)
	case sg == nil:
		return c.placeShare(id), nil
	case len(sg.members) > 0:
		return nil, refusef(protocol.NON_EMPTY_GROUP, "The group is not empty.")
	}
	return sg, nil
}

// deleteShareOffsets serves DeleteShareGroupOffsets (key 92) v0.
func (c *Coordinator) deleteShareOffsets(r *Request, req *kmsg.DeleteShareGroupOffsetsRequest) {
	resp := kmsg.NewPtrDeleteShareGroupOffsetsResponse()
	resp.Version = req.Version
	sg, refused := c.emptyShareGroup(req.GroupID, false)
	if refused != nil {
		resp.ErrorCode, resp.ErrorMessage = int16(refused.code), refused.text()
		c.respond(nil, r, resp)
		return
	}
	e := ShareErrand{Action: DeleteShares}
	var owner []int // which topic of the response a partition of the errand belongs to
	var less []ShareTopicPartitions
	for i, t := range req.Topics {
		topic, ok := c.topics.TopicByName(t.Topic)
		out := kmsg.NewDeleteShareGroupOffsetsResponseTopic()
		out.Topic, out.TopicID = t.Topic, topic.ID
		unknown := func(text string) {
			out.TopicID, out.ErrorCode, out.ErrorMessage = protocol.UUID{}, int16(protocol.UNKNOWN_TOPIC_OR_PARTITION), &text
		}
		switch {
		case !ok:
			unknown(unknownTopicText)
		case nameOf(sg.states.InitializedTopics, topic.ID) == "" && nameOf(sg.states.InitializingTopics, topic.ID) == "":
			unknown("There is no offset information to delete.")
		}
		resp.Topics = append(resp.Topics, out)
		gone := ShareTopicPartitions{TopicID: topic.ID, Partitions: slices.Concat(partitionsOf(sg.states.InitializedTopics, topic.ID), partitionsOf(sg.states.InitializingTopics, topic.ID))}
		for _, p := range gone.Partitions {
			e.Partitions, owner = append(e.Partitions, SharePartition{topic.ID, p, -1}), append(owner, i)
		}
		less = append(less, gone)
	}
	if len(e.Partitions) == 0 {
		c.respond(&sg.group, r, resp)
		return
	}
	next := *sg.states
	next.DeletingTopics = deleting(less, sg)
	if !c.writeShare(sg, shareStatesRecord(sg, &next)) {
		refuse(resp, protocol.UNKNOWN_SERVER_ERROR)
		c.respond(nil, r, resp)
		return
	}
	token := r.Token
	c.send(sg, e, func(c *Coordinator, codes []protocol.ErrorCode) {
		for i, t := range owner {
			if code := codes[min(i, len(codes)-1)]; code != protocol.NONE {
				resp.Topics[t].ErrorCode = int16(code)
			}
		}
		c.statesDeleted(sg, less)
		c.respondTo(&sg.group, token, resp)
	})
}

func deleting(topics []ShareTopicPartitions, sg *shareGroup) (out []ShareTopic) {
	for _, t := range topics {
		if name := nameOf(sg.states.InitializedTopics, t.TopicID); name != "" {
			out = append(out, ShareTopic{TopicID: t.TopicID, TopicName: name})
		}
	}
	return out
}

// statesDeleted takes states out of what the group has: what could not be deleted is
// not used again either, but begun anew.
func (c *Coordinator) statesDeleted(sg *shareGroup, less []ShareTopicPartitions) {
	if c.shares.byID[sg.id] != sg || c.phase != active {
		return
	}
	next := *sg.states
	next.InitializedTopics, next.InitializingTopics, next.DeletingTopics = taken(next.InitializedTopics, less), taken(next.InitializingTopics, less), nil
	c.writeShare(sg, shareStatesRecord(sg, &next))
	c.progressShare(sg)
}

// deleteShareGroups serves DeleteGroups where it names a share group. The states of
// such go first.
func (c *Coordinator) deleteShareGroups(r *Request, req *kmsg.DeleteGroupsRequest) bool {
	if !slices.ContainsFunc(req.Groups, func(id string) bool { return c.shares.byID[id] != nil }) {
		return false
	}
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Version = req.Version
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(req.Groups))
	left, token := 1, r.Token
	ended := func(c *Coordinator) {
		if left--; left == 0 {
			c.enqueue(nil, waiting{token: token, batch: c.out.seq, body: resp})
		}
	}
	for i, id := range req.Groups {
		resp.Groups[i].Group = id
		if sg := c.shares.byID[id]; sg != nil {
			left++
			c.deleteShareGroup(sg, func(c *Coordinator, code protocol.ErrorCode) {
				resp.Groups[i].ErrorCode = int16(code)
				ended(c)
			})
			continue
		}
		code, _ := c.deleteNamed(id)
		resp.Groups[i].ErrorCode = int16(code)
	}
	ended(c)
	return true
}

func (c *Coordinator) deleteShareGroup(sg *shareGroup, done func(*Coordinator, protocol.ErrorCode)) {
	if len(sg.members) > 0 {
		done(c, protocol.NON_EMPTY_GROUP)
		return
	}
	e := ShareErrand{Action: DeleteShares}
	less := added(sg.states.InitializedTopics, sg.states.InitializingTopics)
	for _, t := range less {
		for _, p := range t.Partitions {
			e.Partitions = append(e.Partitions, SharePartition{t.TopicID, p, -1})
		}
	}
	if len(e.Partitions) == 0 {
		done(c, c.endShareGroup(sg))
		return
	}
	c.send(sg, e, func(c *Coordinator, codes []protocol.ErrorCode) {
		for _, code := range codes {
			if code != protocol.NONE {
				done(c, code)
				return
			}
		}
		if len(sg.members) > 0 { // somebody has joined meanwhile
			c.statesDeleted(sg, less)
			done(c, protocol.NON_EMPTY_GROUP)
			return
		}
		done(c, c.endShareGroup(sg))
	})
}

// endShareGroup writes that a group without members is gone.
func (c *Coordinator) endShareGroup(sg *shareGroup) protocol.ErrorCode {
	if c.phase != active || c.shares.byID[sg.id] != sg {
		return protocol.NOT_COORDINATOR
	}
	if !c.writeShare(sg, shareTombstones(sg)...) {
		return protocol.UNKNOWN_SERVER_ERROR
	}
	return protocol.NONE
}
