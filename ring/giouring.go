//go:build giouring

package ring

import (
	"errors"
	"syscall"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
	"golang.org/x/sys/unix"
)

// Giouring makes its rings, and enters and registers them, through
// github.com/pawelgaczynski/giouring; for calls and files it is [Linux].
//
// That module keeps the fields of its Params, queues and Ring unexported, so there
// is no asking it for a completion queue's size, for one, and no learning where it
// mapped a queue. They are reached by layout instead: its Params is the kernel's
// own 120-byte structure, and its queues and Ring are mirrored below, with their
// sizes checked by the compiler and their contents by Setup.
type Giouring struct{ Linux }

var _ Kernel = Giouring{}

func openGiouring() (Kernel, error) { return Giouring{}, nil }

// giouringSQ mirrors giouring.SubmissionQueue.
type giouringSQ struct {
	head, tail, mask, entries, flags, dropped, array *uint32
	sqes                                             *SQE
	bytes                                            uint
	base                                             unsafe.Pointer
	_, _                                             uint32
	_                                                [2]uint32
}

// giouringCQ mirrors giouring.CompletionQueue.
type giouringCQ struct {
	head, tail, mask, entries, flags, overflow *uint32
	cqes                                       *CQE
	bytes                                      uint
	base                                       unsafe.Pointer
	_                                          [2]uint32
}

// giouringRing mirrors giouring.Ring.
type giouringRing struct {
	sq       *giouring.SubmissionQueue
	cq       *giouring.CompletionQueue
	flags    uint32
	fd       int
	features uint32
	enterFD  int
	_        uint8
	_        [3]uint8
	_        uint32
}

var (
	_ [unsafe.Sizeof(Params{})]byte       = [unsafe.Sizeof(giouring.Params{})]byte{}
	_ [unsafe.Sizeof(giouringSQ{})]byte   = [unsafe.Sizeof(giouring.SubmissionQueue{})]byte{}
	_ [unsafe.Sizeof(giouringCQ{})]byte   = [unsafe.Sizeof(giouring.CompletionQueue{})]byte{}
	_ [unsafe.Sizeof(giouringRing{})]byte = [unsafe.Sizeof(giouring.Ring{})]byte{}
	_ [unsafe.Sizeof(SQE{})]byte          = [unsafe.Sizeof(giouring.SubmissionQueueEntry{})]byte{}
	_ [unsafe.Sizeof(CQE{})]byte          = [unsafe.Sizeof(giouring.CompletionQueueEvent{})]byte{}
)

// giouringOwner is what Teardown needs.
type giouringOwner struct {
	sq giouring.SubmissionQueue
	cq giouring.CompletionQueue
}

func (o *giouringOwner) mirror() (*giouringSQ, *giouringCQ) {
	return (*giouringSQ)(unsafe.Pointer(&o.sq)), (*giouringCQ)(unsafe.Pointer(&o.cq))
}

// Setup is giouring.Setup and giouring.Mmap.
func (Giouring) Setup(entries uint32, p *Params) (*Mapping, error) {
	params := (*giouring.Params)(unsafe.Pointer(p))
	fd, err := giouring.Setup(entries, params)
	if errno := giouringErrno(err); errno != 0 {
		return nil, errno
	}
	own := &giouringOwner{}
	if err := giouring.Mmap(int(fd), params, &own.sq, &own.cq); err != nil {
		unix.Close(int(fd))
		return nil, err
	}
	sq, cq := own.mirror()
	m := viewRing(int(fd), p, sq.base, cq.base, unsafe.Pointer(sq.sqes))
	m.Owner = own
	if m.SQHead != sq.head || m.SQTail != sq.tail || m.CQHead != cq.head || m.CQTail != cq.tail {
		Giouring{}.Teardown(m)
		return nil, errors.New("giouring's queues are not laid out as this binding expects")
	}
	return m, nil
}

// giouringErrno undoes two habits of giouring: Setup's error is never nil (it
// holds errno 0), and errors are errnos in an interface.
func giouringErrno(err error) syscall.Errno {
	if errno, ok := err.(syscall.Errno); ok || err == nil {
		return errno
	}
	return unix.EIO
}

// Teardown is giouring.UnmapRings, and what it leaves.
func (Giouring) Teardown(m *Mapping) {
	own := m.Owner.(*giouringOwner)
	sq, _ := own.mirror()
	unix.MunmapPtr(unsafe.Pointer(sq.sqes), uintptr(len(m.SQEs))*unsafe.Sizeof(SQE{}))
	giouring.UnmapRings(&own.sq, &own.cq)
	unix.Close(m.FD)
}

// Enter is giouring's Enter2, on a Ring that has only the descriptor it reads. It
// always tells the scheduler, also when it cannot block.
func (Giouring) Enter(fd int, submit, minComplete, flags uint32, arg *GetEventsArg) (int, syscall.Errno) {
	own := giouringRing{enterFD: fd}
	r := (*giouring.Ring)(unsafe.Pointer(&own))
	size := 0
	if arg != nil {
		flags |= giouring.EnterExtArg
		size = int(unsafe.Sizeof(*arg))
	}
	n, err := r.Enter2(submit, minComplete, flags, unsafe.Pointer(arg), size)
	return count(uintptr(n), giouringErrno(err))
}

// Register is giouring's Register.
func (Giouring) Register(fd int, opcode uint32, arg unsafe.Pointer, n uint32) (int, syscall.Errno) {
	var r giouring.Ring
	got, errno := r.Register(fd, opcode, arg, n)
	return count(uintptr(got), errno)
}
