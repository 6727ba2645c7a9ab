package ring

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Level is a set of kernel features that the code is written against: one of
// three, not one of many kernel versions, so that each can be tested whole. A
// higher level includes the lower ones.
type Level int

const (
	LevelAuto   Level = iota // the highest that the machine has
	Level515                 // Linux 5.15: single-shot accept and receive, no provided-buffer rings, no MSG_RING
	Level61                  // Linux 6.1: deferred completion work, multishot accept and receive, provided-buffer rings, MSG_RING, CQE_SKIP
	LevelNative              // 6.1, and whatever else the probe finds
)

var levelNames = [...]string{LevelAuto: "auto", Level515: "5.15", Level61: "6.1", LevelNative: "native"}

// String is the name that ParseLevel takes.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return levelNames[l]
}

// ParseLevel reads "auto", "5.15", "6.1" or "native".
func ParseLevel(name string) (Level, error) {
	for l, n := range levelNames {
		if n == name {
			return Level(l), nil
		}
	}
	return 0, fmt.Errorf("unknown io_uring level %q: want auto, 5.15, 6.1 or native", name)
}

// Features is what a ring may use: what the kernel has, lowered to a level. The
// zero value means "not probed".
type Features struct {
	Level      Level  // the level in force
	Highest    Level  // the highest that this kernel has
	SetupFlags uint32 // setup flags a ring is made with, besides CQSize
	Ring       uint32 // Feat* bits that may be leaned on

	BufferRings     bool // provided-buffer rings
	MultishotAccept bool
	MultishotRecv   bool
	MsgRing         bool
	CQESkip         bool // SQECQESkipSuccess
	SendZC          bool
	NoIOWait        bool // a waiting core does not count as waiting for I/O

	ops [4]uint64 // a bit for each opcode
}

// Supports tells whether an opcode may be used.
func (f *Features) Supports(op uint8) bool { return f.ops[op/64]&(1<<(op%64)) != 0 }

func (f *Features) addOp(op uint8) { f.ops[op/64] |= 1 << (op % 64) }

// dropOpsFrom takes away op and all after it: opcodes were added in order.
func (f *Features) dropOpsFrom(op uint8) {
	for o := int(op); o < 64*len(f.ops); o++ {
		f.ops[o/64] &^= 1 << (o % 64)
	}
}

// Deferred tells that completion work runs only inside an enter with
// EnterGetEvents.
func (f *Features) Deferred() bool { return f.SetupFlags&SetupDeferTaskrun != 0 }

// deferFlags are what level 6.1 makes its rings with. TaskrunFlag lets a core that
// spins see from user space whether an enter would bring anything.
const deferFlags = SetupSingleIssuer | SetupDeferTaskrun | SetupTaskrunFlag | SetupSubmitAll

// has515 is what every ring must have, all of it present in 5.15.
const has515 = FeatSingleMmap | FeatNoDrop | FeatSubmitStable | FeatFastPoll | FeatExtArg | FeatNativeWorkers

// Lower gives the features left at level l, as if the kernel had no more.
// LevelAuto is the highest. Forcing a level above Highest is an error.
func (f Features) Lower(l Level) (Features, error) {
	if l == LevelAuto {
		l = f.Highest
	}
	if l > f.Highest || l < Level515 {
		return f, fmt.Errorf("io_uring level %s was asked for, but this kernel has only %s%s", l, f.Highest, f.missing())
	}
	f.Level = l
	if l <= Level61 {
		f.SetupFlags &= deferFlags
		f.Ring &= has515 | FeatCQESkip | FeatLinkedFile | FeatRsrcTags
		f.NoIOWait = false
		f.dropOpsFrom(OpReadMultishot)
	}
	if l <= Level515 {
		f.SetupFlags = 0
		f.Ring &= has515 | FeatRsrcTags
		f.dropOpsFrom(OpMsgRing)
		f.BufferRings, f.MultishotAccept, f.MultishotRecv, f.MsgRing = false, false, false, false
		f.CQESkip, f.SendZC = false, false
	}
	return f, nil
}

// missing names what keeps a kernel below level 6.1.
func (f *Features) missing() string {
	for _, need := range []struct {
		has  bool
		what string
	}{
		{f.SetupFlags&deferFlags == deferFlags, "SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1)"},
		{f.BufferRings, "provided-buffer rings (Linux 5.19)"},
		{f.MultishotAccept, "multishot accept (Linux 5.19)"},
		{f.MultishotRecv, "multishot receive (Linux 6.0)"},
		{f.MsgRing, "MSG_RING (Linux 5.18)"},
		{f.CQESkip, "CQE_SKIP (Linux 5.17)"},
	} {
		if !need.has {
			return ": it lacks " + need.what
		}
	}
	return ""
}

// Probe asks a kernel what it has, by making rings and trying, never by its
// version (distributions add and take away), and picks the level: the highest,
// or want. The error of a kernel that refuses rings is a [*RefusedError].
func Probe(k Kernel, want Level) (Features, error) {
	runtime.LockOSThread() // a SINGLE_ISSUER ring is the thread's that made it
	defer runtime.UnlockOSThread()

	var f Features
	p := Params{}
	m, err := k.Setup(probeEntries, &p)
	if err != nil {
		return f, refused(err)
	}
	err = f.probeOps(k, m)
	f.Ring = p.Features
	k.Teardown(m)
	if err != nil {
		return f, err
	}
	if p.Features&has515 != has515 || !f.Supports(OpLinkat) {
		return f, fmt.Errorf("this kernel's io_uring is older than Linux 5.15 (features %#x): slipstream needs 5.15 or later", p.Features)
	}
	f.probeSetup(k)
	f.infer()
	return f.Lower(want)
}

const probeEntries = 2

// probeTable is the argument of REGISTER_PROBE:
//
//	0         1         2       4                  16
//	+---------+---------+-------+------------------+
//	| last_op | ops_len | (0)   | (0)              |  struct io_uring_probe
//	+---------+---------+-------+--------+---------+
//	| op      | (0)     | flags | (0)    |            struct io_uring_probe_op, ops_len times
//	+---------+---------+-------+--------+            flags bit 0: supported
type probeTable struct {
	lastOp, opsLen uint8
	_              uint16
	_              [3]uint32
	ops            [256]struct {
		op, _ uint8
		flags uint16
		_     uint32
	}
}

func (f *Features) probeOps(k Kernel, m *Mapping) error {
	var table probeTable
	if _, errno := k.Register(m.FD, RegisterProbe, unsafe.Pointer(&table), uint32(len(table.ops))); errno != 0 {
		return fmt.Errorf("asking io_uring for its opcodes: %w", errno)
	}
	for i := range int(table.opsLen) {
		if o := &table.ops[i]; o.flags&probeOpSupported != 0 {
			f.addOp(o.op)
		}
	}
	return nil
}

// probeSetup finds the setup flags by trying, and on a ring made with them what
// can be registered.
func (f *Features) probeSetup(k Kernel) {
	for _, flags := range []uint32{deferFlags, SetupNoSQArray} {
		p := Params{Flags: f.SetupFlags | flags}
		if m, err := k.Setup(probeEntries, &p); err == nil {
			f.SetupFlags |= flags
			k.Teardown(m)
		}
	}
	p := Params{Flags: f.SetupFlags}
	m, err := k.Setup(probeEntries, &p)
	if err != nil {
		f.SetupFlags = 0
		return
	}
	f.BufferRings = probeBufferRing(k, m.FD)
	k.Teardown(m)
}

// infer fills in what has no probe of its own from what came with it.
func (f *Features) infer() {
	f.MultishotAccept = f.Supports(OpSocket) // both 5.19
	f.MultishotRecv = f.Supports(OpSendZC)   // both 6.0
	f.MsgRing = f.Supports(OpMsgRing)
	f.SendZC = f.Supports(OpSendZC)
	f.CQESkip = f.Ring&FeatCQESkip != 0
	f.NoIOWait = f.Ring&FeatNoIOWait != 0
	f.Highest = LevelNative
	if f.missing() != "" {
		f.Highest = Level515
	}
}

// probeBufferRing registers a ring of one buffer and takes it back.
func probeBufferRing(k Kernel, fd int) bool {
	page := unix.Getpagesize()
	mem, err := unix.MmapPtr(-1, 0, nil, uintptr(page), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return false
	}
	defer unix.MunmapPtr(mem, uintptr(page))
	reg := bufReg{Addr: address(mem), Entries: 1}
	if _, errno := k.Register(fd, RegisterPbufRing, unsafe.Pointer(&reg), 1); errno != 0 {
		return false
	}
	reg = bufReg{}
	_, errno := k.Register(fd, UnregisterPbufRing, unsafe.Pointer(&reg), 1)
	return errno == 0
}

// ErrUnsupported is wrapped by the error of something that the level in force
// does not have.
var ErrUnsupported = errors.New("not at this io_uring level")
