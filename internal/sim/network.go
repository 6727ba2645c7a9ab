package sim

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// network is TCP in memory: byte streams with little room, delay, and pieces that
// arrive one by one. Nothing is lost and nothing overtakes: TCP sees to that. What
// is left to the seed is when, in which pieces, and how much fits.
type network struct {
	w         *World
	listeners []*listener
	clients   []*Client
	nextPort  uint16
	news      uint64 // things that clients can see
}

const firstEphemeralPort = 32768

func newNetwork(w *World) *network { return &network{w: w, nextPort: firstEphemeralPort} }

func (n *network) port() uint16 {
	p := n.nextPort
	if n.nextPort++; n.nextPort == 0 {
		n.nextPort = firstEphemeralPort
	}
	return p
}

// listener is a listening socket, with the connections that wait to be accepted.
type listener struct {
	net     *network
	file    *file
	addr    netip.AddrPort
	shared  bool
	backlog int
	queue   []*socket
	shut    bool
}

func (n *network) listen(addr netip.AddrPort, backlog int, shared bool) (*listener, syscall.Errno) {
	if !addr.IsValid() {
		return nil, unix.EINVAL
	}
	if addr.Port() == 0 {
		addr = netip.AddrPortFrom(addr.Addr(), n.port())
	}
	for _, l := range n.listeners {
		if l.addr.Port() == addr.Port() && overlap(l.addr.Addr(), addr.Addr()) && !(shared && l.shared) {
			return nil, unix.EADDRINUSE
		}
	}
	l := &listener{net: n, addr: addr, shared: shared, backlog: max(backlog, 1)}
	l.file = &file{k: n.w.kernel, obj: l}
	n.listeners = append(n.listeners, l)
	return l, 0
}

func overlap(a, b netip.Addr) bool { return a == b || a.IsUnspecified() || b.IsUnspecified() }

func (l *listener) poll() uint32 {
	mask := uint32(0)
	if len(l.queue) > 0 {
		mask = unix.POLLIN | pollRDNorm
	}
	if l.shut {
		mask |= unix.POLLHUP
	}
	return mask
}

func (l *listener) released(*file) { l.stop() }

// stop takes the listener out of the network and resets who waits in its queue.
func (l *listener) stop() {
	n := l.net
	for i, x := range n.listeners {
		if x == l {
			n.listeners = append(n.listeners[:i:i], n.listeners[i+1:]...)
			break
		}
	}
	for _, s := range l.queue {
		s.abort()
	}
	l.queue, l.shut = nil, true
}

func (l *listener) shutdown(how int) syscall.Errno {
	switch how {
	case unix.SHUT_RD, unix.SHUT_RDWR:
		l.stop()
		l.file.wake(unix.POLLIN | unix.POLLHUP)
		return 0
	case unix.SHUT_WR:
		return 0
	}
	return unix.EINVAL
}

// find picks the listener of an address; among several that share it, one by the
// seed.
func (n *network) find(addr netip.AddrPort) *listener {
	var found []*listener
	for _, l := range n.listeners {
		if l.addr.Port() == addr.Port() && (l.addr.Addr() == addr.Addr() || l.addr.Addr().IsUnspecified()) {
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[n.w.draws.net.IntN(len(found))]
}

// programGone: every socket of the program is closed by its end, which closeAll
// does.
func (n *network) programGone() {}

// machineGone: no socket says goodbye. What was on its way from the machine is
// lost; clients learn of it by a reset, when they next would hear from it.
func (n *network) machineGone() {
	for _, c := range n.clients {
		if c.conn != nil {
			c.conn.vanish()
		}
	}
	n.listeners = nil
}
