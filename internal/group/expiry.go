package group

// startExpiry begins to look for offsets that have outlived
// offsets.retention.minutes, and for groups that nothing is left of.
func (c *Coordinator) startExpiry() {
	c.timers.arm(&c.expiry, c.now+max(c.settings.OffsetsRetentionCheckMillis, 1))
	c.jobs.add(&expiry{})
}

// expiry is one look at all groups.
type expiry struct{ walk }

func (e *expiry) run(c *Coordinator, units int) (used int, done bool) {
	for used < units {
		g := e.next(c)
		if g == nil {
			return used, true
		}
		used += 5
		if g.exists() {
			used += c.expire(g)
		}
	}
	return used, false
}

// expire removes the group's offsets that are too old, and the group itself if
// that leaves nothing of it.
func (c *Coordinator) expire(g *group) (used int) {
	since, expires := g.retention()
	if !expires {
		return 1
	}
	var records []Record
	all := true
	for _, name := range g.offsets.table.names() {
		reads := g.subscribes(name)
		for i := range g.offsets.table[name].list {
			o := &g.offsets.table[name].list[i]
			used += 2
			if !reads && c.outlived(o, since) && !g.offsets.unstable(name, o.partition) {
				records = append(records, Record{Key: offsetKey(g, name, o.partition)})
			} else {
				all = false
			}
		}
	}
	if len(records) > 0 {
		used += 10 * len(records)
		for len(records) > 0 {
			n := min(1000, len(records))
			if !c.append(g, records[:n]...) {
				return used
			}
			c.applyTombstones(g, records[:n])
			c.stats.OffsetsExpired += uint64(n)
			records = records[n:]
		}
	}
	if all && len(g.offsets.pending) == 0 && g.empty() && g.nobodyPending() && c.append(g, c.groupTombstones(g)...) {
		c.drop(g)
	}
	c.sweep(g)
	return used
}

func (g *group) nobodyPending() bool { return g.classic == nil || len(g.classic.pending.byID) == 0 }

// retention says from when the group's offsets age: since the group has been
// empty, or else (-1) each since it was committed. Those of a group that reads we
// do not know what do not age while it has members.
func (g *group) retention() (since int64, expires bool) {
	cg := g.classic
	switch {
	case cg == nil || cg.protocolType == "":
		return -1, true
	case cg.state == classicEmpty:
		return cg.since, true
	case cg.state == classicStable && cg.isConsumer() && cg.knowsSubscription():
		return -1, true
	}
	return 0, false
}

// outlived: the client may have said itself how long an offset lives.
func (c *Coordinator) outlived(o *committed, since int64) bool {
	if o.expires != -1 {
		return c.now >= o.expires
	}
	if since < 0 {
		since = o.at
	}
	return c.now-since >= c.settings.OffsetsRetentionMillis
}

// TopicsChanged says that the image has moved. created and changed are topics
// that are new or have more partitions; deleted those that are gone.
func (c *Coordinator) TopicsChanged(nowMillis int64, created, changed []string, deleted []Topic) {
	c.advance(nowMillis)
	if c.phase != active {
		return
	}
	if len(created) > 0 {
		c.newTopic = c.topics.Version()
	}
	for _, name := range created {
		c.refreshSubscribers(name)
	}
	for _, name := range changed {
		c.refreshSubscribers(name)
	}
	for _, t := range deleted {
		c.refreshSubscribers(t.Name)
	}
	if len(deleted) > 0 {
		c.jobs.add(&forget{topics: append([]Topic{}, deleted...)})
		c.jobs.add(&forgetShares{topics: append([]Topic{}, deleted...)})
	}
}

// forget removes the offsets of topics that are gone.
type forget struct {
	walk
	topics []Topic
}

func (f *forget) run(c *Coordinator, units int) (used int, done bool) {
	for used < units {
		g := f.next(c)
		if g == nil {
			return used, true
		}
		used += 5 + len(f.topics)
		for _, t := range f.topics {
			used += c.forget(g, t)
		}
		c.sweep(g)
	}
	return used, false
}

// forget removes a topic's offsets from one group, but not those of a new topic
// that has its name.
func (c *Coordinator) forget(g *group, t Topic) (used int) {
	var records []Record
	add := func(of *topicOffsets) {
		if of == nil {
			return
		}
		for _, o := range of.list {
			if o.topicID == t.ID || o.topicID == [16]byte{} {
				records = append(records, Record{Key: offsetKey(g, t.Name, o.partition)})
			}
		}
	}
	add(g.offsets.table[t.Name])
	for _, p := range g.offsets.pending {
		add(p.table[t.Name])
	}
	used = 10 * len(records)
	for len(records) > 0 {
		n := min(1000, len(records))
		if !c.append(g, records[:n]...) {
			return used
		}
		c.applyTombstones(g, records[:n])
		records = records[n:]
	}
	return used
}
