package storage

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"slipstream/protocol"
)

// laidOut is a log whose batches a test knows.
type laidOut struct {
	r    *rig
	p    *Partition
	all  []protocol.Batch
	file []int64 // base offset of the segment that batch i is in
	pos  []int64
}

// layOut makes a log of n batches, of up to 5 records and 400 bytes each.
func layOut(t *testing.T, o StoreOptions, cfg Config, n int) *laidOut {
	t.Helper()
	l := &laidOut{r: newRig(t, o)}
	dir := filepath.Join(t.TempDir(), "events-0")
	l.p = l.r.create(dir, cfg)
	random := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < n; {
		var last *appending
		for range 1 + random.IntN(5) {
			last = l.r.begin(l.p, spec{records: 1 + random.IntN(5), value: random.IntN(400), timestamp: 1e12 + int64(i)}.batch())
			i++
		}
		l.r.until("it is written", func() bool { return last.answered > 0 })
	}
	l.load(t)
	return l
}

func (l *laidOut) load(t *testing.T) {
	l.all, l.file, l.pos = nil, nil, nil
	for _, s := range l.p.segments {
		pos := int64(0)
		for _, b := range batchesOf(t, mustRead(t, l.p.dir, fileName(s.base, logSuffix))[:s.size]) {
			l.all, l.file, l.pos = append(l.all, b), append(l.file, s.base), append(l.pos, pos)
			pos += int64(len(b))
		}
	}
}

// want is what Plan must return: brute force.
func (l *laidOut) want(offset int64, limit int, atLeastOne bool) (segment, pos int64, n int, code protocol.ErrorCode) {
	o := l.p.Offsets()
	if offset < o.LogStart || offset > o.LogEnd {
		return 0, 0, 0, protocol.OFFSET_OUT_OF_RANGE
	}
	for i, b := range l.all {
		if b.LastOffset() < offset || offset >= o.HighWatermark {
			continue
		}
		for j := i; j < len(l.all) && l.file[j] == l.file[i] && l.all[j].BaseOffset() < o.HighWatermark; j++ {
			if n+len(l.all[j]) > limit && (n > 0 || !atLeastOne) {
				break
			}
			n += len(l.all[j])
			if n >= limit {
				break
			}
		}
		return l.file[i], l.pos[i], n, protocol.NONE
	}
	return 0, 0, 0, protocol.NONE
}

func (l *laidOut) check(t *testing.T, offset int64, limit int, atLeastOne bool) {
	t.Helper()
	segment, pos, n, code := l.want(offset, limit, atLeastOne)
	got, gotCode := l.r.plan(l.p, offset, limit, atLeastOne)
	if gotCode != code || got.Len != n || n > 0 && (got.Pos != pos || got.File.owner.base != segment) {
		t.Fatalf("Plan(%d, %d, %v) is %+v, %v; want %d bytes at %d of %d, %v", offset, limit, atLeastOne, got, gotCode, n, pos, segment, code)
	}
	if (got.File != nil) != (n > 0) {
		t.Fatalf("Plan(%d, %d, %v): file %v with %d bytes", offset, limit, atLeastOne, got.File, n)
	}
	if got.File != nil {
		got.File.Release()
	}
}

// TestPlan asks for anything from anywhere, against brute force: with few and many index entries, in memory and on disk,
// in one segment and in many.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name          string
		interval      int32
		segment       int32
		n, flushEvery int
	}{
		{"no index", 1 << 30, 1 << 30, 300, 0},
		{"sparse", 4096, 1 << 30, 1500, 0},
		{"dense, one segment", 1, 1 << 30, 1500, 0},
		{"dense, many segments", 1, 20_000, 1500, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.IndexIntervalBytes, cfg.SegmentBytes = c.interval, c.segment
			l := layOut(t, StoreOptions{MaxFiles: 4}, cfg, c.n)
			end := l.p.Offsets().LogEnd
			random := rand.New(rand.NewPCG(3, 4))
			for range 3000 {
				l.check(t, random.Int64N(end+3)-1, random.IntN(1<<random.IntN(18)), random.IntN(2) == 0)
			}
			for _, offset := range []int64{-1, 0, end - 1, end, end + 1} {
				for _, limit := range []int{0, 1, 100, 1 << 30} {
					l.check(t, offset, limit, true)
					l.check(t, offset, limit, false)
				}
			}
			for range 5 { // readers that go on where they were
				offset := random.Int64N(end)
				limit := 1 + random.IntN(5000)
				for offset < end {
					l.check(t, offset, limit, true)
					got, _ := l.r.plan(l.p, offset, limit, true)
					b := make([]byte, got.Len)
					l.r.kernel.ReadNow(got.File.FD(), b, got.Pos)
					got.File.Release()
					batches := batchesOf(t, b)
					offset = batches[len(batches)-1].NextOffset()
				}
			}
			if l.r.store.Stats.BadIndexEntries != 0 {
				t.Errorf("%d bad index entries", l.r.store.Stats.BadIndexEntries)
			}
		})
	}
}

// TestTailReadersTouchNoIndex counts files opened: a reader that follows the log's end needs only the log.
func TestTailReadersTouchNoIndex(t *testing.T) {
	r := newRig(t, StoreOptions{NoPreallocation: true})
	cfg := DefaultConfig()
	cfg.IndexIntervalBytes = 1
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	next := int64(0)
	for range 100 { // fewer than are written to the .index together
		r.must(p, spec{records: 3, value: 100}.batch())
		got, code := r.plan(p, next, 1<<20, true)
		if code != protocol.NONE || got.Len == 0 {
			t.Fatal(got, code)
		}
		got.File.Release()
		next = p.Offsets().HighWatermark
	}
	if p.store.files.opens != 1 || r.store.window.segment != nil {
		t.Errorf("%d files opened, window %v", p.store.files.opens, r.store.window.segment)
	}
}

// TestDamagedIndexWhileReading overwrites the index of a log that is being served: reads are right all the same.
func TestDamagedIndexWhileReading(t *testing.T) {
	cfg := DefaultConfig()
	cfg.IndexIntervalBytes, cfg.SegmentBytes = 1, 40_000
	l := layOut(t, StoreOptions{}, cfg, 600)
	random := rand.New(rand.NewPCG(5, 6))
	for _, s := range l.p.segments {
		path := filepath.Join(l.p.dir, fileName(s.base, indexSuffix))
		b := mustRead(t, path)
		for i := range b {
			if random.IntN(10) == 0 {
				b[i] ^= byte(1 << random.IntN(8))
			}
		}
		mustWrite(t, path, b)
	}
	end := l.p.Offsets().LogEnd
	for range 1000 {
		l.checkWhole(t, random.Int64N(end), 1+random.IntN(20_000))
	}
	if l.r.store.Stats.BadIndexEntries == 0 {
		t.Error("no index entry was found to be bad")
	}
}

// checkWhole expects whole batches from the right one on, as many as it may be.
func (l *laidOut) checkWhole(t *testing.T, offset int64, limit int) {
	t.Helper()
	segment, pos, _, _ := l.want(offset, limit, true)
	got, code := l.r.plan(l.p, offset, limit, true)
	if code != protocol.NONE || got.Pos != pos || got.File.owner.base != segment {
		t.Fatalf("Plan(%d, %d) is %+v, %v; want position %d of %d", offset, limit, got, code, pos, segment)
	}
	b := make([]byte, got.Len)
	l.r.kernel.ReadNow(got.File.FD(), b, got.Pos)
	got.File.Release()
	if n := len(batchesOf(t, b)); n > 1 && got.Len > limit {
		t.Fatalf("Plan(%d, %d): %d batches in %d bytes", offset, limit, n, got.Len)
	}
}

// TestPlanAfterReopening reads a log that was opened, not written.
func TestPlanAfterReopening(t *testing.T) {
	for _, clean := range []bool{true, false} {
		cfg := DefaultConfig()
		cfg.IndexIntervalBytes, cfg.SegmentBytes = 300, 30_000
		l := layOut(t, StoreOptions{}, cfg, 500)
		if errs := l.r.close(); errs != nil {
			t.Fatal(errs)
		}
		l.r = newRig(t, StoreOptions{})
		l.p, _ = l.r.open(l.p.dir, cfg, OpenOptions{Clean: clean})
		random := rand.New(rand.NewPCG(7, 8))
		for round := range 20 {
			for range 50 {
				l.check(t, random.Int64N(l.p.Offsets().LogEnd+1), random.IntN(30_000), true)
			}
			l.r.must(l.p, spec{records: 2, value: 50 * round}.batch())
			l.load(t)
		}
		if errs := l.r.close(); errs != nil {
			t.Fatal(errs)
		}
		checkIndexes(t, l.p.dir)
	}
}

// TestKafkasLogIsRead reads the golden log through Plan.
func TestKafkasLogIsRead(t *testing.T) {
	for _, clean := range []bool{true, false} {
		dir := filepath.Join(t.TempDir(), "golden-0")
		copyDir(t, "testdata/kafka/golden-0", dir)
		l := &laidOut{r: newRig(t, StoreOptions{})}
		l.p, _ = l.r.open(dir, goldenConfig(), OpenOptions{Clean: clean, RecoveryPoint: 368})
		l.r.survey(l.p)
		l.load(t)
		if len(l.all) != 120 || l.p.Offsets().LogEnd != 368 {
			t.Fatalf("%d batches, %+v", len(l.all), l.p.Offsets())
		}
		for offset := int64(-1); offset <= 369; offset++ {
			l.check(t, offset, int(offset*13%3000), true)
		}
	}
}
