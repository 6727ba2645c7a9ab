package reactor

// drain is how a core ends:
//
//	none       serving
//	finishing  no accepts, no new frames; responses leave, connections close
//	service    no connections; the service ends its own work (Drainer)
//	stopping   the core's own requests are cancelled
//	stopped    nothing in flight: Run returns
type drain struct {
	phase    drainPhase
	deadline Timer
	armed    bool // something changed: look again next turn
}

type drainPhase uint8

const (
	drainNone drainPhase = iota
	drainFinishing
	drainService
	drainStopping
	drainStopped
)

// Drain ends the core in order: it stops accepting and dispatching frames,
// finishes the requests under way, lets their responses leave, closes the
// connections, waits for the service ([Drainer]), and stops. At deadlineNanos,
// a time of Kernel.Monotonic, connections that are left are closed as they are;
// the service's own work is always waited for. Call it on the core (Inject a
// message, again if the queue was full); a second call only moves the deadline.
func (c *Core) Drain(deadlineNanos int64) {
	c.After(max(deadlineNanos-c.Now, 0), &c.drain.deadline, (*drainTimer)(c))
	if c.drain.phase != drainNone {
		return
	}
	c.drain.phase = drainFinishing
	for _, l := range c.listeners {
		l.stop()
	}
	c.refuseArrivals()
	if c.drainer != nil {
		c.drainer.DrainStarted(c)
	}
	for _, conn := range c.conns {
		conn.finish = true
		c.ready.push(conn)
	}
	c.drain.armed = true
}

// Draining reports whether Drain was called.
func (c *Core) Draining() bool { return c.drain.phase != drainNone }

// Stopped reports whether the core has drained: there is nothing to turn for.
func (c *Core) Stopped() bool { return c.drain.phase == drainStopped }

// drainTimer closes what is left at the deadline.
type drainTimer Core

func (d *drainTimer) Fire(*Timer) {
	c := (*Core)(d)
	for _, conn := range c.conns {
		conn.Close() // leaves the table later, in bury
	}
}

// turnDrain takes the drain as far as it goes in this turn. It reports whether
// it went further.
func (c *Core) turnDrain() bool {
	before := c.drain.phase
	c.drain.armed = false
	if c.drain.phase == drainFinishing && c.listenersClosed() && len(c.conns) == 0 {
		c.Cancel(&c.drain.deadline)
		c.drain.phase = drainService
		c.cold.close()
		c.bulk.close()
	}
	if c.drain.phase == drainService && (c.drainer == nil || c.drainer.Drained(c)) && c.jobs == 0 {
		c.drain.phase = drainStopping
		if c.eventOp != 0 {
			c.cancel(c.eventOp)
		}
	}
	if c.drain.phase == drainStopping && c.ops.inFlight == 0 && before == drainStopping {
		c.drain.phase = drainStopped
		c.stopped.Store(true)
		c.closeInjector()
	}
	return c.drain.phase != before
}

func (c *Core) listenersClosed() bool {
	closed := true
	for _, l := range c.listeners {
		closed = l.closeIfDone() && closed
	}
	return closed
}

// drainPending reports whether the drain can go on in the next turn without
// waiting for anything.
func (c *Core) drainPending() bool {
	return c.drain.armed || c.drain.phase == drainFinishing && len(c.conns) == 0 ||
		c.drain.phase == drainStopping && c.ops.inFlight == 0 || c.drain.phase == drainStopped
}
