package reactor

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// The cold lane reads what is not in the page cache, so that a lagging consumer
// neither makes its core wait nor pushes out what others want.
//
//	a connection's stretch is not resident
//	   | follow: its stream, where this connection reads this file
//	   | find a step that covers the place, or demand one
//	   v
//	step: free -> queued -> reading -> ready -> free
//	                 |         |         |
//	        pace, ColdReads    |         +- sent from, by anyone at that place;
//	                           |            memory is taken from those sent whole
//	                           |            first, then from those used longest ago
//	                           +- a ring READ by a worker
//
// Steps end at multiples of stepBytes in their file and are read by workers
// (SQEAsync). Submitted without, the core itself would build the read: on ext4, on
// a loaded machine, 0.3 to 0.9 ms a mebibyte, against 5 to 20 us to hand it over.
//
// A connection that waits is on no list but its step's, and its step is not taken
// from it before it has been sent from once: each time round, each connection gets
// on. What a socket does not take stays in the file, not in memory: a consumer
// that does not read holds no step. So one step is enough for any number of
// connections, and there always is one, whatever the arena says.
//
// Streams read ahead once a consumer has shown that it goes on where it ended:
// behind the end of its response too, since that is what it will ask for next.
type coldLane struct {
	core    *Core
	steps   []coldStep // nil until the first stretch is cold
	streams []coldStream
	live    int       // streams in use
	first   *coldStep // queued, in order
	last    *coldStep
	hungry  connList  // connections that found every step wanted
	drops   *coldDrop // free
	reserve []byte    // the memory that there always is
	lent    bool      // it is a step's
	held    int       // steps with memory
	reading int
	plain   bool // the file system does not take RWF_DONTCACHE

	rate   int64 // bytes a second; 0: as fast as it goes
	tokens int64 // bytes that may be read now, if above 0
	filled int64 // when tokens was brought up to date
	pace   Timer
	tidy   Timer
	memory MemoryWaiter
}

const (
	// stepBytes is what is read at once: the largest block of the arena.
	stepBytes = superBytes
	// coldStreams is the most streams of a core: who is forgotten reads on without
	// read-ahead.
	coldStreams = 64
	// nearBytes: pages are not dropped behind a read while another consumer is no
	// farther behind them than this, nor so near to the end of the file.
	nearBytes = 16 << 20
)

func (l *coldLane) init(c *Core) {
	l.core = c
	l.hungry.kind = listHungry
}

// start makes the lane's tables at its first use; most cores of a node whose
// consumers keep up never need them. It fails for want of memory.
func (l *coldLane) start() bool {
	if l.steps != nil {
		return true
	}
	reserve, err := l.core.Arena.setAside(stepBytes)
	if err != nil {
		l.core.Stats.MapFailures++
		return false
	}
	l.reserve = reserve
	l.steps = make([]coldStep, max(l.core.limits.ColdBytes/stepBytes, 1))
	for i := range l.steps {
		l.steps[i].lane = l
	}
	l.streams = make([]coldStream, coldStreams)
	return true
}

// has tells whether the lane has, or is about to have, what a stretch is next to
// send: then it is not for anyone else to read.
func (l *coldLane) has(s *segment) bool {
	return l.held > 0 && l.find(s.file, s.off) != nil || l.live > 0 && l.owns(s.file, s.off)
}

// find is the step that covers a place of a file.
func (l *coldLane) find(f File, off int64) *coldStep {
	for i := range l.steps {
		s := &l.steps[i]
		if s.state != stepFree && s.file == f && off >= s.base && off < s.end() {
			return s
		}
	}
	return nil
}

// ColdBytes are the bytes of a file from off on that the cold lane has read, or
// nil. They are good until the handler that asked returns.
func (c *Core) ColdBytes(f File, off int64) []byte {
	if c.cold.held == 0 {
		return nil
	}
	s := c.cold.find(f, off)
	if s == nil || s.state != stepReady {
		return nil
	}
	s.used = c.Now
	return s.mem[off-s.base : s.fill]
}

// sendCold sends up to n bytes of a stretch from the lane, or sees to it that they
// are read.
func (c *Conn) sendCold(s *segment, n int) (int, syscall.Errno) {
	core := c.Core
	l := &core.cold
	if !l.start() {
		return 0, unix.ENOMEM
	}
	core.use(s, RungCold)
	stream := l.follow(c, s)
	step := l.find(s.file, s.off)
	if step == nil {
		if step = l.demand(stream, s); step == nil {
			l.hungry.push(c)
			c.awaitDisk()
			return 0, waits
		}
	}
	if step.state != stepReady {
		c.awaitStep(step)
		c.awaitDisk()
		return 0, waits
	}
	from := int(s.off - step.base)
	n = min(n, s.n, step.fill-from)
	iovecs := core.iovecs[:1]
	iovecs[0] = unix.Iovec{Base: &step.mem[from], Len: uint64(n)}
	core.Stats.SendsNow++
	sent, errno := core.Kernel.SendNow(c.fd, iovecs, n < s.n || s.next != nil)
	c.leaveStep()
	step.sentTo(c, from+sent, sent)
	core.countSent(s, RungCold, sent)
	return sent, errno
}

// pump runs at the end of a turn, after the sends: it starts what reads there are
// to be started.
func (l *coldLane) pump() {
	if l.steps == nil {
		return
	}
	l.feed()
	l.submit()
	for i := range l.streams {
		if s := &l.streams[i]; s.file != nil {
			l.readAhead(s)
		}
	}
	if (l.held > 0 || l.live > 0) && !l.tidy.Armed() {
		l.core.After(l.core.limits.ColdIdleNanos, &l.tidy, (*coldTidy)(l))
	}
	l.core.Stats.ColdReading, l.core.Stats.ColdHeldBytes = l.reading, l.held*stepBytes
}

// feed lets connections that found no step try again, as many as there are steps
// to be had.
func (l *coldLane) feed() {
	if l.hungry.head == nil {
		return
	}
	may := 0
	for i := range l.steps {
		if s := &l.steps[i]; s.idle() || s.state == stepFree && !l.memory.waiting {
			may++
		}
	}
	for ; may > 0 && l.hungry.head != nil; may-- {
		l.core.sending.push(l.hungry.pop())
	}
}

// submit starts queued reads, as many as may be in flight and as the pace allows.
func (l *coldLane) submit() {
	for l.first != nil && l.reading < l.core.limits.ColdReads && l.mayRead() {
		if !l.first.read() {
			return // no slot for a ring request is free: later
		}
	}
}

// enqueue puts a step in line to be read; a step that is to be read on goes first.
func (l *coldLane) enqueue(s *coldStep, front bool) {
	s.state = stepQueued
	switch {
	case l.last == nil:
		l.first, l.last, s.next = s, s, nil
	case front:
		s.next, l.first = l.first, s
	default:
		l.last.next, l.last, s.next = s, s, nil
	}
}

// dequeue takes the first step out of the line.
func (l *coldLane) dequeue() {
	s := l.first
	l.first, s.next = s.next, nil
	if l.first == nil {
		l.last = nil
	}
}

// gone forgets a connection that is being closed, and what was read for it alone.
func (l *coldLane) gone(c *Conn) {
	c.leaveStep()
	if l.steps == nil {
		return
	}
	for i := range l.streams {
		if l.streams[i].conn == c {
			l.streams[i].forget()
		}
	}
	for i := range l.steps {
		s := &l.steps[i]
		if s.conn != c {
			continue
		}
		s.conn = nil
		if s.idle() && s.sent == 0 {
			s.free()
		}
	}
}

// coldTidy is the lane as the handler of its timer of what is idle.
type coldTidy coldLane

// Fire gives up what nobody has asked for in a while.
func (t *coldTidy) Fire(*Timer) {
	l := (*coldLane)(t)
	before := l.core.Now - l.core.limits.ColdIdleNanos
	for i := range l.steps {
		if s := &l.steps[i]; s.idle() && s.used <= before {
			s.free()
		}
	}
	for i := range l.streams {
		if s := &l.streams[i]; s.file != nil && s.used <= before {
			s.forget()
		}
	}
}

// close gives up everything that is not being read; what is, when it has been.
func (l *coldLane) close() {
	l.core.Cancel(&l.tidy)
	l.core.Cancel(&l.pace)
	l.core.Arena.Unwait(&l.memory)
	for i := range l.streams {
		if l.streams[i].file != nil {
			l.streams[i].forget()
		}
	}
	for l.first != nil {
		s := l.first
		l.dequeue()
		s.state = stepReady
		s.unannounce()
	}
	for i := range l.steps {
		if s := &l.steps[i]; s.idle() {
			s.free()
		}
	}
}

// SetColdRate is how many bytes a second the cold lane may read; 0: as many as it
// can. Reads under way are not touched.
func (c *Core) SetColdRate(bytesPerSecond int64) {
	l := &c.cold
	l.refill()
	if l.rate == 0 {
		l.tokens = 1
	}
	l.rate = min(max(bytesPerSecond, 0), maxColdRate)
	l.tokens = min(l.tokens, l.burst())
	c.Cancel(&l.pace) // pump arms it again as the new rate wants it
	c.again = true
}

// ColdRate is the rate that SetColdRate set.
func (c *Core) ColdRate() int64 { return c.cold.rate }

// maxColdRate keeps the arithmetic of the pace far from overflow.
const maxColdRate = 1 << 40

// burst is the most that may be read at once after a pause: 10 ms' worth.
func (l *coldLane) burst() int64 { return l.rate/100 + 1 }

// refill adds what the time since the last call is worth, at most a second's.
func (l *coldLane) refill() {
	nanos := min(l.core.Now-l.filled, 1e9)
	add := nanos/1000*l.rate/1e6 + nanos%1000*l.rate/1e9
	if add > 0 || l.rate == 0 {
		l.tokens, l.filled = min(l.tokens+add, l.burst()), l.core.Now
	}
}

// mayRead tells whether the pace allows a read now, which may be larger than what
// is left of it: the next one waits for that. If not, a timer will turn the core.
func (l *coldLane) mayRead() bool {
	if l.rate == 0 {
		return true
	}
	if l.refill(); l.tokens > 0 {
		return true
	}
	if !l.pace.Armed() {
		l.core.After((1-l.tokens)*1e9/l.rate+1, &l.pace, (*coldPace)(l))
	}
	return false
}

// coldPace is the lane as the handler of its timer of the pace. That the core
// turns is enough: pump does the rest.
type coldPace coldLane

// Fire has nothing to do.
func (*coldPace) Fire(*Timer) {}

// MemoryFreed implements MemoryHandler. That the core turns is enough.
func (l *coldLane) MemoryFreed(*MemoryWaiter) { l.core.Arena.Unwait(&l.memory) }

// coldDrop is pages being dropped, and holds the file open meanwhile: a worker looks
// its descriptor up when it comes to it.
type coldDrop struct {
	lane *coldLane
	file File
	next *coldDrop
}

// drop takes those of n bytes' pages out of the page cache that are in it.
func (l *coldLane) drop(f File, off int64, n int) {
	if n <= 0 || l.core.Kernel.Absent(f.FD(), off, n) == n {
		return
	}
	d := l.drops
	if d == nil {
		d = &coldDrop{lane: l}
	}
	sqe := l.core.Submit(d, 0)
	if sqe == nil {
		return // they stay: of no harm but that
	}
	l.drops, d.next = d.next, nil
	f.Retain()
	d.file = f
	sqe.PrepFadvise(f.FD(), uint64(off), uint32(n), unix.FADV_DONTNEED)
	l.core.Stats.ColdDropped += uint64(n)
}

// Complete takes the end of it.
func (d *coldDrop) Complete(uint64, int32, uint32) {
	d.file.Release()
	d.file = nil
	d.next, d.lane.drops = d.lane.drops, d
}
