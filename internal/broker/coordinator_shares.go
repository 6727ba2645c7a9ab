package broker

import (
	"slipstream/internal/share"
	"slipstream/protocol"
	"slipstream/reactor"
)

// shareMachine drives share.Coordinator for one partition of __share_group_state.
type shareMachine struct {
	of      *coordinated
	states  *share.Coordinator
	waiting map[uint64]func(share.Result)
	token   uint64
	pruneAt int64 // when the log is shortened next; 0: it has just been loaded
}

func newShareMachine(c *coordinated) machine {
	m := &shareMachine{of: c, waiting: make(map[uint64]func(share.Result))}
	m.states = share.NewCoordinator(m.settings())
	return m
}

func (m *shareMachine) settings() share.Settings {
	out := m.of.shard.shares.settings().Coordinator
	out.MaxBatchBytes = int(m.of.hosted.topic.settings.MaxMessageBytes)
	return out
}

func (m *shareMachine) configure() { m.states.SetSettings(m.settings()) }

// step takes a request; answer gets the result on this core, once.
func (m *shareMachine) step(r share.Request, answer func(share.Result)) {
	m.token++
	r.Token = m.token
	m.waiting[m.token] = answer
	m.states.Step(m.of.shard.coordinating.millis(), r)
}

func (m *shareMachine) ready(now int64) machineReady {
	r := m.states.Ready(answersATurn)
	out := machineReady{deadlineMillis: r.DeadlineMillis, more: r.More}
	if r.DeadlineMillis != 0 { // it serves
		m.prune(now)
		out.deadlineMillis = min(r.DeadlineMillis, m.pruneAt)
	}
	stamp := m.of.shard.core.Wall / 1e6
	for _, b := range r.Batches {
		records := make([]protocol.Record, len(b.Records))
		for i, raw := range b.Records {
			records[i] = protocol.Record{Timestamp: stamp, Key: raw.Key, Value: raw.Value}
		}
		out.batches = append(out.batches, machineBatch{seq: b.Seq, records: records, producerID: -1, producerEpoch: -1})
	}
	for _, result := range r.Results {
		answer := m.waiting[result.Token]
		delete(m.waiting, result.Token)
		answer(result)
	}
	return out
}

// prune deletes the records that no state needs any more: the log is not compacted.
func (m *shareMachine) prune(now int64) {
	every := m.of.shard.shares.settings().PruneMillis
	due := m.pruneAt != 0 && now >= m.pruneAt
	if m.pruneAt == 0 || due {
		m.pruneAt = now + every
	}
	if !due || m.of.flying > 0 || m.states.Position() != m.of.offsets().LogEnd {
		return
	}
	before := m.states.PruneBefore()
	if before <= m.of.offsets().LogStart {
		return
	}
	if _, code := m.of.hosted.log.DeleteRecords(before); code != protocol.NONE {
		m.of.shard.broker.log.Warn("the log of share groups' states could not be shortened",
			"partition", m.of.hosted.key.partition, "before", before, "error", code)
	}
}

func (m *shareMachine) replay(r *loadedRecord) error {
	if r.marker {
		return nil
	}
	return share.IgnoreUnknown(m.states.Replay(r.offset, r.key, r.value))
}

func (m *shareMachine) loaded(now int64)                  { m.states.Loaded(now) }
func (m *shareMachine) tick(now int64)                    { m.states.Tick(now) }
func (m *shareMachine) work(now int64)                    { m.states.Work(now) }
func (m *shareMachine) broken() bool                      { return m.states.Unfinished() }
func (m *shareMachine) resign(int64)                      { m.states.Unload() }
func (m *shareMachine) committed(now int64, seq uint64)   { m.states.Committed(now, seq) }
func (m *shareMachine) endTransaction(int64, int64, bool) {}

func (m *shareMachine) failed(now int64, seq uint64, code protocol.ErrorCode) {
	m.states.Failed(now, seq, code)
}

func (m *shareMachine) topicsChanged(_ int64, t *topicChanges) {
	for _, topic := range t.removed {
		m.states.TopicRemoved(topic.ID)
	}
}

// askShareState has the coordinator of a share-partition's state take a request, and
// calls done on this core with the result.
func (s *Shard) askShareState(r share.Request, done func(share.Result)) {
	var result share.Result
	s.visitCoordinator(shareGroupState, r.Key.String(), func(co *coordinated, back func()) {
		co.machine.(*shareMachine).step(r, func(answer share.Result) {
			result = answer
			back()
		})
	}, func(code protocol.ErrorCode) {
		if code != protocol.NONE {
			result = share.Result{Code: code}
		}
		done(result)
	})
}

// insistNanos is for how long a share-partition's state is asked for again while its
// coordinator is being loaded; the pauses begin at insistPauseNanos and double.
const (
	insistNanos      = 10e9
	insistPauseNanos = 10e6
)

// insistence is a request that is made again until it is served.
type insistence struct {
	shard *Shard
	r     share.Request
	done  func(share.Result)
	timer reactor.Timer
	pause int64
	until int64 // on the core's clock
}

// insistOnShareState is askShareState for who would rather wait than hear that the
// coordinator is being loaded.
func (s *Shard) insistOnShareState(r share.Request, done func(share.Result)) {
	i := &insistence{shard: s, r: r, done: done, pause: insistPauseNanos, until: s.core.Now + insistNanos}
	i.ask()
}

func (i *insistence) ask() {
	i.shard.askShareState(i.r, func(result share.Result) {
		core := i.shard.core
		switch result.Code {
		case protocol.COORDINATOR_LOAD_IN_PROGRESS, protocol.NOT_COORDINATOR, protocol.COORDINATOR_NOT_AVAILABLE:
			if core.Now < i.until && !core.Draining() {
				core.After(i.pause, &i.timer, i)
				i.pause = min(2*i.pause, int64(500e6))
				return
			}
		}
		i.done(result)
	})
}

// Fire implements reactor.TimerHandler.
func (i *insistence) Fire(*reactor.Timer) { i.ask() }

// shareAPIs are the rows of share groups' keys.
func shareAPIs() []api {
	return []api{
		{key: 76, min: 1, max: 1, advertisedMin: 1, cold: (*Shard).serveShareGroupHeartbeat},
		{key: 77, min: 1, max: 1, advertisedMin: 1, cold: (*Shard).serveShareGroupDescribe},
		{key: 78, min: 1, max: 2, advertisedMin: 1, cold: (*Shard).serveShareFetch, maxBytes: maxGroupFrameBytes},
		{key: 79, min: 1, max: 2, advertisedMin: 1, cold: (*Shard).serveShareAcknowledge, maxBytes: maxGroupFrameBytes},
		{key: 83, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveInitializeShareGroupState},
		{key: 84, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveReadShareGroupState},
		{key: 85, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveWriteShareGroupState},
		{key: 86, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveDeleteShareGroupState},
		{key: 87, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveReadShareGroupStateSummary},
		{key: 90, min: 0, max: 1, advertisedMin: 0, cold: (*Shard).serveDescribeShareGroupOffsets},
		{key: 91, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveAlterShareGroupOffsets},
		{key: 92, min: 0, max: 0, advertisedMin: 0, cold: (*Shard).serveDeleteShareGroupOffsets},
	}
}

// shareGroupsEnabled says whether the feature share.version allows KIP-932.
func (s *Shard) shareGroupsEnabled() bool { return s.image.Feature("share.version") >= 1 }

// askCore runs ask on another core, and done here after ask has called back, which it
// does once, there, at once or later. On one core these are plain calls.
func (s *Shard) askCore(owner *Shard, ask func(back func()), done func()) {
	if owner == s {
		ask(done)
		return
	}
	t := &coreTrip{home: s, owner: owner, ask: ask, done: done}
	s.core.Send(owner.core, t)
}

// tellCore runs do on another core.
func (s *Shard) tellCore(owner *Shard, do func()) {
	s.askCore(owner, func(back func()) {
		do()
		back()
	}, func() {})
}
