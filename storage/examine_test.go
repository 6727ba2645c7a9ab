package storage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"slipstream/protocol"
	"slipstream/ring"
)

// watcher counts the calls by the base offset of the segment that they are about.
type watcher struct {
	ring.Kernel
	mu    sync.Mutex
	calls map[int64]int
	all   int
}

func newWatcher(k ring.Kernel) *watcher { return &watcher{Kernel: k, calls: map[int64]int{}} }

func (w *watcher) saw(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all++
	if base, _, ok := parseFileName(filepath.Base(path)); ok {
		w.calls[base]++
	}
}

func (w *watcher) Open(path string, flags int, mode uint32) (int, error) {
	w.saw(path)
	return w.Kernel.Open(path, flags, mode)
}

func (w *watcher) OpenNowait(path string, flags int) (int, syscall.Errno) {
	w.saw(path)
	return w.Kernel.OpenNowait(path, flags)
}

func (w *watcher) Stat(path string) (ring.FileInfo, error) {
	w.saw(path)
	return w.Kernel.Stat(path)
}

func (w *watcher) Rename(from, to string) error {
	w.saw(from)
	return w.Kernel.Rename(from, to)
}

func (w *watcher) Remove(path string) error {
	w.saw(path)
	return w.Kernel.Remove(path)
}

// manySegments makes a cleanly closed log of n closed segments, each with the batch of one record that tmpl is: for the files of one segment
// are like those of any other.
func manySegments(t testing.TB, dir string, n int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	make1 := func(base int64, suffix string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, fileName(base, suffix)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(n + 1) {
		s := spec{value: 100, timestamp: 1000 * (i + 1)}
		b := protocol.Batch(s.batch())
		b.SetBaseOffset(i)
		b.SetLeaderEpoch(0)
		make1(i, logSuffix, b)
		make1(i, indexSuffix, nil)
		make1(i, timeIndexSuffix, encodeTimeIndex([]timeEntry{{s.timestamp, 0}}))
		if i > 0 {
			make1(i, snapshotSuffix, new(producers).encode())
		}
	}
	make1(int64(n+1), snapshotSuffix, new(producers).encode())
	mustWrite(t, filepath.Join(dir, epochCheckpointName), []byte("0\n1\n0 0\n"))
	mustWrite(t, filepath.Join(dir, partitionMetadataName), encodePartitionMetadata(protocol.UUID{1, 2, 3}))
}

// TestStartDoesNotTouchClosedSegments opens two thousand segments and counts the calls: the closed ones are known by their names only, after
// a crash too. Whatever is asked then is answered as if they had been looked at.
func TestStartDoesNotTouchClosedSegments(t *testing.T) {
	const n = 2000
	dir := filepath.Join(t.TempDir(), "events-0")
	manySegments(t, dir, n)
	for _, clean := range []bool{true, false} {
		w := newWatcher(ring.NewLinux())
		p, report, err := Open(w, dir, smallConfig(), OpenOptions{Clean: clean, RecoveryPoint: n})
		if err != nil || len(report.Notes) > 0 || p.Offsets().LogEnd != n+1 || p.Segments() != n+1 {
			t.Fatal(err, report, p.Offsets())
		}
		for base, calls := range w.calls {
			if base < n {
				t.Fatalf("clean %v: %d calls for segment %d", clean, calls, base)
			}
		}
		if w.all > 40 {
			t.Errorf("clean %v: %d calls to open %d segments", clean, w.all, n)
		}
	}
	w := newWatcher(ring.NewLinux())
	f := newFaults()
	f.Kernel = w
	r := newRigOn(t, f, StoreOptions{})
	p, _ := r.open(dir, smallConfig(), OpenOptions{Clean: true})
	// A search by time sees them all, whatever is known.
	if found, err := p.Searcher().OffsetForTimestamp(r.kernel, 1_500_500); err != nil || found.Offset != 1500 {
		t.Error(found, err)
	}
	if found, err := p.Searcher().MaxTimestamp(r.kernel); err != nil || found.Offset != n {
		t.Error(found, err)
	}
	size := int64(len(spec{value: 100, timestamp: 1000}.batch()))
	for _, offset := range []int64{0, 777, n - 1, n} {
		if got, code := r.plan(p, offset, 1, true); code != protocol.NONE || int64(got.Len) != size || got.End != offset+1 {
			t.Errorf("Plan(%d): %v, %+v", offset, code, got)
		}
	}
	r.survey(p)
	if want := (n + 1) * size; p.Bytes() < want || p.Bytes() > want+2*n || p.unknown != 0 || r.store.Stats.Examined != n {
		t.Errorf("%d bytes, want about %d; %d not known; %+v", p.Bytes(), want, p.unknown, r.store.Stats)
	}
	w.calls = map[int64]int{}
	if found, err := p.Searcher().OffsetForTimestamp(r.kernel, 1_500_500); err != nil || found.Offset != 1500 || len(w.calls) != 1 {
		t.Errorf("%+v, %v: files of %d segments were looked at", found, err, len(w.calls))
	}
	if errs := r.close(); errs != nil || len(r.notes) > 0 {
		t.Error(errs, r.notes)
	}
}

// TestRetentionWaitsForTheSurvey: what is not known of a segment neither keeps it nor gives it up.
func TestRetentionWaitsForTheSurvey(t *testing.T) {
	for _, by := range []string{"time", "size"} {
		dir := filepath.Join(t.TempDir(), "events-0")
		manySegments(t, dir, 200)
		f := newFaults()
		f.wall = 201_000e6
		r := newRigOn(t, f, StoreOptions{})
		cfg := smallConfig()
		if by == "time" {
			cfg.RetentionMillis = 100_500
		} else {
			cfg.RetentionBytes = 101 * int64(len(spec{value: 100, timestamp: 1000}.batch()))
		}
		p, _ := r.open(dir, cfg, OpenOptions{Clean: true})
		p.retain(201_000)
		if p.Offsets().LogStart != 0 {
			t.Errorf("%s: %+v before anything is known", by, p.Offsets())
		}
		r.until("it is surveyed and retained", func() bool { return p.unknown == 0 && p.Offsets().LogStart > 0 && p.quiet() })
		if start := p.Offsets().LogStart; start != 100 {
			t.Errorf("%s: the log begins at %d", by, start)
		}
	}
}

// TestUnreadableSegments: one that cannot be examined fails those who want to read it, and nothing else; retention leaves it and what follows it
// alone.
func TestUnreadableSegments(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events-0")
	manySegments(t, dir, 200)
	f := newFaults()
	f.wall = 300_000e6
	f.failFiles = func(op, path string) error {
		if op == "open" && strings.HasSuffix(path, fileName(90, timeIndexSuffix)) {
			return syscall.EIO
		}
		return nil
	}
	r := newRigOn(t, f, StoreOptions{})
	cfg := smallConfig()
	cfg.RetentionMillis = 100_000
	p, _ := r.open(dir, cfg, OpenOptions{Clean: true})
	if _, code := r.plan(p, 90, 100, true); code != protocol.KAFKA_STORAGE_ERROR {
		t.Errorf("Plan: %v", code)
	}
	if got, code := r.plan(p, 91, 100, true); code != protocol.NONE || got.End != 92 {
		t.Errorf("Plan: %v", code)
	}
	if _, err := p.Searcher().MaxTimestamp(r.kernel); err == nil {
		t.Error("a search does not notice")
	}
	r.survey(p)
	p.retain(300_000)
	r.until("it is at rest", p.quiet)
	if o := p.Offsets(); o.LogStart != 90 || p.unknown != 1 {
		t.Errorf("%+v, %d not known", o, p.unknown)
	}
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "segment 90 of events-0 cannot be examined") {
		t.Errorf("%q", r.notes)
	}
	f.set(func(f *faults) { f.failFiles = nil })
	if got, code := r.plan(p, 90, 100, true); code != protocol.NONE || got.End != 91 || p.unknown != 0 {
		t.Errorf("Plan: %v", code)
	}
}

// TestDamagedClosedSegment: indexes of a segment whose log is damaged are made of what can be read, and the log is left as it is.
func TestDamagedClosedSegment(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentBytes = 3000
	for _, how := range []string{"crc", "length"} {
		c := crashLog(t, cfg, 40)
		p, _, err := Open(ring.NewLinux(), c.dir, cfg, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(c.dir, fileName(p.segments[1].base, logSuffix))
		b := mustRead(t, path)
		batches := batchesOf(t, b)
		third := len(batches[0]) + len(batches[1])
		if how == "crc" {
			b[third+len(batches[2])-1] ^= 1
		} else {
			b[third+8] = 0x7f
		}
		mustWrite(t, path, b)
		if err := os.Remove(filepath.Join(c.dir, fileName(p.segments[1].base, indexSuffix))); err != nil {
			t.Fatal(err)
		}
		r := newRig(t, StoreOptions{})
		q, _ := r.open(c.dir, cfg, OpenOptions{Clean: true})
		if q.Offsets().LogEnd != p.Offsets().LogEnd {
			t.Fatal(q.Offsets())
		}
		if got, code := r.plan(q, batches[1].BaseOffset(), 1, true); code != protocol.NONE || got.End != batches[1].NextOffset() {
			t.Errorf("%s: %v %+v", how, code, got)
		}
		last := batches[len(batches)-1]
		got, code := r.plan(q, last.BaseOffset(), 1, true)
		if how == "crc" && (code != protocol.NONE || got.End != last.NextOffset()) {
			t.Errorf("%s: %v %+v", how, code, got)
		}
		if how == "length" && code != protocol.KAFKA_STORAGE_ERROR {
			t.Errorf("%s: %v %+v", how, code, got)
		}
		if len(r.notes) < 2 || !strings.Contains(r.notes[0], "were made anew: its indexes do not fit its log: there is no .index") || !strings.Contains(r.notes[1], fmt.Sprintf("at position %d", third)) {
			t.Errorf("%s: %q", how, r.notes)
		}
		if !bytes.Equal(mustRead(t, path), b) {
			t.Errorf("%s: the log was changed", how)
		}
	}
}
