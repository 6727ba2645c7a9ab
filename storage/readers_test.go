package storage

import (
	"path/filepath"
	"testing"
)

// fetch asks for an offset as a fetch does.
func (r *rig) fetch(p *Partition, offset int64) {
	r.t.Helper()
	var l *Lookup
	for {
		got, next, code := p.Plan(Query{Offset: offset, MaxBytes: 1 << 20, AtLeastOne: true}, l)
		got.Release()
		if code != 0 {
			r.t.Fatal(code)
		}
		if l = next; l == nil {
			return
		}
		r.until("the lookup is done", l.Done)
	}
}

// TestReadersAt keeps the lowest place of those who read near the end, for as long as they do.
func TestReadersAt(t *testing.T) {
	r := newRig(t, StoreOptions{TailBytes: 1000})
	cfg := smallConfig()
	cfg.SegmentBytes = 700
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	size := int64(len(spec{value: 100}.batch()))
	for range 40 {
		r.must(p, spec{value: 100}.batch())
	}
	r.until("quiet", func() bool { return p.quiet() })
	r.core.Now = 1e12
	check := func(what string, want int64, is bool) {
		t.Helper()
		if got, ok := p.ReadersAt(); ok != is || ok && got != want {
			t.Errorf("%s: at %d, %v; want %d, %v", what, got, ok, want, is)
		}
	}
	check("nobody has read", 0, false)
	r.fetch(p, 0)
	check("a laggard has", 0, false)
	r.fetch(p, 40)
	check("one at the end", 40, true)
	near := 40 - 1000/size
	r.fetch(p, near)
	check("one near the end, some segments back", near, true)
	r.fetch(p, near-1)
	check("a bit farther", near, true)
	r.core.Now += readersWindowNanos
	r.fetch(p, 39)
	check("they may still be there", near, true)
	r.core.Now += readersWindowNanos
	r.fetch(p, 40)
	check("they are not", 39, true)
	r.core.Now += 3 * readersWindowNanos
	check("nobody is", 0, false)
	p.SetReaders(38, r.core.Now)
	check("those of the last run", 38, true)
	if n := testing.AllocsPerRun(100, func() { r.fetch(p, 40); r.fetch(p, 39); p.ReadersAt() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	r.store.tailBytes = 0
	r.core.Now += 3 * readersWindowNanos
	r.fetch(p, 40)
	check("not wanted", 0, false)
}

// TestWarmSteps hands tails out newest first, in turn, and stays within the limit.
func TestWarmSteps(t *testing.T) {
	const mib = WarmStepBytes
	log := func(sizes ...int64) *Partition {
		p := &Partition{dir: "d"}
		for i, n := range sizes {
			p.segments = append(p.segments, &segment{base: int64(i), size: n})
		}
		return p
	}
	tail := func(p *Partition, segment int, from int64) *WarmTail {
		return &WarmTail{p: p, segment: segment, from: from, at: len(p.segments) - 1, left: p.segments[len(p.segments)-1].size}
	}
	type piece struct {
		base   int64
		off, n int64
	}
	for _, c := range []struct {
		name    string
		tails   []*WarmTail
		limit   int64
		want    []piece
		leftOut int64
	}{
		{"nothing", nil, 100, nil, 0},
		{"one", []*WarmTail{tail(log(5*mib/2), 0, 100)}, 10 * mib, []piece{{0, 2 * mib, mib / 2}, {0, mib, mib}, {0, 100, mib - 100}}, 0},
		{"over segments", []*WarmTail{tail(log(mib, 300, 0, mib), 0, mib-7)}, 10 * mib, []piece{{3, 0, mib}, {1, 0, 300}, {0, mib - 7, 7}}, 0},
		{"in turn", []*WarmTail{tail(log(2*mib), 0, 0), tail(log(10, mib+1), 1, 5)}, 10 * mib,
			[]piece{{0, mib, mib}, {1, mib, 1}, {0, 0, mib}, {1, 5, mib - 5}}, 0},
		{"bounded", []*WarmTail{tail(log(100*mib, 3*mib), 0, 1), tail(log(mib), 0, 0)}, 3 * mib,
			[]piece{{1, 2 * mib, mib}, {0, 0, mib}, {1, mib, mib}}, 101*mib - 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps, total, leftOut := WarmSteps(c.tails, c.limit)
			var got []piece
			sum := int64(0)
			for _, s := range steps {
				base, _, _ := parseFileName(filepath.Base(s.path))
				got = append(got, piece{base, s.off, int64(s.n)})
				sum += s.Bytes()
			}
			if len(got) != len(c.want) {
				t.Fatalf("%v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("step %d is %v, want %v", i, got[i], c.want[i])
				}
			}
			if sum != total || total > c.limit || leftOut != c.leftOut {
				t.Errorf("%d bytes in steps, %d in all, %d left out, want %d", sum, total, leftOut, c.leftOut)
			}
		})
	}
}
