package broker

import (
	"slipstream/internal/group"
	"slipstream/internal/share"
	"slipstream/protocol"
)

// The group coordinator's errands: share-partitions' states are begun or deleted where
// they are kept, and whoever serves them on the core of the data forgets what it knew.

// errandsAtOnce is how many states one errand has under way.
const errandsAtOnce = 64

// shareErrand is an errand on its way.
type shareErrand struct {
	machine *groupMachine
	errand  group.ShareErrand
	codes   []protocol.ErrorCode
	next    int // the partition to begin next
	left    int
}

// runErrands sends what the group coordinator wants done.
func (m *groupMachine) runErrands(errands []group.ShareErrand) {
	for _, e := range errands {
		run := &shareErrand{machine: m, errand: e, codes: make([]protocol.ErrorCode, len(e.Partitions)), left: len(e.Partitions)}
		m.of.shard.needInternalTopic(shareGroupState, func(code protocol.ErrorCode) {
			if code != protocol.NONE {
				run.finish(code)
				return
			}
			for range min(errandsAtOnce, len(e.Partitions)) {
				run.step()
			}
		})
	}
}

// finish ends an errand that cannot even begin.
func (e *shareErrand) finish(code protocol.ErrorCode) {
	for i := range e.codes {
		e.codes[i] = code
	}
	e.left = 0
	e.report()
}

// step begins with the next partition.
func (e *shareErrand) step() {
	if e.next == len(e.codes) {
		return
	}
	i := e.next
	e.next++
	s, p := e.machine.of.shard, e.errand.Partitions[i]
	r := share.Request{
		Action: share.Initialize, Key: share.Key{Group: e.errand.Group, Topic: p.Topic, Partition: p.Partition},
		StateEpoch: e.errand.StateEpoch, LeaderEpoch: -1, StartOffset: p.StartOffset,
	}
	if e.errand.Action == group.DeleteShares {
		r.Action = share.Delete
	}
	s.insistOnShareState(r, func(result share.Result) {
		e.codes[i] = result.Code
		key := partitionKey{p.Topic, p.Partition}
		owner := s.broker.shards[s.broker.ownerOf(key)]
		s.askCore(owner, func(back func()) {
			owner.shares.forget(sharePartitionKey{e.errand.Group, key})
			back()
		}, e.stepped)
	})
}

func (e *shareErrand) stepped() {
	if e.left--; e.left == 0 {
		e.report()
		return
	}
	e.step()
}

// report tells the coordinator; should it have been made anew meanwhile, nobody waits.
func (e *shareErrand) report() {
	m := e.machine
	if m.of.machine != machine(m) {
		return
	}
	m.groups.ErrandDone(m.of.shard.coordinating.millis(), e.errand.ID, e.codes)
	m.of.mark()
}

// shareMembersLeft ends the share sessions of members that have left their groups.
func (m *groupMachine) shareMembersLeft(left []group.ShareMember) {
	s := m.of.shard
	for _, member := range left {
		key := share.SessionKey{Group: member.Group, Member: member.Member}
		owner := s.broker.shards[s.shareSessionsOf(key)]
		s.tellCore(owner, func() { owner.shares.endSession(key) })
	}
}
