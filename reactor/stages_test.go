package reactor

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"slipstream/ring"
)

// handClock is the machine's kernel with a clock that only the test moves.
type handClock struct {
	ring.Kernel
	now int64
}

func (k *handClock) Monotonic() int64 { return k.now }

// stageRig is a core that the test turns, under a clock that the test moves.
type stageRig struct {
	t     *testing.T
	clock *handClock
	core  *Core
	addr  string
}

func newStageRig(t *testing.T, cfg Config, svc Service) *stageRig {
	t.Helper()
	runtime.LockOSThread() // a ring belongs to a thread
	k := &handClock{ring.NewLinux(), 1e9}
	cfg.Kernel, cfg.Limits = k, Limits{ArenaBytes: 64 << 20, BulkBytes: 256 << 10}
	core := NewCore(cfg, svc)
	fd, bound, err := k.Listen(anyPort, 16, false)
	if err != nil {
		t.Fatal(err)
	}
	core.Listen(fd)
	if err := core.Start(); err != nil {
		t.Fatal(err)
	}
	r := &stageRig{t, k, core, bound.String()}
	t.Cleanup(func() {
		core.Drain(core.Now)
		r.until("drained", func() bool { k.now += 1e6; return core.Stopped() })
		core.Close()
		runtime.UnlockOSThread()
	})
	return r
}

// until turns the core, while the clock stands still, until something is so.
func (r *stageRig) until(what string, is func() bool) {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(50 * time.Microsecond) {
		r.core.Turn(false)
		if time.Now().After(end) {
			r.t.Fatalf("not after 10 s: %s", what)
		}
	}
}

// pass lets a time go by, and the core see it.
func (r *stageRig) pass(nanos int64) {
	r.clock.now += nanos
	r.core.Turn(false)
}

func (r *stageRig) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	opened := r.core.Stats.ConnectionsOpened
	r.until("accepted", func() bool { return r.core.Stats.ConnectionsOpened > opened })
	return c
}

func (r *stageRig) write(c net.Conn, b []byte) {
	r.t.Helper()
	if _, err := c.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// recorded waits until n requests of a kind have left, and checks that the stages
// of all of them together took what want says, and add up.
func (r *stageRig) recorded(kind uint8, n uint64, want map[Stage]int64) {
	r.t.Helper()
	r.until("recorded", func() bool { h := r.core.Latency[kind]; return h != nil && h.Total.Count() == n })
	h := r.core.Latency[kind]
	for s := range h.Stages {
		if got := int64(h.Stages[s].Nanos); got != want[Stage(s)] {
			r.t.Errorf("%d requests spent %d ns on %s, want %d", n, got, Stage(s), want[Stage(s)])
		}
	}
	checkStages(r.t, r.core)
}

// checkStages checks that the stages of all requests add up to their totals.
func checkStages(t *testing.T, c *Core) {
	t.Helper()
	for kind, h := range c.Latency {
		if h == nil {
			continue
		}
		var all uint64
		for s := range h.Stages {
			all += h.Stages[s].Nanos
			if h.Stages[s].Count() != h.Total.Count() {
				t.Errorf("kind %d: %d requests are counted for stage %s, %d in all", kind, h.Stages[s].Count(), Stage(s), h.Total.Count())
			}
		}
		if all != h.Total.Nanos || h.Received.Nanos+h.Stages[StageReceive].Nanos != h.Total.Nanos {
			t.Errorf("kind %d: the stages add up to %d ns and the totals to %d; without %s %d", kind, all, h.Total.Nanos, StageReceive, h.Received.Nanos)
		}
	}
}

// holder keeps requests until the test finishes them.
type holder struct {
	service
	how  Disposition
	kept []*Request
}

func newHolder(how Disposition) *holder {
	h := &holder{how: how}
	h.request = func(r *Request) Disposition {
		r.Kind = 1
		h.kept = append(h.kept, r)
		return h.how
	}
	return h
}

// finish answers the i-th of those that are kept with n bytes.
func (h *holder) finish(i, n int) {
	r := h.kept[i]
	h.kept = append(h.kept[:i:i], h.kept[i+1:]...)
	b := r.Conn.Core.Arena.Alloc(n)
	r.AddBlock(b, 0, n)
	r.Finish()
}

// TestStages: each kind of waiting shows in the stage that owns it, and nowhere else.
func TestStages(t *testing.T) {
	const ms = int64(1e6)
	stories := []struct {
		name string
		how  Disposition
		tell func(r *stageRig, h *holder)
	}{
		{"a client that sends slowly", Hold, func(r *stageRig, h *holder) {
			c, f := r.dial(), frame(1, 1000)
			r.write(c, f[:300])
			r.until("some of it", func() bool { return r.core.Stats.BytesReceived == 300 })
			r.pass(4 * ms)
			r.write(c, f[300:])
			r.until("dispatched", func() bool { return len(h.kept) == 1 })
			h.finish(0, 10)
			r.recorded(1, 1, map[Stage]int64{StageReceive: 4 * ms})
		}},
		{"a large frame that comes slowly", Hold, func(r *stageRig, h *holder) {
			c, f := r.dial(), frame(1, 200_000)
			for i, cut := range []int{2, 50_000, 100_000, len(f)} {
				from := []int{0, 2, 50_000, 100_000}[i]
				r.write(c, f[from:cut])
				r.until("some of it", func() bool { return r.core.Stats.BytesReceived == uint64(cut) })
				if cut < len(f) {
					r.pass(ms)
				}
			}
			r.until("dispatched", func() bool { return len(h.kept) == 1 })
			h.finish(0, 10)
			r.recorded(1, 1, map[Stage]int64{StageReceive: 3 * ms})
		}},
		{"an earlier request that holds the connection", Hold, func(r *stageRig, h *holder) {
			c := r.dial()
			r.write(c, append(frame(1, 100), frame(2, 100)...))
			r.until("dispatched", func() bool { return len(h.kept) == 1 })
			r.pass(5 * ms)
			h.kept[0].Spent(StageRemote, r.core.Clock)
			h.finish(0, 10)
			r.until("the next", func() bool { return len(h.kept) == 1 })
			h.finish(0, 10)
			r.recorded(1, 2, map[Stage]int64{StageRemote: 5 * ms, StageQueue: 5 * ms})
		}},
		{"work on the core", Hold, func(r *stageRig, h *holder) {
			c := r.dial()
			r.write(c, frame(1, 100))
			r.until("dispatched", func() bool { return len(h.kept) == 1 })
			r.pass(2 * ms)
			h.finish(0, 10)
			r.recorded(1, 1, map[Stage]int64{StageLocal: 2 * ms})
		}},
		{"a service that says what it waited for", Hold, func(r *stageRig, h *holder) {
			c := r.dial()
			r.write(c, frame(1, 100))
			r.until("dispatched", func() bool { return len(h.kept) == 1 })
			for _, s := range []Stage{StageLocal, StageQueue, StageRead, StageRemote, StageQueue} {
				r.pass(ms)
				h.kept[0].Spent(s, r.core.Clock)
			}
			h.kept[0].Spent(StageRemote, r.core.Clock-3*ms) // is accounted for
			h.finish(0, 10)
			r.recorded(1, 1, map[Stage]int64{StageLocal: ms, StageQueue: 2 * ms, StageRead: ms, StageRemote: ms})
		}},
		{"an earlier response that is not ready", Next, func(r *stageRig, h *holder) {
			c := r.dial()
			r.write(c, append(frame(1, 100), frame(2, 100)...))
			r.until("dispatched", func() bool { return len(h.kept) == 2 })
			h.finish(1, 10)
			r.pass(3 * ms)
			h.kept[0].Spent(StageRemote, r.core.Clock)
			h.finish(0, 10)
			r.recorded(1, 2, map[Stage]int64{StageRemote: 3 * ms, StageResponseQueue: 3 * ms})
		}},
		{"a client that reads slowly", Next, func(r *stageRig, h *holder) {
			c := r.dial()
			r.write(c, append(frame(1, 100), frame(2, 100)...))
			r.until("dispatched", func() bool { return len(h.kept) == 2 })
			h.finish(0, 16<<20)
			h.finish(0, 10)
			for range 20 { // until the socket is full
				r.core.Turn(false)
				time.Sleep(time.Millisecond)
			}
			r.pass(6 * ms)
			go io.Copy(io.Discard, c)
			r.recorded(1, 2, map[Stage]int64{StageResponseSend: 12 * ms}) // both by one SENDMSG
		}},
		{"a response behind one that is read slowly", Next, func(r *stageRig, h *holder) {
			c := r.dial()
			r.write(c, append(frame(1, 100), frame(2, 100)...))
			r.until("dispatched", func() bool { return len(h.kept) == 2 })
			h.finish(0, 16<<20)
			for range 20 {
				r.core.Turn(false)
				time.Sleep(time.Millisecond)
			}
			h.finish(0, 10)
			r.pass(6 * ms)
			go io.Copy(io.Discard, c)
			r.recorded(1, 2, map[Stage]int64{StageResponseSend: 6 * ms, StageResponseQueue: 6 * ms})
		}},
		{"no answer at all", Next, func(r *stageRig, h *holder) {
			c := r.dial()
			r.write(c, frame(1, 100))
			r.until("dispatched", func() bool { return len(h.kept) == 1 })
			r.pass(ms)
			h.kept[0].FinishSilent()
			r.recorded(1, 1, map[Stage]int64{StageLocal: ms})
		}},
	}
	levels(t, func(t *testing.T, level ring.Level) {
		for _, s := range stories {
			t.Run(s.name, func(t *testing.T) {
				h := newHolder(s.how)
				s.tell(newStageRig(t, Config{Level: level}, h), h)
			})
		}
	})
}

// askForFile makes a request whose response is a header and all of a file, and one
// behind it whose response is ready.
func (r *stageRig) askForFile(h *holder, file *testFile) net.Conn {
	r.t.Helper()
	c := r.dial()
	r.write(c, append(frame(1, 100), frame(2, 100)...))
	r.until("dispatched", func() bool { return len(h.kept) == 2 })
	q := h.kept[0]
	h.kept = h.kept[1:]
	b := r.core.Arena.Alloc(100)
	q.AddBlock(b, 0, 100)
	file.refs.Add(1)
	q.AddFile(file, 0, len(file.data), Purpose{})
	q.Finish()
	h.finish(0, 10)
	return c
}

// TestStagesOfFiles: a response from a file to a client that reads slowly, by each
// rung; and one whose file has to be read from the disk.
func TestStagesOfFiles(t *testing.T) {
	const ms = int64(1e6)
	file := newTestFile(t, 32<<20)
	for _, rung := range []Rung{RungHot, RungBulk} {
		t.Run(rung.String()+", read slowly", func(t *testing.T) {
			h := newHolder(Next)
			r := newStageRig(t, Config{Rung: rung}, h)
			c := r.askForFile(h, file)
			for range 50 {
				r.core.Turn(false)
				time.Sleep(100 * time.Microsecond)
			}
			if left := r.core.Stats.BytesSent; left == 0 || left > 31<<20 {
				t.Fatalf("the socket took %d bytes", left)
			}
			r.pass(8 * ms)
			go io.Copy(io.Discard, c)
			r.recorded(1, 2, map[Stage]int64{StageResponseSend: 8 * ms, StageResponseQueue: 8 * ms})
		})
	}
	t.Run("cold, from a slow disk", func(t *testing.T) {
		small := newTestFile(t, 3<<20)
		small.drop(t)
		h := newHolder(Next)
		r := newStageRig(t, Config{Rung: RungCold}, h)
		c := r.askForFile(h, small)
		r.core.Turn(false)
		if r.core.Stats.ColdWaits == 0 {
			t.Fatal("it does not wait for the disk")
		}
		r.pass(5 * ms)
		go io.Copy(io.Discard, c)
		r.recorded(1, 2, map[Stage]int64{StageRead: 5 * ms, StageResponseQueue: 5 * ms})
	})
	t.Run("cold, read slowly", func(t *testing.T) {
		h := newHolder(Next)
		r := newStageRig(t, Config{Rung: RungCold}, h)
		c := r.askForFile(h, file)
		r.until("the socket is full", func() bool { return r.core.Stats.SendsBlocked > 0 })
		r.pass(8 * ms)
		go io.Copy(io.Discard, c)
		r.recorded(1, 2, map[Stage]int64{StageResponseSend: 8 * ms, StageResponseQueue: 8 * ms})
	})
}

// TestDroppedResponsesAreNotTimed: a response that nobody got has no time to send.
func TestDroppedResponsesAreNotTimed(t *testing.T) {
	h := newHolder(Next)
	r := newStageRig(t, Config{}, h)
	c := r.dial()
	r.write(c, append(frame(1, 100), frame(2, 100)...))
	r.until("dispatched", func() bool { return len(h.kept) == 2 })
	h.kept[0].Conn.Close()
	h.finish(0, 10)
	h.finish(0, 10)
	r.until("closed", func() bool { return r.core.Connections() == 0 })
	if r.core.Stats.ResponsesDropped != 2 || r.core.Latency[1] != nil {
		t.Errorf("%d responses were dropped, and %v was recorded", r.core.Stats.ResponsesDropped, r.core.Latency[1])
	}
}

// TestIdleTimeIsCounted: parked, spinning and busy time are told apart.
func TestIdleTimeIsCounted(t *testing.T) {
	h := newHolder(Hold)
	r := newStageRig(t, Config{}, h)
	c := r.dial()
	r.until("settled", func() bool { return !r.core.Turn(false) })
	before, turns := r.core.Stats, r.core.TurnTimes
	r.core.Turn(false)
	r.pass(3e6) // the turn before it found nothing
	if spun := r.core.Stats.SpunNanos - before.SpunNanos; spun != 3e6 {
		t.Errorf("%d ns of spinning are counted, want 3e6", spun)
	}
	r.write(c, frame(1, 100))
	r.until("dispatched", func() bool { return len(h.kept) == 1 })
	r.pass(2e6) // that turn did something
	if busy := r.core.TurnTimes.Nanos - turns.Nanos; busy != 2e6 {
		t.Errorf("turns with work are counted as %d ns, want 2e6", busy)
	}
	h.finish(0, 10)
	r.until("settled", func() bool { return !r.core.Turn(false) })
	go func() {
		time.Sleep(20 * time.Millisecond)
		r.core.Inject(call(func(*Core) {}))
	}()
	r.core.Turn(true) // waits for that
	before = r.core.Stats
	r.pass(7e6)
	if parked := r.core.Stats.ParkedNanos - before.ParkedNanos; parked != 7e6 {
		t.Errorf("%d ns of waiting are counted, want 7e6", parked)
	}
}

// TestReadingTheClockIsRare: a turn of many small requests reads the clock for some
// of them, not for each.
func TestReadingTheClockIsRare(t *testing.T) {
	k := &countingClock{Kernel: ring.NewLinux()}
	s := serve(t, Config{Kernel: k, Wait: Park}, newEcho(echoAtOnce))
	c := s.dial()
	const each, rounds = 32, 50
	var out []byte
	for range each {
		out = append(out, frame(1, 100)...)
	}
	in := make([]byte, len(out))
	var reads, turns uint64
	s.on(0, func(c *Core) { reads, turns = k.reads, c.Stats.Turns })
	for range rounds {
		if _, err := c.Write(out); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, in); err != nil {
			t.Fatal(err)
		}
	}
	s.on(0, func(c *Core) { reads, turns = k.reads-reads, c.Stats.Turns-turns })
	if limit := 2*turns + rounds*each/6; reads > limit {
		t.Errorf("%d requests in %d turns read the clock %d times, want at most %d", rounds*each, turns, reads, limit)
	}
}

// countingClock counts the readings of its one core.
type countingClock struct {
	ring.Kernel
	reads uint64
}

func (k *countingClock) Monotonic() int64 {
	k.reads++
	return k.Kernel.Monotonic()
}
