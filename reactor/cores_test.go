package reactor

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"slipstream/ring"
)

// square is a Job that comes back as a Message.
type square struct {
	n, result int
	done      chan int
	silent    bool
}

func (j *square) Work(k ring.Kernel) Message {
	j.result = j.n * j.n
	if j.silent {
		return nil
	}
	return j
}

func (j *square) Deliver(*Core) { j.done <- j.result }

// refusing is Helpers that are full every other time.
type refusing struct {
	Helpers
	n int
}

func (h *refusing) Submit(c *Core, j Job) bool {
	h.n++
	return h.n%2 == 0 && h.Helpers.Submit(c, j)
}

func TestOffload(t *testing.T) {
	pool := NewHelpers(3)
	defer pool.Close()
	for name, helpers := range map[string]Helpers{"pool": pool, "full at times": &refusing{Helpers: pool}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, Config{Helpers: helpers}, newEcho(echoAtOnce))
			done := make(chan int, 1000)
			want, got := 0, 0
			s.on(0, func(c *Core) {
				for i := range 500 {
					c.Offload(&square{n: i, done: done})
					c.Offload(&square{n: i, silent: true})
					want += i * i
				}
			})
			for range 500 {
				got += <-done
			}
			if got != want {
				t.Errorf("sum of results %d, want %d", got, want)
			}
			s.eventually(0, "no job is out", func(c *Core) bool { return c.jobs == 0 && c.jobSpill.len() == 0 })
		})
	}
}

// TestTimersOnCore: under each waiting policy timers fire, not early, and soon.
func TestTimersOnCore(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		for wait := Park; wait <= Adaptive; wait++ {
			s := serve(t, Config{Level: level, Wait: wait}, newEcho(echoAtOnce))
			fired := make(chan int64, 1)
			var timer Timer
			var due int64
			s.on(0, func(c *Core) {
				due = c.Now + int64(5*time.Millisecond)
				c.After(int64(5*time.Millisecond), &timer, fire(func(*Timer) { fired <- c.Now }))
			})
			select {
			case at := <-fired:
				if at < due || at > due+int64(time.Second) {
					t.Errorf("%v: fired %v after its time", wait, time.Duration(at-due))
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%v: the timer did not fire", wait)
			}
			s.stop()
		}
	})
}

// TestWaitPolicies serves under each and looks at what it did when idle.
func TestWaitPolicies(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		for wait := Park; wait <= Adaptive; wait++ {
			s := serve(t, Config{Level: level, Wait: wait, SpinNanos: int64(2 * time.Millisecond)}, newEcho(echoAtOnce))
			c := s.dial()
			for i := range 50 {
				if err := exchange(c, [][]byte{frame(i, 1000)}, 1); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(20 * time.Millisecond)
			before := s.stats(0)
			time.Sleep(30 * time.Millisecond)
			after := s.stats(0)
			idle, parks := after.Turns-before.Turns, after.Parks-before.Parks
			switch {
			case wait == Park && idle > 50:
				t.Errorf("parked: %d turns while idle", idle)
			case wait == Spin && (parks > 0 || idle < 20):
				t.Errorf("spinning: %d turns and %d parks while idle", idle, parks)
			case wait == Adaptive && parks == 0:
				t.Errorf("adaptive: never parked in %d turns", idle)
			}
			s.stop()
		}
	})
	if _, err := ParseWait("sleep"); err == nil || !strings.Contains(err.Error(), "park, spin or adaptive") {
		t.Errorf("ParseWait: %v", err)
	}
	if w, err := ParseWait("adaptive"); err != nil || w != Adaptive {
		t.Errorf("ParseWait: %v, %v", w, err)
	}
}

// TestDrain: requests under way are answered, frames after that are not
// dispatched, new connections are refused, the service is waited for.
func TestDrain(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		var held []*Request
		var timer Timer
		var closedConns atomic.Int64
		asked := 0
		svc := &service{}
		svc.request = func(r *Request) Disposition { held = append(held, r); return Hold }
		svc.closed = func(*Conn) { closedConns.Add(1) }
		svc.started = func(c *Core) {
			c.After(int64(20*time.Millisecond), &timer, fire(func(*Timer) {
				for _, r := range held {
					echoFrame(r)
				}
			}))
		}
		svc.drained = func(c *Core) bool {
			if closedConns.Load() != 4 {
				t.Error("the service was asked before its connections were closed")
			}
			if asked++; asked == 1 {
				c.After(int64(10*time.Millisecond), &timer, fire(func(*Timer) { asked = 100 }))
			}
			return asked >= 100
		}
		s := serve(t, Config{Level: level}, svc)
		var conns []*net.TCPConn
		for i := range 4 {
			c := s.dial()
			// Two frames: the second is never dispatched.
			if _, err := c.Write(append(frame(i, 20_000*i), frame(9, 10)...)); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		s.eventually(0, "all are held", func(*Core) bool { return len(held) == 4 })
		s.on(0, func(c *Core) { c.Drain(c.Now + int64(5*time.Second)) })
		for i, c := range conns {
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			got, err := readFrame(c, make([]byte, 4))
			if err != nil || string(got) != string(frame(i, 20_000*i)) {
				t.Errorf("connection %d: the answer of a request under way: %v", i, err)
			}
			if n, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("connection %d: after it: %d bytes, %v, want the end", i, n, err)
			}
			c.Close()
		}
		if c, err := net.DialTimeout("tcp", s.addr.String(), time.Second); err == nil {
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a draining core served a new connection")
			}
			c.Close()
		}
		s.stop()
		if asked < 100 || len(held) != 4 {
			t.Errorf("stopped after asking the service %d times, with %d requests", asked, len(held))
		}
	})
}

// TestDrainDeadline closes what does not leave in time.
func TestDrainDeadline(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level, Limits: Limits{MaxPendingBytesPerConn: 256 << 10}}, newEcho(echoAtOnce))
		c := s.dialSlow(4096)
		go func() {
			for i := range 400 {
				if _, err := c.Write(frame(i, 100_000)); err != nil {
					return
				}
			}
		}()
		s.eventually(0, "stuck", func(c *Core) bool { return c.Stats.DispatchPaused > 0 })
		start := time.Now()
		s.on(0, func(c *Core) { c.Drain(c.Now + int64(50*time.Millisecond)) })
		s.stop()
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("draining past a stuck reader took %v", took)
		}
	})
}

// TestStartErrors: limits that cannot work and a ring that is refused are said.
func TestStartErrors(t *testing.T) {
	for _, c := range []struct {
		limits Limits
		want   string
	}{
		{Limits{MaxFrameBytes: 2 << 30}, "MaxFrameBytes"},
		{Limits{ProvidedBuffers: 3}, "power of two"},
		{Limits{MailboxEntries: 100}, "MailboxEntries"},
		{Limits{ArenaBytes: 1 << 20}, "ArenaBytes"},
		{Limits{OpSlots: 10}, "OpSlots"},
	} {
		err := NewCore(Config{Kernel: ring.NewLinux(), Limits: c.limits}, newEcho(echoAtOnce)).Run()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.want, err)
		}
	}
	err := NewCore(Config{Kernel: noRing{ring.NewLinux()}}, newEcho(echoAtOnce)).Run()
	var refused *ring.RefusedError
	if !errors.As(err, &refused) {
		t.Errorf("a refused ring: %v", err)
	}
}

// noRing is a kernel that refuses rings.
type noRing struct{ ring.Linux }

func (noRing) Setup(uint32, *ring.Params) (*ring.Mapping, error) { return nil, syscall.EPERM }

// TestFinishFromOtherCore: requests finished by messages from other cores.
func TestFinishFromOtherCore(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		services := make([]Service, 2)
		for i := range services {
			svc := &service{}
			svc.request = func(r *Request) Disposition {
				home := r.Conn.Core
				home.Send(home.peers[1-home.ID].core, call(func(other *Core) {
					other.Send(home, call(func(*Core) { echoFrame(r) }))
				}))
				return Next
			}
			services[i] = svc
		}
		s := serve(t, Config{Level: level, Limits: Limits{MailboxEntries: 16}}, services...)
		var wait sync.WaitGroup
		for i := range 8 {
			c := s.dial()
			wait.Go(func() {
				if err := exchange(c, mixedFrames(i, 60), uint64(i)); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	})
}

// TestOpTable: completions of another generation, or of nothing, reach nobody.
func TestOpTable(t *testing.T) {
	table := newOpTable(2000)
	h := (*eventRead)(nil)
	var taken []uint64
	for {
		userData, ok := table.take(h, 7)
		if !ok {
			break
		}
		if table.find(userData) == nil {
			t.Fatal("a slot in use was not found")
		}
		taken = append(taken, userData)
	}
	if len(taken) != 2000 || table.inFlight != 2000 {
		t.Errorf("%d slots of 2000", len(taken))
	}
	for _, u := range taken {
		table.put(u, table.find(u))
		if table.find(u) != nil {
			t.Fatal("a freed slot was found")
		}
	}
	again, _ := table.take(h, 8)
	for _, u := range taken {
		if u == again {
			t.Fatal("user data was used twice")
		}
	}
	for _, u := range []uint64{0, 1, userDataRinging, 5000, 1 << 63, ^uint64(0)} {
		if u != again && table.find(u) != nil {
			t.Errorf("user data %#x was found", u)
		}
	}
}
