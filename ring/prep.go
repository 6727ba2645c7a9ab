package ring

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The Prep methods fill an entry from [Ring.Get] for one operation, with the
// names and argument order of liburing's io_uring_prep_*. Each writes every field
// but UserData, which is the caller's, and so must come before the caller sets
// Flags, IOPrio or BufIndex.
//
// An address given to one must stay where it is, and what lies there must not be
// reused, until the operation's last completion; it must come from mmap'd memory
// (the arena), because the kernel's use of it is hidden from the garbage
// collector: a Go heap object would be freed and a stack object moved. Structures
// that the kernel copies while it submits (timespecs; iovecs and msghdrs, though
// not what they point at; paths) are held only until the Enter that submits them.
// Lengths are in bytes, file offsets in bytes from the start, or CurrentPosition.

// CurrentPosition as a file offset means the descriptor's own position, and for
// splice "no offset", as a pipe needs.
const CurrentPosition = ^uint64(0)

// Timespec is struct __kernel_timespec.
type Timespec struct{ Sec, Nsec int64 }

// TimespecOf splits nanoseconds; negative ones become 0.
func TimespecOf(nanos int64) Timespec {
	nanos = max(nanos, 0)
	return Timespec{Sec: nanos / 1e9, Nsec: nanos % 1e9}
}

func (s *SQE) prep(op uint8, fd int, addr uint64, n uint32, off uint64) {
	*s = SQE{Opcode: op, FD: int32(fd), Addr: addr, Len: n, Off: off, UserData: s.UserData}
}

func address(p unsafe.Pointer) uint64 { return uint64(uintptr(p)) }

// PrepNop does nothing and completes with 0.
func (s *SQE) PrepNop() { s.prep(OpNop, -1, 0, 0, 0) }

// PrepAccept takes one connection. addr and addrLen (a *uint32) may be nil; flags
// are accept4(2)'s. Completes with the new descriptor.
func (s *SQE) PrepAccept(fd int, addr, addrLen unsafe.Pointer, flags uint32) {
	s.prep(OpAccept, fd, address(addr), 0, address(addrLen))
	s.OpFlags = flags
}

// PrepMultishotAccept (5.19) completes once per connection until it fails.
func (s *SQE) PrepMultishotAccept(fd int, addr, addrLen unsafe.Pointer, flags uint32) {
	s.PrepAccept(fd, addr, addrLen, flags)
	s.IOPrio = AcceptMultishot
}

// PrepSocket (5.19) is socket(2).
func (s *SQE) PrepSocket(domain, kind, protocol int, flags uint32) {
	s.prep(OpSocket, domain, 0, uint32(protocol), uint64(kind))
	s.OpFlags = flags
}

// PrepConnect is connect(2) with addrLen bytes of socket address at addr.
func (s *SQE) PrepConnect(fd int, addr unsafe.Pointer, addrLen uint32) {
	s.prep(OpConnect, fd, address(addr), 0, uint64(addrLen))
}

// PrepShutdown is shutdown(2).
func (s *SQE) PrepShutdown(fd, how int) { s.prep(OpShutdown, fd, 0, uint32(how), 0) }

// PrepClose is close(2).
func (s *SQE) PrepClose(fd int) { s.prep(OpClose, fd, 0, 0, 0) }

// PrepRecv receives up to n bytes into buf. Flags are recv(2)'s.
func (s *SQE) PrepRecv(fd int, buf unsafe.Pointer, n uint32, flags uint32) {
	s.prep(OpRecv, fd, address(buf), n, 0)
	s.OpFlags = flags
}

// PrepRecvSelect receives once, into a buffer that the kernel takes from group
// when bytes arrive. n limits the bytes; 0 is a whole buffer.
func (s *SQE) PrepRecvSelect(fd int, n uint32, flags uint32, group uint16) {
	s.PrepRecv(fd, nil, n, flags)
	s.Flags = SQEBufferSelect
	s.BufIndex = group
}

// PrepRecvMultishot (6.0) receives again and again, each time into a buffer of
// group, until the peer closes (0), an error, or no buffer is left (ENOBUFS).
func (s *SQE) PrepRecvMultishot(fd int, flags uint32, group uint16) {
	s.PrepRecvSelect(fd, 0, flags, group)
	s.IOPrio = RecvMultishot
}

// PrepRecvmsg is recvmsg(2).
func (s *SQE) PrepRecvmsg(fd int, msg *unix.Msghdr, flags uint32) {
	s.prep(OpRecvmsg, fd, address(unsafe.Pointer(msg)), 1, 0)
	s.OpFlags = flags
}

// PrepSend sends n bytes at buf. Flags are send(2)'s; with MSG_WAITALL a short
// send is carried on by the kernel.
func (s *SQE) PrepSend(fd int, buf unsafe.Pointer, n uint32, flags uint32) {
	s.prep(OpSend, fd, address(buf), n, 0)
	s.OpFlags = flags
}

// PrepSendmsg is sendmsg(2). msg and its iovecs are copied when submitted.
func (s *SQE) PrepSendmsg(fd int, msg *unix.Msghdr, flags uint32) {
	s.prep(OpSendmsg, fd, address(unsafe.Pointer(msg)), 1, 0)
	s.OpFlags = flags
}

// PrepSendZC (6.0) sends without a copy. It completes twice: the result, with
// CQEFMore, then CQEFNotif when the memory is free. zcFlags go to IOPrio.
func (s *SQE) PrepSendZC(fd int, buf unsafe.Pointer, n uint32, flags uint32, zcFlags uint16) {
	s.prep(OpSendZC, fd, address(buf), n, 0)
	s.OpFlags = flags
	s.IOPrio = zcFlags
}

// PrepSendmsgZC (6.1) is PrepSendZC for a msghdr.
func (s *SQE) PrepSendmsgZC(fd int, msg *unix.Msghdr, flags uint32) {
	s.PrepSendmsg(fd, msg, flags)
	s.Opcode = OpSendmsgZC
}

// PrepRead is pread(2).
func (s *SQE) PrepRead(fd int, buf unsafe.Pointer, n uint32, off uint64) {
	s.prep(OpRead, fd, address(buf), n, off)
}

// PrepRead2 is preadv2(2) into one buffer; flags are RWF_*. A flag that the file
// system does not know ends it with EOPNOTSUPP, one that the kernel does not with
// EINVAL or EOPNOTSUPP.
func (s *SQE) PrepRead2(fd int, buf unsafe.Pointer, n uint32, off uint64, flags uint32) {
	s.prep(OpRead, fd, address(buf), n, off)
	s.OpFlags = flags
}

// PrepReadv is preadv2(2) with n iovecs at iovs and no flags.
func (s *SQE) PrepReadv(fd int, iovs *unix.Iovec, n uint32, off uint64) {
	s.PrepReadv2(fd, iovs, n, off, 0)
}

// PrepReadv2 is preadv2(2); flags are RWF_*.
func (s *SQE) PrepReadv2(fd int, iovs *unix.Iovec, n uint32, off uint64, flags uint32) {
	s.prep(OpReadv, fd, address(unsafe.Pointer(iovs)), n, off)
	s.OpFlags = flags
}

// PrepWrite is pwrite(2).
func (s *SQE) PrepWrite(fd int, buf unsafe.Pointer, n uint32, off uint64) {
	s.prep(OpWrite, fd, address(buf), n, off)
}

// PrepWritev is pwritev2(2) with n iovecs at iovs and no flags.
func (s *SQE) PrepWritev(fd int, iovs *unix.Iovec, n uint32, off uint64) {
	s.PrepWritev2(fd, iovs, n, off, 0)
}

// PrepWritev2 is pwritev2(2); flags are RWF_*.
func (s *SQE) PrepWritev2(fd int, iovs *unix.Iovec, n uint32, off uint64, flags uint32) {
	s.prep(OpWritev, fd, address(unsafe.Pointer(iovs)), n, off)
	s.OpFlags = flags
}

// PrepFsync is fsync(2), or fdatasync(2) with FsyncDatasync. Writes in flight are
// not waited for.
func (s *SQE) PrepFsync(fd int, flags uint32) {
	s.prep(OpFsync, fd, 0, 0, 0)
	s.OpFlags = flags
}

// PrepFallocate is fallocate(2).
func (s *SQE) PrepFallocate(fd int, mode uint32, off, n uint64) {
	s.prep(OpFallocate, fd, n, mode, off)
}

// PrepFtruncate (6.9) is ftruncate(2).
func (s *SQE) PrepFtruncate(fd int, size uint64) { s.prep(OpFtruncate, fd, 0, 0, size) }

// PrepSyncFileRange is sync_file_range(2). Note liburing's order: n, then off.
func (s *SQE) PrepSyncFileRange(fd int, n uint32, off uint64, flags uint32) {
	s.prep(OpSyncFileRange, fd, 0, n, off)
	s.OpFlags = flags
}

// PrepFadvise is posix_fadvise(2).
func (s *SQE) PrepFadvise(fd int, off uint64, n uint32, advice uint32) {
	s.prep(OpFadvise, fd, 0, n, off)
	s.OpFlags = advice
}

// PrepMadvise is madvise(2).
func (s *SQE) PrepMadvise(addr unsafe.Pointer, n uint32, advice uint32) {
	s.prep(OpMadvise, -1, address(addr), n, 0)
	s.OpFlags = advice
}

// PrepOpenat is openat(2). path ends in a NUL byte.
func (s *SQE) PrepOpenat(dir int, path unsafe.Pointer, flags, mode uint32) {
	s.prep(OpOpenat, dir, address(path), mode, 0)
	s.OpFlags = flags
}

// PrepUnlinkat is unlinkat(2). path ends in a NUL byte.
func (s *SQE) PrepUnlinkat(dir int, path unsafe.Pointer, flags uint32) {
	s.prep(OpUnlinkat, dir, address(path), 0, 0)
	s.OpFlags = flags
}

// PrepRenameat is renameat2(2). The paths end in a NUL byte.
func (s *SQE) PrepRenameat(oldDir int, oldPath unsafe.Pointer, newDir int, newPath unsafe.Pointer, flags uint32) {
	s.prep(OpRenameat, oldDir, address(oldPath), uint32(newDir), address(newPath))
	s.OpFlags = flags
}

// PrepStatx is statx(2). path ends in a NUL byte; stat is written when it completes.
func (s *SQE) PrepStatx(dir int, path unsafe.Pointer, flags, mask uint32, stat *unix.Statx_t) {
	s.prep(OpStatx, dir, address(path), mask, address(unsafe.Pointer(stat)))
	s.OpFlags = flags
}

// PrepSplice is splice(2); an offset for a pipe is CurrentPosition.
func (s *SQE) PrepSplice(fdIn int, offIn uint64, fdOut int, offOut uint64, n, flags uint32) {
	s.prep(OpSplice, fdOut, offIn, n, offOut)
	s.SpliceFD = int32(fdIn)
	s.OpFlags = flags
}

// PrepTee is tee(2).
func (s *SQE) PrepTee(fdIn, fdOut int, n, flags uint32) {
	s.prep(OpTee, fdOut, 0, n, 0)
	s.SpliceFD = int32(fdIn)
	s.OpFlags = flags
}

// PrepPollAdd waits once until fd is ready for one of mask (POLLIN...).
// Completes with the events.
func (s *SQE) PrepPollAdd(fd int, mask uint32) {
	s.prep(OpPollAdd, fd, 0, 0, 0)
	s.OpFlags = mask
}

// PrepPollMultishot completes again each time that fd becomes ready.
func (s *SQE) PrepPollMultishot(fd int, mask uint32) {
	s.PrepPollAdd(fd, mask)
	s.Len = PollAddMulti
}

// PrepPollRemove ends the poll that was submitted with userData, which completes
// with ECANCELED; this one completes with 0, ENOENT or EALREADY.
func (s *SQE) PrepPollRemove(userData uint64) { s.prep(OpPollRemove, -1, userData, 0, 0) }

// PrepTimeout completes with ETIME after ts, or with 0 after count other
// completions (0: only the time).
func (s *SQE) PrepTimeout(ts *Timespec, count uint32, flags uint32) {
	s.prep(OpTimeout, -1, address(unsafe.Pointer(ts)), 1, uint64(count))
	s.OpFlags = flags
}

// PrepTimeoutRemove ends the timeout that was submitted with userData.
func (s *SQE) PrepTimeoutRemove(userData uint64, flags uint32) {
	s.prep(OpTimeoutRemove, -1, userData, 0, 0)
	s.OpFlags = flags
}

// PrepTimeoutUpdate sets the timeout that was submitted with userData anew.
func (s *SQE) PrepTimeoutUpdate(ts *Timespec, userData uint64, flags uint32) {
	s.prep(OpTimeoutRemove, -1, userData, 0, address(unsafe.Pointer(ts)))
	s.OpFlags = flags | TimeoutUpdate
}

// PrepLinkTimeout limits the time of the entry before it, which has SQEIOLink.
func (s *SQE) PrepLinkTimeout(ts *Timespec, flags uint32) {
	s.prep(OpLinkTimeout, -1, address(unsafe.Pointer(ts)), 1, 0)
	s.OpFlags = flags
}

// PrepCancel64 cancels what was submitted with userData; flags are AsyncCancel*
// (5.19; 0 before). Completes with 0 (or, with AsyncCancelAll, the number),
// ENOENT, or EALREADY: too late. The cancelled entry's own completion is what
// frees its memory.
func (s *SQE) PrepCancel64(userData uint64, flags uint32) {
	s.prep(OpAsyncCancel, -1, userData, 0, 0)
	s.OpFlags = flags
}

// PrepCancelFD (5.19) cancels what was submitted for fd.
func (s *SQE) PrepCancelFD(fd int, flags uint32) {
	s.prep(OpAsyncCancel, fd, 0, 0, 0)
	s.OpFlags = flags | AsyncCancelFD
}

// PrepMsgRing (5.18) posts a completion {UserData: data, Res: result} to the ring
// with descriptor fd.
func (s *SQE) PrepMsgRing(fd int, result uint32, data uint64, flags uint32) {
	s.prep(OpMsgRing, fd, msgRingData, result, data)
	s.OpFlags = flags
}

// PrepMsgRingCQEFlags (6.3) is PrepMsgRing with the completion's Flags given too.
func (s *SQE) PrepMsgRingCQEFlags(fd int, result uint32, data uint64, flags, cqeFlags uint32) {
	s.PrepMsgRing(fd, result, data, flags|MsgRingFlagsPass)
	s.SpliceFD = int32(cqeFlags)
}

// PrepProvideBuffers gives count buffers of n bytes each, from addr on, numbered
// from id, to group: the way before provided-buffer rings.
func (s *SQE) PrepProvideBuffers(addr unsafe.Pointer, n uint32, count int, group, id uint16) {
	s.prep(OpProvideBuffers, count, address(addr), n, uint64(id))
	s.BufIndex = group
}

// PrepRemoveBuffers takes count buffers of group back.
func (s *SQE) PrepRemoveBuffers(count int, group uint16) {
	s.prep(OpRemoveBuffers, count, 0, 0, 0)
	s.BufIndex = group
}
