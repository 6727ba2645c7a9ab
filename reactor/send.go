package reactor

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Responses leave in the order of their requests. What is ready when a turn ends
// goes out with it, in one of two ways:
//
//   - bytes only: one ring SEND or SENDMSG for all of a connection's finished
//     responses, submitted with the turn's one enter;
//   - with file ranges: bytes by SendNow with MSG_MORE, files by SendFileNow, as
//     much as a turn allows a connection. A full socket is polled for room.
//
// SendFileNow wants the socket O_NONBLOCK and the ring wants it blocking. The
// flag is set before the first file and stays until the next ring receive has to
// be armed; a receive armed before keeps waiting as it was (the kernel looked at
// the flag when it was issued, see TestNonblockLeavesArmedReceive). A socket that
// has it sends its bytes by SendNow too.

// sendState is a connection's sending side.
type sendState struct {
	first, last *segment // ready to leave, in order
	head, tail  *Request // whose they are
	since       int64    // the core's Clock when it was last tried to send
	op          uint64   // user data of the send or poll in flight, 0 when none
	header      *Block   // the msghdr and iovecs of the send in flight
	inRing      bool     // it is a send: the kernel reads the segments
}

// append adds a finished request's response.
func (s *sendState) append(r *Request) {
	if s.last == nil {
		s.first = r.first
	} else {
		s.last.next = r.first
	}
	s.last = r.last
	s.last.last = true
	if r.next = nil; s.tail == nil {
		s.head = r
	} else {
		s.tail.next = r
	}
	s.tail = r
}

// sendAll sends for the connections that had something to send when it was
// called. Those that used up their turn come again in the next.
func (c *Core) sendAll() {
	last := c.sending.tail
	if last == nil {
		return
	}
	for {
		conn := c.sending.pop()
		conn.flush()
		if conn == last {
			return
		}
	}
}

// flush sends what is ready, unless a send is in flight: its completion comes
// back here.
func (c *Conn) flush() {
	s := &c.send
	if s.op != 0 || s.first == nil || c.closing {
		return
	}
	s.since = c.Core.Clock
	c.offer()
	n, files := c.gatherable()
	if files || c.nonblock {
		c.flushNow()
		return
	}
	c.submitSend(n)
}

// gatherable counts the segments of the next send and tells whether one of them
// is a file.
func (c *Conn) gatherable() (n int, files bool) {
	for s := c.send.first; s != nil && n < c.Core.limits.SendBatch; s = s.next {
		if s.file != nil {
			return n, true
		}
		n++
	}
	return n, false
}

// sendMessage is how a SENDMSG lies in its block.
type sendMessage struct {
	header unix.Msghdr
	iovecs [maxSendBatch]unix.Iovec
}

// submitSend queues one ring send of the first n segments, all of them bytes.
func (c *Conn) submitSend(n int) {
	s := &c.send
	if n > 1 {
		s.header = c.Core.Arena.Alloc(int(unsafe.Sizeof(sendMessage{})))
	}
	sqe, userData := c.Core.submit((*connOps)(c), opSend)
	if sqe == nil {
		c.Close() // cannot be: slots are kept for each connection
		return
	}
	// MSG_WAITALL lets the kernel carry on after a short send.
	const how = unix.MSG_NOSIGNAL | unix.MSG_WAITALL
	if s.header == nil {
		sqe.PrepSend(c.fd, s.first.block.address(int(s.first.off)), uint32(s.first.n), how)
	} else {
		message := (*sendMessage)(s.header.address(0))
		c.fillIovecs(message.iovecs[:n])
		message.header = unix.Msghdr{Iov: &message.iovecs[0], Iovlen: uint64(n)}
		sqe.PrepSendmsg(c.fd, &message.header, how)
	}
	s.op, s.inRing = userData, true
	c.ops++
	c.Core.Stats.Sends++
}

// fillIovecs points iovecs at the first segments, all of them bytes.
func (c *Conn) fillIovecs(iovecs []unix.Iovec) {
	s := c.send.first
	for i := range iovecs {
		iovecs[i] = unix.Iovec{Base: (*byte)(s.block.address(int(s.off))), Len: uint64(s.n)}
		s = s.next
	}
}

// sent takes the completion of a ring send.
func (c *Conn) sent(res int32) {
	s := &c.send
	s.op, s.inRing = 0, false
	if s.header != nil {
		s.header.Release()
		s.header = nil
	}
	if c.closing {
		c.dropOutput()
		return
	}
	switch errno := syscall.Errno(-res); {
	case res >= 0:
		c.consume(int(res))
	case errno == unix.EAGAIN || errno == unix.EINTR || errno == unix.ENOBUFS:
		c.awaitRoom()
		return
	default:
		c.fail("send", errno)
		return
	}
	c.afterSend()
}

// afterSend carries on with what is left.
func (c *Conn) afterSend() {
	if c.send.first != nil {
		c.Core.sending.push(c)
	}
	c.unstall()
	if c.finish {
		c.Core.ready.push(c)
	}
}

// consume takes n sent bytes off the queue.
func (c *Conn) consume(n int) {
	c.lastActive = c.Core.Now
	c.Core.Stats.BytesSent += uint64(n)
	s := &c.send
	for n > 0 && s.first != nil {
		part := min(n, s.first.n)
		before := s.first.cost()
		if s.first.file != nil {
			c.Core.Stats.FileBytesSent += uint64(part)
		}
		s.first.off += int64(part)
		s.first.n -= part
		n -= part
		if s.first.n > 0 {
			c.requests.bytes -= before - s.first.cost()
			return
		}
		c.requests.bytes -= before
		c.popSegment()
	}
	s.since = c.Core.Clock
	c.offer()
}

func (c *Conn) popSegment() {
	s := &c.send
	done := s.first
	s.first = done.next
	if s.first == nil {
		s.last = nil
	}
	if done.last {
		c.responseLeft(done.n == 0)
	}
	c.Core.putSegment(done)
}

// dropOutput throws away what was to be sent. What the kernel is sending from
// stays until that ends.
func (c *Conn) dropOutput() {
	if c.send.inRing {
		return
	}
	for c.send.first != nil {
		c.requests.bytes -= c.send.first.cost()
		c.popSegment()
	}
}

// flushNow sends bytes and files inline until the socket is full, the turn's
// share is used up, or nothing is left.
func (c *Conn) flushNow() {
	left := c.Core.limits.SendFileTurnBytes
	for c.send.first != nil {
		if left <= 0 {
			c.Core.sending.push(c)
			break
		}
		n, errno := c.sendNow(left)
		c.Core.ReadClock()
		c.Core.Stats.SendsNow++
		switch {
		case errno == unix.EAGAIN:
			c.Core.Stats.SendsBlocked++
			c.awaitRoom()
			return
		case errno == unix.EINTR:
			continue
		case errno != 0:
			c.fail("send", errno)
			return
		case n == 0:
			c.Core.Stats.FilesCutShort++
			c.Close()
			return
		}
		c.consume(n)
		left -= n
	}
	c.unstall()
	if c.finish {
		c.Core.ready.push(c)
	}
}

// sendNow makes one call: the bytes before the next file, or up to limit bytes
// of the file that is next. 0 without an error is a file that ended early.
func (c *Conn) sendNow(limit int) (int, syscall.Errno) {
	first := c.send.first
	if first.file == nil {
		n, files := c.gatherable()
		iovecs := c.Core.iovecs[:n]
		c.fillIovecs(iovecs)
		return c.Core.Kernel.SendNow(c.fd, iovecs, files)
	}
	if !c.setNonblock(true) {
		return 0, unix.EAGAIN
	}
	return c.Core.Kernel.SendFileNow(c.fd, first.file.FD(), first.off, min(first.n, limit))
}

// awaitRoom polls a full socket for room. A poll does not mind O_NONBLOCK.
func (c *Conn) awaitRoom() {
	if c.closing || c.send.op != 0 {
		return
	}
	sqe, userData := c.Core.submit((*connOps)(c), opPollOut)
	if sqe == nil {
		c.Close() // cannot be: slots are kept for each connection
		return
	}
	sqe.PrepPollAdd(c.fd, unix.POLLOUT)
	c.send.op = userData
	c.ops++
}

// writable takes the completion of the poll.
func (c *Conn) writable(res int32) {
	c.send.op = 0
	if c.closing {
		c.dropOutput()
		return
	}
	if res < 0 && res != -int32(unix.EINTR) {
		c.fail("poll for room", syscall.Errno(-res))
		return
	}
	c.Core.sending.push(c)
}
