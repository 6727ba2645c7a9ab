package sim

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// file is an open file description: what a descriptor stands for. It lives while a
// descriptor or a request in flight holds it; so a closed socket with a receive
// armed is not closed yet, on Linux and here.
type file struct {
	k       *kernel
	obj     object
	refs    int
	flags   int // O_NONBLOCK, O_APPEND, the access mode
	pos     int64
	path    string
	waiters []*request

	failures int // of the inode's failed writebacks, those that an fsync of this file has told (errseq_t)
}

// object is what a file is of.
type object interface {
	// poll is which of POLLIN, POLLOUT, ... hold now.
	poll() uint32
	// released is called when the last reference to the file is gone.
	released(f *file)
}

// install gives a file the lowest free descriptor. On an error the file is the
// caller's.
func (k *kernel) install(f *file) (int, syscall.Errno) {
	for fd := firstFD; ; fd++ {
		if fd >= k.w.opts.MaxOpenFiles {
			return -1, unix.EMFILE
		}
		if fd == len(k.table) {
			k.table = append(k.table, nil)
		}
		if k.table[fd] == nil {
			k.table[fd] = f
			f.refs++
			return fd, 0
		}
	}
}

// file is what fd stands for, or nil.
func (k *kernel) file(fd int) *file {
	if fd < 0 || fd >= len(k.table) {
		return nil
	}
	return k.table[fd]
}

// close is close(2).
func (k *kernel) close(fd int) syscall.Errno {
	f := k.file(fd)
	if f == nil {
		return unix.EBADF
	}
	k.table[fd] = nil
	f.unref()
	return 0
}

func (f *file) unref() {
	f.refs--
	if f.refs <= 0 {
		f.obj.released(f)
	}
}

func (f *file) nonblocking() bool { return f.flags&unix.O_NONBLOCK != 0 }

// wake tells those who wait on the file that some of mask came to hold.
func (f *file) wake(mask uint32) {
	for _, r := range append([]*request(nil), f.waiters...) {
		if r.waiting && mask&(r.mask|unix.POLLERR|unix.POLLHUP) != 0 {
			r.woken()
		}
	}
}

func (f *file) forget(r *request) {
	for i, x := range f.waiters {
		if x == r {
			f.waiters = append(f.waiters[:i:i], f.waiters[i+1:]...)
			return
		}
	}
}

// counter is an eventfd.
type counter struct{ value uint64 }

const maxCounter = 1<<64 - 2

func (c *counter) poll() uint32 {
	mask := uint32(0)
	if c.value > 0 {
		mask |= unix.POLLIN | pollRDNorm
	}
	if c.value < maxCounter {
		mask |= unix.POLLOUT | pollWRNorm
	}
	return mask
}

func (c *counter) released(*file) {}

// pipe is a pipe; its two files share it. It has room for 16 pages.
type pipe struct {
	buf            []byte
	room           int
	reader, writer *file
}

const pipeBytes = 16 * pageBytes

// pipeEnd is the object of one of a pipe's files.
type pipeEnd struct {
	p     *pipe
	write bool
}

func (e *pipeEnd) poll() uint32 {
	p := e.p
	if e.write {
		switch {
		case p.reader == nil:
			return unix.POLLOUT | pollWRNorm | unix.POLLERR
		case len(p.buf) < p.room:
			return unix.POLLOUT | pollWRNorm
		}
		return 0
	}
	mask := uint32(0)
	if len(p.buf) > 0 {
		mask = unix.POLLIN | pollRDNorm
	}
	if p.writer == nil {
		mask |= unix.POLLHUP
	}
	return mask
}

func (e *pipeEnd) released(*file) {
	p := e.p
	if e.write {
		p.writer = nil
		if p.reader != nil {
			p.reader.wake(unix.POLLIN | unix.POLLHUP)
		}
		return
	}
	p.reader = nil
	if p.writer != nil {
		p.writer.wake(unix.POLLOUT | unix.POLLERR)
	}
}
