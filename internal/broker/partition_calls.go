package broker

import (
	"slipstream/protocol"
	"slipstream/reactor"
)

// spread carries a control-plane question about many partitions to the cores
// that own them and back. It is how ListOffsets and OffsetForLeaderEpoch reach
// their partitions.
type spread struct {
	home    *Shard
	visits  []spreadVisit // by core
	ask     func(owner *Shard, part int, done func())
	finish  func()
	pending int
}

// spreadVisit is one core's share.
type spreadVisit struct {
	of    *spread
	owner *Shard
	parts []int
	left  int
	back  bool
}

// newSpread prepares a question. ask runs on the core that owns part and calls
// done there, at once or later; finish runs at home when all parts are done.
func newSpread(home *Shard, ask func(owner *Shard, part int, done func()), finish func()) *spread {
	sp := &spread{home: home, ask: ask, finish: finish, visits: make([]spreadVisit, len(home.broker.shards))}
	for i, s := range home.broker.shards {
		sp.visits[i] = spreadVisit{of: sp, owner: s}
	}
	return sp
}

func (sp *spread) add(key partitionKey, part int) {
	v := &sp.visits[sp.home.broker.ownerOf(key)]
	v.parts = append(v.parts, part)
}

func (sp *spread) start() {
	sp.pending = 1
	for i := range sp.visits {
		v := &sp.visits[i]
		if len(v.parts) == 0 {
			continue
		}
		sp.pending++
		if v.owner == sp.home {
			v.arrive()
		} else {
			sp.home.core.Send(v.owner.core, v)
		}
	}
	sp.returned()
}

// Deliver implements reactor.Message, both ways.
func (v *spreadVisit) Deliver(*reactor.Core) {
	if v.back {
		v.of.returned()
		return
	}
	v.arrive()
}

func (v *spreadVisit) arrive() {
	v.left = len(v.parts) + 1
	for _, part := range v.parts {
		v.of.ask(v.owner, part, v.done)
	}
	v.done()
}

func (v *spreadVisit) done() {
	v.left--
	if v.left > 0 {
		return
	}
	v.back = true
	if v.owner == v.of.home {
		v.of.returned()
		return
	}
	v.owner.core.Send(v.of.home.core, v)
}

func (sp *spread) returned() {
	sp.pending--
	if sp.pending == 0 {
		sp.finish()
	}
}

// checkLeaderEpoch compares the leader epoch that a client believes in with the
// partition's; -1 is no belief.
func checkLeaderEpoch(believed, current int32) protocol.ErrorCode {
	switch {
	case believed < 0 || believed == current:
		return protocol.NONE
	case believed < current:
		return protocol.FENCED_LEADER_EPOCH
	}
	return protocol.UNKNOWN_LEADER_EPOCH
}
