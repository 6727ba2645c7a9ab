package sim

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// stream is one direction of a connection:
//
//	sender --room--> | flight: sent, not arrived | buf: arrived, not read | --> reader
//
// flight and buf together never exceed room, so a sender fills it and must wait.
type stream struct {
	buf     []byte
	flight  int
	room    int
	closing bool // the sender has sent its FIN
	fin     bool // which has arrived
	last    int64
}

func (s *stream) free() int { return max(s.room-s.flight-len(s.buf), 0) }

// socket is the machine's end of a connection.
type socket struct {
	net       *network
	file      *file
	peer      netip.AddrPort
	client    *Client
	in, out   *stream
	err       syscall.Errno // pending, told once
	reset     bool          // by the peer, or by the machine's end
	shutRead  bool
	shutWrite bool
	closed    bool
	gone      bool // by a power cut: silent
}

func (s *socket) connected() bool { return !s.reset && !s.closed }

func (s *socket) poll() uint32 {
	mask := uint32(0)
	if s.err != 0 {
		mask |= unix.POLLERR
	}
	noMore := s.in.fin || s.shutRead || s.reset
	if len(s.in.buf) > 0 || noMore {
		mask |= unix.POLLIN | pollRDNorm
	}
	if noMore {
		mask |= unix.POLLRDHUP
	}
	if noMore && s.shutWrite || s.reset {
		mask |= unix.POLLHUP
	}
	if s.out.free() > 0 || s.shutWrite || s.reset {
		mask |= unix.POLLOUT | pollWRNorm
	}
	return mask
}

// receive gives up to n arrived bytes; 0 without an error is the end.
func (s *socket) receive(iovs []unix.Iovec, skip, n int, flags uint32) (int, syscall.Errno) {
	if len(s.in.buf) == 0 {
		switch {
		case s.err != 0 && !s.in.fin:
			e := s.err
			s.err = 0
			return 0, e
		case s.in.fin || s.shutRead || s.reset || n == 0:
			return 0, 0
		}
		return 0, unix.EAGAIN
	}
	n = s.net.short(min(n, len(s.in.buf)))
	if n > 0 && badIovecs(iovs) {
		return 0, unix.EFAULT
	}
	if flags&unix.MSG_TRUNC == 0 {
		n = scatter(iovs, skip, s.in.buf[:n])
	}
	s.net.w.note(traceNet, "receive", int64(s.peer.Port()), int64(n))
	if flags&unix.MSG_PEEK == 0 {
		s.consume(n)
	}
	return n, 0
}

// short is how much of what could be moved is moved.
func (n *network) short(most int) int {
	if most > 1 && n.tiny() && n.w.draws.net.IntN(2) == 0 {
		return 1 + n.w.draws.net.IntN(min(most, 32))
	}
	return most
}

// calm tells that nothing is known to have arrived besides what was read.
func (s *socket) calm() bool { return !s.in.fin && s.err == 0 && !s.reset && !s.shutRead }

// consume: n bytes were read. Their room is the client's to send into.
func (s *socket) consume(n int) {
	s.in.buf = s.in.buf[n:]
	if len(s.in.buf) == 0 {
		s.in.buf = nil
	}
	if s.client != nil {
		s.client.pump()
	}
}

// sendError is why nothing can be sent; telling clears a pending error.
func (s *socket) sendError(tell bool) syscall.Errno {
	if s.err != 0 {
		e := s.err
		if tell {
			s.err = 0
		}
		return e
	}
	if s.shutWrite || s.reset || s.closed {
		return unix.EPIPE
	}
	return 0
}

// send takes up to n bytes, as many as there is room for.
func (s *socket) send(iovs []unix.Iovec, skip, n int) (int, syscall.Errno) {
	if errno := s.sendError(true); errno != 0 {
		return 0, errno
	}
	if n == 0 {
		return 0, 0
	}
	free := s.out.free()
	if free == 0 {
		return 0, unix.EAGAIN
	}
	if badIovecs(iovs) {
		return 0, unix.EFAULT
	}
	data := gather(iovs, skip, s.net.short(min(n, free)))
	s.transmit(data)
	return len(data), 0
}

// transmit puts bytes on their way to the client.
func (s *socket) transmit(data []byte) {
	w := s.net.w
	w.note(traceNet, "send", int64(s.peer.Port()), int64(len(data)), int64(contentHash(data)))
	s.net.travel(s.out, data, func(piece []byte) {
		if !s.gone && s.client != nil {
			s.client.arrived(piece)
		}
	})
}

// travel sends bytes along a stream in one to four pieces, each arriving after the
// one before.
func (n *network) travel(t *stream, data []byte, arrive func(piece []byte)) {
	r := n.w.draws.net
	t.flight += len(data)
	for pieces := 1 + r.IntN(4); len(data) > 0; pieces-- {
		size := len(data)
		if pieces > 1 {
			size = 1 + r.IntN(len(data))
		}
		piece := data[:size:size]
		data = data[size:]
		n.inOrder(t, func() {
			t.flight -= len(piece)
			arrive(piece)
		})
	}
}

// inOrder plans something at the far end of a stream, after all that went before.
func (n *network) inOrder(t *stream, run func()) {
	t.last = max(t.last, n.w.clock.now+n.w.delay(n.w.draws.net))
	n.w.clock.add(t.last, run)
}

// finish sends a FIN behind what was sent.
func (s *socket) finish() {
	if s.out.closing || s.reset {
		return
	}
	s.out.closing = true
	s.net.inOrder(s.out, func() {
		s.out.fin = true
		if !s.gone && s.client != nil {
			s.client.ended()
		}
	})
}

func (s *socket) shutdown(how int) syscall.Errno {
	if s.reset || s.closed {
		return unix.ENOTCONN
	}
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return unix.EINVAL
	}
	s.net.w.note(traceNet, "shutdown", int64(s.peer.Port()), int64(how))
	if how != unix.SHUT_WR {
		s.shutRead = true
	}
	if how != unix.SHUT_RD && !s.shutWrite {
		s.shutWrite = true
		s.finish()
	}
	s.file.wake(unix.POLLIN | unix.POLLOUT | unix.POLLHUP | unix.POLLRDHUP)
	return 0
}

// released: nobody holds the socket any more. Linux says goodbye with a FIN, or
// with a reset if bytes were left unread.
func (s *socket) released(*file) {
	if s.closed {
		return
	}
	s.closed = true
	s.net.w.note(traceNet, "close", int64(s.peer.Port()), int64(len(s.in.buf)))
	if s.gone {
		return
	}
	if len(s.in.buf) > 0 && !s.reset {
		s.abort()
		return
	}
	s.finish()
}

// abort resets the connection: the client hears of it behind what is on its way.
func (s *socket) abort() {
	s.closed = true
	if s.reset || s.gone {
		return
	}
	s.reset = true
	s.net.inOrder(s.out, func() {
		if s.client != nil {
			s.client.wasReset()
		}
	})
}

// arrived: bytes came in from the client.
func (s *socket) arrived(piece []byte) {
	if s.gone {
		return
	}
	if s.closed || s.reset {
		if !s.reset {
			s.abort() // nobody is there: the answer is a reset
		}
		return
	}
	s.in.buf = append(s.in.buf, piece...)
	s.file.wake(unix.POLLIN)
}

// ended: the client's FIN came in.
func (s *socket) ended() {
	if s.gone {
		return
	}
	s.in.fin = true
	if !s.closed {
		mask := uint32(unix.POLLIN | unix.POLLRDHUP)
		if s.shutWrite {
			mask |= unix.POLLHUP
		}
		s.file.wake(mask)
	}
}

// wasReset: the client's reset came in.
func (s *socket) wasReset() {
	if s.gone || s.reset {
		return
	}
	s.reset, s.err = true, unix.ECONNRESET
	if s.in.fin {
		s.err = unix.EPIPE
	}
	if !s.closed {
		s.file.wake(unix.POLLIN | unix.POLLOUT | unix.POLLERR | unix.POLLHUP | unix.POLLRDHUP)
	}
}

// vanish: the machine lost its power. Some time later the client gives up.
func (s *socket) vanish() {
	if s.gone {
		return
	}
	s.gone, s.reset = true, true
	w := s.net.w
	w.later(w.delay(w.draws.net), func() {
		if s.client != nil {
			s.client.wasReset()
		}
	})
}
