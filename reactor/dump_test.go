package reactor

import "fmt"

// dump tells what each connection of a core is doing, for a test that hangs.
func dump(c *Core) string {
	s := fmt.Sprintf("now %d, deadline %d\n", c.Now, c.NextDeadline())
	for _, k := range c.conns {
		r, q, o := &k.receive, &k.requests, &k.send
		s += fmt.Sprintf("conn %d: ops %d, closing %v, eof %v, finish %v, linger %v, nonblock %v, idle since %d", k.ID, k.ops, k.closing, k.eof, k.finish, k.linger, k.nonblock, c.Now-k.lastActive)
		s += fmt.Sprintf("; receive: op %#x kind %d, cancelled %v, direct %v, inbox %d, unread %d to %d, asked %d", r.op, r.kind, r.cancelled, r.direct, r.inboxCount, r.from, r.fill, r.asked)
		s += fmt.Sprintf("; requests: %d of %d bytes, held %v, stalled %v, memory %v", q.pending, q.bytes, q.held != nil, q.stalled, k.memory.waiting)
		s += fmt.Sprintf("; send: op %#x, any %v, in ring %v; listed %v\n", o.op, o.first != nil, o.inRing, k.links)
	}
	return s + fmt.Sprintf("%+v", c.Stats)
}
