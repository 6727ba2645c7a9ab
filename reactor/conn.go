package reactor

import (
	"math"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is one accepted connection. It belongs to its core.
type Conn struct {
	Core *Core
	ID   uint64 // unique on its core, in the order of accepting
	Peer netip.AddrPort
	User any // the service's
	// SendNanos is the time that the core spent sending on it, but for what the ring
	// does.
	SendNanos int64

	fd    int
	index int // in Core.conns
	ops   int // ring requests in flight

	closing  bool // Close was called, or the connection failed
	eof      bool // the peer sends no more
	finish   bool // close when what is pending has left: eof, or drained
	linger   bool // our side is shut down; what comes in is thrown away
	told     bool // the service was told that it is closed
	fdClosed bool
	nonblock bool // O_NONBLOCK is set: the ring must not be given the socket

	receive  receiveState
	requests requestState
	send     sendState

	idle       Timer
	mute       Timer // armed: muted
	lastActive int64
	memory     MemoryWaiter

	links [listKinds]connLink
}

// Each connection can be in several of the core's lists at once.
const (
	listReady = iota
	listSending
	listLarge
	listHungry
	listStarved
	listDead
	listKinds
)

type connLink struct {
	next   *Conn
	listed bool
}

// connList is an intrusive queue of connections.
type connList struct {
	kind       int
	head, tail *Conn
}

// push adds c unless it is in the list already.
func (l *connList) push(c *Conn) {
	link := &c.links[l.kind]
	if link.listed {
		return
	}
	link.listed = true
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.links[l.kind].next = c
	}
	l.tail = c
}

// pop removes the oldest, or returns nil.
func (l *connList) pop() *Conn {
	c := l.head
	if c == nil {
		return nil
	}
	link := &c.links[l.kind]
	l.head = link.next
	if l.head == nil {
		l.tail = nil
	}
	*link = connLink{}
	return c
}

// Tags of a connection's ring requests.
const (
	opMultishot = iota
	opPoll
	opDirect
	opSend
	opPollOut
	opShutdown
	opBulkIn
	opBulkOut
)

// connOps, connTimer and connMemory are Conn under the names of the interfaces
// that it serves for the core, kept out of its public methods.
type (
	connOps    Conn
	connTimer  Conn
	connMemory Conn
)

// Complete ends one of the connection's ring requests.
func (o *connOps) Complete(tag uint64, res int32, f uint32) {
	c := (*Conn)(o)
	if !flags(f).more() {
		c.ops--
	}
	switch tag {
	case opMultishot:
		c.receivedProvided(res, flags(f))
	case opPoll:
		c.readable(res)
	case opDirect:
		c.receivedDirect(res)
	case opSend:
		c.sent(res)
	case opPollOut:
		c.writable(res)
	case opBulkIn:
		c.bulkIn(res)
	case opBulkOut:
		c.bulkOut(res)
	case opShutdown:
	}
	if c.closing && c.ops == 0 {
		c.Core.dead.push(c)
	}
}

// open makes a connection of an accepted socket.
func (c *Core) open(fd int) *Conn {
	conn := &Conn{Core: c, ID: c.nextConn, Peer: c.Kernel.PeerAddress(fd), fd: fd, index: len(c.conns), lastActive: c.Now}
	c.nextConn++
	if errno := c.Kernel.SetNoDelay(fd); errno != 0 && errno != unix.EINVAL {
		c.unexpected("set TCP_NODELAY", errno) // EINVAL: reset already; its receive will tell
	}
	c.conns = append(c.conns, conn)
	c.Stats.ConnectionsOpened++
	c.Stats.ConnectionsOpen++
	conn.armIdle()
	c.service.Opened(conn)
	conn.arm()
	return conn
}

// Close ends the connection: what it still had to send is dropped, what it was
// receiving is cancelled. Requests under way stay valid until they are finished.
// It may be called from any handler on the connection's core, more than once.
func (c *Conn) Close() {
	if c.closing {
		return
	}
	c.closing = true
	core := c.Core
	core.Cancel(&c.idle)
	c.unmute()
	core.Arena.Unwait(&c.memory)
	c.cancelReceive()
	if c.send.op != 0 {
		core.cancel(c.send.op)
	}
	core.cold.gone(c)
	c.abandonBulk()
	c.dropInput()
	c.dropOutput()
	core.dead.push(c)
}

// Closing reports whether the connection is closed or about to be: a response
// would not arrive.
func (c *Conn) Closing() bool { return c.closing }

// Pending is the number of the connection's requests not yet finished, or
// finished and waiting for earlier ones.
func (c *Conn) Pending() int { return c.requests.pending }

// fail ends the connection for an error of its socket: quietly when the peer
// went away, counted by name when it is anything else.
func (c *Conn) fail(what string, errno syscall.Errno) {
	if c.closing {
		return
	}
	switch errno {
	case unix.ECONNRESET, unix.EPIPE, unix.ETIMEDOUT, unix.ENOTCONN, unix.EHOSTUNREACH, unix.ENETUNREACH:
		c.Core.Stats.ConnectionsReset++
	default:
		c.Core.unexpected(what, errno)
	}
	c.Close()
}

// unreadable closes a connection whose response lies in a file that cannot be read: the frame's length has been said,
// and nothing else can stand for what is missing.
func (c *Conn) unreadable(errno syscall.Errno) {
	if c.closing {
		return
	}
	c.Core.Stats.FileReadErrors++
	c.Core.Stats.LastFileError = errno
	c.Close()
}

// bury releases what is left of closed connections, as far as the kernel and the
// service have let go of it: the descriptor when no ring request uses it, the
// rest when all requests are finished. It runs after the handlers, so that a
// connection never vanishes under one.
func (c *Core) bury() {
	for conn := c.dead.pop(); conn != nil; conn = c.dead.pop() {
		if conn.ops > 0 {
			continue // comes back with its last completion
		}
		if !conn.fdClosed {
			conn.fdClosed = true
			if errno := c.Kernel.CloseNow(conn.fd); errno != 0 {
				c.unexpected("close a connection", errno)
			}
			conn.dropInput()
			conn.dropOutput()
		}
		if conn.requests.pending > 0 || conn.told {
			continue // comes back with its last Finish
		}
		if conn.requests.bytes != 0 {
			panic("reactor: a connection ended with pending bytes that are nobody's")
		}
		conn.told, c.again = true, true
		c.forget(conn)
		c.service.Closed(conn)
	}
}

// forget takes a connection out of the core's table.
func (c *Core) forget(conn *Conn) {
	last := len(c.conns) - 1
	moved := c.conns[last]
	c.conns[conn.index], moved.index = moved, conn.index
	c.conns[last] = nil
	c.conns = c.conns[:last]
	c.Stats.ConnectionsOpen--
}

// finishIfDone ends a connection whose peer sends no more, or which is being
// drained, once everything received is answered and has left.
func (c *Conn) finishIfDone() {
	if !c.finish || c.closing || c.linger {
		return
	}
	if c.requests.head != nil || c.send.first != nil || c.memory.waiting || c.links[listReady].listed {
		return
	}
	if c.mute.Armed() && c.Core.drain.phase == drainNone {
		return // frames of it may be waiting
	}
	if c.eof {
		if c.unparsed() > 0 {
			c.Core.Stats.FramesCutShort++
		}
		c.Close()
		return
	}
	c.lingerOn()
}

// lingerOn shuts our side down and waits for the peer to close: closing with
// unread bytes in the socket would reset it and take the last responses along.
func (c *Conn) lingerOn() {
	c.linger = true
	c.unmute()
	sqe, _ := c.Core.submit((*connOps)(c), opShutdown)
	if sqe == nil {
		c.Close()
		return
	}
	c.ops++
	sqe.PrepShutdown(c.fd, unix.SHUT_WR)
	c.dropInput()
	c.arm()
	c.Core.After(c.Core.limits.LingerNanos, &c.idle, (*connTimer)(c))
}

// armIdle arms the connection's one timer for what may be due first. Activity
// does not move it: when it fires it looks at lastActive.
func (c *Conn) armIdle() {
	limits := &c.Core.limits
	wait := int64(math.MaxInt64)
	if limits.IdleNanos != math.MaxInt64 {
		wait = c.lastActive + limits.IdleNanos - c.Core.Now
		if wait <= 0 { // due, but it waits for the service: look again later
			wait = limits.IdleNanos
		}
	}
	if c.receive.direct {
		wait = min(wait, limits.DirectIdleNanos)
	}
	if wait != math.MaxInt64 {
		c.Core.After(wait, &c.idle, (*connTimer)(c))
	}
}

// Fire looks at what an idle connection costs.
func (t *connTimer) Fire(*Timer) {
	c := (*Conn)(t)
	core := c.Core
	if c.linger {
		c.Close()
		return
	}
	idle := core.Now - c.lastActive
	// A connection whose response does not move is idle; one that waits for the
	// service is not.
	waitsForService := c.requests.head != nil && c.send.first == nil
	if idle >= core.limits.IdleNanos && !waitsForService {
		core.Stats.ConnectionsIdle++
		c.Close()
		return
	}
	if c.starves(idle) {
		core.Stats.ConnectionsStarved++
		c.Close()
		return
	}
	if c.receive.direct && idle >= core.limits.DirectIdleNanos {
		c.leaveDirectIdle()
	}
	c.armIdle()
}

// starves reports whether the connection keeps memory from others for a frame
// that does not come.
func (c *Conn) starves(idle int64) bool {
	return idle >= c.Core.limits.StarvedNanos && c.receive.block != nil && c.receive.fill > c.receive.from &&
		c.requests.pending == 0 && c.Core.Arena.waiters.head != nil
}

// setNonblock sets or clears O_NONBLOCK if it is not as wanted.
func (c *Conn) setNonblock(on bool) bool {
	if c.nonblock == on {
		return true
	}
	if errno := c.Core.Kernel.SetNonblock(c.fd, on); errno != 0 {
		c.fail("set O_NONBLOCK", errno)
		return false
	}
	c.nonblock = on
	return true
}
