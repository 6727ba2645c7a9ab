package reactor

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// boundNanos is 2^(key/8) seconds in nanoseconds, by square roots of 500 bits.
func boundNanos(key int) *big.Float {
	number := func(v float64) *big.Float { return new(big.Float).SetPrec(500).SetFloat64(v) }
	root := number(2)
	for range 3 {
		root = new(big.Float).SetPrec(500).Sqrt(root)
	}
	power := number(1)
	for range ((key % 8) + 8) % 8 {
		power.Mul(power, root)
	}
	octave := int(math.Floor(float64(key) / 8))
	power.Mul(power, number(1e9))
	return power.SetMantExp(power, octave)
}

func TestHistogramBoundsAreExact(t *testing.T) {
	for key := HistogramFirstKey; key <= HistogramLastKey; key++ {
		want, _ := boundNanos(key).Int(nil)
		if got := HistogramBoundNanos(key); !want.IsUint64() || got != want.Uint64() {
			t.Errorf("bucket %d ends at %d ns, want %s", key, got, want)
		}
	}
	if HistogramBoundNanos(HistogramFirstKey) != 1 || HistogramBoundNanos(0) != 1e9 || HistogramBoundNanos(HistogramLastKey) != 4096e9 {
		t.Error("the first bucket is not for one nanosecond, or the last not up to 4096 s")
	}
}

// TestHistogramBuckets compares the integer way to find a bucket with the
// definition: the least key whose exact bound is not below n.
func TestHistogramBuckets(t *testing.T) {
	want := func(n uint64) int {
		key := HistogramFirstKey
		if n > 1 {
			key = max(key, int(math.Log2(float64(n)/1e9)*8)-2)
		}
		exact := new(big.Float).SetPrec(500).SetUint64(n)
		for key < HistogramLastKey && boundNanos(key).Cmp(exact) < 0 {
			key++
		}
		return key
	}
	check := func(n uint64) {
		t.Helper()
		if got := bucketOf(n) + HistogramFirstKey; got != want(n) {
			t.Errorf("%d ns is in bucket %d, want %d", n, got, want(n))
		}
	}
	for key := HistogramFirstKey; key <= HistogramLastKey; key++ {
		bound := HistogramBoundNanos(key)
		for _, n := range []uint64{bound - 1, bound, bound + 1} {
			check(max(n, 1))
		}
	}
	for n := uint64(1); n < 3000; n++ {
		check(n)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		check(max(r.Uint64()>>(r.IntN(40)+22), 1))
	}
	for _, n := range []uint64{1 << 42, 1 << 62, math.MaxInt64, math.MaxUint64} {
		if got := bucketOf(n); got != HistogramBuckets-1 {
			t.Errorf("%d ns is in place %d, want the last", n, got)
		}
	}
}

func TestHistogramCounts(t *testing.T) {
	var h, sum Histogram
	durations := []int64{-5, 0, 1, 2, 999, 1e3, 1e6, 1e9, 1e9 + 1, 5000e9}
	for _, d := range durations {
		h.Observe(d)
	}
	sum.Add(&h)
	sum.Add(&h)
	if h.Count() != uint64(len(durations)) || sum.Count() != 2*h.Count() {
		t.Errorf("%d and %d observations, want %d and twice that", h.Count(), sum.Count(), len(durations))
	}
	if h.Zero != 2 || h.Buckets[0] != 1 || h.Buckets[-HistogramFirstKey] != 1 || h.Buckets[1-HistogramFirstKey] != 1 {
		t.Error("zero, one nanosecond, one second or a little more are in wrong buckets")
	}
	if want := uint64(1 + 2 + 999 + 1e3 + 1e6 + 1e9 + 1e9 + 1 + 5000e9); h.Nanos != want || sum.Nanos != 2*want {
		t.Errorf("the sums are %d and %d, want %d and twice that", h.Nanos, sum.Nanos, want)
	}
	if n := testing.AllocsPerRun(100, func() { h.Observe(12345) }); n != 0 {
		t.Errorf("an observation allocates %v times", n)
	}
}

func BenchmarkHistogramObserve(b *testing.B) {
	var h Histogram
	n := int64(1)
	for b.Loop() {
		h.Observe(n & 0xfffff)
		n += 7919
	}
}
