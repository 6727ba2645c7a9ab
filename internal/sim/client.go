package sim

import (
	"net/netip"
)

// Client is the far end of a connection: a machine somewhere else, in the hands of
// the test. Its methods are called between the driver's steps.
type Client struct {
	net    *network
	addr   netip.AddrPort // its own
	target netip.AddrPort
	conn   *socket

	outgoing []byte // accepted from the test, waiting for room
	closing  bool   // FIN after outgoing
	received []byte
	total    int
	paused   bool

	connected bool
	refused   bool
	eof       bool
	resetByUs bool
	reset     bool
}

// Dial connects to an address. The connection is there some time later; what is
// sent before travels then. Refused, Ended and Reset tell how it fares.
func (w *World) Dial(addr netip.AddrPort) *Client {
	w.mu.Lock()
	defer w.mu.Unlock()
	own := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), w.net.port())
	c := &Client{net: w.net, addr: own, target: addr}
	w.note(traceNet, "dial", int64(addr.Port()), int64(own.Port()))
	w.net.clients = append(w.net.clients, c)
	w.later(w.delay(w.draws.net), c.connect)
	return c
}

// connect is the SYN's arrival.
func (c *Client) connect() {
	if c.resetByUs {
		return
	}
	w := c.net.w
	l := c.net.find(c.target)
	if l == nil {
		c.refused = true
		c.net.news++
		w.note(traceNet, "refused", int64(c.addr.Port()))
		return
	}
	if len(l.queue) >= l.backlog {
		w.later(1_000_000, c.connect) // the SYN is dropped and sent again
		return
	}
	s := &socket{net: c.net, peer: c.addr, client: c, in: &stream{room: c.net.room()}, out: &stream{room: c.net.room()}}
	s.file = &file{k: l.file.k, obj: s}
	c.conn, c.connected = s, true
	c.net.news++
	l.queue = append(l.queue, s)
	l.file.wake(1) // POLLIN
	c.pump()
}

func (n *network) room() int {
	if n.w.opts.SocketBufferBytes > 0 {
		return n.w.opts.SocketBufferBytes
	}
	return 4096 << n.w.draws.net.IntN(7)
}

// Addr is the client's own address, as the machine sees it.
func (c *Client) Addr() netip.AddrPort { return c.addr }

// Send queues bytes; they leave as the connection has room. The bytes are copied.
func (c *Client) Send(p []byte) {
	c.net.w.mu.Lock()
	defer c.net.w.mu.Unlock()
	if c.closing || c.Broken() {
		return
	}
	c.net.w.note(traceNet, "client sends", int64(c.addr.Port()), int64(len(p)), int64(contentHash(p)))
	c.outgoing = append(c.outgoing, p...)
	c.pump()
}

// Unsent is how many bytes still wait for room.
func (c *Client) Unsent() int { return len(c.outgoing) }

// pump lets leave what there is room for.
func (c *Client) pump() {
	s := c.conn
	if s == nil || c.reset || c.resetByUs {
		return
	}
	if n := min(len(c.outgoing), s.in.free()); n > 0 {
		data := append([]byte(nil), c.outgoing[:n]...)
		c.outgoing = c.outgoing[n:]
		c.net.travel(s.in, data, s.arrived)
	}
	if len(c.outgoing) == 0 && c.closing && !s.in.closing {
		s.in.closing = true
		c.net.inOrder(s.in, s.ended)
	}
}

// Received is what has arrived and was not yet taken by Take. It is valid until
// time advances.
func (c *Client) Received() []byte { return c.received }

// Take drops the first n bytes of Received.
func (c *Client) Take(n int) { c.received = c.received[n:] }

// ReceivedTotal counts all bytes that ever arrived.
func (c *Client) ReceivedTotal() int { return c.total }

// Pause stops the client from reading: what arrives fills the connection, until
// the machine cannot send. Resume reads on.
func (c *Client) Pause() { c.paused = true }

// Resume ends a Pause.
func (c *Client) Resume() {
	c.net.w.mu.Lock()
	defer c.net.w.mu.Unlock()
	c.paused = false
	c.read()
}

// arrived: bytes came from the machine.
func (c *Client) arrived(piece []byte) {
	s := c.conn
	if c.resetByUs || c.reset {
		return
	}
	s.out.buf = append(s.out.buf, piece...)
	if !c.paused {
		c.read()
	}
}

// read takes everything that arrived and makes room.
func (c *Client) read() {
	s := c.conn
	if s == nil || len(s.out.buf) == 0 {
		return
	}
	c.net.w.note(traceNet, "client receives", int64(c.addr.Port()), int64(len(s.out.buf)))
	c.net.news++
	c.received = append(c.received, s.out.buf...)
	c.total += len(s.out.buf)
	s.out.buf = nil
	if !s.closed && !s.gone {
		s.file.wake(4) // POLLOUT
	}
}

// ended: the machine's FIN came.
func (c *Client) ended() {
	c.eof = true
	c.net.news++
	c.net.w.note(traceNet, "client sees end", int64(c.addr.Port()))
}

// wasReset: the connection is broken.
func (c *Client) wasReset() {
	if c.resetByUs || c.reset {
		return
	}
	c.reset = true
	c.net.news++
	c.outgoing = nil
	c.net.w.note(traceNet, "client sees reset", int64(c.addr.Port()))
}

// CloseWrite sends a FIN behind everything that was sent; the client still
// receives.
func (c *Client) CloseWrite() {
	c.net.w.mu.Lock()
	defer c.net.w.mu.Unlock()
	c.net.w.note(traceNet, "client closes", int64(c.addr.Port()))
	c.closing = true
	c.pump()
}

// Close closes the connection as close(2) does: a FIN behind everything sent, and
// what still arrives is of no interest. For the machine it looks as CloseWrite.
func (c *Client) Close() {
	c.CloseWrite()
	c.Resume()
}

// Reset breaks the connection: what has not left is dropped.
func (c *Client) Reset() {
	c.net.w.mu.Lock()
	defer c.net.w.mu.Unlock()
	if c.resetByUs {
		return
	}
	c.net.w.note(traceNet, "client resets", int64(c.addr.Port()))
	c.resetByUs = true
	c.outgoing = nil
	if c.conn != nil {
		c.net.inOrder(c.conn.in, c.conn.wasReset)
	}
}

// Connected reports whether the connection came about.
func (c *Client) Connected() bool { return c.connected }

// Refused reports that nobody listened at the address.
func (c *Client) Refused() bool { return c.refused }

// Ended reports that the machine has closed its side: nothing more will arrive.
func (c *Client) Ended() bool { return c.eof }

// Broken reports that the connection is of no use any more: reset, refused.
func (c *Client) Broken() bool { return c.reset || c.resetByUs || c.refused }
