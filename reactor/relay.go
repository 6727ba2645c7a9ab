package reactor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Relaying: bytes that a receive has just brought, and that are in a file too by
// now, leave for other connections from the receive block. They leave when the
// response is finished, in one SendNow with the rest of it, or else from the file:
// a peer that does not read keeps no receive block from being used again.

// Piece is a stretch of a block.
type Piece struct {
	Block    *Block
	From, To int
}

// Piece tells where in receive memory p lies, which is a part of the payload. The
// block is the request's: who wants to keep it retains it. ok is false if p lies
// elsewhere.
func (r *Request) Piece(p []byte) (at Piece, ok bool) {
	if r.in == nil || len(p) == 0 {
		return Piece{}, false
	}
	from := uintptr(unsafe.Pointer(&p[0])) - uintptr(unsafe.Pointer(&r.in.mem[0]))
	if from+uintptr(len(p)) > uintptr(len(r.in.mem)) || from > uintptr(len(r.in.mem)) {
		return Piece{}, false
	}
	return Piece{r.in, int(from), int(from) + len(p)}, true
}

// AddRelay appends a piece to the response, which are also the bytes of f from off
// on (see AddFile). One reference to the file passes to the request; the block is
// the caller's and may be released once the request is finished.
func (r *Request) AddRelay(p Piece, f File, off int64, why Purpose) {
	if p.From < 0 || p.From >= p.To || p.To > len(p.Block.mem) {
		panic("reactor: AddRelay outside of its block")
	}
	r.mustBeOpen("added to")
	p.Block.Retain()
	s := r.Conn.Core.takeSegment()
	s.block, s.off, s.n = p.Block, int64(p.From), p.To-p.From
	s.relayed, s.shift = f, off-int64(p.From)
	s.reader, s.tail, s.tally = why.Reader, why.Tail, why.Sent
	r.add(s)
	r.relays = true
}

// toFile has a relayed segment, or what is left of it, leave from its file.
func (s *segment) toFile() {
	s.block.Release()
	s.block, s.file, s.relayed = nil, s.relayed, nil
	s.off += s.shift
}

// dropRelays has the segments from first on leave from their files.
func (c *Core) dropRelays(first *segment) {
	for s := first; s != nil; s = s.next {
		if s.relayed != nil {
			s.toFile()
			c.Stats.RelaysMissed++
		}
	}
}

// mayRelay says whether a finished response would be the next to leave.
func (r *Request) mayRelay() bool {
	c := r.Conn
	return c.Core.forced <= RungRelay && !c.closing && c.requests.head == r && c.send.first == nil && c.send.op == 0
}

// relay sends what it can of the connection's only response, which has relayed
// segments, before they have to let go of their blocks.
func (c *Conn) relay() {
	if c.send.first == nil {
		return
	}
	core := c.Core
	c.send.since = core.Clock
	c.offer()
	n, more := c.gatherable()
	iovecs := core.iovecs[:n]
	c.fillIovecs(iovecs)
	core.Stats.SendsNow++
	sent, errno := core.Kernel.SendNow(c.fd, iovecs, more)
	c.SendNanos += core.ReadClock() - c.send.since
	switch errno {
	case 0:
		c.countRelayed(sent)
		c.consume(sent)
	case unix.EAGAIN, unix.EINTR:
		core.Stats.SendsBlocked++
	default:
		c.fail("send", errno)
		return
	}
	core.dropRelays(c.send.first)
	c.unstall()
	if c.finish {
		core.ready.push(c)
	}
}

// countRelayed counts the relayed ones among the next n bytes to leave.
func (c *Conn) countRelayed(n int) {
	for s := c.send.first; s != nil && n > 0; s = s.next {
		if s.relayed != nil {
			c.Core.Stats.Rungs[RungRelay].Stretches++
			c.Core.countSent(s, RungRelay, min(n, s.n))
		}
		n -= s.n
	}
}
