package group

import "slices"

// memberRecord is what a member says of itself, as the log has it.
func memberRecord(g *group, id string, m *memberFacts) Record {
	v := &ConsumerGroupMemberMetadataValue{
		InstanceID: m.instance, RackID: m.rack, ClientID: m.clientID, ClientHost: m.clientHost, SubscribedTopicNames: m.topics,
		SubscribedTopicRegex: &m.regex, RebalanceTimeoutMillis: m.rebalance, ServerAssignor: m.assignor, Classic: m.classic,
	}
	return Record{Key{Type: TypeConsumerMember, Group: g.id, Name: id}, v}
}

func assignmentRecord(g *group, id string, m *memberFacts) Record {
	return Record{Key{Type: TypeConsumerMemberAssignment, Group: g.id, Name: id}, &ConsumerGroupCurrentMemberAssignmentValue{
		MemberEpoch: m.epoch, PreviousMemberEpoch: m.previous, State: int8(m.state),
		AssignedPartitions: m.assigned.records(true), PartitionsPendingRevocation: m.revoking.records(true),
	}}
}

func targetRecord(g *group, id string, a assignment) Record {
	return Record{Key{Type: TypeConsumerTargetMember, Group: g.id, Name: id}, &ConsumerGroupTargetAssignmentMemberValue{TopicPartitions: a.records(false)}}
}

func epochRecord(g *group, epoch int32, hash int64) Record {
	return Record{Key{Type: TypeConsumerGroup, Group: g.id}, &ConsumerGroupMetadataValue{Epoch: epoch, MetadataHash: hash}}
}

func targetEpochRecord(g *group, epoch int32, at int64) Record {
	return Record{Key{Type: TypeConsumerTarget, Group: g.id}, &ConsumerGroupTargetAssignmentMetadataValue{AssignmentEpoch: epoch, AssignmentTimestamp: at}}
}

func regexRecord(g *group, regex string, r *groupRegex) Record {
	return Record{Key{Type: TypeConsumerRegex, Group: g.id, Name: regex},
		&ConsumerGroupRegularExpressionValue{Topics: r.topics, Version: r.version, Timestamp: r.at}}
}

// memberTombstones say that a member is gone, in the order in which they must be
// read: what it has, what it is to have, itself.
func memberTombstones(g *group, id string) []Record {
	return []Record{
		{Key: Key{Type: TypeConsumerMemberAssignment, Group: g.id, Name: id}},
		{Key: Key{Type: TypeConsumerTargetMember, Group: g.id, Name: id}},
		{Key: Key{Type: TypeConsumerMember, Group: g.id, Name: id}},
	}
}

// consumerTombstones say that a consumer group is gone; none if there is none.
func (c *Coordinator) consumerTombstones(g *group) []Record {
	cg := g.consumer
	if cg == nil {
		return nil
	}
	var records []Record
	for _, t := range [...]RecordType{TypeConsumerMemberAssignment, TypeConsumerTargetMember} {
		for _, m := range cg.sorted {
			records = append(records, Record{Key: Key{Type: t, Group: g.id, Name: m.id}})
		}
	}
	records = append(records, Record{Key: Key{Type: TypeConsumerTarget, Group: g.id}})
	for _, m := range cg.sorted {
		records = append(records, Record{Key: Key{Type: TypeConsumerMember, Group: g.id, Name: m.id}})
	}
	for _, regex := range cg.regexNames() {
		records = append(records, Record{Key: Key{Type: TypeConsumerRegex, Group: g.id, Name: regex}})
	}
	if cg.oldPartitions {
		records = append(records, Record{Key: Key{Type: TypeConsumerPartitions, Group: g.id}})
	}
	return append(records, Record{Key: Key{Type: TypeConsumerGroup, Group: g.id}})
}

// applyConsumer is a record of a consumer group, as it comes from the log: while
// it is loaded, and while it is served. A value makes the group where there is
// none, or only one that was there for its offsets.
func (c *Coordinator) applyConsumer(k Key, v Value) {
	g := c.groups[k.Group]
	if v == nil {
		if g != nil && g.consumer != nil {
			c.applyConsumerTombstone(g, k)
		}
		return
	}
	if g == nil {
		g = c.place(k.Group)
	}
	if g.consumer == nil {
		if g.classic != nil {
			c.dropClassic(g)
		}
		g.consumer = newConsumerGroup(g)
	}
	cg := g.consumer
	switch v := v.(type) {
	case *ConsumerGroupMetadataValue:
		cg.epoch, cg.recordedHash = v.Epoch, v.MetadataHash
	case *ConsumerGroupPartitionMetadataValue:
		cg.oldPartitions = true
	case *ConsumerGroupMemberMetadataValue:
		next := c.factsOf(cg, k.Name)
		next.setMetadata(v)
		c.setMember(g, k.Name, next)
	case *ConsumerGroupTargetAssignmentMetadataValue:
		cg.assignmentEpoch, cg.assignedAt = v.AssignmentEpoch, v.AssignmentTimestamp
	case *ConsumerGroupTargetAssignmentMemberValue:
		cg.target[k.Name] = assignmentOf(v.TopicPartitions, 0, false)
	case *ConsumerGroupCurrentMemberAssignmentValue:
		next := c.factsOf(cg, k.Name)
		next.setAssignment(v)
		c.setMember(g, k.Name, next)
	case *ConsumerGroupRegularExpressionValue:
		c.setResolved(g, k.Name, v)
	}
}

// factsOf is what is known of a member so far.
func (c *Coordinator) factsOf(cg *consumerGroup, id string) memberFacts {
	if m := cg.members[id]; m != nil {
		return m.memberFacts
	}
	return memberFacts{rebalance: -1}
}

func (m *memberFacts) setMetadata(v *ConsumerGroupMemberMetadataValue) {
	m.instance, m.rack, m.clientID, m.clientHost = v.InstanceID, v.RackID, v.ClientID, v.ClientHost
	m.topics = slices.Clone(v.SubscribedTopicNames)
	slices.Sort(m.topics)
	m.topics = slices.Compact(m.topics)
	m.regex = orEmpty(v.SubscribedTopicRegex)
	m.rebalance, m.assignor, m.classic = v.RebalanceTimeoutMillis, v.ServerAssignor, v.Classic
}

func (m *memberFacts) setAssignment(v *ConsumerGroupCurrentMemberAssignmentValue) {
	m.epoch, m.previous, m.state = v.MemberEpoch, v.PreviousMemberEpoch, memberState(v.State)
	m.assigned = assignmentOf(v.AssignedPartitions, v.MemberEpoch, true)
	m.revoking = assignmentOf(v.PartitionsPendingRevocation, v.MemberEpoch, true)
}

func (c *Coordinator) applyConsumerTombstone(g *group, k Key) {
	cg := g.consumer
	m := cg.members[k.Name]
	switch k.Type {
	case TypeConsumerGroup:
		c.dropConsumer(g)
		c.sweep(g)
	case TypeConsumerPartitions:
		cg.oldPartitions = false
	case TypeConsumerMember:
		if m != nil {
			c.removeMember(g, m)
		}
	case TypeConsumerTarget:
		cg.assignmentEpoch, cg.assignedAt = -1, 0
	case TypeConsumerTargetMember:
		delete(cg.target, k.Name)
	case TypeConsumerMemberAssignment:
		if m != nil {
			next := m.memberFacts
			next.epoch, next.previous, next.state, next.assigned, next.revoking = leftEpoch, leftEpoch, stableMember, nil, nil
			c.setMember(g, k.Name, next)
		}
	case TypeConsumerRegex:
		c.setResolved(g, k.Name, nil)
	}
}

// write appends records of a consumer group and takes them into the state. It is
// false, and nothing has happened, if they are too much for a batch.
func (c *Coordinator) write(g *group, records ...Record) bool {
	if !c.append(g, records...) {
		return false
	}
	for _, r := range records {
		if r.Key.Type == TypeGroupMetadata {
			c.applyClassic(g, r.Value)
		} else {
			c.applyConsumer(r.Key, r.Value)
		}
		if r.Key.Type == TypeConsumerGroup && r.Value != nil {
			c.stats.ConsumerRebalances++
		}
	}
	return true
}

func (c *Coordinator) applyClassic(g *group, v Value) {
	if g.classic != nil {
		c.dropClassic(g)
	}
	if v, ok := v.(*GroupMetadataValue); ok {
		c.loadClassic(g, v)
	}
}
