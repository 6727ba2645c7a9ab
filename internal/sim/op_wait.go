package sim

import (
	"syscall"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// always is what a poll through a ring reports whether asked for or not; the others
// are names that x/sys/unix lacks.
const (
	always     = unix.POLLERR | unix.POLLHUP | unix.POLLNVAL | unix.POLLRDHUP
	pollRDNorm = 0x40
	pollWRNorm = 0x100
)

func prepPoll(r *request) syscall.Errno {
	known := ring.PollAddMulti
	if r.u.k.has(ring.Level61) {
		known |= ring.PollAddLevel
	}
	if r.sqe.Len&^known != 0 || r.sqe.Off != 0 {
		return unix.EINVAL
	}
	return 0
}

// issuePoll completes with the events that hold; multishot, again each time that
// one comes to hold.
func issuePoll(r *request) verdict {
	events := r.sqe.OpFlags&0xffff | always
	now := r.file.obj.poll() & events
	r.mask = events
	if r.sqe.Len&ring.PollAddMulti == 0 {
		if now != 0 {
			return r.end(int32(now), 0)
		}
		return wait
	}
	if now != 0 {
		r.more(int32(now), 0)
	}
	return wait
}

func prepPollRemove(r *request) syscall.Errno {
	if r.sqe.Len != 0 {
		r.u.k.w.violate("the simulation does not have POLL_REMOVE's updates")
		return unix.EINVAL
	}
	return 0
}

func issuePollRemove(r *request) verdict {
	return r.cancelOne(func(x *request) bool { return x.sqe.Opcode == ring.OpPollAdd && x.sqe.UserData == r.sqe.Addr })
}

// cancelOne cancels the oldest request that matches.
func (r *request) cancelOne(match func(x *request) bool) verdict {
	for x := r.u.first; x != nil; x = x.next {
		if x != r && x.cancellable() && match(x) {
			return r.end(errnoOf(x.cancel()), 0)
		}
	}
	return r.endErrno(unix.ENOENT)
}

// cancellable: started, and without a result yet. What waits behind a link cannot
// be found, as on Linux.
func (r *request) cancellable() bool {
	return !r.over && !r.ended && (r.waiting || r.queued || r.event != nil || r.inode != nil && r.inode.works(r))
}

// cancel ends a request that waits, and one that a worker may not have begun.
func (r *request) cancel() syscall.Errno {
	w := r.u.k.w
	if r.work != nil {
		if r.event != nil && w.draws.work.IntN(2) == 0 {
			return unix.EALREADY
		}
		if r.inode != nil {
			if next := r.inode.endWork(r); next != nil {
				next.event = w.later(w.delay(w.draws.work), next.runWork)
			}
		}
	}
	res := errnoOf(unix.ECANCELED)
	if r.moved > 0 {
		res = int32(r.moved) // a partial MSG_WAITALL keeps its bytes
	}
	r.finish(res)
	r.failed = true
	return 0
}

func prepCancel(r *request) syscall.Errno {
	known := uint32(0)
	if r.u.k.has(ring.Level61) {
		known = ring.AsyncCancelAll | ring.AsyncCancelFD | ring.AsyncCancelAny
	}
	if r.u.k.has(ring.LevelNative) {
		known |= ring.AsyncCancelUserData | ring.AsyncCancelOp
	}
	flags := r.sqe.OpFlags
	if flags&^known != 0 || r.sqe.Off != 0 || r.sqe.SpliceFD != 0 {
		return unix.EINVAL
	}
	if flags&ring.AsyncCancelAny != 0 && flags&(ring.AsyncCancelFD|ring.AsyncCancelUserData) != 0 {
		return unix.EINVAL
	}
	return 0
}

// issueCancel cancels by user data, by file, by opcode, or everything.
func issueCancel(r *request) verdict {
	flags := r.sqe.OpFlags
	byData := flags&ring.AsyncCancelUserData != 0 || flags&(ring.AsyncCancelFD|ring.AsyncCancelAny|ring.AsyncCancelOp) == 0
	var target *file
	if flags&ring.AsyncCancelFD != 0 {
		if target = r.u.k.file(int(r.sqe.FD)); target == nil {
			return r.endErrno(unix.EBADF)
		}
	}
	match := func(x *request) bool {
		return (!byData || x.sqe.UserData == r.sqe.Addr) &&
			(target == nil || x.file == target) &&
			(flags&ring.AsyncCancelOp == 0 || x.sqe.Opcode == uint8(r.sqe.Len))
	}
	if flags&(ring.AsyncCancelAll|ring.AsyncCancelAny) == 0 {
		return r.cancelOne(match)
	}
	var found []*request
	for x := r.u.first; x != nil; x = x.next {
		if x != r && x.cancellable() && match(x) {
			found = append(found, x)
		}
	}
	n := int32(0)
	for _, x := range found {
		if x.cancel() == 0 {
			n++
		}
	}
	return r.end(n, 0)
}

func (k *kernel) timeoutFlags() uint32 {
	known := ring.TimeoutAbs | ring.TimeoutBoottime | ring.TimeoutRealtime
	if k.has(ring.Level61) {
		known |= ring.TimeoutETimeSuccess
	}
	return known
}

func prepTimeout(r *request) syscall.Errno {
	s := &r.sqe
	if s.Len != 1 || s.OpFlags&^r.u.k.timeoutFlags() != 0 || s.BufIndex != 0 {
		return unix.EINVAL
	}
	return r.readTimeout(s.Addr, s.OpFlags)
}

// readTimeout takes the time at addr and keeps when it will be; the event is made
// when the request starts.
func (r *request) readTimeout(addr uint64, flags uint32) syscall.Errno {
	if badMemory(addr, 16) {
		return unix.EFAULT
	}
	ts := (*ring.Timespec)(pointer(addr))
	if ts.Sec < 0 || ts.Nsec < 0 || ts.Nsec >= 1e9 {
		return unix.EINVAL
	}
	c := &r.u.k.w.clock
	r.due = ts.Sec*1e9 + ts.Nsec
	switch {
	case flags&ring.TimeoutAbs == 0:
		r.due += c.now
	case flags&ring.TimeoutRealtime != 0:
		r.due -= c.wallAhead
	}
	return 0
}

// issueTimeout completes with ETIME when the time has come, or with 0 when Off
// other completions have been posted.
func issueTimeout(r *request) verdict {
	w := r.u.k.w
	r.event = w.clock.add(r.due, r.timeIsUp)
	if n := r.sqe.Off; n > 0 {
		r.counted = r.u.posted + n
		r.u.counting = append(r.u.counting, r)
	}
	return pending
}

func (r *request) timeIsUp() {
	r.finish(errnoOf(unix.ETIME))
	if r.sqe.OpFlags&ring.TimeoutETimeSuccess != 0 {
		r.failed = false
	}
}

// count ends the timeouts that waited for this many completions.
func (u *uring) count() {
	for i := 0; i < len(u.counting); {
		r := u.counting[i]
		switch {
		case r.over || r.ended:
		case u.posted >= r.counted:
			r.finish(0)
		default:
			i++
			continue
		}
		u.counting = append(u.counting[:i:i], u.counting[i+1:]...)
	}
}

func prepTimeoutRemove(r *request) syscall.Errno {
	flags := r.sqe.OpFlags
	if flags&ring.TimeoutUpdate == 0 {
		if flags != 0 {
			return unix.EINVAL
		}
		return 0
	}
	if flags&^(r.u.k.timeoutFlags()|ring.TimeoutUpdate) != 0 {
		return unix.EINVAL
	}
	return r.readTimeout(r.sqe.Off, flags)
}

func issueTimeoutRemove(r *request) verdict {
	for x := r.u.first; x != nil; x = x.next {
		if x.sqe.Opcode != ring.OpTimeout || x.sqe.UserData != r.sqe.Addr || !x.cancellable() {
			continue
		}
		if r.sqe.OpFlags&ring.TimeoutUpdate == 0 {
			return r.end(errnoOf(x.cancel()), 0)
		}
		x.event.gone = true
		x.event = r.u.k.w.clock.add(r.due, x.timeIsUp)
		return r.end(0, 0)
	}
	return r.endErrno(unix.ENOENT)
}
