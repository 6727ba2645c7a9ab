package ring

import (
	"crypto/rand"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Linux is the running kernel. It holds no state; one value serves every core.
//
// Calls that cannot block are made raw, without telling the Go scheduler, which
// would cost them 50 to 100 ns; a raw call that did block would hold up every
// stop-the-world, so what may block (a wait, a file) is made the ordinary way.
type Linux struct{}

// NewLinux returns the running kernel.
func NewLinux() Linux { return Linux{} }

var _ Kernel = Linux{}

// Setup is io_uring_setup(2) and the three mappings.
func (Linux) Setup(entries uint32, p *Params) (*Mapping, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return nil, errno
	}
	m, err := mapRing(int(fd), p)
	if err != nil {
		unix.Close(int(fd))
		return nil, err
	}
	return m, nil
}

// mapped is Linux's bookkeeping of a ring, in Mapping.Owner.
type mapped struct {
	rings, sqes         unsafe.Pointer
	ringBytes, sqeBytes uintptr
}

// mapRing maps the two rings (one mapping: FEAT_SINGLE_MMAP, since 5.4) and the
// submission entries.
func mapRing(fd int, p *Params) (*Mapping, error) {
	if p.Features&FeatSingleMmap == 0 {
		return nil, unix.ENOSYS
	}
	var own mapped
	var err error
	own.ringBytes = uintptr(p.CQOff.CQEs) + uintptr(p.CQEntries)*unsafe.Sizeof(CQE{})
	if p.Flags&SetupNoSQArray == 0 {
		own.ringBytes = max(own.ringBytes, uintptr(p.SQOff.Array)+uintptr(p.SQEntries)*4)
	}
	own.sqeBytes = uintptr(p.SQEntries) * unsafe.Sizeof(SQE{})
	if own.rings, err = mapShared(fd, offSQRing, own.ringBytes); err != nil {
		return nil, err
	}
	if own.sqes, err = mapShared(fd, offSQEs, own.sqeBytes); err != nil {
		unix.MunmapPtr(own.rings, own.ringBytes)
		return nil, err
	}
	m := viewRing(fd, p, own.rings, own.rings, own.sqes)
	m.Owner = &own
	return m, nil
}

func mapShared(fd int, off int64, n uintptr) (unsafe.Pointer, error) {
	return unix.MmapPtr(fd, off, nil, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}

// viewRing finds the words of a mapped ring.
func viewRing(fd int, p *Params, sq, cq, sqes unsafe.Pointer) *Mapping {
	word := func(base unsafe.Pointer, off uint32) *uint32 { return (*uint32)(unsafe.Add(base, off)) }
	m := &Mapping{
		FD:       fd,
		SQHead:   word(sq, p.SQOff.Head),
		SQTail:   word(sq, p.SQOff.Tail),
		SQFlags:  word(sq, p.SQOff.Flags),
		SQMask:   *word(sq, p.SQOff.RingMask),
		SQEs:     unsafe.Slice((*SQE)(sqes), p.SQEntries),
		CQHead:   word(cq, p.CQOff.Head),
		CQTail:   word(cq, p.CQOff.Tail),
		CQFlags:  word(cq, p.CQOff.Flags),
		CQMask:   *word(cq, p.CQOff.RingMask),
		CQDrops:  word(cq, p.CQOff.Overflow),
		CQEs:     unsafe.Slice((*CQE)(unsafe.Add(cq, p.CQOff.CQEs)), p.CQEntries),
		Features: p.Features,
	}
	if p.Flags&SetupNoSQArray == 0 {
		m.SQArray = unsafe.Slice(word(sq, p.SQOff.Array), p.SQEntries)
	}
	return m
}

// Teardown unmaps and closes.
func (Linux) Teardown(m *Mapping) {
	own := m.Owner.(*mapped)
	unix.MunmapPtr(own.sqes, own.sqeBytes)
	unix.MunmapPtr(own.rings, own.ringBytes)
	unix.Close(m.FD)
}

// Enter is io_uring_enter(2), raw when it cannot block.
func (Linux) Enter(fd int, submit, minComplete, flags uint32, arg *GetEventsArg) (int, syscall.Errno) {
	var n uintptr
	var errno syscall.Errno
	var argBytes uintptr
	if arg != nil {
		flags |= EnterExtArg
		argBytes = unsafe.Sizeof(*arg)
	}
	if minComplete == 0 {
		n, _, errno = unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(submit), 0, uintptr(flags), uintptr(unsafe.Pointer(arg)), argBytes)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(submit), uintptr(minComplete), uintptr(flags), uintptr(unsafe.Pointer(arg)), argBytes)
	}
	return count(n, errno)
}

// Register is io_uring_register(2).
func (Linux) Register(fd int, opcode uint32, arg unsafe.Pointer, n uint32) (int, syscall.Errno) {
	r, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(fd), uintptr(opcode), uintptr(arg), uintptr(n), 0, 0)
	return count(r, errno)
}

// count is a system call's result: never negative, 0 with an error.
func count(n uintptr, errno syscall.Errno) (int, syscall.Errno) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// clockBase ties Go's monotonic clock, which is read without a system call, to
// CLOCK_MONOTONIC. The closest of a few readings is kept: off by less than 1 us.
var clockBase = func() (base struct {
	at    time.Time
	nanos int64
}) {
	best := int64(1 << 62)
	for range 16 {
		before := clockMonotonic()
		at := time.Now()
		after := clockMonotonic()
		if after-before < best {
			best = after - before
			base.at, base.nanos = at, before+(after-before)/2
		}
	}
	return base
}()

func clockMonotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

// Monotonic is CLOCK_MONOTONIC in nanoseconds.
func (Linux) Monotonic() int64 { return clockBase.nanos + int64(time.Since(clockBase.at)) }

// Wall is CLOCK_REALTIME in nanoseconds.
func (Linux) Wall() int64 { return time.Now().UnixNano() }

// Random fills p from the kernel's generator (getrandom(2); it cannot fail).
func (Linux) Random(p []byte) { rand.Read(p) }

// Eventfd makes a counter.
func (Linux) Eventfd() (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC) }

// Signal adds 1 to a counter; one that is full is signalled already.
func (Linux) Signal(fd int) {
	one := uint64(1)
	unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
	runtime.KeepAlive(&one)
}
