package group

// timer is something that happens at a deadline unless it is stopped. It is part
// of what it is about. A timer that is moved to a later time, which is what every
// heartbeat does, stays where it is in the heap and finds its new place only when
// its old one comes up.
type timer struct {
	deadline int64 // milliseconds
	key      int64 // the deadline that the heap has it under, never later than deadline
	order    uint64
	index    int // in the heap, plus 1; 0: not armed
	fire     func(c *Coordinator)
}

func (t *timer) armed() bool { return t.index > 0 }

// timers is a heap of armed timers, by deadline and then by the order of arming.
type timers struct {
	heap  []*timer
	order uint64
}

// arm sets t to fire at deadline, whether it was armed or not.
func (h *timers) arm(t *timer, deadline int64) {
	t.deadline = deadline
	if t.armed() {
		if deadline < t.key {
			t.key = deadline
			h.up(t.index - 1)
		}
		return
	}
	h.order++
	t.order, t.key = h.order, deadline
	h.heap = append(h.heap, t)
	t.index = len(h.heap)
	h.up(t.index - 1)
}

// stop disarms t.
func (h *timers) stop(t *timer) {
	if !t.armed() {
		return
	}
	i, last := t.index-1, len(h.heap)-1
	moved := h.heap[last]
	h.heap[last] = nil
	h.heap = h.heap[:last]
	t.index = 0
	if i == last {
		return
	}
	h.put(i, moved)
	h.up(i)
	h.down(moved.index - 1)
}

// expired takes the next timer that is due at now, or nil.
func (h *timers) expired(now int64) *timer {
	for len(h.heap) > 0 && h.heap[0].key <= now {
		t := h.heap[0]
		if t.deadline <= now {
			h.stop(t)
			return t
		}
		t.key = t.deadline
		h.down(0)
	}
	return nil
}

// next is when something may be due; 0: nothing is armed.
func (h *timers) next() int64 {
	if len(h.heap) == 0 {
		return 0
	}
	return h.heap[0].key
}

func (h *timers) less(a, b *timer) bool {
	return a.key < b.key || a.key == b.key && a.order < b.order
}

func (h *timers) put(i int, t *timer) {
	h.heap[i] = t
	t.index = i + 1
}

func (h *timers) up(i int) {
	t := h.heap[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(t, h.heap[parent]) {
			break
		}
		h.put(i, h.heap[parent])
		i = parent
	}
	h.put(i, t)
}

func (h *timers) down(i int) {
	t := h.heap[i]
	for {
		child := 2*i + 1
		if child >= len(h.heap) {
			break
		}
		if right := child + 1; right < len(h.heap) && h.less(h.heap[right], h.heap[child]) {
			child = right
		}
		if !h.less(h.heap[child], t) {
			break
		}
		h.put(i, h.heap[child])
		i = child
	}
	h.put(i, t)
}
