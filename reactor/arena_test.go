package reactor

import (
	"math/rand/v2"
	"testing"
)

func testArena(limit int) *Arena {
	c := &Core{}
	c.Arena = newArena(c, limit)
	return c.Arena
}

// mustPanic runs f, which must panic.
func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

func TestArenaSizes(t *testing.T) {
	a := testArena(64 << 20)
	for _, c := range []struct{ ask, get int }{
		{0, 512}, {1, 512}, {512, 512}, {513, 1024}, {4096, 4096}, {4097, 8192},
		{1 << 20, 1 << 20}, {1<<20 + 1, 1<<20 + 64<<10}, {5 << 20, 5 << 20},
	} {
		b := a.Alloc(c.ask)
		if b == nil || len(b.Bytes()) != c.ask || b.Size() != c.get || cap(b.Bytes()) != c.get {
			t.Fatalf("Alloc(%d): %v, want %d bytes", c.ask, b, c.get)
		}
		if a.InUse() != c.get {
			t.Errorf("Alloc(%d): %d in use", c.ask, a.InUse())
		}
		b.Release()
	}
	if a.InUse() != 0 {
		t.Errorf("%d in use at the end", a.InUse())
	}
}

// TestArenaRandom allocates and releases at random: no two live blocks overlap,
// the budget is kept, and nothing is left.
func TestArenaRandom(t *testing.T) {
	const limit = 24 << 20
	a := testArena(limit)
	r := rand.New(rand.NewPCG(5, 5))
	type held struct {
		b    *Block
		mark byte
	}
	var live []held
	refused := 0
	for i := range 60_000 {
		if len(live) > 0 && (r.IntN(100) < 48 || len(live) > 3000) {
			k := r.IntN(len(live))
			for _, v := range live[k].b.Bytes() {
				if v != live[k].mark {
					t.Fatal("a block was overwritten")
				}
			}
			live[k].b.Release()
			live[k] = live[len(live)-1]
			live = live[:len(live)-1]
			continue
		}
		n := 1 + r.IntN(2000)
		switch r.IntN(200) {
		case 0, 1, 2:
			n = r.IntN(256 << 10)
		case 3:
			n = r.IntN(3 << 20)
		}
		b := a.Alloc(n)
		if b == nil {
			refused++
			for _, h := range live[:len(live)/2] {
				h.b.Release()
			}
			live = live[len(live)/2:]
			continue
		}
		mark := byte(i)
		for j := range b.Bytes() {
			b.Bytes()[j] = mark
		}
		live = append(live, held{b, mark})
		if a.Mapped() > limit || a.InUse() > a.Mapped() {
			t.Fatalf("mapped %d, in use %d, limit %d", a.Mapped(), a.InUse(), limit)
		}
	}
	if refused == 0 {
		t.Error("the budget was never reached")
	}
	for _, h := range live {
		h.b.Release()
	}
	if a.InUse() != 0 {
		t.Errorf("%d in use at the end", a.InUse())
	}
	// Everything is one again: the whole budget can go to another class.
	n := 0
	for a.Alloc(1<<20) != nil {
		n++
	}
	if n != limit/superBytes {
		t.Errorf("after a mixed load %d blocks of 1 MiB fit, want %d", n, limit/superBytes)
	}
	a.close()
}

func TestArenaReserve(t *testing.T) {
	a := testArena(16 << 20)
	received := 0
	for a.allocReceive(1<<20) != nil {
		received++
	}
	if received != 14 {
		t.Errorf("receiving took %d MiB of 16, want 14", received)
	}
	if a.Alloc(100) == nil || a.Alloc(1<<20) == nil {
		t.Error("nothing was left for responses")
	}
}

func TestArenaReferences(t *testing.T) {
	a := testArena(16 << 20)
	b := a.Alloc(100)
	b.Retain()
	b.Release()
	if a.InUse() != 512 {
		t.Error("freed with a reference left")
	}
	b.Release()
	mustPanic(t, "release twice", b.Release)
	mustPanic(t, "retain after release", b.Retain)
	if !invariants {
		return
	}
	mustPanic(t, "read after release", func() { b.Bytes() })
	c := a.Alloc(100) // the same memory
	mustPanic(t, "read after release and reuse", func() { b.Bytes() })
	mustPanic(t, "release after release and reuse", b.Release)
	if c.Bytes()[0] != poison {
		t.Error("released memory was not poisoned")
	}
}

type memoryTry struct {
	MemoryWaiter
	a    *Arena
	want int
	got  *Block
	told int
}

func (m *memoryTry) MemoryFreed(w *MemoryWaiter) {
	m.told++
	if m.got = m.a.Alloc(m.want); m.got == nil {
		m.a.Await(w, m)
	}
}

// TestArenaWaiters: waiters are served in order as memory is freed, and one that
// finds none keeps its place.
func TestArenaWaiters(t *testing.T) {
	a := testArena(4 << 20)
	var live []*Block
	for b := a.Alloc(1 << 20); b != nil; b = a.Alloc(1 << 20) {
		live = append(live, b)
	}
	waiters := make([]memoryTry, 3)
	for i := range waiters {
		waiters[i].a, waiters[i].want = a, 1<<20
		a.Await(&waiters[i].MemoryWaiter, &waiters[i])
		a.Await(&waiters[i].MemoryWaiter, &waiters[i])
	}
	if a.serveWaiters() {
		t.Error("waiters were told of nothing")
	}
	live[0].Release()
	a.serveWaiters()
	if waiters[0].got == nil || waiters[1].got != nil || waiters[1].told != 1 || waiters[2].told != 0 {
		t.Errorf("after one release: %+v", waiters)
	}
	a.Unwait(&waiters[1].MemoryWaiter)
	live[1].Release()
	a.serveWaiters()
	if waiters[1].told != 1 || waiters[2].got == nil {
		t.Errorf("after a second release, one gone: %+v", waiters)
	}
}

func TestArenaDoesNotAllocate(t *testing.T) {
	if invariants {
		t.Skip("invariants give each allocation a new Block")
	}
	a := testArena(16 << 20)
	step := func() {
		x, y := a.Alloc(300), a.Alloc(100_000)
		x.Release()
		y.Release()
	}
	step()
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations per use of the arena", n)
	}
}
