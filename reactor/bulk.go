package reactor

import (
	"syscall"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// The bulk rung moves a large resident stretch by two linked ring requests, SPLICE
// file -> pipe and SPLICE pipe -> socket. The ring gives every SPLICE to a worker,
// which costs 60 us more than sendfile and takes none of the core's time: so it is
// for long stretches while the core has others to serve.
//
// The socket is O_NONBLOCK and the splice SPLICE_F_NONBLOCK, so that no worker
// ever waits for a consumer: what a full socket did not take stays in the pipe,
// and the socket is polled for room. A pipe that holds bytes, or may, belongs to
// its connection until they have left, or is closed; never is it used for another.
// It is taken from a connection whose socket stays full when another wants one:
// what was in it is sent from the file once more.

// bulkPool is a core's pipes.
type bulkPool struct {
	core   *Core
	home   *bulkMove // empty pipes
	pipes  int       // in use or at home
	full   *bulkMove // who wait for room in their sockets, longest first
	last   *bulkMove
	failed int64 // when a pipe could not be made last
}

// bulkMove is a pipe, and what is moved through it.
type bulkMove struct {
	reader, writer, room int

	conn   *Conn
	file   File          // retained: a worker looks its descriptor up when it comes to it
	slot   int           // of the observer; 0: none
	asked  int           // bytes for the pipe
	filled int           // of these, put into it
	sent   int           // of these, taken out again by the socket
	ops    int           // splices in flight
	unread syscall.Errno // why the file could not be read
	errno  syscall.Errno // why the socket took nothing
	parked bool          // on the pool's list full
	since  int64         // when it was put there

	next, prev *bulkMove
}

// stealNanos is how long a socket must have been full before its pipe is taken.
const stealNanos = 5_000_000

// pipeRetryNanos is how long no pipe is asked for after the kernel refused one.
const pipeRetryNanos = 100_000_000

// splicing tells that a splice is in flight, which wants the socket O_NONBLOCK: a
// receive, which wants it blocking, is armed when it has ended.
func (c *Conn) splicing() bool { return c.send.bulk != nil && c.send.bulk.ops > 0 }

// bulkFits tells whether a stretch is one for the bulk rung.
func (c *Core) bulkFits(s *segment) bool {
	switch c.forced {
	case RungAuto, RungRelay:
		return s.n >= c.limits.BulkBytes && !c.alone()
	case RungBulk:
		return true
	}
	return false
}

// startBulk begins to move a stretch. false: it is for another
// rung, what is next of it being not resident, or no pipe being left.
func (c *Conn) startBulk(s *segment) (bool, syscall.Errno) {
	core := c.Core
	m := core.bulk.take()
	if m == nil {
		return false, 0
	}
	// Pages, not bytes, fill a pipe: a range that begins inside one takes one more.
	n := core.resident(s, min(s.n, m.room-int(s.off&(pageBytes-1))))
	if n < min(s.n, core.limits.BulkBytes/2) || n == 0 || !c.setNonblock(true) {
		core.bulk.put(m)
		return c.closing, waits
	}
	core.use(s, RungBulk)
	s.file.Retain()
	m.conn, m.file, m.asked, m.filled, m.sent, m.unread, m.errno = c, s.file, n, 0, 0, 0, 0
	m.slot = core.observed.begin(s.file, s.reader, s.off, n)
	c.send.bulk = m
	return true, m.splice(s.off)
}

// splice submits both halves.
func (m *bulkMove) splice(off int64) syscall.Errno {
	c := m.conn
	core := c.Core
	core.Ring.Reserve(2) // a chain must not be cut in two
	in, out := core.Submit((*connOps)(c), opBulkIn), (*ring.SQE)(nil)
	if in == nil {
		c.Close() // cannot be: slots are kept for each connection
		return waits
	}
	in.PrepSplice(m.file.FD(), uint64(off), m.writer, ring.CurrentPosition, uint32(m.asked), unix.SPLICE_F_NONBLOCK)
	in.Flags |= ring.SQEIOLink
	if out = core.Submit((*connOps)(c), opBulkOut); out == nil {
		panic("reactor: half of a chain has no slot")
	}
	m.prepareOut(out, m.asked)
	m.ops = 2
	c.ops += 2
	return waits
}

func (m *bulkMove) prepareOut(out *ring.SQE, n int) {
	out.PrepSplice(m.reader, ring.CurrentPosition, m.conn.fd, ring.CurrentPosition, uint32(n), unix.SPLICE_F_NONBLOCK)
}

// resumeBulk sends what is left in the pipe, now that the socket has room.
func (c *Conn) resumeBulk() syscall.Errno {
	m := c.send.bulk
	c.Core.bulk.unpark(m)
	if !c.setNonblock(true) {
		return waits
	}
	out := c.Core.Submit((*connOps)(c), opBulkOut)
	if out == nil {
		c.Close() // cannot be: slots are kept for each connection
		return waits
	}
	m.prepareOut(out, m.filled-m.sent)
	m.ops++
	c.ops++
	return waits
}

// bulkIn takes the end of the half that fills the pipe.
func (c *Conn) bulkIn(res int32) {
	m := c.send.bulk
	m.ops--
	if res < 0 {
		m.unread = syscall.Errno(-res)
	}
	m.filled = max(int(res), 0)
	c.Core.observed.end(&m.slot, m.filled)
	c.bulkStep()
}

// bulkOut takes the end of the half that empties it.
func (c *Conn) bulkOut(res int32) {
	m := c.send.bulk
	m.ops--
	switch errno := syscall.Errno(-res); {
	case res > 0:
		m.sent += int(res)
		if !c.closing {
			c.Core.countSent(c.send.first, RungBulk, int(res))
			c.consume(int(res))
		}
	case errno == unix.ECANCELED, errno == unix.EAGAIN, errno == unix.EINTR, res == 0:
	default:
		m.errno = errno
	}
	c.bulkStep()
}

// bulkStep goes on when no splice is in flight.
func (c *Conn) bulkStep() {
	m := c.send.bulk
	core := c.Core
	switch {
	case m.ops > 0:
		return
	case c.closing:
		c.endBulk()
		c.dropOutput()
		return
	case m.unread != 0:
		errno := m.unread
		c.endBulk()
		c.unreadable(errno)
		return
	case m.errno != 0:
		errno := m.errno
		c.endBulk()
		c.fail("splice", errno)
		return
	case m.filled == 0:
		c.endBulk()
		c.cutShort()
		return
	case m.sent == m.filled:
		c.endBulk()
		c.afterSend()
	case m.sent == 0 && m.filled < m.asked:
		// The file gave less than was asked for, which cancelled the other half.
		m.asked = m.filled
		core.sending.push(c)
	default:
		core.Stats.SendsBlocked++
		core.bulk.park(m)
		c.awaitRoom()
	}
	// A receive may have been put off: it wants the socket blocking. What was
	// received before is dispatched first, which may be a block full of frames.
	core.ready.push(c)
}

// endBulk gives the pipe back.
func (c *Conn) endBulk() {
	m := c.send.bulk
	c.send.bulk = nil
	c.Core.bulk.unpark(m)
	c.Core.observed.end(&m.slot, m.filled)
	m.file.Release()
	m.conn, m.file = nil, nil
	c.Core.bulk.put(m)
}

// abandonBulk ends a move of a connection that is being closed. A splice that a
// worker is at cannot be cancelled; shutting the socket down ends it, should it
// wait there in spite of O_NONBLOCK.
func (c *Conn) abandonBulk() {
	m := c.send.bulk
	if m == nil {
		return
	}
	if m.ops == 0 {
		c.endBulk()
		return
	}
	if sqe := c.Core.Submit((*connOps)(c), opShutdown); sqe != nil {
		sqe.PrepShutdown(c.fd, unix.SHUT_RDWR)
		c.ops++
	}
}

// take is an empty pipe, a new one, or one whose connection's socket is full.
func (p *bulkPool) take() *bulkMove {
	if m := p.home; m != nil {
		p.home, m.next = m.next, nil
		return m
	}
	if p.pipes >= p.core.limits.BulkPipes {
		m := p.full
		if m == nil || p.core.Now-m.since < stealNanos {
			return nil
		}
		p.core.Stats.BulkStolen++
		m.conn.endBulk() // it holds bytes, and so is closed
	}
	return p.open()
}

// open makes a pipe. One of less than half the size would not be worth a worker.
func (p *bulkPool) open() *bulkMove {
	if p.failed != 0 && p.core.Now-p.failed < pipeRetryNanos {
		return nil
	}
	reader, writer, room, errno := p.core.Kernel.Pipe(p.core.limits.PipeBytes)
	if errno == 0 && room < p.core.limits.PipeBytes/2 {
		p.core.Kernel.CloseNow(reader)
		p.core.Kernel.CloseNow(writer)
		errno = unix.EMFILE
	}
	if errno != 0 {
		p.failed = max(p.core.Now, 1)
		return nil
	}
	p.pipes++
	p.core.Stats.BulkPipes = p.pipes
	return &bulkMove{reader: reader, writer: writer, room: room}
}

// put takes a pipe back: home if it is known to be empty, else it is closed.
func (p *bulkPool) put(m *bulkMove) {
	if m.sent != m.filled || m.unread != 0 || m.errno != 0 || p.core.drain.phase >= drainService {
		p.core.Stats.BulkPipesClosed++
		p.discard(m)
		return
	}
	m.asked, m.filled, m.sent = 0, 0, 0
	m.next, p.home = p.home, m
}

func (p *bulkPool) discard(m *bulkMove) {
	for _, fd := range [2]int{m.reader, m.writer} {
		if errno := p.core.Kernel.CloseNow(fd); errno != 0 {
			p.core.unexpected("close a pipe", errno)
		}
	}
	p.pipes--
	p.core.Stats.BulkPipes = p.pipes
}

// park lists a move that waits for room in its socket.
func (p *bulkPool) park(m *bulkMove) {
	m.parked, m.since, m.next, m.prev = true, p.core.Now, nil, p.last
	if p.last != nil {
		p.last.next = m
	} else {
		p.full = m
	}
	p.last = m
}

func (p *bulkPool) unpark(m *bulkMove) {
	if !m.parked {
		return
	}
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		p.full = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	} else {
		p.last = m.prev
	}
	m.parked, m.next, m.prev = false, nil, nil
}

// close closes the pipes at home; those in use are when their moves end.
func (p *bulkPool) close() {
	for p.home != nil {
		m := p.home
		p.home = m.next
		p.discard(m)
	}
}
