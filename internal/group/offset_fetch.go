package group

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetFetch serves OffsetFetch (key 9) v1-10. Before v8 a request is about one
// group and has no place for more.
func (c *Coordinator) offsetFetch(r *Request, req *kmsg.OffsetFetchRequest) {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Version = req.Version
	var newest *group
	if req.Version >= 8 {
		for i := range req.Groups {
			answer, g := c.fetchGroup(&req.Groups[i], req.Version, req.RequireStable)
			resp.Groups = append(resp.Groups, answer)
			if g != nil && (newest == nil || g.batch > newest.batch) {
				newest = g
			}
		}
	} else {
		one := oneGroup(req)
		answer, g := c.fetchGroup(&one, req.Version, req.Version >= 7 && req.RequireStable)
		newest = g
		unwrapFetch(resp, &one, &answer)
	}
	c.respond(newest, r, resp)
}

// oneGroup is an old request in the new form.
func oneGroup(req *kmsg.OffsetFetchRequest) kmsg.OffsetFetchRequestGroup {
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group = req.Group
	if req.Topics != nil || req.Version < 2 {
		one.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(req.Topics))
	}
	for i, t := range req.Topics {
		one.Topics[i].Topic, one.Topics[i].Partitions = t.Topic, t.Partitions
	}
	return one
}

// unwrapFetch is an answer in the old form. v1 has no error of its own: every
// partition carries it.
func unwrapFetch(resp *kmsg.OffsetFetchResponse, one *kmsg.OffsetFetchRequestGroup, answer *kmsg.OffsetFetchResponseGroup) {
	resp.ErrorCode = answer.ErrorCode
	if answer.ErrorCode != 0 && resp.Version < 2 {
		answer.Topics = nil
		for _, t := range one.Topics {
			topic := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				topic.Partitions = append(topic.Partitions, noOffset(p, protocol.ErrorCode(answer.ErrorCode)))
			}
			answer.Topics = append(answer.Topics, topic)
		}
	}
	for _, t := range answer.Topics {
		topic := kmsg.OffsetFetchResponseTopic{Topic: t.Topic, Partitions: make([]kmsg.OffsetFetchResponseTopicPartition, len(t.Partitions))}
		for i, p := range t.Partitions {
			topic.Partitions[i] = kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode}
		}
		resp.Topics = append(resp.Topics, topic)
	}
}

var noMetadata = ""

func noOffset(partition int32, code protocol.ErrorCode) kmsg.OffsetFetchResponseGroupTopicPartition {
	return kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition: partition, Offset: -1, LeaderEpoch: -1, Metadata: &noMetadata, ErrorCode: int16(code)}
}

func (c *Coordinator) fetchGroup(ask *kmsg.OffsetFetchRequestGroup, version int16, stable bool) (kmsg.OffsetFetchResponseGroup, *group) {
	answer := kmsg.NewOffsetFetchResponseGroup()
	answer.Group, answer.Topics = ask.Group, []kmsg.OffsetFetchResponseGroupTopic{}
	g := c.find(ask.Group)
	if g != nil {
		if code := c.validateFetch(g, ask); code != protocol.NONE {
			answer.ErrorCode = int16(code)
			return answer, g
		}
	}
	byID := version >= 10
	if ask.Topics == nil {
		if g != nil {
			answer.Topics = c.fetchAll(g, byID, stable)
		}
		return answer, g
	}
	for i := range ask.Topics {
		answer.Topics = append(answer.Topics, c.fetchTopic(g, &ask.Topics[i], byID, stable))
	}
	return answer, g
}

// validateFetch holds who says that it is a member of a consumer group to it.
func (c *Coordinator) validateFetch(g *group, ask *kmsg.OffsetFetchRequestGroup) protocol.ErrorCode {
	if g.consumer == nil || ask.MemberID == nil && ask.MemberEpoch < 0 {
		return protocol.NONE
	}
	m := g.consumer.members[orEmpty(ask.MemberID)]
	switch {
	case m == nil:
		return protocol.UNKNOWN_MEMBER_ID
	case ask.MemberEpoch == m.epoch:
		return protocol.NONE
	case m.classic != nil:
		return protocol.ILLEGAL_GENERATION
	}
	return protocol.STALE_MEMBER_EPOCH
}

func (c *Coordinator) fetchTopic(g *group, ask *kmsg.OffsetFetchRequestGroupTopic, byID, stable bool) kmsg.OffsetFetchResponseGroupTopic {
	answer := kmsg.OffsetFetchResponseGroupTopic{Topic: ask.Topic, TopicID: ask.TopicID,
		Partitions: make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(ask.Partitions))}
	name, code := ask.Topic, protocol.NONE
	if byID {
		var t Topic
		t, code = c.resolve("", ask.TopicID, true)
		name = t.Name
	}
	for i, p := range ask.Partitions {
		switch {
		case code != protocol.NONE:
			answer.Partitions[i] = noOffset(p, code)
		case g == nil:
			answer.Partitions[i] = noOffset(p, protocol.NONE)
		default:
			answer.Partitions[i] = g.offsets.fetch(name, p, ask.TopicID, stable)
		}
	}
	return answer
}

// fetch answers for one partition. An offset of another topic that had the same
// name is none (id zero: the client does not say which it means).
func (o *groupOffsets) fetch(topic string, partition int32, id protocol.UUID, stable bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	if stable && o.unstable(topic, partition) {
		return noOffset(partition, protocol.UNSTABLE_OFFSET_COMMIT)
	}
	have := o.table.find(topic, partition)
	if have == nil || id != (protocol.UUID{}) && have.topicID != (protocol.UUID{}) && have.topicID != id {
		return noOffset(partition, protocol.NONE)
	}
	metadata := &noMetadata
	if have.metadata != "" { // an answer is encoded on another core: it must not point into the table
		text := have.metadata
		metadata = &text
	}
	return kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition: partition, Offset: have.offset, LeaderEpoch: have.leaderEpoch, Metadata: metadata}
}

// fetchAll answers with every offset that the group has.
func (c *Coordinator) fetchAll(g *group, byID, stable bool) []kmsg.OffsetFetchResponseGroupTopic {
	answer := []kmsg.OffsetFetchResponseGroupTopic{}
	for _, name := range g.offsets.table.names() {
		t := kmsg.OffsetFetchResponseGroupTopic{Topic: name}
		if byID {
			topic, ok := c.topics.TopicByName(name)
			if !ok {
				continue // v10 has no other name for it
			}
			t.TopicID = topic.ID
		}
		for i := range g.offsets.table[name].list {
			t.Partitions = append(t.Partitions, g.offsets.fetch(name, g.offsets.table[name].list[i].partition, t.TopicID, stable))
		}
		answer = append(answer, t)
	}
	return answer
}
