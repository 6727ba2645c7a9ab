package reactor

import "sync/atomic"

// Message is a piece of work for another core. Deliver runs there. It is
// embedded in what its sender owns, so sending allocates nothing; whose it is
// after Deliver is between sender and receiver.
type Message interface{ Deliver(c *Core) }

// mailbox is the bounded single-producer single-consumer ring from one core to
// another. Each side has a line of its own, and a copy of the other side's
// position that it refreshes only when it must.
//
//	slots  [ . . m m m m . . ]
//	             ^ head  ^ tail
//	        next to take  next to put
type mailbox struct {
	slots []Message
	_     [40]byte

	tail     atomic.Uint64 // written by the sender
	seenHead uint64        // the sender's
	_        [48]byte

	head     atomic.Uint64 // written by the receiver
	seenTail uint64        // the receiver's
	_        [48]byte
}

func newMailbox(entries int) *mailbox { return &mailbox{slots: make([]Message, entries)} }

// put adds m, on the sender's core. It returns false if there is no room.
func (b *mailbox) put(m Message) bool {
	tail := b.tail.Load()
	if tail-b.seenHead == uint64(len(b.slots)) {
		b.seenHead = b.head.Load()
		if tail-b.seenHead == uint64(len(b.slots)) {
			return false
		}
	}
	b.slots[tail&uint64(len(b.slots)-1)] = m
	b.tail.Store(tail + 1)
	return true
}

// take removes the oldest message, on the receiver's core. It returns nil when
// nothing is left of what was there when seenTail was last refreshed.
func (b *mailbox) take() Message {
	head := b.head.Load()
	if head == b.seenTail {
		return nil
	}
	slot := &b.slots[head&uint64(len(b.slots)-1)]
	m := *slot
	*slot = nil
	b.head.Store(head + 1)
	return m
}

func (b *mailbox) refresh()    { b.seenTail = b.tail.Load() }
func (b *mailbox) empty() bool { return b.head.Load() == b.tail.Load() }

// Join makes the mailboxes between cores that may Send to each other. It is
// called once, before any of them is started; each core's ID is its place in
// the list.
func Join(cores []*Core) {
	for i, c := range cores {
		if c.ID != i {
			panic("reactor: Join wants the cores in the order of their IDs")
		}
		c.peers = make([]peer, len(cores))
		c.inboxes = make([]*mailbox, len(cores))
	}
	for i, from := range cores {
		for j, to := range cores {
			box := newMailbox(from.limits.MailboxEntries)
			from.peers[j] = peer{core: to, box: box}
			to.inboxes[i] = box
		}
	}
}

// peer is the sending side of a mailbox.
type peer struct {
	core  *Core
	box   *mailbox
	spill queue[Message] // found the ring full; in order behind it
	sent  bool           // something was put this turn: look whether to ring
}

// Send delivers m on another core (or, in its next turn, on this one). It never
// blocks: what finds the receiver's ring full waits in a list here, which the
// senders bound by sending only for requests that they hold. Messages from one
// core to another arrive in order.
func (c *Core) Send(to *Core, m Message) {
	c.Stats.MessagesSent++
	if len(c.peers) == 0 && to == c { // a core that was never joined talks to itself only
		Join([]*Core{c})
	}
	p := &c.peers[to.ID]
	if !p.sent {
		p.sent = true
		c.rung = append(c.rung, p)
	}
	if p.spill.len() == 0 && p.box.put(m) {
		return
	}
	c.Stats.MessagesSpilled++
	p.spill.push(m)
	c.spilled++
}

// deliver runs the messages that were in the mailboxes when it was called.
func (c *Core) deliver() (delivered int) {
	for i := range c.inboxes {
		from := (c.inboxFrom + i) % len(c.inboxes)
		box := c.inboxes[from]
		box.refresh()
		for m := box.take(); m != nil; m = box.take() {
			delivered++
			m.Deliver(c)
			if delivered%clockStep == 0 && c.overdue() {
				c.again, c.inboxFrom = true, from+1 // the others' turn comes first, the next time
				c.Stats.MessagesReceived += uint64(delivered)
				return delivered
			}
		}
	}
	c.Stats.MessagesReceived += uint64(delivered)
	return delivered
}

// unspill moves what waited for room into the rings. A stopped core takes
// nothing any more, and must not keep this one from stopping.
func (c *Core) unspill() {
	if c.spilled == 0 {
		return
	}
	for i := range c.peers {
		p := &c.peers[i]
		for p.spill.len() > 0 {
			if p.core.stopped.Load() {
				p.spill.pop()
				c.Stats.MessagesDropped++
				c.spilled--
				continue
			}
			if !p.box.put(p.spill.front()) {
				break
			}
			p.spill.pop()
			c.spilled--
			if !p.sent {
				p.sent = true
				c.rung = append(c.rung, p)
			}
		}
	}
}

// ring wakes the cores that were sent to this turn and may be parked.
//
// A receiver parks by (1) storing parked, (2) loading every mailbox's tail,
// (3) waiting in the kernel only if all were empty. A sender (4) stores the tail
// and (5) loads parked. Go's atomics are sequentially consistent, so of (2) and
// (5) at least one sees the other side's store: either the receiver finds the
// message and does not wait, or the sender finds it parked and rings. Ringing
// late, at the end of the turn, keeps (4) before (5) and rings once for a whole
// turn's messages. A ring that comes when the receiver is already awake is one
// empty completion.
func (c *Core) ring() {
	for _, p := range c.rung {
		p.sent = false
		if p.core == c || !p.core.parked.Load() {
			continue
		}
		c.Stats.MessageRings++
		c.wake(p.core)
	}
	c.rung = c.rung[:0]
}

// mailWaiting is step (2): whether any mailbox holds a message.
func (c *Core) mailWaiting() bool {
	for _, box := range c.inboxes {
		if !box.empty() {
			return true
		}
	}
	return false
}

// queue is a FIFO in a slice that is used again; it grows to the most it held.
type queue[T any] struct {
	items []T
	first int
	count int
}

func (q *queue[T]) len() int { return q.count }

func (q *queue[T]) push(v T) {
	if q.count == len(q.items) {
		grown := make([]T, max(16, 2*q.count))
		n := copy(grown, q.items[q.first:])
		copy(grown[n:], q.items[:q.first])
		q.items, q.first = grown, 0
	}
	i := q.first + q.count
	if i >= len(q.items) {
		i -= len(q.items)
	}
	q.items[i] = v
	q.count++
}

func (q *queue[T]) front() T { return q.items[q.first] }

func (q *queue[T]) pop() T {
	var zero T
	v := q.items[q.first]
	q.items[q.first] = zero
	if q.first++; q.first == len(q.items) {
		q.first = 0
	}
	q.count--
	return v
}
