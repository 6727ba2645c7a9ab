package reactor

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// listener accepts connections on one listening socket.
type listener struct {
	core  *Core
	fd    int
	op    uint64 // user data of the accept in flight, 0 when none
	ended bool   // it is being cancelled
	retry Timer
}

// Listen makes the core accept connections on a listening socket, blocking and
// bound, which is the core's from now on: it closes it when it drains. Call it
// before Start or on the core.
func (c *Core) Listen(fd int) {
	l := &listener{core: c, fd: fd}
	c.listeners = append(c.listeners, l)
	if c.Ring != nil {
		l.arm()
	}
}

// arm queues an accept; multishot where the level has it.
func (l *listener) arm() {
	c := l.core
	if c.drain.phase != drainNone || l.op != 0 || len(c.arrivals) >= c.limits.MaxArrivals {
		return
	}
	sqe, userData := c.submit(l, 0)
	if sqe == nil {
		c.After(c.limits.AcceptRetryNanos, &l.retry, l)
		return
	}
	if c.has.MultishotAccept {
		sqe.PrepMultishotAccept(l.fd, nil, nil, unix.SOCK_CLOEXEC)
	} else {
		sqe.PrepAccept(l.fd, nil, nil, unix.SOCK_CLOEXEC)
	}
	l.op = userData
}

// Complete takes an accepted socket, or the end of the accept.
func (l *listener) Complete(_ uint64, res int32, f uint32) {
	c := l.core
	if !flags(f).more() {
		l.op, l.ended = 0, false
	}
	if res >= 0 {
		l.accepted(int(res))
	} else if l.pause(syscall.Errno(-res)) {
		c.Stats.AcceptPauses++
		c.After(c.limits.AcceptRetryNanos, &l.retry, l)
		return
	}
	if l.op == 0 {
		l.arm()
	}
}

// accepted opens a connection, or closes it at once over the limit.
func (l *listener) accepted(fd int) {
	c := l.core
	if c.drain.phase != drainNone || len(c.conns) >= c.limits.MaxConnections {
		c.refuse(fd)
		return
	}
	if c.door != nil {
		if peer := c.Kernel.PeerAddress(fd); c.door.Arrived(c, peer) == Undecided {
			c.arrived(fd, peer)
			if l.op != 0 && !l.ended && len(c.arrivals) >= c.limits.MaxArrivals {
				l.ended = true
				c.cancel(l.op) // what it still brings waits too
			}
			return
		}
	}
	c.open(fd)
}

// pause reports whether a failed accept should be tried again only later.
func (l *listener) pause(errno syscall.Errno) bool {
	c := l.core
	switch errno {
	case unix.ECANCELED, unix.EINTR, unix.EAGAIN:
		return false
	case unix.ECONNABORTED, unix.EPROTO:
		c.Stats.AcceptErrors++
		return false
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
		c.Stats.AcceptErrors++
		return true
	}
	c.Stats.AcceptErrors++
	c.unexpected("accept", errno)
	return true
}

// Fire tries again after a pause.
func (l *listener) Fire(*Timer) { l.arm() }

// stop cancels the accept; with its completion the socket can be closed.
func (l *listener) stop() {
	l.core.Cancel(&l.retry)
	if l.op != 0 {
		l.core.cancel(l.op)
	}
}

// closeIfDone closes the listening socket once nothing is in flight on it.
func (l *listener) closeIfDone() bool {
	if l.op != 0 {
		return false
	}
	if l.fd >= 0 {
		if errno := l.core.Kernel.CloseNow(l.fd); errno != 0 {
			l.core.unexpected("close a listener", errno)
		}
		l.fd = -1
	}
	return true
}
