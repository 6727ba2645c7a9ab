package reactor

import (
	"math"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Responses leave in the order of their requests. What is ready when a turn ends
// goes out with it, in one of two ways:
//
//   - bytes only: one ring SEND or SENDMSG for all of a connection's finished
//     responses, submitted with the turn's one enter;
//   - with file ranges: bytes by SendNow with MSG_MORE, files by a rung of the
//     fetch ladder (ladder.go). A full socket is polled for room.
//
// Small ones go first. Those with more than SmallStretchBytes of files left share
// what is sent in a turn, one after the other: a turn must stay short, for whoever
// comes next waits for its end.
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
	large       bool     // the response that is being sent, or was last, is a large one
	onDisk      bool     // it waits for the disk
	cold        coldWait
	bulk        *bulkMove // the splices under way, or the pipe that waits for room
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
	if last := c.sending.tail; last != nil {
		for {
			conn := c.sending.pop()
			conn.flush()
			if conn == last {
				break
			}
		}
	}
	if c.large.head != nil {
		c.sendLarge()
	}
}

// flush sends what is ready, unless a send is in flight: its completion comes
// back here. What is large waits for its turn in sendLarge.
func (c *Conn) flush() {
	s := &c.send
	if s.op != 0 || s.first == nil || c.closing || c.splicing() {
		return
	}
	n, files := c.gatherable()
	if files && c.isLarge() {
		s.large = true
		c.Core.large.push(c)
		return
	}
	if s.head != nil && !s.head.offered { // else it is the rest of a large one
		s.large = false
	}
	s.since = c.Core.Clock
	c.offer()
	if files || c.nonblock {
		c.flushNow(math.MaxInt)
		return
	}
	c.submitSend(n)
}

// isLarge tells whether more than SmallStretchBytes of files are next.
func (c *Conn) isLarge() bool {
	limits := &c.Core.limits
	files, left := 0, limits.SendBatch
	for s := c.send.first; s != nil && left > 0; s = s.next {
		if s.file != nil {
			if files += s.n; files > limits.SmallStretchBytes {
				return true
			}
		}
		left--
	}
	return false
}

// sendLarge sends for connections with large responses, in turn, as much as one
// turn of the core may send of them.
func (c *Core) sendLarge() {
	left, share := c.turnShare()
	for left > 0 && c.large.head != nil {
		conn := c.large.pop()
		if conn.closing || conn.send.op != 0 || conn.splicing() {
			continue
		}
		conn.send.since = c.Clock
		conn.offer()
		left -= conn.flushNow(min(left, share))
	}
}

// aloneNanos is how long after the last request of anyone but readers of large
// responses these count as alone.
const aloneNanos = 10_000_000

// alone tells whether nobody waits for the end of the turn but who reads large
// responses.
func (c *Core) alone() bool { return c.Now-c.servedOther > aloneNanos }

// turnShare is how many file bytes large responses may send in this turn, and how
// many of them one connection.
func (c *Core) turnShare() (all, each int) {
	if c.alone() {
		return c.limits.SendFileAloneBytes, c.limits.SendFileAloneBytes
	}
	return c.limits.SendFileTurnBytes, c.limits.SendFileTurnBytes
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

// flushNow sends bytes and files inline until the socket is full, the stretch
// that is next waits for something, limit bytes were sent, or nothing is left. It
// returns how many were.
func (c *Conn) flushNow(limit int) (sent int) {
	for c.send.first != nil {
		if sent >= limit {
			c.Core.large.push(c)
			break
		}
		before := c.Core.Clock
		n, errno := c.sendNow(limit - sent)
		c.SendNanos += c.Core.ReadClock() - before
		switch {
		case errno == waits:
			return sent
		case errno == unix.EAGAIN:
			c.Core.Stats.SendsBlocked++
			c.awaitRoom()
			return sent
		case errno == unix.EINTR:
			continue
		case errno == unix.EIO && c.send.first.file != nil: // no socket says so
			c.unreadable(errno)
			return sent
		case errno != 0:
			c.fail("send", errno)
			return sent
		case n == 0:
			c.cutShort()
			return sent
		}
		c.consume(n)
		sent += n
	}
	c.unstall()
	if c.finish {
		c.Core.ready.push(c)
	}
	return sent
}

// cutShort ends a connection whose response cannot be completed: the file ended
// before its stretch did.
func (c *Conn) cutShort() {
	c.Core.Stats.FilesCutShort++
	if first := c.send.first; first != nil && first.file != nil {
		first.file.EndedEarly()
	}
	c.Close()
}

// sendNow makes one call: the bytes before the next file, or up to limit bytes
// of the file that is next. 0 without an error is a file that ended early.
func (c *Conn) sendNow(limit int) (int, syscall.Errno) {
	first := c.send.first
	if first.file != nil {
		return c.sendStretch(first, min(first.n, limit))
	}
	n, files := c.gatherable()
	iovecs := c.Core.iovecs[:n]
	c.fillIovecs(iovecs)
	c.Core.Stats.SendsNow++
	return c.Core.Kernel.SendNow(c.fd, iovecs, files)
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
