package main

import "fmt"

// endToEnd measures produce to a waiting consumer: one batch at a time, and open
// loops of single records and of batches.
func endToEnd(s *scene) error {
	cs, stop, err := s.brokers()
	if err != nil {
		return err
	}
	defer stop()
	single := newTopic("e2e", 1, 1024)
	byContender, err := lanes(cs, single)
	if err != nil {
		return err
	}
	e, err := s.rawEcho("echo", single, byContender[cs[0]].answer)
	if err != nil {
		return err
	}
	defer e.c.server.stop()
	e.c.server.pause()
	all := append(cs[:len(cs):len(cs)], e.c)
	if err := s.apart(all...); err != nil {
		return err
	}
	trials, err := s.interleave("produce to a waiting consumer, closed loop", s.r.rounds, all, func(c *contender, _ int) (*measurement, error) {
		if c == e.c {
			return e.roundTrips(s.r.amount(perRound))
		}
		return byContender[c].roundTripsToConsumer(s.r.amount(perRound), s.r.check)
	})
	if err != nil {
		return err
	}
	// "x echo" in the goals below is this: the blocking echo's median round trip.
	base := of(trials, raw).quantile(50)
	base.who = "echo p50"
	goals := []goal{atMost(1.5), {}, {}}
	for i, p := range percentiles {
		s.versusEcho("closed loop "+p.name, trials, p.value, base, goals[i])
	}
	s.plotTrials("Closed loop: a 1 KiB batch to a waiting consumer, and the echo's round trip", trials, mark{"<= 1.5 x echo", ninesOf(50), 1.5 * base.all})
	for _, load := range []struct {
		perSecond float64
		goals     []goal
	}{{2000, make([]goal, 3)}, {5000, []goal{below(3), below(10), below(20)}}} {
		if err := endToEndOpen(s, cs, byContender, load.perSecond, base, load.goals); err != nil {
			return err
		}
	}
	return endToEndBatches(s, cs)
}

// versusEcho reports a percentile of ours, and of the peer, as multiples of the echo.
// Where the bare echo, on the same schedule, misses the bound itself, it is this
// machine, at this time, that misses it.
func (s *scene) versusEcho(name string, trials []*trial, percentile float64, base series, g goal) {
	mine := of(trials, ours).quantile(percentile)
	mine.unlessRaw(trials, percentile, g.Below*base.all)
	s.versus(name, "us", mine, base, g)
	if other := of(trials, peer); other != nil {
		s.versus(name, "us", mine, other.quantile(percentile), goal{})
		s.versus("Apache Kafka: "+name, "us", other.quantile(percentile), base, goal{})
	}
}

// unlessRaw puts a percentile in doubt that the raw limit beside it does not keep below
// a bound in microseconds (0: there is none) either.
func (v *series) unlessRaw(trials []*trial, percentile, bound float64) {
	if limit := of(trials, raw); limit != nil && bound > 0 && v.doubt == "" {
		if floor := limit.quantile(percentile); floor.all > bound {
			v.doubt = fmt.Sprintf("the %s took %s itself", floor.who, duration(floor.all))
		}
	}
}

// endToEndOpen offers single-record batches at a rate. An echo of the same schedule
// is drawn beside it; the goals count in round trips of the closed loop's echo.
func endToEndOpen(s *scene, cs []*contender, byContender map[*contender]*lane, perSecond float64, base series, goals []goal) error {
	first := byContender[cs[0]]
	e, err := s.rawEcho("echo, same schedule", first.t, first.answer, "-kind", "many")
	if err != nil {
		return err
	}
	defer e.c.server.stop()
	if err := placed.place([]*contender{e.c}); err != nil {
		return err
	}
	e.c.server.pause()
	what := fmt.Sprintf("open loop, %.0f single-record batches/s", perSecond)
	trials, err := s.interleave(what, s.openRounds(), append(cs[:len(cs):len(cs)], e.c), func(c *contender, _ int) (*measurement, error) {
		o := openLoop{perSecond: perSecond, seconds: s.r.seconds, consumers: 1, check: s.r.check}
		if c == e.c {
			o.consumers = 0
			return e.stream(o)
		}
		return byContender[c].stream(o)
	})
	if err != nil {
		return err
	}
	var marks []mark
	for i, p := range percentiles {
		s.versusEcho(fmt.Sprintf("open loop %.0f/s %s", perSecond, p.name), trials, p.value, series{who: base.who, all: base.all}, goals[i])
		if goals[i].Below > 0 {
			marks = append(marks, mark{goals[i].String() + " x echo", ninesOf(p.value), goals[i].Below * base.all})
		}
	}
	s.plotTrials(fmt.Sprintf("Open loop: %.0f single-record batches a second", perSecond), trials, marks...)
	return nil
}

// openRounds is how many rounds open loops take: each is long.
func (s *scene) openRounds() int { return max(s.r.rounds/2, 1) }

// endToEndBatches offers 100,000 records of 1 KiB a second in batches of 50.
func endToEndBatches(s *scene, cs []*contender) error {
	t := newTopic("e2e-batches", 50, 1024)
	byContender, err := lanes(cs, t)
	if err != nil {
		return err
	}
	e, err := s.rawFanout("sendfile loop", t, byContender[cs[0]].answer)
	if err != nil {
		return err
	}
	defer e.c.server.stop()
	if err := placed.place([]*contender{e.c}); err != nil {
		return err
	}
	e.c.server.pause()
	byContender[e.c] = e
	trials, err := s.interleave("open loop, 100,000 records/s of 1 KiB, batches of 50", s.openRounds(), append(cs[:len(cs):len(cs)], e.c), func(c *contender, _ int) (*measurement, error) {
		return byContender[c].stream(openLoop{perSecond: 2000, seconds: s.r.seconds, consumers: 1, check: s.r.check})
	})
	if err != nil {
		return err
	}
	goals := []goal{{}, oursBelow(500), {}}
	mine, base := of(trials, ours), of(trials, raw)
	for i, p := range percentiles {
		v := mine.quantile(p.value)
		v.unlessRaw(trials, p.value, goals[i].Below)
		s.versus("100,000 records/s "+p.name, "us", v, base.quantile(p.value), goals[i])
		if other := of(trials, peer); other != nil {
			s.versus("100,000 records/s "+p.name, "us", mine.quantile(p.value), other.quantile(p.value), goal{})
		}
	}
	s.plotTrials("Open loop: 100,000 records of 1 KiB a second in batches of 50", trials, mark{"< 500 us", ninesOf(99), 500})
	return each(cs, func(c *contender) error { return t.delete(c.server) })
}
