package storage

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"slipstream/reactor"
)

// watching is a CacheObserver that writes down what it is told.
type watching struct {
	reactor.Unobserved
	files map[uint32]int64 // number: where the file's data ends
	names []string
	reads []string
	gone  []uint32
	begun bool
	asked int // bytes of reads begun
	ended int // and of reads over
}

// File implements reactor.CacheObserver.
func (w *watching) File(_ int, partition string, bytes int64) uint32 {
	n := uint32(len(w.names) + 1)
	w.names = append(w.names, partition)
	w.files[n] = bytes
	return n
}

// Forget implements reactor.CacheObserver.
func (w *watching) Forget(file uint32) { w.gone = append(w.gone, file) }

// Extent implements reactor.CacheObserver.
func (w *watching) Extent(file uint32, bytes int64) { w.files[file] = bytes }

// Begin implements reactor.CacheObserver.
func (w *watching) Begin(slot int, file, _ uint32, off int64, n int) {
	w.begun = true
	w.asked += n
	w.reads = append(w.reads, fmt.Sprintf("slot %d file %d", slot, file))
}

// End implements reactor.CacheObserver.
func (w *watching) End(slot int, n int) {
	if !w.begun || slot != 0 || n <= 0 {
		panic("a read ends that was not begun")
	}
	w.begun = false
	w.ended += n
}

// TestLogFilesAreObserved: each .log that is opened gets a number, is followed as it grows and as it is cut, and is
// forgotten when it is deleted; what a plan reads of it is announced.
func TestLogFilesAreObserved(t *testing.T) {
	w := &watching{files: map[uint32]int64{}}
	r := newRigWith(t, newFaults(), StoreOptions{NoPreallocation: true}, w)
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 5000, 1
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	for range 10 {
		r.must(p, spec{value: 1000}.batch())
		if s := p.activeSegment(); s.observed == 0 || w.files[s.observed] != s.size {
			t.Fatalf("file %d ends at %d, its observer thinks at %d", s.observed, s.size, w.files[s.observed])
		}
	}
	if len(p.segments) != 3 || len(w.names) != 3 || w.names[0] != "events-0" {
		t.Fatalf("%d segments, files of %q", len(p.segments), w.names)
	}
	r.store.files.dropSegment(p.segments[0])
	got, _ := r.plan(p, 1, 1500, true)
	if got.File.Observed() == 0 || got.File.Observed() != p.segments[0].observed || w.files[got.File.Observed()] != p.segments[0].size {
		t.Errorf("a closed file is %d, of %d bytes", got.File.Observed(), w.files[got.File.Observed()])
	}
	if want := fmt.Sprintf("slot 0 file %d", got.File.Observed()); !slices.Contains(w.reads, want) || w.begun {
		t.Errorf("the plan's reads are %q", w.reads)
	}
	got.Release()
	deleted := false
	r.store.Delete(p, func(error) { deleted = true })
	r.until("it is deleted", func() bool { return deleted })
	for _, s := range p.segments {
		if !slices.Contains(w.gone, s.observed) {
			t.Errorf("file %d is not forgotten: %v", s.observed, w.gone)
		}
	}
}

// TestMissesAreLookedUp: a plan that finds the bytes that it wants not in the page cache has looked them up all the
// same, and had the kernel begin to read them: else a partition had more misses than lookups.
func TestMissesAreLookedUp(t *testing.T) {
	w := &watching{files: map[uint32]int64{}}
	r := newRigWith(t, newFaults(), StoreOptions{NoPreallocation: true}, w)
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 5000, 1
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	for range 10 {
		r.must(p, spec{value: 1000}.batch())
	}
	for _, there := range []int{0, 100} { // of each read
		w.asked, w.ended = 0, 0
		r.kernel.set(func(f *faults) {
			f.resident = func(fd, n int, _ int64) int {
				if filepath.Ext(f.pathOf(fd)) == fileSuffixes[logFile] {
					return min(n, there)
				}
				return n
			}
		})
		got, code := r.plan(p, 1, 1500, true)
		if code != 0 || got.Len == 0 {
			t.Fatalf("%+v, %v", got, code)
		}
		got.Release()
		if w.asked == 0 || w.ended != w.asked {
			t.Errorf("%d bytes of each read are there: %d bytes were looked up, %d looked for", there, w.ended, w.asked)
		}
	}
}
