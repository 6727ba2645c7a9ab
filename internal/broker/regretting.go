package broker

import (
	"slipstream/internal/regret"
	"slipstream/reactor"
)

// regretStepNanos is how often a core asks itself whether its cold readers cost
// tail readers their pages: often enough to react before a tail reader has lost
// more than a few fetches, seldom enough to cost nothing.
const regretStepNanos = 100e6

// regretting slows the core's cold lane down while what it reads pushes out what
// tail readers want. package regret decides; this is what it sees and does. It
// runs only while there is cold reading or a limit on it.
type regretting struct {
	shard  *Shard
	limits regret.Limits
	state  regret.State
	timer  reactor.Timer
	since  int64 // core.Now of the last step

	coldBytes, misses, pushedOut uint64 // as they were then
}

// watch starts stepping when the cold lane has read something; from EndTurn.
func (g *regretting) watch() {
	core := g.shard.core
	if g.timer.Armed() || core.Stats.ColdBytes == g.coldBytes {
		return
	}
	g.since = core.Now
	g.misses = core.Stats.TailMisses
	g.pushedOut, _, _ = core.Observer.TailEvictions()
	core.After(regretStepNanos, &g.timer, g)
}

// Fire implements reactor.TimerHandler.
func (g *regretting) Fire(*reactor.Timer) {
	core := g.shard.core
	pushedOut, _, seen := core.Observer.TailEvictions()
	idle := core.Stats.ColdBytes == g.coldBytes
	before := g.state
	g.state = regret.Step(g.state, regret.Sample{
		Nanos:      core.Now - g.since,
		ColdBytes:  core.Stats.ColdBytes - g.coldBytes,
		Attributed: seen,
		PushedOut:  pushedOut - g.pushedOut,
		Misses:     core.Stats.TailMisses - g.misses,
	}, g.limits)
	g.since, g.coldBytes, g.misses, g.pushedOut = core.Now, core.Stats.ColdBytes, core.Stats.TailMisses, pushedOut
	if g.state.Rate != before.Rate {
		core.SetColdRate(g.state.Rate)
	}
	if idle && g.state.Rate == 0 {
		return // watch begins again
	}
	core.After(regretStepNanos, &g.timer, g)
}
