package storage

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"slipstream/protocol"
	"slipstream/reactor"
)

func TestAppendsKeepOrder(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		r := newRig(t, o)
		dir := filepath.Join(t.TempDir(), "events-0")
		p := r.create(dir, DefaultConfig())
		p.SetLeaderEpoch(3)
		var log []*appending
		var sent [][]byte
		for turn := range 20 {
			for i := range turn * 3 {
				b := spec{records: 1 + i%4, value: 10 * i, timestamp: int64(turn)}.batch()
				sent = append(sent, b)
				a := &appending{log: &log}
				a.Batch, a.Owner = r.memory(b), a
				p.Append(&a.Append)
				if a.answered != 0 {
					t.Fatal("answered before it was written")
				}
			}
			r.turns(1)
		}
		r.until("all are answered", func() bool { return len(log) == len(sent) })
		next := int64(0)
		for i, a := range log {
			b := protocol.Batch(sent[i])
			if a.Err != protocol.NONE || a.BaseOffset != next || a.answered != 1 || a.LogAppendTime != -1 {
				t.Fatalf("append %d: %v at %d, want %d", i, a.Err, a.BaseOffset, next)
			}
			next += int64(b.Count())
		}
		if o := p.Offsets(); o.LogEnd != next || o.HighWatermark != next || o.LastStable != next {
			t.Errorf("offsets %+v, want an end at %d", o, next)
		}
		got := batchesOf(t, mustRead(t, dir, fileName(0, logSuffix)))
		for i, b := range got {
			if !b.ValidCRC() || b.BaseOffset() != log[i].BaseOffset || b.LeaderEpoch() != 3 || !slices.Equal(b[16:], sent[i][16:]) {
				t.Fatalf("batch %d is not what was sent", i)
			}
		}
		if st := r.store.Stats; st.InlineWrites+st.RingWrites > 20 {
			t.Errorf("%d writes in 20 turns", st.InlineWrites+st.RingWrites)
		}
		readAll(t, r, p)
	})
}

// TestManyInOneTurn queues more batches than one write takes pieces.
func TestManyInOneTurn(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		r := newRig(t, o)
		p := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
		var log []*appending
		const n = 3*maxIovecs + 7
		for range n {
			a := &appending{log: &log}
			a.Batch, a.Owner = r.memory(spec{}.batch()), a
			p.Append(&a.Append)
		}
		r.until("all are answered", func() bool { return len(log) == n })
		for i, a := range log {
			if a.Err != protocol.NONE || a.BaseOffset != int64(i) {
				t.Fatalf("append %d: %v at %d", i, a.Err, a.BaseOffset)
			}
		}
		if st := r.store.Stats; st.InlineWrites+st.RingWrites != 4 {
			t.Errorf("%d writes", st.InlineWrites+st.RingWrites)
		}
		readAll(t, r, p)
	})
}

func TestRefusals(t *testing.T) {
	r := newRig(t, StoreOptions{})
	cfg := DefaultConfig()
	cfg.MaxMessageBytes, cfg.SegmentBytes = 500, 400
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	size := func(n int) []byte { // the record's lengths take one byte more from 64 on
		for v := range n {
			if b := (spec{value: v}).batch(); len(b) == n {
				return b
			}
		}
		t.Fatalf("no batch has %d bytes", n)
		return nil
	}
	for n, want := range map[int]protocol.ErrorCode{400: protocol.NONE, 401: protocol.RECORD_LIST_TOO_LARGE, 500: protocol.RECORD_LIST_TOO_LARGE, 501: protocol.MESSAGE_TOO_LARGE} {
		if a := r.append(p, size(n)); a.Err != want {
			t.Errorf("%d bytes: %v, want %v", n, a.Err, want)
		}
	}
	if a := r.append(p, make([]byte, 60)); a.Err != protocol.CORRUPT_MESSAGE {
		t.Errorf("60 bytes: %v", a.Err)
	}
	if end := p.Offsets().LogEnd; end != 1 {
		t.Errorf("the log ends at %d", end)
	}
}

func TestLogAppendTime(t *testing.T) {
	k := newFaults()
	k.wall = 1795265500_123e6
	r := newRigOn(t, k, StoreOptions{})
	cfg := DefaultConfig()
	cfg.TimestampType = protocol.LogAppendTime
	dir := filepath.Join(t.TempDir(), "events-0")
	p := r.create(dir, cfg)
	r.turns(1) // the core reads its clock at the start of a turn
	a := r.append(p, spec{records: 3, timestamp: 5}.batch())
	if a.Err != protocol.NONE || a.LogAppendTime != 1795265500_123 {
		t.Errorf("%v, stamped %d", a.Err, a.LogAppendTime)
	}
	b := batchesOf(t, mustRead(t, dir, fileName(0, logSuffix)))[0]
	if b.TimestampType() != protocol.LogAppendTime || b.MaxTimestamp() != 1795265500_123 || !b.ValidCRC() {
		t.Errorf("in the log: %v %d", b.TimestampType(), b.MaxTimestamp())
	}
}

func TestRolls(t *testing.T) {
	segments := func(p *Partition) (bases []int64) {
		for _, s := range p.segments {
			bases = append(bases, s.base)
		}
		return bases
	}
	size := int32(len(spec{value: 100}.batch()))
	for _, c := range []struct {
		name  string
		set   func(*Config)
		times []int64
		want  []int64
	}{
		{"by size", func(c *Config) { c.SegmentBytes = 3 * size }, []int64{1, 1, 1, 1, 1, 1, 1}, []int64{0, 3, 6}},
		{"by time", func(c *Config) { c.SegmentMillis = 100 }, []int64{1000, 1100, 1101, 1050, 1200, 1202, 900, 5000}, []int64{0, 2, 5, 7}},
		{"full index", func(c *Config) { c.IndexIntervalBytes, c.IndexBytes = 10, 36 }, []int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, []int64{0, 5, 10}},
		{"full time index", func(c *Config) { c.IndexIntervalBytes, c.IndexBytes = 10, 36 }, []int64{1, 2, 3, 4, 5, 6, 7, 8}, []int64{0, 3, 6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			writers(t, func(t *testing.T, o StoreOptions) {
				cfg := DefaultConfig()
				c.set(&cfg)
				dir := filepath.Join(t.TempDir(), "events-0")
				r := newRig(t, o)
				p := r.create(dir, cfg)
				together := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
				var last *appending
				for i, ts := range c.times {
					b := spec{value: 100, timestamp: ts, producer: 3, sequence: int32(i)}.batch()
					if got := r.must(p, b); got != int64(i) {
						t.Fatalf("append %d is at %d", i, got)
					}
					last = r.begin(together, b)
				}
				r.until("all are answered", func() bool { return last.answered > 0 })
				for _, p := range []*Partition{p, together} {
					if got := segments(p); !slices.Equal(got, c.want) {
						t.Errorf("segments at %v, want %v", got, c.want)
					}
					for _, base := range c.want[1:] {
						ps, err := decodeProducers(mustRead(t, p.dir, fileName(base, snapshotSuffix)))
						if err != nil || ps.get(3).lastSeq() != int32(base-1) {
							t.Errorf("snapshot at %d: %v, %v", base, ps.get(3), err)
						}
					}
					r.until("the closed segments are synced", func() bool { return !p.syncing.running })
					if got := p.Offsets().RecoveryPoint; got != c.want[len(c.want)-1] {
						t.Errorf("recovery point %d", got)
					}
					readAll(t, r, p)
				}
				if errs := r.close(); errs != nil {
					t.Fatal(errs)
				}
				checkIndexes(t, dir)
				checkIndexes(t, together.dir)
			})
		})
	}
}

// TestRollOfUnknownProducers rolls while the first batches of new producers are queued: the snapshot at the
// roll is of what came before.
func TestRollOfUnknownProducers(t *testing.T) {
	r := newRig(t, StoreOptions{})
	cfg := DefaultConfig()
	cfg.SegmentBytes = int32(2 * len(spec{}.batch()))
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	var last *appending
	for i, s := range []spec{{producer: 1}, {producer: 2}, {producer: 1, sequence: 1}, {producer: 3}, {producer: 3, sequence: 1}, {producer: 1, sequence: 2}} {
		_ = i
		last = r.begin(p, s.batch())
	}
	r.until("all are answered", func() bool { return last.answered > 0 })
	for base, want := range map[int64]string{2: "1:0 2:0 3:-", 4: "1:1 2:0 3:0"} {
		ps, err := decodeProducers(mustRead(t, p.dir, fileName(base, snapshotSuffix)))
		got := ""
		for id := int64(1); id <= 3; id++ {
			seq := "-"
			if q := ps.get(id); q != nil {
				seq = fmt.Sprint(q.lastSeq())
			}
			got += fmt.Sprintf("%d:%s ", id, seq)
		}
		if err != nil || got != want+" " {
			t.Errorf("at %d: %q, %v; want %q", base, got, err, want)
		}
	}
}

// TestAnswersAppendMore has each answer append the next batch: all are written though only one turn is made.
func TestAnswersAppendMore(t *testing.T) {
	r := newRig(t, StoreOptions{})
	p := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
	for n, turns := range map[int]int{flushRounds: 1, 3 * flushRounds: 3} {
		c := &chain{p: p, left: n}
		c.a.Batch, c.a.Owner = r.memory(spec{}.batch()), c
		p.Append(&c.a)
		for range turns {
			r.core.Turn(false)
			if c.left > 0 && r.core.NextDeadline() > r.core.Now {
				t.Errorf("%d of %d left, deadline in %d ns", c.left, n, r.core.NextDeadline()-r.core.Now)
			}
		}
		if c.left != 0 {
			t.Errorf("%d of %d are left after %d turns", c.left, n, turns)
		}
	}
}

type chain struct {
	p    *Partition
	a    Append
	left int
}

func (c *chain) Appended(a *Append) {
	if c.left--; c.left > 0 {
		a.Batch.SetBaseOffset(0)
		c.p.Append(a)
	}
}

// TestArenaFull writes through the ring when the arena has no room for iovecs.
func TestArenaFull(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		r := newRig(t, o)
		p := r.create(filepath.Join(t.TempDir(), "events-0"), smallConfig())
		var as []*appending
		for i := range 40 {
			a := &appending{}
			a.Batch, a.Owner = r.memory(spec{producer: int64(1 + i%2), sequence: int32(i / 4)}.batch()), a // every second is a duplicate
			as = append(as, a)
		}
		var fill []*reactor.Block
		for _, n := range []int{1 << 20, 16 << 10, 512} {
			for b := r.core.Arena.Alloc(n); b != nil; b = r.core.Arena.Alloc(n) {
				fill = append(fill, b)
			}
		}
		for _, a := range as {
			p.Append(&a.Append)
		}
		for i, a := range as {
			r.until("all are answered", func() bool { return a.answered > 0 })
			if want := int64(i/4*2 + i%2); a.Err != protocol.NONE || a.BaseOffset != want {
				t.Fatalf("append %d: %v at %d, want %d", i, a.Err, a.BaseOffset, want)
			}
		}
		readAll(t, r, p)
		for _, b := range fill {
			b.Release()
		}
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
		checkIndexes(t, p.Dir())
	})
}

// TestAppendDoesNotAllocate appends, writes, indexes, answers and plans without allocating.
func TestAppendDoesNotAllocate(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		o.NoPreallocation = true // a job for a helper now and then allocates
		r := newRig(t, o)
		cfg := DefaultConfig()
		cfg.IndexIntervalBytes = 100
		p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
		var as [4]appending
		var mem [4]protocol.Batch
		for i := range mem {
			mem[i] = r.memory(spec{records: 2, value: 200, producer: int64(1 + i), timestamp: 1000}.batch())
		}
		seq := int32(0)
		one := func() {
			for i := range as {
				a := &as[i]
				a.answered = 0
				a.Batch, a.Owner = mem[i], a
				setSequence(a.Batch, seq)
				a.Batch.SetBaseOffset(0)
				p.Append(&a.Append)
			}
			seq += 2
			for as[3].answered == 0 {
				r.core.Turn(false)
			}
			if as[3].Err != protocol.NONE {
				t.Fatal(as[3].Err)
			}
			got, code := r.plan(p, as[0].BaseOffset, 1<<20, true)
			if code != protocol.NONE || got.Len != 4*len(mem[0]) {
				t.Fatal(got, code)
			}
			got.File.Release()
			if dup, code := r.plan(p, as[0].BaseOffset/2, 1<<10, true); code == protocol.NONE {
				dup.File.Release()
			}
		}
		for range 300 {
			one()
		}
		if n := testing.AllocsPerRun(500, one); n > 0 {
			t.Errorf("%v allocations per turn of four appends and two plans", n)
		}
	})
}

// setSequence changes a batch's sequence; nobody here looks at its CRC.
func setSequence(b protocol.Batch, seq int32) {
	b[53], b[54], b[55], b[56] = byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
}

func BenchmarkAppend16KiB(b *testing.B) {
	for _, w := range []Writer{WriterInline, WriterRing} {
		b.Run(w.String(), func(b *testing.B) {
			r := newRig(b, StoreOptions{Writer: w})
			p := r.create(filepath.Join(b.TempDir(), "events-0"), DefaultConfig())
			a := &appending{}
			a.Batch, a.Owner = r.memory(spec{value: 16 << 10}.batch()), a
			b.SetBytes(int64(len(a.Batch)))
			for b.Loop() {
				a.answered = 0
				a.Batch.SetBaseOffset(0)
				p.Append(&a.Append)
				for a.answered == 0 {
					r.core.Turn(false)
				}
			}
		})
	}
}

// TestAppendToARestedLog appends to a log whose last page has left the page cache: the ring writes it, so that a worker
// reads that page and not the core, and index entries wait for theirs, but not for ever.
func TestAppendToARestedLog(t *testing.T) {
	r := newRig(t, StoreOptions{Writer: WriterInline, NoPreallocation: true})
	cfg := DefaultConfig()
	cfg.IndexIntervalBytes = 1
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	resident := false
	r.kernel.set(func(f *faults) {
		f.resident = func(_ int, n int, _ int64) int {
			if resident {
				return n
			}
			return 0
		}
	})
	written := func(inline, ring uint64) {
		t.Helper()
		before := r.store.Stats
		r.must(p, spec{value: 100}.batch())
		if got := r.store.Stats; got.InlineWrites-before.InlineWrites != inline || got.RingWrites-before.RingWrites != ring {
			t.Errorf("written %d times in place, %d by the ring", got.InlineWrites-before.InlineWrites, got.RingWrites-before.RingWrites)
		}
	}
	written(1, 0) // an empty file has no last page
	p.writing.last -= 2 * restNanos
	written(0, 1)
	written(1, 0) // at once again
	resident = true
	p.writing.last -= 2 * restNanos
	written(1, 0)

	for range 2 * indexFlushEntries {
		r.must(p, spec{value: 10}.batch())
	}
	resident = false
	had := p.activeSegment().entries
	for range 2 * indexFlushEntries {
		r.must(p, spec{value: 10}.batch())
	}
	if got := p.activeSegment().entries; had == 0 || got != had {
		t.Errorf("%d index entries were on disk, %d are although their page is not in memory", had, got)
	}
	for range indexWaitEntries {
		r.must(p, spec{value: 10}.batch())
	}
	if got := p.activeSegment().entries; got <= had {
		t.Error("index entries wait for ever")
	}
}
