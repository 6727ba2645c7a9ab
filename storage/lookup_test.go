package storage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"slipstream/protocol"
)

// coldness is a page cache as a test wants it: which of a plan's reads find nothing, or not enough.
type coldness struct {
	reads int
	cold  func(read int) bool
	short int // what a cold read gets all the same
}

func (c *coldness) resident(_ int, n int, _ int64) int {
	c.reads++
	if c.cold(c.reads - 1) {
		return min(c.short, n-1)
	}
	return n
}

// forget takes from a partition and its store what they remember of places read before.
func (l *laidOut) forget() {
	l.p.cursors = [cursorCount]cursor{}
	l.p.previous = place{}
	l.r.store.window.segment = nil
}

// TestColdPlan makes each read of a plan miss the page cache, one after the other, then all of them always: the
// answers are those of a plan that misses nothing, and none takes more than two lookups.
func TestColdPlan(t *testing.T) {
	for _, c := range []struct {
		name              string
		interval, segment int32
		n                 int
	}{
		{"no index", 1 << 30, 1 << 30, 100},
		{"sparse", 4096, 1 << 30, 1000},
		{"dense, one segment", 1, 1 << 30, 1000},
		{"dense, many segments", 1, 20_000, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.IndexIntervalBytes, cfg.SegmentBytes = c.interval, c.segment
			l := layOut(t, StoreOptions{MaxFiles: 4}, cfg, c.n)
			end := l.p.Offsets().LogEnd
			random := rand.New(rand.NewPCG(1, 9))
			for _, short := range []int{0, 1, batchHeadBytes - 1} {
				for range 60 {
					offset, limit, atLeastOne := random.Int64N(end), random.IntN(1<<random.IntN(18)), random.IntN(2) == 0
					l.checkCold(t, short, offset, limit, atLeastOne)
				}
			}
		})
	}
}

// checkCold asks for one range again and again: with read 0 cold, with read 1 cold, ..., until there are no more; and
// with every read cold.
func (l *laidOut) checkCold(t *testing.T, short int, offset int64, limit int, atLeastOne bool) {
	t.Helper()
	ask := func(cold func(read int) bool) (reads int, lookups uint64) {
		l.forget()
		c := &coldness{cold: cold, short: short}
		before := l.r.store.Stats.Lookups
		l.r.kernel.set(func(f *faults) { f.resident = c.resident })
		l.check(t, offset, limit, atLeastOne)
		l.r.kernel.set(func(f *faults) { f.resident = nil })
		return c.reads, l.r.store.Stats.Lookups - before
	}
	reads, lookups := ask(func(int) bool { return false })
	if walks := reads > planReads; lookups > 0 && !walks {
		t.Fatalf("a plan of %d warm reads took %d lookups", reads, lookups)
	}
	for i := range min(reads, planReads) {
		if _, lookups = ask(func(read int) bool { return read == i }); lookups != 1 {
			t.Fatalf("a plan whose read %d of %d is cold took %d lookups", i, reads, lookups)
		}
	}
	if reads == 0 {
		return
	}
	if _, lookups = ask(func(int) bool { return true }); lookups != 1 {
		t.Fatalf("a plan all of whose reads are cold took %d lookups", lookups)
	}
}

// TestColdReaderThroughHoles reads a log from which batches are missing, as compaction leaves it, at the ends of
// segments too, with a page cache that keeps nothing.
func TestColdReaderThroughHoles(t *testing.T) {
	for _, everything := range []bool{false, true} {
		cfg := DefaultConfig()
		cfg.IndexIntervalBytes, cfg.SegmentBytes = 1, 3_000
		l := layOut(t, StoreOptions{}, cfg, 150)
		if errs := l.r.close(); errs != nil {
			t.Fatal(errs)
		}
		random := rand.New(rand.NewPCG(4, 4))
		for _, s := range l.p.segments[:len(l.p.segments)-1] {
			log := filepath.Join(l.p.dir, fileName(s.base, logSuffix))
			var kept []byte
			for _, b := range batchesOf(t, mustRead(t, log)) {
				if !everything && random.IntN(2) == 0 || b.BaseOffset() == s.base && random.IntN(3) > 0 {
					kept = append(kept, b...)
				}
			}
			mustWrite(t, log, kept)
			for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
				if err := os.Remove(filepath.Join(l.p.dir, fileName(s.base, suffix))); err != nil {
					t.Fatal(err)
				}
			}
		}
		l.r = newRig(t, StoreOptions{})
		l.p, _ = l.r.open(l.p.dir, cfg, OpenOptions{Clean: true})
		l.r.survey(l.p)
		l.load(t)
		c := &coldness{cold: func(int) bool { return true }}
		l.r.kernel.set(func(f *faults) { f.resident = c.resident })
		for offset := range l.p.Offsets().LogEnd {
			l.check(t, offset, random.IntN(4000), true)
			l.forget()
		}
	}
}

// TestLookupsOfWhatIsGone lets logs be closed and deleted, and files change, while a helper looks into them: whoever
// waits is told, nothing is left open, and the answer says what happened.
func TestLookupsOfWhatIsGone(t *testing.T) {
	for _, c := range []struct {
		name   string
		happen func(l *laidOut)
		want   protocol.ErrorCode
	}{
		{"nothing", func(*laidOut) {}, protocol.NONE},
		{"deleted", func(l *laidOut) {
			gone := false
			l.r.store.Delete(l.p, func(error) { gone = true })
			l.r.until("it is deleted", func() bool { return gone })
		}, protocol.NOT_LEADER_OR_FOLLOWER},
		{"closed", func(l *laidOut) { l.r.close() }, protocol.NOT_LEADER_OR_FOLLOWER},
		{"truncated", func(l *laidOut) {
			if err := os.Truncate(filepath.Join(l.p.dir, fileName(0, logSuffix)), 100); err != nil {
				t.Fatal(err)
			}
		}, protocol.KAFKA_STORAGE_ERROR},
	} {
		for _, open := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, files open: %v", c.name, open), func(t *testing.T) {
				cfg := DefaultConfig()
				cfg.SegmentBytes = 20_000
				l := layOut(t, StoreOptions{NoPreallocation: true}, cfg, 500)
				dropFiles := func() {
					for _, s := range l.p.segments {
						l.r.store.files.dropSegment(s)
					}
				}
				dropFiles()
				before := openFiles(t)
				l.look(t, 20, open, c.happen, c.want)
				dropFiles()
				if after := openFiles(t); after > before {
					t.Errorf("%d files were open before, %d are afterwards", before, after)
				}
			})
		}
	}
}

// look has a lookup held back until something has happened, and expects it to end with an error code.
func (l *laidOut) look(t *testing.T, offset int64, open bool, happen func(l *laidOut), want protocol.ErrorCode) {
	t.Helper()
	l.forget()
	if open {
		got, _ := l.r.plan(l.p, offset, 1000, true)
		got.File.Release()
		l.forget()
	}
	never := &coldness{cold: func(int) bool { return true }}
	l.r.kernel.set(func(f *faults) { f.resident = never.resident })
	l.r.helpers.hold = true
	q := Query{Offset: offset, MaxBytes: 1000, AtLeastOne: true}
	got, lookup, code := l.p.Plan(q, nil)
	if lookup == nil || code != protocol.NONE || got.File != nil || lookup.Done() {
		t.Fatalf("a cold plan: %+v, %v, %v", got, lookup, code)
	}
	if _, same, _ := l.p.Plan(q, lookup); same != lookup {
		t.Error("a plan that is under way was begun again")
	}
	told := toldLookup(0)
	lookup.Wait(&told)
	happen(l)
	l.r.helpers.letGo()
	l.r.until("the lookup is done", lookup.Done)
	if told != 1 {
		t.Errorf("who waited was told %d times", told)
	}
	got, lookup, code = l.p.Plan(q, lookup)
	if code != want || (got.File != nil) != (want == protocol.NONE) || lookup != nil {
		t.Errorf("the answer: %+v, %v; want %v", got, code, want)
	}
	if got.File != nil {
		got.File.Release()
	}
}

// toldLookup counts how often it is told.
type toldLookup int

// LookedUp implements LookupWaiter.
func (n *toldLookup) LookedUp(*Lookup) { *n++ }

// openFiles is how many descriptors the process has.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
