package broker

import (
	"slipstream/internal/group"
	"slipstream/reactor"
)

// coordinating is a core's coordinators: all of them, those to be looked at when
// this turn ends, and those to be loaded.
type coordinating struct {
	shard   *Shard
	all     []*coordinated
	started bool
	stopped bool

	marked queue[coordinated, *coordinated] // looked at when this turn ends
	rest   queue[coordinated, *coordinated] // looked at in the next one
	waking bool                             // a message to this core is under way, so that there is a next one

	loads   int // under way
	waiting []*coordinated

	clockMillis, clockNow int64 // see millis
	changes               topicChanges
	members               group.Memory // what all groups' members make this core keep
	groups                group.Stats
	counts                [3]CoordinatorCounts // by place in internalTopics
}

const (
	// turnBudgetNanos is how much of a turn coordinators may take before the rest of
	// them wait for the next one. A machine's own pieces are about that long at most.
	turnBudgetNanos = 300_000
	// coordinatorLoads is how many coordinators of a core are loaded at once: each
	// holds a chunk of its log in memory.
	coordinatorLoads = 4
	// answersATurn is how many answers a machine hands out in one turn that does not
	// look at the clock meanwhile.
	answersATurn = 48
	// reloadPauseNanos is how long after a failed append a coordinator is loaded
	// anew: a full disk must not keep the core reading.
	reloadPauseNanos = 200_000_000
)

// millis is the machines' time: the wall clock's, except that it goes on at its
// pace when that is set back.
func (g *coordinating) millis() int64 {
	core := g.shard.core
	g.clockMillis = max(core.Wall/1e6, g.clockMillis+(core.Now-g.clockNow)/1e6)
	g.clockNow = core.Now
	return g.clockMillis
}

// start begins loading; it is called on the core when it runs.
func (g *coordinating) start() {
	g.started = true
	g.shard.configureTransactions()
	for _, c := range g.all {
		g.loadLater(c)
	}
}

// turn looks at the marked coordinators, until the turn's time for them is up. It
// reports whether there were any.
func (g *coordinating) turn() bool {
	if g.marked.head == nil {
		return false
	}
	begun := g.shard.core.ReadClock()
	for last := g.marked.tail; g.marked.head != nil; {
		c := g.marked.pop()
		c.marked = false
		c.turn()
		if c == last {
			break // what was marked meanwhile was so for the log's next answer
		}
		if g.shard.core.ReadClock()-begun > turnBudgetNanos {
			break
		}
	}
	if g.marked.head != nil {
		g.wake()
	}
	return true
}

// coordinatorRounds is how often a turn's end goes from the coordinators to the log and back: what the log has
// answered at once is heard in the same turn.
const coordinatorRounds = 4

// waitForTurn sees to it that what is marked is looked at in a next turn.
func (g *coordinating) waitForTurn() {
	if g.marked.head != nil {
		g.wake()
	}
}

// later has c looked at in the next turn, after others have had theirs.
func (g *coordinating) later(c *coordinated) {
	if !c.marked {
		c.marked = true
		g.rest.push(c)
	}
	g.wake()
}

func (g *coordinating) wake() {
	if !g.waking {
		g.waking = true
		g.shard.core.Send(g.shard.core, g)
	}
}

// Deliver implements reactor.Message: the next turn has come.
func (g *coordinating) Deliver(*reactor.Core) {
	g.waking = false
	for g.rest.head != nil {
		g.marked.push(g.rest.pop())
	}
}

// stop has every coordinator answer whoever waits for something.
func (g *coordinating) stop() {
	g.stopped = true
	g.waiting = nil
	for _, c := range g.all {
		c.resign()
	}
}

// forget drops the coordinator of a partition that is gone.
func (g *coordinating) forget(c *coordinated) {
	c.resign()
	for i := range g.all {
		if g.all[i] == c {
			g.all = append(g.all[:i], g.all[i+1:]...)
			return
		}
	}
}

// configure gives every coordinator the settings in force.
func (g *coordinating) configure() {
	for _, c := range g.all {
		if c.machine != nil {
			c.machine.configure()
		}
	}
}
