package simtest

import (
	"fmt"
	"slices"
	"strings"

	"slipstream/internal/guarantees"
)

// crew is a consumer group's members, who come and go.
type crew struct {
	run       *run
	name      string
	kind      crewKind
	protocols []string // of a classic group
	topics    []string
	committed bool // reads committed only
	pipeline  bool // consumes, transforms and produces, in transactions
	group     *guarantees.Group

	session, rebalance, heartbeat int64 // nanoseconds
	size                          int   // about so many members
	members                       []*member
	born                          int
	eventAt                       int64
	nudgeAt                       int64 // when nothing else happens any more
	events                        map[string]int
}

type crewKind int8

const (
	crewEager crewKind = iota
	crewCooperative
	crewConsumer // KIP-848
	crewMixed    // members of both protocols: the group is upgraded and downgraded while it lives
	crewKinds
)

func (r *run) newCrew(name string, kind crewKind, topics ...string) *crew {
	c := &crew{
		run: r, name: name, kind: kind, topics: topics, group: guarantees.NewGroup(name), events: map[string]int{},
		session: sessionNanos, rebalance: sessionNanos/2 + r.rand.Int64N(3*sessionNanos/2), heartbeat: sessionNanos / 5, size: 1 + r.rand.IntN(4),
	}
	c.protocols = [][]string{{"range"}, {"sticky"}}[r.rand.IntN(2)]
	if kind == crewMixed {
		c.group.MayRestart()
	}
	if kind == crewCooperative || kind == crewMixed && r.rand.IntN(2) == 0 {
		c.protocols = []string{"cooperative-sticky"}
	}
	return c
}

// mayVanish: the topic is one that is deleted now and then.
func (c *crew) mayVanish(topic string) bool { return c.run.truth.vanishing(topic) }

func (c *crew) step() error {
	for _, m := range c.members {
		if err := m.step(); err != nil {
			return err
		}
	}
	c.members = slices.DeleteFunc(c.members, func(m *member) bool {
		if m.speaks == nil && !m.dead { // has left
			m.die()
		}
		return m.dead
	})
	if c.run.quiet {
		if c.nudgeAt == 0 {
			c.nudgeAt = c.run.now() + 10e9
		}
		c.settleDown()
	} else if c.run.now() >= c.eventAt {
		c.eventAt = c.run.now() + 20e6 + c.run.rand.Int64N(2*eventNanos)
		c.event()
	}
	return nil
}

// settleDown: nobody sleeps, and somebody is there.
func (c *crew) settleDown() {
	for _, m := range c.members {
		m.asleep = 0
		if one, ok := m.speaks.(*classic); ok && one.settled() && c.run.now() >= c.nudgeAt {
			// A static leader that was away when a partition was added comes back to its old assignment, and nobody looks
			// after that any more, as in Kafka. It takes another join of the leader: of everyone, for who that is, the broker knows.
			one.again = true
			c.count("nudge")
		}
	}
	if c.run.now() >= c.nudgeAt {
		c.nudgeAt = c.run.now() + 10e9
	}
	if len(c.members) == 0 {
		c.hire()
	}
}

// event is what happens to a group in the life of an application.
func (c *crew) event() {
	if len(c.members) == 0 || len(c.members) < c.size && c.run.rand.IntN(2) == 0 {
		c.hire()
		return
	}
	m := c.members[c.run.rand.IntN(len(c.members))]
	switch n := c.run.rand.IntN(12); {
	case n < 2 && len(c.members) <= c.size:
		c.hire()
	case n < 4:
		c.count("crash")
		m.die()
	case n < 6:
		c.count("leave")
		m.quitting = true
	case n < 8:
		c.count("pause")
		m.asleep = m.now() + c.session/2 + c.run.rand.Int64N(2*c.session)
		if c.rebalance < c.session && c.run.rand.IntN(2) == 0 {
			// A rebalance may pass it over, and a static member is still one then, of an older generation.
			m.asleep = m.now() + c.rebalance + c.run.rand.Int64N(c.session-c.rebalance)
		}
	case n < 9:
		c.count("connection")
		m.coord.drop()
	}
}

func (c *crew) count(what string) {
	c.events[what]++
	c.group.Cause()
}

// leave has the member say good-bye, and do nothing else any more.
func (m *member) leave() {
	m.busy = true
	if !m.speaks.leave() {
		m.die()
		return
	}
	for _, s := range m.shares {
		s.gone = true
	}
	m.shares, m.speaks = nil, &goodbye{}
}

// goodbye waits for the answer to a request to leave.
type goodbye struct{}

func (g *goodbye) step() error   { return nil }
func (g *goodbye) leave() bool   { return false }
func (g *goodbye) settled() bool { return false }

func (c *crew) hire() {
	c.count("join")
	c.born++
	m := &member{crew: c, name: fmt.Sprintf("%s-m%d", c.name, c.born), topics: c.topics, fetchLimit: int16(11 + c.run.rand.IntN(7))}
	if c.run.rand.IntN(3) == 0 {
		if id := fmt.Sprintf("%s-i%d", c.name, c.run.rand.IntN(3)); !slices.ContainsFunc(c.members, func(o *member) bool { return o.name == id }) {
			m.name, m.instance = id, &id
		}
	}
	m.coord = link{run: c.run, kind: lookForGroup, key: c.name}
	m.data = link{run: c.run, kind: lookForNothing}
	switch kind := c.kind; {
	case kind == crewConsumer, kind == crewMixed && c.run.rand.IntN(2) == 0:
		r := &reconciling{m: m}
		if c.run.rand.IntN(4) == 0 {
			pattern := strings.Join(c.topics, "|")
			r.pattern = &pattern
		}
		if assignor := c.run.rand.IntN(3); assignor > 0 {
			r.assignor = &[]string{"uniform", "range"}[assignor-1]
		}
		m.memberID = fmt.Sprintf("%s-%d", m.name, c.born)
		m.speaks = r
	default:
		m.speaks = &classic{m: m, cooperative: c.protocols[0] == "cooperative-sticky", generation: -1}
	}
	if m.work = worker(&committer{m: m}); c.pipeline {
		m.work = newPipeline(m)
	}
	c.members = append(c.members, m)
}

// settled: everyone who is there is a member with nothing left to do.
func (c *crew) settled() bool {
	for _, m := range c.members {
		if !m.speaks.settled() || m.busy {
			return false
		}
	}
	return len(c.members) > 0
}
