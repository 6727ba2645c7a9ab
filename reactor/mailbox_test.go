package reactor

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/ring"
)

func TestQueue(t *testing.T) {
	var q queue[int]
	next, want := 0, 0
	for round := range 1000 {
		for range round % 37 {
			q.push(next)
			next++
		}
		for range round % 31 {
			if q.len() == 0 {
				break
			}
			if v := q.pop(); v != want {
				t.Fatalf("popped %d, want %d", v, want)
			}
			want++
		}
	}
	if q.len() != next-want {
		t.Errorf("%d left, want %d", q.len(), next-want)
	}
}

// TestMailboxRace runs both sides of one mailbox at once (go test -race).
func TestMailboxRace(t *testing.T) {
	box := newMailbox(8)
	const n = 20_000
	var got []int
	var receiver sync.WaitGroup
	receiver.Go(func() {
		for len(got) < n {
			runtime.Gosched()
			box.refresh()
			for m := box.take(); m != nil; m = box.take() {
				m.Deliver(nil)
			}
		}
	})
	for i := range n {
		m := call(func(*Core) { got = append(got, i) })
		for !box.put(m) {
			time.Sleep(time.Microsecond)
		}
	}
	receiver.Wait()
	for i, v := range got {
		if i != v {
			t.Fatalf("message %d came in place %d", v, i)
		}
	}
}

// ball goes back and forth between two cores.
type ball struct {
	cores []*Core
	left  int
	done  chan struct{}
}

func (b *ball) Deliver(c *Core) {
	if b.left--; b.left == 0 {
		close(b.done)
		return
	}
	c.Send(b.cores[(c.ID+1)%len(b.cores)], b)
}

// TestSendPingPong plays balls between parked, spinning and adaptive cores.
func TestSendPingPong(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		for wait := Park; wait <= Adaptive; wait++ {
			for _, cores := range []int{2, 3} {
				if wait == Spin && cores > runtime.GOMAXPROCS(0)-1 {
					cores = 1 // more would only take the processors from each other
				}
				t.Run(fmt.Sprint(wait, cores), func(t *testing.T) {
					services := make([]Service, cores)
					for i := range services {
						services[i] = newEcho(echoAtOnce)
					}
					s := serve(t, Config{Level: level, Wait: wait, SpinNanos: 10_000}, services...)
					balls := make([]*ball, 3)
					for i := range balls {
						balls[i] = &ball{cores: s.cores, left: 100, done: make(chan struct{})}
						s.cores[i%cores].Inject(balls[i])
					}
					for _, b := range balls {
						select {
						case <-b.done:
						case <-time.After(20 * time.Second):
							t.Fatalf("a ball was lost with %d throws left", b.left)
						}
					}
				})
			}
		}
	})
}

// numbered counts up on its receiver, which wants all of one sender in order.
type numbered struct {
	n    int
	next *int
	bad  *atomic.Int64
	all  *sync.WaitGroup
}

func (m *numbered) Deliver(*Core) {
	if *m.next != m.n {
		m.bad.Add(1)
	}
	*m.next = m.n + 1
	m.all.Done()
}

// TestSendSpills sends far more than a ring holds: nothing is lost, order holds.
func TestSendSpills(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level, Limits: Limits{MailboxEntries: 8}}, newEcho(echoAtOnce), newEcho(echoAtOnce))
		var all sync.WaitGroup
		var bad atomic.Int64
		var next [2]int
		const n = 5000
		all.Add(2 * n)
		for from := range 2 {
			s.on(from, func(c *Core) {
				for i := range n {
					c.Send(s.cores[1-from], &numbered{i, &next[from], &bad, &all})
				}
			})
		}
		all.Wait()
		if bad.Load() != 0 {
			t.Errorf("%d messages out of order", bad.Load())
		}
		if stats := s.stats(0); stats.MessagesSpilled == 0 {
			t.Error("nothing was spilled")
		}
	})
}

// TestSendToSelf delivers in a later turn, never inside Send.
func TestSendToSelf(t *testing.T) {
	s := serve(t, Config{}, newEcho(echoAtOnce))
	done := make(chan bool, 1)
	s.on(0, func(c *Core) {
		inside := true
		c.Send(c, call(func(*Core) { done <- inside }))
		inside = false
	})
	if <-done {
		t.Error("delivered inside Send")
	}
}

// TestInject delivers everything that many goroutines inject, and says no when
// the queue is full or the core has stopped.
func TestInject(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level, Limits: Limits{InjectEntries: 64}}, newEcho(echoAtOnce))
		var taken, delivered atomic.Int64
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				for i := range 500 {
					for !s.cores[0].Inject(call(func(*Core) { delivered.Add(1) })) {
						time.Sleep(10 * time.Microsecond)
					}
					taken.Add(1)
					if i%50 == 0 {
						time.Sleep(time.Millisecond) // lets the core park
					}
				}
			})
		}
		wait.Wait()
		s.eventually(0, "all are delivered", func(*Core) bool { return delivered.Load() == taken.Load() })

		release := make(chan struct{})
		started := make(chan struct{})
		s.cores[0].Inject(call(func(*Core) { close(started); <-release }))
		<-started
		n := 0
		for s.cores[0].Inject(call(func(*Core) {})) {
			n++
		}
		close(release)
		if n != 64 {
			t.Errorf("a queue of 64 took %d", n)
		}
		s.stop()
		if s.cores[0].Inject(call(func(*Core) {})) {
			t.Error("a stopped core took a message")
		}
	})
}
