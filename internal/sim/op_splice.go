package sim

import (
	"syscall"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

func prepSplice(r *request) syscall.Errno {
	if r.sqe.OpFlags&^(unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MORE) != 0 {
		return unix.EINVAL
	}
	r.want = int(r.sqe.Len)
	return 0
}

// issueSplice moves bytes between a pipe and a file, a socket or a pipe. It is
// always a worker's, which waits inside until something can be moved.
func issueSplice(r *request) verdict {
	in := r.u.k.file(int(r.sqe.SpliceFD))
	if in == nil {
		return r.endErrno(unix.EBADF)
	}
	from, fromPipe := in.obj.(*pipeEnd)
	to, toPipe := r.file.obj.(*pipeEnd)
	switch {
	case !fromPipe && !toPipe:
		return r.endErrno(unix.EINVAL)
	case fromPipe && from.write, toPipe && !to.write:
		return r.endErrno(unix.EBADF)
	case fromPipe && r.sqe.Addr != ring.CurrentPosition, toPipe && r.sqe.Off != ring.CurrentPosition:
		return r.endErrno(unix.ESPIPE)
	}
	if _, errno := r.splice(in, true); errno == unix.EAGAIN && r.patient(in) {
		// Nothing can be moved yet: look again when either side has changed.
		if spliceSource(in) > 0 {
			return r.waitFor(unix.POLLOUT|unix.POLLIN, false)
		}
		w := r.u.k.w
		r.event = w.later(w.delay(w.draws.work), r.queue)
		return pending
	}
	r.work = func() int32 {
		n, errno := r.splice(in, false)
		if errno != 0 {
			return errnoOf(errno)
		}
		return int32(n)
	}
	return worker
}

// patient tells whether a splice that can move nothing waits: for a pipe unless it
// was told not to, for a socket's room unless that is O_NONBLOCK.
func (r *request) patient(in *file) bool {
	if _, toSocket := r.file.obj.(*socket); toSocket && spliceSource(in) > 0 {
		return !r.file.nonblocking()
	}
	return r.sqe.OpFlags&unix.SPLICE_F_NONBLOCK == 0
}

func spliceSource(in *file) int {
	switch o := in.obj.(type) {
	case *pipeEnd:
		return len(o.p.buf)
	case *socket:
		return len(o.in.buf)
	}
	return 1
}

// splice moves what can be moved; dry, it only tells whether something can.
func (r *request) splice(in *file, dry bool) (int, syscall.Errno) {
	room := r.want
	switch o := r.file.obj.(type) {
	case *pipeEnd:
		if o.p.reader == nil {
			return 0, unix.EPIPE
		}
		room = min(room, o.p.room-len(o.p.buf))
	case *socket:
		if errno := o.sendError(false); errno != 0 {
			return 0, errno
		}
		room = min(room, o.out.free())
	}
	if room == 0 && r.want > 0 {
		return 0, unix.EAGAIN
	}
	data, errno := r.spliceFrom(in, room, dry)
	if errno != 0 || dry || len(data) == 0 {
		return 0, errno
	}
	return r.spliceTo(data)
}

func (r *request) spliceFrom(in *file, n int, dry bool) ([]byte, syscall.Errno) {
	switch o := in.obj.(type) {
	case *pipeEnd:
		if len(o.p.buf) == 0 && o.p.writer != nil {
			return nil, unix.EAGAIN
		}
		data := append([]byte(nil), o.p.buf[:min(n, len(o.p.buf))]...)
		if !dry {
			o.p.take(len(data))
		}
		return data, 0
	case *socket:
		if len(o.in.buf) == 0 && !o.in.fin {
			return nil, unix.EAGAIN
		}
		data := append([]byte(nil), o.in.buf[:min(n, len(o.in.buf))]...)
		if !dry {
			o.consume(len(data))
		}
		return data, 0
	case *inode:
		if dry {
			return nil, 0
		}
		off := int64(r.sqe.Addr)
		if r.sqe.Addr == ring.CurrentPosition {
			off = in.pos
		}
		if errno := o.fetchIn(off, n); errno != 0 {
			return nil, errno
		}
		data := make([]byte, n)
		data = data[:o.readAt(data, off)]
		if r.sqe.Addr == ring.CurrentPosition {
			in.pos += int64(len(data))
		}
		return data, 0
	}
	return nil, unix.EINVAL
}

func (r *request) spliceTo(data []byte) (int, syscall.Errno) {
	switch o := r.file.obj.(type) {
	case *pipeEnd:
		o.p.buf = append(o.p.buf, data...)
		o.p.reader.wake(unix.POLLIN)
		return len(data), 0
	case *socket:
		o.transmit(data)
		return len(data), 0
	case *inode:
		off, current := r.offset()
		n, errno := o.write(data, off)
		if current {
			r.file.pos += int64(n)
		}
		return n, errno
	}
	return 0, unix.EINVAL
}
