package quota

import "math"

// Bucket holds the tokens that changes of the cluster's metadata take (KIP-599). It fills by bound tokens a second up to
// what the shape's windows give together, and may be overdrawn by one change: then it must fill to zero before the next.
// The zero Bucket is full.
type Bucket struct {
	tokens     float64
	lastMillis int64
}

// Take takes n tokens although there may be none, and says how long the client should wait then. Kafka does so for
// clients that do not know THROTTLING_QUOTA_EXCEEDED.
func (b *Bucket) Take(shape Shape, bound float64, nowMillis int64, n float64) (delayMillis int32) {
	most := b.fill(shape, bound, nowMillis)
	b.tokens = min(most, b.tokens-n)
	return b.delay(bound)
}

// TryTake takes n tokens unless the bucket is overdrawn already: then nothing is taken, and the delay is how long that
// lasts. ok with a delay does not occur.
func (b *Bucket) TryTake(shape Shape, bound float64, nowMillis int64, n float64) (ok bool, delayMillis int32) {
	most := b.fill(shape, bound, nowMillis)
	if b.tokens < 0 {
		return false, b.delay(bound)
	}
	b.tokens = min(most, b.tokens-n)
	return true, 0
}

// Full says that the bucket is as one that was never used.
func (b *Bucket) Full(shape Shape, bound float64, nowMillis int64) bool {
	most := b.fill(shape, bound, nowMillis)
	return b.tokens >= most
}

// Tokens is what there is at a time.
func (b *Bucket) Tokens(shape Shape, bound float64, nowMillis int64) float64 {
	b.fill(shape, bound, nowMillis)
	return b.tokens
}

func (b *Bucket) fill(shape Shape, bound float64, nowMillis int64) (most float64) {
	most = float64(shape.Samples) * float64(shape.WindowMillis) / 1000 * bound
	if b.lastMillis == 0 {
		b.tokens = most
	}
	b.tokens = min(most, b.tokens+bound*float64(nowMillis-b.lastMillis)/1000)
	b.lastMillis = nowMillis
	if math.IsNaN(bound) {
		b.tokens = math.Inf(1)
	}
	return most
}

func (b *Bucket) delay(bound float64) int32 {
	if b.tokens >= 0 {
		return 0
	}
	return millis(-b.tokens / bound * 1000)
}
