package storage

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"slipstream/protocol"
)

// TestScan reads a log of many segments from everywhere, in pieces, and sees each
// batch once.
func TestScan(t *testing.T) {
	r := newRig(t, StoreOptions{})
	cfg := smallConfig()
	cfg.SegmentBytes = 20_000
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	random := rand.New(rand.NewPCG(3, 3))
	var ends []int64 // of each batch: the offset behind it
	for range 300 {
		n := 1 + random.IntN(4)
		ends = append(ends, r.must(p, spec{records: n, value: random.IntN(400), timestamp: 1}.batch())+int64(n))
	}
	last := ends[len(ends)-1]
	for _, from := range []int64{0, 1, ends[10], ends[10] + 1, ends[150], last - 1, last} {
		var seen []int64
		for next, done := from, false; !done; {
			left := 1 + random.IntN(40)
			var err error
			next, done, err = p.Scan(next).Read(r.kernel, func(b protocol.Batch) bool {
				if !b.ValidCRC() || int(b.Length())+protocol.LogOverhead != len(b) {
					t.Fatalf("the batch at %d is not whole", b.BaseOffset())
				}
				seen = append(seen, b.NextOffset())
				left--
				return left > 0
			})
			if err != nil {
				t.Fatalf("from %d: %v", from, err)
			}
		}
		var want []int64
		for _, end := range ends {
			if end > from {
				want = append(want, end)
			}
		}
		if len(seen) != len(want) || len(seen) > 0 && (seen[0] != want[0] || seen[len(seen)-1] != last) {
			t.Errorf("from %d: %d batches, want %d", from, len(seen), len(want))
		}
	}
	before := p.Scan(last)
	r.must(p, spec{records: 1, timestamp: 1}.batch())
	if next, done, err := before.Read(r.kernel, func(protocol.Batch) bool { t.Error("a scan sees what came later"); return true }); next != last || !done || err != nil {
		t.Errorf("at the end: %d, %v, %v", next, done, err)
	}
	gone := p.Scan(0)
	if err := syscall.Unlink(p.Dir() + "/00000000000000000000.log"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := gone.Read(r.kernel, func(protocol.Batch) bool { return true }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a segment that is gone: %v", err)
	}
}
