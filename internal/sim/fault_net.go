package sim

import "net/netip"

// trouble carries out a socket's fault, on a connection that the entry picks.
func (n *network) trouble(p *plannedFault) {
	var open []*Client
	for _, c := range n.clients {
		if c.conn != nil && !c.Broken() && !c.eof && !c.closing && !c.conn.gone {
			open = append(open, c)
		}
	}
	if len(open) == 0 {
		return
	}
	for range max(p.Count, 1) {
		c := open[p.rand.IntN(len(open))]
		n.w.fire(p, c.addr.String())
		switch p.Kind {
		case FaultReset:
			if !c.conn.reset {
				n.inOrder(c.conn.in, c.conn.wasReset)
				c.wasReset()
			}
		case FaultHalfClose:
			c.closing = true
			c.pump()
		case FaultStall:
			c.paused = true
			n.w.later(p.For, func() {
				c.paused = false
				c.read()
			})
		}
	}
}

// storm dials many times at once. Some say nothing, some say what is no request, some
// begin one and stop; after a while all are gone.
func (n *network) storm(p *plannedFault) {
	if len(n.listeners) == 0 {
		return
	}
	target := n.listeners[0].addr
	n.w.fire(p, target.String())
	for range max(p.Count, 1) {
		own := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 2}), n.port())
		c := &Client{net: n, addr: own, target: target}
		n.clients = append(n.clients, c)
		switch p.rand.IntN(4) {
		case 0:
			c.outgoing = []byte{0, 0, 4, 0, 0, 18}
		case 1:
			for range 1 + p.rand.IntN(200) {
				c.outgoing = append(c.outgoing, byte(p.rand.IntN(256)))
			}
		case 2:
			c.outgoing = []byte{0x7f, 0xff, 0xff, 0xff}
		}
		n.w.later(n.w.delay(p.rand), c.connect)
		n.w.later(1+p.rand.Int64N(max(p.For, 1)), func() {
			c.resetByUs, c.outgoing = true, nil
			if c.conn != nil {
				n.inOrder(c.conn.in, c.conn.wasReset)
			}
		})
	}
}

// tiny tells whether sockets give and take little now.
func (n *network) tiny() bool {
	return n.w.opts.TinyReads || len(n.w.faults) > 0 && n.w.hits(FaultTiny, "") != nil
}
