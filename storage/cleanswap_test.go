package storage

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// dirtyRig is a log that has something to compact.
func dirtyRig(t *testing.T, seed uint64, batches int) *cleanRig {
	x := newCleanRig(t, seed)
	for range batches {
		x.write()
	}
	x.until("the log is in order", func() bool { return x.p.finishing == 0 && !x.p.syncing.running && !x.p.deleting })
	return x
}

// TestCleanedFilesAreNamedLater: where a file of a cleaned segment cannot be renamed, be it an old one or the new one, the log is read by the
// names that there are, the rename is done when it can be, and the next start finds nothing to be put right.
func TestCleanedFilesAreNamedLater(t *testing.T) {
	for _, which := range []string{logSuffix, indexSuffix, timeIndexSuffix + swapSuffix, logSuffix + swapSuffix} {
		t.Run(which, func(t *testing.T) {
			x := dirtyRig(t, 2, 60)
			refused, broken := 0, true
			x.kernel.set(func(f *faults) {
				f.failFiles = func(op, path string) error {
					if op == "rename" && broken && strings.HasSuffix(path, which) {
						refused++
						return syscall.EACCES
					}
					return nil
				}
			})
			c, _ := x.p.Cleanable(x.kernel.Wall() / 1e6)
			var result CleanResult
			ended := false
			x.p.Clean(&c, &x.cleaner, noLimits, func(r CleanResult) { result, ended = r, true })
			x.until("it was tried twice", func() bool { return refused >= 2 })
			if ended {
				t.Fatalf("it has ended: %+v", result)
			}
			swapped := 0
			for _, s := range x.p.segments {
				if s.phase == segmentSwapped {
					swapped++
				}
			}
			if swapped != 1 {
				t.Errorf("%d segments are waiting for their names", swapped)
			}
			x.records(x.rig, x.p, true)
			x.kernel.set(func(f *faults) { broken = false })
			x.until("the log is clean", func() bool { return ended })
			if result.Err != nil || result.To != c.UpTo || x.p.Uncleanable() {
				t.Fatalf("%+v", result)
			}
			if n := strings.Count(strings.Join(x.notes, "\n"), "could not be renamed"); n != 1 {
				t.Errorf("it was said %d times: %q", n, x.notes)
			}
			x.check(x.rig, x.p, "cleaned")
			x.reopened(false)
			if errs := x.close(); errs != nil {
				t.Fatal(errs)
			}
			for name := range listDir(t, x.dir) {
				if isLeftover(name) && filepath.Ext(name) != deletedSuffix {
					t.Errorf("%s was left", name)
				}
			}
		})
	}
}

// TestCleanedNamesThatAreNotDurable: a directory that cannot be synced is not asked again: the partition is out of service, and the next
// start finishes what the cleaning began.
func TestCleanedNamesThatAreNotDurable(t *testing.T) {
	for _, after := range []int{0, 1} { // syncs of the directory while files are named that succeed
		x := dirtyRig(t, 2, 60)
		naming, syncs := false, 0
		x.kernel.set(func(f *faults) {
			f.failFiles = func(op, path string) error {
				naming = naming || op == "rename" && strings.HasSuffix(path, logSuffix)
				if op == "syncdir" && naming {
					if syncs++; syncs > after {
						return syscall.EIO
					}
				}
				return nil
			}
		})
		c, _ := x.p.Cleanable(x.kernel.Wall() / 1e6)
		ended := false
		x.p.Clean(&c, &x.cleaner, noLimits, func(r CleanResult) {
			if ended = true; r.Err == nil {
				t.Error("it went well")
			}
		})
		x.until("the cleaning has ended", func() bool { return ended })
		if !x.p.Failed() || syncs != after+1 {
			t.Errorf("after %d syncs: failed %t", syncs, x.p.Failed())
		}
		x.kernel.set(func(f *faults) { f.failFiles = nil })
		dir := filepath.Join(t.TempDir(), "events-0")
		copyDir(t, x.dir, dir)
		r := newRigOn(t, x.kernel, StoreOptions{})
		p, report := r.open(dir, x.cfg, OpenOptions{RecoveryPoint: x.p.Offsets().RecoveryPoint})
		if report.SegmentsRemoved > 0 || p.Offsets().LogEnd != x.p.Offsets().LogEnd {
			t.Errorf("opened again: %+v", report)
		}
		x.check(r, p, "opened again")
	}
}

// TestCleaningInManyPasses: a map that has room for a few of a log's keys cleans a part of it, the next cleaning goes on there, and in the
// end there is one record of each key.
func TestCleaningInManyPasses(t *testing.T) {
	x := newCleanRig(t, 3)
	x.keys = 400
	for range 300 {
		x.write()
	}
	for id, open := range x.open { // so that all of it can be cleaned
		if len(open) > 0 {
			x.until("the marker is written", func() func() bool {
				a := x.mark(x.p, marker(id, 0, 0, true), 1)
				return func() bool { return a.answered > 0 }
			}())
			delete(x.open, id)
		}
	}
	for x.keys = 1; x.p.activeSegment().size > 0 && len(x.p.segments) < 400; {
		base := x.p.activeSegment().base
		if x.write(); x.p.activeSegment().base != base { // what was dirty is closed now
			break
		}
	}
	passes := 0
	for passes < 200 {
		r, ok := x.clean(CleanOptions{MapBytes: 1, BytesPerSecond: noLimits.BytesPerSecond}) // room for 57 keys
		if !ok {
			break
		}
		passes++
		if r.To <= r.From || r.BufferUtilization > offsetLoad {
			t.Fatalf("pass %d: %+v", passes, r)
		}
		x.check(x.rig, x.p, "cleaned")
	}
	if passes < 7 {
		t.Errorf("%d passes", passes)
	}
	seen := map[string]int64{}
	for offset, r := range x.records(x.rig, x.p, true) {
		if other, twice := seen[r.key]; twice && max(offset, other) < x.p.CleanedTo() {
			t.Errorf("%s is at %d and at %d, and all is clean up to %d", r.key, offset, other, x.p.CleanedTo())
		}
		seen[r.key] = offset
	}
	x.reopened(false)
	if errs := x.close(); errs != nil {
		t.Fatal(errs)
	}
}

// TestGapInACompactedLog: a power cut that takes the end of a segment that was not synced, between two batches, and leaves the next one, ends a
// compacted log there as it does any other; a gap that a cleaner has left does not.
func TestGapInACompactedLog(t *testing.T) {
	x := dirtyRig(t, 4, 60)
	if _, ok := x.clean(noLimits); !ok {
		t.Fatal("nothing was cleaned")
	}
	clean := x.p.CleanedTo()
	for range 60 {
		x.write()
	}
	x.until("the log is in order", func() bool { return x.p.finishing == 0 && !x.p.syncing.running })
	n := x.p.segmentFor(clean) + 1
	for _, c := range []struct {
		what      string
		segment   int
		cleanedTo int64
		keep      int // batches at the least
		cut       bool
	}{
		{"a segment that was never cleaned", n, clean, 1, true},
		{"one below the checkpoint", n, x.p.segments[n+1].base, 1, false},
		{"one that has gaps within, which only a cleaner leaves", 0, 0, 2, false},
	} {
		dir := filepath.Join(t.TempDir(), "events-0")
		copyDir(t, x.dir, dir)
		path := filepath.Join(dir, fileName(x.p.segments[c.segment].base, logSuffix))
		all := batchesOf(t, mustRead(t, dir, filepath.Base(path)))
		size := int64(0)
		for _, b := range all[:len(all)-1] {
			size += int64(len(b))
		}
		if len(all) <= c.keep {
			t.Fatalf("%s: it has %d batches", c.what, len(all))
		}
		if err := syscall.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		r := newRigOn(t, x.kernel, StoreOptions{})
		p, report := r.open(dir, x.cfg, OpenOptions{CleanedTo: c.cleanedTo})
		want := x.p.Offsets().LogEnd
		if c.cut {
			want = all[len(all)-1].BaseOffset()
		}
		if p.Offsets().LogEnd != want || (report.SegmentsRemoved > 0) != c.cut {
			t.Errorf("%s: the log ends at %d, not at %d: %+v", c.what, p.Offsets().LogEnd, want, report)
		}
	}
}
