package group

// classicRecordVersion is the version of GroupMetadataValue that Kafka 4.3 writes.
const classicRecordVersion = 3

// wakeClassic arms the timers of a group that was loaded.
func (c *Coordinator) wakeClassic(g *group) {
	cg := g.classic
	for m := range cg.members.all() {
		if !m.session.armed() {
			c.timers.arm(&m.session, c.now+int64(m.sessionMillis))
		}
	}
	if (cg.members.count() > int(c.settings.MaxSize) || cg.unsettled) && cg.state == classicStable {
		c.prepareRebalance(g)
	}
}

// record appends a group's record.
func (c *Coordinator) record(g *group, v *GroupMetadataValue) bool {
	if !c.append(g, Record{Key{Type: TypeGroupMetadata, Group: g.id}, v}) {
		return false
	}
	g.classic.recorded = true
	return true
}

// head is the group as the log has it, without its members.
func (cg *classicGroup) head() *GroupMetadataValue {
	v := &GroupMetadataValue{
		Version: classicRecordVersion, ProtocolType: cg.protocolType, Generation: cg.generation,
		Protocol: cg.protocol, CurrentStateTimestamp: cg.since,
	}
	if cg.leader != "" {
		leader := cg.leader
		v.Leader = &leader
	}
	return v
}

// record is the group as the log has it.
func (cg *classicGroup) record() *GroupMetadataValue {
	v := cg.head()
	v.Members = make([]GroupMetadataMember, 0, cg.members.count())
	for m := range cg.members.all() {
		v.Members = append(v.Members, m.record(cg.protocol))
	}
	return v
}

// record is a member as the log has it; protocol is the group's, nil: it has none.
func (m *classicMember) record(protocol *string) GroupMetadataMember {
	v := GroupMetadataMember{
		MemberID: m.id, GroupInstanceID: m.instance, ClientID: m.clientID, ClientHost: m.clientHost,
		RebalanceTimeoutMillis: m.rebalanceMillis, SessionTimeoutMillis: m.sessionMillis, Assignment: m.assignment,
	}
	if protocol != nil {
		v.Subscription = m.metadata(*protocol)
	}
	return v
}

// load makes the group what a record says.
func (c *Coordinator) loadClassic(g *group, v *GroupMetadataValue) {
	cg := newClassicGroup(c, g)
	cg.generation, cg.protocolType, cg.protocol = v.Generation, v.ProtocolType, v.Protocol
	for i := range v.Members {
		cg.add(c.loadedMember(g, cg, &v.Members[i]), v.ProtocolType)
	}
	cg.leader = ""
	if v.Leader != nil {
		cg.leader = *v.Leader
	}
	if len(v.Members) > 0 {
		cg.state = classicStable
	}
	cg.since = v.CurrentStateTimestamp
	cg.subscription.stale()
	cg.recorded = true
	c.adopt(g, cg)
}

func (c *Coordinator) loadedMember(g *group, cg *classicGroup, v *GroupMetadataMember) *classicMember {
	m := &classicMember{
		id: v.MemberID, instance: v.GroupInstanceID, clientID: v.ClientID, clientHost: v.ClientHost,
		rebalanceMillis: v.RebalanceTimeoutMillis, sessionMillis: v.SessionTimeoutMillis, assignment: v.Assignment,
		missed: true,
	}
	if m.rebalanceMillis == -1 {
		m.rebalanceMillis = m.sessionMillis
	}
	if cg.protocol != nil {
		m.protocols = []ClassicProtocol{{Name: *cg.protocol, Metadata: v.Subscription}}
	}
	m.session.fire = func(c *Coordinator) { c.expireSession(g, m) }
	if old := cg.members.byID[m.id]; old != nil { // the log never names a member twice
		c.removeClassicMember(cg, old)
	}
	return m
}
