package ring

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Options shape a ring.
type Options struct {
	Entries   uint32   // submission entries, rounded up to a power of two; 0 is 256
	CQEntries uint32   // completion entries; 0 is four times Entries
	Level     Level    // forces a level; LevelAuto takes the one in Features, or the highest
	Features  Features // from Probe, so that several rings probe once; the zero value probes
}

// Counters count since the ring was made. They are plain: read from another
// thread they may be a moment old.
type Counters struct {
	SQEs        uint64 // entries submitted
	CQEs        uint64 // completions reaped
	Enters      uint64 // io_uring_enter calls, of any kind
	Waits       uint64 // those that were allowed to block
	Skips       uint64 // enters saved because there was nothing to submit or to get
	FullSubmits uint64 // enters made by Get because the submission queue was full
	Overflows   uint64 // times that completions had to wait for room in the completion queue
	Interrupts  uint64 // waits ended by a signal
	Retries     uint64 // enters that the kernel put off (EAGAIN, EBUSY)
	Dropped     uint64 // completions that the kernel lost; never, short of its own memory running out
}

// Ring is one io_uring. It belongs to the thread that made it: every method must
// be called there (a Ring of level 6.1 fails with EEXIST otherwise), and that
// thread must outlive what was submitted.
//
// Rejected: entering by a registered descriptor (REGISTER_RING_FDS). It saves 50 of
// 550 ns an enter, but the index is the thread's own, so that an enter on a wrong
// thread would reach another ring and be taken, where now it fails with EEXIST.
//
// The kernel reads arg and ts while it is inside Enter only. They live in the
// Ring, which New allocates on the heap: Go does not move heap objects, and the
// Ring is reachable for as long as it is being used.
type Ring struct {
	Counters Counters

	kernel   Kernel
	mapping  *Mapping
	sqes     []SQE
	cqes     []CQE
	sqMask   uint32
	cqMask   uint32
	tail     uint32 // entries handed out; the kernel is told at Enter
	features Features

	enterFlags uint32 // flags of every enter
	taskFlag   bool   // SQTaskrun is kept: an enter can be saved when it is clear
	failed     syscall.Errno
	scratch    SQE

	arg GetEventsArg
	ts  Timespec
}

const (
	defaultEntries = 256
	cqPerSQ        = 4 // multishot receives complete more than once per entry
)

// New makes a ring on the calling thread, which must be locked
// (runtime.LockOSThread). The error of a kernel that refuses is a [*RefusedError].
func New(k Kernel, o Options) (*Ring, error) {
	f := o.Features
	var err error
	if f.Highest == LevelAuto {
		f, err = Probe(k, o.Level)
	} else if o.Level != LevelAuto {
		f, err = f.Lower(o.Level)
	}
	if err != nil {
		return nil, err
	}
	if o.Entries == 0 {
		o.Entries = defaultEntries
	}
	if o.CQEntries == 0 {
		o.CQEntries = cqPerSQ * roundUp(o.Entries)
	}
	p := Params{CQEntries: o.CQEntries, Flags: f.SetupFlags | SetupCQSize | SetupClamp}
	m, err := k.Setup(o.Entries, &p)
	if err != nil {
		return nil, refused(err)
	}
	r := &Ring{kernel: k, mapping: m, sqes: m.SQEs, cqes: m.CQEs, sqMask: m.SQMask, cqMask: m.CQMask, features: f}
	r.tail = atomic.LoadUint32(m.SQTail)
	r.taskFlag = f.SetupFlags&SetupTaskrunFlag != 0
	for i := range m.SQArray {
		m.SQArray[i] = uint32(i) // entries are always submitted in the order of their slots
	}
	if f.NoIOWait {
		r.enterFlags |= EnterNoIOWait
	}
	r.arg.TS = address(unsafe.Pointer(&r.ts))
	return r, nil
}

func roundUp(n uint32) uint32 { return 1 << bits.Len32(n-1) }

// FD is the ring's descriptor, the target of another ring's PrepMsgRing.
func (r *Ring) FD() int { return r.mapping.FD }

// Level is the level in force.
func (r *Ring) Level() Level { return r.features.Level }

// Features is what may be used on this ring.
func (r *Ring) Features() *Features { return &r.features }

// Entries and CQEntries are the sizes of the two queues.
func (r *Ring) Entries() int { return len(r.sqes) }

// CQEntries is the size of the completion queue.
func (r *Ring) CQEntries() int { return len(r.cqes) }

// Pending is the number of entries handed out by Get and not yet submitted.
func (r *Ring) Pending() int { return int(r.tail - atomic.LoadUint32(r.mapping.SQHead)) }

// Ready is the number of completions that Reap would find without an enter.
func (r *Ring) Ready() int {
	return int(atomic.LoadUint32(r.mapping.CQTail) - atomic.LoadUint32(r.mapping.CQHead))
}

// Get hands out the next submission entry, zeroed, to be filled with one Prep
// method and a UserData before the next Get or Enter. When the queue is full, what
// is in it is submitted first. It never returns nil: should the kernel take no
// more (a ring that is being torn down, or used on the wrong thread), the entry
// leads nowhere and the next Enter says why.
func (r *Ring) Get() *SQE {
	if r.Pending() >= len(r.sqes) && !r.makeRoom() {
		r.scratch = SQE{}
		return &r.scratch
	}
	s := &r.sqes[r.tail&r.sqMask]
	*s = SQE{}
	r.tail++
	return s
}

// Reserve makes room for n entries at once, so that a chain of SQEIOLink entries
// is not cut in two by a submission in between. n is at most Entries.
func (r *Ring) Reserve(n int) {
	if len(r.sqes)-r.Pending() < n {
		r.makeRoom()
	}
}

// makeRoom submits until the queue has room.
func (r *Ring) makeRoom() bool {
	const tries = 1000 // of a kernel that is out of memory; it takes entries again at once in all ordinary cases
	for range tries {
		r.Counters.FullSubmits++
		if err := r.Enter(0, 0); err != nil {
			return false
		}
		if r.Pending() == 0 {
			return true
		}
	}
	if r.Pending() < len(r.sqes) {
		return true
	}
	r.failed = unix.EAGAIN
	return false
}

// Enter submits every pending entry and, with wait > 0, blocks until that many
// completions are in the queue, timeoutNanos have passed (negative: for ever), or
// a signal came: so it may return early, and the caller looks at what Reap gives.
// With wait 0 it does not block, and makes no system call when none is needed.
//
// An error means that the ring is unusable. Entries that the kernel would not take
// just now (out of memory, or completions first need room) stay queued and go with
// the next Enter.
func (r *Ring) Enter(wait uint32, timeoutNanos int64) error {
	if r.failed != 0 {
		return r.failure()
	}
	atomic.StoreUint32(r.mapping.SQTail, r.tail)
	for {
		submit := r.tail - atomic.LoadUint32(r.mapping.SQHead)
		need := r.wanted(wait)
		flags := r.flags(need)
		if submit == 0 && flags&EnterGetEvents == 0 {
			r.Counters.Skips++
			return nil
		}
		n, errno := r.call(submit, need, flags, timeoutNanos)
		switch errno {
		case 0:
			r.Counters.SQEs += uint64(n)
			if uint32(n) < submit && n > 0 {
				continue // stopped after an entry that was bad in itself (it has its completion): the rest follows
			}
			return nil
		case unix.ETIME:
			return nil
		case unix.EINTR:
			r.Counters.Interrupts++
			return nil
		case unix.EAGAIN, unix.EBUSY:
			r.Counters.Retries++
			return nil
		default:
			r.failed = errno
			return r.failure()
		}
	}
}

// wanted is how many completions to block for: none when enough are there.
func (r *Ring) wanted(wait uint32) uint32 {
	if wait == 0 || uint32(r.Ready()) >= wait {
		return 0
	}
	return min(wait, uint32(len(r.cqes)))
}

// flags tells whether to ask for events: to wait for them, to flush completions
// that found no room, or to run completion work that is deferred until asked for.
func (r *Ring) flags(need uint32) uint32 {
	flags := r.enterFlags
	state := atomic.LoadUint32(r.mapping.SQFlags)
	if need > 0 || state&(SQCQOverflow|SQTaskrun) != 0 || (r.features.Deferred() && !r.taskFlag) {
		flags |= EnterGetEvents
	}
	return flags
}

func (r *Ring) call(submit, need, flags uint32, timeoutNanos int64) (int, syscall.Errno) {
	r.Counters.Enters++
	if need == 0 {
		return r.kernel.Enter(r.mapping.FD, submit, 0, flags, nil)
	}
	r.Counters.Waits++
	if timeoutNanos < 0 {
		return r.kernel.Enter(r.mapping.FD, submit, need, flags, nil)
	}
	r.ts = TimespecOf(timeoutNanos)
	return r.kernel.Enter(r.mapping.FD, submit, need, flags|EnterExtArg, &r.arg)
}

func (r *Ring) failure() error {
	if r.failed == unix.EEXIST {
		return fmt.Errorf("io_uring_enter: %w: a ring must be used on the thread that made it, and this is another thread", r.failed)
	}
	return fmt.Errorf("io_uring_enter: %w", r.failed)
}

// Reap moves completions into dst, oldest first, and returns how many. It enters
// the kernel only to fetch completions that had found no room in the queue.
func (r *Ring) Reap(dst []CQE) int {
	n := r.take(dst)
	for n < len(dst) && atomic.LoadUint32(r.mapping.SQFlags)&SQCQOverflow != 0 {
		r.Counters.Overflows++
		r.Counters.Dropped = uint64(atomic.LoadUint32(r.mapping.CQDrops))
		r.Counters.Enters++
		if _, errno := r.kernel.Enter(r.mapping.FD, 0, 0, r.enterFlags|EnterGetEvents, nil); errno != 0 {
			break
		}
		more := r.take(dst[n:])
		if more == 0 {
			break
		}
		n += more
	}
	r.Counters.CQEs += uint64(n)
	return n
}

func (r *Ring) take(dst []CQE) int {
	head := atomic.LoadUint32(r.mapping.CQHead)
	n := min(int(atomic.LoadUint32(r.mapping.CQTail)-head), len(dst))
	for i := range n {
		dst[i] = r.cqes[(head+uint32(i))&r.cqMask]
	}
	if n > 0 {
		atomic.StoreUint32(r.mapping.CQHead, head+uint32(n))
	}
	return n
}

// Close gives the ring back. Nothing may be in flight: the kernel would go on
// using its memory for a while after Close has returned.
func (r *Ring) Close() error {
	if r.mapping == nil {
		return nil
	}
	r.kernel.Teardown(r.mapping)
	r.mapping = nil
	return nil
}
