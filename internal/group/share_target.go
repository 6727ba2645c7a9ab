package group

import (
	"slices"

	"slipstream/protocol"
)

// progressShare brings a group on: states for what its members want, then a target
// assignment, then answers for those who wait for one.
func (c *Coordinator) progressShare(sg *shareGroup) {
	if c.phase != active || c.shares.byID[sg.id] != sg {
		return
	}
	if !sg.making && c.now >= sg.retryAt {
		c.makeStates(sg)
	}
	if sg.making {
		return
	}
	if sg.epoch > sg.assignmentEpoch && len(sg.members) > 0 {
		every := c.shareMillis(sg.id, func(s *GroupSettings) int32 { return s.ShareAssignmentMillis }, c.settings.ShareAssignmentMillis)
		if due := sg.assignedAt + every; sg.assignedAt > 0 && c.now >= sg.assignedAt && c.now < due {
			c.timers.arm(&sg.assign, due)
			return
		}
		c.assignShares(sg)
	}
	for _, b := range sg.delayed {
		c.finishShare(sg, b)
	}
	sg.delayed = nil
}

// assignShares computes the target and writes it: members first, the epoch last, so
// that a target of which only a part was written is computed again.
func (c *Coordinator) assignShares(sg *shareGroup) {
	c.timers.stop(&sg.assign)
	target := c.shareTarget(sg)
	var changed []string
	var raw []RawRecord
	for _, m := range sg.sorted {
		next := target[m.id]
		if have, ok := sg.target[m.id]; ok && have.samePartitions(next) {
			continue
		}
		one, _ := encodeAll([]Record{{Key{Type: TypeShareTargetMember, Group: sg.id, Name: m.id}, &ConsumerGroupTargetAssignmentMemberValue{TopicPartitions: next.records(false)}}})
		raw, changed = append(raw, one[0]), append(changed, m.id)
	}
	c.appendRaw(&sg.group, raw)
	for _, id := range changed {
		sg.target[id] = target[id]
	}
	c.writeShare(sg, Record{Key{Type: TypeShareTarget, Group: sg.id}, &ConsumerGroupTargetAssignmentMetadataValue{AssignmentEpoch: sg.epoch, AssignmentTimestamp: c.now}})
}

// shareTarget is Kafka's `simple` assignor: every partition has a member and, as far as
// there are enough, every member a partition; members that are more than there are
// partitions share them evenly. What a member has it keeps, where that is as even.
// Topics that are read by different members are divided each on its own.
func (c *Coordinator) shareTarget(sg *shareGroup) map[string]assignment {
	target := make(map[string]assignment, len(sg.sorted))
	if topics, same := c.readByAll(sg); same {
		c.divideShares(sg, sg.sorted, topics, target)
	} else {
		for _, t := range topics {
			c.divideShares(sg, sg.readers(t.TopicName), []ShareTopicPartitions{t}, target)
		}
	}
	for id, a := range target { // each on its own
		target[id] = a.normal()
	}
	return target
}

// readByAll are the group's topics, by id, as far as they have states, and whether all
// members read all of them.
func (c *Coordinator) readByAll(sg *shareGroup) (topics []ShareTopicPartitions, same bool) {
	same = true
	for _, t := range sg.states.InitializedTopics {
		readers := sg.subscribed[t.TopicName]
		if topic, ok := c.topics.TopicByName(t.TopicName); !ok || topic.ID != t.TopicID || readers == 0 {
			continue
		}
		topics = append(topics, t)
		same = same && readers == len(sg.members)
	}
	return topics, same
}

func (sg *shareGroup) readers(topic string) (out []*shareMember) {
	for _, m := range sg.sorted {
		if _, ok := slices.BinarySearch(m.topics, topic); ok {
			out = append(out, m)
		}
	}
	return out
}

// sharePlace is one partition that is to be read.
type sharePlace struct {
	topic     protocol.UUID
	partition int32
}

// divideShares divides partitions among members, and adds to the target.
func (c *Coordinator) divideShares(sg *shareGroup, members []*shareMember, topics []ShareTopicPartitions, target map[string]assignment) {
	var places []sharePlace
	for _, t := range topics {
		for _, p := range t.Partitions {
			places = append(places, sharePlace{t.TopicID, p})
		}
	}
	if len(places) == 0 || len(members) == 0 {
		return
	}
	// How many members a partition has, and how many partitions a member: one of the
	// two is 1. So many have one more.
	sharing, having := 1, len(places)/len(members)
	extraSharing, extraHaving := 0, len(places)%len(members)
	if len(members) > len(places) {
		sharing, having = len(members)/len(places), 1
		extraSharing, extraHaving = len(members)%len(places), 0
	}
	d := division{readers: make(map[sharePlace]int, len(places)), has: make(map[string]int, len(members))}
	d.sharing, d.having, d.extraSharing, d.extraHaving = sharing, having, extraSharing, extraHaving
	give := func(m *shareMember, p sharePlace) {
		target[m.id] = append(target[m.id], topicAssignment{topic: p.topic, partitions: []int32{p.partition}})
	}
	wanted := make(map[sharePlace]bool, len(places))
	for _, p := range places {
		wanted[p] = true
	}
	for _, m := range members { // what they have
		for _, t := range sg.target[m.id] {
			for _, partition := range t.partitions {
				if p := (sharePlace{t.topic, partition}); wanted[p] && d.take(m.id, p) {
					give(m, p)
				}
			}
		}
	}
	at := 0
	for _, p := range d.left(places) {
		for !d.mayHave(members[at].id) {
			at++
		}
		d.take(members[at].id, p)
		give(members[at], p)
	}
}

// division counts who has how much while partitions are divided.
type division struct {
	readers                   map[sharePlace]int
	has                       map[string]int
	sharing, having           int
	extraSharing, extraHaving int // how many may still have one more
}

func (d *division) mayHave(member string) bool {
	return d.has[member] < d.having || d.has[member] == d.having && d.extraHaving > 0
}

// take gives a member a partition, if neither has enough.
func (d *division) take(member string, p sharePlace) bool {
	n := d.readers[p]
	if !d.mayHave(member) || n > d.sharing || n == d.sharing && d.extraSharing == 0 {
		return false
	}
	if n == d.sharing {
		d.extraSharing--
	}
	if d.has[member] == d.having {
		d.extraHaving--
	}
	d.readers[p]++
	d.has[member]++
	return true
}

// left is what is still to be taken: as many places as members may still have.
func (d *division) left(places []sharePlace) (out []sharePlace) {
	for n := range d.sharing {
		for _, p := range places {
			if d.readers[p] <= n {
				out = append(out, p)
			}
		}
	}
	more := d.extraSharing
	for _, p := range places {
		if more > 0 && d.readers[p] <= d.sharing {
			out = append(out, p)
			more--
		}
	}
	return out
}
