package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// What connections holds open, and what it asks of them.
const (
	idleConnections   = 10_000
	activeConnections = 1000
	activePerSecond   = 5000 // single-record batches, over all of them
)

// connections measures many producers, each on a connection of its own, and what
// idle ones cost.
func connections(s *scene) error {
	cs, stop, err := s.brokers()
	if err != nil {
		return err
	}
	defer stop()
	t := newTopic("connections", 1, 1024)
	byContender, err := lanes(cs, t)
	if err != nil {
		return err
	}
	e, err := s.rawEcho("epoll echo", t, byContender[cs[0]].answer, "-kind", "many")
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
	producers := s.r.amount(activeConnections)
	what := fmt.Sprintf("%d producers on connections of their own, together %d single-record batches/s", producers, activePerSecond)
	trials, err := s.interleave(what, s.openRounds(), all, func(c *contender, _ int) (*measurement, error) {
		return byContender[c].stream(openLoop{perSecond: activePerSecond, seconds: s.r.seconds, producers: producers})
	})
	if err != nil {
		return err
	}
	s.versusPercentiles("acknowledgement", trials)
	s.plotTrials("Acknowledgement, 1,000 producers, 5,000 batches a second", trials)
	return s.idleConnections(cs)
}

// versusPercentiles reports our percentiles beside each other contender's.
func (s *scene) versusPercentiles(what string, trials []*trial) {
	mine := of(trials, ours)
	for _, other := range trials {
		if other == mine || len(other.rounds) == 0 {
			continue
		}
		for _, p := range percentiles {
			s.versus(what+" "+p.name, "us", mine.quantile(p.value), other.quantile(p.value), goal{})
		}
	}
}

// idleConnections opens connections that say nothing, and looks at the memory.
func (s *scene) idleConnections(cs []*contender) error {
	want := s.r.amount(idleConnections)
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil && int(l.Cur) < want+200 {
		want = int(l.Cur) - 200
		s.note("%d idle connections: the limit of open files is %d", want, l.Cur)
	}
	grown := 0.0
	err := each(cs[:1], func(c *contender) error { // a JVM's memory says nothing of one connection
		before := c.server.residentMB()
		open, err := dialMany(c.server.port, want)
		if err != nil {
			return err
		}
		defer closeAll(open)
		time.Sleep(500 * time.Millisecond)
		// One more is served: those before have been taken in.
		last, err := dial(c.server.port)
		if err != nil {
			return err
		}
		defer last.close()
		if _, err := (&topic{name: "connections", partitions: 1}).ends(last); err != nil {
			return err
		}
		grown = (c.server.residentMB() - before) * (1 << 20) / float64(want)
		return nil
	})
	if err != nil {
		return err
	}
	s.alone(fmt.Sprintf("memory of each of %d idle connections", want), "KiB", series{all: grown / 1024}, goal{})
	return nil
}
