package quota

import "math"

// Kafka's windows let a client that is always busy use ten seconds' worth at once, and then keep it waiting until that
// has left the windows, when it may do so again: over ten seconds it gets up to 1.2 of its bound, in gusts. So beside
// the windows a client has a pace: what it uses takes as long as the bound says, and it may be a burst ahead.

// pace is how far a client is behind the time at which all that it has used would have been used at the bound's rate:
// negative, it has as much to spare. The zero pace has a whole burst.
type pace struct {
	owedMillis float64
	at         int64
}

// owed is what a client owes at a time, in milliseconds of the bound.
func (p *pace) owed(shape Shape, nowMillis int64) float64 {
	if p.at == 0 {
		p.owedMillis = -float64(shape.BurstMillis)
	} else {
		p.owedMillis = max(p.owedMillis-float64(nowMillis-p.at), -float64(shape.BurstMillis))
	}
	p.at = nowMillis
	return p.owedMillis
}

// use adds what is used, or takes back what was not in the end.
func (p *pace) use(shape Shape, nowMillis int64, bound, value float64) {
	if shape.BurstMillis < 0 || !(bound > 0) || math.IsInf(bound, 1) {
		return
	}
	p.owed(shape, nowMillis)
	p.owedMillis += value / bound * 1000
}

// delay is how long until nothing is owed, rounded up.
func (p *pace) delay(shape Shape, nowMillis int64) int32 {
	if shape.BurstMillis < 0 {
		return 0
	}
	return millis(math.Ceil(p.owed(shape, nowMillis)))
}
