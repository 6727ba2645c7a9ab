package main

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// histogram counts latencies in nanoseconds, to three significant digits, up to
// longestNanos; what took longer counts as that.
type histogram struct{ hdr *hdrhistogram.Histogram }

const longestNanos = int64(600e9)

func newHistogram() *histogram { return &histogram{hdrhistogram.New(1, longestNanos, 3)} }

func (h *histogram) record(nanos int64) { h.hdr.RecordValue(min(max(nanos, 0), longestNanos)) }

func (h *histogram) merge(other *histogram) {
	if other != nil {
		h.hdr.Merge(other.hdr)
	}
}

func (h *histogram) count() int64 { return h.hdr.TotalCount() }

// micros is the value that a share of percentile in 100 did not exceed, in
// microseconds; 0 where nothing was recorded.
func (h *histogram) micros(percentile float64) float64 {
	if h == nil || h.count() == 0 {
		return 0
	}
	return float64(h.hdr.ValueAtPercentile(percentile)) / 1e3
}

// point is one place of a percentile curve.
type point struct {
	Nines  float64 `json:"nines"`  // -log10(1 - percentile/100): 0 is p0, 1 is p90, 2 is p99
	Micros float64 `json:"micros"` // the latency there
}

// curveStep is how far a curve's points are apart, in nines.
const curveStep = 0.05

// curve samples the percentiles evenly in nines, as far as the samples reach: of
// a thousand, p99.9 is the last that means anything.
func (h *histogram) curve() []point {
	if h == nil || h.count() == 0 {
		return nil
	}
	last := math.Log10(float64(h.count()))
	var points []point
	for i := 0; ; i++ {
		nines := min(float64(i)*curveStep, last)
		points = append(points, point{math.Round(nines*1e4) / 1e4, h.micros(percentileOf(nines))})
		if nines == last {
			return points
		}
	}
}

func percentileOf(nines float64) float64 { return 100 * (1 - math.Pow(10, -nines)) }

func ninesOf(percentile float64) float64 { return -math.Log10(1 - percentile/100) }

// summary is a histogram in the figures that the report shows, in microseconds.
type summary struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	P9999 float64 `json:"p99.99"`
	Max   float64 `json:"max"`
	Curve []point `json:"curve,omitempty"`
}

func (h *histogram) summary(withCurve bool) *summary {
	if h == nil || h.count() == 0 {
		return nil
	}
	s := &summary{h.count(), h.hdr.Mean() / 1e3, h.micros(50), h.micros(90), h.micros(99), h.micros(99.9), h.micros(99.99),
		float64(h.hdr.Max()) / 1e3, nil}
	if withCurve {
		s.Curve = h.curve()
	}
	return s
}
