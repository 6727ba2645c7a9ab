package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loop is an event loop on a thread of its own: connections that are ready, and a
// schedule that is due. It sleeps until shortly before the next send is due, and
// then spins: a timer wakes a sleeping thread tens of microseconds late.
type loop struct {
	epoll    int
	handlers []func() error
	events   [128]unix.EpollEvent
	// due is when tick wants to be called next, in nanotime; far in the future for never.
	due  func() int64
	tick func() error
}

// spinNanos is how long before a due time the loop stops sleeping: what a wake-up
// by timer may be late on a machine whose processors idle.
const spinNanos = 60_000

const never = int64(1) << 62

func newLoop() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &loop{epoll: fd, due: func() int64 { return never }, tick: func() error { return nil }}, nil
}

func (l *loop) close() { unix.Close(l.epoll) }

// add calls ready whenever the client has something to read (or room to write, if
// watch said so). ready reads until errWouldBlock or what it awaits is whole.
func (l *loop) add(c *client, ready func() error) error {
	if err := c.setNonblocking(); err != nil {
		return err
	}
	l.handlers = append(l.handlers, ready)
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(len(l.handlers) - 1)}
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, c.fd, &event)
}

// watch sets whether the client of the last add's number is also called when there
// is room to write.
func (l *loop) watch(c *client, number int, writable bool) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(number)}
	if writable {
		event.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, c.fd, &event)
}

// run turns until done says so.
func (l *loop) run(done func() bool) error {
	for !done() {
		now := nanotime()
		due := l.due()
		if due <= now {
			if err := l.tick(); err != nil {
				return err
			}
			due = l.due()
		}
		// At least every tenth of a second, done is asked again.
		n, err := l.wait(min(due-now-spinNanos, 100e6))
		if err != nil {
			return err
		}
		for _, e := range l.events[:n] {
			if err := l.handlers[e.Fd](); err != nil && err != errWouldBlock {
				return err
			}
			if l.due() <= nanotime() { // answers in hand do not make the next send late
				if err := l.tick(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// wait sleeps until something is ready, for nanos at most; not at all if that is
// not positive.
func (l *loop) wait(nanos int64) (int, error) {
	ts := unix.NsecToTimespec(max(nanos, 0))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)),
		uintptr(unsafe.Pointer(&ts)), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("epoll_pwait2: %w", errno)
}
