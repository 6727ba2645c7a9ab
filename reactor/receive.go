package reactor

import (
	"encoding/binary"
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
	asked      int    // bytes that the direct receive in flight may bring

	size      int // of the next direct block
	lastFrame int // size of the last frame, prefix included
	small     int // direct receives in a row that quiet would have done as well
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
			if !c.closing && !c.requests.stalled {
				c.requests.stalled = true
				c.Core.Stats.DispatchPaused++
			}
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

// nextFrame takes the next whole frame and a reference to what it lies in. in
// is nil when there is none yet (or no memory for it, or the connection was
// closed for its length).
func (c *Conn) nextFrame() (payload []byte, in *Block) {
	s := &c.receive
	for {
		if s.fill > s.from { // a frame has begun in the block
			begun := s.block.mem[s.from:s.fill]
			need, ok := c.frameBytes(begun)
			if !ok {
				return nil, nil
			}
			if len(begun) >= prefixBytes && len(begun) >= need {
				return c.takeFromBlock(need)
			}
			if s.inbox == nil || !c.pull(need) {
				return nil, nil
			}
			continue
		}
		chunk := s.inbox
		if chunk == nil {
			return nil, nil
		}
		begun := chunk.mem[chunk.from:chunk.to]
		need, ok := c.frameBytes(begun)
		if !ok {
			return nil, nil
		}
		if len(begun) >= prefixBytes && len(begun) >= need {
			return c.takeInPlace(chunk, need)
		}
		if !c.pull(need) {
			return nil, nil
		}
	}
}

// frameBytes reads the length of the frame that begins with b: how many bytes
// of it are needed next, all of them or at first its prefix. A length that must
// not be believed closes the connection.
//
//	+----------------+--------------------+
//	| length, int32  | length bytes       |   big-endian
//	+----------------+--------------------+
func (c *Conn) frameBytes(b []byte) (need int, ok bool) {
	if len(b) < prefixBytes {
		return prefixBytes, true
	}
	length := int32(binary.BigEndian.Uint32(b))
	switch {
	case length < 0:
		c.Core.Stats.FramesNegative++
	case int(length) > c.Core.limits.MaxFrameBytes:
		c.Core.Stats.FramesTooLarge++
	default:
		return prefixBytes + int(length), true
	}
	c.Close()
	return 0, false
}

// takeInPlace takes a frame that lies whole in a provided buffer. While buffers
// are scarce a small frame is copied out of it.
func (c *Conn) takeInPlace(chunk *Block, need int) ([]byte, *Block) {
	frame := chunk.mem[chunk.from : chunk.from+need]
	in := chunk
	if need <= c.Core.limits.CopyOutBytes && chunk.home.scarce() {
		if b := c.Core.Arena.allocReceive(need); b != nil {
			copy(b.mem, frame)
			frame, in = b.mem[:need], b
			c.Core.Stats.FramesCopiedOut++
			c.Core.Stats.BytesCopied += uint64(need)
		}
	}
	if in == chunk {
		in.Retain()
	}
	chunk.from += need
	if chunk.from == chunk.to {
		c.popInbox()
	}
	c.receive.lastFrame = need
	return frame[prefixBytes:need:need], in
}

// takeFromBlock takes a whole frame from the block.
func (c *Conn) takeFromBlock(need int) ([]byte, *Block) {
	s := &c.receive
	b := s.block
	frame := b.mem[s.from : s.from+need]
	s.from += need
	s.lastFrame = need
	if s.from == s.fill && !s.direct {
		s.block, s.from, s.fill = nil, 0, 0 // our reference passes to the request
	} else {
		b.Retain()
	}
	return frame[prefixBytes:need:need], b
}

// pull moves bytes of the inbox's first buffer into the block, up to need bytes
// of the frame, making room first. It returns false when there is no memory.
func (c *Conn) pull(need int) bool {
	s := &c.receive
	if !c.makeRoom(need) {
		c.awaitMemory()
		return false
	}
	c.Core.Arena.Unwait(&c.memory)
	chunk := s.inbox
	n := copy(s.block.mem[s.fill:s.from+need], chunk.mem[chunk.from:chunk.to])
	s.fill += n
	c.Core.Stats.BytesCopied += uint64(n)
	chunk.from += n
	if chunk.from == chunk.to {
		c.popInbox()
	}
	return true
}

// makeRoom sees to it that need bytes from s.from on fit in the block, moving
// what has been received of them to a larger one if not. No direct receive is
// in flight.
func (c *Conn) makeRoom(need int) bool {
	s := &c.receive
	if need > c.Core.limits.ProvidedBufferBytes {
		c.goDirect(firstDirectBytes)
	}
	if s.block != nil {
		if s.from == s.fill && !s.block.shared() {
			s.from, s.fill = 0, 0
		}
		if s.from+need <= s.block.Size() {
			return true
		}
	}
	size := need
	if s.direct {
		size = max(need, c.directSize())
	}
	b := c.Core.Arena.allocReceive(size)
	if b == nil && size > need {
		b = c.Core.Arena.allocReceive(need)
	}
	if b == nil {
		return false
	}
	moved := 0
	if s.block != nil {
		moved = copy(b.mem, s.block.mem[s.from:s.fill])
		c.Core.Stats.BytesCopied += uint64(moved)
		s.block.Release()
	}
	s.block, s.from, s.fill = b, 0, moved
	return true
}

// directSize is how large the next direct block should be: the connection's
// measure, room for a frame like its last, and little while memory is short.
func (c *Conn) directSize() int {
	s := &c.receive
	if a := c.Core.Arena; a.committed() > a.limit/2 {
		return smallDirectBytes
	}
	return max(s.size, s.predicted())
}

// predicted is the size that the next frame is taken to have: the last one's.
func (s *receiveState) predicted() int { return min(s.lastFrame, maxPredicted) }

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

// unparsed is the number of bytes received and not dispatched.
func (c *Conn) unparsed() int {
	n := c.receive.fill - c.receive.from
	for b := c.receive.inbox; b != nil; b = b.next {
		n += b.to - b.from
	}
	return n
}

func (c *Conn) pushInbox(b *Block) {
	s := &c.receive
	if s.inboxTail == nil {
		s.inbox = b
	} else {
		s.inboxTail.next = b
	}
	s.inboxTail = b
	s.inboxCount++
}

func (c *Conn) popInbox() {
	s := &c.receive
	b := s.inbox
	s.inbox = b.next
	if s.inbox == nil {
		s.inboxTail = nil
	}
	s.inboxCount--
	b.next = nil
	b.Release()
}

// dropInput throws away what was received and not dispatched. A block that the
// kernel is receiving into stays until that ends.
func (c *Conn) dropInput() {
	s := &c.receive
	for s.inbox != nil {
		c.popInbox()
	}
	if s.op != 0 && s.kind == opDirect {
		return
	}
	if s.block != nil {
		s.block.Release()
		s.block = nil
	}
	s.from, s.fill = 0, 0
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
			c.pushInbox(b)
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
	s.fill += int(res)
	c.measure(int(res))
	c.process()
}

// measure fits the direct block to what arrives.
func (c *Conn) measure(n int) {
	s, limits := &c.receive, &c.Core.limits
	if n == s.asked {
		s.size = min(2*s.size, limits.DirectBlockBytes)
	}
	if n <= limits.ProvidedBufferBytes/2 {
		s.small++
		return
	}
	s.small = 0
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
	if c.links[listStarved].listed || c.memory.waiting || !c.mayReceive() {
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

// shrink fits a direct connection to frames that have become small: it goes
// quiet where that is as fast, or makes do with a small block.
func (c *Conn) shrink() {
	s := &c.receive
	if s.lastFrame > c.Core.limits.ProvidedBufferBytes {
		return
	}
	if c.Core.provided != nil {
		c.goQuiet()
		return
	}
	s.small, s.size = 0, smallDirectBytes
	if s.block != nil && s.block.Size() > smallDirectBytes {
		s.block.Release()
		s.block, s.from, s.fill = nil, 0, 0
	}
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
	if c.finish || s.inbox != nil {
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

// refit lets go of an empty block in which too little room is left: less than a
// frame like the last, or than a quarter of it. One that nobody else holds is
// used from its start again.
func (c *Conn) refit() {
	s := &c.receive
	if !s.block.shared() {
		s.from, s.fill = 0, 0
		if s.block.Size() >= s.predicted() && s.block.Size() >= s.size/2 {
			return
		}
	}
	room := s.block.Size() - s.fill
	if room < s.predicted() || room < s.block.Size()/4 || s.fill == 0 {
		s.block.Release()
		s.block, s.from, s.fill = nil, 0, 0
	}
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

// room is how many bytes to receive into the block, and with which flag. A frame
// that did not fit to its end would have to be moved, so the kernel is asked for
// no more than what frames like the last will fill. Of a frame too large for an
// ordinary block it is asked for exactly the rest, what follows belonging in
// another block, and for up to wholeReceive of it in one completion.
func (c *Conn) room(begun, need int) (n int, how uint32) {
	s := &c.receive
	end := s.fill
	if begun >= prefixBytes {
		end = max(s.from+need, s.fill)
		if need > c.Core.limits.DirectBlockBytes {
			return min(end-s.fill, wholeReceive), unix.MSG_WAITALL
		}
	}
	rest := s.block.Size() - end
	if frame := s.predicted(); frame > 0 && rest >= frame {
		rest -= rest % frame
	} else if end > s.fill {
		rest = 0
	}
	return end - s.fill + rest, 0
}
