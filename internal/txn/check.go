package txn

import (
	"fmt"
	"slices"
)

// Check says what of the coordinator contradicts itself; nil: nothing does. It
// looks at everything, so it is for tests: the simulator calls it after each turn
// of a core.
func (c *Coordinator) Check() error {
	if !c.loaded {
		return nil
	}
	if len(c.byID) != len(c.all) {
		return fmt.Errorf("%d transactional ids by name, %d in all", len(c.byID), len(c.all))
	}
	for i, t := range c.due {
		if t.heapPlace != i || i > 0 && c.due[(i-1)/2].due > t.due {
			return fmt.Errorf("%q is not in its place in the heap", t.id)
		}
	}
	inFlight := map[*transaction]bool{}
	for _, list := range c.inFlight {
		for _, t := range list {
			if inFlight[t] {
				return fmt.Errorf("%q has two records in flight", t.id)
			}
			inFlight[t] = true
		}
	}
	for _, t := range c.all {
		if err := c.check(t, inFlight[t]); err != nil {
			return fmt.Errorf("%q, %v: %w", t.id, t.state, err)
		}
	}
	return nil
}

// check: a transaction that somebody must come back to is come back to, one state
// follows another as Kafka's do, and its partitions are those of its state.
func (c *Coordinator) check(t *transaction, inFlight bool) error {
	switch {
	case c.all[t.place] != t || c.byID[t.id] != t:
		return fmt.Errorf("it is not in its place")
	case c.dueAt(t) != never && (t.heapPlace < 0 || t.due > c.dueAt(t)):
		return fmt.Errorf("nobody will look at it in time")
	case t.pending != noState && !t.pending.follows(t.state):
		return fmt.Errorf("%v is to follow", t.pending)
	case inFlight && t.pending == noState:
		return fmt.Errorf("a record is in flight and nothing is to follow")
	case t.pending != noState && !t.state.ending() && !inFlight:
		return fmt.Errorf("%v is to follow and no record of it is in flight", t.pending)
	case t.state.ending() && t.pending == noState:
		return fmt.Errorf("its end is decided and nothing is to follow")
	case t.state.ending() && inFlight && len(t.partitions) > 0:
		return fmt.Errorf("it is complete without the markers of %v", t.partitions)
	case t.state.ending() && len(t.partitions) == 0 && !inFlight && t.retry == 0:
		return fmt.Errorf("all its markers are written, and nobody completes it")
	case t.state.quiet() && len(t.partitions) > 0:
		return fmt.Errorf("it has partitions: %v", t.partitions)
	case t.state == Ongoing && t.startMillis < 0:
		return fmt.Errorf("it has no beginning")
	case !slices.IsSortedFunc(t.partitions, compare):
		return fmt.Errorf("its partitions are out of order: %v", t.partitions)
	case t.held != nil && t.heldUntil <= 0:
		return fmt.Errorf("an answer is held for ever")
	}
	return nil
}
