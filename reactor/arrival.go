package reactor

import "net/netip"

// Doorkeeper is implemented by a Service that decides which accepted sockets become
// connections. It is asked before Opened.
type Doorkeeper interface {
	// Arrived is told where a socket comes from.
	Arrived(c *Core, peer netip.AddrPort) Verdict
	// Decide is given what was Undecided. It calls Admit, Refuse or RefuseAfter, once,
	// on the same core, at once or later.
	Decide(a *Arrival)
}

// Verdict is what becomes of an accepted socket.
type Verdict uint8

const (
	Admitted  Verdict = iota // it is a connection
	Undecided                // the Doorkeeper has to think about it
)

// Arrival is an accepted socket that waits to be let in. Its client is connected, as
// far as it knows, and is not heard. Past Limits.MaxArrivals the core accepts no more.
type Arrival struct {
	Peer netip.AddrPort

	core        *Core
	fd          int
	timer       Timer
	index       int // in Core.arrivals
	gone        bool
	toBeRefused bool
}

// arrived has the doorkeeper decide about a socket.
func (c *Core) arrived(fd int, peer netip.AddrPort) {
	a := &Arrival{Peer: peer, core: c, fd: fd, index: len(c.arrivals)}
	c.arrivals = append(c.arrivals, a)
	c.door.Decide(a)
}

// Admit makes a connection of the socket, or returns nil: there are too many, or the
// core drains.
func (a *Arrival) Admit() *Conn {
	c := a.core
	if a.gone || a.toBeRefused {
		return nil
	}
	a.leave()
	if len(c.conns) >= c.limits.MaxConnections {
		c.refuse(a.fd)
		return nil
	}
	return c.open(a.fd)
}

// Refuse closes the socket.
func (a *Arrival) Refuse() {
	if a.gone {
		return
	}
	a.leave()
	a.core.refuse(a.fd)
}

// RefuseAfter closes it later: a client that would try again at once is kept busy
// with waiting.
func (a *Arrival) RefuseAfter(nanos int64) {
	if a.gone {
		return
	}
	a.toBeRefused = true
	a.core.After(nanos, &a.timer, a)
}

// Fire implements TimerHandler.
func (a *Arrival) Fire(*Timer) { a.Refuse() }

func (a *Arrival) leave() {
	c := a.core
	a.gone = true
	c.Cancel(&a.timer)
	last := len(c.arrivals) - 1
	moved := c.arrivals[last]
	c.arrivals[a.index], moved.index = moved, a.index
	c.arrivals[last] = nil
	c.arrivals = c.arrivals[:last]
	for _, l := range c.listeners {
		l.arm()
	}
}

// refuse closes a socket that does not become a connection.
func (c *Core) refuse(fd int) {
	c.Stats.ConnectionsRefused++
	if errno := c.Kernel.CloseNow(fd); errno != 0 {
		c.unexpected("close a refused connection", errno)
	}
}

// refuseArrivals closes what waits, when the core drains.
func (c *Core) refuseArrivals() {
	for len(c.arrivals) > 0 {
		c.arrivals[len(c.arrivals)-1].Refuse()
	}
}

// ConnAt is an open connection of the core, for whoever goes through them from the
// last, Connections()-1, to the first, 0, over several turns: one that ends is
// replaced by the last, so that none is passed over.
func (c *Core) ConnAt(i int) *Conn { return c.conns[i] }
