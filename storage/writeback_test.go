package storage

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"slipstream/protocol"
)

// newPaced is a rig with a pace of small steps, so that a test needs few bytes.
func newPaced(t testing.TB, o StoreOptions, horizonMillis int64) *rig {
	o.WritebackMillis, o.NoPreallocation = horizonMillis, true
	r := newRig(t, o)
	w := &r.store.writeback
	w.step, w.least, w.tail = 128<<10, 64<<10, 128<<10
	return r
}

// grow appends so many batches of 16 KiB.
func (r *rig) grow(p *Partition, n int) {
	r.t.Helper()
	b := spec{value: 16 << 10}.batch()
	for range n {
		r.must(p, b)
		r.blocks[len(r.blocks)-1].Release()
		r.blocks = r.blocks[:len(r.blocks)-1]
	}
}

// accounted checks that a store's dirty bytes are those of its segments.
func (r *rig) accounted() {
	r.t.Helper()
	var dirty, eligible int64
	for _, p := range r.store.partitions {
		var sum int64
		for _, s := range p.segments {
			if s.dirty < 0 || s.dirty > s.size {
				r.t.Fatalf("%s: segment %d has %d dirty of %d bytes", &p.id, s.base, s.dirty, s.size)
			}
			sum += s.dirty
		}
		if sum != p.trail.dirty {
			r.t.Fatalf("%s: %d dirty, its segments %d", &p.id, p.trail.dirty, sum)
		}
		dirty += sum
		eligible += p.trail.eligible
	}
	if dirty != r.store.Stats.DirtyBytes || eligible != r.store.writeback.eligible {
		r.t.Fatalf("the store has %d dirty and %d eligible, its partitions %d and %d", r.store.Stats.DirtyBytes, r.store.writeback.eligible, dirty, eligible)
	}
}

// TestWriteback writes what is behind the head in steps, keeps off the tail while a log grows, and writes it when
// the log has come to rest.
func TestWriteback(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		r := newPaced(t, o, 100)
		p := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
		st := &r.store.Stats
		r.grow(p, 6) // less than the tail
		if r.accounted(); st.WritebackSteps != 0 || r.store.writeback.eligible != 0 {
			t.Fatalf("%+v", *st)
		}
		began := r.core.Now
		r.grow(p, 60)
		size := p.activeSegment().size
		r.until("all but the tail is on its way", func() bool {
			r.accounted()
			return st.DirtyBytes <= 128<<10+2*writebackAlign
		})
		if took := r.core.Now - began; took < 50e6 {
			t.Errorf("it took %d us: no pace", took/1000)
		}
		if st.DirtyBytes < 128<<10 {
			t.Errorf("%d bytes are dirty: the tail was written", st.DirtyBytes)
		}
		if st.WritebackSteps < 5 || st.WritebackBytes > uint64(size) {
			t.Errorf("%+v of %d bytes", *st, size)
		}
		r.until("the log has rested and is written to its end", func() bool { return st.DirtyBytes == 0 && r.store.writeback.file == nil })
		if st.WritebackBytes != uint64(size) || st.WritebackNanos == 0 || st.WritebackFailures != 0 {
			t.Errorf("%+v of %d bytes", *st, size)
		}
		if r.store.writeback.timer.Armed() {
			t.Error("with nothing dirty a timer runs")
		}
		if o := p.Offsets(); o.RecoveryPoint != 0 {
			t.Errorf("writing behind is not durability: %+v", o)
		}
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
	})
}

// TestWritebackTakesTurns shares the steps among partitions, however much one of them has.
func TestWritebackTakesTurns(t *testing.T) {
	r := newPaced(t, StoreOptions{}, 200)
	big := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
	r.grow(big, 200)
	var small []*Partition
	for range 4 {
		p := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
		r.grow(p, 20)
		small = append(small, p)
	}
	r.until("the small ones are written behind", func() bool {
		for _, p := range small {
			if p.trail.eligible > 0 {
				return false
			}
		}
		return true
	})
	r.accounted()
	if big.trail.eligible < 1<<20 {
		t.Errorf("%d bytes of the big one are left: it went first", big.trail.eligible)
	}
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
}

// TestWritebackBeforeSync writes closed segments behind to their ends, and syncs them then.
func TestWritebackBeforeSync(t *testing.T) {
	r := newPaced(t, StoreOptions{}, 100)
	cfg := DefaultConfig()
	cfg.SegmentBytes = 300 << 10
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	r.grow(p, 60)
	if len(p.segments) < 4 {
		t.Fatalf("%d segments", len(p.segments))
	}
	last := p.activeSegment().base
	r.until("the closed segments are durable", func() bool {
		r.accounted()
		o := p.Offsets()
		if i := p.segmentFor(o.RecoveryPoint); i > 0 && p.segments[i-1].dirty > 0 {
			t.Fatalf("the recovery point is %d, and segment %d is dirty", o.RecoveryPoint, p.segments[i-1].base)
		}
		return o.RecoveryPoint == last
	})
	if n := r.store.Stats.WritebackSteps; n < 3 {
		t.Errorf("%d steps", n)
	}
	p.sync(p.Offsets().LogEnd)
	r.until("the log is synced", func() bool { return !p.syncing.running })
	if r.accounted(); p.trail.dirty != 0 || p.trail.list != nil {
		t.Errorf("%d bytes are dirty after an fsync", p.trail.dirty)
	}
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
}

// TestWritebackUnsupported notices once that a file does not take sync_file_range; closed segments are synced all the
// same. TestWritebackFails takes another error for what it is.
func TestWritebackUnsupported(t *testing.T) {
	r := newPaced(t, StoreOptions{}, 50)
	cfg := DefaultConfig()
	cfg.SegmentBytes = 300 << 10
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	r.grow(p, 10)
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	defer syscall.Close(pipe[1])
	f := p.activeSegment().files[logFile]
	real := f.fd
	r.grow(p, 5)
	f.fd = pipe[0]
	r.until("it is noticed", func() bool { return r.store.Stats.WritebackFailures > 0 })
	f.fd = real
	steps := r.store.Stats.WritebackSteps
	r.grow(p, 40)
	r.until("the closed segments are durable", func() bool { return p.Offsets().RecoveryPoint == p.activeSegment().base })
	if st := &r.store.Stats; st.WritebackFailures != 1 || st.WritebackSteps != steps || len(r.notes) != 1 || !strings.Contains(r.notes[0], "left to the kernel") {
		t.Errorf("%+v, notes %q", *st, r.notes)
	}
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
}

// TestWritebackFails ends a log whose pages may be lost, as a failed fsync does.
func TestWritebackFails(t *testing.T) {
	for _, syncing := range []bool{false, true} {
		t.Run(fmt.Sprint("syncing ", syncing), func(t *testing.T) {
			r := newPaced(t, StoreOptions{}, 50)
			p := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
			other := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
			r.grow(p, 12)
			f := p.activeSegment().files[logFile]
			real := f.fd
			f.fd = -1 // EBADF: an error that has no other meaning
			p.trail.toEnd = true
			r.store.writeback.relist(p)
			r.until("a step is in flight", func() bool { return r.store.writeback.file != nil })
			f.fd = real
			if syncing {
				p.sync(p.Offsets().LogEnd)
			}
			r.until("it fails", func() bool { return p.Failed() })
			r.until("the fsync has ended", func() bool { return !p.syncing.running })
			if o := p.Offsets(); o.RecoveryPoint != 0 || r.store.Stats.FailedSyncs != 1 {
				t.Errorf("%+v, %+v", o, r.store.Stats)
			}
			if a := r.append(p, spec{}.batch()); a.Err != protocol.KAFKA_STORAGE_ERROR {
				t.Errorf("a later append: %v", a.Err)
			}
			r.accounted()
			r.grow(other, 30)
			r.until("another log is written behind", func() bool { return r.store.Stats.WritebackBytes > 0 })
			if errs := r.close(); len(errs) != 1 {
				t.Errorf("closed with %v", errs)
			}
		})
	}
}

// TestWritebackOfDeleted deletes partitions with a step in flight and others waiting for their turn.
func TestWritebackOfDeleted(t *testing.T) {
	r := newPaced(t, StoreOptions{}, 20)
	cfg := DefaultConfig()
	cfg.DeleteDelayMillis = 0
	for round := range 5 {
		var ps []*Partition
		for i := range 3 {
			p := r.create(filepath.Join(t.TempDir(), fmt.Sprintf("events-%d", i)), cfg)
			r.grow(p, 30)
			ps = append(ps, p)
		}
		if round > 0 {
			r.until("a step is in flight", func() bool { return r.store.writeback.file != nil })
		}
		gone := 0
		for _, p := range ps {
			r.store.Delete(p, func(err error) {
				if gone++; err != nil {
					t.Error(err)
				}
			})
		}
		r.until("they are gone", func() bool { return gone == len(ps) })
		if r.accounted(); r.store.Stats.DirtyBytes != 0 {
			t.Errorf("%d bytes are dirty", r.store.Stats.DirtyBytes)
		}
	}
	r.turns(50)
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	r.grow(p, 30)
	r.until("a step is in flight", func() bool { return r.store.writeback.file != nil })
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
	if r.store.writeback.file != nil {
		t.Error("the store is closed and a step is in flight")
	}
}

// TestWritebackDoesNotAllocate appends with the pace on.
func TestWritebackDoesNotAllocate(t *testing.T) {
	r := newPaced(t, StoreOptions{}, 1)
	cfg := DefaultConfig()
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	b := r.memory(spec{value: 16 << 10}.batch())
	var a appending
	one := func() {
		a.answered = 0
		a.Batch, a.Owner = b, &a
		p.Append(&a.Append)
		for a.answered == 0 {
			r.core.Turn(false)
		}
	}
	for range 300 {
		one()
	}
	before := r.store.Stats.WritebackSteps
	for round := 0; r.store.Stats.WritebackSteps < before+10; round++ { // a step takes a worker of the kernel's
		if n := testing.AllocsPerRun(100, one); n != 0 {
			t.Fatalf("%v allocations an append", n)
		}
		if round > 1000 {
			t.Fatalf("%d steps", r.store.Stats.WritebackSteps-before)
		}
	}
	r.close()
}
