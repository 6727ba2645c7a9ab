package group

import (
	"fmt"
	"slices"
)

// Check says what of the coordinator contradicts itself; nil: nothing does. It
// looks at everything, so it is for tests: the simulator calls it after each turn
// of a core. What must hold between two states (epochs only grow, who was given
// what) is seen from outside.
func (c *Coordinator) Check() error {
	if c.phase != active {
		return nil
	}
	if len(c.groups) != len(c.sorted) {
		return fmt.Errorf("%d groups, %d in order", len(c.groups), len(c.sorted))
	}
	for i, t := range c.timers.heap {
		if t.index != i+1 || t.key > t.deadline || i > 0 && c.timers.less(t, c.timers.heap[(i-1)/2]) {
			return fmt.Errorf("timer %d of %d is not where it belongs", i, len(c.timers.heap))
		}
	}
	kept := int64(0)
	asleep := slices.ContainsFunc(c.jobs.queue, func(j job) bool { _, is := j.(*wakeUp); return is })
	for i, g := range c.sorted {
		if i > 0 && c.sorted[i-1].id >= g.id || c.groups[g.id] != g {
			return fmt.Errorf("group %q is not in its place", g.id)
		}
		if err := c.checkGroup(g, asleep); err != nil {
			return fmt.Errorf("group %q: %w", g.id, err)
		}
		kept += g.kept()
	}
	if kept != c.account.bytes {
		return fmt.Errorf("members keep %d bytes, counted are %d", kept, c.account.bytes)
	}
	return nil
}

// kept counts again what the group's members keep.
func (g *group) kept() (n int64) {
	if g.classic != nil {
		for m := range g.classic.members.all() {
			n += protocolBytes(m.protocols)
		}
	}
	if g.consumer != nil {
		for _, m := range g.consumer.sorted {
			n += m.bytes()
		}
	}
	return n
}

func (c *Coordinator) checkGroup(g *group, asleep bool) error {
	switch {
	case g.classic != nil && g.consumer != nil:
		return fmt.Errorf("it is both a classic and a consumer group")
	case !g.exists() && g.offsets.none():
		return fmt.Errorf("there is nothing to keep it for")
	case g.batch > c.out.seq:
		return fmt.Errorf("its newest batch is %d, the newest of all is %d", g.batch, c.out.seq)
	}
	for _, p := range g.offsets.pending {
		if !slices.Contains(c.txns.groups[p.producerID], g) {
			return fmt.Errorf("producer %d has offsets pending that its transaction's end will not find", p.producerID)
		}
	}
	if g.classic != nil {
		return g.classic.check(asleep)
	}
	if g.consumer != nil {
		return g.consumer.check(asleep)
	}
	return nil
}

// check counts again what is kept up to date. asleep: the timers of what was loaded
// are still to be armed.
func (cg *classicGroup) check(asleep bool) error {
	joining, syncing, n, support := 0, 0, 0, map[string]int{}
	for m := range cg.members.all() {
		n++
		if m.join != nil {
			joining++
		}
		if m.unsynced {
			syncing++
		}
		for _, p := range m.protocols {
			support[p.Name]++
		}
		switch {
		case cg.members.byID[m.id] != m:
			return fmt.Errorf("member %s is not found by its id", m.id)
		case m.instance != nil && cg.static[*m.instance] != m:
			return fmt.Errorf("member %s is not found by its instance id %s", m.id, *m.instance)
		case !asleep && !m.session.armed() && !m.alive():
			return fmt.Errorf("nothing ends the session of member %s", m.id)
		case m.join != nil && cg.state != preparingRebalance:
			return fmt.Errorf("member %s waits for others to join, and the group is %v", m.id, cg.state)
		case m.sync != nil && cg.state != completingRebalance:
			return fmt.Errorf("member %s waits for its assignment, and the group is %v", m.id, cg.state)
		}
	}
	switch {
	case n != cg.members.count():
		return fmt.Errorf("%d members by id, %d in order", cg.members.count(), n)
	case joining != cg.joining || syncing != cg.syncing || !equalCounts(support, cg.support):
		return fmt.Errorf("%d joining, %d syncing, protocols %v; counted are %d, %d, %v", cg.joining, cg.syncing, cg.support, joining, syncing, support)
	case n > 0 && cg.state != preparingRebalance && cg.members.byID[cg.leader] == nil:
		return fmt.Errorf("%q leads and is no member", cg.leader)
	case (n == 0) != (cg.state == classicEmpty) && cg.state != preparingRebalance:
		return fmt.Errorf("it is %v with %d members", cg.state, n)
	case !asleep && cg.state == preparingRebalance && !cg.joinTimer.armed():
		return fmt.Errorf("nothing ends its rebalance")
	case !asleep && cg.state == completingRebalance && !cg.syncTimer.armed() && cg.syncing > 0:
		return fmt.Errorf("nothing ends the wait for its assignment")
	}
	return nil
}

func equalCounts(a, b map[string]int) bool {
	if len(a) != len(b) {
		return false
	}
	for k, n := range a {
		if b[k] != n {
			return false
		}
	}
	return true
}

// check: a partition has one owner and is to be one member's, nobody is ahead of
// the group, and what is kept up to date is what would be counted.
func (cg *consumerGroup) check(asleep bool) error {
	if len(cg.members) != len(cg.sorted) {
		return fmt.Errorf("%d members by id, %d in order", len(cg.members), len(cg.sorted))
	}
	if cg.assignmentEpoch > cg.epoch {
		return fmt.Errorf("its assignment is of epoch %d, the group is at %d", cg.assignmentEpoch, cg.epoch)
	}
	stable := map[int32]int{}
	for _, m := range cg.sorted {
		switch {
		case cg.members[m.id] != m:
			return fmt.Errorf("member %s is not found by its id", m.id)
		case m.epoch > cg.epoch:
			return fmt.Errorf("member %s is at epoch %d, the group at %d", m.id, m.epoch, cg.epoch)
		case !asleep && !m.session.armed():
			return fmt.Errorf("nothing ends the session of member %s", m.id)
		case !asleep && m.state == unrevokedPartitions && m.classic == nil && m.epoch >= 0 && !m.rebalance.armed():
			return fmt.Errorf("nothing ends the wait for member %s to give up partitions", m.id)
		case m.state == unrevokedPartitions && m.epoch >= 0 && m.revoking.count() == 0:
			return fmt.Errorf("member %s is to give up partitions, and there are none", m.id)
		}
		if m.state == stableMember {
			stable[m.epoch]++
		}
	}
	for epoch, n := range stable {
		if cg.stable[epoch] != n {
			return fmt.Errorf("%d members are stable at epoch %d, counted are %d", cg.stable[epoch], epoch, n)
		}
	}
	if err := cg.checkOwners(); err != nil {
		return err
	}
	return cg.checkTarget()
}

func (cg *consumerGroup) checkOwners() error {
	owners := map[owner]*consumerMember{}
	for _, m := range cg.sorted {
		for _, a := range [...]assignment{m.assigned, m.revoking} {
			for _, part := range a {
				for _, p := range part.partitions {
					o := owner{part.topic, p}
					if other, taken := owners[o]; taken {
						return fmt.Errorf("%v is %s's and %s's", o, other.id, m.id)
					}
					owners[o] = m
					if cg.owners.of(part.topic, p) != m {
						return fmt.Errorf("%v is %s's, and is taken for another's", o, m.id)
					}
				}
			}
		}
	}
	if n := cg.owners.count + len(cg.owners.odd); n != len(owners) {
		return fmt.Errorf("%d partitions have owners, counted are %d", n, len(owners))
	}
	return nil
}

// checkTarget: a finished target gives each partition to one member. While one is
// being computed members that are gone may still be in the last.
func (cg *consumerGroup) checkTarget() error {
	if cg.job != nil || cg.epoch > cg.assignmentEpoch {
		return nil
	}
	targets := map[owner]string{}
	for id, a := range cg.target {
		for _, part := range a {
			for _, p := range part.partitions {
				o := owner{part.topic, p}
				if other, taken := targets[o]; taken {
					return fmt.Errorf("%v is to be %s's and %s's", o, min(id, other), max(id, other))
				}
				targets[o] = id
			}
		}
	}
	return nil
}
