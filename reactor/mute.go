package reactor

// A muted connection is not received from, and none of its frames are dispatched,
// until its time has passed: back-pressure for a client that has used more than it
// may, which TCP hands on to it. Requests under way are finished and answered. What
// it had sent already leaves the buffers that connections share, so that waiting
// costs nobody else.

// connMute is Conn as the handler of its mute's timer.
type connMute Conn

// Mute mutes the connection for nanos from this turn's time on, or for as long as it
// is muted already if that is longer.
func (c *Conn) Mute(nanos int64) {
	if c.closing || c.linger || nanos <= 0 || c.mute.Armed() && c.mute.deadline >= c.Core.Now+nanos {
		return
	}
	if !c.mute.Armed() {
		c.Core.Stats.ConnectionsMuted++
		c.Core.Stats.Mutes++
	}
	c.Core.After(nanos, &c.mute, (*connMute)(c))
	c.hush()
}

// Muted reports whether the connection is.
func (c *Conn) Muted() bool { return c.mute.Armed() }

// hush ends the receive in flight of a muted connection, and moves what came by it
// to memory of its own. Without room for that it stays where it is.
func (c *Conn) hush() {
	s := &c.receive
	if s.op != 0 && s.kind != opPoll {
		c.cancelReceive()
	}
	if s.inbox == nil || s.op != 0 && s.kind == opDirect {
		return
	}
	b := c.Core.Arena.allocReceive(c.unparsed())
	if b == nil {
		return
	}
	moved := 0
	if s.block != nil {
		moved = copy(b.mem, s.block.mem[s.from:s.fill])
		s.block.Release()
	}
	s.block, s.from, s.fill = b, 0, moved
	for chunk := s.inbox; chunk != nil; chunk = s.inbox {
		n := copy(b.mem[s.fill:], chunk.mem[chunk.from:chunk.to])
		c.filled(n, chunk.came)
		c.popInbox()
	}
	c.Core.Stats.BytesCopied += uint64(s.fill)
}

// unmute forgets a mute.
func (c *Conn) unmute() {
	if c.mute.Armed() {
		c.Core.Cancel(&c.mute)
		c.Core.Stats.ConnectionsMuted--
	}
}

// Fire lets the connection go on.
func (m *connMute) Fire(*Timer) {
	c := (*Conn)(m)
	c.Core.Stats.ConnectionsMuted--
	if !c.closing {
		c.requests.stalled = false
		c.Core.ready.push(c)
	}
}
