package simtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"slipstream/internal/guarantees"
	"slipstream/internal/sim"
)

// newSociety is a story with groups and transactions: what every seed has, and what
// it draws.
func newSociety(t *testing.T, o outline) *run {
	seed := o.seed
	r := &run{t: t, seed: seed, size: drawSize(seed), rand: rand.New(rand.NewPCG(seed, 77)), ids: map[int64]bool{}, crashes: map[string]int{}}
	options := sim.Options{Level: levels[seed%3], TinyReads: seed%7 == 0, TraceLines: traceLines, SlowSyncNanos: int64(seed%3) * 3e6}
	durable := r.rand.IntN(2) == 0
	r.node = &node{
		world: sim.New(seed, options), several: seed%5 == 4, cores: 1 + r.rand.IntN(3), segment: r.size.segment + r.rand.IntN(50_000),
		sets: []string{
			"slipstream.writer=" + []string{"ring", "inline"}[r.rand.IntN(2)],
			"offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3",
			"group.min.session.timeout.ms=10", fmt.Sprint("group.initial.rebalance.delay.ms=", r.rand.IntN(100)),
			fmt.Sprint("group.consumer.min.session.timeout.ms=", sessionNanos/1e6), fmt.Sprint("group.consumer.session.timeout.ms=", sessionNanos/1e6),
			fmt.Sprint("group.consumer.min.heartbeat.interval.ms=", sessionNanos/5e6), fmt.Sprint("group.consumer.heartbeat.interval.ms=", sessionNanos/5e6),
			fmt.Sprint("group.consumer.assignment.interval.ms=", r.rand.IntN(2)*r.rand.IntN(200)),
		},
	}
	// The coordinators' logs are compacted all the time, and the others are written out soon enough for that to find something.
	r.node.sets = append(r.node.sets, "log.cleaner.backoff.ms=2", "log.cleaner.min.cleanable.ratio=0.01",
		fmt.Sprint("slipstream.writeback.horizon.ms=", 10+r.rand.IntN(100)))
	if durable {
		r.node.sets = append(r.node.sets, "log.flush.interval.messages=1")
	}
	r.durable = durable
	r.node.after = r.step
	r.society = &society{run: r, truth: &truth{topics: map[string]*topic{}, txns: guarantees.NewTransactions()}, claims: map[string]*transactor{}}
	for _, name := range []string{"orders", "events", "ledger", "results"} {
		top := newTopic(name, 1+r.rand.IntN(4), durable)
		top.transactional = name == "ledger" || name == "results"
		r.topics = append(r.topics, top)
		r.truth.topics[name] = top
	}
	r.admin = &admin{run: r, wanted: append([]*topic(nil), r.topics...)}
	for i, top := range r.topics[:2] {
		var all []int32
		for p := range top.parts {
			all = append(all, int32(p))
		}
		p := r.newProducer(fmt.Sprint("i", i), top, all...)
		p.depth, p.pace = 2, 30e6
		r.producers = append(r.producers, p)
	}
	r.populate()
	r.abridge(&o)
	return r
}

// populate draws the groups and the transactional producers.
func (r *run) populate() {
	first := crewKind(r.rand.IntN(int(crewKinds)))
	for i := range crewKinds {
		if kind := (first + i) % crewKinds; len(r.crews) == 0 || len(r.crews) < r.size.groups && r.rand.IntN(2) == 0 {
			c := r.newCrew(fmt.Sprint("group-", kind), kind, "events", "orders")
			if c.committed = r.rand.IntN(2) == 0; c.committed {
				c.topics = []string{"events", "ledger"}
			}
			r.crews = append(r.crews, c)
		}
	}
	if r.size.groups == 1 && r.rand.IntN(2) == 0 {
		r.crews = nil // the pipeline is the one
	}
	c := r.newCrew("pipeline", crewKind(r.rand.IntN(int(crewKinds))), "ledger", "orders")
	c.pipeline, c.committed = true, true
	r.crews = append(r.crews, c)
	for i := range 1 + r.rand.IntN(min(3, r.size.groups)) {
		r.desks = append(r.desks, &desk{run: r, id: fmt.Sprint("desk-", i), events: map[string]int{}})
	}
	r.audits = append(r.audits, r.newAuditor(false))
	r.noise = r.newNoise()
}

func (c *crew) reads(topic string) bool { return slices.Contains(c.topics, topic) }

// societyRound is one life of the broker and its end. Only where every batch is
// synced may the power be cut: elsewhere a cut takes what was promised.
func (r *run) societyRound() error {
	if err := r.live(50e6 + r.rand.Int64N(r.size.busyNanos)); err != nil {
		return err
	}
	w := r.node.world
	if r.rand.IntN(4) == 0 {
		return r.recallAcross(func() error {
			cut := r.durable && r.rand.IntN(2) == 0
			return r.ended(fmt.Sprint("silence, power cut ", cut), cut, func() error {
				if cut {
					w.PowerCut(sim.CutDrawn)
				} else {
					w.Kill()
				}
				return nil
			})
		})
	}
	switch n := r.rand.IntN(9); {
	case n > 5: // right after an answer
		cut := r.durable && r.rand.IntN(3) > 0
		r.ambush = func() { w.CrashAfter(1+r.rand.IntN(8), !cut, sim.CutDrop) }
		return r.ended(fmt.Sprint("right after an answer, power cut ", cut), cut, func() error { return r.live(10e9) })
	case n == 0:
		return r.ended("stop", false, func() error { return r.stop(false) })
	case n == 1:
		return r.ended("stop, then a power cut", false, func() error { return r.stop(true) })
	case n == 2 && r.durable:
		return r.ended("power cut", true, func() error { w.PowerCut(sim.CutDrawn); return nil })
	case n == 3 && r.durable:
		w.CrashAfter(1+r.rand.IntN(3000), false, sim.CutDrawn)
		return r.ended("power cut in a call", true, func() error { return r.live(10e9) })
	case n < 5:
		w.CrashAfter(1+r.rand.IntN(3000), true, sim.CutDrawn)
		return r.ended("kill in a call", false, func() error { return r.live(10e9) })
	}
	return r.ended("kill", false, func() error { w.Kill(); return nil })
}

func (r *run) societyStory(rounds int) error {
	if err := r.node.start(); err != nil {
		return err
	}
	for range rounds {
		if err := r.societyRound(); err != nil {
			return err
		}
		if err := r.remembered(); err != nil {
			return err
		}
	}
	if err := r.live(300e6); err != nil {
		return err
	}
	if err := r.verifySociety(); err != nil {
		return err
	}
	return r.stopForGood()
}

// verifySociety lets everything come to its end and compares.
func (r *run) verifySociety() error {
	r.quiet = true
	err := r.drive(60e9, func() bool {
		return !slices.ContainsFunc(r.producers, (*producer).pending) && !slices.ContainsFunc(r.desks, func(d *desk) bool { return !d.finished() })
	})
	if err != nil {
		return fmt.Errorf("the producers come to no end: %w", err)
	}
	// The groups end their work next: what the pipeline reads stands still by now, what it writes does not.
	ends := map[guarantees.Partition]int64{}
	rounds := r.audits[0].rounds
	err = r.drive(60e9, func() bool {
		if r.audits[0].rounds < rounds+2 { // the one under way may have been asked before
			return false
		}
		for _, one := range r.audits[0].parts {
			if one.topic.name != "results" && (one.next < one.high || one.stable < one.high) {
				return false
			}
			ends[one.part] = one.high
		}
		return r.caughtUp(ends)
	})
	if err != nil {
		return fmt.Errorf("the groups do not come to the end: %w%s", err, r.describeCrews(ends))
	}
	last := r.newAuditor(true)
	r.audits = append(r.audits, last)
	if err := r.drive(60e9, last.finished); err != nil {
		return fmt.Errorf("reading everything: %w", err)
	}
	for _, c := range r.crews {
		if err := c.verify(last); err != nil {
			return err
		}
	}
	return r.verifyRecords(last)
}

// verify holds a group that has come to the end against what there is.
func (c *crew) verify(a *auditor) error {
	var inputs []guarantees.Input
	committed := map[guarantees.Partition]int64{}
	outputs := map[guarantees.Input]int{}
	for _, one := range a.parts {
		if c.reads(one.topic.name) {
			if err := c.group.Complete(one.part, one.first, one.high); err != nil {
				return err
			}
			committed[one.part] = c.group.Committable(one.part)
			for _, offset := range one.at {
				inputs = append(inputs, guarantees.Input{Partition: one.part, Offset: offset})
			}
		}
		for _, id := range one.ids {
			if in, ok := inputOf(id); ok {
				outputs[in]++
			}
		}
	}
	if c.pipeline {
		if err := guarantees.Pipeline(inputs, committed, outputs); err != nil {
			return fmt.Errorf("group %s: %w", c.name, err)
		}
	}
	return c.group.Calm()
}

// verifyRecords holds the logs, read once more from their beginning, against what
// the producers know.
func (r *run) verifyRecords(a *auditor) error {
	logs := map[guarantees.Partition][]string{}
	for _, one := range a.parts {
		if one.topic.transactional {
			logs[one.part] = one.ids
		} else if err := one.topic.parts[one.part.Number].complete(one.first, one.ids); err != nil {
			return err
		}
	}
	return r.truth.txns.Complete(logs)
}

func (r *run) describeCrews(ends map[guarantees.Partition]int64) (text string) {
	for _, c := range r.crews {
		text += fmt.Sprintf("\n%s, kind %d:", c.name, c.kind)
		for p, end := range ends {
			text += fmt.Sprintf(" %v %d of %d,", p, c.group.Committable(p), end)
		}
		for _, m := range c.members {
			text += fmt.Sprintf("\n  %s (%s) epoch %d busy %v coordinator %v %v:", m.name, m.memberID, m.epoch, m.busy, m.coord.found, m.coord.conn != nil)
			for _, s := range m.shares {
				text += fmt.Sprintf(" %v at %d, %d", s.part, s.position, s.committed)
			}
			text += fmt.Sprintf(" %+v", m.speaks)
		}
	}
	return text
}

// oneSociety runs a seed's story of groups and transactions.
func oneSociety(t *testing.T, seed uint64) (r *run, err error) {
	return playSociety(t, outlineOf(t, seed))
}

func playSociety(t *testing.T, o outline) (r *run, err error) {
	r = newSociety(t, o)
	return r, r.told(r.societyStory(r.size.rounds), "TestSocietySeeds")
}

func TestSocietySeeds(t *testing.T) {
	first, n := seedsWanted(100)
	var total society
	events, crashes := map[string]int{}, map[string]int{}
	var simulated int64
	var outcomes [3]int
	noises, recalled, compacted := map[string]int{}, 0, 0
	for seed := first; seed < first+n; seed++ {
		r, err := oneSociety(t, seed)
		if err != nil {
			t.Fatal(err)
		}
		total.worked += r.worked
		total.commits += r.commits
		total.zombies += r.zombies
		total.fences, total.audited = total.fences+r.fences, total.audited+r.audited
		committed, aborted, unknown := r.truth.txns.Counts()
		outcomes[0], outcomes[1], outcomes[2] = outcomes[0]+committed, outcomes[1]+aborted, outcomes[2]+unknown
		for _, d := range r.desks {
			for what, n := range d.events {
				events[what] += n
			}
		}
		for what, n := range r.noise.done {
			noises[what] += n
		}
		recalled += r.recalled
		compacted += r.node.log.compacted
		simulated += r.node.world.Elapsed()
		for _, c := range r.crews {
			for what, n := range c.events {
				events[what] += n
			}
		}
		for how, n := range r.crashes {
			crashes[how] += n
		}
	}
	t.Logf("%d seeds, %.1f s simulated: %d records worked on, %d commits, %d refused; %v; ends %v", n, float64(simulated)/1e9, total.worked, total.commits, total.zombies, events, crashes)
	t.Logf("administration: %v; %d states compared across a kill; %d compactions of coordinators' logs", noises, recalled, compacted)
	t.Logf("transactions: %d committed, %d aborted, %d unknown; %d producers fenced; %d records read back", outcomes[0], outcomes[1], outcomes[2], total.fences, total.audited)
	if total.worked == 0 || total.commits == 0 {
		t.Error("nothing was done")
	}
	if n > 50 && compacted < int(n)/8 {
		t.Errorf("only %d compactions in %d seeds", compacted, n)
	}
}

// seedsWanted are the seeds to go through: SEEDS of them, or the one that SEED says.
func seedsWanted(n uint64) (first, count uint64) {
	if s, err := strconv.ParseUint(os.Getenv("SEEDS"), 10, 64); err == nil {
		n = s
	}
	if s, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		traceLines = 300_000
		return s, 1
	}
	return 0, n
}

func TestSameSocietySameTrace(t *testing.T) {
	for seed := range uint64(3) {
		a, errA := oneSociety(t, seed)
		b, errB := oneSociety(t, seed)
		if x, y := a.node.world.TraceHash(), b.node.world.TraceHash(); x != y || errA != nil || errB != nil {
			t.Errorf("seed %d: two runs have the trace hashes %x and %x; %v, %v", seed, x, y, errA, errB)
		}
	}
}
