package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"slipstream/protocol"

	"golang.org/x/sys/unix"
)

// TestFailedWrites makes the n-th write fail in some way. Whatever is in flight or queued is refused, nothing of it is
// remembered or found in the file, and the same batches go in at the second try.
func TestFailedWrites(t *testing.T) {
	for _, c := range []struct {
		name  string
		take  func(n int) int
		errno syscall.Errno
	}{
		{"full disk", func(int) int { return 0 }, syscall.ENOSPC},
		{"full disk, after a few bytes", func(n int) int { return min(n, 100) }, 0},
		{"full disk, after a whole batch", func(n int) int { return n - 1 }, 0},
		{"quota", func(int) int { return 0 }, syscall.EDQUOT},
		{"broken disk", func(n int) int { return n / 2 }, syscall.EIO},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, StoreOptions{})
			dir := filepath.Join(t.TempDir(), "events-0")
			p := r.create(dir, smallConfig())
			r.must(p, spec{value: 50, producer: 1}.batch())
			before := mustRead(t, dir, fileName(0, logSuffix))
			failing := true
			r.kernel.set(func(f *faults) {
				f.failWrite = func(fd, n int, off int64) (int, syscall.Errno) {
					if !failing {
						return n, 0
					}
					return c.take(n), c.errno
				}
			})
			batches := [][]byte{
				spec{value: 50, producer: 1, sequence: 1}.batch(), spec{value: 50, producer: 1, sequence: 1}.batch(), // a duplicate
				spec{value: 50, producer: 1, sequence: 2}.batch(), spec{value: 50, producer: 2}.batch(),
				spec{value: 50, producer: 1, epoch: 1}.batch(), spec{value: 50}.batch(),
			}
			for range 3 {
				var as []*appending
				for _, b := range batches {
					as = append(as, r.begin(p, b))
				}
				for i, a := range as {
					r.until("the append is answered", func() bool { return a.answered > 0 })
					if a.Err != protocol.KAFKA_STORAGE_ERROR {
						t.Fatalf("append %d: %v", i, a.Err)
					}
				}
				r.until("the log is cut back", func() bool { return p.state == idle })
				if o := p.Offsets(); o.LogEnd != 1 || o.HighWatermark != 1 || p.next != 1 || p.producers.get(1).lastSeq() != 0 || p.producers.get(2).count != 0 {
					t.Fatalf("%+v, next %d, producers %+v and %+v", o, p.next, p.producers.get(1), p.producers.get(2))
				}
				if got := mustRead(t, dir, fileName(0, logSuffix)); string(got) != string(before) {
					t.Fatalf("the log has %d bytes, want %d", len(got), len(before))
				}
			}
			failing = false
			// What a producer has sent behind its first batch does not become the first because there is room for it.
			if a := r.append(p, spec{value: 50, producer: 2, sequence: 1}.batch()); a.Err != protocol.OUT_OF_ORDER_SEQUENCE_NUMBER {
				t.Fatalf("the second batch of a producer, before its first: %v", a.Err)
			}
			for i, want := range []int64{1, 1, 2, 3, 4, 5} {
				if a := r.append(p, batches[i]); a.Err != protocol.NONE || a.BaseOffset != want {
					t.Fatalf("second try of %d: %v at %d, want %d", i, a.Err, a.BaseOffset, want)
				}
			}
			readAll(t, r, p)
			if r.store.Stats.FailedWrites != 3 || len(r.notes) != 1 {
				t.Errorf("%d failed writes, notes %q", r.store.Stats.FailedWrites, r.notes)
			}
			if errs := r.close(); errs != nil {
				t.Fatal(errs)
			}
		})
	}
}

// TestFailedWritesAreSaidOnceAMinute: a full disk is a line in the log a minute, with how many there would have been, and not one for each
// try of each producer. Another error is said at once.
func TestFailedWritesAreSaidOnceAMinute(t *testing.T) {
	r := newRig(t, StoreOptions{})
	p := r.create(filepath.Join(t.TempDir(), "events-0"), smallConfig())
	fail := func(errno syscall.Errno) {
		r.kernel.set(func(f *faults) {
			f.failWrite = func(int, int, int64) (int, syscall.Errno) { return 0, errno }
		})
		for range 5 {
			if a := r.append(p, spec{value: 50}.batch()); a.Err != protocol.KAFKA_STORAGE_ERROR {
				t.Fatal(a.Err)
			}
		}
	}
	fail(syscall.ENOSPC)
	p.failures.noted -= failureNoteNanos // as if a minute had passed
	fail(syscall.ENOSPC)
	fail(syscall.EDQUOT)
	want := []string{
		"a write to events-0 failed: no space left on device",
		"a write to events-0 failed: no space left on device (as 4 writes did since this was last said)",
		"a write to events-0 failed: disk quota exceeded",
	}
	if !slices.Equal(r.notes, want) || r.store.Stats.FailedWrites != 15 {
		t.Errorf("%d failed writes, notes %q", r.store.Stats.FailedWrites, r.notes)
	}
	r.kernel.set(func(f *faults) { f.failWrite = nil })
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
}

// TestFullDiskInTheRing has the ring write beyond a file size limit that it cannot know of: the write fails in the kernel.
func TestRingWriteFails(t *testing.T) {
	r := newRig(t, StoreOptions{Writer: WriterRing, NoPreallocation: true})
	dir := filepath.Join(t.TempDir(), "events-0")
	p := r.create(dir, smallConfig())
	r.must(p, spec{value: 500}.batch())
	// A descriptor that cannot be written to takes the place of the log's.
	f := p.activeSegment().files[logFile]
	real := f.fd
	bad, err := syscall.Open(filepath.Join(dir, fileName(0, logSuffix)), syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.fd = bad
	for range 2 {
		a, b := r.begin(p, spec{producer: 3}.batch()), r.begin(p, spec{producer: 3, sequence: 1}.batch())
		r.turns(1)
		c := r.begin(p, spec{producer: 4}.batch()) // behind the write in flight
		r.until("all are answered", func() bool { return a.answered+b.answered+c.answered == 3 })
		if a.Err != protocol.KAFKA_STORAGE_ERROR || b.Err != protocol.KAFKA_STORAGE_ERROR {
			t.Fatal(a.Err, b.Err)
		}
		r.until("the log is cut back", func() bool { return p.state == idle })
		if p.producers.get(3).count != 0 || p.producers.get(4).count != 0 || p.Offsets().LogEnd != 1 {
			t.Fatalf("%d producers, %+v", p.Producers(), p.Offsets())
		}
	}
	f.fd = real
	syscall.Close(bad)
	if got := r.must(p, spec{producer: 3}.batch()); got != 1 {
		t.Errorf("the next append is at %d", got)
	}
	readAll(t, r, p)
}

// TestCutFails cannot cut the failed write off either: appends are refused until that works.
func TestCutFails(t *testing.T) {
	r := newRig(t, StoreOptions{})
	dir := filepath.Join(t.TempDir(), "events-0")
	p := r.create(dir, smallConfig())
	r.must(p, spec{value: 50}.batch())
	fail := func(on bool) {
		r.kernel.set(func(f *faults) {
			f.failWrite, f.failFiles = nil, nil
			if on {
				f.failWrite = func(_, n int, _ int64) (int, syscall.Errno) { return n - 1, 0 }
				f.failFiles = func(op, path string) error {
					if op == "truncate" {
						return syscall.EIO
					}
					return nil
				}
			}
		})
	}
	fail(true)
	for range 3 {
		if a := r.append(p, spec{value: 90}.batch()); a.Err != protocol.KAFKA_STORAGE_ERROR {
			t.Fatal(a.Err)
		}
	}
	r.until("the cut has been tried", func() bool { return p.state == idle })
	if p.trouble != mustCut {
		t.Fatalf("trouble %d", p.trouble)
	}
	fail(false)
	if got := r.must(p, spec{value: 10}.batch()); got != 1 {
		t.Errorf("at %d", got)
	}
	if got := batchesOf(t, mustRead(t, dir, fileName(0, logSuffix))); len(got) != 2 {
		t.Errorf("%d batches", len(got))
	}
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
}

// TestRollFails has no room for a new segment's files.
func TestRollFails(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		for _, what := range []string{indexSuffix, logSuffix} {
			r := newRig(t, o)
			dir := filepath.Join(t.TempDir(), "events-0")
			cfg := smallConfig()
			cfg.SegmentBytes = 400
			p := r.create(dir, cfg)
			for range 3 {
				r.must(p, spec{value: 40}.batch())
			}
			next := fmt.Sprint(p.Offsets().LogEnd)
			r.kernel.set(func(f *faults) {
				f.failFiles = func(op, path string) error {
					if op == "open" && strings.HasSuffix(path, next+what) {
						return syscall.ENOSPC
					}
					return nil
				}
			})
			for range 2 {
				if a := r.append(p, spec{value: 40, producer: 6}.batch()); a.Err != protocol.KAFKA_STORAGE_ERROR || p.producers.get(6).count != 0 {
					t.Fatalf("%s: %v, %d producers", what, a.Err, p.Producers())
				}
				if n := len(p.segments); n != 1 {
					t.Fatalf("%d segments", n)
				}
				for name := range listDir(t, dir) {
					if b, _, ok := parseFileName(name); ok && b > 0 {
						t.Errorf("%s was left", name)
					}
				}
			}
			readAll(t, r, p)
			r.kernel.set(func(f *faults) { f.failFiles = nil })
			r.must(p, spec{value: 40, producer: 6}.batch())
			if len(p.segments) != 2 {
				t.Errorf("%d segments", len(p.segments))
			}
			readAll(t, r, p)
			if errs := r.close(); errs != nil {
				t.Fatal(errs)
			}
			checkIndexes(t, dir)
		}
	})
}

// TestSnapshotOfRollFails goes on without the producers' snapshot of a roll: a recovery reads more of the log instead.
func TestSnapshotOfRollFails(t *testing.T) {
	r := newRig(t, StoreOptions{})
	dir := filepath.Join(t.TempDir(), "events-0")
	cfg := smallConfig()
	cfg.SegmentBytes = 400
	p := r.create(dir, cfg)
	failed := map[string]bool{}
	r.kernel.set(func(f *faults) {
		f.failFiles = func(op, path string) error {
			if op != "open" || !strings.HasSuffix(path, snapshotSuffix+tmpSuffix) || failed[path] {
				return nil
			}
			failed[path] = true
			return syscall.ENOSPC
		}
	})
	for i := range 12 {
		r.must(p, spec{value: 40, producer: 6, sequence: int32(i)}.batch())
	}
	r.until("closed segments are in order", func() bool { return p.finishing == 0 && !p.syncing.running })
	if len(p.segments) < 3 || len(r.notes) < 2 || !strings.Contains(r.notes[0], "could not be put in order") {
		t.Errorf("%d segments, notes %q", len(p.segments), r.notes)
	}
	copied := filepath.Join(t.TempDir(), "events-0")
	copyDir(t, dir, copied)
	q, report, err := Open(r.kernel, copied, cfg, OpenOptions{})
	if err != nil || q.Producers() != 1 || q.Offsets().LogEnd != 12 {
		t.Errorf("%v, %+v", err, report)
	}
	r.kernel.set(func(f *faults) { f.failFiles = nil })
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
	checkIndexes(t, dir)
}

// TestIndexCannotBeWritten keeps index entries in memory until they can be written.
func TestIndexCannotBeWritten(t *testing.T) {
	r := newRig(t, StoreOptions{NoPreallocation: true})
	dir := filepath.Join(t.TempDir(), "events-0")
	p := r.create(dir, smallConfig())
	failing := true
	r.kernel.set(func(f *faults) {
		f.failWrite = func(fd, n int, _ int64) (int, syscall.Errno) {
			if failing && !strings.HasSuffix(f.pathOf(fd), logSuffix) {
				return 0, syscall.ENOSPC
			}
			return n, 0
		}
	})
	for i := range 1000 {
		r.must(p, spec{value: 100, timestamp: int64(i + 1)}.batch())
	}
	if n := len(p.active.index); n != 999 || p.activeSegment().entries != 0 {
		t.Fatalf("%d entries in memory, %d on disk", n, p.activeSegment().entries)
	}
	readAll(t, r, p)
	failing = false
	r.must(p, spec{value: 100, timestamp: 1001}.batch())
	if n := len(p.active.index); n != 0 || p.activeSegment().entries != 1000 || p.activeSegment().timeEntries != 1000 {
		t.Fatalf("%d entries in memory, %d and %d on disk", n, p.activeSegment().entries, p.activeSegment().timeEntries)
	}
	readAll(t, r, p)
	checkIndexes(t, dir)
}

// TestPreallocationFails goes on without.
func TestPreallocationFails(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EOPNOTSUPP} {
		r := newRig(t, StoreOptions{})
		p := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
		r.kernel.set(func(f *faults) {
			f.failFiles = func(op, _ string) error {
				if op == "allocate" {
					return errno
				}
				return nil
			}
		})
		for range 50 {
			r.must(p, spec{value: 10_000}.batch())
		}
		if n := r.store.Stats.Preallocations; n != 1 {
			t.Errorf("%v: tried %d times", errno, n)
		}
	}
}

// TestFailedSync makes an fsync fail: nobody who waited for it is told that all is well, and the log is over.
func TestFailedSync(t *testing.T) {
	check := func(t *testing.T, r *rig, p *Partition) {
		t.Helper()
		if o := p.Offsets(); !p.Failed() || o.HighWatermark != 2 || o.RecoveryPoint >= o.LogEnd || r.store.Stats.FailedSyncs != 1 {
			t.Errorf("%+v, failed %v", o, p.Failed())
		}
		r.kernel.set(func(f *faults) { f.failFiles = nil })
		if a := r.append(p, spec{}.batch()); a.Err != protocol.KAFKA_STORAGE_ERROR {
			t.Errorf("a later append: %v", a.Err)
		}
		readAll(t, r, p)
		if errs := r.close(); len(errs) != 1 {
			t.Errorf("closed with %v", errs)
		}
	}
	writers(t, func(t *testing.T, o StoreOptions) {
		t.Run("names", func(t *testing.T) {
			r := newRig(t, o)
			cfg := smallConfig()
			cfg.FlushMessages = 1
			p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
			r.must(p, spec{records: 2}.batch())
			p.activeSegment().unnamed = true
			r.kernel.set(func(f *faults) {
				f.failFiles = func(op, _ string) error {
					if op == "syncdir" {
						return syscall.EIO
					}
					return nil
				}
			})
			for _, a := range []*appending{r.begin(p, spec{}.batch()), r.begin(p, spec{}.batch())} {
				r.until("it is answered", func() bool { return a.answered > 0 })
				if a.Err != protocol.KAFKA_STORAGE_ERROR {
					t.Error(a.Err)
				}
			}
			check(t, r, p)
		})
		t.Run("log", func(t *testing.T) {
			r := newRig(t, o)
			p := r.create(filepath.Join(t.TempDir(), "events-0"), smallConfig())
			r.must(p, spec{records: 2}.batch())
			var pipe [2]int
			if err := syscall.Pipe(pipe[:]); err != nil {
				t.Fatal(err)
			}
			f := p.activeSegment().files[logFile]
			real := f.fd
			f.fd = pipe[0] // fsync of a pipe fails
			p.sync(p.Offsets().LogEnd)
			r.until("the fsync fails", func() bool { return p.Failed() })
			f.fd = real
			syscall.Close(pipe[0])
			syscall.Close(pipe[1])
			check(t, r, p)
		})
	})
}

// TestSyncThatNeverBegan tells the core what the kernel says of an fsync for which it could not start a thread: that is no
// failure of the disk, and it is done again.
func TestSyncThatNeverBegan(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ECANCELED, syscall.EAGAIN, syscall.EINTR} {
		r := newRig(t, StoreOptions{})
		p := r.create(filepath.Join(t.TempDir(), "events-0"), smallConfig())
		r.must(p, spec{records: 2}.batch())
		y, f := &p.syncing, p.activeSegment().files[logFile]
		y.running, y.segment, y.end, y.file = true, p.activeSegment(), p.Offsets().LogEnd, f
		f.Retain()
		p.synced(-int32(errno))
		r.until("the fsync is done again", func() bool { return p.Offsets().RecoveryPoint == p.Offsets().LogEnd || p.Failed() })
		if p.Failed() || r.store.Stats.FailedSyncs != 0 || r.store.Stats.Syncs != 1 {
			t.Errorf("%v: failed %v, %+v", errno, p.Failed(), r.store.Stats)
		}
		if errs := r.close(); errs != nil {
			t.Error(errs)
		}
	}
}

// TestRealFullDisk fills a small file system, then makes room on it.
func TestRealFullDisk(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	writers(t, func(t *testing.T, o StoreOptions) {
		r := newRig(t, o)
		dir := filepath.Join(mount, "events-0")
		ballast := filepath.Join(mount, "ballast")
		mustWrite(t, ballast, make([]byte, 500_000))
		p := r.create(dir, smallConfig())
		seq := int32(0)
		next := func() *appending {
			return r.append(p, spec{value: 10_000, producer: 1, sequence: seq}.batch())
		}
		for next().Err == protocol.NONE {
			seq++
		}
		if seq < 10 || seq > 60 {
			t.Fatalf("full after %d batches", seq)
		}
		readAll(t, r, p)
		if a := next(); a.Err != protocol.KAFKA_STORAGE_ERROR {
			t.Fatal(a.Err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if a := next(); a.Err != protocol.NONE || a.BaseOffset != int64(seq) {
				t.Fatalf("with room again: %v at %d, want %d", a.Err, a.BaseOffset, seq)
			}
			seq++
		}
		readAll(t, r, p)
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
		if err := removeTree(r.kernel, dir); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTruncatedByOthers: a log whose file has lost its end to somebody else takes no more appends, since what came behind
// the hole could not be read; what is left is served, and after a restart it goes on from there.
func TestTruncatedByOthers(t *testing.T) {
	r := newRig(t, StoreOptions{})
	p := r.create(t.TempDir()+"/topic-0", DefaultConfig())
	for range 3 {
		r.must(p, spec{records: 2}.batch())
	}
	whole, code := r.plan(p, 0, 1<<20, true)
	if code != protocol.NONE {
		t.Fatal(code)
	}
	if err := unix.Ftruncate(whole.File.FD(), int64(whole.Len)/3); err != nil {
		t.Fatal(err)
	}
	whole.File.EndedEarly()
	whole.File.Release()
	for range 2 {
		if a := r.append(p, spec{records: 2}.batch()); a.Err != protocol.KAFKA_STORAGE_ERROR {
			t.Fatalf("an append behind the hole: %v", a.Err)
		}
	}
	if !p.Failed() {
		t.Error("the log does not say that it has failed")
	}
	if first, code := r.plan(p, 0, whole.Len/3, true); code != protocol.NONE || first.Len != whole.Len/3 {
		t.Errorf("what is left is not served: %v, %d bytes", code, first.Len)
	} else {
		first.File.Release()
	}
}
