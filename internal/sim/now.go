package sim

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// fileOf is the regular file behind a descriptor.
func (k *kernel) inodeOf(fd int, write bool) (*file, *inode, syscall.Errno) {
	f := k.file(fd)
	if f == nil {
		return nil, nil, unix.EBADF
	}
	ino, ok := f.obj.(*inode)
	if !ok {
		return nil, nil, unix.ESPIPE
	}
	access := f.flags & unix.O_ACCMODE
	if write && access == unix.O_RDONLY || !write && access == unix.O_WRONLY {
		return nil, nil, unix.EBADF
	}
	return f, ino, 0
}

func (k *kernel) socketOf(fd int) (*file, *socket, syscall.Errno) {
	f := k.file(fd)
	if f == nil {
		return nil, nil, unix.EBADF
	}
	s, ok := f.obj.(*socket)
	if !ok {
		return nil, nil, unix.ENOTSOCK
	}
	return f, s, 0
}

// WriteNow is pwritev(2).
func (k *kernel) WriteNow(fd int, iovs []unix.Iovec, off int64) (int, syscall.Errno) {
	defer k.end()
	if !k.begin() {
		return 0, unix.EIO
	}
	burning := k.w.burn()
	n, errno := k.writeNow(fd, iovs, off, burning)
	k.w.note(traceCall, "write now", int64(fd), off, int64(n), -int64(errno))
	if burning {
		k.w.crash()
	}
	return n, errno
}

func (k *kernel) writeNow(fd int, iovs []unix.Iovec, off int64, burning bool) (int, syscall.Errno) {
	_, ino, errno := k.inodeOf(fd, true)
	switch {
	case errno != 0:
		return 0, errno
	case len(iovs) > maxIovecs || off < 0:
		return 0, unix.EINVAL
	case badIovecs(iovs):
		return 0, unix.EFAULT
	}
	want := iovecBytes(iovs)
	if burning {
		want = k.w.draws.work.IntN(want + 1)
	}
	k.w.owe(ino.path)
	return ino.writeVector(iovs, want, off)
}

// ReadNow is pread(2).
func (k *kernel) ReadNow(fd int, p []byte, off int64) (int, syscall.Errno) {
	defer k.end()
	if !k.begin() {
		return 0, unix.EIO
	}
	k.mayCrash()
	f, ino, errno := k.inodeOf(fd, false)
	n := 0
	if errno == 0 {
		k.w.owe(f.path)
		if errno = ino.fetchIn(off, len(p)); errno == 0 {
			n, errno = f.read(ino, p, off)
		}
	}
	k.w.note(traceCall, "read now", int64(fd), off, int64(n), -int64(errno))
	return n, errno
}

// SendNow is sendmsg(2) with MSG_DONTWAIT.
func (k *kernel) SendNow(fd int, iovs []unix.Iovec, more bool) (int, syscall.Errno) {
	defer k.end()
	if !k.begin() {
		return 0, unix.EIO
	}
	k.mayCrash()
	_, s, errno := k.socketOf(fd)
	n := 0
	if errno == 0 && len(iovs) > maxIovecs {
		errno = unix.EMSGSIZE
	}
	if errno == 0 {
		n, errno = s.send(iovs, 0, iovecBytes(iovs))
	}
	k.w.note(traceCall, "send now", int64(fd), int64(n), -int64(errno))
	return n, errno
}

// SendFileNow is sendfile(2) to a non-blocking socket. To a blocking one it could
// hold the core up for as long as the client likes: a breach.
func (k *kernel) SendFileNow(out, file int, off int64, n int) (int, syscall.Errno) {
	defer k.end()
	if !k.begin() {
		return 0, unix.EIO
	}
	k.mayCrash()
	sent, errno := k.sendFileNow(out, file, off, n)
	k.w.note(traceCall, "send file now", int64(out), int64(file), off, int64(n), int64(sent), -int64(errno))
	return sent, errno
}

func (k *kernel) sendFileNow(out, file int, off int64, n int) (int, syscall.Errno) {
	f, s, errno := k.socketOf(out)
	if errno != 0 {
		return 0, errno
	}
	_, ino, errno := k.inodeOf(file, false)
	if errno != 0 {
		return 0, errno
	}
	if off < 0 || n < 0 {
		return 0, unix.EINVAL
	}
	if !f.nonblocking() {
		k.w.violate("SendFileNow to descriptor %d, which is blocking", out)
	}
	if off >= ino.size || n == 0 {
		return 0, 0
	}
	if errno := s.sendError(true); errno != 0 {
		return 0, errno
	}
	room := s.out.free()
	if room == 0 {
		return 0, unix.EAGAIN
	}
	data := make([]byte, s.net.short(min(n, room)))
	data = data[:ino.readAt(data, off)]
	if have := ino.cachedBytes(off, len(data)); have < len(data) {
		k.w.violate("SendFileNow of %d bytes at %d of %s, of which %d are in the page cache: the core would wait for the disk", len(data), off, k.file(file).path, have)
	}
	s.transmit(data)
	return len(data), 0
}

// SetNonblock sets or clears O_NONBLOCK.
func (k *kernel) SetNonblock(fd int, on bool) syscall.Errno {
	defer k.end()
	if !k.begin() {
		return unix.EIO
	}
	f := k.file(fd)
	if f == nil {
		return unix.EBADF
	}
	f.flags &^= unix.O_NONBLOCK
	if on {
		f.flags |= unix.O_NONBLOCK
	}
	return 0
}

// CloseNow is close(2).
func (k *kernel) CloseNow(fd int) syscall.Errno {
	defer k.end()
	if !k.begin() {
		return unix.EIO
	}
	k.mayCrash()
	errno := k.close(fd)
	k.w.note(traceCall, "close now", int64(fd), -int64(errno))
	return errno
}
