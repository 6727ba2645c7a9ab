package main

import (
	"math"
	"testing"
)

func near(a, b, share float64) bool { return math.Abs(a-b) <= share*math.Max(math.Abs(a), math.Abs(b)) }

func TestHistogramPercentiles(t *testing.T) {
	h := newHistogram()
	for i := int64(1); i <= 10_000; i++ {
		h.record(i * 1000) // 1 us to 10 ms
	}
	for _, c := range []struct{ percentile, micros float64 }{{50, 5000}, {90, 9000}, {99, 9900}, {99.9, 9990}, {100, 10000}} {
		if got := h.micros(c.percentile); !near(got, c.micros, 0.002) {
			t.Errorf("p%g is %g us, want %g", c.percentile, got, c.micros)
		}
	}
	h.record(-5)
	h.record(longestNanos * 3)
	if h.count() != 10_002 || h.hdr.Min() != 0 || !near(float64(h.hdr.Max()), float64(longestNanos), 0.002) {
		t.Errorf("out of range: %d recorded, from %d to %d", h.count(), h.hdr.Min(), h.hdr.Max())
	}
	var none *histogram
	if none.micros(50) != 0 || newHistogram().micros(99) != 0 || none.curve() != nil || none.summary(true) != nil {
		t.Error("an empty histogram has values")
	}
}

// TestHistogramMerge: a merged histogram is what one that saw everything would be.
func TestHistogramMerge(t *testing.T) {
	parts, whole, merged := []*histogram{newHistogram(), newHistogram(), newHistogram()}, newHistogram(), newHistogram()
	for i := range int64(30_000) {
		v := i * i % 1_000_003
		parts[i%3].record(v)
		whole.record(v)
	}
	for _, p := range parts {
		merged.merge(p)
	}
	merged.merge(nil)
	if !merged.hdr.Equals(whole.hdr) {
		t.Errorf("merged: %+v, at once: %+v", merged.summary(false), whole.summary(false))
	}
}

func TestCurve(t *testing.T) {
	h := newHistogram()
	for i := int64(1); i <= 1000; i++ {
		h.record(i * 1e6)
	}
	points := h.curve()
	if last := points[len(points)-1]; last.Nines != 3 || !near(last.Micros, 1e6, 0.002) {
		t.Errorf("of a thousand the curve ends at %+v, want 3 nines and the greatest", last)
	}
	for i := 1; i < len(points); i++ {
		if points[i].Nines <= points[i-1].Nines || points[i].Micros < points[i-1].Micros {
			t.Fatalf("the curve goes back at %d: %+v %+v", i, points[i-1], points[i])
		}
	}
	for _, p := range []float64{50, 90, 99, 99.9} {
		if !near(percentileOf(ninesOf(p)), p, 1e-9) {
			t.Errorf("p%g becomes p%g", p, percentileOf(ninesOf(p)))
		}
	}
}
