package main

// Fan-out: so many tail consumers of one partition, at a rate that leaves the
// server time, so that what each delivery costs is measured and not the queue.
const (
	fanoutConsumers = 64
	fanoutPerSecond = 400 // batches of 16 x 1 KiB
)

// fanOut measures what a delivered GB costs the server when each batch goes to many.
func fanOut(s *scene) error {
	cs, stop, err := s.brokers()
	if err != nil {
		return err
	}
	defer stop()
	t := newTopic("fanout", 16, 1024)
	byContender, err := lanes(cs, t)
	if err != nil {
		return err
	}
	loop, err := s.rawFanout("sendfile loop", t, byContender[cs[0]].answer)
	if err != nil {
		return err
	}
	defer loop.c.server.stop()
	loop.c.server.pause()
	byContender[loop.c] = loop
	calls := s.count("system calls", "raw_syscalls/sys_enter")
	trials, err := s.interleave("64 tail consumers, 400 batches/s of 16 x 1 KiB", s.openRounds(), append(cs[:len(cs):len(cs)], loop.c), func(c *contender, _ int) (*measurement, error) {
		return calls.during(c, func() (*measurement, error) {
			m, err := byContender[c].stream(openLoop{perSecond: fanoutPerSecond, seconds: s.r.seconds, consumers: fanoutConsumers, check: s.r.check})
			if m != nil {
				m.ops *= fanoutConsumers // deliveries
			}
			return m, err
		})
	})
	if err != nil {
		return err
	}
	mine := of(trials, ours)
	for _, other := range trials {
		if other == mine || len(other.rounds) == 0 {
			continue
		}
		var g goal
		if other.c.role == raw {
			g = atMost(1.2)
		}
		s.versus("server CPU per delivered GB", "s/GB", mine.cpuPerGB(), other.cpuPerGB(), g)
		for _, p := range percentiles {
			s.versus("delivery "+p.name, "us", mine.quantile(p.value), other.quantile(p.value), goal{})
		}
	}
	for _, t := range trials {
		if v, ok := calls.perOp(t); ok {
			s.alone("system calls a delivery: "+t.c.name, "", v, goal{})
		}
	}
	s.plotTrials("From the intended time of a batch to its arrival at each of 64 consumers", trials)
	s.chartTrials("Server CPU per delivered GB", "s/GB", true, trials, (*trial).cpuPerGB)
	return each(cs, func(c *contender) error { return t.delete(c.server) })
}
