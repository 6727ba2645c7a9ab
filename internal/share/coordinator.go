package share

import (
	"slices"
	"strings"

	"slipstream/protocol"
)

// Settings are Kafka's of the same names, share.coordinator.* before them.
type Settings struct {
	SnapshotUpdateRecords int   // share.coordinator.snapshot.update.records.per.snapshot
	ColdSnapshotMillis    int64 // share.coordinator.cold.partition.snapshot.interval.ms
	MaxBatchBytes         int   // max.message.bytes of the topic
}

// Action is what a request asks of a state.
type Action int8

// The actions, in the order of their keys.
const (
	Initialize  Action = iota // begin a state, or begin it anew
	Read                      // by the core that leads the partition; a newer leader epoch is noted
	ReadSummary               // without the batches, by whoever wants to know
	WriteState                // what has changed
	Delete
)

// Request is one about one share-partition: Kafka's keys 83 to 87, taken apart.
type Request struct {
	Token       uint64 // the driver's; comes back with the result
	Action      Action
	Key         Key
	StateEpoch  int32
	LeaderEpoch int32
	StartOffset int64
	// DeliveryCompleteCount and Batches are of a WriteState. The batches are copied.
	DeliveryCompleteCount int32
	Batches               []StateBatch
}

// Result is the answer to a request.
type Result struct {
	Token uint64
	Code  protocol.ErrorCode
	// Message is Kafka's text where it is not that of the code.
	Message string
	State   State // of a Read and, without batches, a ReadSummary; its batches are not to be changed
}

// RawRecord is one record of a batch; Value nil: a tombstone.
type RawRecord struct{ Key, Value []byte }

// Batch is records that are to be appended as one batch. Its memory is valid until
// Committed or Failed is told of it.
type Batch struct {
	Seq     uint64 // what Committed and Failed call it; rises by one
	Records []RawRecord
}

// Ready is what there is to do after an input. Its slices are valid until the next
// call of Ready.
type Ready struct {
	Batches        []Batch
	Results        []Result
	DeadlineMillis int64 // when Tick is to be called at the latest; 0: no need
	More           bool  // there are results beyond the limit, or more to tick
}

// Coordinator keeps the states of the share-partitions of one partition of
// __share_group_state. It belongs to one core. Like the group coordinator's, its state
// runs ahead of the log by the batches in flight; answers do not.
type Coordinator struct {
	settings Settings
	now      int64
	phase    phase
	states   map[Key]*kept
	sorted   []*kept // by key
	position int64   // the offset of the next record
	out      outbox

	removed []protocol.UUID // topics whose states are to go
	coldAt  int64           // when cold states are looked for; 0: not now
	coldKey Key             // where that has got to
	cooling bool

	purgeKey Key // where deleting the states of removed topics has got to
}

type phase int8

const (
	loading phase = iota
	active
	failed
	unloaded
)

// kept is a state with what is known of its records.
type kept struct {
	key Key
	State
	updates  int   // since the snapshot
	snapshot int64 // the offset of that
	seq      uint64
}

// NewCoordinator is a coordinator that is loading.
func NewCoordinator(s Settings) *Coordinator {
	return &Coordinator{settings: s, states: map[Key]*kept{}}
}

// SetSettings changes the settings, for what happens from now on.
func (c *Coordinator) SetSettings(s Settings) { c.settings = s }

// Replay takes a record of the log, which is at offset. A record of a type that is not
// known is passed over, with its error returned; any other error is damage.
func (c *Coordinator) Replay(offset int64, key, value []byte) error {
	c.position = max(c.position, offset+1)
	kind, k, err := parseKey(key)
	if err != nil {
		return err
	}
	if value == nil {
		c.forget(k)
		return nil
	}
	s, err := parseValue(kind, value)
	if err != nil {
		return err
	}
	if kind == snapshotType {
		c.takeSnapshot(k, s, offset)
	} else if t := c.states[k]; t != nil {
		t.takeUpdate(&s)
	}
	return nil
}

// Loaded ends the replay: the coordinator serves from now on.
func (c *Coordinator) Loaded(nowMillis int64) {
	c.now = max(c.now, nowMillis)
	if c.phase == loading {
		c.phase = active
		c.coldAt = c.now + c.settings.ColdSnapshotMillis
	}
}

// Unload ends the coordinator's life; batches in flight are still to be reported.
func (c *Coordinator) Unload() {
	c.refuseHeld(protocol.NOT_COORDINATOR)
	c.phase = unloaded
}

// Unfinished: a batch has failed, so that the state is ahead of the log for good; the
// coordinator is to be made anew and loaded.
func (c *Coordinator) Unfinished() bool { return c.phase == failed }

// Count is the number of share-partitions whose states are kept.
func (c *Coordinator) Count() int { return len(c.states) }

// Position is the offset of the next record: the log's end, when nothing is in flight.
func (c *Coordinator) Position() int64 { return c.position }

// PruneBefore is the offset that no state needs a record before.
func (c *Coordinator) PruneBefore() int64 {
	before := c.position
	for _, t := range c.sorted {
		before = min(before, t.snapshot)
	}
	return before
}

func (c *Coordinator) search(k Key) (int, bool) {
	return slices.BinarySearchFunc(c.sorted, k, func(t *kept, k Key) int { return compareKeys(t.key, k) })
}

func compareKeys(a, b Key) int {
	if n := strings.Compare(a.Group, b.Group); n != 0 {
		return n
	}
	if n := slices.Compare(a.Topic[:], b.Topic[:]); n != 0 {
		return n
	}
	return int(a.Partition) - int(b.Partition)
}

func (c *Coordinator) takeSnapshot(k Key, s State, offset int64) *kept {
	t := c.states[k]
	if t == nil {
		t = &kept{key: k}
		c.states[k] = t
		at, _ := c.search(k)
		c.sorted = slices.Insert(c.sorted, at, t)
	}
	t.State, t.updates, t.snapshot = s, 0, offset
	return t
}

// takeUpdate puts an update over a state.
func (t *kept) takeUpdate(u *State) {
	t.updates++
	t.LeaderEpoch = max(t.LeaderEpoch, u.LeaderEpoch)
	t.DeliveryCompleteCount = u.DeliveryCompleteCount
	if u.StartOffset != -1 {
		t.StartOffset = u.StartOffset
	}
	t.Batches = combine(t.Batches, u.Batches, t.StartOffset)
}

func (c *Coordinator) forget(k Key) {
	if c.states[k] == nil {
		return
	}
	delete(c.states, k)
	if at, ok := c.search(k); ok {
		c.sorted = slices.Delete(c.sorted, at, at+1)
	}
}

const (
	readUninitialized  = "Read operation on uninitialized share partition not allowed."
	writeUninitialized = "Write operation on uninitialized share partition not allowed."
)

// Step takes a request. Its result comes by Ready, when what it says is in the log.
func (c *Coordinator) Step(nowMillis int64, r Request) {
	c.now = max(c.now, nowMillis)
	switch c.phase {
	case loading:
		c.refuse(r, protocol.COORDINATOR_LOAD_IN_PROGRESS, "")
		return
	case failed, unloaded:
		c.refuse(r, protocol.NOT_COORDINATOR, "")
		return
	}
	t := c.states[r.Key]
	switch r.Action {
	case Initialize:
		c.initialize(r, t)
	case Read:
		c.read(r, t)
	case ReadSummary:
		c.summary(r, t)
	case WriteState:
		c.write(r, t)
	case Delete:
		c.delete(r, t)
	}
}

func (c *Coordinator) initialize(r Request, t *kept) {
	s := State{StateEpoch: r.StateEpoch, StartOffset: r.StartOffset, CreateTimestamp: c.now, WriteTimestamp: c.now}
	if r.StartOffset == -1 {
		s.DeliveryCompleteCount = -1
	}
	if t != nil {
		if t.StateEpoch > r.StateEpoch {
			c.refuse(r, protocol.FENCED_STATE_EPOCH, "")
			return
		}
		s.SnapshotEpoch = t.SnapshotEpoch + 1
	}
	c.writeSnapshot(r.Key, s)
	c.answer(r, Result{})
}

func (c *Coordinator) read(r Request, t *kept) {
	switch {
	case t == nil:
		c.refuse(r, protocol.INVALID_REQUEST, readUninitialized)
		return
	case r.LeaderEpoch != -1 && r.LeaderEpoch < t.LeaderEpoch:
		c.refuse(r, protocol.FENCED_LEADER_EPOCH, "")
		return
	case r.LeaderEpoch > t.LeaderEpoch:
		u := State{SnapshotEpoch: t.SnapshotEpoch, LeaderEpoch: r.LeaderEpoch, StartOffset: t.StartOffset, DeliveryCompleteCount: t.DeliveryCompleteCount}
		c.writeUpdate(t, u)
	}
	c.answer(r, Result{State: t.State})
}

func (c *Coordinator) summary(r Request, t *kept) {
	if t == nil {
		c.answer(r, Result{State: State{StartOffset: -1, DeliveryCompleteCount: -1}})
		return
	}
	s := t.State
	s.Batches = nil
	c.answer(r, Result{State: s})
}

func (c *Coordinator) write(r Request, t *kept) {
	switch {
	case t == nil:
		c.refuse(r, protocol.INVALID_REQUEST, writeUninitialized)
		return
	case r.LeaderEpoch != -1 && r.LeaderEpoch < t.LeaderEpoch:
		c.refuse(r, protocol.FENCED_LEADER_EPOCH, "")
		return
	case r.StateEpoch != -1 && r.StateEpoch < t.StateEpoch:
		c.refuse(r, protocol.FENCED_STATE_EPOCH, "")
		return
	case !ordered(r.Batches) || !c.fits(r, t):
		c.refuse(r, protocol.INVALID_REQUEST, "")
		return
	}
	u := State{
		SnapshotEpoch: t.SnapshotEpoch, LeaderEpoch: t.LeaderEpoch, StartOffset: r.StartOffset,
		DeliveryCompleteCount: r.DeliveryCompleteCount, Batches: slices.Clone(r.Batches),
	}
	if t.updates >= c.settings.SnapshotUpdateRecords {
		next := kept{State: t.State}
		next.takeUpdate(&u)
		next.SnapshotEpoch++
		next.WriteTimestamp = c.now
		c.writeSnapshot(r.Key, next.State)
	} else {
		c.writeUpdate(t, u)
	}
	c.answer(r, Result{})
}

// fits: the state can be written as one record whatever comes of it.
func (c *Coordinator) fits(r Request, t *kept) bool {
	return (2*len(r.Batches)+len(t.Batches))*batchBytes+len(r.Key.Group)+recordOverhead+batchOverhead <= c.settings.MaxBatchBytes
}

func (c *Coordinator) delete(r Request, t *kept) {
	if t != nil {
		c.append(RawRecord{Key: appendKey(nil, snapshotType, r.Key)})
		c.forget(r.Key)
	}
	c.answer(r, Result{})
}

// writeSnapshot and writeUpdate write a record and make its state the state.
func (c *Coordinator) writeSnapshot(k Key, s State) {
	offset := c.position
	seq := c.append(RawRecord{appendKey(nil, snapshotType, k), appendSnapshot(nil, &s)})
	c.takeSnapshot(k, s, offset).seq = seq
}

func (c *Coordinator) writeUpdate(t *kept, u State) {
	t.seq = c.append(RawRecord{appendKey(nil, updateType, t.key), appendUpdate(nil, &u)})
	t.WriteTimestamp = c.now
	t.takeUpdate(&u)
}

// TopicRemoved says that a topic is gone, and with it all states of its partitions; they
// are deleted in Work.
func (c *Coordinator) TopicRemoved(id protocol.UUID) {
	if c.phase == active && len(c.states) > 0 {
		c.removed = append(c.removed, id)
		c.purgeKey = Key{}
	}
}

// Work does a piece of the work that Ready speaks of.
func (c *Coordinator) Work(nowMillis int64) {
	c.now = max(c.now, nowMillis)
	if c.phase != active || len(c.removed) == 0 {
		return
	}
	at, _ := c.search(c.purgeKey)
	for n := 0; n < statesATick && at < len(c.sorted); n++ {
		t := c.sorted[at]
		if !slices.Contains(c.removed, t.key.Topic) {
			at++
			continue
		}
		c.append(RawRecord{Key: appendKey(nil, snapshotType, t.key)})
		c.forget(t.key)
	}
	if at >= len(c.sorted) {
		c.removed = nil
		return
	}
	c.purgeKey = c.sorted[at].key
}

// statesATick is how many states a Tick or a Work looks at.
const statesATick = 500

// Tick writes snapshots of states that were not written to for long, so that the
// records before them are not needed any more (PruneBefore). It does so where that is
// worth the snapshots.
func (c *Coordinator) Tick(nowMillis int64) {
	c.now = max(c.now, nowMillis)
	if c.phase != active || c.coldAt == 0 || c.now < c.coldAt {
		return
	}
	at := 0
	if c.cooling {
		at, _ = c.search(c.coldKey)
	}
	for end := min(at+statesATick, len(c.sorted)); at < end; at++ {
		t := c.sorted[at]
		if c.now-t.WriteTimestamp < c.settings.ColdSnapshotMillis || c.position-t.snapshot <= 2*int64(len(c.sorted)) {
			continue
		}
		s := t.State
		s.SnapshotEpoch++
		s.WriteTimestamp = c.now
		c.writeSnapshot(t.key, s)
	}
	if c.cooling = at < len(c.sorted); c.cooling {
		c.coldKey = c.sorted[at].key
		return
	}
	c.coldAt = c.now + c.settings.ColdSnapshotMillis
}
