package reactor

// MemoryWaiter is a place in the line of those who found the arena full. It is
// embedded in what waits; waiting does not allocate.
type MemoryWaiter struct {
	handler    MemoryHandler
	next, prev *MemoryWaiter
	waiting    bool
}

// MemoryHandler is told, on the core, that memory was freed. It tries its
// allocation again and, if that fails, waits again: it keeps its place.
type MemoryHandler interface{ MemoryFreed(w *MemoryWaiter) }

// Waiting reports whether w is in line.
func (w *MemoryWaiter) Waiting() bool { return w.waiting }

type waiterList struct{ head, tail *MemoryWaiter }

func (l *waiterList) pushBack(w *MemoryWaiter) {
	w.prev, w.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = w
	} else {
		l.head = w
	}
	l.tail = w
}

func (l *waiterList) pushFront(w *MemoryWaiter) {
	w.prev, w.next = nil, l.head
	if l.head != nil {
		l.head.prev = w
	} else {
		l.tail = w
	}
	l.head = w
}

func (l *waiterList) remove(w *MemoryWaiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.tail = w.prev
	}
	w.next, w.prev = nil, nil
}

// Await puts w in line to be told when memory is freed. Waiting twice is waiting
// once.
func (a *Arena) Await(w *MemoryWaiter, h MemoryHandler) {
	if w.waiting {
		return
	}
	w.handler, w.waiting = h, true
	if a.serving {
		a.waiters.pushFront(w)
		return
	}
	a.waiters.pushBack(w)
}

// Unwait takes w out of the line.
func (a *Arena) Unwait(w *MemoryWaiter) {
	if w.waiting {
		a.waiters.remove(w)
		w.waiting = false
	}
}

// serveWaiters tells the line that memory was freed, one after the other, until
// one finds none. It reports whether any was told.
func (a *Arena) serveWaiters() bool {
	if !a.freed || a.waiters.head == nil {
		return false
	}
	a.freed = false
	last := a.waiters.tail
	for {
		w := a.waiters.head
		if w == nil {
			return true
		}
		a.waiters.remove(w)
		w.waiting = false
		a.failed, a.serving = false, true
		w.handler.MemoryFreed(w)
		a.serving = false
		if a.failed || w.waiting || w == last {
			return true
		}
	}
}
