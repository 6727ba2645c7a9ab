package reactor

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Run locks its goroutine to a thread, pins it if the configuration says so,
// starts the core and turns it until it is drained. It returns early if the ring
// fails. The error says which core and what it was doing.
func (c *Core) Run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if c.cpu > 0 {
		var set unix.CPUSet
		set.Set(c.cpu - 1)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("core %d: pin its thread to CPU %d: %w", c.ID, c.cpu-1, err)
		}
	}
	c.thread = unix.Gettid()
	if err := c.Start(); err != nil {
		return err
	}
	block := c.waiting.mayBlock(c.Now, true)
	for !c.Stopped() && c.failed == nil {
		busy := c.Turn(block)
		block = c.waiting.mayBlock(c.Now, busy)
	}
	if c.failed != nil {
		c.stopped.Store(true)
		c.closeInjector()
	}
	c.Close()
	return c.failed
}

// Close gives a stopped core's ring and memory back: what Run does at its end,
// for those that turn a core themselves. While the kernel may still use the
// memory, or someone holds a block of it, it is left mapped.
func (c *Core) Close() {
	if c.Ring == nil || c.ops.inFlight > 0 {
		return
	}
	if c.provided != nil {
		if err := c.provided.ring.Close(); err != nil {
			c.Stats.LastUnexpected = err.Error()
			c.Stats.UnexpectedErrors++
		}
	}
	c.Ring.Close()
	c.ringFD.Store(-1)
	if c.Arena.inUse == 0 {
		c.Arena.close()
	}
}
