package reactor

import "math"

// Timer is a deadline, embedded in what waits for it. The zero Timer is unarmed.
type Timer struct {
	handler  TimerHandler
	deadline int64
	index    int // position in the heap + 1; 0: unarmed
}

// TimerHandler is called on the core, once, when the deadline has passed. The
// timer is unarmed by then and may be armed again.
type TimerHandler interface{ Fire(t *Timer) }

// Armed reports whether the timer will fire.
func (t *Timer) Armed() bool { return t.index != 0 }

// timerHeap is a 4-ary heap, smallest deadline first and, among equal ones, the
// one armed first. A wheel would make arming O(1), but its resolution would cost
// wake-ups on parked cores; the reactor arms rarely (connections check their
// idle time lazily), and a four-way heap of 24-byte entries stays in cache.
type timerHeap struct {
	entries []timerEntry
	armed   uint64 // timers armed so far: the order among equal deadlines
}

type timerEntry struct {
	deadline int64
	order    uint64
	timer    *Timer
}

func (e *timerEntry) before(o *timerEntry) bool {
	return e.deadline < o.deadline || e.deadline == o.deadline && e.order < o.order
}

// next is the earliest deadline, or math.MaxInt64.
func (h *timerHeap) next() int64 {
	if len(h.entries) == 0 {
		return math.MaxInt64
	}
	return h.entries[0].deadline
}

func (h *timerHeap) arm(t *Timer, deadline int64) {
	if t.index != 0 {
		h.disarm(t)
	}
	t.deadline = deadline
	h.armed++
	h.entries = append(h.entries, timerEntry{})
	h.up(len(h.entries)-1, timerEntry{deadline, h.armed, t})
}

func (h *timerHeap) disarm(t *Timer) {
	if t.index == 0 {
		return
	}
	i := t.index - 1
	t.index = 0
	last := len(h.entries) - 1
	moved := h.entries[last]
	h.entries[last] = timerEntry{}
	h.entries = h.entries[:last]
	if i == last {
		return
	}
	if i > 0 && moved.before(&h.entries[(i-1)/4]) {
		h.up(i, moved)
	} else {
		h.down(i, moved)
	}
}

func (h *timerHeap) set(i int, e timerEntry) {
	h.entries[i] = e
	e.timer.index = i + 1
}

func (h *timerHeap) up(i int, e timerEntry) {
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&h.entries[parent]) {
			break
		}
		h.set(i, h.entries[parent])
		i = parent
	}
	h.set(i, e)
}

func (h *timerHeap) down(i int, e timerEntry) {
	n := len(h.entries)
	for {
		first := 4*i + 1
		if first >= n {
			break
		}
		least := first
		for j := first + 1; j < min(first+4, n); j++ {
			if h.entries[j].before(&h.entries[least]) {
				least = j
			}
		}
		if !h.entries[least].before(&e) {
			break
		}
		h.set(i, h.entries[least])
		i = least
	}
	h.set(i, e)
}

// fire calls the handlers of the timers due at now that were armed before this
// call: a handler that arms a timer for "now" waits for the next turn.
func (h *timerHeap) fire(now int64) (fired int) {
	before := h.armed
	for len(h.entries) > 0 {
		e := h.entries[0]
		if e.deadline > now || e.order > before {
			break
		}
		h.disarm(e.timer)
		fired++
		e.timer.handler.Fire(e.timer)
	}
	return fired
}

// After arms t to fire nanos from this turn's time; an armed timer is moved.
// Arming does not allocate once the heap has grown.
func (c *Core) After(nanos int64, t *Timer, h TimerHandler) {
	t.handler = h
	deadline := c.Now + nanos
	if nanos > 0 && deadline < 0 {
		deadline = math.MaxInt64
	}
	c.timers.arm(t, deadline)
}

// Cancel disarms t; cancelling an unarmed timer does nothing.
func (c *Core) Cancel(t *Timer) { c.timers.disarm(t) }
