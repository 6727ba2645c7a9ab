package reactor

import (
	"runtime"
	"sync"
	"sync/atomic"

	"slipstream/ring"
)

// Job is slow work, done off the core with blocking calls. Work runs on a helper
// and must touch nothing that a core owns; the message it returns, if any, is
// delivered on the core that offloaded it.
type Job interface {
	Work(k ring.Kernel) Message
}

// BackgroundJob is a job that nobody waits for, and that there is always more of: compaction. If Background says so when it is
// offloaded, it runs when nothing else on the machine wants the processor, which on a busy one may be never.
type BackgroundJob interface {
	Job
	Background() bool
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

	background chan submitted
	unfinished atomic.Int32 // background jobs that were taken
	threads    atomic.Int32 // that run background jobs
}

// maxBackground is how many background jobs may wait: at most one of each of a broker's cleaners does.
const maxBackground = 64

type submitted struct {
	core *Core
	job  Job
}

// NewHelpers starts n goroutines that run jobs, with room for 64 waiting jobs
// each.
func NewHelpers(n int) *Pool {
	p := &Pool{jobs: make(chan submitted, 64*n), background: make(chan submitted, maxBackground)}
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

// runBackground runs background jobs, on a thread of its own that gives way to every other.
func (p *Pool) runBackground() {
	defer p.done.Done()
	runtime.LockOSThread() // never undone: the thread ends with the goroutine, its priority cannot be raised again
	ring.LowerThread()
	for s := range p.background {
		m := s.job.Work(s.core.Kernel)
		p.unfinished.Add(-1)
		s.core.CompleteJob(m)
	}
}

// submitBackground takes a background job, and starts a thread for it if all are busy and there may be more: as many as
// processors. p.mu is held.
func (p *Pool) submitBackground(s submitted) bool {
	select {
	case p.background <- s:
	default:
		return false
	}
	if n := p.threads.Load(); p.unfinished.Add(1) > n && int(n) < runtime.NumCPU() && p.threads.CompareAndSwap(n, n+1) {
		p.done.Add(1)
		go p.runBackground()
	}
	return true
}

// Submit implements Helpers.
func (p *Pool) Submit(c *Core, j Job) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return false
	}
	if b, ok := j.(BackgroundJob); ok && b.Background() {
		return p.submitBackground(submitted{c, j})
	}
	select {
	case p.jobs <- submitted{c, j}:
		return true
	default:
		return false
	}
}

// Waiting is the number of jobs that no helper has begun. Any goroutine may ask.
func (p *Pool) Waiting() int { return len(p.jobs) + len(p.background) }

// Close waits for the jobs that were taken and stops the goroutines. The cores
// must have stopped.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	close(p.jobs)
	close(p.background)
	p.done.Wait()
}
