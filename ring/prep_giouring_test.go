//go:build giouring

package ring

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

// random is one draw of arguments. Addresses lie inside memory of ours, so that
// the garbage collector may look at them.
type random struct {
	fd, fd2, small   int
	a, b             unsafe.Pointer
	n, flags, flags2 uint32
	off, data        uint64
	group, id        uint16
}

var randomMemory [1 << 16]byte

func draw(rng *rand.Rand) random {
	return random{
		fd: int(rng.Int32()), fd2: int(rng.Int32()), small: int(rng.Int32()),
		a: unsafe.Pointer(&randomMemory[rng.IntN(len(randomMemory)/2)]),
		b: unsafe.Pointer(&randomMemory[rng.IntN(len(randomMemory)/2)]),
		n: rng.Uint32(), flags: rng.Uint32(), flags2: rng.Uint32(),
		off: rng.Uint64(), data: rng.Uint64(),
		group: uint16(rng.Uint32()), id: uint16(rng.Uint32()),
	}
}

type theirs = giouring.SubmissionQueueEntry

// oracle pairs one of our Prep methods with giouring's. Where giouring departs
// from liburing, bug says how, and fix puts liburing's documented value in its
// entry; nothing but the named field is touched.
type oracle struct {
	name string
	ours func(s *SQE, r random)
	them func(s *theirs, r random)
	bug  string
	fix  func(s *theirs, r random)
}

func addr64(p unsafe.Pointer) uint64 { return uint64(uintptr(p)) }

// sliceHeader: giouring takes a []byte and stores the address of the slice header
// on its own stack, where liburing stores the address of the bytes.
const sliceHeader = "giouring stores the address of a slice header, not of the bytes"

func path(r random) []byte { return unsafe.Slice((*byte)(r.a), 8) }

var oracles = []oracle{
	{name: "Nop", ours: func(s *SQE, r random) { s.PrepNop() }, them: func(s *theirs, r random) { s.PrepareNop() }},
	{name: "Accept",
		ours: func(s *SQE, r random) { s.PrepAccept(r.fd, r.a, r.b, r.flags) },
		them: func(s *theirs, r random) { s.PrepareAccept(r.fd, uintptr(r.a), addr64(r.b), r.flags) }},
	{name: "MultishotAccept",
		ours: func(s *SQE, r random) { s.PrepMultishotAccept(r.fd, r.a, r.b, r.flags) },
		them: func(s *theirs, r random) { s.PrepareMultishotAccept(r.fd, uintptr(r.a), addr64(r.b), int(r.flags)) }},
	{name: "Socket",
		ours: func(s *SQE, r random) { s.PrepSocket(r.fd, r.fd2, r.small, r.flags) },
		them: func(s *theirs, r random) { s.PrepareSocket(r.fd, r.fd2, r.small, r.flags) }},
	{name: "Connect",
		ours: func(s *SQE, r random) { s.PrepConnect(r.fd, r.a, r.n) },
		them: func(s *theirs, r random) { s.PrepareConnect(r.fd, (*syscall.Sockaddr)(r.a), uint64(r.n)) }},
	{name: "Shutdown",
		ours: func(s *SQE, r random) { s.PrepShutdown(r.fd, r.small) },
		them: func(s *theirs, r random) { s.PrepareShutdown(r.fd, r.small) }},
	{name: "Close",
		ours: func(s *SQE, r random) { s.PrepClose(r.fd) },
		them: func(s *theirs, r random) { s.PrepareClose(r.fd) }},
	{name: "Recv",
		ours: func(s *SQE, r random) { s.PrepRecv(r.fd, r.a, r.n, r.flags) },
		them: func(s *theirs, r random) { s.PrepareRecv(r.fd, uintptr(r.a), r.n, int(r.flags)) }},
	{name: "RecvSelect",
		ours: func(s *SQE, r random) { s.PrepRecvSelect(r.fd, r.n, r.flags, r.group) },
		them: func(s *theirs, r random) {
			s.PrepareRecv(r.fd, 0, r.n, int(r.flags))
			s.Flags |= giouring.SqeBufferSelect
			s.BufIG = r.group
		}},
	{name: "RecvMultishot",
		ours: func(s *SQE, r random) { s.PrepRecvMultishot(r.fd, r.flags, r.group) },
		them: func(s *theirs, r random) {
			s.PrepareRecvMultishot(r.fd, 0, 0, int(r.flags))
			s.Flags |= giouring.SqeBufferSelect
			s.BufIG = r.group
		}},
	{name: "Recvmsg",
		ours: func(s *SQE, r random) { s.PrepRecvmsg(r.fd, (*unix.Msghdr)(r.a), r.flags) },
		them: func(s *theirs, r random) { s.PrepareRecvMsg(r.fd, (*syscall.Msghdr)(r.a), r.flags) }},
	{name: "Send",
		ours: func(s *SQE, r random) { s.PrepSend(r.fd, r.a, r.n, r.flags) },
		them: func(s *theirs, r random) { s.PrepareSend(r.fd, uintptr(r.a), r.n, int(r.flags)) }},
	{name: "Sendmsg",
		ours: func(s *SQE, r random) { s.PrepSendmsg(r.fd, (*unix.Msghdr)(r.a), r.flags) },
		them: func(s *theirs, r random) { s.PrepareSendMsg(r.fd, (*syscall.Msghdr)(r.a), r.flags) }},
	{name: "SendmsgZC",
		ours: func(s *SQE, r random) { s.PrepSendmsgZC(r.fd, (*unix.Msghdr)(r.a), r.flags) },
		them: func(s *theirs, r random) { s.PrepareSendmsgZC(r.fd, (*syscall.Msghdr)(r.a), r.flags) }},
	{name: "SendZC", bug: sliceHeader,
		ours: func(s *SQE, r random) { s.PrepSendZC(r.fd, r.a, 8, r.flags, uint16(r.flags2)) },
		them: func(s *theirs, r random) { s.PrepareSendZC(r.fd, path(r), int(r.flags), uint32(uint16(r.flags2))) },
		fix:  func(s *theirs, r random) { s.Addr = addr64(r.a) }},
	{name: "Read",
		ours: func(s *SQE, r random) { s.PrepRead(r.fd, r.a, r.n, r.off) },
		them: func(s *theirs, r random) { s.PrepareRead(r.fd, uintptr(r.a), r.n, r.off) }},
	{name: "Read2", bug: "giouring's read takes no flags; liburing's caller sets rw_flags in the entry",
		ours: func(s *SQE, r random) { s.PrepRead2(r.fd, r.a, r.n, r.off, r.flags) },
		them: func(s *theirs, r random) { s.PrepareRead(r.fd, uintptr(r.a), r.n, r.off) },
		fix:  func(s *theirs, r random) { s.OpcodeFlags = r.flags }},
	{name: "Readv",
		ours: func(s *SQE, r random) { s.PrepReadv(r.fd, (*unix.Iovec)(r.a), r.n, r.off) },
		them: func(s *theirs, r random) { s.PrepareReadv(r.fd, uintptr(r.a), r.n, r.off) }},
	{name: "Readv2",
		ours: func(s *SQE, r random) { s.PrepReadv2(r.fd, (*unix.Iovec)(r.a), r.n, r.off, r.flags) },
		them: func(s *theirs, r random) { s.PrepareReadv2(r.fd, uintptr(r.a), r.n, r.off, int(r.flags)) }},
	{name: "Write",
		ours: func(s *SQE, r random) { s.PrepWrite(r.fd, r.a, r.n, r.off) },
		them: func(s *theirs, r random) { s.PrepareWrite(r.fd, uintptr(r.a), r.n, r.off) }},
	{name: "Writev",
		ours: func(s *SQE, r random) { s.PrepWritev(r.fd, (*unix.Iovec)(r.a), r.n, r.off) },
		them: func(s *theirs, r random) { s.PrepareWritev(r.fd, uintptr(r.a), r.n, r.off) }},
	{name: "Writev2",
		ours: func(s *SQE, r random) { s.PrepWritev2(r.fd, (*unix.Iovec)(r.a), r.n, r.off, r.flags) },
		them: func(s *theirs, r random) { s.PrepareWritev2(r.fd, uintptr(r.a), r.n, r.off, int(r.flags)) }},
	{name: "Fsync",
		ours: func(s *SQE, r random) { s.PrepFsync(r.fd, r.flags) },
		them: func(s *theirs, r random) { s.PrepareFsync(r.fd, r.flags) }},
	{name: "Fallocate",
		ours: func(s *SQE, r random) { s.PrepFallocate(r.fd, uint32(r.small), r.off, r.data) },
		them: func(s *theirs, r random) { s.PrepareFallocate(r.fd, r.small, r.off, r.data) }},
	{name: "Ftruncate", bug: "giouring has none (2023); liburing: prep_rw(FTRUNCATE, fd, 0, 0, size)",
		ours: func(s *SQE, r random) { s.PrepFtruncate(r.fd, r.off) },
		them: func(s *theirs, r random) { s.PrepareNop() },
		fix:  func(s *theirs, r random) { s.OpCode, s.Fd, s.Off = 55, int32(r.fd), r.off }},
	{name: "SyncFileRange",
		ours: func(s *SQE, r random) { s.PrepSyncFileRange(r.fd, r.n, r.off, r.flags) },
		them: func(s *theirs, r random) { s.PrepareSyncFileRange(r.fd, r.n, r.off, int(r.flags)) }},
	{name: "Fadvise",
		ours: func(s *SQE, r random) { s.PrepFadvise(r.fd, r.off, r.n, r.flags) },
		them: func(s *theirs, r random) { s.PrepareFadvise(r.fd, r.off, int(r.n), r.flags) }},
	{name: "Madvise",
		ours: func(s *SQE, r random) { s.PrepMadvise(r.a, r.n, r.flags) },
		them: func(s *theirs, r random) { s.PrepareMadvise(uintptr(r.a), uint(r.n), int(r.flags)) }},
	{name: "Openat", bug: sliceHeader,
		ours: func(s *SQE, r random) { s.PrepOpenat(r.fd, r.a, r.flags, r.n) },
		them: func(s *theirs, r random) { s.PrepareOpenat(r.fd, path(r), int(r.flags), r.n) },
		fix:  func(s *theirs, r random) { s.Addr = addr64(r.a) }},
	{name: "Unlinkat",
		ours: func(s *SQE, r random) { s.PrepUnlinkat(r.fd, r.a, r.flags) },
		them: func(s *theirs, r random) { s.PrepareUnlinkat(r.fd, uintptr(r.a), int(r.flags)) }},
	{name: "Renameat", bug: sliceHeader + ", twice",
		ours: func(s *SQE, r random) { s.PrepRenameat(r.fd, r.a, r.fd2, r.b, r.flags) },
		them: func(s *theirs, r random) { s.PrepareRenameat(r.fd, path(r), r.fd2, path(r), r.flags) },
		fix:  func(s *theirs, r random) { s.Addr, s.Off = addr64(r.a), addr64(r.b) }},
	{name: "Statx", bug: sliceHeader,
		ours: func(s *SQE, r random) { s.PrepStatx(r.fd, r.a, r.flags, r.n, (*unix.Statx_t)(r.b)) },
		them: func(s *theirs, r random) { s.PrepareStatx(r.fd, path(r), int(r.flags), r.n, (*unix.Statx_t)(r.b)) },
		fix:  func(s *theirs, r random) { s.Addr = addr64(r.a) }},
	{name: "Splice",
		ours: func(s *SQE, r random) { s.PrepSplice(r.fd, r.off, r.fd2, r.data, r.n, r.flags) },
		them: func(s *theirs, r random) { s.PrepareSplice(r.fd, int64(r.off), r.fd2, int64(r.data), r.n, r.flags) }},
	{name: "Tee",
		ours: func(s *SQE, r random) { s.PrepTee(r.fd, r.fd2, r.n, r.flags) },
		them: func(s *theirs, r random) { s.PrepareTee(r.fd, r.fd2, r.n, r.flags) }},
	{name: "PollAdd",
		ours: func(s *SQE, r random) { s.PrepPollAdd(r.fd, r.flags) },
		them: func(s *theirs, r random) { s.PreparePollAdd(r.fd, r.flags) }},
	{name: "PollMultishot",
		ours: func(s *SQE, r random) { s.PrepPollMultishot(r.fd, r.flags) },
		them: func(s *theirs, r random) { s.PreparePollMultishot(r.fd, r.flags) }},
	{name: "PollRemove",
		ours: func(s *SQE, r random) { s.PrepPollRemove(r.data) },
		them: func(s *theirs, r random) { s.PreparePollRemove(r.data) }},
	{name: "Timeout", bug: "giouring stores the address of its own pointer to the timespec, not of the timespec",
		ours: func(s *SQE, r random) { s.PrepTimeout((*Timespec)(r.a), r.n, r.flags) },
		them: func(s *theirs, r random) { s.PrepareTimeout((*syscall.Timespec)(r.a), r.n, r.flags) },
		fix:  func(s *theirs, r random) { s.Addr = addr64(r.a) }},
	{name: "TimeoutRemove", bug: "giouring passes a timespec and a length of 1; liburing has user_data in addr, and nothing else",
		ours: func(s *SQE, r random) { s.PrepTimeoutRemove(r.data, r.flags) },
		them: func(s *theirs, r random) { s.PrepareTimeoutRemove(0, 0, r.flags) },
		fix:  func(s *theirs, r random) { s.Addr, s.Len, s.Off = r.data, 0, 0 }},
	{name: "TimeoutUpdate", bug: "giouring puts the timespec in addr with a length of 1; liburing has user_data in addr, the timespec in off",
		ours: func(s *SQE, r random) { s.PrepTimeoutUpdate((*Timespec)(r.a), r.data, r.flags) },
		them: func(s *theirs, r random) { s.PrepareTimeoutUpdate(0, 0, r.flags) },
		fix:  func(s *theirs, r random) { s.Addr, s.Len, s.Off = r.data, 0, addr64(r.a) }},
	{name: "LinkTimeout", bug: "giouring makes its own timespec, on its stack",
		ours: func(s *SQE, r random) { s.PrepLinkTimeout((*Timespec)(r.a), r.flags) },
		them: func(s *theirs, r random) { s.PrepareLinkTimeout(0, r.flags) },
		fix:  func(s *theirs, r random) { s.Addr = addr64(r.a) }},
	{name: "Cancel64",
		ours: func(s *SQE, r random) { s.PrepCancel64(r.data, r.flags) },
		them: func(s *theirs, r random) { s.PrepareCancel64(r.data, int(r.flags)) }},
	{name: "CancelFD",
		ours: func(s *SQE, r random) { s.PrepCancelFD(r.fd, r.flags) },
		them: func(s *theirs, r random) { s.PrepareCancelFd(r.fd, r.flags) }},
	{name: "MsgRing",
		ours: func(s *SQE, r random) { s.PrepMsgRing(r.fd, r.n, r.data, r.flags) },
		them: func(s *theirs, r random) { s.PrepareMsgRing(r.fd, r.n, r.data, r.flags) }},
	{name: "MsgRingCQEFlags",
		ours: func(s *SQE, r random) { s.PrepMsgRingCQEFlags(r.fd, r.n, r.data, r.flags, r.flags2) },
		them: func(s *theirs, r random) { s.PrepareMsgRingCqeFlags(r.fd, r.n, r.data, r.flags, r.flags2) }},
	{name: "ProvideBuffers",
		ours: func(s *SQE, r random) { s.PrepProvideBuffers(r.a, r.n, r.small, r.group, r.id) },
		them: func(s *theirs, r random) {
			s.PrepareProvideBuffers(uintptr(r.a), int(r.n), r.small, int(r.group), int(r.id))
		}},
	{name: "RemoveBuffers",
		ours: func(s *SQE, r random) { s.PrepRemoveBuffers(r.small, r.group) },
		them: func(s *theirs, r random) { s.PrepareRemoveBuffers(r.small, int(r.group)) }},
}

func TestPrepAgainstGiouring(t *testing.T) {
	for _, o := range oracles {
		t.Run(o.name, func(t *testing.T) {
			if o.bug != "" {
				t.Log("departs from liburing: " + o.bug)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			departs := false
			for range 200 {
				r := draw(rng)
				ours := dirtySQE(r.data)
				var them theirs // giouring leaves op flags, addr3 and padding as they were; liburing clears them in get_sqe
				o.ours(&ours, r)
				o.them(&them, r)
				them.UserData = r.data // giouring clears it; ours is the caller's
				if o.fix != nil {
					before := them
					o.fix(&them, r)
					departs = departs || them != before
				}
				a := *(*[64]byte)(unsafe.Pointer(&ours))
				b := *(*[64]byte)(unsafe.Pointer(&them))
				if a != b {
					t.Fatalf("arguments %+v\n ours % x\nthem % x", r, a, b)
				}
			}
			if departs != (o.bug != "") {
				t.Errorf("departs from liburing: %t, but the table says %q", departs, o.bug)
			}
		})
	}
}

// TestEveryPrepHasAnOracle keeps the table above complete.
func TestEveryPrepHasAnOracle(t *testing.T) {
	known := map[string]bool{}
	for _, o := range oracles {
		known[o.name] = true
	}
	kind := reflect.TypeFor[*SQE]()
	for i := range kind.NumMethod() {
		if name, ok := strings.CutPrefix(kind.Method(i).Name, "Prep"); ok && !known[name] {
			t.Errorf("Prep%s is not compared with giouring", name)
		}
	}
}
