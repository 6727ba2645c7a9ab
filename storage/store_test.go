package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/ring"
)

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	p, err := ProbeWriter(ring.NewLinux(), dir)
	if err != nil {
		t.Skipf("io_uring is missing: %v", err)
	}
	t.Logf("%+v", p)
	if p.Writer == WriterAuto || p.InlineNanos <= 0 || p.RingNanos <= 0 || p.FileSystem == "" {
		t.Errorf("%+v", p)
	}
	if left := listDir(t, dir); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
	if _, err := ProbeWriter(ring.NewLinux(), filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a directory: %v", err)
	}
	for _, w := range []Writer{WriterAuto, WriterRing, WriterInline} {
		if got, err := ParseWriter(w.String()); got != w || err != nil {
			t.Errorf("%v: %v, %v", w, got, err)
		}
	}
}

// TestCloseLeavesKafkasFiles checks what a clean stop leaves: trimmed indexes, no preallocated blocks, a snapshot at the
// end; and that stopping twice is no more than once.
func TestCloseLeavesKafkasFiles(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		dir := filepath.Join(t.TempDir(), "events-0")
		r := newRig(t, o)
		p := r.create(dir, smallConfig())
		for i := range 200 {
			r.must(p, spec{value: 2000, producer: 4, sequence: int32(i), timestamp: int64(1000 + i)}.batch())
		}
		log := filepath.Join(dir, fileName(0, logSuffix))
		r.until("blocks are allocated ahead", func() bool { return !p.preallocating })
		if info, _ := r.kernel.Stat(log); r.store.Stats.Preallocations == 0 || r.store.preallocate && info.Blocks*512 <= info.Size {
			t.Errorf("no blocks were allocated ahead: %+v, %+v", info, r.store.Stats)
		}
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
		if o := p.Offsets(); o.RecoveryPoint != o.LogEnd {
			t.Errorf("%+v", o)
		}
		info, _ := r.kernel.Stat(log)
		if info.Size != p.Bytes() || info.Blocks*512 > info.Size+1<<16 {
			t.Errorf("the log has %d bytes and %d blocks", info.Size, info.Blocks)
		}
		files := listDir(t, dir)
		if len(files) != 6 || files[fileName(200, snapshotSuffix)] != snapshotHeadBytes+rememberedBatches*snapshotEntryBytes ||
			files[fileName(0, indexSuffix)] != 199*indexEntryBytes || files[fileName(0, timeIndexSuffix)] != 199*timeIndexEntryBytes {
			t.Errorf("%v", files)
		}
		checkIndexes(t, dir)

		r = newRig(t, o)
		q, report := r.open(dir, smallConfig(), OpenOptions{Clean: true, RecoveryPoint: 200})
		if report.SegmentsScanned != 0 || len(report.Notes) != 0 || q.Producers() != 1 || q.touched {
			t.Errorf("%+v", report)
		}
		readAll(t, r, q)
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
		if again := listDir(t, dir); fmt.Sprint(again) != fmt.Sprint(files) {
			t.Errorf("%v became %v", files, again)
		}
	})
}

// TestCloseWaits closes a store with appends queued, a roll and an fsync under way.
func TestCloseWaits(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		r := newRig(t, o)
		cfg := smallConfig()
		cfg.SegmentBytes, cfg.FlushMessages = 300, 1
		p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
		idleOne := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
		var as []*appending
		for range 7 {
			as = append(as, r.begin(p, spec{value: 100}.batch()))
		}
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
		for i, a := range as {
			if a.Err != protocol.NONE || a.answered != 1 {
				t.Errorf("append %d: %v, answered %d times", i, a.Err, a.answered)
			}
		}
		if a := r.begin(p, spec{}.batch()); a.Err != protocol.NOT_LEADER_OR_FOLLOWER {
			t.Errorf("an append after the close: %v", a.Err)
		}
		if _, code := r.plan(p, 0, 100, true); code != protocol.NOT_LEADER_OR_FOLLOWER {
			t.Errorf("a plan after the close: %v", code)
		}
		if len(listDir(t, idleOne.Dir())) != 5 {
			t.Errorf("%v", listDir(t, idleOne.Dir()))
		}
		if r.store.OpenFiles() != 0 || r.core.Arena.InUse() != 8*512 {
			t.Errorf("%d files and %d bytes of the arena are still in use", r.store.OpenFiles(), r.core.Arena.InUse())
		}
	})
}

type woken struct{ times int }

func (w *woken) Woken(*Waiter) { w.times++ }

func TestDelete(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		r := newRig(t, o)
		data := t.TempDir()
		dir := filepath.Join(data, "events-0")
		cfg := smallConfig()
		cfg.DeleteDelayMillis = 1
		p := r.create(dir, cfg)
		r.must(p, spec{value: 100}.batch())
		got, _ := r.plan(p, 0, 1000, true)
		queued := r.begin(p, spec{}.batch())
		var w woken
		p.Wait(&Waiter{Owner: &w})
		var done []error
		r.store.Delete(p, func(err error) { done = append(done, err) })
		if queued.Err != protocol.NOT_LEADER_OR_FOLLOWER || queued.answered != 1 || w.times != 1 {
			t.Errorf("queued: %v, woken %d times", queued.Err, w.times)
		}
		r.until("it is renamed", func() bool { return done != nil })
		if done[0] != nil || r.store.Partitions() != 0 {
			t.Fatal(done)
		}
		again := r.create(dir, cfg) // the name is free at once
		r.must(again, spec{}.batch())
		b := make([]byte, got.Len)
		if n, errno := r.kernel.ReadNow(got.File.FD(), b, got.Pos); n != len(b) || errno != 0 || !protocol.Batch(b).ValidCRC() {
			t.Errorf("a range of the deleted log: %d, %v", n, errno)
		}
		got.File.Release()
		r.until("its files are removed", func() bool { return len(listDir(t, data)) == 1 })
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
	})
}

// TestDeleteThenStop leaves the removal to the next start.
func TestDeleteThenStop(t *testing.T) {
	r := newRig(t, StoreOptions{})
	data := t.TempDir()
	p := r.create(filepath.Join(data, "events-0"), smallConfig())
	r.must(p, spec{}.batch())
	r.store.Delete(p, nil)
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
	left := names(listDir(t, data))
	if len(left) != 1 || !strings.HasPrefix(left[0], "events-0.") || !strings.HasSuffix(left[0], "-delete") || len(left[0]) != len("events-0.-delete")+32 {
		t.Fatalf("left: %q", left)
	}
	mustWrite(t, filepath.Join(data, "recovery-point-offset-checkpoint.tmp"), nil)
	if err := RemoveDeleted(r.kernel, data); err != nil || len(listDir(t, data)) != 0 {
		t.Errorf("%v, %v", err, listDir(t, data))
	}
}

// TestStrays sets aside what belongs to no topic, or to an older one of the same name.
func TestStrays(t *testing.T) {
	k, data := ring.NewLinux(), t.TempDir()
	for i, topic := range []string{"kept", "gone", "renewed"} {
		id := TopicPartition{Topic: topic, TopicID: protocol.UUID{byte(i + 1)}, Partition: 2}
		if _, err := Create(k, filepath.Join(data, DirName(topic, 2)), id, DefaultConfig(), 0); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, filepath.Join(data, "file-1"), nil)
	os.Mkdir(filepath.Join(data, "lost+found"), 0o755)
	moved, err := SetAsideStrays(k, data, func(topic string, partition int32, id protocol.UUID) bool {
		return topic == "kept" && partition == 2 && id == protocol.UUID{1} || topic == "renewed" && id == protocol.UUID{9}
	})
	if err != nil || fmt.Sprint(moved) != "[gone-2 renewed-2]" {
		t.Fatal(moved, err)
	}
	left := names(listDir(t, data))
	if len(left) != 5 || left[2] != "kept-2" || !strings.HasSuffix(left[1], "-stray") || !strings.HasPrefix(left[4], "renewed-2.") {
		t.Errorf("%q", left)
	}
}

// TestFilesAreBounded uses more partitions than files may be open, and runs out of descriptors.
func TestFilesAreBounded(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		o.MaxFiles = 5
		r := newRig(t, o)
		data := t.TempDir()
		var ps []*Partition
		for i := range 20 {
			p, err := Create(r.kernel, filepath.Join(data, DirName("events", int32(i))), TopicPartition{Topic: "events", Partition: int32(i)}, smallConfig(), 0)
			if err != nil {
				t.Fatal(err)
			}
			r.store.Adopt(p)
			ps = append(ps, p)
		}
		var held []Range
		for round := range 10 {
			for _, p := range ps {
				r.must(p, spec{value: 300}.batch())
				got, code := r.plan(p, 0, 1000, true)
				if code != protocol.NONE {
					t.Fatal(code)
				}
				held = append(held, got)
				if r.store.OpenFiles() > 5 {
					t.Fatalf("%d files", r.store.OpenFiles())
				}
			}
			if round == 5 { // descriptors run out: the table gives up half of its own
				r.kernel.set(func(f *faults) {
					refused := 0
					f.failFiles = func(op, path string) error {
						if op == "open" && strings.HasSuffix(path, logSuffix) && refused%2 == 0 {
							refused++
							return syscall.EMFILE
						}
						refused = 0
						return nil
					}
				})
			}
		}
		for _, got := range held {
			b := make([]byte, got.Len)
			if n, errno := r.kernel.ReadNow(got.File.FD(), b, got.Pos); n != len(b) || errno != 0 || !protocol.Batch(b[:len(batchesOf(t, b)[0])]).ValidCRC() {
				t.Fatalf("%d, %v", n, errno)
			}
			got.File.Release()
		}
		r.kernel.set(func(f *faults) { f.failFiles = nil })
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
	})
}

// TestIdlePartitionsAreSmall measures what a partition costs that nothing happens in.
func TestIdlePartitionsAreSmall(t *testing.T) {
	k, data := ring.NewLinux(), t.TempDir()
	const n = 500
	var before, after runtime.MemStats
	all := make([]*Partition, 0, n)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		p, err := Create(k, filepath.Join(data, DirName("events", int32(i))), TopicPartition{Topic: "events", Partition: int32(i)}, DefaultConfig(), 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int64(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%d bytes a partition", each)
	if each > 2048 {
		t.Errorf("an idle partition costs %d bytes", each)
	}
	runtime.KeepAlive(all)
}

// TestManySegmentsOpen opens a log of a thousand segments, after a clean stop and after a crash.
func TestManySegmentsOpen(t *testing.T) {
	k, dir, cfg := ring.NewLinux(), filepath.Join(t.TempDir(), "events-0"), smallConfig()
	if _, err := Create(k, dir, TopicPartition{Topic: "events"}, cfg, 0); err != nil {
		t.Fatal(err)
	}
	b := protocol.Batch(spec{value: 10, timestamp: 1795265500_000}.batch())
	b.SetLeaderEpoch(0)
	mustWrite(t, filepath.Join(dir, fileName(0, timeIndexSuffix)), encodeTimeIndex([]timeEntry{{timestamp: b.MaxTimestamp()}}))
	for base := range int64(1000) {
		b.SetBaseOffset(base)
		mustWrite(t, filepath.Join(dir, fileName(base, logSuffix)), b)
		for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
			if base > 0 { // as the first segment's: links are made faster than files
				if err := os.Link(filepath.Join(dir, fileName(0, suffix)), filepath.Join(dir, fileName(base, suffix))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, clean := range []bool{true, false} {
		began := k.Monotonic()
		q, report, err := Open(k, dir, cfg, OpenOptions{Clean: clean, RecoveryPoint: 1000})
		took := (k.Monotonic() - began) / 1e6
		if err != nil || q.Segments() != 1000 || clean && report.SegmentsScanned != 0 || report.SegmentsScanned > 1 {
			t.Fatalf("%+v, %v", report, err)
		}
		t.Logf("clean %v: %d ms", clean, took)
		if took > 2000 {
			t.Errorf("clean %v: %d ms", clean, took)
		}
	}
}

// TestManyHelpers does the same work with real helpers, for the race detector.
func TestManyHelpers(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pool := reactor.NewHelpers(3)
	defer pool.Close()
	r := &rig{t: t, kernel: newFaults()}
	r.core = reactor.NewCore(reactor.Config{Kernel: r.kernel, Helpers: pool, Limits: reactor.Limits{ArenaBytes: 64 << 20}}, storeService{r})
	r.store = NewStore(r.core, StoreOptions{})
	if err := r.core.Start(); err != nil {
		t.Skipf("io_uring is missing: %v", err)
	}
	cfg := smallConfig()
	cfg.SegmentBytes = 40_000
	data := t.TempDir()
	var ps []*Partition
	for i := range 4 {
		p, err := Create(r.kernel, filepath.Join(data, DirName("events", int32(i))), TopicPartition{Topic: "events", Partition: int32(i)}, cfg, 0)
		if err != nil {
			t.Fatal(err)
		}
		r.store.Adopt(p)
		ps = append(ps, p)
	}
	for i := range 300 {
		for j, p := range ps {
			p.SetLeaderEpoch(int32(i / 50))
			r.must(p, spec{value: 1000, producer: int64(1 + j), sequence: int32(i), timestamp: int64(1000 + i)}.batch())
			if i%20 == 0 {
				s := &searchJob{q: p.Searcher(), at: int64(1000 + i/2)}
				r.core.Offload(s)
				r.until("the search ends", func() bool { return s.done })
				if s.err != nil || s.found.Offset != int64(i/2) {
					t.Fatalf("found %+v, %v", s.found, s.err)
				}
			}
		}
	}
	for _, p := range ps {
		readAll(t, r, p)
	}
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
	for _, p := range ps {
		checkIndexes(t, p.Dir())
		if got := string(mustRead(t, p.Dir(), epochCheckpointName)); got != "0\n6\n0 0\n1 50\n2 100\n3 150\n4 200\n5 250\n" {
			t.Errorf("epochs: %q", got)
		}
	}
	r.core.Ring.Close()
}

type searchJob struct {
	q     *Searcher
	at    int64
	found Found
	err   error
	done  bool
}

func (j *searchJob) Work(k ring.Kernel) reactor.Message {
	j.found, j.err = j.q.OffsetForTimestamp(k, j.at)
	return j
}
func (j *searchJob) Deliver(*reactor.Core) { j.done = true }
