package simtest

import (
	"fmt"

	"slipstream/internal/guarantees"
)

// The times of the groups' and transactions' stories, in nanoseconds: short, for
// the clock costs nothing while nothing happens, and what happens does.
const (
	sessionNanos = 300e6
	eventNanos   = 150e6
	hangingNanos = 2_000e6 // twice the longest transaction timeout
)

// society is the clients that need coordinators: groups, transactional producers,
// those who read what is committed, and an administrator who changes what they use.
type society struct {
	run    *run
	truth  *truth
	crews  []*crew
	desks  []*desk
	audits []*auditor
	noise  *noise
	claims map[string]*transactor // who has asked last to be the producer of a transactional id

	worked   int // records that members were given
	audited  int // and that were read back
	commits  int // of offsets, partitions
	zombies  int // commits that were refused
	finished int // transactions
	fences   int // producers that were fenced

	ambush    func() // the machine stops right after a coordinator has promised something
	frozen    bool   // nobody does anything but who recalls
	recalling *recall
	recalled  int // states that were compared
}

// truth is what the records are: who reads one sees the same as everyone else.
type truth struct {
	topics map[string]*topic
	txns   *guarantees.Transactions
}

func (t *truth) vanishing(name string) bool {
	_, known := t.topics[name]
	return !known
}

// consumed: records were read.
func (t *truth) consumed(p guarantees.Partition, f *fetched, committed bool) error {
	topic := t.topics[p.Topic]
	if topic == nil {
		return nil // one that comes and goes
	}
	topic.grow(int(p.Number) + 1)
	h := topic.parts[p.Number]
	for i, id := range f.ids {
		if err := h.saw(f.offsets[i], id); err != nil {
			return err
		}
		if committed && topic.transactional {
			if err := t.txns.Visible(p, f.offsets[i], id); err != nil {
				return err
			}
		}
	}
	return nil
}

// sprung: a coordinator has answered that something is so.
func (s *society) sprung() {
	if s.ambush != nil {
		s.ambush()
		s.ambush = nil
	}
}

func (s *society) step() error {
	if s.recalling != nil {
		if err := s.recalling.step(); err != nil {
			return err
		}
	}
	if s.frozen {
		return nil
	}
	for _, c := range s.crews {
		if err := c.step(); err != nil {
			return fmt.Errorf("group %s: %w", c.name, err)
		}
	}
	if !s.noise.silent {
		if err := s.noise.step(); err != nil {
			return err
		}
	}
	for _, d := range s.desks {
		if err := d.step(); err != nil {
			return err
		}
	}
	for _, a := range s.audits {
		if err := a.step(); err != nil {
			return err
		}
	}
	return nil
}

// caughtUp: every group has committed everything there is.
func (s *society) caughtUp(ends map[guarantees.Partition]int64) bool {
	for _, c := range s.crews {
		if !c.settled() {
			return false
		}
		for p, end := range ends { // all of them: the order does not show
			if end > 0 && c.reads(p.Topic) && c.group.Committable(p) < end {
				return false
			}
		}
	}
	return true
}
