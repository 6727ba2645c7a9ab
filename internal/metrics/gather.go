package metrics

import (
	"time"

	"slipstream/internal/broker"
)

const (
	// answerLimit is how long a scrape waits for a core. What it told last time is
	// shown instead: its counters must not go backwards.
	answerLimit = time.Second
	// shareLimit: scrapes that come so soon after another see the same figures.
	shareLimit = 100 * time.Millisecond
	// firstRoom is how many partitions and topics a core is asked to tell at first.
	firstRoom = 256
)

// coreState is what is known of one core. At any time its snapshots are with
// us, but for asking, which is the core's until it has answered.
type coreState struct {
	last     *broker.CoreSnapshot // the last that came whole; nil: none yet
	lastAt   time.Time
	spare    *broker.CoreSnapshot
	asking   *broker.CoreSnapshot
	askedAt  time.Time
	answered chan bool // what done was called with; room for the one answer there can be
	up       bool      // it answered when it was last asked
}

// cores asks the cores of a broker for their figures. It is used by one goroutine
// at a time.
type cores struct {
	broker *broker.Broker
	states []coreState
	at     time.Time
}

func newCores(b *broker.Broker) *cores {
	c := &cores{broker: b, states: make([]coreState, len(b.Cores()))}
	for i := range c.states {
		c.states[i].answered = make(chan bool, 1)
	}
	return c
}

// gather asks every core and waits for answers, all together no longer than
// limit. A core that does not answer keeps the question: it is not asked again
// before it has.
func (c *cores) gather(limit time.Duration) {
	if time.Since(c.at) < shareLimit {
		return
	}
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for i := range c.states {
		c.states[i].ask(c.broker, i)
	}
	late := false
	for i := range c.states {
		c.states[i].await(deadline, &late)
	}
	c.at = time.Now()
}

func (s *coreState) ask(b *broker.Broker, core int) {
	if s.asking != nil && !s.tookLate() {
		return
	}
	snapshot := s.spare
	if s.spare = nil; snapshot == nil {
		snapshot = new(broker.CoreSnapshot)
		snapshot.MakeRoom(firstRoom)
	}
	answered := s.answered
	if b.Ask(core, snapshot, func(more bool) { answered <- more }) {
		s.asking, s.askedAt = snapshot, time.Now()
	} else {
		s.spare = snapshot
	}
}

// tookLate puts away an answer that came when nobody waited any more, and reports whether there was one. It may be hours
// old, so it is not this scrape's; it is what is shown if the core is late again.
func (s *coreState) tookLate() bool {
	select {
	case more := <-s.answered:
		if more {
			s.asking.MakeRoom(2 * (len(s.asking.Partitions) + len(s.asking.Topics)))
			s.spare, s.asking = s.asking, nil
			return true
		}
	default:
		return false
	}
	s.last, s.spare, s.asking = s.asking, s.last, nil
	s.lastAt = s.askedAt
	return true
}

// await takes the core's answer, giving it more room where it needs some. late
// says that the deadline has passed: what is there already is still taken.
func (s *coreState) await(deadline *time.Timer, late *bool) {
	s.up = false
	for s.asking != nil {
		var more bool
		if *late {
			select {
			case more = <-s.answered:
			default:
				return
			}
		} else {
			select {
			case more = <-s.answered:
			case <-deadline.C:
				*late = true
				continue
			}
		}
		if more {
			s.asking.MakeRoom(2 * (len(s.asking.Partitions) + len(s.asking.Topics)))
			if !s.asking.Continue() {
				s.spare, s.asking = s.asking, nil
			}
			continue
		}
		s.last, s.spare, s.asking = s.asking, s.last, nil
		s.lastAt, s.up = time.Now(), true
	}
}
