package group

import (
	"slices"

	"slipstream/protocol"
)

// upgrade makes a consumer group of a classic one that has members, for a member
// that speaks the consumer protocol: the generation becomes the epoch, what the
// members have and what they are to have is what the leader last assigned. They
// stay in their places and are told to join again.
func (c *Coordinator) upgrade(g *group) *refusal {
	cg := g.classic
	cannot := func(why string) *refusal {
		return refusef(protocol.GROUP_ID_NOT_FOUND, "Cannot upgrade classic group %s to consumer group because %s", g.id, why)
	}
	switch {
	case !c.settings.ConsumerMigrationPolicy.upgrades():
		return cannot("online upgrade is disabled.")
	case !cg.isConsumer():
		return cannot("the group does not use the consumer embedded protocol.")
	case cg.members.count() > int(c.settings.ConsumerMaxSize):
		return cannot("the group size exceeds the consumer group maximum size.")
	case cg.members.count() == int(c.settings.ConsumerMaxSize): // no room for who comes
		return refusef(protocol.GROUP_MAX_SIZE_REACHED, "The consumer group has reached its maximum capacity of %d members.", c.settings.ConsumerMaxSize)
	}
	records, refused := c.upgradeRecords(g)
	if refused != nil {
		return refused
	}
	if !c.append(g, records...) {
		return &refusal{code: protocol.UNKNOWN_SERVER_ERROR}
	}
	settled := cg.state == classicStable
	for m := range cg.members.all() {
		c.answerJoin(g, m, m.id, protocol.REBALANCE_IN_PROGRESS)
		c.answerSync(g, m, protocol.REBALANCE_IN_PROGRESS)
	}
	for _, r := range records {
		if r.Key.Type == TypeGroupMetadata {
			c.dropClassic(g)
		} else {
			c.applyConsumer(r.Key, r.Value)
		}
	}
	g.consumer.unsettled = !settled
	for _, m := range g.consumer.sorted {
		c.keepSession(g, m)
	}
	return nil
}

// upgradeRecords are a classic group's tombstone and everything of the consumer
// group that takes its place.
func (c *Coordinator) upgradeRecords(g *group) ([]Record, *refusal) {
	cg := g.classic
	malformed := refusef(protocol.GROUP_ID_NOT_FOUND,
		"Cannot upgrade classic group %s to consumer group because the embedded consumer protocol is malformed.", g.id)
	type upgraded struct {
		id    string
		facts memberFacts
		had   assignment
	}
	var members []upgraded
	var changes []change
	for m := range cg.members.all() {
		chosen := ""
		if cg.protocol != nil {
			chosen = *cg.protocol
		}
		metadata := m.metadata(chosen)
		if metadata == nil { // it came after the last generation
			metadata = m.protocols[0].Metadata
		}
		s, err := parseSubscription(metadata)
		if err != nil {
			return nil, malformed
		}
		lists, err := parseAssignment(m.assignment)
		if err != nil {
			return nil, malformed
		}
		f := memberFacts{instance: m.instance, clientID: m.clientID, clientHost: m.clientHost, rebalance: m.rebalanceMillis,
			epoch: cg.generation, previous: cg.generation, assigned: topicIDs(c.topics, lists).at(cg.generation),
			classic: &ClassicMemberMetadata{SessionTimeoutMillis: m.sessionMillis, SupportedProtocols: m.protocols}}
		if s.rack != nil && *s.rack != "" {
			f.rack = s.rack
		}
		f.setTopics(s.topics)
		members = append(members, upgraded{m.id, f, topicIDs(c.topics, s.owned)})
	}
	members = dropShared(members, func(u *upgraded) *assignment { return &u.facts.assigned })
	given := map[owner]bool{}
	for i := range members {
		members[i].facts.assigned.each(func(o owner) { given[o] = true })
	}
	for i := range members {
		members[i].facts.revokes(members[i].had, given)
	}
	var records []Record
	if cg.recorded {
		records = append(records, Record{Key: Key{Type: TypeGroupMetadata, Group: g.id}})
	}
	for i := range members {
		records = append(records, memberRecord(g, members[i].id, &members[i].facts))
		changes = append(changes, change{next: &members[i].facts})
	}
	records = append(records, epochRecord(g, cg.generation, c.hashAfter(newConsumerGroup(g), changes...)))
	for i := range members {
		records = append(records, targetRecord(g, members[i].id, members[i].facts.assigned))
	}
	records = append(records, targetEpochRecord(g, cg.generation, 0))
	for i := range members {
		records = append(records, assignmentRecord(g, members[i].id, &members[i].facts))
	}
	return records, nil
}

// revokes notes what a member had when it joined the last generation and was not assigned
// again: by a cooperative protocol it is giving that up now, and joins again when it has.
// given are all members' partitions. (Kafka's upgrade forgets it, and gives to who comes
// what the member is still committing.)
func (f *memberFacts) revokes(had assignment, given map[owner]bool) {
	for _, t := range had {
		left := topicAssignment{topic: t.topic}
		for _, p := range t.partitions {
			if o := (owner{t.topic, p}); !given[o] {
				given[o] = true
				left.partitions, left.epochs = append(left.partitions, p), append(left.epochs, f.epoch)
			}
		}
		if len(left.partitions) > 0 {
			f.revoking, f.state = append(f.revoking, left), unrevokedPartitions
		}
	}
}

// dropShared takes partitions that a leader has given to two members from all but
// the first: in a consumer group a partition has one owner.
func dropShared[T any](members []T, of func(*T) *assignment) []T {
	taken := map[owner]bool{}
	for i := range members {
		a := of(&members[i])
		var out assignment
		for _, t := range *a {
			part := topicAssignment{topic: t.topic}
			for k, p := range t.partitions {
				if o := (owner{t.topic, p}); !taken[o] {
					taken[o] = true
					part.take(t, k)
				}
			}
			if len(part.partitions) > 0 {
				out = append(out, part)
			}
		}
		*a = out
	}
	return members
}

// downgradesWithout: these members spoke the consumer protocol, everyone else does
// not, and the policy and the sizes let the group become a classic one.
func (c *Coordinator) downgradesWithout(cg *consumerGroup, gone []*consumerMember) bool {
	for _, m := range gone {
		if m.classic != nil {
			return false
		}
	}
	left := len(cg.members) - len(gone)
	return left > 0 && cg.classics == left && c.settings.ConsumerMigrationPolicy.downgrades() && left <= int(c.settings.MaxSize)
}

// downgradesWith: m, which spoke the consumer protocol, was the last that did.
func (c *Coordinator) downgradesWith(cg *consumerGroup, m *consumerMember) bool {
	return m.classic == nil && cg.classics == len(cg.members)-1 &&
		c.settings.ConsumerMigrationPolicy.downgrades() && len(cg.members) <= int(c.settings.MaxSize)
}

// downgrade makes a classic group of a consumer group, without some members. What
// they are to have is what a leader would have assigned. The others join again if
// there is something to rebalance.
func (c *Coordinator) downgrade(g *group, gone []*consumerMember, rebalance bool) *refusal {
	old := g.consumer
	cg := newClassicGroup(c, g)
	cg.state, cg.generation, cg.protocolType = classicStable, old.epoch, consumerProtocolType
	leaves := map[string]bool{}
	for _, m := range gone {
		leaves[m.id] = true
	}
	for _, m := range old.sorted {
		if leaves[m.id] {
			continue
		}
		member := &classicMember{id: m.id, instance: m.instance, clientID: m.clientID, clientHost: m.clientHost,
			rebalanceMillis: m.memberFacts.rebalance, sessionMillis: m.classic.SessionTimeoutMillis, protocols: m.classic.SupportedProtocols}
		member.session.fire = func(c *Coordinator) { c.expireSession(g, member) }
		cg.add(member, consumerProtocolType)
	}
	chosen := cg.choose()
	cg.protocol = &chosen
	for m := range cg.members.all() {
		version, err := protocolVersion(m.metadata(chosen))
		if err != nil {
			return refusef(protocol.GROUP_ID_NOT_FOUND, "Cannot downgrade the classic group %s: %s.", g.id, err)
		}
		m.assignment = assignmentBytes(c.topics, old.target[m.id], version)
	}
	cg.subscription.stale()
	cg.recorded = true
	records := append(c.consumerTombstones(g), Record{Key{Type: TypeGroupMetadata, Group: g.id}, cg.record()})
	if !c.append(g, records...) {
		return &refusal{code: protocol.UNKNOWN_SERVER_ERROR}
	}
	c.dropConsumer(g)
	c.adopt(g, cg)
	for m := range cg.members.all() {
		c.timers.arm(&m.session, c.now+int64(m.sessionMillis))
	}
	if rebalance {
		c.prepareRebalance(g)
	}
	return nil
}

// downgradeFor makes a classic group because a static member has come back with
// the classic protocol and was the last that spoke the other. Members that were on
// their way to their targets are told to join again: nothing else would tell them
// that there is something to get. (Kafka does so only for who comes.)
func (c *Coordinator) downgradeFor(g *group, j *classicJoin) {
	m := g.consumer.members[j.id]
	if !j.subscribed {
		if refused := c.reconcile(g, m, false, j.own); refused != nil {
			c.finishJoin(g, j)
			return
		}
	}
	answer := joinedConsumer(m, j.version)
	underWay := slices.ContainsFunc(g.consumer.sorted, func(m *consumerMember) bool { return !m.assigned.samePartitions(g.consumer.target[m.id]) })
	if refused := c.downgrade(g, nil, j.subscribed || underWay); refused != nil {
		c.finishJoin(g, j)
		return
	}
	c.respondTo(g, j.token, answer)
}
