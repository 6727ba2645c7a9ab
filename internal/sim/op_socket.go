package sim

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

func acceptPrio(k *kernel) uint16 {
	prio := uint16(0)
	if k.has(ring.Level61) {
		prio = ring.AcceptMultishot
	}
	if k.has(ring.LevelNative) {
		prio |= ring.AcceptDontwait | ring.AcceptPollFirst
	}
	return prio
}

func recvPrio(k *kernel) uint16 {
	if k.has(ring.Level61) {
		return ring.RecvSendPollFirst | ring.RecvMultishot
	}
	return 0
}

func sendPrio(k *kernel) uint16 {
	if k.has(ring.Level61) {
		return ring.RecvSendPollFirst | ring.SendZCReportUsage
	}
	return 0
}

func prepAccept(r *request) syscall.Errno {
	s := &r.sqe
	if s.OpFlags&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) != 0 || s.Len != 0 {
		return unix.EINVAL
	}
	if s.SpliceFD != 0 {
		r.u.k.w.violate("the simulation does not have direct descriptors")
		return unix.EINVAL
	}
	return 0
}

// issueAccept takes one connection; multishot, all there are, and waits for more.
func issueAccept(r *request) verdict {
	l, ok := r.file.obj.(*listener)
	if !ok {
		if _, ok := r.file.obj.(*socket); ok {
			return r.endErrno(unix.EINVAL)
		}
		return r.endErrno(unix.ENOTSOCK)
	}
	multishot := r.sqe.IOPrio&ring.AcceptMultishot != 0
	for {
		if l.shut {
			return r.endErrno(unix.EINVAL)
		}
		if len(l.queue) == 0 {
			return r.waitFor(unix.POLLIN, r.sqe.IOPrio&ring.AcceptDontwait != 0)
		}
		if r.u.k.w.hits(FaultDescriptors, "") != nil {
			return r.endErrno(unix.EMFILE)
		}
		s := l.queue[0]
		fd, errno := r.u.k.install(s.file)
		if errno != 0 {
			return r.endErrno(errno)
		}
		l.queue = l.queue[1:]
		if r.sqe.OpFlags&unix.SOCK_NONBLOCK != 0 {
			s.file.flags |= unix.O_NONBLOCK
		}
		r.u.k.w.note(traceNet, "accept", int64(l.addr.Port()), int64(s.peer.Port()), int64(fd))
		if r.sqe.Addr != 0 {
			writeSockaddr(r.sqe.Addr, r.sqe.Off, s.peer)
		}
		if !multishot {
			return r.end(int32(fd), 0)
		}
		r.more(int32(fd), 0)
	}
}

// writeSockaddr is how accept4(2) gives the peer's address: a sockaddr_in or
// sockaddr_in6 at addr, cut to the room that the word at lenAddr tells.
func writeSockaddr(addr, lenAddr uint64, peer netip.AddrPort) {
	b := make([]byte, 0, 28)
	if a := peer.Addr(); a.Is4() {
		ip := a.As4()
		b = binary.NativeEndian.AppendUint16(b, unix.AF_INET)
		b = binary.BigEndian.AppendUint16(b, peer.Port())
		b = append(append(b, ip[:]...), make([]byte, 8)...)
	} else {
		ip := a.As16()
		b = binary.NativeEndian.AppendUint16(b, unix.AF_INET6)
		b = binary.BigEndian.AppendUint16(b, peer.Port())
		b = append(append(append(b, 0, 0, 0, 0), ip[:]...), 0, 0, 0, 0)
	}
	length := (*uint32)(pointer(lenAddr))
	copy(memory(addr, min(int(*length), len(b))), b)
	*length = uint32(len(b))
}

func prepRecv(r *request) syscall.Errno {
	s := &r.sqe
	multishot := s.IOPrio&ring.RecvMultishot != 0
	if multishot && (s.Flags&ring.SQEBufferSelect == 0 || s.OpFlags&unix.MSG_WAITALL != 0) {
		return unix.EINVAL
	}
	if s.Off != 0 || s.SpliceFD != 0 {
		return unix.EINVAL
	}
	if s.Flags&ring.SQEBufferSelect == 0 {
		r.setBuffer(s.Addr, int(s.Len))
	}
	return 0
}

// socket is the connection that the request is for; listening is the error of a
// listener.
func (r *request) socket(listening syscall.Errno) (*socket, syscall.Errno) {
	switch o := r.file.obj.(type) {
	case *socket:
		return o, 0
	case *listener:
		return nil, listening
	}
	return nil, unix.ENOTSOCK
}

// issueRecv receives once, or, multishot, until nothing is left.
func issueRecv(r *request) verdict {
	s, errno := r.socket(unix.ENOTCONN)
	if errno != 0 {
		return r.endErrno(errno)
	}
	flags := r.sqe.OpFlags
	if r.sqe.Opcode == ring.OpRead || r.sqe.Opcode == ring.OpReadv {
		flags = 0
	}
	if r.sqe.IOPrio&ring.RecvSendPollFirst != 0 && !r.polled {
		r.polled = true
		return r.waitFor(unix.POLLIN, false)
	}
	if r.sqe.Flags&ring.SQEBufferSelect != 0 {
		return issueRecvProvided(r, s, flags)
	}
	for {
		n, errno := s.receive(r.iovs, r.moved, r.want-r.moved, flags)
		if errno == unix.EAGAIN {
			return r.waitFor(unix.POLLIN, flags&unix.MSG_DONTWAIT != 0)
		}
		if errno != 0 && r.moved == 0 {
			return r.endErrno(errno)
		}
		r.moved += n
		whole := flags&unix.MSG_WAITALL != 0
		if whole && errno == 0 && n > 0 && r.moved < r.want && r.u.k.has(ring.Level61) {
			continue
		}
		r.failed = whole && r.moved < r.want
		return r.end(int32(r.moved), s.nonempty(r.u.k))
	}
}

// nonempty is the flag that tells that more bytes wait.
func (s *socket) nonempty(k *kernel) uint32 {
	if len(s.in.buf) > 0 && k.has(ring.Level61) {
		return ring.CQEFSockNonempty
	}
	return 0
}

// issueRecvProvided receives into buffers of the entry's group. Linux takes a
// buffer before it looks at the socket: with none there, ENOBUFS, bytes or not.
func issueRecvProvided(r *request, s *socket, flags uint32) verdict {
	k := r.u.k
	multishot := r.sqe.IOPrio&ring.RecvMultishot != 0
	for {
		group := r.u.groups[r.sqe.BufIndex]
		if group == nil {
			return r.endErrno(unix.ENOBUFS)
		}
		b, ok := group.next()
		if !ok {
			return r.endErrno(unix.ENOBUFS)
		}
		limit := int(b.Len)
		if r.sqe.Len > 0 {
			limit = min(limit, int(r.sqe.Len))
		}
		var v unix.Iovec
		v.Base = (*byte)(pointer(b.Addr))
		v.SetLen(limit)
		n, errno := s.receive([]unix.Iovec{v}, 0, limit, flags)
		if errno == unix.EAGAIN {
			return r.waitFor(unix.POLLIN, flags&unix.MSG_DONTWAIT != 0)
		}
		if errno != 0 {
			return r.endErrno(errno)
		}
		if n == 0 {
			return r.end(0, 0)
		}
		group.take()
		cflags := ring.CQEFBuffer | uint32(b.ID)<<ring.CQEBufferShift | s.nonempty(k)
		if !multishot {
			r.end(int32(n), cflags)
			r.failed = flags&unix.MSG_WAITALL != 0 && n < limit
			return done
		}
		r.more(int32(n), cflags)
		if k.has(ring.LevelNative) && len(s.in.buf) == 0 && s.calm() {
			// Later kernels know that nothing is left and do not ask for a buffer.
			return r.waitFor(unix.POLLIN, false)
		}
	}
}

// issueSend sends what there is room for; with MSG_WAITALL the rest when there is
// room again.
func issueSend(r *request) verdict {
	s, errno := r.socket(unix.EPIPE)
	if errno != 0 {
		return r.endErrno(errno)
	}
	flags := r.sqe.OpFlags
	if r.sqe.Opcode == ring.OpWrite || r.sqe.Opcode == ring.OpWritev {
		flags = 0
	}
	if r.sqe.IOPrio&ring.RecvSendPollFirst != 0 && !r.polled {
		r.polled = true
		return r.waitFor(unix.POLLOUT, false)
	}
	for {
		n, errno := s.send(r.iovs, r.moved, r.want-r.moved)
		if errno == unix.EAGAIN {
			return r.waitFor(unix.POLLOUT, flags&unix.MSG_DONTWAIT != 0)
		}
		if errno != 0 && r.moved == 0 {
			return r.endErrno(errno)
		}
		r.moved += n
		whole := flags&unix.MSG_WAITALL != 0
		if whole && errno == 0 && r.moved < r.want && r.u.k.has(ring.Level61) {
			continue
		}
		r.failed = whole && r.moved < r.want
		r.end(int32(r.moved), 0)
		r.notifyLater()
		return done
	}
}

// notifyLater plans the second completion of a zero-copy send. The memory must
// not change before it.
func (r *request) notifyLater() {
	if r.sqe.Opcode != ring.OpSendZC && r.sqe.Opcode != ring.OpSendmsgZC {
		return
	}
	w := r.u.k.w
	before := contentHash(gather(r.iovs, 0, r.moved))
	r.notify = true
	w.later(w.delay(w.draws.net), func() {
		if r.u.bad {
			return
		}
		if contentHash(gather(r.iovs, 0, r.moved)) != before {
			w.violate("memory of a zero-copy send on descriptor %d changed before its notification", r.sqe.FD)
		}
		res := int32(0)
		if r.sqe.IOPrio&ring.SendZCReportUsage != 0 {
			res = -1 << 31 // NotifUsageZCCopied
		}
		r.u.unlist(r)
		r.u.taskWork(&message{r.u, ring.CQE{UserData: r.sqe.UserData, Res: res, Flags: ring.CQEFNotif}})
	})
}

func issueShutdown(r *request) verdict {
	how := int(r.sqe.Len)
	switch o := r.file.obj.(type) {
	case *socket:
		return r.end(errnoOf(o.shutdown(how)), 0)
	case *listener:
		return r.end(errnoOf(o.shutdown(how)), 0)
	}
	return r.endErrno(unix.ENOTSOCK)
}
