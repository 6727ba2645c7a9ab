package group

import (
	"bytes"
	"slices"

	"slipstream/protocol"
)

// ShareAction is what is to be done with kept states.
type ShareAction int8

// The actions.
const (
	InitializeShares ShareAction = iota // begin states, at their start offsets
	DeleteShares
)

// ShareErrand is something to be done with the kept states of share-partitions, before
// a group can go on. Whatever the group has of these partitions anywhere is void: who
// serves them begins anew with what is kept then.
type ShareErrand struct {
	ID         uint64
	Action     ShareAction
	Group      string
	StateEpoch int32
	Partitions []SharePartition
}

// SharePartition is one partition of an errand.
type SharePartition struct {
	Topic       protocol.UUID
	Partition   int32
	StartOffset int64 // -1: to be found out when it is first read
}

// errandPartitions is how many states one errand makes; the group makes more with the
// next.
const errandPartitions = 1000

func (s *shareGroups) takeErrands() []ShareErrand {
	s.errands, s.errandsOut = s.errandsOut[:0], s.errands
	return s.errandsOut
}

func (s *shareGroups) takeLeft() []ShareMember {
	s.left, s.leftOut = s.leftOut[:0], s.left
	return s.leftOut
}

// send sends an errand once everything that is written of the group is in the log.
func (c *Coordinator) send(sg *shareGroup, e ShareErrand, done func(c *Coordinator, codes []protocol.ErrorCode)) {
	s := &c.shares
	s.errand++
	e.ID, e.Group = s.errand, sg.id
	if s.inHand == nil {
		s.inHand = map[uint64]func(*Coordinator, []protocol.ErrorCode){}
	}
	s.inHand[e.ID] = done
	c.whenCommitted(&sg.group, func(c *Coordinator) { c.shares.errands = append(c.shares.errands, e) })
}

// ErrandDone reports an errand: an error for each of its partitions.
func (c *Coordinator) ErrandDone(nowMillis int64, id uint64, codes []protocol.ErrorCode) {
	c.advance(nowMillis)
	if done := c.shares.inHand[id]; done != nil {
		delete(c.shares.inHand, id)
		done(c, codes)
	}
}

// makeStates sends for the states of partitions that members want and that have none.
func (c *Coordinator) makeStates(sg *shareGroup) {
	want := c.stateless(sg)
	if len(want) == 0 {
		return
	}
	next := *sg.states
	next.InitializingTopics = added(next.InitializingTopics, want)
	if !c.writeShare(sg, shareStatesRecord(sg, &next)) {
		sg.retryAt = c.now + int64(c.settings.ShareInitializeRetryMillis)
		return
	}
	sg.making = true
	e := ShareErrand{Action: InitializeShares, StateEpoch: sg.epoch}
	for _, t := range want {
		for _, p := range t.Partitions {
			e.Partitions = append(e.Partitions, SharePartition{t.TopicID, p, -1})
		}
	}
	c.send(sg, e, func(c *Coordinator, codes []protocol.ErrorCode) { c.statesMade(sg, e.Partitions, codes) })
}

// stateless are partitions that members want and that have no state, at most as many
// as an errand takes.
func (c *Coordinator) stateless(sg *shareGroup) (out []ShareTopicPartitions) {
	room := errandPartitions
	for _, name := range subscribedNames(sg) {
		t, ok := c.topics.TopicByName(name)
		if !ok || room == 0 {
			continue
		}
		have := partitionsOf(sg.states.InitializedTopics, t.ID)
		if len(have) >= int(t.Partitions) {
			continue
		}
		missing := ShareTopicPartitions{TopicID: t.ID, TopicName: t.Name}
		for p := int32(0); p < t.Partitions && room > 0; p++ {
			if _, ok := slices.BinarySearch(have, p); !ok {
				missing.Partitions = append(missing.Partitions, p)
				room--
			}
		}
		out = append(out, missing)
	}
	return out
}

func subscribedNames(sg *shareGroup) []string {
	names := make([]string, 0, len(sg.subscribed))
	for name := range sg.subscribed {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// statesMade takes in what came of making states.
func (c *Coordinator) statesMade(sg *shareGroup, asked []SharePartition, codes []protocol.ErrorCode) {
	sg.making = false
	if c.shares.byID[sg.id] != sg || c.phase != active {
		return
	}
	next := *sg.states
	made := false
	for i, p := range asked {
		name := nameOf(next.InitializingTopics, p.Topic)
		if name == "" {
			name = nameOf(next.InitializedTopics, p.Topic)
		}
		one := []ShareTopicPartitions{{TopicID: p.Topic, TopicName: name, Partitions: []int32{p.Partition}}}
		if codes[min(i, len(codes)-1)] != protocol.NONE || name == "" {
			sg.retryAt = c.now + int64(c.settings.ShareInitializeRetryMillis)
			continue
		}
		next.InitializingTopics = taken(next.InitializingTopics, one)
		next.InitializedTopics = added(next.InitializedTopics, one)
		made = true
	}
	if made {
		c.writeShare(sg, shareStatesRecord(sg, &next), shareEpochRecord(sg, sg.epoch+1, sg.recordedHash))
	}
	c.progressShare(sg)
}

func compareTopicIDs(t ShareTopicPartitions, id protocol.UUID) int {
	return bytes.Compare(t.TopicID[:], id[:])
}

func partitionsOf(topics []ShareTopicPartitions, id protocol.UUID) []int32 {
	if i, ok := slices.BinarySearchFunc(topics, id, compareTopicIDs); ok {
		return topics[i].Partitions
	}
	return nil
}

func nameOf(topics []ShareTopicPartitions, id protocol.UUID) string {
	if i, ok := slices.BinarySearchFunc(topics, id, compareTopicIDs); ok {
		return topics[i].TopicName
	}
	return ""
}

// added is a list with more partitions; lists are by topic id, and are not changed.
func added(topics, more []ShareTopicPartitions) []ShareTopicPartitions {
	out := slices.Clone(topics)
	for _, m := range more {
		i, ok := slices.BinarySearchFunc(out, m.TopicID, compareTopicIDs)
		if !ok {
			out = slices.Insert(out, i, ShareTopicPartitions{TopicID: m.TopicID, TopicName: m.TopicName})
		}
		parts := append(slices.Clone(out[i].Partitions), m.Partitions...)
		slices.Sort(parts)
		out[i].Partitions = slices.Compact(parts)
	}
	return out
}

// taken is a list without some partitions.
func taken(topics, less []ShareTopicPartitions) []ShareTopicPartitions {
	out := slices.Clone(topics)
	for _, l := range less {
		i, ok := slices.BinarySearchFunc(out, l.TopicID, compareTopicIDs)
		if !ok {
			continue
		}
		out[i].Partitions = slices.DeleteFunc(slices.Clone(out[i].Partitions), func(p int32) bool { return slices.Contains(l.Partitions, p) })
		if len(out[i].Partitions) == 0 {
			out = slices.Delete(out, i, i+1)
		}
	}
	return out
}

// inOrder is what the log has of a group's states, with its lists in order.
func (v *ShareGroupStatePartitionMetadataValue) inOrder() *ShareGroupStatePartitionMetadataValue {
	out := *v
	out.InitializingTopics, out.InitializedTopics = added(nil, v.InitializingTopics), added(nil, v.InitializedTopics)
	return &out
}

// forgetShares takes topics that are gone out of what groups have states of. The
// states themselves go by themselves.
type forgetShares struct {
	topics []Topic
	at     int
}

func (f *forgetShares) run(c *Coordinator, units int) (used int, done bool) {
	for ; used < units && f.at < len(c.shares.sorted); f.at++ {
		sg := c.shares.sorted[f.at]
		used += 5 + 5*len(f.topics)
		next := *sg.states
		for _, t := range f.topics {
			gone := func(s ShareTopicPartitions) bool { return s.TopicID == t.ID }
			next.InitializingTopics = slices.DeleteFunc(slices.Clone(next.InitializingTopics), gone)
			next.InitializedTopics = slices.DeleteFunc(slices.Clone(next.InitializedTopics), gone)
		}
		if len(next.InitializingTopics) != len(sg.states.InitializingTopics) || len(next.InitializedTopics) != len(sg.states.InitializedTopics) {
			c.writeShare(sg, shareStatesRecord(sg, &next))
			used += 50
		}
	}
	return used, f.at >= len(c.shares.sorted)
}
