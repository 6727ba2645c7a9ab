package sim

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// issueRead reads from a file, an eventfd, a socket or a pipe.
func issueRead(r *request) verdict {
	switch o := r.file.obj.(type) {
	case *counter:
		return issueReadCounter(r, o)
	case *socket:
		return issueRecv(r)
	case *pipeEnd:
		return issueReadPipe(r, o)
	case *inode:
		return issueReadFile(r, o)
	}
	return r.endErrno(unix.EINVAL)
}

func issueReadCounter(r *request, c *counter) verdict {
	if r.want < 8 {
		return r.endErrno(unix.EINVAL)
	}
	if c.value == 0 {
		return r.waitFor(unix.POLLIN, false)
	}
	if badIovecs(r.iovs) {
		return r.endErrno(unix.EFAULT)
	}
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], c.value)
	c.value = 0
	scatter(r.iovs, 0, b[:])
	r.failed = r.want > 8 // short
	return r.end(8, 0)
}

func issueReadPipe(r *request, e *pipeEnd) verdict {
	p := e.p
	if e.write {
		return r.endErrno(unix.EBADF)
	}
	if len(p.buf) == 0 {
		if p.writer == nil {
			r.failed = true
			return r.end(0, 0)
		}
		return r.waitFor(unix.POLLIN|unix.POLLHUP, false)
	}
	n := scatter(r.iovs, 0, p.buf[:min(len(p.buf), r.want)])
	p.take(n)
	r.failed = n < r.want
	return r.end(int32(n), 0)
}

func (p *pipe) take(n int) {
	p.buf = append(p.buf[:0:0], p.buf[n:]...)
	if p.writer != nil {
		p.writer.wake(unix.POLLOUT)
	}
}

// issueReadFile reads at once what is in the page cache; the rest arrives later.
func issueReadFile(r *request, ino *inode) verdict {
	w := r.u.k.w
	if ino.dir {
		return r.endErrno(unix.EISDIR)
	}
	if r.file.flags&unix.O_ACCMODE == unix.O_WRONLY {
		return r.endErrno(unix.EBADF)
	}
	if w.badReadFlags(r.sqe.OpFlags) {
		return r.endErrno(unix.EOPNOTSUPP)
	}
	if badIovecs(r.iovs) {
		return r.endErrno(unix.EFAULT)
	}
	off, current := r.offset()
	read := func(want int) int32 {
		at := off
		n := eachChunk(r.iovs, 0, want, func(p []byte) int {
			n := ino.readAt(p, at)
			at += int64(n)
			return n
		})
		if current {
			r.file.pos += int64(n)
		}
		return int32(n)
	}
	have := ino.cachedBytes(off, r.want)
	cold := off < ino.size && int64(have) < min(int64(r.want), ino.size-off)
	if cold && r.sqe.OpFlags&unix.RWF_NOWAIT != 0 {
		return r.endErrno(unix.EAGAIN)
	}
	if !cold && r.sqe.Flags&ring.SQEAsync == 0 && w.draws.work.IntN(4) > 0 {
		n := read(r.want)
		r.failed = int(n) < r.want
		return r.end(n, 0)
	}
	r.work = func() int32 {
		if cold {
			return ino.coldRead(off, r.want, r.sqe.OpFlags, read)
		}
		return read(r.want)
	}
	return worker
}

// offset is where in the file the entry reads or writes; the file's own position
// if it says -1.
func (r *request) offset() (off int64, current bool) {
	if r.sqe.Off == ring.CurrentPosition {
		return r.file.pos, true
	}
	return int64(r.sqe.Off), false
}

// issueWrite writes to a file, an eventfd, a socket or a pipe.
func issueWrite(r *request) verdict {
	switch o := r.file.obj.(type) {
	case *counter:
		return issueWriteCounter(r, o)
	case *socket:
		return issueSend(r)
	case *pipeEnd:
		return issueWritePipe(r, o)
	case *inode:
		return issueWriteFile(r, o)
	}
	return r.endErrno(unix.EINVAL)
}

func issueWriteCounter(r *request, c *counter) verdict {
	if r.want < 8 {
		return r.endErrno(unix.EINVAL)
	}
	v := binary.NativeEndian.Uint64(gather(r.iovs, 0, 8))
	if v == 1<<64-1 {
		return r.endErrno(unix.EINVAL)
	}
	if c.value > maxCounter-v {
		return r.waitFor(unix.POLLOUT, false)
	}
	c.value += v
	r.file.wake(unix.POLLIN)
	return r.end(8, 0)
}

func issueWritePipe(r *request, e *pipeEnd) verdict {
	p := e.p
	switch {
	case !e.write:
		return r.endErrno(unix.EBADF)
	case p.reader == nil:
		return r.endErrno(unix.EPIPE)
	case len(p.buf) >= p.room:
		return r.waitFor(unix.POLLOUT|unix.POLLERR, false)
	}
	n := min(r.want, p.room-len(p.buf))
	p.buf = append(p.buf, gather(r.iovs, 0, n)...)
	p.reader.wake(unix.POLLIN)
	r.failed = n < r.want
	return r.end(int32(n), 0)
}

// issueWriteFile writes at once or lets a worker write.
func issueWriteFile(r *request, ino *inode) verdict {
	w := r.u.k.w
	if r.file.flags&unix.O_ACCMODE == unix.O_RDONLY {
		return r.endErrno(unix.EBADF)
	}
	if badIovecs(r.iovs) {
		return r.endErrno(unix.EFAULT)
	}
	write := func() int32 {
		off, current := r.offset()
		if r.file.flags&unix.O_APPEND != 0 {
			off = ino.size
		}
		n, errno := ino.writeVector(r.iovs, r.want, off)
		if errno != 0 {
			return errnoOf(errno)
		}
		if current {
			r.file.pos = off + int64(n)
		}
		return int32(n)
	}
	punt := w.draws.work.IntN(100) < w.puntWrites
	if !punt && r.sqe.Flags&ring.SQEAsync == 0 && !ino.busy() {
		n := write()
		r.failed = int(n) < r.want
		return r.end(n, 0)
	}
	r.work, r.inode = write, ino
	return worker
}

func prepFsync(r *request) syscall.Errno {
	if r.sqe.OpFlags&^ring.FsyncDatasync != 0 {
		return unix.EINVAL
	}
	return 0
}

// issueFsync makes a file durable, as it is when the worker comes to it: writes in
// flight are not waited for.
func issueFsync(r *request) verdict {
	ino, ok := r.file.obj.(*inode)
	if !ok {
		return r.endErrno(unix.EINVAL)
	}
	f := r.file
	r.work, r.syncs = func() int32 { return errnoOf(ino.sync(f)) }, true
	return worker
}

// issueFallocate: Off and Addr are the range, Len the mode.
func issueFallocate(r *request) verdict {
	ino, ok := r.file.obj.(*inode)
	if !ok {
		return r.endErrno(unix.ENODEV)
	}
	r.work = func() int32 {
		return errnoOf(ino.allocate(int64(r.sqe.Off), int64(r.sqe.Addr), r.sqe.Len))
	}
	r.inode = ino
	return worker
}

func issueFtruncate(r *request) verdict {
	ino, ok := r.file.obj.(*inode)
	if !ok || ino.dir {
		return r.endErrno(unix.EINVAL)
	}
	r.work = func() int32 { return errnoOf(ino.truncate(int64(r.sqe.Off))) }
	r.inode = ino
	return worker
}

// issueSyncFileRange starts or waits for writeback. It promises nothing: the pages
// may be on the disk afterwards, the size and the blocks that lead to them not.
func issueSyncFileRange(r *request) verdict {
	ino, ok := r.file.obj.(*inode)
	if !ok {
		return r.endErrno(unix.ESPIPE)
	}
	r.work = func() int32 {
		ino.writeBack(int64(r.sqe.Off), int64(r.sqe.Len))
		return 0
	}
	return worker
}
