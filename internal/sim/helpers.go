package sim

import (
	"slipstream/reactor"
)

// Helpers are the helper threads of a simulated program: jobs wait here until the
// driver runs one, picked by the seed. A job runs whole; cores turn between jobs.
type Helpers struct {
	w    *World
	room int
	jobs []helperJob
	done uint64
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
	if len(h.jobs) >= h.room {
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
	j.core.CompleteJob(j.job.Work(j.core.Kernel))
	return true
}
