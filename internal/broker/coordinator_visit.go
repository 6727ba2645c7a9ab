package broker

import (
	"slipstream/protocol"
	"slipstream/reactor"
)

// coordinatorVisit carries a question to the core that leads a partition of an
// internal topic, and its answer home.
type coordinatorVisit struct {
	home, owner *Shard
	key         partitionKey
	ask         func(c *coordinated, back func())
	done        func(code protocol.ErrorCode)
	code        protocol.ErrorCode
	returning   bool
}

// visitCoordinator runs ask on the core that leads the partition of key, with the
// coordinator serving, and done on this core after ask has called back, which it
// does once, there, at once or later. Where no coordinator serves, ask is not run, and
// done has the reason: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS.
func (s *Shard) visitCoordinator(of *internalTopic, key string, ask func(c *coordinated, back func()), done func(protocol.ErrorCode)) {
	k, ok := s.partitionOf(of, key)
	if !ok {
		done(protocol.NOT_COORDINATOR)
		return
	}
	s.visitCoordinatorAt(k, ask, done)
}

// visitCoordinatorAt is visitCoordinator for a partition.
func (s *Shard) visitCoordinatorAt(k partitionKey, ask func(c *coordinated, back func()), done func(protocol.ErrorCode)) {
	v := &coordinatorVisit{home: s, owner: s.broker.shards[s.broker.ownerOf(k)], key: k, ask: ask, done: done}
	if v.owner == s {
		v.arrive()
		return
	}
	s.core.Send(v.owner.core, v)
}

// Deliver implements reactor.Message, both ways.
func (v *coordinatorVisit) Deliver(*reactor.Core) {
	if v.returning {
		v.done(v.code)
		return
	}
	v.arrive()
}

func (v *coordinatorVisit) arrive() {
	h := v.owner.hosted[v.key]
	if h == nil || h.coordinated == nil {
		v.code = protocol.NOT_COORDINATOR
		v.back()
		return
	}
	c := h.coordinated
	if v.code = c.code(); v.code != protocol.NONE {
		v.back()
		return
	}
	v.ask(c, v.back)
	c.mark()
}

func (v *coordinatorVisit) back() {
	v.returning = true
	if v.owner == v.home {
		v.done(v.code)
		return
	}
	v.owner.core.Send(v.home.core, v)
}

// visitCoordinators is visitCoordinatorAt for every partition of an internal topic
// in order; finish is called when all are done. The topic may be missing.
func (s *Shard) visitCoordinators(of *internalTopic, ask func(c *coordinated, back func()), done func(partition int32, code protocol.ErrorCode), finish func()) {
	t := s.topicsByName[of.name]
	if t == nil {
		finish()
		return
	}
	left := t.partitions + 1
	ended := func() {
		if left--; left == 0 {
			finish()
		}
	}
	for i := range int32(t.partitions) {
		s.visitCoordinatorAt(partitionKey{t.id, i}, ask, func(code protocol.ErrorCode) {
			done(i, code)
			ended()
		})
	}
	ended()
}
