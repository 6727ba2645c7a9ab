package txn

import (
	"math"

	"slipstream/protocol"
)

// never is when nothing is due.
const never = math.MaxInt64

// noTimeout is the timeout of a transaction that an external coordinator ends (KIP-939). None is begun here, but
// a log may hold some.
const noTimeout = math.MaxInt32

// Deadline is when Tick is to be called at the latest, ms since 1970. It may come earlier than there is anything
// to do: a transaction that has ended leaves its deadline behind.
func (c *Coordinator) Deadline() int64 {
	if len(c.due) == 0 {
		return never
	}
	return c.due[0].due
}

// Tick does what is due: it aborts transactions that have run out of time, tries again what has failed, and
// forgets ids that have expired. Its work is bounded; if more is due, Deadline is in the past.
func (c *Coordinator) Tick(nowMillis int64) {
	if !c.loaded {
		return
	}
	for n := 0; n < ticked && len(c.due) > 0 && c.due[0].due <= nowMillis; n++ {
		t := c.due[0]
		if at := c.dueAt(t); at > nowMillis {
			c.due.move(t, at)
			continue
		}
		c.due.remove(t)
		c.wake(nowMillis, t)
	}
}

func (c *Coordinator) wake(nowMillis int64, t *transaction) {
	if t.held != nil && t.heldUntil <= nowMillis {
		c.release(t)
	}
	switch {
	case t.retry != 0 && t.retry <= nowMillis:
		c.tryAgain(nowMillis, t)
	case t.pending != noState || c.dueAt(t) > nowMillis:
	case t.state == Ongoing:
		c.timeOut(nowMillis, t)
	default:
		c.write(nowMillis, t, t.next(Dead, nowMillis), answer{})
	}
	c.schedule(t)
}

// timeOut aborts a transaction whose client has not ended it in time. Its producer is fenced.
func (c *Coordinator) timeOut(nowMillis int64, t *transaction) {
	ended := c.fence(nowMillis, t, answer{}, func(nowMillis int64, refused protocol.ErrorCode) {
		t.waitsForID = false
		if refused != protocol.NONE {
			t.notBefore = nowMillis + retryMillis
		}
		c.schedule(t)
	})
	t.waitsForID = !ended
}

// dueAt is when t needs to be looked at.
func (c *Coordinator) dueAt(t *transaction) int64 {
	at := int64(never)
	switch {
	case t.retry != 0:
		at = t.retry
	case t.pending != noState || t.waitsForID: // comes back by itself
	case t.state == Ongoing && t.timeoutMillis != noTimeout:
		at = max(t.startMillis+int64(t.timeoutMillis)+1, t.notBefore)
	case t.state.quiet():
		at = max(t.updateMillis+c.config.ExpirationMillis, t.notBefore)
	}
	if t.held != nil {
		at = min(at, t.heldUntil)
	}
	return at
}

// schedule sees to it that Tick looks at t in time. A deadline that moves back stays where it is: Tick puts it
// right when it gets there. So a producer whose transactions follow one another moves nothing.
func (c *Coordinator) schedule(t *transaction) {
	at := c.dueAt(t)
	switch {
	case t.heapPlace < 0 && at != never:
		c.due.push(t, at)
	case t.heapPlace >= 0 && at < t.due:
		c.due.move(t, at)
	}
}

// dueHeap is a binary heap of transactions by due; each knows its place.
type dueHeap []*transaction

func (h *dueHeap) push(t *transaction, at int64) {
	t.due, t.heapPlace = at, len(*h)
	*h = append(*h, t)
	h.up(t.heapPlace)
}

// move changes when t is due. never takes it out.
func (h *dueHeap) move(t *transaction, at int64) {
	if at == never {
		h.remove(t)
		return
	}
	t.due = at
	h.up(t.heapPlace)
	h.down(t.heapPlace)
}

func (h *dueHeap) remove(t *transaction) {
	if t.heapPlace < 0 {
		return
	}
	last := len(*h) - 1
	moved := (*h)[last]
	place := t.heapPlace
	(*h)[last] = nil
	*h = (*h)[:last]
	t.heapPlace = -1
	if moved != t {
		(*h)[place], moved.heapPlace = moved, place
		h.up(place)
		h.down(moved.heapPlace)
	}
}

func (h *dueHeap) up(i int) {
	a := *h
	for i > 0 {
		parent := (i - 1) / 2
		if a[parent].due <= a[i].due {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *dueHeap) down(i int) {
	a := *h
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(a); child++ {
			if a[child].due < a[least].due {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

func (h *dueHeap) swap(i, j int) {
	a := *h
	a[i], a[j] = a[j], a[i]
	a[i].heapPlace, a[j].heapPlace = i, j
}
