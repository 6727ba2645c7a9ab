package broker

import "slipstream/reactor"

// coreTrip carries a question to another core and home again.
type coreTrip struct {
	home, owner *Shard
	ask         func(back func())
	done        func()
	returning   bool
}

// Deliver implements reactor.Message, both ways.
func (t *coreTrip) Deliver(*reactor.Core) {
	if t.returning {
		t.done()
		return
	}
	t.ask(t.back)
}

func (t *coreTrip) back() {
	t.returning = true
	t.owner.core.Send(t.home.core, t)
}
