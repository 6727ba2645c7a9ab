package quota

import "math"

// maxDelayMillis is the longest delay that throttle_time_ms can tell.
const maxDelayMillis = math.MaxInt32

// Delay is how long, in milliseconds, whoever has the rate must use nothing for it to be back at the bound; 0 if it is
// not above it. A bound that is not a number bounds nothing.
func Delay(perSecond, bound float64, spanMillis int64) int32 {
	if !(perSecond > bound) {
		return 0
	}
	return millis((perSecond - bound) / bound * float64(spanMillis))
}

// millis rounds as Java does, halves up.
func millis(v float64) int32 {
	switch v = math.Floor(v + 0.5); {
	case !(v > 0):
		return 0
	case v >= maxDelayMillis:
		return maxDelayMillis
	}
	return int32(v)
}

// MaxRequestDelay is the longest delay, in milliseconds, for processor time: one window.
func MaxRequestDelay(shape Shape) int32 { return millis(float64(shape.WindowMillis)) }
