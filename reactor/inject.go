package reactor

import (
	"sync"
	"sync/atomic"
)

// injector is how goroutines that are not cores reach one: a locked queue and
// the core's eventfd. A lock is right here, and only here: the callers are
// outside, may be many, and may be descheduled at any moment; the core itself
// looks at one atomic word per turn and takes the lock only when it is set,
// to swap two slices.
type injector struct {
	waiting  atomic.Bool // something is in the lists
	mu       sync.Mutex
	closed   bool
	messages []Message
	results  []Message // of finished jobs; nil where a job had no message
}

// Inject delivers m on the core, from any goroutine. It returns false when the
// queue is full or the core is stopped; m is then still the caller's.
func (c *Core) Inject(m Message) bool {
	in := &c.injected
	in.mu.Lock()
	if in.closed || len(in.messages) >= c.limits.InjectEntries {
		in.mu.Unlock()
		return false
	}
	in.messages = append(in.messages, m)
	in.waiting.Store(true)
	in.mu.Unlock()
	c.signalIfParked()
	return true
}

// CompleteJob hands the result of a job back to the core that offloaded it: what
// an implementation of [Helpers] calls after Work, from any goroutine, with
// Work's result, nil included. It is never refused, being bounded by the jobs
// that were offloaded.
func (c *Core) CompleteJob(result Message) {
	in := &c.injected
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return
	}
	in.results = append(in.results, result)
	in.waiting.Store(true)
	in.mu.Unlock()
	c.signalIfParked()
}

// signalIfParked pairs with park as a sender's ring does (see Core.ring): waiting
// is stored before parked is loaded.
func (c *Core) signalIfParked() {
	if c.parked.Load() {
		c.signal()
	}
}

// signal adds to the eventfd while the core has it.
func (c *Core) signal() {
	c.injected.mu.Lock()
	if !c.injected.closed && c.eventfd >= 0 {
		c.Kernel.Signal(c.eventfd)
	}
	c.injected.mu.Unlock()
}

// deliverInjected runs what foreign goroutines and helpers left.
func (c *Core) deliverInjected() (delivered int) {
	in := &c.injected
	if !in.waiting.Load() {
		return 0
	}
	in.mu.Lock()
	messages, results := in.messages, in.results
	in.messages, in.results = c.injectedSpare[:0], c.resultsSpare[:0]
	in.waiting.Store(false)
	in.mu.Unlock()
	for i, m := range results {
		results[i] = nil
		c.jobs--
		if m != nil {
			m.Deliver(c)
		}
	}
	for i, m := range messages {
		messages[i] = nil
		m.Deliver(c)
	}
	c.injectedSpare, c.resultsSpare = messages, results
	c.Stats.MessagesInjected += uint64(len(messages))
	return len(messages) + len(results)
}

// closeInjector refuses everything from now on and gives the eventfd back.
func (c *Core) closeInjector() {
	in := &c.injected
	in.mu.Lock()
	in.closed = true
	in.messages, in.results = nil, nil
	fd := c.eventfd
	c.eventfd = -1
	in.mu.Unlock()
	if fd >= 0 {
		c.Kernel.CloseNow(fd)
	}
}
