package storage

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"slipstream/protocol"
)

// TestZerosAhead appends where each append waits for an fsync: most find the file long enough. What a kill leaves opens
// without a word and without loss, a closed segment has nothing behind its batches, nor has any after a clean stop.
func TestZerosAhead(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		o.ZerosAhead, o.NoPreallocation = true, true
		r := newRig(t, o)
		cfg := smallConfig()
		cfg.FlushMessages, cfg.SegmentBytes = 1, 120<<10
		dir := filepath.Join(t.TempDir(), "events-0")
		p := r.create(dir, cfg)
		grown, last := 0, int64(0)
		const appends = 260
		for i := range appends {
			r.must(p, spec{value: 1000, producer: 4, sequence: int32(i)}.batch())
			sizes := listDir(t, dir)
			for j, s := range p.segments {
				n := sizes[fileName(s.base, logSuffix)]
				if j < len(p.segments)-1 && n != s.size || n < s.size {
					t.Fatalf("append %d: segment %d of %d has %d bytes and its file %d", i, j, len(p.segments), s.size, n)
				}
				if j == len(p.segments)-1 && n != last {
					grown++
					last = n
				}
			}
			if i%60 == 50 {
				copied := filepath.Join(t.TempDir(), "events-0")
				copyDir(t, dir, copied)
				q, report, err := Open(r.kernel, copied, cfg, OpenOptions{})
				if err != nil || q.Offsets().LogEnd != int64(i+1) || report.BytesCut != 0 || len(report.Notes) != 0 {
					t.Fatalf("after a kill: %+v, %v, %+v", q.Offsets(), err, report)
				}
				if got := listDir(t, copied)[fileName(q.activeSegment().base, logSuffix)]; got != q.activeSegment().size {
					t.Fatalf("after a recovery the file has %d bytes, its batches %d", got, q.activeSegment().size)
				}
			}
		}
		if len(p.segments) < 3 {
			t.Fatalf("%d segments", len(p.segments))
		}
		if grown > appends/3 { // the first 16 KiB of each segment are without
			t.Errorf("the file grew with %d of %d appends", grown, appends)
		}
		readAll(t, r, p)
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
		for _, s := range p.segments {
			if n := listDir(t, dir)[fileName(s.base, logSuffix)]; n != s.size {
				t.Errorf("after a clean stop segment %d has %d bytes and its file %d", s.base, s.size, n)
			}
		}
		checkIndexes(t, dir)
	})
}

// TestZerosAheadOnFullDisk has no room for zeros, and then none for a batch: the first is no failure, and the second leaves
// nothing behind the log's end.
func TestZerosAheadOnFullDisk(t *testing.T) {
	r := newRig(t, StoreOptions{ZerosAhead: true, NoPreallocation: true})
	cfg := smallConfig()
	cfg.FlushMessages = 1
	dir := filepath.Join(t.TempDir(), "events-0")
	p := r.create(dir, cfg)
	batch := spec{value: 1000}.batch()
	left := 40 * len(batch)
	r.kernel.set(func(f *faults) {
		f.failWrite = func(_, n int, off int64) (int, syscall.Errno) {
			if room := left - int(off); room < n { // of a disk that has so many bytes
				if room <= 0 {
					return 0, syscall.ENOSPC
				}
				return room, 0
			}
			return n, 0
		}
	})
	for i := range 40 {
		if got := r.must(p, batch); got != int64(i) {
			t.Fatalf("append %d is at %d", i, got)
		}
	}
	if a := r.append(p, batch); a.Err != protocol.KAFKA_STORAGE_ERROR {
		t.Fatal(a.Err)
	}
	r.until("it is cut", func() bool { return p.state == idle && p.trouble == sound })
	info, err := os.Stat(filepath.Join(dir, fileName(0, logSuffix)))
	if err != nil || info.Size() != p.activeSegment().size {
		t.Errorf("the file has %d bytes, the log %d, %v", info.Size(), p.activeSegment().size, err)
	}
	r.kernel.set(func(f *faults) { f.failWrite = nil })
	r.must(p, batch)
	readAll(t, r, p)
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
}
