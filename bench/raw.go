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
// is one process, one connection at a time, blocking system calls.
//
//	echo      read in bytes, write out bytes          (a produce round trip)
//	sink      read in bytes, pwrite them, write out   (produce throughput)
//	sendfile  read in bytes, sendfile out bytes       (consume)
func rawServer(args []string) {
	f := flag.NewFlagSet("raw", flag.ExitOnError)
	kind := f.String("kind", "echo", "echo, sink or sendfile")
	in := f.Int("in", 0, "bytes of a request")
	out := f.Int("out", 0, "bytes of a response")
	spin := f.Bool("spin", false, "poll instead of blocking in receive")
	file := f.String("file", "", "the file of sink and sendfile")
	f.Parse(args)
	runtime.LockOSThread()
	fmt.Fprintln(os.Stderr, "raw:", serveRaw(*kind, *in, *out, *spin, *file))
	os.Exit(1)
}

// serveRaw serves until something fails.
func serveRaw(kind string, in, out int, spin bool, path string) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	lf, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	var file *os.File
	if path != "" {
		if file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644); err != nil {
			return err
		}
	}
	unix.SetNonblock(int(lf.Fd()), false)
	for {
		c, _, err := unix.Accept(int(lf.Fd()))
		if err != nil {
			return err
		}
		unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		serveRawConn(c, kind, make([]byte, in), make([]byte, out), spin, file)
		unix.Close(c)
	}
}

func serveRawConn(c int, kind string, in, out []byte, spin bool, file *os.File) {
	var at, size int64
	if info, err := file.Stat(); err == nil {
		size = info.Size()
	}
	for {
		if !readRaw(c, in, spin) {
			return
		}
		switch kind {
		case "sink":
			if _, err := unix.Pwrite(int(file.Fd()), in, at); err != nil {
				return
			}
			at += int64(len(in))
		case "sendfile":
			// On through the file, as the consumer beside it goes through its log: the
			// same bytes over and over would come from the processor's cache.
			if at+int64(len(out)) > size {
				at = 0
			}
			for left := len(out); left > 0; {
				n, err := unix.Sendfile(c, int(file.Fd()), &at, left)
				if err != nil || n == 0 {
					return
				}
				left -= n
			}
			continue
		}
		if _, err := unix.Write(c, out); err != nil {
			return
		}
	}
}

// readRaw fills b. Spinning, it never sleeps in the kernel.
func readRaw(c int, b []byte, spin bool) bool {
	flags := 0
	if spin {
		flags = unix.MSG_DONTWAIT
	}
	for len(b) > 0 {
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
