package ring

import (
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Old is a kernel made to look as old as a level: what that level's kernel does
// not have is refused in the way that kernel refuses it. It is for tests, which
// so show on any machine that code at level 5.15 asks for nothing newer.
//
// A setup flag, an enter flag or a register opcode gets EINVAL; a submission entry
// is turned into one of no known opcode, which the kernel completes with EINVAL.
// At LevelNative it changes nothing.
type Old struct {
	Kernel
	level Level
	mu    sync.Mutex // rings are made on several threads
	rings map[int]*Mapping
}

// NewOld holds k to level.
func NewOld(k Kernel, level Level) *Old {
	return &Old{Kernel: k, level: level, rings: map[int]*Mapping{}}
}

// age is what a kernel of one level knows.
type age struct {
	setup, features, enter, register uint32
	lastOp                           uint8
	sqeFlags                         uint8
	acceptPrio, socketPrio           uint16
	cancel, timeout, msgRing         uint32
}

var ages = map[Level]age{
	Level515: {
		setup: SetupSubmitAll - 1, features: FeatCQESkip - 1, enter: EnterExtArg<<1 - 1, register: RegisterIOWQMaxWorkers,
		lastOp: OpLinkat, sqeFlags: SQECQESkipSuccess - 1, timeout: TimeoutETimeSuccess - 1,
	},
	Level61: {
		setup: SetupDeferTaskrun<<1 - 1, features: FeatLinkedFile<<1 - 1, enter: EnterRegisteredRing<<1 - 1, register: RegisterSyncCancel + 1,
		lastOp: OpSendmsgZC, sqeFlags: SQECQESkipSuccess<<1 - 1, timeout: TimeoutETimeSuccess<<1 - 1,
		acceptPrio: AcceptMultishot, socketPrio: RecvSendPollFirst | RecvMultishot | RecvSendFixedBuf,
		cancel: AsyncCancelFDFixed<<1 - 1, msgRing: MsgRingCQESkip,
	},
}

const (
	noSuchOp   = 0xff
	noSuchFlag = 1 << 30
)

// oldReadFlags are the RWF_* flags of Linux 5.15 and 6.1.
const oldReadFlags = unix.RWF_HIPRI | unix.RWF_DSYNC | unix.RWF_SYNC | unix.RWF_NOWAIT | unix.RWF_APPEND

// withoutCachestat is a kernel that can answer Resident as one before 6.5 does.
type withoutCachestat interface {
	residentWithoutCachestat(fd int, off int64, n int) int
	absentWithoutCachestat(fd int, off int64, n int) int
}

// Resident does without cachestat(2).
func (o *Old) Resident(fd int, off int64, n int) int {
	if k, ok := o.Kernel.(withoutCachestat); ok && o.level < LevelNative {
		return k.residentWithoutCachestat(fd, off, n)
	}
	return o.Kernel.Resident(fd, off, n)
}

// Absent does without cachestat(2).
func (o *Old) Absent(fd int, off int64, n int) int {
	if k, ok := o.Kernel.(withoutCachestat); ok && o.level < LevelNative {
		return k.absentWithoutCachestat(fd, off, n)
	}
	return o.Kernel.Absent(fd, off, n)
}

func (o *Old) age() (age, bool) {
	a, ok := ages[o.level]
	return a, ok
}

// Setup refuses newer flags and hides newer features.
func (o *Old) Setup(entries uint32, p *Params) (*Mapping, error) {
	a, limited := o.age()
	if limited && p.Flags&^a.setup != 0 {
		return nil, syscall.EINVAL
	}
	m, err := o.Kernel.Setup(entries, p)
	if err != nil || !limited {
		return m, err
	}
	p.Features &= a.features
	m.Features &= a.features
	o.mu.Lock()
	o.rings[m.FD] = m
	o.mu.Unlock()
	return m, nil
}

// Teardown forgets the ring.
func (o *Old) Teardown(m *Mapping) {
	o.mu.Lock()
	delete(o.rings, m.FD)
	o.mu.Unlock()
	o.Kernel.Teardown(m)
}

// Register refuses newer opcodes and hides newer operations from a probe. Nor are
// ring descriptors registered: an enter here must tell which ring it is for.
func (o *Old) Register(fd int, opcode uint32, arg unsafe.Pointer, n uint32) (int, syscall.Errno) {
	a, limited := o.age()
	if limited && (opcode > a.register || opcode == RegisterRingFDs || opcode == UnregisterRingFDs) {
		return 0, syscall.EINVAL
	}
	got, errno := o.Kernel.Register(fd, opcode, arg, n)
	if limited && opcode == RegisterProbe && errno == 0 {
		table := (*probeTable)(arg)
		table.lastOp = min(table.lastOp, a.lastOp)
		table.opsLen = min(table.opsLen, a.lastOp+1)
	}
	return got, errno
}

// Enter refuses newer flags and spoils newer entries.
func (o *Old) Enter(fd int, submit, minComplete, flags uint32, arg *GetEventsArg) (int, syscall.Errno) {
	a, limited := o.age()
	if !limited {
		return o.Kernel.Enter(fd, submit, minComplete, flags, arg)
	}
	if flags&^a.enter != 0 || arg != nil && arg.MinWaitUsec != 0 {
		return 0, syscall.EINVAL
	}
	o.mu.Lock()
	m := o.rings[fd]
	o.mu.Unlock()
	if m == nil {
		return 0, syscall.EBADF
	}
	head := atomic.LoadUint32(m.SQHead)
	for i := range submit {
		s := &m.SQEs[(head+i)&m.SQMask]
		if !a.knows(s) {
			s.Opcode = noSuchOp
		}
		if (s.Opcode == OpRead || s.Opcode == OpReadv) && s.OpFlags&^oldReadFlags != 0 {
			s.OpFlags |= noSuchFlag // ends with EOPNOTSUPP, as any that a kernel does not know
		}
	}
	return o.Kernel.Enter(fd, submit, minComplete, flags, arg)
}

// knows tells whether a kernel of that age takes an entry.
func (a *age) knows(s *SQE) bool {
	if s.Opcode > a.lastOp || s.Flags&^a.sqeFlags != 0 {
		return false
	}
	switch s.Opcode {
	case OpAccept:
		return s.IOPrio&^a.acceptPrio == 0
	case OpSend, OpRecv, OpSendmsg, OpRecvmsg, OpSendZC, OpSendmsgZC:
		return s.IOPrio&^a.socketPrio == 0
	case OpAsyncCancel:
		return s.OpFlags&^a.cancel == 0
	case OpTimeout, OpLinkTimeout, OpTimeoutRemove:
		return s.OpFlags&^a.timeout == 0
	case OpMsgRing:
		return s.OpFlags&^a.msgRing == 0
	}
	return true
}
