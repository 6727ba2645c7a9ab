package reactor

import (
	"sync"

	"slipstream/ring"
)

// Job is slow work, done off the core with blocking calls. Work runs on a helper
// and must touch nothing that a core owns; the message it returns, if any, is
// delivered on the core that offloaded it.
type Job interface {
	Work(k ring.Kernel) Message
}

// Helpers runs jobs. Submit returns false when it has no room; the core tries
// again later. After Work an implementation calls c.CompleteJob with its result.
type Helpers interface {
	Submit(c *Core, j Job) bool
}

// Offload gives a job to the helpers. It never blocks: jobs that find them full
// wait in a list here, in order. A core configured without helpers works in
// place.
func (c *Core) Offload(j Job) {
	c.jobs++
	c.Stats.JobsOffloaded++
	if c.helpers == nil {
		c.CompleteJob(j.Work(c.Kernel))
		return
	}
	if c.jobSpill.len() == 0 && c.helpers.Submit(c, j) {
		return
	}
	c.Stats.JobsSpilled++
	c.jobSpill.push(j)
}

// unspillJobs offers the waiting jobs again.
func (c *Core) unspillJobs() {
	for c.jobSpill.len() > 0 && c.helpers.Submit(c, c.jobSpill.front()) {
		c.jobSpill.pop()
	}
}

// Pool is the goroutines that run jobs, shared by the cores of a process.
type Pool struct {
	mu     sync.RWMutex
	closed bool
	jobs   chan submitted
	done   sync.WaitGroup
}

type submitted struct {
	core *Core
	job  Job
}

// NewHelpers starts n goroutines that run jobs, with room for 64 waiting jobs
// each.
func NewHelpers(n int) *Pool {
	p := &Pool{jobs: make(chan submitted, 64*n)}
	p.done.Add(n)
	for range n {
		go p.run()
	}
	return p
}

func (p *Pool) run() {
	defer p.done.Done()
	for s := range p.jobs {
		s.core.CompleteJob(s.job.Work(s.core.Kernel))
	}
}

// Submit implements Helpers.
func (p *Pool) Submit(c *Core, j Job) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return false
	}
	select {
	case p.jobs <- submitted{c, j}:
		return true
	default:
		return false
	}
}

// Waiting is the number of jobs that no helper has begun. Any goroutine may ask.
func (p *Pool) Waiting() int { return len(p.jobs) }

// Close waits for the jobs that were taken and stops the goroutines. The cores
// must have stopped.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	close(p.jobs)
	p.done.Wait()
}
