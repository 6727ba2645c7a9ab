// Package regret decides how fast a core's cold readers may go. Reading what is
// not in the page cache brings pages in, and pages that come in push others out;
// if those are pages that a tail reader wants next, the cold reader's speed was
// bought with somebody else's latency. That is regret, and it slows cold readers
// down until there is none.
//
// The controller is a function of its state and of what was seen since the last
// step: it has no clock, does no input or output, and its tests are stories in
// testdata. It is additive increase and multiplicative decrease (Chiu and Jain,
// 1989), which finds a rate that the cache bears without being told its size.
package regret

// Sample is what was seen since the last step.
type Sample struct {
	// Nanos is how long that was. A sample of no time changes nothing.
	Nanos int64
	// ColdBytes is what the core's cold readers read.
	ColdBytes uint64
	// Attributed says that the kernel's evictions are seen, so that PushedOut
	// counts. Without that only Misses tell.
	Attributed bool
	// PushedOut is the pages near the ends of logs that went while one of our cold
	// readers was bringing others in.
	PushedOut uint64
	// Misses is the reads at the end of a log that did not find their pages.
	Misses uint64
}

// Limits bound the controller.
type Limits struct {
	Floor  int64 // bytes/s that cold readers always get: they must arrive one day
	Rise   int64 // bytes/s that each calm step adds at most
	Calm   int   // steps without regret before the rate rises
	Spared int   // steps in which less than half of the rate was used before the limit goes
}

// Defaults are for a step every 100 ms.
func Defaults() Limits {
	return Limits{Floor: 8 << 20, Rise: 32 << 20, Calm: 5, Spared: 20}
}

// State is where the controller is. The zero value is the start: no limit.
type State struct {
	// Rate is what cold readers may read, in bytes/s; 0 is as much as they can.
	Rate int64
	// Slowed counts the steps that slowed them down.
	Slowed uint64

	calm, spared int
}

// Step takes in a sample and says how fast cold readers may go from now on.
func Step(s State, m Sample, l Limits) State {
	if m.Nanos <= 0 {
		return s
	}
	seen := perSecond(m.ColdBytes, m.Nanos)
	if regretted(m) {
		return s.slow(seen, l)
	}
	if s.Rate == 0 {
		return s
	}
	return s.relax(seen, l)
}

// regretted says whether cold readers cost a tail reader its pages. Without
// attribution a miss is laid at their door only if they read at all: slowing
// down those who did nothing would help nobody.
func regretted(m Sample) bool {
	if m.ColdBytes == 0 {
		return false
	}
	if m.Attributed {
		return m.PushedOut > 0
	}
	return m.Misses > 0
}

// slow halves what they really had: halving a limit that they did not reach
// would change nothing for many steps.
func (s State) slow(seen int64, l Limits) State {
	from := seen
	if s.Rate > 0 {
		from = min(seen, s.Rate)
	}
	s.Rate = max(from/2, l.Floor)
	s.Slowed++
	s.calm, s.spared = 0, 0
	return s
}

// relax raises the rate after some calm, and takes the limit off once it has not
// been what holds them back for a while.
func (s State) relax(seen int64, l Limits) State {
	s.calm++
	if seen < s.Rate/2 {
		s.spared++
	} else {
		s.spared = 0
	}
	if s.spared >= l.Spared {
		s.Rate, s.calm, s.spared = 0, 0, 0
		return s
	}
	if s.calm > l.Calm {
		s.Rate += min(l.Rise, s.Rate/4) // a quarter: a small cache is not overrun by one step
	}
	return s
}

func perSecond(bytes uint64, nanos int64) int64 {
	return int64(float64(bytes) / float64(nanos) * 1e9)
}
