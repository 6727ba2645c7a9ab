package sim

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// operation is what the kernel knows of an opcode.
type operation struct {
	name   string
	file   bool                           // FD names a file
	length bool                           // Len is a number, and Off too: fit for the trace
	off    bool                           // (addresses are not)
	prio   func(k *kernel) uint16         // flags allowed in IOPrio
	choose bool                           // may take a provided buffer
	prep   func(r *request) syscall.Errno // checks the entry and copies what it points at
	issue  func(r *request) verdict
}

var operations [256]*operation

func init() {
	operations = [256]*operation{
		ring.OpNop:           {name: "NOP", issue: issueNop},
		ring.OpReadv:         {name: "READV", file: true, length: true, off: true, prep: prepVector, issue: issueRead},
		ring.OpWritev:        {name: "WRITEV", file: true, length: true, off: true, prep: prepVector, issue: issueWrite},
		ring.OpRead:          {name: "READ", file: true, length: true, off: true, prep: prepBuffer, issue: issueRead},
		ring.OpWrite:         {name: "WRITE", file: true, length: true, off: true, prep: prepBuffer, issue: issueWrite},
		ring.OpFsync:         {name: "FSYNC", file: true, length: true, off: true, prep: prepFsync, issue: issueFsync},
		ring.OpFallocate:     {name: "FALLOCATE", file: true, length: true, off: true, issue: issueFallocate},
		ring.OpFtruncate:     {name: "FTRUNCATE", file: true, off: true, issue: issueFtruncate},
		ring.OpSyncFileRange: {name: "SYNC_FILE_RANGE", file: true, length: true, off: true, issue: issueSyncFileRange},
		ring.OpFadvise:       {name: "FADVISE", file: true, length: true, off: true, issue: issueFadvise},
		ring.OpMadvise:       {name: "MADVISE", length: true, issue: issueNop},
		ring.OpSplice:        {name: "SPLICE", file: true, length: true, off: true, prep: prepSplice, issue: issueSplice},
		ring.OpPollAdd:       {name: "POLL_ADD", file: true, length: true, prep: prepPoll, issue: issuePoll},
		ring.OpPollRemove:    {name: "POLL_REMOVE", length: true, prep: prepPollRemove, issue: issuePollRemove},
		ring.OpAccept:        {name: "ACCEPT", file: true, prio: acceptPrio, prep: prepAccept, issue: issueAccept},
		ring.OpRecv:          {name: "RECV", file: true, length: true, prio: recvPrio, choose: true, prep: prepRecv, issue: issueRecv},
		ring.OpRecvmsg:       {name: "RECVMSG", file: true, prio: recvPrio, prep: prepMsg, issue: issueRecv},
		ring.OpSend:          {name: "SEND", file: true, length: true, prio: sendPrio, prep: prepBuffer, issue: issueSend},
		ring.OpSendmsg:       {name: "SENDMSG", file: true, prio: sendPrio, prep: prepMsg, issue: issueSend},
		ring.OpSendZC:        {name: "SEND_ZC", file: true, length: true, prio: sendPrio, prep: prepBuffer, issue: issueSend},
		ring.OpSendmsgZC:     {name: "SENDMSG_ZC", file: true, prio: sendPrio, prep: prepMsg, issue: issueSend},
		ring.OpShutdown:      {name: "SHUTDOWN", file: true, length: true, issue: issueShutdown},
		ring.OpClose:         {name: "CLOSE", issue: issueClose},
		ring.OpTimeout:       {name: "TIMEOUT", off: true, prep: prepTimeout, issue: issueTimeout},
		ring.OpTimeoutRemove: {name: "TIMEOUT_REMOVE", prep: prepTimeoutRemove, issue: issueTimeoutRemove},
		ring.OpAsyncCancel:   {name: "ASYNC_CANCEL", prep: prepCancel, issue: issueCancel},
		ring.OpMsgRing:       {name: "MSG_RING", file: true, length: true, off: true, prep: prepMsgRing, issue: issueMsgRing},
	}
}

func opName(code uint8) string {
	if o := operations[code]; o != nil {
		return o.name
	}
	return fmt.Sprintf("opcode %d", code)
}

// prepare checks an entry as Linux does before it issues anything: flags, opcode,
// what the entry points at.
func (r *request) prepare() syscall.Errno {
	s, k := &r.sqe, r.u.k
	r.op = operations[s.Opcode]
	r.trace()
	known := ring.SQEFixedFile | ring.SQEIODrain | ring.SQEIOLink | ring.SQEIOHardlink | ring.SQEAsync | ring.SQEBufferSelect
	if k.has(ring.Level61) {
		known |= ring.SQECQESkipSuccess
	}
	if s.Opcode > k.lastOpcode() || s.Flags&^known != 0 {
		return unix.EINVAL
	}
	if r.op == nil || s.Flags&ring.SQEIODrain != 0 {
		k.w.violate("the simulation does not have %s with flags %#x", opName(s.Opcode), s.Flags)
		return unix.EINVAL
	}
	r.skip = s.Flags&ring.SQECQESkipSuccess != 0
	if s.Flags&ring.SQEFixedFile != 0 {
		return unix.EBADF // none is registered
	}
	if s.Flags&ring.SQEBufferSelect != 0 && !r.op.choose {
		return unix.EOPNOTSUPP
	}
	if s.IOPrio != 0 && (r.op.prio == nil || s.IOPrio&^r.op.prio(k) != 0) {
		return unix.EINVAL
	}
	if r.op.prep == nil {
		return 0
	}
	return r.op.prep(r)
}

func (r *request) trace() {
	s, w := &r.sqe, r.u.k.w
	length, off := int64(0), int64(0)
	if r.op != nil && r.op.length {
		length = int64(s.Len)
	}
	if r.op != nil && r.op.off {
		off = int64(s.Off)
	}
	w.note(traceSQE, opName(s.Opcode), int64(r.u.mapping.FD), int64(s.UserData), int64(s.Flags), int64(s.IOPrio), int64(s.FD),
		length, off, int64(s.OpFlags), int64(s.BufIndex), int64(s.SpliceFD))
}

func issueNop(r *request) verdict { return r.end(0, 0) }

// issueClose closes a descriptor; a ring cannot be closed through a ring.
func issueClose(r *request) verdict {
	k := r.u.k
	f := k.file(int(r.sqe.FD))
	if f == nil {
		return r.endErrno(unix.EBADF)
	}
	if _, ok := f.obj.(*uring); ok {
		return r.endErrno(unix.EBADF)
	}
	k.close(int(r.sqe.FD))
	return r.end(0, 0)
}

func prepMsgRing(r *request) syscall.Errno {
	known := ring.MsgRingCQESkip
	if r.u.k.has(ring.LevelNative) {
		known |= ring.MsgRingFlagsPass
	}
	if r.sqe.OpFlags&^known != 0 || r.sqe.Addr != 0 {
		return unix.EINVAL
	}
	return 0
}

// issueMsgRing posts a completion to another ring.
func issueMsgRing(r *request) verdict {
	to, ok := r.file.obj.(*uring)
	if !ok || !to.enabled || to.bad {
		return r.endErrno(unix.EBADFD)
	}
	cqe := ring.CQE{UserData: r.sqe.Off, Res: int32(r.sqe.Len)}
	if r.sqe.OpFlags&ring.MsgRingFlagsPass != 0 {
		cqe.Flags = uint32(r.sqe.SpliceFD)
	}
	if to.isDeferred() && to != r.u {
		to.taskWork(&message{to, cqe})
	} else {
		to.post(cqe.UserData, cqe.Res, cqe.Flags)
	}
	return r.end(0, 0)
}

// prepBuffer is for entries with one buffer at Addr of Len bytes.
func prepBuffer(r *request) syscall.Errno {
	s := &r.sqe
	if s.Opcode == ring.OpSend && s.Off != 0 {
		return unix.EINVAL // a destination address, which TCP does not have
	}
	r.setBuffer(s.Addr, int(s.Len))
	return 0
}

func (r *request) setBuffer(addr uint64, n int) {
	v := unix.Iovec{Base: (*byte)(pointer(addr))}
	v.SetLen(n)
	r.iovs, r.want = []unix.Iovec{v}, n
}

// prepVector is for entries with Len iovecs at Addr.
func prepVector(r *request) syscall.Errno {
	if r.sqe.Len > maxIovecs {
		return unix.EINVAL
	}
	return r.setIovecs(r.sqe.Addr, int(r.sqe.Len))
}

func (r *request) setIovecs(addr uint64, n int) syscall.Errno {
	if badMemory(addr, n) {
		return unix.EFAULT
	}
	r.iovs = copyIovecs(addr, n)
	r.want = iovecBytes(r.iovs)
	return 0
}

// prepMsg is for entries with a msghdr at Addr.
func prepMsg(r *request) syscall.Errno {
	if badMemory(r.sqe.Addr, unix.SizeofMsghdr) {
		return unix.EFAULT
	}
	msg := (*unix.Msghdr)(pointer(r.sqe.Addr))
	if msg.Iovlen > maxIovecs {
		return unix.EMSGSIZE
	}
	return r.setIovecs(address(msg.Iov), int(msg.Iovlen))
}
