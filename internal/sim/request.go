package sim

import (
	"syscall"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// request is one submission entry on its way.
//
//	submit -> prep -> issue --done------------------------------> complete
//	                   |  \--wait: the file is not ready           ^
//	                   |        woken -> task work -> issue again  |
//	                   \--work: a worker, some time later -> task work
//	                   \--pending: its own event (a timeout) -> task work
type request struct {
	u          *uring
	sqe        ring.SQE
	op         *operation
	file       *file
	prev, next *request // in flight
	link       *request // starts when this one has ended
	listed     bool

	waiting bool   // on file.waiters
	mask    uint32 // for which events
	queued  bool   // in the ring's task work
	ended   bool   // res and cflags are the result; complete is next
	over    bool
	res     int32
	cflags  uint32

	event   *event
	work    func() int32 // what the worker does
	syncs   bool         // work is an fsync
	inode   *inode       // whose writes are done one at a time; nil: not hashed
	iovs    []unix.Iovec
	moved   int  // bytes, over several issues
	want    int  // bytes wanted in all
	polled  bool // POLL_FIRST was obeyed
	failed  bool
	silence bool   // a skipped request failed: what is cancelled with it is not told
	skip    bool   // CQE_SKIP_SUCCESS
	counted uint64 // a timeout: ends at this many completions
	due     int64  // a timeout: ends at this time
	notify  bool   // a zero-copy send owes its notification
}

// verdict is what issuing a request came to.
type verdict int

const (
	done    verdict = iota // res and cflags are set
	wait                   // for mask on file
	worker                 // work is set
	pending                // it completes by its own event
)

// submit takes up to n entries from the submission queue.
func (u *uring) submit(n uint32) int {
	m := u.mapping
	n = min(n, load(m.SQTail)-load(m.SQHead))
	u.submitting = true
	defer func() { u.submitting = false }()
	var head, tail *request
	taken := 0
	for ; taken < int(n); taken++ {
		sqe, ok := u.take()
		if !ok {
			break
		}
		r := &request{u: u, sqe: sqe}
		errno := r.prepare()
		linked := sqe.Flags&(ring.SQEIOLink|ring.SQEIOHardlink) != 0
		if errno != 0 {
			r.ended, r.res, r.failed = true, errnoOf(errno), true
		}
		if head == nil {
			head, tail = r, r
		} else {
			tail.link, tail = r, r
		}
		if !linked {
			u.startChain(head)
			head = nil
		}
		if errno != 0 && !linked && u.flags&ring.SetupSubmitAll == 0 {
			taken++
			break
		}
	}
	if head != nil {
		u.startChain(head)
	}
	return taken
}

// take copies the next entry out of the queue.
func (u *uring) take() (ring.SQE, bool) {
	m := u.mapping
	head := load(m.SQHead)
	i := head & m.SQMask
	if m.SQArray != nil {
		i = m.SQArray[i]
	}
	store(m.SQHead, head+1)
	if int(i) >= len(m.SQEs) {
		return ring.SQE{}, false
	}
	return m.SQEs[i], true
}

// startChain starts a request with those linked behind it. If one of them could
// not even be prepared, none is issued.
func (u *uring) startChain(head *request) {
	broken := false
	for r := head; r != nil; r = r.link {
		broken = broken || r.ended
	}
	for r := head; r != nil; r = r.link {
		u.list(r)
		if broken && !r.ended {
			r.ended, r.failed, r.res = true, true, errnoOf(unix.ECANCELED)
		}
	}
	head.start()
}

func (u *uring) list(r *request) {
	r.listed = true
	if u.last == nil {
		u.first, u.last = r, r
		return
	}
	r.prev, u.last.next = u.last, r
	u.last = r
}

func (u *uring) unlist(r *request) {
	if !r.listed {
		return
	}
	r.listed = false
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		u.first = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		u.last = r.prev
	}
	r.prev, r.next = nil, nil
}

// start takes the request's file and issues it.
func (r *request) start() {
	if r.ended {
		r.complete()
		return
	}
	if r.op.file {
		if r.file = r.u.k.file(int(r.sqe.FD)); r.file == nil {
			r.end(errnoOf(unix.EBADF), 0)
			r.complete()
			return
		}
		r.file.refs++
	}
	r.issue()
}

func (r *request) issue() {
	switch r.op.issue(r) {
	case done:
		r.ended = true
		r.complete()
	case wait:
		r.wait()
	case worker:
		r.toWorker()
	case pending:
	}
}

// end sets the result. It reads well as the end of an issue: return r.end(res, 0).
func (r *request) end(res int32, cflags uint32) verdict {
	r.ended, r.res, r.cflags = true, res, cflags
	r.failed = r.failed || res < 0
	return done
}

func (r *request) endErrno(e syscall.Errno) verdict { return r.end(errnoOf(e), 0) }

// waitFor waits until the file is ready for mask, or, never, ends with EAGAIN.
// O_NONBLOCK does not matter: Linux 6.18's ring waits for such a file as for any.
func (r *request) waitFor(mask uint32, never bool) verdict {
	if never {
		return r.endErrno(unix.EAGAIN)
	}
	r.mask = mask
	return wait
}

func (r *request) wait() {
	if !r.waiting {
		r.waiting = true
		r.file.waiters = append(r.file.waiters, r)
	}
}

func (r *request) unwait() {
	if r.waiting {
		r.waiting = false
		r.file.forget(r)
	}
}

// woken: what the request waits for came to hold.
func (r *request) woken() { r.queue() }

func (r *request) queue() {
	if r.queued || r.over {
		return
	}
	r.queued = true
	r.u.taskWork(r)
}

func (r *request) step() {
	r.queued = false
	if r.over {
		return
	}
	if r.ended {
		r.complete()
		return
	}
	r.unwait()
	r.issue()
}

// finish ends a request from outside of its issue: a worker, a timer, a cancel.
func (r *request) finish(res int32) {
	r.end(res, 0)
	r.unwait()
	if r.event != nil {
		r.event.gone = true
	}
	r.queue()
}

// more posts one completion of a request that goes on.
func (r *request) more(res int32, cflags uint32) {
	r.u.post(r.sqe.UserData, res, cflags|ring.CQEFMore)
}

// complete posts the last completion and lets what is linked behind go on.
func (r *request) complete() {
	if r.over {
		return
	}
	r.over = true
	r.unwait()
	if r.failed && r.skip {
		r.skip, r.silence = false, true
	}
	if !r.skip {
		flags := r.cflags
		if r.notify {
			flags |= ring.CQEFMore
		}
		r.u.post(r.sqe.UserData, r.res, flags)
	}
	if !r.notify {
		r.u.unlist(r)
	}
	if r.file != nil {
		r.file.unref()
	}
	r.continueLink()
}

func (r *request) continueLink() {
	next := r.link
	if next == nil {
		return
	}
	r.link = nil
	if !r.failed || r.sqe.Flags&ring.SQEIOHardlink != 0 {
		next.start()
		return
	}
	for x := next; x != nil; {
		after := x.link
		x.link = nil
		if !x.ended {
			x.end(errnoOf(unix.ECANCELED), 0)
		}
		x.over = true
		if !r.silence {
			r.u.post(x.sqe.UserData, x.res, 0)
		}
		r.u.unlist(x)
		x = after
	}
}

// abandon ends a request without a completion: the ring is gone. What a worker was
// doing is done, half done, or not.
func (r *request) abandon() {
	if r.over {
		return
	}
	r.over = true
	r.unwait()
	if r.event != nil && !r.event.gone {
		r.event.gone = true
		if r.work != nil && r.u.k.dead && !r.ended && r.u.k.w.draws.work.IntN(2) == 0 {
			r.want = r.u.k.w.draws.work.IntN(r.want + 1)
			r.work()
		}
	}
	if r.inode != nil {
		r.inode.forgetWork(r)
	}
	if r.file != nil {
		r.file.unref()
	}
}

// toWorker lets a worker do r.work some time later. Work that changes an inode is
// done one at a time, in order; fsync is not held up by it.
func (r *request) toWorker() {
	w := r.u.k.w
	if r.inode != nil && !r.inode.startWork(r) {
		return
	}
	delay := w.delay(w.draws.work)
	if r.syncs && w.opts.SlowSyncNanos > 0 {
		delay += w.draws.work.Int64N(w.opts.SlowSyncNanos)
	}
	if r.file != nil && len(w.faults) > 0 {
		delay += w.slowness(r.file.path)
	}
	r.event = w.later(delay, r.runWork)
}

func (r *request) runWork() {
	res := r.work()
	if r.inode != nil {
		if next := r.inode.endWork(r); next != nil {
			next.event = r.u.k.w.later(r.u.k.w.delay(r.u.k.w.draws.work), next.runWork)
		}
	}
	if r.want > 0 && res >= 0 && int(res) < r.want {
		r.failed = true // a short result breaks a link
	}
	r.finish(res)
}
