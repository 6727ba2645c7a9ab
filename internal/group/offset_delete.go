package group

import (
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetDelete serves OffsetDelete (key 47) v0.
func (c *Coordinator) offsetDelete(r *Request, req *kmsg.OffsetDeleteRequest) {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	resp.Version = req.Version
	g := c.find(req.Group)
	code := protocol.NONE
	switch {
	case req.Group == "":
		code = protocol.INVALID_GROUP_ID
	case g == nil:
		code = protocol.GROUP_ID_NOT_FOUND
	case g.classic != nil && g.classic.state != classicEmpty && !g.classic.isConsumer():
		code = protocol.NON_EMPTY_GROUP // whose protocol does not tell what it reads
	}
	if code != protocol.NONE {
		resp.ErrorCode = int16(code)
		c.respond(g, r, resp)
		return
	}
	var records []Record
	for _, t := range req.Topics {
		answer := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic, Partitions: make([]kmsg.OffsetDeleteResponseTopicPartition, len(t.Partitions))}
		code := c.deletable(g, t.Topic)
		topic, known := c.topics.TopicByName(t.Topic)
		for i, p := range t.Partitions {
			answer.Partitions[i].Partition = p.Partition
			switch {
			case !known || p.Partition < 0 || p.Partition >= topic.Partitions:
				answer.Partitions[i].ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
			case code != protocol.NONE:
				answer.Partitions[i].ErrorCode = int16(code)
			case g.offsets.has(t.Topic, p.Partition):
				records = append(records, Record{Key: offsetKey(g, t.Topic, p.Partition)})
			}
		}
		unknownFirst(answer.Partitions)
		resp.Topics = append(resp.Topics, answer)
	}
	if !c.append(g, records...) {
		resp.Topics, resp.ErrorCode = nil, int16(protocol.UNKNOWN_SERVER_ERROR)
		c.respond(g, r, resp)
		return
	}
	c.applyTombstones(g, records)
	c.stats.OffsetsDeleted += uint64(len(records))
	c.sweep(g)
	c.respond(g, r, resp)
}

// unknownFirst puts partitions that there are not first, as Kafka does.
func unknownFirst(answers []kmsg.OffsetDeleteResponseTopicPartition) {
	known := func(p *kmsg.OffsetDeleteResponseTopicPartition) int {
		if p.ErrorCode == int16(protocol.UNKNOWN_TOPIC_OR_PARTITION) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(answers, func(a, b kmsg.OffsetDeleteResponseTopicPartition) int { return known(&a) - known(&b) })
}

func (c *Coordinator) deletable(g *group, topic string) protocol.ErrorCode {
	if g.subscribes(topic) {
		return protocol.GROUP_SUBSCRIBED_TO_TOPIC
	}
	return protocol.NONE
}

// subscribes says whether the group reads a topic.
func (g *group) subscribes(topic string) bool {
	if g.consumer != nil {
		return g.consumer.subscribed[topic] > 0
	}
	return g.classic.subscribes(topic)
}

func (o *groupOffsets) has(topic string, partition int32) bool {
	return o.table.find(topic, partition) != nil || o.unstable(topic, partition)
}

func (c *Coordinator) applyTombstones(g *group, records []Record) {
	for _, r := range records {
		c.removeOffset(g, r.Key.Name, r.Key.Partition)
	}
}

// offsetTombstones is a tombstone for each offset that the group has, also those
// that are not committed yet.
func (c *Coordinator) offsetTombstones(g *group) []Record {
	var records []Record
	for _, name := range g.offsets.table.names() {
		for _, o := range g.offsets.table[name].list {
			records = append(records, Record{Key: offsetKey(g, name, o.partition)})
		}
	}
	for _, p := range g.offsets.pending {
		for _, name := range p.table.names() {
			for _, o := range p.table[name].list {
				if g.offsets.table.find(name, o.partition) == nil {
					records = append(records, Record{Key: offsetKey(g, name, o.partition)})
				}
			}
		}
	}
	return records
}

// deleteGroups serves DeleteGroups (key 42) v0-2.
func (c *Coordinator) deleteGroups(r *Request, req *kmsg.DeleteGroupsRequest) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Version = req.Version
	var newest *group
	for _, id := range req.Groups {
		code, g := c.deleteNamed(id)
		if g != nil {
			newest = g
		}
		resp.Groups = append(resp.Groups, kmsg.DeleteGroupsResponseGroup{Group: id, ErrorCode: int16(code)})
	}
	c.respond(newest, r, resp)
}

// deleteNamed deletes a group, which is the one that has been deleted, or nil.
func (c *Coordinator) deleteNamed(id string) (protocol.ErrorCode, *group) {
	g := c.find(id)
	switch {
	case g == nil:
		return protocol.GROUP_ID_NOT_FOUND, nil
	case !g.empty():
		return protocol.NON_EMPTY_GROUP, nil
	case !c.deleteGroup(g):
		return protocol.UNKNOWN_SERVER_ERROR, nil
	}
	return protocol.NONE, g
}

// deleteGroup writes that an empty group and its offsets are gone. The offsets
// go first: they may be more than one batch takes, and a group that is still
// there can be deleted again.
func (c *Coordinator) deleteGroup(g *group) bool {
	const atOnce = 1000
	for records := c.offsetTombstones(g); len(records) > 0; {
		n := min(atOnce, len(records))
		if !c.append(g, records[:n]...) {
			return false
		}
		c.applyTombstones(g, records[:n])
		records = records[n:]
	}
	if !c.append(g, c.groupTombstones(g)...) {
		return false
	}
	c.drop(g)
	c.sweep(g)
	return true
}

// groupTombstones is what says in the log that an empty group is gone.
func (c *Coordinator) groupTombstones(g *group) []Record {
	if g.consumer != nil {
		return c.consumerTombstones(g)
	}
	return []Record{{Key: Key{Type: TypeGroupMetadata, Group: g.id}}}
}

// drop ends the group's life as a group.
func (c *Coordinator) drop(g *group) {
	if g.consumer != nil {
		c.dropConsumer(g)
	}
	if g.classic != nil {
		c.dropClassic(g)
	}
}

func (c *Coordinator) dropClassic(g *group) {
	cg := g.classic
	c.timers.stop(&cg.joinTimer)
	c.timers.stop(&cg.syncTimer)
	for m := range cg.members.all() {
		c.timers.stop(&m.session)
	}
	for p := cg.pending.first; p != nil; p = p.after {
		c.timers.stop(&p.session)
	}
	cg.account.charge(-cg.bytes)
	cg.account = nil
	g.classic = nil
}
