// Package reactor is the core: a thread, a ring, and what they own. A Core turns
// completions into handlers, handlers into responses and queue entries, and
// enters the kernel once per turn. It knows frames, not Kafka.
//
// Everything in a Core belongs to its thread; nothing is locked. Others reach it
// by Inject (from any goroutine) and Send (from another core).
//
// Ring operations used: ACCEPT (multishot where the level has it), RECV (plain,
// MSG_WAITALL, multishot with provided buffers), SEND, SENDMSG, POLL_ADD,
// ASYNC_CANCEL by user data, READ (of the eventfd, and of files by a worker, with
// RWF_DONTCACHE where it is taken), FADVISE, SPLICE, SHUTDOWN, MSG_RING.
package reactor

import (
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// Service is what a core serves: one value per core, called on it only.
type Service interface {
	// Opened announces a connection, before its first request.
	Opened(c *Conn)
	// Request takes one whole frame. The request is finished later, or at once.
	Request(r *Request) Disposition
	// Closed is called once, after the last of the connection's requests has been
	// finished or abandoned.
	Closed(c *Conn)
	// EndTurn is called after all handlers of a turn, before its one enter.
	EndTurn(c *Core)
}

// Drainer is implemented by a Service that has work of its own to end, or parked
// requests to answer, when the core drains.
type Drainer interface {
	// DrainStarted is called when the core stops accepting and dispatching.
	DrainStarted(c *Core)
	// Drained is asked, in each turn after the last connection is gone, whether
	// the core may stop: no request in flight, no message expected. It may start
	// that work. A parked core turns only when something reaches it: who changes
	// the answer from outside sends it a message.
	Drained(c *Core) bool
}

// Disposition is what a Service says of a request.
type Disposition int

const (
	// Next lets the connection's next frame be dispatched at once.
	Next Disposition = iota
	// Hold keeps the connection's next frame back until this request is finished.
	Hold
)

// Config makes a core.
type Config struct {
	ID        int           // the core's place among the cores, from 0
	Kernel    ring.Kernel   // the door
	Level     ring.Level    // forces a level; the zero Level is the highest that the machine has
	Features  ring.Features // from ring.Probe, so that several cores probe once; the zero value probes
	Wait      Wait          // what the core does when there is nothing to do
	SpinNanos int64         // how long Adaptive spins after the last activity; 0: DefaultSpinNanos
	Limits    Limits        // zero fields take their defaults
	Helpers   Helpers       // run jobs; nil: jobs run in place
	CPU       int           // the CPU that Run pins its thread to, counted from 1; 0: any
	Rung      Rung          // forces a rung of the fetch ladder, for tests
	Observer  CacheObserver // is told of reads and writes of files; nil: nobody is
}

// Core is one core. The exported fields are for its own thread to read.
type Core struct {
	ID     int
	Kernel ring.Kernel
	Ring   *ring.Ring
	Arena  *Arena
	// Observer is never nil.
	Observer CacheObserver
	// Now and Wall are CLOCK_MONOTONIC and CLOCK_REALTIME in nanoseconds, read
	// once at the start of each turn.
	Now, Wall int64
	// Clock is the last reading of CLOCK_MONOTONIC: Now, or later. See ReadClock.
	Clock   int64
	Stats   Counters
	Latency [RequestKinds]*RequestTimes // by Request.Kind; nil: none yet
	// TurnTimes are the durations of turns that found something to do, waiting
	// excepted: as long may what arrives wait to be seen.
	TurnTimes Histogram

	service Service
	drainer Drainer
	helpers Helpers
	limits  Limits
	options ring.Options
	has     ring.Features // of the level in force
	cpu     int
	thread  int // the thread that may touch the core, when Run runs it; else 0
	waiting waiting

	// parked and stopped are read by other cores; ringFD is where they ring.
	parked  atomic.Bool
	stopped atomic.Bool
	ringFD  atomic.Int32

	ops      opTable
	cqes     []ring.CQE
	timers   timerHeap
	provided *bufferPool // nil below level 6.1

	conns     []*Conn
	nextConn  uint64
	ready     connList // connections with something to dispatch or to arm
	sending   connList // connections with something to send
	large     connList // of these, those with large responses
	starved   connList // receive ended for want of provided buffers
	dead      connList // closed, to be told to the service
	listeners []*listener
	arrivals  []*Arrival // in no order
	door      Doorkeeper // nil: everybody is let in

	requests *Request // free
	segments *segment // free
	forced   Rung     // rung; RungAuto: none
	cold     coldLane
	bulk     bulkPool
	observed observedReads
	// servedOther is when a connection that does not read large responses was served
	// last, or another core.
	servedOther int64
	iovecs      [maxSendBatch]unix.Iovec

	peers   []peer
	rung    []*peer
	inboxes []*mailbox
	spilled int

	injected      injector
	injectedSpare []Message
	resultsSpare  []Message
	jobs          int // offloaded and not yet completed
	jobSpill      queue[Job]

	eventfd    int
	eventCount []byte // where its reads go, outside the Go heap
	eventOp    uint64 // user data of the armed read, 0 when none
	drain      drain
	failed     error
	lapped     int // of lapBytes
	turned     turned
	reaped     struct{ at, end int } // of cqes: which have not been handled
	inboxFrom  int                   // the inbox to look at first
	again      bool                  // something happened after EndTurn: turn once more before waiting
}

// NewCore makes a core; nothing is asked of the kernel before Start.
func NewCore(cfg Config, svc Service) *Core {
	c := &Core{
		ID:       cfg.ID,
		Kernel:   cfg.Kernel,
		Observer: cfg.Observer,
		service:  svc,
		helpers:  cfg.Helpers,
		limits:   cfg.Limits.withDefaults(),
		options:  ring.Options{Level: cfg.Level, Features: cfg.Features},
		cpu:      cfg.CPU,
		forced:   cfg.Rung,
		waiting:  newWaiting(cfg),
		eventfd:  -1,
	}
	if c.Observer == nil {
		c.Observer = Unobserved{}
	}
	c.drainer, _ = svc.(Drainer)
	c.door, _ = svc.(Doorkeeper)
	c.ready.kind, c.sending.kind, c.large.kind, c.starved.kind, c.dead.kind = listReady, listSending, listLarge, listStarved, listDead
	c.cold.init(c)
	c.bulk.core, c.observed.core = c, c
	c.ringFD.Store(-1)
	c.Arena = newArena(c, c.limits.ArenaBytes)
	c.ops = newOpTable(c.limits.OpSlots)
	return c
}

// Limits returns the limits in force.
func (c *Core) Limits() Limits { return c.limits }

// Level returns the level in force, once started.
func (c *Core) Level() ring.Level { return c.has.Level }

// Connections is the number of open connections.
func (c *Core) Connections() int { return len(c.conns) }

// Start makes the ring, the provided buffers and the wake-up. It must be called
// on the thread that will turn the core. On an error nothing is left behind.
func (c *Core) Start() error {
	if err := c.limits.check(); err != nil {
		return err
	}
	c.options.Entries, c.options.CQEntries = c.limits.SQEntries, c.limits.CQEntries
	r, err := ring.New(c.Kernel, c.options)
	if err != nil {
		c.Arena.close()
		return fmt.Errorf("core %d: %w", c.ID, err)
	}
	c.Ring, c.has = r, *r.Features()
	c.cqes = make([]ring.CQE, reapBatch)
	c.tick()
	if err := c.startWake(); err != nil {
		c.abandonStart()
		return fmt.Errorf("core %d: make a wake-up: %w", c.ID, err)
	}
	if c.has.BufferRings && c.has.MultishotRecv {
		if c.provided, err = newBufferPool(c); err != nil {
			c.abandonStart()
			return fmt.Errorf("core %d: register provided buffers: %w", c.ID, err)
		}
	}
	c.capWorkers()
	for _, l := range c.listeners {
		l.arm()
	}
	return nil
}

// capWorkers bounds the ring's workers for requests that may wait without end.
// None should (see bulk.go); should a kernel think otherwise, it is a few threads
// that wait and not one for each connection. Kernels that cannot are left as they are.
func (c *Core) capWorkers() {
	workers := [2]uint32{0, uint32(max(c.limits.BulkPipes, 4))} // bounded: as it is; unbounded
	c.Kernel.Register(c.Ring.FD(), ring.RegisterIOWQMaxWorkers, unsafe.Pointer(&workers), 2)
}

// abandonStart undoes what Start did. What it armed was not submitted yet.
func (c *Core) abandonStart() {
	c.closeInjector()
	c.Ring.Close()
	c.Arena.close()
}

// turned is what the time since the turn's start, or since the core began to
// wait, was spent on: it is known when the clock is read next.
type turned uint8

const (
	turnedNot turned = iota // the core has just been started
	turnedWork
	turnedSpin
	turnedPark
)

// tick reads the clocks, once a turn.
func (c *Core) tick() {
	since := c.Now
	if c.turned == turnedPark {
		since = c.Clock
	}
	c.Now, c.Wall = c.ReadClock(), c.Kernel.Wall()
	c.spend(c.Now - since)
}

// spend counts what a stretch of the core's time went to.
func (c *Core) spend(nanos int64) {
	switch c.turned {
	case turnedWork:
		c.TurnTimes.Observe(nanos)
	case turnedSpin:
		c.Stats.SpunNanos += uint64(nanos)
	case turnedPark:
		c.Stats.ParkedNanos += uint64(nanos)
	}
}

// Turn does everything there is to do once: reaps completions and runs their
// handlers, delivers messages, fires timers, lets the service end the turn, and
// enters the kernel once with all that was queued. With block it waits there
// for the next completion or timer if nothing is left to do; a simulated kernel
// returns at once. It reports whether it found anything to do.
func (c *Core) Turn(block bool) (busy bool) {
	if c.Stopped() {
		return false
	}
	c.parked.Store(false)
	c.tick()
	c.Stats.Turns++
	c.again = false
	reaped := c.reap()
	worked := reaped > 0
	if c.deliver() > 0 {
		worked, c.servedOther = true, c.Now
	}
	worked = c.deliverInjected() > 0 || worked
	worked = c.timers.fire(c.Now) > 0 || worked
	worked = c.Arena.serveWaiters() || worked
	worked = c.resume() || worked
	worked = c.turnDrain() || worked
	c.service.EndTurn(c)
	c.finishTurn()
	more := reaped == len(c.cqes) || c.pendingWork()
	if c.turned = turnedWork; !worked && !more {
		c.turned = turnedSpin
	}
	c.enter(block && !more)
	return worked || more
}

// finishTurn queues what the handlers left to be sent, received and woken.
func (c *Core) finishTurn() {
	c.sendAll()
	c.cold.pump()
	c.bury()
	c.rearmStarved()
	if c.provided != nil {
		c.provided.publish()
	}
	c.unspill()
	c.unspillJobs()
	c.ring()
}

// pendingWork reports whether the next turn has something to do already.
func (c *Core) pendingWork() bool {
	return c.again || c.reaped.at < c.reaped.end || c.ready.head != nil || c.sending.head != nil || c.large.head != nil || c.dead.head != nil ||
		c.Arena.freed && c.Arena.waiters.head != nil || c.drainPending()
}

// reap takes completions from the ring and runs their handlers. The queue is
// copied out first: handlers may enter the ring when they fill it, and never
// run inside one another.
func (c *Core) reap() int {
	if c.reaped.at == c.reaped.end {
		c.reaped.at, c.reaped.end = 0, c.Ring.Reap(c.cqes)
	}
	first := c.reaped.at
	for c.reaped.at < c.reaped.end {
		c.reaped.at++
		c.complete(&c.cqes[c.reaped.at-1])
		if c.reaped.at%clockStep == 0 && c.overdue() {
			break
		}
	}
	n := c.reaped.at - first
	c.Stats.Completions += uint64(n)
	return n
}

// overdue says whether the turn has run for so long that what else has arrived
// waits for the next: responses leave at its end.
func (c *Core) overdue() bool { return c.ReadClock()-c.Now > turnNanos }

func (c *Core) complete(cqe *ring.CQE) {
	o := c.ops.find(cqe.UserData)
	if o == nil {
		c.completeOther(cqe)
		return
	}
	handler, tag := o.handler, o.tag
	if cqe.Flags&ring.CQEFMore == 0 {
		c.ops.put(cqe.UserData, o)
	}
	handler.Complete(tag, cqe.Res, cqe.Flags)
}

// completeOther handles completions that no slot waits for.
func (c *Core) completeOther(cqe *ring.CQE) {
	switch {
	case cqe.UserData>>32 != 0:
		c.Stats.StaleCompletions++
		if c.provided != nil {
			c.provided.recoverStale(cqe)
		}
	case cqe.UserData&userDataRinging != 0 && cqe.Res < 0:
		c.ringFailed(int(cqe.UserData & ringingMask))
	}
}

// entry returns a free submission entry, zeroed. A full queue is submitted first.
func (c *Core) entry() *ring.SQE {
	c.Stats.Submissions++
	return c.Ring.Get()
}

// enter is the turn's one io_uring_enter. It waits only if told to, and only if
// nobody has left a message since the mailboxes were read.
func (c *Core) enter(wait bool) {
	c.Stats.Enters++
	if !wait {
		c.fail(c.Ring.Enter(0, 0))
		return
	}
	c.parked.Store(true)
	if c.mailWaiting() || c.injected.waiting.Load() {
		c.parked.Store(false)
		c.fail(c.Ring.Enter(0, 0))
		return
	}
	timeout := int64(-1) // for ever
	if next := c.NextDeadline(); next != math.MaxInt64 {
		timeout = max(next-c.Now, 0)
	}
	c.Stats.Parks++
	c.spend(c.ReadClock() - c.Now)
	c.turned = turnedPark
	c.fail(c.Ring.Enter(1, timeout))
}

// fail remembers the first error of the ring itself, with which Run ends.
func (c *Core) fail(err error) {
	if err != nil && c.failed == nil {
		c.failed = fmt.Errorf("core %d: enter the ring: %w", c.ID, err)
	}
}

// NextDeadline is when the core next has something to do by itself, on
// CLOCK_MONOTONIC in nanoseconds, or math.MaxInt64.
func (c *Core) NextDeadline() int64 {
	next := c.timers.next()
	if c.spilled > 0 || c.jobSpill.len() > 0 {
		next = min(next, c.Now+c.limits.SpillRetryNanos)
	}
	return next
}
