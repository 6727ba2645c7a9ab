package sim

import (
	"math"

	"slipstream/reactor"
)

// Helpers are the helper threads of a simulated program: jobs wait here until the
// driver runs one, picked by the seed. A job runs whole; cores turn between jobs.
type Helpers struct {
	w    *World
	room int
	jobs []helperJob
	done uint64
	late []lateResult // of jobs that a slow disk holds up
}

type lateResult struct {
	at     int64
	core   *reactor.Core
	result reactor.Message
}

type helperJob struct {
	core *reactor.Core
	job  reactor.Job
}

var _ reactor.Helpers = (*Helpers)(nil)

// NewHelpers makes helpers with room for so many waiting jobs; 0: 64.
func (w *World) NewHelpers(room int) *Helpers {
	if room <= 0 {
		room = 64
	}
	return &Helpers{w: w, room: room}
}

// Submit takes a job, or, full, refuses it.
func (h *Helpers) Submit(c *reactor.Core, j reactor.Job) bool {
	if len(h.jobs)+len(h.late) >= h.room {
		return false
	}
	h.jobs = append(h.jobs, helperJob{c, j})
	return true
}

// Waiting is the number of jobs that wait.
func (h *Helpers) Waiting() int { return len(h.jobs) }

// RunOne runs one of the waiting jobs and gives its result to its core. It returns
// false if there is none.
func (h *Helpers) RunOne() bool {
	if len(h.jobs) == 0 {
		return false
	}
	i := h.w.draws.schedule.IntN(len(h.jobs))
	j := h.jobs[i]
	h.jobs = append(h.jobs[:i:i], h.jobs[i+1:]...)
	h.done++
	h.w.Note("job", int64(j.core.ID), int64(h.done))
	h.w.TakeOwed()
	result := j.job.Work(j.core.Kernel)
	if owed := h.w.TakeOwed(); owed > 0 {
		h.late = append(h.late, lateResult{h.w.Now() + owed, j.core, result})
		return true
	}
	j.core.CompleteJob(result)
	return true
}

// finish gives results whose time has come to their cores. It returns whether there was one.
func (h *Helpers) finish() (any bool) {
	for i := 0; i < len(h.late); {
		l := h.late[i]
		if l.at > h.w.Now() {
			i++
			continue
		}
		h.late = append(h.late[:i:i], h.late[i+1:]...)
		l.core.CompleteJob(l.result)
		any = true
	}
	return any
}

// next is when the next result's time comes.
func (h *Helpers) next() int64 {
	at := int64(math.MaxInt64)
	for _, l := range h.late {
		at = min(at, l.at)
	}
	return at
}
