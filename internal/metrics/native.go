package metrics

import (
	"math"

	"slipstream/reactor"

	dto "github.com/prometheus/client_model/go"
)

// schema is that of reactor.Histogram's buckets: eight for each power of two.
const schema = 3

// classicKeys are the native buckets whose bounds are a classic bucket's too, for
// scrapers that do not know native histograms: 15 us to 16 s, each four times the
// last. They are bounds of native buckets, so that both say the same.
var classicKeys = func() (keys []int) {
	for power := -16; power <= 4; power += 2 {
		keys = append(keys, 8*power)
	}
	return keys
}()

// zeroThreshold is up to where durations count as zero: Prometheus' own least.
const zeroThreshold = 0x1p-128

// observe gives a histogram of durations, in seconds.
func (o *output) observe(f *family, h *reactor.Histogram, labels ...string) {
	o.metric(f, o.label(f, labels...)).Histogram = bothForms(h)
}

// bothForms is a histogram with native and classic buckets.
func bothForms(h *reactor.Histogram) *dto.Histogram {
	spans, deltas := spans(h)
	return &dto.Histogram{
		SampleCount: new(h.Count()), SampleSum: new(float64(h.Nanos) / 1e9), Bucket: classic(h),
		Schema: new(int32(schema)), ZeroThreshold: new(float64(zeroThreshold)), ZeroCount: new(h.Zero),
		PositiveSpan: spans, PositiveDelta: deltas,
	}
}

// classic adds the native buckets up to each classic bound.
func classic(h *reactor.Histogram) []*dto.Bucket {
	buckets := make([]*dto.Bucket, 0, len(classicKeys))
	below, from := h.Zero, 0
	for _, key := range classicKeys {
		to := key - reactor.HistogramFirstKey + 1
		for _, n := range h.Buckets[from:to] {
			below += n
		}
		from = to
		count, bound := below, math.Exp2(float64(key)/8)
		buckets = append(buckets, &dto.Bucket{CumulativeCount: &count, UpperBound: &bound})
	}
	return buckets
}

// spanGap is how many empty buckets in a row are written out rather than made the
// gap between two spans.
const spanGap = 2

// spans writes the native buckets as the protobuf format has them: stretches of
// neighbours, each count as its difference to the one before. A histogram without
// any has one empty span, which is how it is known to be a native one.
func spans(h *reactor.Histogram) (spans []*dto.BucketSpan, deltas []int64) {
	last, next := uint64(0), 0
	add := func(n uint64) {
		*spans[len(spans)-1].Length++
		deltas = append(deltas, int64(n)-int64(last))
		last = n
	}
	for i, n := range h.Buckets {
		if n == 0 {
			continue
		}
		key := reactor.HistogramFirstKey + i
		if gap := key - next; len(spans) == 0 || gap > spanGap {
			spans = append(spans, &dto.BucketSpan{Offset: new(int32(gap)), Length: new(uint32)})
		} else {
			for range gap {
				add(0)
			}
		}
		add(n)
		next = key + 1
	}
	if len(spans) == 0 {
		spans = append(spans, &dto.BucketSpan{Offset: new(int32), Length: new(uint32)})
	}
	return spans, deltas
}

// quantile is the duration in nanoseconds that a share q of the observations did
// not pass, found within its bucket as Prometheus does: as if they were spread
// evenly on a logarithmic scale. 0 if there are none.
func quantile(h *reactor.Histogram, q float64) float64 {
	count := h.Count()
	if count == 0 {
		return 0
	}
	rank := q * float64(count)
	below := float64(h.Zero)
	if rank <= below {
		return 0
	}
	for i, n := range h.Buckets {
		if n == 0 {
			continue
		}
		if below+float64(n) >= rank {
			key := float64(reactor.HistogramFirstKey + i - 1)
			return 1e9 * math.Exp2((key+(rank-below)/float64(n))/8)
		}
		below += float64(n)
	}
	return 1e9 * math.Exp2(reactor.HistogramLastKey/8)
}

// subtract takes earlier counts of the same histogram off.
func subtract(h, earlier *reactor.Histogram) {
	h.Zero -= min(h.Zero, earlier.Zero)
	h.Nanos -= min(h.Nanos, earlier.Nanos)
	for i := range h.Buckets {
		h.Buckets[i] -= min(h.Buckets[i], earlier.Buckets[i])
	}
}
