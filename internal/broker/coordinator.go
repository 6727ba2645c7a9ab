package broker

import (
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// The coordinator host. A coordinator is a pure machine per partition of an
// internal topic, on the core that leads the partition; this file and its
// neighbours (coordinator_*.go) are all that is between the machines and the
// core. They know no protocol:
//
//	visit: the core that leads partition hash(key) -> the machine takes a step -> mark
//	turn:  tick, work, ready -> batches to the log (coordinator_append.go), answers
//	load:  the log, by helpers, in chunks -> replay, a bounded piece a turn (coordinator_load.go)
//
// Only coordinators that are marked are looked at when a turn ends.

// machine is a kind of coordinator. All of it runs on the core that leads the
// partition, and every call is bounded: what could take long is split over Work.
// Times are milliseconds since 1970 and never go back.
type machine interface {
	// replay takes in a record of the log; an error says that the log is damaged.
	replay(r *loadedRecord) error
	// loaded ends the replay: the machine serves from now on.
	loaded(nowMillis int64)
	// tick lets timers expire, work does a piece of what ready's more is about.
	tick(nowMillis int64)
	work(nowMillis int64)
	// ready sends answers that may leave, a few dozen at most, and hands out what is to be appended.
	ready(nowMillis int64) machineReady
	// committed and failed report batches in their order.
	committed(nowMillis int64, seq uint64)
	failed(nowMillis int64, seq uint64, code protocol.ErrorCode)
	// broken says that the machine is ahead of its log and must be loaded anew.
	broken() bool
	// endTransaction says that a transaction's marker is in the partition's log.
	endTransaction(nowMillis, producerID int64, commit bool)
	// resign ends the machine's service: whoever waits is answered.
	resign(nowMillis int64)
	// configure takes the settings in force from the shard.
	configure()
	// topicsChanged says that the shard's image has moved.
	topicsChanged(nowMillis int64, m *topicChanges)
}

// machineReady is what a machine wants done.
type machineReady struct {
	batches        []machineBatch
	deadlineMillis int64 // when to tick at the latest; 0: no need
	more           bool  // there is work, or there are more answers
}

// machineBatch is records that are appended as one batch; its memory is the
// machine's until committed or failed.
type machineBatch struct {
	seq           uint64
	records       []protocol.Record
	producerID    int64 // -1: the batch is of no transaction
	producerEpoch int16
	verified      uint64 // the guard of the transaction's verification
}

// loadedRecord is a record of the log, or the marker that ends a transaction.
type loadedRecord struct {
	offset     int64
	producerID int64 // of a transactional batch or a marker; else -1
	key, value []byte
	marker     bool
	commit     bool // of a marker
}

type coordinatorState uint8

const (
	coordinatorWaiting  coordinatorState = iota // to be loaded: at start, or after a failed append
	coordinatorLoading                          // its log is being read
	coordinatorServing                          // requests are served
	coordinatorLeaving                          // its machine has failed, and still has answers to hand out
	coordinatorFailed                           // its log cannot be loaded
	coordinatorResigned                         // the broker stops, or the partition is gone
)

// coordinated is a hosted partition with its machine.
type coordinated struct {
	shard   *Shard
	hosted  *hosted
	of      *internalTopic
	machine machine
	state   coordinatorState

	timer    reactor.Timer
	deadline int64 // that the timer is armed for
	due      bool  // the timer has fired
	more     bool  // the machine has work
	begun    int64 // core.Clock when its turn began

	marked bool
	next   *coordinated // of the marked

	flying   int // appends in the log's hands
	unplaced []machineBatch
	encoded  *coordinatedAppend // the first of unplaced, ready for the log
	room     reactor.MemoryWaiter
	free     *coordinatedAppend

	load    *coordinatorLoad
	markers []endedTransaction // in the log since it is being loaded
	failing int                // appends failed since the last that did not
}

// endedTransaction is a marker that is in the log at an offset.
type endedTransaction struct {
	offset, producerID int64
	commit             bool
}

// coordinate begins to coordinate a partition that has come to this core, if it is
// one of an internal topic.
func (s *Shard) coordinate(h *hosted) {
	of := findInternal(h.topic.name)
	if of == nil || of.newMachine == nil || h.log == nil {
		return
	}
	c := &coordinated{shard: s, hosted: h, of: of}
	h.coordinated = c
	s.coordinating.all = append(s.coordinating.all, c)
	if s.coordinating.started {
		s.coordinating.loadLater(c)
	}
}

// code is why requests are refused; NONE: they are served.
func (c *coordinated) code() protocol.ErrorCode {
	switch c.state {
	case coordinatorServing:
		return protocol.NONE
	case coordinatorWaiting, coordinatorLoading, coordinatorLeaving:
		return protocol.COORDINATOR_LOAD_IN_PROGRESS
	}
	return protocol.NOT_COORDINATOR
}

// mark has the coordinator looked at when this turn ends.
func (c *coordinated) mark() {
	if !c.marked {
		c.marked = true
		c.shard.coordinating.marked.push(c)
	}
}

// Fire implements reactor.TimerHandler: a deadline of the machine, or the pause
// before it is loaded anew.
func (c *coordinated) Fire(*reactor.Timer) {
	c.due = true
	c.mark()
}

// turn does what there is to do, in a bounded piece.
func (c *coordinated) turn() {
	switch c.state {
	case coordinatorWaiting:
		if c.due {
			c.due = false
			c.shard.coordinating.loadLater(c)
		}
	case coordinatorLoading:
		c.replaySome()
	case coordinatorServing, coordinatorLeaving, coordinatorResigned:
		c.run()
	case coordinatorFailed:
	}
}

// run drives the machine.
func (c *coordinated) run() {
	if c.machine == nil {
		return
	}
	if c.state == coordinatorServing && c.machine.broken() {
		c.state = coordinatorLeaving
		c.abandonBatches()
	}
	now, core := c.shard.coordinating.millis(), c.shard.core
	c.begun = core.ReadClock()
	if c.due && c.state == coordinatorServing {
		c.machine.tick(now)
	}
	if c.more && c.state == coordinatorServing && core.ReadClock()-c.begun < turnBudgetNanos/2 {
		c.machine.work(now)
	}
	c.due = false
	if len(c.unplaced) > 0 {
		c.place()
	}
	if len(c.unplaced) > 0 {
		return // what comes next comes behind them
	}
	r := c.machine.ready(now)
	if c.state != coordinatorLeaving {
		c.unplaced = append(c.unplaced, r.batches...)
	}
	c.place()
	c.arm(now, r.deadlineMillis)
	c.more = r.more
	if r.more {
		c.shard.coordinating.later(c)
	}
	if c.shard.broker.settings.SelfCheck {
		c.check()
	}
	c.renew()
}

// checker is a machine that can look for contradictions in its own state.
type checker interface{ check() error }

func (c *coordinated) check() {
	if m, ok := c.machine.(checker); ok && c.state == coordinatorServing {
		if err := m.check(); err != nil {
			c.shard.broker.log.Error("a coordinator contradicts itself", "topic", c.of.name, "partition", c.hosted.key.partition, "error", err)
		}
	}
}

// renew lets go of a machine that has failed, and of one that has resigned and
// has said all it had to.
func (c *coordinated) renew() {
	if c.state == coordinatorServing && c.machine.broken() {
		c.mark() // the log has refused a batch at once: the answers to that are still there
	}
	if c.state != coordinatorLeaving || c.more || c.flying > 0 {
		return
	}
	c.machine = nil
	c.state = coordinatorWaiting
	c.failing++
	c.shard.core.After(reloadPauseNanos, &c.timer, c)
}

func (c *coordinated) arm(nowMillis, deadlineMillis int64) {
	if deadlineMillis == 0 {
		c.deadline = 0
		c.shard.core.Cancel(&c.timer)
		return
	}
	if deadlineMillis == c.deadline && c.timer.Armed() {
		return
	}
	c.deadline = deadlineMillis
	c.shard.core.After(max(deadlineMillis-nowMillis, 0)*1e6, &c.timer, c)
}

// resign ends the coordinator: whoever waits is answered NOT_COORDINATOR.
func (c *coordinated) resign() {
	was := c.state
	c.state = coordinatorResigned
	c.shard.core.Cancel(&c.timer)
	if was == coordinatorLoading {
		if !c.load.reading {
			c.shard.coordinating.loadEnded()
		}
		c.machine.resign(c.shard.coordinating.millis())
		c.load, c.machine = nil, nil
	}
	if was == coordinatorServing {
		c.machine.resign(c.shard.coordinating.millis())
		c.mark()
	}
}

// offsets are those of the partition's log.
func (c *coordinated) offsets() storage.Offsets { return c.hosted.log.Offsets() }

// endTransaction tells the machine of a marker that is in the log at an offset;
// while the log is being loaded, the loader may have seen it or not.
func (c *coordinated) endTransaction(offset, producerID int64, commit bool) {
	switch c.state {
	case coordinatorServing:
		c.machine.endTransaction(c.shard.coordinating.millis(), producerID, commit)
		c.mark()
	case coordinatorLoading:
		c.markers = append(c.markers, endedTransaction{offset, producerID, commit})
	}
}
