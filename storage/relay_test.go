package storage

import (
	"bytes"
	"path/filepath"
	"testing"

	"slipstream/protocol"
	"slipstream/reactor"
)

// relayRig is a rig whose turns end as a broker's do.
type relayRig struct {
	*rig
	p    *Partition
	seen []seenRange // what the reader that waits was offered, this turn
	next int64
	w    Waiter
}

type seenRange struct {
	n      int
	pieces []byte
	count  int
}

// Woken implements WaiterOwner: it reads all there is, as a parked fetch does.
func (r *relayRig) Woken(*Waiter) { r.read(1 << 30) }

func (r *relayRig) read(limit int) {
	got, _, code := r.p.Plan(Query{Offset: r.next, MaxBytes: limit, AtLeastOne: true}, nil)
	if code != protocol.NONE {
		r.t.Fatalf("at %d: %v", r.next, code)
	}
	s := seenRange{n: got.Len}
	for _, piece := range r.store.Relayed(&got) {
		s.pieces = append(s.pieces, piece.Block.Bytes()[piece.From:piece.To]...)
		s.count++
	}
	file := make([]byte, got.Len)
	if got.Len > 0 {
		if n, _ := r.kernel.ReadNow(got.File.FD(), file, got.Pos); n != got.Len {
			r.t.Fatalf("the file has %d of %d bytes", n, got.Len)
		}
		batches := batchesOf(r.t, file)
		r.next = batches[len(batches)-1].NextOffset()
	}
	if s.count > 0 && !bytes.Equal(s.pieces, file) {
		r.t.Error("the pieces are not the file's bytes")
	}
	got.Release()
	r.seen = append(r.seen, s)
}

// beginAt queues a batch that lies in a block together with other bytes; relayed says whether the log may know where.
func (r *relayRig) beginAt(size int, relayed bool) *appending {
	b := spec{records: 1, value: size}.batch()
	block := r.core.Arena.Alloc(len(b) + 100)
	copy(block.Bytes()[50:], b)
	r.blocks = append(r.blocks, block)
	a := &appending{}
	a.Batch, a.Owner = protocol.Batch(block.Bytes()[50:50+len(b)]), a
	if relayed {
		a.At = reactor.Piece{Block: block, From: 50, To: 50 + len(b)}
	}
	r.p.Append(&a.Append)
	return a
}

// TestRelayedRanges appends batches in a turn while a reader waits, and looks at what it can have from where they were
// received.
func TestRelayedRanges(t *testing.T) {
	const here, elsewhere = true, false
	type batch struct {
		size int
		here bool
	}
	for _, c := range []struct {
		name   string
		turn   []batch
		pieces int // that the reader is offered; 0: it must use the file
	}{
		{"one", []batch{{1000, here}}, 1},
		{"several", []batch{{1000, here}, {10, here}, {5000, here}}, 3},
		{"one of another core", []batch{{1000, elsewhere}}, 0},
		{"the last of another core", []batch{{1000, here}, {1000, elsewhere}}, 0},
		{"the first of another core", []batch{{1000, elsewhere}, {1000, here}}, 0},
		{"as much as may be", []batch{{RelayBytes/2 - 100, here}, {RelayBytes/2 - 100, here}}, 2},
		{"too much together", []batch{{RelayBytes/2 + 100, here}, {RelayBytes/2 + 100, here}}, 0},
		{"too large", []batch{{RelayBytes, here}}, 0},
	} {
		writers(t, func(t *testing.T, o StoreOptions) {
			t.Run(c.name, func(t *testing.T) {
				r := &relayRig{rig: newRig(t, o)}
				r.p = r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
				r.w.Owner = r
				for round := range 3 {
					r.seen = nil
					r.p.Wait(&r.w)
					var last *appending
					for _, b := range c.turn {
						last = r.beginAt(b.size, b.here)
					}
					r.until("it is written", func() bool { return last.answered > 0 })
					if len(r.seen) != 1 || r.seen[0].count != c.pieces || r.seen[0].n == 0 {
						t.Fatalf("round %d: the reader saw %d ranges, the first of %d pieces, want one of %d", round, len(r.seen), r.seen[0].count, c.pieces)
					}
					r.next = 0
					r.read(1 << 30)
					if got := r.seen[1]; got.count != 0 && round > 0 {
						t.Errorf("round %d: a range that begins before the turn has %d pieces", round, got.count)
					}
					r.store.EndTurn()
					r.giveBack()
					r.next = r.p.Offsets().LogEnd
				}
				if r.core.Arena.InUse() > 128<<10 {
					t.Errorf("%d bytes are kept", r.core.Arena.InUse())
				}
			})
		})
	}
}

// giveBack releases the blocks of what was appended; the store's must be the last references by now.
func (r *relayRig) giveBack() {
	for _, b := range r.blocks {
		b.Release()
	}
	r.blocks = nil
}

// TestRelaysEndWithTheirTurn plans in one turn and asks in the next.
func TestRelaysEndWithTheirTurn(t *testing.T) {
	r := &relayRig{rig: newRig(t, StoreOptions{})}
	r.p = r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
	var kept Range
	r.w.Owner = wakes(func() { kept, _, _ = r.p.Plan(Query{Offset: 0, MaxBytes: 1000, AtLeastOne: true}, nil) })
	r.p.Wait(&r.w)
	r.beginAt(100, true)
	r.until("the reader is woken", func() bool { return kept.Len > 0 })
	if len(r.store.Relayed(&kept)) != 1 {
		t.Error("the range is not relayed in its turn")
	}
	r.store.EndTurn()
	if len(r.store.Relayed(&kept)) != 0 {
		t.Error("the range is relayed after its turn")
	}
	kept.Release()
	// Without anybody who waits nothing is remembered.
	a := r.beginAt(100, true)
	r.until("it is written", func() bool { return a.answered > 0 })
	if len(r.store.relays) != 0 {
		t.Errorf("%d pieces are remembered for nobody", len(r.store.relays))
	}
	// Nor is more than there is room for.
	others := make([]*Partition, 3)
	for i := range others {
		others[i] = r.create(filepath.Join(t.TempDir(), "events-1"), DefaultConfig())
	}
	var last *appending
	for range relayPieces {
		for _, p := range others {
			var w Waiter
			w.Owner = wakes(func() {})
			p.Wait(&w)
			r.p = p
			last = r.beginAt(10, true)
		}
	}
	r.until("all is written", func() bool { return last.answered > 0 })
	if n := len(r.store.relays); n != relayPieces {
		t.Errorf("%d pieces are remembered, want %d", n, relayPieces)
	}
	r.store.EndTurn()
	r.giveBack()
}

// wakes is a WaiterOwner that is a function.
type wakes func()

// Woken implements WaiterOwner.
func (f wakes) Woken(*Waiter) { f() }
