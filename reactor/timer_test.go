package reactor

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTimersFireInOrder(t *testing.T) {
	c := &Core{Now: 1000}
	r := rand.New(rand.NewPCG(9, 9))
	const n = 2000
	timers := make([]Timer, n)
	due := make([]int64, n)
	var fired []int
	arm := func(i int) {
		due[i] = r.Int64N(500)
		c.After(due[i], &timers[i], fire(func(*Timer) { fired = append(fired, i) }))
	}
	for i := range timers {
		arm(i)
	}
	cancelled := map[int]bool{}
	for range n / 2 {
		i := r.IntN(n)
		if r.IntN(2) == 0 {
			c.Cancel(&timers[i])
			c.Cancel(&timers[i])
			cancelled[i] = true
		} else {
			arm(i) // moves it
			delete(cancelled, i)
		}
	}
	for now := c.Now; now <= 1500; now += 50 {
		c.timers.fire(now)
		if next := c.timers.next(); next <= now {
			t.Fatalf("a timer of %d is left at %d", next, now)
		}
		for _, i := range fired {
			if due[i]+1000 > now {
				t.Fatalf("timer of %d fired by %d", due[i]+1000, now)
			}
		}
	}
	if len(fired)+len(cancelled) != n {
		t.Errorf("%d fired, %d cancelled of %d", len(fired), len(cancelled), n)
	}
	if !slices.IsSortedFunc(fired, func(a, b int) int { return int(due[a] - due[b]) }) {
		t.Error("fired out of order")
	}
	for _, i := range fired {
		if cancelled[i] || timers[i].Armed() {
			t.Errorf("timer %d: cancelled %v, armed %v", i, cancelled[i], timers[i].Armed())
		}
	}
}

// TestTimerRearmsItself: a timer armed for now by a handler waits for the next
// turn, so that a turn ends.
func TestTimerRearmsItself(t *testing.T) {
	c := &Core{Now: 10}
	var timer Timer
	n := 0
	var again fire
	again = func(*Timer) { n++; c.After(0, &timer, again) }
	c.After(0, &timer, again)
	for turn := 1; turn <= 3; turn++ {
		if fired := c.timers.fire(c.Now); fired != 1 || n != turn {
			t.Fatalf("turn %d: fired %d, %d times in all", turn, fired, n)
		}
	}
}

func TestTimersDoNotAllocate(t *testing.T) {
	c := &Core{}
	timers := make([]Timer, 100)
	h := fire(func(*Timer) {})
	step := func() {
		for i := range timers {
			c.After(int64(i%7), &timers[i], h)
		}
		c.Cancel(&timers[50])
		c.timers.fire(c.Now + 100)
	}
	step()
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
