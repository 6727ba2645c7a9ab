package main

import (
	"slices"

	"golang.org/x/sys/unix"
)

// rawConn is a connection of an epoll server.
type rawConn struct {
	fd     int
	buffer []byte // of what it has sent
	have   int    // bytes in it
	// of fanout: the number of the response that it has asked for, and whether it waits for it
	want    int
	waiting bool
}

// service is what an epoll server does.
type service interface {
	opened(c *rawConn)
	// frame handles the request at the beginning of b, and returns its size: 0 while it is
	// not whole, less if the connection is to be closed.
	frame(c *rawConn, b []byte) int
	closed(c *rawConn)
	// turned is called when all that was ready has been read.
	turned() error
}

// serveEpoll accepts connections and reads their requests.
func serveEpoll(listener int, s service) error {
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	conns := map[int32]*rawConn{}
	add := func(fd int) error {
		return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	if err := add(listener); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) != listener {
				if c := conns[e.Fd]; !c.read(s) {
					delete(conns, e.Fd)
					s.closed(c)
					unix.Close(c.fd)
				}
				continue
			}
			fd, err := accept(listener)
			if err != nil {
				return err
			}
			c := &rawConn{fd: fd, buffer: make([]byte, 2048)}
			conns[int32(fd)] = c
			s.opened(c)
			if err := add(fd); err != nil {
				return err
			}
		}
		if err := s.turned(); err != nil {
			return err
		}
	}
}

// read takes what has come and hands out the whole requests of it.
func (c *rawConn) read(s service) bool {
	if c.have == len(c.buffer) {
		c.buffer = append(c.buffer, make([]byte, 3*len(c.buffer))...)
	}
	n, err := unix.Read(c.fd, c.buffer[c.have:])
	if err == unix.EINTR {
		return true
	}
	if err != nil || n == 0 {
		return false
	}
	c.have += n
	done := 0
	for done < c.have {
		n := s.frame(c, c.buffer[done:c.have])
		if n < 0 {
			return false
		}
		if n == 0 {
			break
		}
		done += n
	}
	c.have = copy(c.buffer, c.buffer[done:c.have])
	return true
}

// many is an echo of any number of connections.
type many struct{ *rawLimit }

func (s *rawLimit) serveMany(listener int) error { return serveEpoll(listener, many{s}) }

func (many) opened(*rawConn) {}
func (many) closed(*rawConn) {}
func (many) turned() error   { return nil }

func (m many) frame(c *rawConn, b []byte) int {
	if len(b) < m.in {
		return 0
	}
	if _, err := unix.Write(c.fd, m.response); err != nil {
		return -1
	}
	return m.in
}

// commit is an echo that first appends each request to its file, and answers all
// that came in a turn after one fdatasync: group commit, and nothing else.
type commit struct {
	*rawLimit
	at      int64
	waiting []*rawConn
}

func (s *rawLimit) serveCommit(listener int) error { return serveEpoll(listener, &commit{rawLimit: s}) }

func (m *commit) opened(*rawConn) {}

func (m *commit) closed(c *rawConn) {
	m.waiting = slices.DeleteFunc(m.waiting, func(d *rawConn) bool { return c == d })
}

func (m *commit) frame(c *rawConn, b []byte) int {
	if len(b) < m.in {
		return 0
	}
	if _, err := unix.Pwrite(int(m.file.Fd()), b[:m.in], m.at); err != nil {
		return -1
	}
	m.at += int64(m.in)
	m.waiting = append(m.waiting, c)
	return m.in
}

func (m *commit) turned() error {
	if len(m.waiting) == 0 {
		return nil
	}
	if err := unix.Fdatasync(int(m.file.Fd())); err != nil {
		return err
	}
	for _, c := range m.waiting {
		unix.Write(c.fd, m.response) // who is gone will say so
	}
	m.waiting = m.waiting[:0]
	return nil
}
