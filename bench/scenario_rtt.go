package main

// perRound is how many round trips a round of a closed loop takes.
const perRound = 4000

// echo measures the machine and the generator with the raw servers alone.
func echo(s *scene) error {
	t := newTopic("echo", 1, 1024)
	a := answer{bytes: 64}
	byContender := map[*contender]*lane{}
	var closed []*contender
	for _, e := range []struct {
		name string
		args []string
	}{{"echo, blocking", nil}, {"echo, spinning", []string{"-spin"}}} {
		l, err := s.rawEcho(e.name, t, a, e.args...)
		if err != nil {
			return err
		}
		defer l.c.server.stop()
		l.c.server.pause()
		byContender[l.c] = l
		closed = append(closed, l.c)
	}
	many, err := s.rawEcho("echo, open loop", t, a, "-kind", "many")
	if err != nil {
		return err
	}
	defer many.c.server.stop()
	many.c.server.pause()
	if err := s.apart(append(closed, many.c)...); err != nil {
		return err
	}
	trials, err := s.interleave("closed loop, 1 KiB", s.r.rounds, closed, func(c *contender, _ int) (*measurement, error) {
		return byContender[c].roundTrips(s.r.amount(perRound))
	})
	if err != nil {
		return err
	}
	opened, err := s.interleave("open loop, 5,000/s, 1 KiB", s.r.rounds, []*contender{many.c}, func(*contender, int) (*measurement, error) {
		return many.stream(openLoop{perSecond: 5000, seconds: s.r.seconds / 2})
	})
	if err != nil {
		return err
	}
	for _, t := range append(trials, opened...) {
		for _, p := range percentiles {
			s.alone(t.c.name+" "+p.name, "us", t.quantile(p.value), goal{})
		}
	}
	late := opened[0].merged(lateOf)
	for _, p := range percentiles {
		s.alone("the generator is late by, "+p.name, "us", series{all: late.micros(p.value)}, goal{})
	}
	s.plotTrials("Round trip of 1 KiB", append(trials, opened...))
	return nil
}

var percentiles = []struct {
	name  string
	value float64
}{{"p50", 50}, {"p99", 99}, {"p99.9", 99.9}}

func roundTripParked(s *scene) error {
	return roundTripUnder(s, "park", nil, atMost(1.25), atMost(2))
}

func roundTripSpinning(s *scene) error {
	return roundTripUnder(s, "spin", []string{"-spin"}, atMost(1.4), atMost(2))
}

// roundTripUnder measures the produce round trip under a waiting policy.
func roundTripUnder(s *scene, policy string, echoArgs []string, p50, p999 goal) error {
	cs, stop, err := s.brokers("--set", "slipstream.wait.policy="+policy)
	if err != nil {
		return err
	}
	defer stop()
	t := newTopic(s.Name, 1, 1024)
	byContender, err := lanes(cs, t)
	if err != nil {
		return err
	}
	e, err := s.rawEcho("echo", t, byContender[cs[0]].answer, echoArgs...)
	if err != nil {
		return err
	}
	defer e.c.server.stop()
	e.c.server.pause()
	byContender[e.c] = e
	all := append(cs[:len(cs):len(cs)], e.c)
	if err := s.apart(all...); err != nil {
		return err
	}
	work := func(c *contender, _ int) (*measurement, error) {
		return byContender[c].roundTrips(s.r.amount(perRound))
	}
	trials, err := s.interleave("produce round trip, 1 KiB, closed loop", s.r.rounds, all, work)
	if err != nil {
		return err
	}
	mine, base := of(trials, ours), of(trials, raw)
	goals := []goal{p50, {}, p999}
	for i, p := range percentiles {
		s.versus("round trip "+p.name, "us", mine.quantile(p.value), base.quantile(p.value), goals[i])
	}
	if other := of(trials, peer); other != nil {
		for _, p := range percentiles {
			s.versus("round trip "+p.name, "us", mine.quantile(p.value), other.quantile(p.value), goal{})
		}
		s.versus("Apache Kafka's p50", "us", other.quantile(50), base.quantile(50), goal{})
	}
	e50 := base.quantile(50).all
	s.plotTrials("Produce round trip, 1 KiB", trials, mark{p50.String() + " x echo", ninesOf(50), p50.AtMost * e50},
		mark{p999.String() + " x echo", ninesOf(99.9), p999.AtMost * base.quantile(99.9).all})
	if policy == "spin" {
		return nil // two that never sleep cannot share a processor
	}
	if err := s.together(cs[0], e.c); err != nil {
		return err
	}
	trials, err = s.interleave("the same, client and server on one processor", s.r.rounds, []*contender{cs[0], e.c}, work)
	if err != nil {
		return err
	}
	for _, p := range percentiles {
		s.versus("on one processor, "+p.name, "us", of(trials, ours).quantile(p.value), of(trials, raw).quantile(p.value), goal{})
	}
	return nil
}
