package metrics

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"slipstream/reactor"

	dto "github.com/prometheus/client_model/go"
)

// decoded is a native histogram's buckets by key, read as the format says.
func decoded(t *testing.T, h *dto.Histogram) map[int]uint64 {
	t.Helper()
	buckets, key, at, last := map[int]uint64{}, 0, 0, int64(0)
	for _, s := range h.PositiveSpan {
		key += int(s.GetOffset())
		for range s.GetLength() {
			last += h.PositiveDelta[at]
			at++
			if last < 0 {
				t.Fatalf("bucket %d has %d observations", key, last)
			}
			if last > 0 {
				buckets[key] = uint64(last)
			}
			key++
		}
	}
	if at != len(h.PositiveDelta) {
		t.Errorf("%d deltas are in no span", len(h.PositiveDelta)-at)
	}
	return buckets
}

func TestNativeHistograms(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		name    string
		observe func(h *reactor.Histogram)
	}{
		{"none", func(*reactor.Histogram) {}},
		{"zeros", func(h *reactor.Histogram) { h.Observe(0); h.Observe(0) }},
		{"the first bucket", func(h *reactor.Histogram) { h.Observe(1) }},
		{"the last bucket", func(h *reactor.Histogram) { h.Observe(math.MaxInt64 / 4) }},
		{"neighbours, small gaps and large ones", func(h *reactor.Histogram) {
			for _, n := range []int64{1000, 1090, 1500, 2000, 2_000_000, 2_300_000, 3_000_000_000} {
				h.Observe(n)
			}
		}},
		{"many", func(h *reactor.Histogram) {
			for range 10_000 {
				h.Observe(r.Int64N(1 << (1 + r.IntN(40))))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h reactor.Histogram
			c.observe(&h)
			got := bothForms(&h)
			if got.GetSchema() != 3 || got.GetSampleCount() != h.Count() || got.GetZeroCount() != h.Zero || got.GetSampleSum() != float64(h.Nanos)/1e9 {
				t.Errorf("schema %d, %d observations, %d zeros, sum %v of %d, %d, %d ns", got.GetSchema(), got.GetSampleCount(), got.GetZeroCount(), got.GetSampleSum(), h.Count(), h.Zero, h.Nanos)
			}
			if len(got.PositiveSpan) == 0 {
				t.Error("without a span it is no native histogram")
			}
			buckets, sum := decoded(t, got), uint64(0)
			for i, n := range h.Buckets {
				if buckets[i+reactor.HistogramFirstKey] != n {
					t.Errorf("bucket %d has %d observations, want %d", i+reactor.HistogramFirstKey, buckets[i+reactor.HistogramFirstKey], n)
				}
				sum += n
			}
			if sum+h.Zero != h.Count() {
				t.Errorf("%d and %d zeros are not %d", sum, h.Zero, h.Count())
			}
		})
	}
}

// TestClassicBuckets: the classic buckets say the same as the native ones.
func TestClassicBuckets(t *testing.T) {
	var h reactor.Histogram
	durations := []int64{0, 1, 15_000, 16_000, 999_999_999, 1e9, 1e9 + 1, 17e9, 100e9}
	for _, n := range durations {
		h.Observe(n)
	}
	for _, b := range bothForms(&h).Bucket {
		want := uint64(0)
		for _, n := range durations {
			if float64(n)/1e9 <= b.GetUpperBound() {
				want++
			}
		}
		if b.GetCumulativeCount() != want {
			t.Errorf("%d observations up to %v s, want %d", b.GetCumulativeCount(), b.GetUpperBound(), want)
		}
	}
}

// TestQuantiles compares with the sorted observations: within a bucket's width.
func TestQuantiles(t *testing.T) {
	var h reactor.Histogram
	if quantile(&h, .99) != 0 {
		t.Error("nothing has a percentile")
	}
	r := rand.New(rand.NewPCG(5, 6))
	var all []int64
	for range 20_000 {
		n := int64(math.Exp(r.NormFloat64()*2 + 12))
		all = append(all, n)
		h.Observe(n)
	}
	slices.Sort(all)
	for _, q := range quantiles {
		want := float64(all[int(q.share*float64(len(all)))-1])
		if got := quantile(&h, q.share); got < want/math.Exp2(1./8) || got > want*math.Exp2(1./8) {
			t.Errorf("percentile %s is %.0f, want %.0f or so", q.label, got, want)
		}
	}
	earlier := h
	for range 1000 {
		h.Observe(5e9)
	}
	if subtract(&h, &earlier); h.Count() != 1000 || quantile(&h, .5) < 4.5e9 {
		t.Errorf("of the last %d observations, half are below %v", h.Count(), quantile(&h, .5))
	}
}
