package ring

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNop(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		h.get(7, (*SQE).PrepNop)
		if h.ring.Pending() != 1 || h.ring.Ready() != 0 {
			h.Errorf("%d pending, %d ready, want 1 and 0", h.ring.Pending(), h.ring.Ready())
		}
		h.want(h.await(1)[0], 7, 0)
		if h.ring.Pending() != 0 || h.ring.Ready() != 0 {
			h.Errorf("%d pending, %d ready afterwards", h.ring.Pending(), h.ring.Ready())
		}
	})
}

func TestBatchIsOneEnter(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		const n = 50
		before := h.ring.Counters
		for i := range uint64(n) {
			h.get(i, (*SQE).PrepNop)
		}
		if err := h.ring.Enter(n, -1); err != nil {
			h.Fatal(err)
		}
		var got [n + 1]CQE
		if reaped := h.ring.Reap(got[:]); reaped != n {
			h.Fatalf("reaped %d, want %d", reaped, n)
		}
		for i := range uint64(n) {
			h.want(got[i], i, 0)
		}
		after := h.ring.Counters
		if enters, sqes, cqes := after.Enters-before.Enters, after.SQEs-before.SQEs, after.CQEs-before.CQEs; enters != 1 || sqes != n || cqes != n {
			h.Errorf("%d enters, %d entries, %d completions; want 1, %d, %d", enters, sqes, cqes, n, n)
		}
	})
}

func TestFullQueueSubmitsFirst(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		n := h.ring.Entries()
		for i := range 2*n + 1 {
			h.get(uint64(i), (*SQE).PrepNop)
		}
		if got := h.ring.Counters.FullSubmits; got != 2 {
			h.Errorf("%d submits of a full queue, want 2", got)
		}
		for i, c := range h.await(2*n + 1) {
			h.want(c, uint64(i), 0)
		}
	})
}

func TestReserveKeepsAChainTogether(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		n := h.ring.Entries()
		for i := range n - 1 {
			h.get(uint64(i), (*SQE).PrepNop)
		}
		h.ring.Reserve(2)
		if h.ring.Pending() != 0 {
			h.Errorf("%d still pending: a chain of two would be cut", h.ring.Pending())
		}
		h.get(1000, (*SQE).PrepNop).Flags = SQEIOLink
		h.get(1001, (*SQE).PrepNop)
		h.await(n + 1)
	})
}

func TestBadEntryDoesNotStopABatch(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		for i := range uint64(5) {
			s := h.get(i, (*SQE).PrepNop)
			if i == 2 {
				s.Opcode = noSuchOp
			}
		}
		if err := h.ring.Enter(0, 0); err != nil {
			h.Fatal(err)
		}
		if h.ring.Pending() != 0 {
			h.Errorf("%d left unsubmitted", h.ring.Pending())
		}
		got := h.await(5)
		for i := range uint64(5) {
			if want := h.byData(got, i); i == 2 {
				h.wantErrno(want, i, unix.EINVAL)
			} else {
				h.want(want, i, 0)
			}
		}
	})
}

func TestFailedLinkCancelsTheRest(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		mem := h.memory(16)
		h.get(1, func(s *SQE) { s.PrepRead(-1, pointer(mem), 16, 0) }).Flags = SQEIOLink
		h.get(2, (*SQE).PrepNop).Flags = SQEIOLink
		h.get(3, (*SQE).PrepNop)
		h.get(4, (*SQE).PrepNop)
		got := h.await(4)
		h.wantErrno(h.byData(got, 1), 1, unix.EBADF)
		h.wantErrno(h.byData(got, 2), 2, unix.ECANCELED)
		h.wantErrno(h.byData(got, 3), 3, unix.ECANCELED)
		h.want(h.byData(got, 4), 4, 0)
	})
}

func TestSkippedCompletion(t *testing.T) {
	atLevels(t, Level61, func(h *harness) {
		h.get(1, (*SQE).PrepNop).Flags = SQECQESkipSuccess
		h.get(2, (*SQE).PrepNop)
		if got := h.await(1); len(got) != 1 {
			h.Errorf("completions %+v, want only user data 2", got)
		} else {
			h.want(got[0], 2, 0)
		}
	})
}

// TestNewerOperations shows that the 5.15 tests mean something: what 5.15 does not
// have gets EINVAL there and only there. (Each fails in its own way where it is
// known.)
func TestNewerOperations(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		for name, prep := range map[string]func(s *SQE){
			"MSG_RING":         func(s *SQE) { s.PrepMsgRing(-1, 1, 5, 0) },
			"multishot accept": func(s *SQE) { s.PrepMultishotAccept(-1, nil, nil, 0) },
			"CQE_SKIP":         func(s *SQE) { s.PrepFsync(-1, 0); s.Flags = SQECQESkipSuccess },
			"cancel by fd":     func(s *SQE) { s.PrepCancelFD(h.ring.FD(), 0) },
			"SOCKET":           func(s *SQE) { s.PrepSocket(-1, 1, 0, 0) },
		} {
			c := h.one(prep)
			if refused := c.Errno() == unix.EINVAL; refused != (h.level == Level515) {
				h.Errorf("%s: result %d (%v)", name, c.Res, c.Errno())
			}
		}
	})
}

func TestCompletionOverflowLosesNothing(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		h.ring = h.newRing(Options{Entries: 4, CQEntries: 4})
		const n = 40
		for i := range uint64(n) {
			h.get(i, (*SQE).PrepNop)
		}
		if err := h.ring.Enter(0, 0); err != nil {
			h.Fatal(err)
		}
		for i, c := range h.await(n) {
			h.want(c, uint64(i), 0)
		}
		if c := h.ring.Counters; c.Overflows == 0 || c.Dropped != 0 {
			h.Errorf("%d overflows, %d dropped; want some and none", c.Overflows, c.Dropped)
		}
	})
}

func TestEnterWithNothingToDo(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		before := h.ring.Counters
		start := time.Now()
		for range 100 {
			if err := h.ring.Enter(0, 0); err != nil {
				h.Fatal(err)
			}
		}
		if took := time.Since(start); took > time.Second {
			h.Errorf("100 enters that must not block took %s", took)
		}
		if skips := h.ring.Counters.Skips - before.Skips; skips != 100 {
			h.Errorf("%d of 100 needless enters were saved", skips)
		}
	})
}

// TestCompletionSeenWithoutWaiting is the spinning core: a completion that comes
// from outside is found by Enter(0) and Reap alone.
func TestCompletionSeenWithoutWaiting(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		r, w := h.pipe()
		mem := h.memory(8)
		h.get(1, func(s *SQE) { s.PrepRead(r, pointer(mem), 8, CurrentPosition) })
		if err := h.ring.Enter(0, 0); err != nil {
			h.Fatal(err)
		}
		h.write(w, "spin")
		var got [2]CQE
		deadline := time.Now().Add(patience)
		for h.ring.Reap(got[:]) == 0 {
			if err := h.ring.Enter(0, 0); err != nil {
				h.Fatal(err)
			}
			if time.Now().After(deadline) {
				h.Fatal("no completion")
			}
		}
		h.want(got[0], 1, 4)
		if h.ring.Counters.Waits != 0 {
			h.Errorf("%d waits, want none", h.ring.Counters.Waits)
		}
	})
}

func TestEnterTimeout(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		const limit = 30 * time.Millisecond
		start := time.Now()
		if err := h.ring.Enter(1, int64(limit)); err != nil {
			h.Fatal(err)
		}
		if took := time.Since(start); took < limit || took > patience {
			h.Errorf("waited %s, want %s", took, limit)
		}
		start = time.Now()
		if err := h.ring.Enter(1, 0); err != nil {
			h.Fatal(err)
		}
		if took := time.Since(start); took > patience {
			h.Errorf("a wait of 0 ns took %s", took)
		}
	})
}

// TestWaitWithEntriesTimesOut: the time is up before the wanted
// number is there, although something was submitted.
func TestWaitWithEntriesTimesOut(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		h.get(1, (*SQE).PrepNop)
		if err := h.ring.Enter(2, int64(20*time.Millisecond)); err != nil {
			h.Fatal(err)
		}
		var got [2]CQE
		if n := h.ring.Reap(got[:]); n != 1 {
			h.Errorf("reaped %d, want the one that was ready", n)
		}
	})
}

func TestWrongThread(t *testing.T) {
	atLevels(t, Level61, func(h *harness) {
		failed := make(chan error)
		h.get(1, (*SQE).PrepNop)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			failed <- h.ring.Enter(1, int64(time.Second))
		}()
		err := <-failed
		if err == nil || !strings.Contains(err.Error(), "another thread") {
			h.Fatalf("error %v, want one that speaks of another thread", err)
		}
		// The ring is given up: Get still gives an entry, and Enter still says why.
		h.get(2, (*SQE).PrepNop)
		for range h.ring.Entries() + 1 {
			if h.ring.Get() == nil {
				h.Fatal("Get returned nil")
			}
		}
		if again := h.ring.Enter(0, 0); again == nil || again.Error() != err.Error() {
			h.Errorf("then %v, want %v", again, err)
		}
	})
}

func TestNoAllocations(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		var got [64]CQE
		mem := h.memory(64)
		r, w := h.pipe()
		round := func() {
			for i := range uint64(10) {
				s := h.ring.Get()
				s.PrepNop()
				s.UserData = i
			}
			s := h.ring.Get()
			s.PrepWrite(w, pointer(mem), 8, CurrentPosition)
			s = h.ring.Get()
			s.PrepRead(r, pointer(mem), 8, CurrentPosition)
			for n := 0; n < 12; {
				if err := h.ring.Enter(1, int64(time.Second)); err != nil {
					h.Fatal(err)
				}
				n += h.ring.Reap(got[:])
			}
			if err := h.ring.Enter(0, 0); err != nil {
				h.Fatal(err)
			}
		}
		if n := testing.AllocsPerRun(100, round); n != 0 {
			h.Errorf("%v allocations a round, want 0", n)
		}
	})
}

func TestRingSizes(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		r := h.newRing(Options{Entries: 5, CQEntries: 100})
		if r.Entries() != 8 || r.CQEntries() != 128 {
			h.Errorf("%d and %d entries, want 8 and 128", r.Entries(), r.CQEntries())
		}
		if r.Level() != h.level {
			h.Errorf("level %s", r.Level())
		}
		r = h.newRing(Options{Features: *r.Features()})
		if r.Entries() != defaultEntries || r.CQEntries() != defaultEntries*cqPerSQ {
			h.Errorf("%d and %d entries by default", r.Entries(), r.CQEntries())
		}
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			h.Errorf("closing twice: %v", err)
		}
	})
}

func TestMsgRingBetweenThreads(t *testing.T) {
	atLevels(t, Level61, func(h *harness) {
		other := make(chan int) // the ring's descriptor
		result := make(chan CQE)
		go func() {
			runtime.LockOSThread()
			r, err := New(h.kernel, Options{Entries: 8, Level: h.level})
			if err != nil {
				h.Error(err)
				close(other)
				return
			}
			other <- r.FD()
			var got [1]CQE
			deadline := time.Now().Add(patience)
			for r.Reap(got[:]) == 0 && time.Now().Before(deadline) {
				if err := r.Enter(1, int64(time.Second)); err != nil {
					h.Error(err)
				}
			}
			r.Close()
			result <- got[0]
		}()
		target, ok := <-other
		if !ok {
			return
		}
		time.Sleep(10 * time.Millisecond) // most often it is blocked in Enter by now
		h.want(h.one(func(s *SQE) { s.PrepMsgRing(target, 42, 0xfeed, 0) }), 0x0123456789abcdef, 0)
		h.want(<-result, 0xfeed, 42)
	})
}

func TestMsgRingOnOneThread(t *testing.T) {
	atLevels(t, Level61, func(h *harness) {
		target := h.newRing(Options{Entries: 8})
		for i := range uint64(3) {
			h.get(i, func(s *SQE) { s.PrepMsgRing(target.FD(), uint32(i), 100+i, 0) }).Flags = SQECQESkipSuccess
		}
		h.get(9, (*SQE).PrepNop)
		h.want(h.await(1)[0], 9, 0)
		for i, c := range h.awaitOn(target, 3) {
			h.want(c, 100+uint64(i), int32(i))
		}
	})
}

func TestEventfdWakes(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		fd, err := h.kernel.Eventfd()
		if err != nil {
			h.Fatal(err)
		}
		defer unix.Close(fd)
		mem := h.memory(8)
		h.get(1, func(s *SQE) { s.PrepRead(fd, pointer(mem), 8, 0) })
		h.quiet()
		signalled := make(chan bool)
		go func() {
			h.kernel.Signal(fd)
			h.kernel.Signal(fd)
			close(signalled)
		}()
		h.want(h.await(1)[0], 1, 8)
		<-signalled // the descriptor's number may be another's once it is closed
		if mem[0] < 1 || mem[0] > 2 {
			h.Errorf("counter %d", mem[0])
		}
	})
}
