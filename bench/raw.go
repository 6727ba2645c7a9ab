package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The raw limits: the least a server can do for the same bytes on the wire. Each
// is one process and one thread.
//
//	echo      read in bytes, write out bytes                  (a produce round trip)
//	sink      read in bytes, pwrite them, write out bytes     (produce throughput)
//	sendfile  read in bytes, sendfile out bytes               (consume)
//	many      echo on any number of connections, by epoll     (connections, open loops)
//	commit    many, with a pwrite for each and an fdatasync for all that came at once (flush)
//	fanout    append what is produced, sendfile it to all     (fan-out; see rawFanout)
//
// The first three serve one connection at a time with blocking system calls.
func rawServer(args []string) {
	f := flag.NewFlagSet("raw", flag.ExitOnError)
	var s rawLimit
	f.StringVar(&s.kind, "kind", "echo", "echo, sink, sendfile, many, commit or fanout")
	f.IntVar(&s.in, "in", 0, "bytes of a request")
	f.IntVar(&s.out, "out", 0, "bytes of a response")
	f.BoolVar(&s.spin, "spin", false, "poll instead of blocking in receive")
	f.StringVar(&s.path, "file", "", "the file of sink, sendfile, commit and fanout")
	f.StringVar(&s.topic, "topic", "", "the topic that fanout's responses name")
	f.IntVar(&s.offsetAt, "offset-at", 0, "where the requests to fanout have their offset")
	f.IntVar(&s.records, "records", 1, "the records of a batch of fanout")
	f.Parse(args)
	runtime.LockOSThread()
	if s.kind == "tracepoint" {
		if err := printTracepoint(s.path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	raiseDescriptors()
	fmt.Fprintln(os.Stderr, "raw:", s.serve())
	os.Exit(1)
}

// rawLimit is one such server.
type rawLimit struct {
	kind    string
	in, out int
	spin    bool
	path    string
	topic   string
	records int
	// offsetAt is where a Fetch request has its offset.
	offsetAt int

	file     *os.File
	request  []byte
	response []byte
}

// serve serves until something fails. It prints the port that it listens on.
func (s *rawLimit) serve() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	lf, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(lf) // or the collector closes it
	unix.SetNonblock(int(lf.Fd()), false)
	if s.path != "" {
		if s.file, err = os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
			return err
		}
	}
	s.request, s.response = make([]byte, s.in), make([]byte, s.out)
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	switch s.kind {
	case "many":
		return s.serveMany(int(lf.Fd()))
	case "commit":
		return s.serveCommit(int(lf.Fd()))
	case "fanout":
		return s.serveFanout(int(lf.Fd()))
	}
	for {
		c, err := accept(int(lf.Fd()))
		if err != nil {
			return err
		}
		s.serveOne(c)
		unix.Close(c)
	}
}

func accept(listener int) (int, error) {
	for {
		c, _, err := unix.Accept(listener)
		if err == unix.EINTR {
			continue
		}
		if err == nil {
			unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		}
		return c, err
	}
}

// serveOne serves one connection until it ends.
func (s *rawLimit) serveOne(c int) {
	var at, size int64
	if s.kind == "sink" {
		s.file.Truncate(0) // an append brings in pages; writing over old ones does not
	}
	if info, err := s.file.Stat(); err == nil {
		size = info.Size()
	}
	for s.read(c) {
		switch s.kind {
		case "sink":
			if _, err := unix.Pwrite(int(s.file.Fd()), s.request, at); err != nil {
				return
			}
			at += int64(s.in)
		case "sendfile":
			// On through the file, as the consumer beside it goes through its log: the
			// same bytes over and over would come from the processor's cache.
			if at+int64(s.out) > size {
				at = 0
			}
			if !sendFile(c, int(s.file.Fd()), &at, s.out) {
				return
			}
			continue
		}
		if _, err := unix.Write(c, s.response); err != nil {
			return
		}
	}
}

func sendFile(c, file int, at *int64, n int) bool {
	for n > 0 {
		sent, err := unix.Sendfile(c, file, at, n)
		if err == unix.EINTR {
			continue
		}
		if err != nil || sent == 0 {
			return false
		}
		n -= sent
	}
	return true
}

// read fills the request. Spinning, it never sleeps in the kernel.
func (s *rawLimit) read(c int) bool {
	flags := 0
	if s.spin {
		flags = unix.MSG_DONTWAIT
	}
	for b := s.request; len(b) > 0; {
		n, _, err := unix.Recvfrom(c, b, flags)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return false
		}
		b = b[n:]
	}
	return true
}
