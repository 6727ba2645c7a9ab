package reactor

import "encoding/binary"

// Frames are cut from what was received: see receive.go for where it lies.

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
	c.receive.frameBegan, c.receive.frameWhole = chunk.came, chunk.came
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
	s.frameBegan, s.frameWhole = s.began, s.came
	s.began = s.came // of the next
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
	c.filled(n, chunk.came)
	c.Core.Stats.BytesCopied += uint64(n)
	chunk.from += n
	if chunk.from == chunk.to {
		c.popInbox()
	}
	return true
}

// filled counts n more bytes into the block, which came at a time of the core's
// Clock.
func (c *Conn) filled(n int, came int64) {
	s := &c.receive
	if s.from == s.fill {
		s.began = came
	}
	s.fill += n
	s.came = came
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
