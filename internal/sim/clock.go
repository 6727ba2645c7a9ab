package sim

import (
	"container/heap"
	"math"
)

// clock is CLOCK_MONOTONIC, CLOCK_REALTIME, and what is going to happen. Things
// due at the same time happen in the order in which they were planned.
type clock struct {
	now       int64
	wallAhead int64 // CLOCK_REALTIME minus CLOCK_MONOTONIC
	planned   eventHeap
	made      uint64
}

// event is one thing that is going to happen.
type event struct {
	at, order int64
	run       func()
	gone      bool // called off, or over
}

func (c *clock) add(at int64, run func()) *event {
	c.made++
	e := &event{at: at, order: int64(c.made), run: run}
	heap.Push(&c.planned, e)
	return e
}

func (c *clock) drop() {
	for len(c.planned) > 0 && c.planned[0].gone {
		heap.Pop(&c.planned)
	}
}

func (c *clock) next() int64 {
	c.drop()
	if len(c.planned) == 0 {
		return math.MaxInt64
	}
	return c.planned[0].at
}

// pop takes the earliest event that is due by to, or returns nil.
func (c *clock) pop(to int64) *event {
	c.drop()
	if len(c.planned) == 0 || c.planned[0].at > to {
		return nil
	}
	e := heap.Pop(&c.planned).(*event)
	e.gone = true
	return e
}

type eventHeap []*event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].order < h[j].order
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(*event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}

// AdjustWall moves CLOCK_REALTIME by so many nanoseconds against CLOCK_MONOTONIC,
// as an operator or NTP does.
func (w *World) AdjustWall(nanos int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock.wallAhead += nanos
	w.note(traceWorld, "adjust wall", nanos)
}
