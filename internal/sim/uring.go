package sim

import (
	"math"
	"syscall"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// uring is one io_uring: the shared queues, and the requests in flight, oldest
// first in a list.
type uring struct {
	k       *kernel
	mapping *ring.Mapping
	flags   uint32
	enabled bool

	first, last *request
	submitting  bool
	deferred    []step     // completion work, see taskWork
	overflow    []ring.CQE // found no room in the completion queue
	posted      uint64     // completions ever, for timeouts that count them
	counting    []*request // such timeouts
	groups      map[uint16]*bufferGroup
	bad         bool // the ring is gone

	waits     bool // the last enter would still be waiting,
	waitUntil int64
}

func newUring(k *kernel, p *ring.Params) *uring {
	u := &uring{k: k, flags: p.Flags, enabled: p.Flags&ring.SetupRDisabled == 0, groups: map[uint16]*bufferGroup{}}
	words := make([]uint32, 7)
	m := &ring.Mapping{
		SQHead: &words[0], SQTail: &words[1], SQFlags: &words[2],
		CQHead: &words[3], CQTail: &words[4], CQFlags: &words[5], CQDrops: &words[6],
		SQMask: p.SQEntries - 1, CQMask: p.CQEntries - 1,
		SQEs:     make([]ring.SQE, p.SQEntries),
		CQEs:     make([]ring.CQE, p.CQEntries),
		Features: p.Features,
		Owner:    u,
	}
	if p.Flags&ring.SetupNoSQArray == 0 {
		m.SQArray = make([]uint32, p.SQEntries)
	}
	u.mapping = m
	return u
}

func (u *uring) poll() uint32 {
	m := u.mapping
	mask := uint32(0)
	if load(m.CQTail) != load(m.CQHead) || len(u.overflow) > 0 || len(u.deferred) > 0 {
		mask |= unix.POLLIN | pollRDNorm
	}
	if load(m.SQTail)-load(m.SQHead) < uint32(len(m.SQEs)) {
		mask |= unix.POLLOUT | pollWRNorm
	}
	return mask
}

// released cancels what is in flight when the ring is closed.
func (u *uring) released(*file) {
	u.die()
	for i, x := range u.k.rings {
		if x == u {
			u.k.rings = append(u.k.rings[:i:i], u.k.rings[i+1:]...)
			break
		}
	}
	for i, x := range u.k.registered {
		if x == u {
			u.k.registered[i] = nil
		}
	}
}

// die ends every request without a completion. A worker's work may have been done
// by then, in part or not at all.
func (u *uring) die() {
	if u.bad {
		return
	}
	u.bad = true
	var all []*request
	for r := u.first; r != nil; r = r.next {
		all = append(all, r)
	}
	for _, r := range all {
		r.abandon()
	}
	u.first, u.last, u.deferred, u.counting = nil, nil, nil, nil
}

// unfinished counts the requests that are in flight.
func (u *uring) unfinished() int {
	n := 0
	for r := u.first; r != nil; r = r.next {
		n++
	}
	return n
}

func (u *uring) isDeferred() bool { return u.flags&ring.SetupDeferTaskrun != 0 }

// Enter is io_uring_enter(2). It never waits: where Linux would, it answers at
// once as if the time were over, and the driver lets time pass.
func (k *kernel) Enter(fd int, submit, minComplete, flags uint32, arg *ring.GetEventsArg) (int, syscall.Errno) {
	defer k.end()
	if !k.begin() {
		return 0, unix.EIO
	}
	u, errno := k.enterable(fd, flags)
	if errno != 0 {
		k.w.note(traceCall, "enter", int64(fd), -int64(errno))
		return 0, errno
	}
	if k.w.burn() {
		u.submit(uint32(k.w.draws.work.IntN(int(submit) + 1)))
		k.w.crash()
	}
	k.w.note(traceCall, "enter", int64(u.mapping.FD), int64(submit), int64(minComplete), int64(flags))
	u.waits = false
	n := u.submit(submit)
	if !u.isDeferred() {
		u.runDeferred()
	}
	if flags&ring.EnterGetEvents == 0 {
		return n, 0
	}
	u.runDeferred()
	u.flushOverflow()
	u.noteWait(minComplete, flags, arg)
	if n > 0 || u.ready() >= minComplete {
		return n, 0
	}
	if arg != nil && arg.TS != 0 {
		return 0, unix.ETIME
	}
	return 0, unix.EINTR
}

// noteWait remembers until when Linux would wait in this enter.
func (u *uring) noteWait(minComplete, flags uint32, arg *ring.GetEventsArg) {
	if u.ready() >= minComplete {
		return
	}
	u.waits, u.waitUntil = true, math.MaxInt64
	if arg == nil || arg.TS == 0 {
		return
	}
	ts := (*ring.Timespec)(pointer(arg.TS))
	u.waitUntil = ts.Sec*1e9 + ts.Nsec
	if flags&ring.EnterAbsTimer == 0 {
		u.waitUntil += u.k.w.clock.now
	}
}

// Blocked reports whether the program's thread would still be waiting in its last
// enter of the ring with this descriptor: nothing has completed and its time is not
// over. What such a thread must do next, Linux would not let it do.
func (w *World) Blocked(ringFD int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.kernel.file(ringFD)
	if f == nil {
		return false
	}
	u, ok := f.obj.(*uring)
	if !ok {
		return false
	}
	u.waits = u.waits && w.clock.now < u.waitUntil && !u.hasNews() // once awake, awake until the next enter
	return u.waits
}

// hasNews: completions, or what an enter would turn into completions.
func (u *uring) hasNews() bool {
	return u.ready() > 0 || len(u.deferred) > 0 || len(u.overflow) > 0
}

const knownEnterFlags = ring.EnterGetEvents | ring.EnterSQWakeup | ring.EnterSQWait | ring.EnterExtArg

func (k *kernel) enterable(fd int, flags uint32) (*uring, syscall.Errno) {
	known := knownEnterFlags
	if k.has(ring.Level61) {
		known |= ring.EnterRegisteredRing
	}
	if k.has(ring.LevelNative) {
		known |= ring.EnterNoIOWait | ring.EnterAbsTimer
	}
	if flags&^known != 0 {
		return nil, unix.EINVAL
	}
	var u *uring
	if flags&ring.EnterRegisteredRing != 0 {
		if fd < 0 || fd >= len(k.registered) || k.registered[fd] == nil {
			return nil, unix.EBADF
		}
		u = k.registered[fd]
	} else {
		f := k.file(fd)
		if f == nil {
			return nil, unix.EBADF
		}
		var ok bool
		if u, ok = f.obj.(*uring); !ok {
			return nil, unix.EOPNOTSUPP
		}
	}
	if !u.enabled {
		return nil, unix.EBADFD
	}
	return u, 0
}

func (u *uring) ready() uint32 { return load(u.mapping.CQTail) - load(u.mapping.CQHead) }

// post adds a completion to the queue, or, while it is full, behind it.
func (u *uring) post(userData uint64, res int32, flags uint32) {
	u.k.w.note(traceCQE, "cqe", int64(u.mapping.FD), int64(userData), int64(res), int64(flags))
	u.posted++
	u.waits = false
	cqe := ring.CQE{UserData: userData, Res: res, Flags: flags}
	if len(u.overflow) > 0 || !u.put(cqe) {
		u.overflow = append(u.overflow, cqe)
		setBits(u.mapping.SQFlags, ring.SQCQOverflow)
	}
	u.count()
}

func (u *uring) put(cqe ring.CQE) bool {
	m := u.mapping
	tail := load(m.CQTail)
	if tail-load(m.CQHead) >= uint32(len(m.CQEs)) {
		return false
	}
	m.CQEs[tail&m.CQMask] = cqe
	store(m.CQTail, tail+1)
	return true
}

func (u *uring) flushOverflow() {
	for len(u.overflow) > 0 && u.put(u.overflow[0]) {
		u.overflow = u.overflow[1:]
	}
	if len(u.overflow) == 0 {
		u.overflow = nil
		clearBits(u.mapping.SQFlags, ring.SQCQOverflow)
	}
}

// step is a piece of completion work: a request that goes on, or a message from
// another ring.
type step interface{ step() }

// taskWork runs a step where Linux runs it: on a ring with DEFER_TASKRUN inside the
// next enter that asks for events, else as soon as the program is not inside the
// kernel, which is at once or at the end of the enter under way.
func (u *uring) taskWork(s step) {
	if u.bad {
		return
	}
	if !u.isDeferred() && !u.submitting {
		s.step()
		return
	}
	u.deferred = append(u.deferred, s)
	u.waits = false
	if u.flags&ring.SetupTaskrunFlag != 0 {
		setBits(u.mapping.SQFlags, ring.SQTaskrun)
	}
}

func (u *uring) runDeferred() {
	for len(u.deferred) > 0 {
		work := u.deferred
		u.deferred = nil
		for _, s := range work {
			s.step()
		}
	}
	clearBits(u.mapping.SQFlags, ring.SQTaskrun)
}

// message is a completion that MSG_RING brings from another ring.
type message struct {
	to  *uring
	cqe ring.CQE
}

func (m *message) step() { m.to.post(m.cqe.UserData, m.cqe.Res, m.cqe.Flags) }
