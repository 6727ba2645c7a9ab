package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// client is a TCP connection without Go's network poller: what is measured should
// be the server and the kernel. It blocks, unless an event loop has it.
type client struct {
	fd          int
	nonblocking bool
}

// answerSeconds is how long a blocking client waits for an answer.
const answerSeconds = 30

// errUnanswered: a server did not answer what it was sent.
var errUnanswered = errors.New("not every request was answered in time")

// errWouldBlock: a client of an event loop has nothing to read, or no room to write.
var errWouldBlock = errors.New("nothing there yet")

func dial(port int) (*client, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	tv := unix.Timeval{Sec: answerSeconds}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	return &client{fd: fd}, nil
}

// dialMany makes many connections at a time: one after the other, each would wait
// for its handshake's turn on a busy processor.
func dialMany(port, n int) (all []*client, err error) {
	defer func() {
		if err != nil {
			closeAll(all)
		}
	}()
	const atATime = 256 // within a listener's backlog
	for from := 0; from < n; from += atATime {
		for range min(atATime, n-from) {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				return all, err
			}
			all = append(all, &client{fd: fd})
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil && err != unix.EINPROGRESS {
				return all, err
			}
		}
		for _, c := range all[from:] {
			if err := c.connected(); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// connected waits for a handshake that is under way, and makes the client block from then on.
func (c *client) connected() error {
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}
	for {
		n, err := unix.Poll(fds, answerSeconds*1000)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = errUnanswered
		}
		if err != nil {
			return err
		}
		break
	}
	if code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		return fmt.Errorf("connecting: %w", unix.Errno(code))
	}
	return unix.SetNonblock(c.fd, false)
}

func closeAll(all []*client) {
	for _, c := range all {
		c.close()
	}
}

func (c *client) close() { unix.Close(c.fd) }

func (c *client) setNonblocking() error {
	c.nonblocking = true
	return unix.SetNonblock(c.fd, true)
}

// send writes what fits of b. Blocking, that is all of it.
func (c *client) send(b []byte) (n int, err error) {
	for n < len(b) {
		m, err := unix.Write(c.fd, b[n:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN && c.nonblocking:
			return n, errWouldBlock
		case err != nil:
			return n, err
		default:
			n += m
		}
	}
	return n, nil
}

func (c *client) write(b []byte) error {
	_, err := c.send(b)
	return err
}

// receive reads once, with flags of recv(2).
func (c *client) receive(b []byte, flags int) (int, error) {
	for {
		n, _, err := unix.Recvfrom(c.fd, b, flags)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN && c.nonblocking:
			return 0, errWouldBlock
		case err == unix.EAGAIN:
			return 0, errors.New("no answer in time")
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.ErrUnexpectedEOF
		default:
			return n, nil
		}
	}
}

func (c *client) readFull(b []byte) error {
	for len(b) > 0 {
		n, err := c.receive(b, 0)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// scratch is where discarded bytes would go: with MSG_TRUNC the kernel throws
// them away instead, and never touches it.
var scratch = make([]byte, 1<<20)

// discard reads up to n bytes and throws them away in the kernel. Blocking, it
// waits for all of them, up to a mebibyte, in one call.
func (c *client) discard(n int) (int, error) {
	flags := unix.MSG_TRUNC
	if !c.nonblocking {
		flags |= unix.MSG_WAITALL
	}
	return c.receive(scratch[:min(n, len(scratch))], flags)
}

// frame reads one whole frame without its length.
func (c *client) frame() ([]byte, error) {
	var size [4]byte
	if err := c.readFull(size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	return b, c.readFull(b)
}

// call sends a kmsg request and decodes the answer into its response.
func (c *client) call(req kmsg.Request) (kmsg.Response, error) {
	if err := c.write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
		return nil, err
	}
	return c.answer(req)
}

// answer reads the answer to a request that was sent.
func (c *client) answer(req kmsg.Request) (kmsg.Response, error) {
	b, err := c.frame()
	if err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	skip := 4
	if resp.IsFlexible() && resp.Key() != 18 {
		skip = 5
	}
	if len(b) < skip {
		return nil, io.ErrUnexpectedEOF
	}
	return resp, resp.ReadFrom(b[skip:])
}
