package reactor

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// How a connection receives:
//
//	          frame does not fit a provided buffer,
//	          no provided buffer left, 5.15: readable
//	+-------+ ---------------------------------------> +--------+
//	| quiet |                                          | direct |
//	+-------+ <--------------------------------------- +--------+
//	          idle, or its frames became small
//
// Quiet costs no memory: a multishot receive into the core's provided buffers,
// or, without those, a poll. Frames that lie whole inside one provided buffer are
// dispatched in place; a small frame cut in two is put together in a block of
// its size. Direct receives into the connection's own block, of at least the
// frame's size: however large, a frame lies in one piece and its bytes are
// copied at most once, the part that came before its length was known.
//
// There is at most one receive in flight. Bytes are consumed in this order:
// block[from:fill], then the inbox of provided buffers, then what is received
// next; direct receives are armed only while the inbox is empty.

// receiveState is a connection's receiving side.
type receiveState struct {
	op        uint64 // user data of the receive or poll in flight, 0 when none
	kind      uint8  // its tag
	cancelled bool   // its cancel was submitted
	direct    bool

	inbox, inboxTail *Block // provided buffers with unread bytes
	inboxCount       int

	block      *Block // the direct or assembly block
	from, fill int    // its unread bytes
	began      int64  // when the first of them came, on the core's Clock
	came       int64  // when the last came
	asked      int    // bytes that the direct receive in flight may bring

	size      int // of the next direct block
	lastFrame int // size of the last frame, prefix included

	frameBegan, frameWhole int64 // when the first and the last byte of that came
	small                  int   // direct receives in a row that quiet would have done as well
}

const (
	// congestedInbox is how many provided buffers may wait in an inbox whose
	// frames are kept back before the receive is cancelled.
	congestedInbox = 4
	// firstDirectBytes is the first block of a connection that goes direct for a
	// large frame; it doubles as long as receives fill it.
	firstDirectBytes = 64 << 10
	// smallReceives in a row send a direct connection back to quiet.
	smallReceives = 16
	// wholeReceive is small enough to complete now and then on a slow line, so
	// that a connection that receives is not taken for idle.
	wholeReceive = 1 << 20
	// maxPredicted is the largest frame that a block is made ready for because
	// the last was as large. Kafka's producers send up to a mebibyte and a little.
	maxPredicted = 4 << 20
)

// process dispatches what was received, as far as bounds and service allow, and
// arms the next receive.
func (c *Conn) process() {
	if c.links[listReady].listed {
		return // has its turn later: frames of one turn are bounded
	}
	for frames := 0; ; frames++ {
		if !c.mayDispatch() {
			c.stall()
			break
		}
		if frames == c.Core.limits.FramesPerTurn {
			c.Core.ready.push(c)
			return
		}
		payload, in := c.nextFrame()
		if in == nil {
			break
		}
		c.dispatch(payload, in)
	}
	c.arm()
}

// stall notes that frames may be waiting for a request to be finished or for
// responses to leave.
func (c *Conn) stall() {
	if c.closing || c.requests.stalled {
		return
	}
	c.requests.stalled = true
	if c.overBounds(&c.requests, &c.Core.limits) {
		c.Core.Stats.DispatchPaused++
	}
}

// goDirect makes the connection direct, with a first block of size bytes.
func (c *Conn) goDirect(size int) {
	s := &c.receive
	if s.direct {
		return
	}
	s.direct, s.small = true, 0
	s.size = min(size, c.Core.limits.DirectBlockBytes)
	c.Core.Stats.WentDirect++
	if !c.linger {
		c.armIdle()
	}
}

// goQuiet makes it quiet again. Nothing is unread and no receive is in flight.
func (c *Conn) goQuiet() {
	s := &c.receive
	s.direct = false
	if s.block != nil {
		s.block.Release()
		s.block, s.from, s.fill = nil, 0, 0
	}
	c.Core.Stats.WentQuiet++
}

// leaveDirectIdle ends the receive of an idle direct connection; the receive's
// completion makes it quiet, unless bytes came first.
func (c *Conn) leaveDirectIdle() {
	s := &c.receive
	if s.op != 0 && s.kind == opDirect && s.from == s.fill {
		c.cancelReceive()
	}
}

// awaitMemory puts the connection in line for memory to receive into.
func (c *Conn) awaitMemory() {
	if !c.memory.waiting {
		c.Core.Stats.ReceiveNoMemory++
		c.Core.Arena.Await(&c.memory, (*connMemory)(c))
	}
}

// MemoryFreed tries again.
func (m *connMemory) MemoryFreed(*MemoryWaiter) {
	c := (*Conn)(m)
	c.process()
	c.finishIfDone()
}

// receivedProvided takes a completion of the multishot receive.
func (c *Conn) receivedProvided(res int32, f flags) {
	s := &c.receive
	if !f.more() {
		s.op, s.cancelled = 0, false
	}
	if f.hasBuffer() {
		b := c.Core.provided.take(f, int(max(res, 0)))
		if res <= 0 || c.closing || c.linger {
			b.Release()
		} else {
			b.came = c.Core.Clock
			c.pushInbox(b)
			if c.mute.Armed() {
				c.hush()
			}
		}
	}
	if c.closing {
		return
	}
	if res > 0 {
		c.received(int(res))
		c.process()
		return
	}
	c.receiveEnded(res)
}

// readable takes the completion of the poll of a quiet connection without
// provided buffers: it receives into a small block of its own for as long as it
// is busy.
func (c *Conn) readable(res int32) {
	s := &c.receive
	s.op, s.cancelled = 0, false
	if c.closing {
		return
	}
	if res < 0 && res != -int32(unix.ECANCELED) {
		c.fail("poll", syscall.Errno(-res))
		return
	}
	if res > 0 {
		c.goDirect(smallDirectBytes)
	}
	c.arm()
}

// receivedDirect takes the completion of a receive into the block.
func (c *Conn) receivedDirect(res int32) {
	s := &c.receive
	s.op, s.cancelled = 0, false
	if c.closing {
		c.dropInput()
		return
	}
	if res <= 0 {
		if res == -int32(unix.ECANCELED) && s.from == s.fill {
			c.goQuiet()
		}
		c.receiveEnded(res)
		return
	}
	c.received(int(res))
	if c.linger {
		s.from, s.fill = 0, 0
		c.arm()
		return
	}
	c.filled(int(res), c.Core.Clock)
	c.measure(int(res))
	c.process()
}

// received counts n bytes.
func (c *Conn) received(n int) {
	c.lastActive = c.Core.Now
	c.Core.Stats.Receives++
	c.Core.Stats.BytesReceived += uint64(n)
}

// receiveEnded handles a receive that ended without bytes.
func (c *Conn) receiveEnded(res int32) {
	switch errno := syscall.Errno(-res); errno {
	case 0:
		c.eof, c.finish = true, true
		if c.linger {
			c.Close()
			return
		}
		c.process()
		c.finishIfDone()
	case unix.ECANCELED, unix.EINTR:
		c.process()
	case unix.ENOBUFS:
		// Later this turn, when the handlers have given buffers back.
		c.Core.Stats.BuffersExhausted++
		c.Core.starved.push(c)
	default:
		c.fail("receive", errno)
	}
}

// cancelReceive cancels the receive in flight, once.
func (c *Conn) cancelReceive() {
	s := &c.receive
	if s.op != 0 && !s.cancelled {
		s.cancelled = true
		c.Core.cancel(s.op)
	}
}

// arm sees to it that the connection receives if it may: it cancels a multishot
// receive that must stop, or queues the next receive when none is in flight.
func (c *Conn) arm() {
	s := &c.receive
	if c.closing || c.eof {
		return
	}
	if s.op != 0 {
		if s.kind == opMultishot && c.mustStop() {
			c.Core.Stats.ReceivePaused++
			c.cancelReceive()
		}
		return
	}
	if c.links[listStarved].listed || c.memory.waiting || !c.mayReceive() || c.splicing() {
		return
	}
	if s.direct && s.from == s.fill && s.small >= smallReceives {
		c.shrink()
	}
	if s.direct {
		c.armDirect()
		return
	}
	c.armQuiet()
}

// mustStop reports whether a multishot receive in flight must be cancelled: its
// buffers are too small, or they pile up.
func (c *Conn) mustStop() bool {
	s := &c.receive
	return s.direct || (c.requests.stalled || c.memory.waiting) && s.inboxCount >= congestedInbox
}

// mayReceive reports whether a receive may be armed: nothing that was received
// waits for the service, and the bounds are kept.
func (c *Conn) mayReceive() bool {
	s := &c.receive
	if c.linger {
		return true
	}
	if c.finish || s.inbox != nil || c.mute.Armed() {
		return false
	}
	if c.requests.held != nil {
		return s.from == s.fill
	}
	return !c.overBounds(&c.requests, &c.Core.limits)
}

func (c *Conn) armQuiet() {
	if !c.setNonblock(false) {
		return
	}
	s := &c.receive
	tag := uint64(opPoll)
	if c.Core.provided != nil {
		tag = opMultishot
	}
	sqe, userData := c.Core.submit((*connOps)(c), tag)
	if sqe == nil {
		c.Close() // cannot be: slots are kept for each connection
		return
	}
	if tag == opMultishot {
		sqe.PrepRecvMultishot(c.fd, 0, bufferGroup)
	} else {
		sqe.PrepPollAdd(c.fd, unix.POLLIN)
	}
	s.op, s.kind = userData, uint8(tag)
	c.ops++
}

// armDirect queues a receive into the block, which it moves to a fresh one
// first if what is left of it is too little.
func (c *Conn) armDirect() {
	s := &c.receive
	need, ok := c.frameBytes(c.begun())
	if !ok || !c.setNonblock(false) {
		return
	}
	begun := s.fill - s.from
	if begun == 0 && s.block != nil {
		c.refit()
	}
	if !c.makeRoom(max(need, 1)) {
		// Quiet needs no memory of ours, as long as there are buffers to share.
		if begun == 0 && c.Core.provided != nil && c.Core.provided.home > 0 {
			c.goQuiet()
			c.armQuiet()
			return
		}
		c.awaitMemory()
		return
	}
	c.Core.Arena.Unwait(&c.memory)
	c.receiveInto(begun, need)
}

// begun is the unread part of the block.
func (c *Conn) begun() []byte {
	if s := &c.receive; s.block != nil {
		return s.block.mem[s.from:s.fill]
	}
	return nil
}

// receiveInto queues the receive.
func (c *Conn) receiveInto(begun, need int) {
	s := &c.receive
	n, how := c.room(begun, need)
	sqe, userData := c.Core.submit((*connOps)(c), opDirect)
	if sqe == nil {
		c.Close() // cannot be: slots are kept for each connection
		return
	}
	sqe.PrepRecv(c.fd, s.block.address(s.fill), uint32(n), how)
	s.op, s.kind, s.asked = userData, opDirect, n
	c.ops++
}
