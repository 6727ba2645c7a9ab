package reactor

import (
	"math"
	"math/bits"
)

// A Histogram's buckets are those of Prometheus' native histograms of schema 3,
// eight for each power of two, of seconds:
//
//	key  ...   -2        -1       0       1         2
//	  ..-----]---------]--------]------]---------]------..
//	     2^(-2/8) s   2^(-1/8) s  1 s  2^(1/8) s  2^(2/8) s   upper bounds, inclusive
//
// so that a scrape copies words and computes nothing. Times are counted in whole
// nanoseconds: a bucket's bound in nanoseconds is the bound in seconds, rounded
// down, which divides the whole numbers as the exact bound does.
const (
	// HistogramFirstKey is the key of the first bucket, the one that a nanosecond
	// is in.
	HistogramFirstKey = -239
	// HistogramLastKey is that of the last, up to 4096 s. What takes longer is
	// counted in it too; sums are exact.
	HistogramLastKey = 96
	// HistogramBuckets is the number of buckets.
	HistogramBuckets = HistogramLastKey - HistogramFirstKey + 1
)

// Histogram counts durations: plain words of one core.
type Histogram struct {
	Zero    uint64                   // took no time that the core's clock saw
	Buckets [HistogramBuckets]uint64 // by key, from HistogramFirstKey on
	Nanos   uint64                   // the sum
}

// Observe counts a duration. It neither allocates nor computes with floats.
func (h *Histogram) Observe(nanos int64) {
	if nanos <= 0 {
		h.Zero++
		return
	}
	h.Nanos += uint64(nanos)
	h.Buckets[bucketOf(uint64(nanos))]++
}

// Count is the number of observations.
func (h *Histogram) Count() uint64 {
	n := h.Zero
	for _, b := range h.Buckets {
		n += b
	}
	return n
}

// Add adds the counts of o.
func (h *Histogram) Add(o *Histogram) {
	h.Zero += o.Zero
	h.Nanos += o.Nanos
	for i, b := range o.Buckets {
		h.Buckets[i] += b
	}
}

// HistogramBoundNanos is the longest whole number of nanoseconds that the bucket
// with this key counts.
func HistogramBoundNanos(key int) uint64 { return bucketBounds[key-HistogramFirstKey] }

// bucketBounds are the buckets' upper bounds in nanoseconds. firstBuckets is
// where to begin to look: for each power of two, sixteenth by sixteenth, the
// bucket of the least number there. A sixteenth is less wide than a bucket, so
// that at most two bounds are compared.
var (
	bucketBounds = makeBucketBounds()
	firstBuckets = makeFirstBuckets()
)

func makeBucketBounds() (bounds [HistogramBuckets]uint64) {
	for i := range bounds {
		bounds[i] = uint64(math.Floor(math.Exp2(float64(i+HistogramFirstKey)/8) * 1e9))
	}
	return bounds
}

func makeFirstBuckets() (first [64 * 16]uint16) {
	for at := range first {
		power, sixteenth := at/16, uint64(at%16)
		least := (16 + sixteenth) << power / 16
		i := 0
		for i < HistogramBuckets-1 && bucketBounds[i] < least {
			i++
		}
		first[at] = uint16(i)
	}
	return first
}

// bucketOf is the place of n nanoseconds, at least 1, in Buckets.
func bucketOf(n uint64) int {
	n = min(n, bucketBounds[HistogramBuckets-1])
	power := bits.Len64(n) - 1
	i := int(firstBuckets[power*16+int(n<<(63-power)>>59&15)])
	for n > bucketBounds[i] {
		i++
	}
	return i
}
