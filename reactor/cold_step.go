package reactor

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// coldStep is a piece of a file that the cold lane reads, or has read, and the
// memory for it.
type coldStep struct {
	lane   *coldLane
	state  stepState
	file   File
	base   int64
	want   int // bytes to read
	fill   int // of these, read
	reader uint32
	tail   bool

	mem   []byte
	block *Block // what mem is of; nil: the lane's reserve

	conn    *Conn // whose stream it was made for; nil: gone
	waiters *Conn // who wait to be sent from it
	sentOff int   // how far it was sent
	sent    int   // bytes, to all
	to      *Conn // who was sent from it last
	used    int64 // when it was made, asked for or sent from last

	announced bool // slot and brings are set
	slot      int  // of the observer; 0: none
	around    bool // it is read with RWF_DONTCACHE
	again     int  // times that the read was put off
	brings    [maxBrings]fileRange
	next      *coldStep // in the queue
}

type stepState uint8

const (
	stepFree stepState = iota
	stepQueued
	stepReading
	stepReady
)

const (
	// maxBrings runs of pages are dropped behind one step; a step whose pages are
	// resident here and there leaves the others.
	maxBrings = 4
	// maxReadRetries is how often a read may be put off (EAGAIN, EINTR).
	maxReadRetries = 100
)

// coldWait is a connection's place among a step's waiters.
type coldWait struct {
	step       *coldStep
	next, prev *Conn
}

// end is how far the step reaches in its file: what was read of it, or will be.
func (s *coldStep) end() int64 {
	if s.state == stepReady {
		return s.base + int64(s.fill)
	}
	return s.base + int64(s.want)
}

// idle tells that the step is ready and nobody waits to be sent from it.
func (s *coldStep) idle() bool { return s.state == stepReady && s.waiters == nil }

// take finds a step with memory: an unused one while the budget lasts, else one
// that was sent whole; and, if it is demanded, at last the one used longest ago
// that nobody waits for.
func (l *coldLane) take(demanded bool) *coldStep {
	for i := range l.steps {
		if s := &l.steps[i]; s.state == stepFree {
			if s.allocate() {
				return s
			}
			break
		}
	}
	var best *coldStep
	for i := range l.steps {
		s := &l.steps[i]
		if !s.idle() || !demanded && !s.whole() {
			continue
		}
		if best == nil || s.whole() && !best.whole() || s.whole() == best.whole() && s.used < best.used {
			best = s
		}
	}
	if best != nil {
		mem, block := best.mem, best.block
		best.clear()
		best.mem, best.block = mem, block
		return best
	}
	return nil
}

// allocate gives a step its memory. The reserve is the last resort, so that there
// is one step for whoever demands one, whatever else the arena holds.
func (s *coldStep) allocate() bool {
	l := s.lane
	if s.block = l.core.Arena.allocReceive(stepBytes); s.block != nil {
		s.mem = s.block.mem
	} else if !l.lent {
		l.lent, s.mem = true, l.reserve
	} else {
		l.core.Arena.Await(&l.memory, l)
		return false
	}
	l.held++
	return true
}

// whole tells that the step was sent to its end.
func (s *coldStep) whole() bool { return s.sentOff >= s.fill }

// begin queues a step, with memory, for a stream.
func (s *coldStep) begin(stream *coldStream, base int64, n int) {
	stream.file.Retain()
	s.file, s.base, s.want, s.fill = stream.file, base, min(n, len(s.mem)), 0
	s.reader, s.tail, s.conn, s.used = stream.reader, stream.tail, stream.conn, s.lane.core.Now
	s.lane.enqueue(s, false)
}

// clear takes what a step was away, but for its memory.
func (s *coldStep) clear() {
	if s.sent == 0 && s.fill > 0 {
		s.lane.core.Stats.ColdStepsWasted++
	}
	s.file.Release()
	*s = coldStep{lane: s.lane}
}

// free gives a step and its memory back.
func (s *coldStep) free() {
	if s.block != nil {
		s.block.Release()
	} else {
		s.lane.lent = false
	}
	s.clear()
	s.lane.held--
}

// awaitStep makes the connection wait for a step.
func (c *Conn) awaitStep(s *coldStep) {
	w := &c.send.cold
	if w.step == s {
		return
	}
	c.leaveStep()
	c.Core.Stats.ColdWaits++
	s.used = c.Core.Now
	*w = coldWait{step: s, next: s.waiters}
	if s.waiters != nil {
		s.waiters.send.cold.prev = c
	}
	s.waiters = c
}

// leaveStep ends the connection's claim on a step.
func (c *Conn) leaveStep() {
	w := &c.send.cold
	if w.step == nil {
		return
	}
	if w.next != nil {
		w.next.send.cold.prev = w.prev
	}
	if w.prev != nil {
		w.prev.send.cold.next = w.next
	} else {
		w.step.waiters = w.next
	}
	*w = coldWait{}
}

// sentTo notes that n bytes up to off of the step were sent to a connection.
func (s *coldStep) sentTo(c *Conn, off, n int) {
	l := s.lane
	s.used = l.core.Now
	s.sentOff = max(s.sentOff, off)
	s.sent += n
	if s.to != nil && s.to != c {
		l.core.Stats.ColdStepsShared++
	}
	s.to = c
}

// read submits the first of the queue, which is this step.
func (s *coldStep) read() bool {
	l := s.lane
	sqe := l.core.Submit(s, 0)
	if sqe == nil {
		return false
	}
	l.dequeue()
	if !s.announced {
		s.announce()
	}
	flags := uint32(0)
	if s.around = !l.plain && !s.tail; s.around {
		flags = unix.RWF_DONTCACHE
	}
	n := s.want - s.fill
	sqe.PrepRead2(s.file.StreamFD(), unsafe.Pointer(&s.mem[s.fill]), uint32(n), uint64(s.base)+uint64(s.fill), flags)
	sqe.Flags |= ring.SQEAsync
	s.state = stepReading
	l.reading++
	if l.rate > 0 {
		l.tokens -= int64(n)
	}
	return true
}

// announce notes which pages the read will bring in, and tells the observer of it.
func (s *coldStep) announce() {
	s.announced = true
	l := s.lane
	end, brings := s.base+int64(s.want), 0
	if stream := l.streamFor(s); stream != nil {
		stream.scan(s.base, end)
		for _, run := range stream.absent[:stream.runs] {
			if at, to := max(run.off, s.base), min(run.end(), end); at < to && brings < maxBrings {
				s.brings[brings] = fileRange{at, int(to - at)}
				brings++
			}
		}
	}
	s.slot = l.core.observed.begin(s.file, s.reader, s.base, s.want)
}

// Complete takes the end of the read.
func (s *coldStep) Complete(_ uint64, res int32, _ uint32) {
	l := s.lane
	l.reading--
	switch errno := syscall.Errno(-res); {
	case res > 0:
		s.again = 0
		s.fill = min(s.fill+int(res), s.want)
		l.core.Stats.ColdBytes += uint64(res)
		if s.fill < s.want {
			l.enqueue(s, true)
			return
		}
		s.arrived()
	case res == 0: // the end of the file
		s.arrived()
	case s.around && (errno == unix.EOPNOTSUPP || errno == unix.EINVAL):
		l.plain = true
		l.enqueue(s, true)
	case (errno == unix.EAGAIN || errno == unix.EINTR) && s.again < maxReadRetries:
		s.again++
		l.enqueue(s, false)
	default:
		s.failed(errno)
	}
}

// arrived makes the step ready and lets who waits for it be sent to.
func (s *coldStep) arrived() {
	s.state = stepReady
	s.unannounce()
	s.dropBehind()
	l := s.lane
	l.core.Stats.ColdSteps++
	s.used = l.core.Now
	for c := s.waiters; c != nil; {
		next := c.send.cold.next
		if c.send.first.off >= s.end() && c.send.first.off < s.base+int64(s.want) {
			c.cutShort()
		} else {
			l.core.sending.push(c)
		}
		c = next
	}
	s.settled()
}

// failed closes who waits for a step that could not be read.
func (s *coldStep) failed(errno syscall.Errno) {
	s.state = stepReady
	s.fill = 0
	s.unannounce()
	l := s.lane
	l.core.Stats.ColdReadErrors++
	l.core.Stats.LastColdError = errno
	for c := s.waiters; c != nil; c = s.waiters {
		c.Close()
	}
	s.settled()
}

// settled frees a step that nobody can want any more: nothing was read, who it was
// read for is gone, or the core ends.
func (s *coldStep) settled() {
	if s.idle() && (s.fill == 0 || s.conn == nil && s.sent == 0 || s.lane.core.drain.phase >= drainService) {
		s.free()
	}
}

func (s *coldStep) unannounce() { s.lane.core.observed.end(&s.slot, s.fill) }

// dropBehind takes the pages out of the page cache again that the read brought in
// and that are still there: with RWF_DONTCACHE those that the kernel kept all the
// same, without it all of them, unless another reader is near.
func (s *coldStep) dropBehind() {
	if s.fill == 0 || !s.around && s.lane.near(s) {
		return
	}
	for _, b := range s.brings {
		s.lane.drop(s.file, b.off, b.n)
	}
}
