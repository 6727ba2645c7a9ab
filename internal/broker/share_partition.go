package broker

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"slipstream/internal/config"
	"slipstream/internal/metadata"
	"slipstream/internal/share"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Share-partitions live on the core that leads the data's partition. One is made when
// a member first fetches from it, from the state that is kept of it, and forgotten when
// somebody else changes that, or when its topic goes. So there are no more than there are
// states.
//
//	fetch, acknowledge, close ---> share.Partition ---> write ---> the core that keeps the state
//	      the lock's timer ------>      |    ^                          |
//	                                    v    +----- written ------------+
//	                              answers, and whoever waits for records is woken

// sharePartitionKey names a share-partition inside the broker.
type sharePartitionKey struct {
	group string
	of    partitionKey
}

// sharePartition is a share-partition on the core of its data.
type sharePartition struct {
	shard   *Shard
	key     sharePartitionKey
	hosted  *hosted
	machine *share.Partition // nil while its state is being read
	gone    bool
	loads   []func(protocol.ErrorCode) // who waits for it

	timer    reactor.Timer
	deadline int64

	token uint64
	acks  map[uint64]func(protocol.ErrorCode)

	waiters   shareWaiters // fetches that wait for records
	queued    bool         // they are looked at when the turn ends
	logWaiter storage.Waiter
}

// sharing is what a core has of share groups: share-partitions of its data, and the
// sessions of the members that belong to it.
type sharing struct {
	shard      *Shard
	inForce    *ShareSettings // nil: to be read anew
	partitions map[sharePartitionKey]*sharePartition
	sessions   *share.Sessions
	counts     ShareCounts
	fetching   list[shareFetchOp, *shareFetchOp]  // under way
	unanswered queue[shareFetchOp, *shareFetchOp] // responses that found the arena full
	woken      []wokenShare
	waking     bool                   // a message to this core is under way, so that there is a next turn
	opened     map[*reactor.Conn]bool // connections of this core that have begun sessions
}

func (g *sharing) init(s *Shard) {
	g.shard = s
	g.partitions = make(map[sharePartitionKey]*sharePartition)
	g.opened = make(map[*reactor.Conn]bool)
}

// settings are those in force.
func (g *sharing) settings() *ShareSettings {
	if g.inForce == nil {
		read := g.shard.broker.settings.Topics.Shares(g.shard.brokerConfigs())
		g.inForce = &read
	}
	return g.inForce
}

// configure has the settings read anew.
func (g *sharing) configure() { g.inForce = nil }

// groupText is a setting of a group's own, "" if it has none.
func (g *sharing) groupText(group, name string) string {
	text, _ := g.shard.image.Config(metadata.Resource{Type: metadata.ResourceGroup, Name: group}, name)
	return strings.TrimSpace(text)
}

// limits are what a group's share-partitions go by.
func (g *sharing) limits(group string) share.Limits {
	l := g.settings().Limits
	if len(g.shard.image.Configs(metadata.Resource{Type: metadata.ResourceGroup, Name: group})) == 0 {
		return l
	}
	number := func(name string, otherwise int64) int64 {
		n, err := strconv.ParseInt(g.groupText(group, name), 10, 32)
		if err != nil {
			return otherwise
		}
		return n
	}
	l.LockMillis = int32(number("share.record.lock.duration.ms", int64(l.LockMillis)))
	l.DeliveryCountLimit = int16(number("share.delivery.count.limit", int64(l.DeliveryCountLimit)))
	l.MaxRecordLocks = int32(number("share.partition.max.record.locks", int64(l.MaxRecordLocks)))
	l.NoRenewals = !g.renews(group)
	return l
}

// committed says whether a group reads committed records only.
func (g *sharing) committed(group string) bool {
	return strings.EqualFold(g.groupText(group, "share.isolation.level"), "read_committed")
}

// renews says whether members of a group may renew their locks.
func (g *sharing) renews(group string) bool {
	return !strings.EqualFold(g.groupText(group, "share.renew.acknowledge.enable"), "false")
}

// get finds a share-partition, made and loaded if need be. If it is not there yet, it
// returns nil and calls then when it is, or cannot be had; code says why it cannot be
// had at all.
func (g *sharing) get(key sharePartitionKey, then func(protocol.ErrorCode)) (*sharePartition, protocol.ErrorCode) {
	sp := g.partitions[key]
	if sp != nil && sp.machine != nil {
		return sp, protocol.NONE
	}
	if sp != nil {
		sp.loads = append(sp.loads, then)
		return nil, protocol.NONE
	}
	h := g.shard.hosted[key.of]
	if h == nil || h.log == nil {
		if g.shard.topics[key.of.topic] == nil {
			return nil, protocol.UNKNOWN_TOPIC_ID
		}
		return nil, hostless(h)
	}
	sp = &sharePartition{shard: g.shard, key: key, hosted: h, acks: make(map[uint64]func(protocol.ErrorCode)), loads: []func(protocol.ErrorCode){then}}
	sp.logWaiter.Owner = sp
	g.partitions[key] = sp
	sp.load()
	return nil, protocol.NONE
}

func (sp *sharePartition) stateKey() share.Key {
	return share.Key{Group: sp.key.group, Topic: sp.key.of.topic, Partition: sp.key.of.partition}
}

// load reads the state, and finds out where to begin if it does not say.
func (sp *sharePartition) load() {
	r := share.Request{Action: share.Read, Key: sp.stateKey(), LeaderEpoch: sp.hosted.leaderEpoch}
	sp.shard.insistOnShareState(r, func(result share.Result) {
		switch {
		case sp.gone:
			sp.loaded(protocol.NOT_LEADER_OR_FOLLOWER)
		case result.Code != protocol.NONE:
			sp.drop(share.PersisterError(result.Code))
		case result.State.StartOffset >= 0:
			sp.begin(result.State, result.State.StartOffset)
		default:
			sp.findStart(result.State)
		}
	})
}

// findStart finds where a group begins by share.auto.offset.reset.
func (sp *sharePartition) findStart(state share.State) {
	offsets := sp.hosted.log.Offsets()
	reset, _ := config.ParseOffsetReset(sp.shard.shares.groupText(sp.key.group, "share.auto.offset.reset"))
	switch {
	case reset.Earliest:
		sp.begin(state, offsets.LogStart)
	case reset.Age == 0:
		sp.begin(state, offsets.HighWatermark)
	default:
		q := &listedOffset{key: sp.key.of, believed: -1, answer: &kmsg.ListOffsetsResponseTopicPartition{Offset: -1}}
		q.timestamp = max(time.UnixMilli(sp.shard.core.Wall/1e6).Add(-reset.Age).UnixMilli(), 0)
		sp.shard.listOffset(q, func() {
			start := q.answer.Offset
			if start < 0 {
				start = sp.hosted.log.Offsets().HighWatermark
			}
			sp.begin(state, start)
		})
	}
}

func (sp *sharePartition) begin(state share.State, start int64) {
	if sp.gone {
		sp.loaded(protocol.NOT_LEADER_OR_FOLLOWER)
		return
	}
	sp.machine = share.NewPartition(sp.now(), sp.shard.shares.limits(sp.key.group), state, start)
	sp.loaded(protocol.NONE)
	sp.pump()
}

func (sp *sharePartition) loaded(code protocol.ErrorCode) {
	loads := sp.loads
	sp.loads = nil
	for _, then := range loads {
		then(code)
	}
}

func (sp *sharePartition) now() int64 { return sp.shard.coordinating.millis() }

// forget drops a share-partition: its state has been changed by somebody else.
func (g *sharing) forget(key sharePartitionKey) {
	if sp := g.partitions[key]; sp != nil {
		sp.drop(protocol.NOT_LEADER_OR_FOLLOWER)
	}
}

// forgetTopic drops the share-partitions of a topic that is gone.
func (g *sharing) forgetTopic(id protocol.UUID) {
	var gone []*sharePartition
	for key, sp := range g.partitions {
		if key.of.topic == id {
			gone = append(gone, sp)
		}
	}
	slices.SortFunc(gone, func(a, b *sharePartition) int {
		return cmp.Or(cmp.Compare(a.key.of.partition, b.key.of.partition), cmp.Compare(a.key.group, b.key.group))
	})
	for _, sp := range gone {
		sp.drop(protocol.UNKNOWN_TOPIC_ID)
	}
}

// forgetPartition drops the share-partitions of a partition that is out of service.
func (g *sharing) forgetPartition(key partitionKey) {
	var gone []*sharePartition
	for of, sp := range g.partitions {
		if of.of == key {
			gone = append(gone, sp)
		}
	}
	slices.SortFunc(gone, func(a, b *sharePartition) int { return cmp.Compare(a.key.group, b.key.group) })
	for _, sp := range gone {
		sp.drop(protocol.KAFKA_STORAGE_ERROR)
	}
}

// drop ends a share-partition: who waits for it is told code.
func (sp *sharePartition) drop(code protocol.ErrorCode) {
	if sp.gone {
		return
	}
	sp.gone = true
	delete(sp.shard.shares.partitions, sp.key)
	sp.shard.core.Cancel(&sp.timer)
	if sp.hosted.log != nil {
		sp.hosted.log.Unwait(&sp.logWaiter)
	}
	if sp.machine == nil {
		sp.loaded(code)
		return
	}
	sp.machine.Fence(code)
	sp.answer()
	for sp.waiters.head != nil {
		sp.waiters.head.part.visit.wake()
	}
}

// acknowledge gives the machine what a member says of its records; done is called when
// that is written, or refused.
func (sp *sharePartition) acknowledge(member string, batches []share.AcknowledgementBatch, done func(protocol.ErrorCode)) {
	sp.token++
	sp.acks[sp.token] = done
	sp.machine.SetLimits(sp.shard.shares.limits(sp.key.group))
	sp.machine.LogStart(sp.hosted.log.Offsets().LogStart)
	if code, answered := sp.machine.Acknowledge(sp.now(), sp.token, member, batches); answered {
		delete(sp.acks, sp.token)
		done(code)
	}
	sp.pump()
}

// release takes back what a member has that is gone.
func (sp *sharePartition) release(member string) {
	sp.machine.Release(sp.now(), member)
	sp.pump()
}

// pump does what the machine wants done after an input.
func (sp *sharePartition) pump() {
	if sp.gone {
		return
	}
	if w, ok := sp.machine.NextWrite(); ok {
		sp.write(w)
	}
	sp.answer()
	if code := sp.machine.Fenced(); code != protocol.NONE {
		sp.drop(code)
		return
	}
	sp.arm()
	sp.notify()
}

// write has a write kept.
func (sp *sharePartition) write(w share.Write) {
	r := share.Request{
		Action: share.WriteState, Key: sp.stateKey(), StateEpoch: w.StateEpoch, LeaderEpoch: sp.hosted.leaderEpoch,
		StartOffset: w.StartOffset, DeliveryCompleteCount: w.DeliveryCompleteCount, Batches: w.Batches,
	}
	sp.shard.insistOnShareState(r, func(result share.Result) {
		if result.Code != protocol.NONE {
			sp.shard.broker.log.Warn("the state of a share-partition could not be written", "group", sp.key.group,
				"topic", sp.hosted.topic.name, "partition", sp.key.of.partition, "error", result.Code)
		}
		sp.machine.Written(sp.now(), w.Seq, result.Code)
		sp.pump()
	})
}

func (sp *sharePartition) answer() {
	for _, a := range sp.machine.Answers() {
		done := sp.acks[a.Token]
		delete(sp.acks, a.Token)
		done(a.Code)
	}
}

// arm has the timer fire when the first lock ends.
func (sp *sharePartition) arm() {
	deadline := sp.machine.Deadline()
	if deadline == sp.deadline && (deadline == 0 || sp.timer.Armed()) {
		return
	}
	sp.deadline = deadline
	if deadline == 0 {
		sp.shard.core.Cancel(&sp.timer)
		return
	}
	sp.shard.core.After(max(deadline-sp.now(), 0)*1e6, &sp.timer, sp)
}

// Fire implements reactor.TimerHandler: locks have ended.
func (sp *sharePartition) Fire(*reactor.Timer) {
	sp.machine.Tick(sp.now())
	sp.pump()
}

// visibleEnd is the offset after the last record that the group may read.
func (sp *sharePartition) visibleEnd() int64 {
	o := sp.hosted.log.Offsets()
	if sp.shard.shares.committed(sp.key.group) {
		return min(o.LastStable, o.HighWatermark)
	}
	return o.HighWatermark
}

// available says whether there is something that might be acquired.
func (sp *sharePartition) available() bool {
	next, ok := sp.machine.NextFetchOffset()
	return ok && next < sp.visibleEnd()
}

// notify sees to it that one of those who wait is woken, when the turn ends, if there is
// something to be had. Who has been woken asks again, and what it leaves wakes the next.
func (sp *sharePartition) notify() {
	switch {
	case sp.waiters.head == nil || sp.queued:
	case sp.available():
		sp.queued = true
		sp.shard.shares.wokenLater(sp, nil)
	default:
		sp.hosted.log.Wait(&sp.logWaiter)
	}
}

// wakeFirst wakes who has waited longest, if there still is something.
func (sp *sharePartition) wakeFirst() {
	sp.queued = false
	switch {
	case sp.gone || sp.waiters.head == nil:
	case sp.available():
		sp.waiters.head.part.visit.wake()
	default:
		sp.hosted.log.Wait(&sp.logWaiter)
	}
}

// Woken implements storage.WaiterOwner: the log has grown, or is gone. It is being
// walked: who waits is looked at when that is over.
func (sp *sharePartition) Woken(*storage.Waiter) {
	if !sp.queued {
		sp.queued = true
		sp.shard.shares.wokenLater(sp, nil)
	}
}

// wokenLater has those woken at the end of the turn for whom there is something.
func (g *sharing) wokenLater(sp *sharePartition, v *shareVisit) {
	g.woken = append(g.woken, wokenShare{sp, v})
}

// wokenShare is a share-partition whose log has grown, or a visit whose plan is made.
type wokenShare struct {
	sp    *sharePartition
	visit *shareVisit
}

// endTurn wakes whom the turn's writes are for, and tries again what found no memory. It
// reports whether it woke anybody: what follows from that is for its next call.
func (g *sharing) endTurn() bool {
	n := len(g.woken)
	for i := range n {
		if w := g.woken[i]; w.visit != nil {
			w.visit.wake()
		} else {
			w.sp.wakeFirst()
		}
	}
	left := copy(g.woken, g.woken[n:])
	clear(g.woken[left:])
	g.woken = g.woken[:left]
	for ops := g.unanswered.take(); ops.head != nil; {
		op := ops.pop()
		op.then(op)
	}
	return n > 0
}

// waitForTurn sees to it that who is still to be woken is, in a next turn.
func (g *sharing) waitForTurn() {
	if len(g.woken) > 0 && !g.waking {
		g.waking = true
		g.shard.core.Send(g.shard.core, g)
	}
}

// Deliver implements reactor.Message: the next turn has come.
func (g *sharing) Deliver(*reactor.Core) {
	g.waking = false
}
