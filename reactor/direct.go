package reactor

import "golang.org/x/sys/unix"

// How large the blocks of a direct connection are, and how much is received into
// one.

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
