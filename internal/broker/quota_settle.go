package broker

import (
	"slipstream/internal/quota"
	"slipstream/reactor"
)

// How cores settle what their clients have used: a core sends to each home core what
// was used of its scopes since it last did, and is answered with what all cores used.

const (
	// settleNanos is the least time between two reports of a core to another. Bounds
	// hold however long it is, since what a report brings late counts all the same; it
	// is how far a client may get ahead through another core.
	settleNanos = 20e6
	// settledAtOnce is the most accounts in a report. Others wait for the next.
	settledAtOnce = 256
	// idleLookNanos is how often idle accounts are looked for.
	idleLookNanos = 10e9
)

// settling is a core's reporting.
type settling struct {
	of       *quotas
	dirty    [2]*account // first and last of those with something to report
	reports  []settlement
	next     int64 // when it may report again
	nextLook int64
	timer    reactor.Timer
}

// settlement is a report on its way to a home core, or the answer on its way back.
type settlement struct {
	from    *quotas
	to      *Shard
	entries []settledEntry
	away    bool
	back    bool
}

type settledEntry struct {
	account *account
	key     accountKey
	bound   float64
	used    float64
	answer  quota.Answer
}

func (s *settling) init(q *quotas) {
	s.of = q
	s.reports = make([]settlement, len(q.shard.broker.shards))
	for i := range s.reports {
		s.reports[i].from, s.reports[i].to = q, q.shard.broker.shards[i]
	}
}

// mark notes that an account has something to report.
func (s *settling) mark(a *account) {
	if a.dirty || a.atHome {
		return
	}
	a.dirty = true
	if s.dirty[1] == nil {
		s.dirty[0] = a
	} else {
		s.dirty[1].nextDirty = a
	}
	s.dirty[1] = a
}

// endTurn reports what there is if it is time to, else when it will be.
func (q *quotas) endTurn() {
	s := &q.settling
	if s.dirty[0] == nil {
		return
	}
	core := q.shard.core
	if core.Now < s.next {
		if !s.timer.Armed() {
			core.After(s.next-core.Now, &s.timer, s)
		}
		return
	}
	s.next = core.Now + settleNanos
	s.report()
	if core.Now >= s.nextLook {
		s.nextLook = core.Now + idleLookNanos
		q.forgetIdle(core.Now / 1e6)
	}
}

// Fire implements reactor.TimerHandler: the turn that it wakes the core for reports.
func (s *settling) Fire(*reactor.Timer) {}

// report sends what there is to the homes that are not still answering the last.
func (s *settling) report() {
	first := s.dirty[0]
	s.dirty = [2]*account{}
	for a := first; a != nil; {
		next := a.nextDirty
		a.nextDirty, a.dirty = nil, false
		s.enter(a)
		a = next
	}
	core := s.of.shard.core
	for i := range s.reports {
		if r := &s.reports[i]; !r.away && len(r.entries) > 0 {
			r.away, r.back = true, false
			core.Send(r.to.core, r)
		}
	}
}

// enter puts an account into the report to its home, or back among those that wait.
func (s *settling) enter(a *account) {
	r := &s.reports[s.of.homeOf(a.key)]
	if r.away || len(r.entries) == settledAtOnce {
		s.mark(a)
		return
	}
	if !a.Unsaid() {
		return
	}
	if len(r.entries) < cap(r.entries) {
		r.entries = r.entries[:len(r.entries)+1]
	} else {
		r.entries = append(r.entries, settledEntry{})
	}
	e := &r.entries[len(r.entries)-1]
	e.account, e.key, e.bound, e.used = a, a.key, a.bound, a.Report()
}

// Deliver implements reactor.Message: at the home core, then where it came from.
func (r *settlement) Deliver(c *reactor.Core) {
	if r.back {
		r.settle()
		return
	}
	if home := r.to.quotas; home != nil {
		now := home.millis()
		for i := range r.entries {
			e := &r.entries[i]
			a := home.account(e.key)
			home.used(a, now)
			a.home.Record(home.shapeOf(e.key.kind), now, e.bound, e.used)
			a.home.Copy(&e.answer)
		}
	}
	r.back = true
	c.Send(r.from.shard.core, r)
}

// settle takes the answer in.
func (r *settlement) settle() {
	q := r.from
	now := q.millis()
	for i := range r.entries {
		e := &r.entries[i]
		e.account.Settle(q.shapeOf(e.key.kind), now, e.bound, &e.answer)
		if e.account.Unsaid() {
			q.settling.mark(e.account)
		}
		e.account = nil
	}
	r.entries, r.away = r.entries[:0], false
}

// end stops the reporting: there is no quota any more.
func (q *quotas) end() { q.shard.core.Cancel(&q.settling.timer) }
