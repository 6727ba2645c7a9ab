package storage

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/protocol"
	"slipstream/ring"
)

// deleteRig makes a log of ten segments of ten records each, one a batch, and a last one of five.
func deleteRig(t *testing.T, o StoreOptions, cfg Config) (*rig, *Partition, string) {
	t.Helper()
	r := newRig(t, o)
	dir := filepath.Join(t.TempDir(), "events-0")
	cfg.SegmentBytes = int32(10*len(spec{value: 30}.batch()) + 5)
	p := r.create(dir, cfg)
	for i := range 105 {
		r.must(p, spec{value: 30, timestamp: 1795265500_000 + int64(i)}.batch())
	}
	r.until("it is at rest", func() bool { return p.finishing == 0 && !p.syncing.running })
	if len(p.segments) != 11 || p.activeSegment().base != 100 {
		t.Fatalf("%d segments, the last from %d", len(p.segments), p.activeSegment().base)
	}
	return r, p, dir
}

func TestDeleteRecords(t *testing.T) {
	r, p, dir := deleteRig(t, StoreOptions{}, smallConfig())
	for _, step := range []struct {
		upTo, start int64
		code        protocol.ErrorCode
		first       int64 // segment
	}{
		{0, 0, protocol.NONE, 0},
		{-2, -1, protocol.OFFSET_OUT_OF_RANGE, 0},
		{106, -1, protocol.OFFSET_OUT_OF_RANGE, 0},
		{9, 9, protocol.NONE, 0},
		{10, 10, protocol.NONE, 10},
		{5, 10, protocol.NONE, 10}, // it never goes back
		{57, 57, protocol.NONE, 50},
		{HighWatermark, 105, protocol.NONE, 100},
		{105, 105, protocol.NONE, 100},
	} {
		start, code := p.DeleteRecords(step.upTo)
		if start != step.start || code != step.code {
			t.Errorf("up to %d: %d, %v", step.upTo, start, code)
		}
		r.until("the files are renamed", func() bool { return !p.deleting })
		if p.segments[0].base != step.first {
			t.Errorf("up to %d: the log begins with segment %d, want %d", step.upTo, p.segments[0].base, step.first)
		}
		if start = p.Offsets().LogStart; start > 0 {
			if _, code := r.plan(p, start-1, 100, true); code != protocol.OFFSET_OUT_OF_RANGE {
				t.Errorf("up to %d: a read below is answered with %v", step.upTo, code)
			}
		}
		if got, code := r.plan(p, start, 1<<20, true); code != protocol.NONE || start < 105 && got.Len == 0 {
			t.Errorf("up to %d: a read at the start: %+v, %v", step.upTo, got, code)
		} else {
			got.Release()
		}
	}
	for name := range listDir(t, dir) {
		base, suffix, ok := parseFileName(name)
		if ok && base < 100 && !strings.HasSuffix(suffix, deletedSuffix) {
			t.Errorf("%s is still there", name)
		}
	}
	if got := r.must(p, spec{}.batch()); got != 105 {
		t.Errorf("the next append is at %d", got)
	}
	cfg := p.config
	cfg.Deletable = false
	p.SetConfig(cfg)
	if _, code := p.DeleteRecords(106); code != protocol.POLICY_VIOLATION {
		t.Errorf("without delete in cleanup.policy: %v", code)
	}
}

// TestDeletedFiles keeps a range in hand while its segment goes, and waits for the files to go too.
func TestDeletedFiles(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		cfg := smallConfig()
		cfg.DeleteDelayMillis = 20
		r, p, dir := deleteRig(t, o, cfg)
		held, code := r.plan(p, 3, 1<<20, true)
		if code != protocol.NONE {
			t.Fatal(code)
		}
		if _, code := p.DeleteRecords(40); code != protocol.NONE {
			t.Fatal(code)
		}
		r.until("the files are gone", func() bool {
			for name := range listDir(t, dir) {
				if base, _, ok := parseFileName(name); ok && base < 40 {
					return false
				}
			}
			return true
		})
		b := make([]byte, held.Len)
		if n, errno := r.kernel.ReadNow(held.File.FD(), b, held.Pos); n != len(b) || errno != 0 {
			t.Fatal(n, errno)
		}
		if batches := batchesOf(t, b); batches[0].BaseOffset() != 3 || batches[len(batches)-1].NextOffset() != held.End {
			t.Errorf("%d batches from %d", len(batches), batches[0].BaseOffset())
		}
		held.Release()
		readAll(t, r, p)
		if got := r.store.Stats.DeletedSegments; got != 4 {
			t.Errorf("%d segments deleted", got)
		}
	})
}

// TestDeleteThenRestart stops, or is killed, after a deletion: the log's start is where it was, or, when no checkpoint says
// so, at the first segment that is left.
func TestDeleteThenRestart(t *testing.T) {
	for _, clean := range []bool{true, false} {
		r, p, dir := deleteRig(t, StoreOptions{}, smallConfig())
		p.SetLeaderEpoch(3)
		if start, _ := p.DeleteRecords(57); start != 57 {
			t.Fatal(start)
		}
		r.until("the files are renamed", func() bool { return p.quiet() })
		at, o := p.Checkpoint(), OpenOptions{Clean: clean}
		if clean {
			o.LogStart = at.LogStart
			if errs := r.close(); errs != nil {
				t.Fatal(errs)
			}
		}
		q, report, err := Open(ring.NewLinux(), dir, smallConfig(), o)
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]int64{true: 57, false: 50}[clean]
		if got := q.Offsets(); got.LogStart != want || got.LogEnd != 105 || len(q.segments) != 6 {
			t.Errorf("clean %v: %+v, %d segments, %q", clean, got, len(q.segments), report.Notes)
		}
		for name := range listDir(t, dir) {
			if isLeftover(name) {
				t.Errorf("clean %v: %s was left", clean, name)
			}
		}
		if epoch, end := q.EndOffsetForEpoch(0); epoch != 0 || end != 105 {
			t.Errorf("clean %v: epoch %d ends at %d", clean, epoch, end)
		}
	}
}

// TestDeleteBeneathATransaction deletes the beginning of an open transaction: it stays open, consumers of committed records
// see nothing until it ends, and what was aborted in the segments that are gone is not told any more.
func TestDeleteBeneathATransaction(t *testing.T) {
	r := newRig(t, StoreOptions{})
	cfg := smallConfig()
	cfg.SegmentBytes = 500
	dir := filepath.Join(t.TempDir(), "events-0")
	p := r.create(dir, cfg)
	txn := spec{producer: 7, value: 40, attrs: protocol.AttrTransactional}
	answered := func(a *appending) *appending {
		r.until("it is answered", func() bool { return a.answered > 0 })
		return a
	}
	answered(r.transactional(p, txn))
	answered(r.mark(p, marker(7, 0, 0, false), 1))
	txn.sequence = 1
	first := answered(r.transactional(p, txn)).BaseOffset
	for range 20 {
		r.must(p, spec{value: 40}.batch())
	}
	o := p.Offsets()
	if o.LastStable != first || len(p.txns.aborting) == 0 {
		t.Fatalf("%+v", o)
	}
	start, code := p.DeleteRecords(15)
	r.until("the files are renamed", func() bool { return p.quiet() })
	if o = p.Offsets(); code != protocol.NONE || start != 15 || o.LastStable != 15 || len(p.txns.aborting) != 0 {
		t.Fatalf("%+v, %v", o, code)
	}
	if got, _, code := p.Plan(Query{Offset: 15, MaxBytes: 1000, Committed: true}, nil); got.Len != 0 || code != protocol.NONE {
		t.Errorf("a consumer of committed records gets %+v, %v", got, code)
	}
	answered(r.mark(p, marker(7, 0, 0, false), 1))
	if o = p.Offsets(); o.LastStable != o.HighWatermark {
		t.Errorf("after the end: %+v", o)
	}
	if got := r.ask(p, 15, o.HighWatermark); len(got) != 1 || got[0] != (AbortedTransaction{ProducerID: 7, FirstOffset: first}) {
		t.Errorf("aborted: %+v", got)
	}
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
	if q, _, err := Open(ring.NewLinux(), dir, cfg, OpenOptions{LogStart: 15}); err != nil || q.Offsets().LastStable != q.Offsets().LogEnd || q.Producers() != 1 {
		t.Errorf("opened again: %+v, %v", q, err)
	}
}

// TestDeleteUnderLookups deletes segments, and replaces their names, while a helper looks for something in them.
func TestDeleteUnderLookups(t *testing.T) {
	r, p, _ := deleteRig(t, StoreOptions{}, smallConfig())
	r.kernel.set(func(f *faults) { f.resident = func(int, int, int64) int { return 0 } })
	for _, c := range []struct {
		offset, upTo int64
		code         protocol.ErrorCode
	}{{5, 30, protocol.OFFSET_OUT_OF_RANGE}, {45, 60, protocol.OFFSET_OUT_OF_RANGE}, {65, 65, protocol.NONE}} {
		r.helpers.hold = true
		q := Query{Offset: c.offset, MaxBytes: 200}
		_, l, code := p.Plan(q, nil)
		if l == nil {
			t.Fatalf("offset %d was found without a lookup: %v", c.offset, code)
		}
		p.DeleteRecords(c.upTo)
		r.until("the files are renamed", func() bool { return !p.deleting })
		r.helpers.letGo()
		r.until("the lookup is done", l.Done)
		got, again, code := p.Plan(q, l)
		if code != c.code || again != nil || (got.Len > 0) != (code == protocol.NONE) {
			t.Errorf("offset %d: %+v, %v", c.offset, got, code)
		}
		got.Release()
	}
}

// TestDeleteManySegments deletes more than go in one piece, while a rename fails.
func TestDeleteManySegments(t *testing.T) {
	r := newRig(t, StoreOptions{})
	cfg := smallConfig()
	cfg.SegmentBytes = 150
	dir := filepath.Join(t.TempDir(), "events-0")
	p := r.create(dir, cfg)
	for range 3*deletePiece + 5 {
		r.must(p, spec{value: 60}.batch())
	}
	n := p.Segments()
	if n <= 3*deletePiece {
		t.Fatalf("%d segments", n)
	}
	if start, code := p.DeleteRecords(HighWatermark); code != protocol.NONE || start != p.Offsets().LogEnd {
		t.Fatal(start, code)
	}
	r.until("they are gone", func() bool { return p.Segments() == 1 })
	if got := r.store.Stats.DeletedSegments; got != uint64(n-1) {
		t.Errorf("%d of %d deleted", got, n)
	}
	if len(r.notes) > 0 {
		t.Error(fmt.Sprint(r.notes))
	}
}
