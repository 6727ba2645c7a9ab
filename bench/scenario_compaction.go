package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// At scale 1 the log that is compacted has 10 GB, with 10 million keys.
const (
	compactBytes = 10e9
	compactKeys  = 10_000_000
	// compactPerSecond is the hot topic's batches of 16 x 1 KiB, as in the scenario lag.
	compactPerSecond = 1000
	// compactCacheBytes is what a broker with its hot topic may have of memory while it compacts, where it can be bounded: less than
	// what it reads, so that who keeps what it has read evicts the hot tail.
	compactCacheBytes = 768 << 20
	// cleanerBackoff is how often either broker looks for something to compact, in milliseconds.
	cleanerBackoff = "50"
)

// compaction measures how fast a log is compacted and what that costs, and then what becomes of a hot topic meanwhile.
func compaction(s *scene) error {
	if err := s.compactionSpeed(); err != nil {
		return err
	}
	return s.besideCompaction()
}

// compactors starts the brokers of this scenario, one after the other, and lets f have each.
func (s *scene) compactors(bounded bool, f func(*contender) error) error {
	roles := []role{ours}
	if s.r.peer {
		roles = append(roles, peer)
	}
	for _, who := range roles {
		if err := s.compactor(who, bounded, f); err != nil {
			return err
		}
	}
	return nil
}

// compactor starts one, for as long as f takes.
func (s *scene) compactor(who role, bounded bool, f func(*contender) error) (err error) {
	group, limit := s.compactionCgroup(bounded, who)
	c := &contender{name: "slipstream", role: who}
	if who == ours {
		c.server, err = s.r.startCounted(filepath.Join(s.dir, "slipstream"), group, "--set", "log.cleaner.backoff.ms="+cleanerBackoff)
	} else {
		c.name = "Apache Kafka"
		c.server, err = s.r.startKafka(filepath.Join(s.dir, "kafka"), group, "log.cleaner.backoff.ms="+cleanerBackoff)
	}
	if err == nil {
		if err = group.limit(limit); err == nil {
			err = f(c)
		}
		if ended := c.server.stop(); ended != nil && who == ours {
			s.note("slipstream did not end well: %v: %s", ended, c.server.said)
		}
		os.RemoveAll(c.server.dir)
	}
	if removed := group.remove(); removed != nil {
		s.note("the cgroup %s stays: %v", group.dir, removed)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// compactionCgroup bounds a broker's memory, if that is wanted and can be done.
func (s *scene) compactionCgroup(bounded bool, who role) (*memoryCgroup, int64) {
	if !bounded || os.Geteuid() != 0 {
		return nil, 0
	}
	group, err := newMemoryCgroup(cgroupRoot, fmt.Sprintf("slipstream-bench-%d-%d", os.Getpid(), who))
	if err != nil {
		s.note("memory is not bounded: %v", err)
		return nil, 0
	}
	s.r.atEnd(func() { group.remove() })
	limit := int64(compactCacheBytes)
	if who == peer {
		limit += lagHeapBytes
	}
	return group, limit
}

// compactionSpeed compares how fast a log is compacted, and at what cost, with nothing else to do.
func (s *scene) compactionSpeed() error {
	scale := s.compactScale()
	bytes, keys := int64(compactBytes*scale), max(int(compactKeys*scale), 1)
	var trials []*trial
	left := map[*trial]series{}
	err := s.compactors(false, func(c *contender) error {
		t := &trial{c: c, what: "compaction alone", counted: counters{}}
		d, err := c.makeDirty("compacted", bytes, keys)
		if err != nil {
			return err
		}
		time.Sleep(settleTime)
		before, watch := c.countersNow(), c.stopwatch()
		if err := d.begin(); err != nil {
			return err
		}
		if err := d.wait(); err != nil {
			return err
		}
		t.rounds = append(t.rounds, watch.stop(&measurement{bytes: d.bytes, ops: d.records}))
		t.counted = c.countersNow().since(before)
		left[t] = series{who: c.name, all: d.left()}
		trials = append(trials, t)
		s.keep(t)
		return nil
	})
	if err != nil {
		return err
	}
	s.reportCompaction(trials, left)
	return nil
}

func (s *scene) compactScale() float64 {
	if s.r.quick {
		return s.r.scale / 10
	}
	return s.r.scale
}

func (s *scene) reportCompaction(trials []*trial, left map[*trial]series) {
	megabytes := func(m *measurement) float64 { return float64(m.bytes) / 1e6 }
	mine, other := of(trials, ours), of(trials, peer)
	what := fmt.Sprintf("compaction of %s GB, %s million keys", digits(compactBytes/1e9*s.compactScale()), digits(compactKeys/1e6*s.compactScale()))
	if other == nil {
		s.alone(what+": rate", "MB/s", mine.per(megabytes, seconds), goal{})
		s.alone(what+": server CPU", "s/GB", mine.cpuPerGB(), goal{})
		s.alone("what is left of it", "", left[mine], goal{})
		return
	}
	s.versus(what+": rate", "MB/s", mine.per(megabytes, seconds), other.per(megabytes, seconds), atLeast(1))
	s.versus(what+": server CPU", "s/GB", mine.cpuPerGB(), other.cpuPerGB(), atMost(1))
	s.versus("what is left of it", "", left[mine], left[other], goal{AtLeast: 0.99, AtMost: 1.01})
	s.chartTrials(what, "MB/s", false, trials, func(t *trial) series { return t.per(megabytes, seconds) })
	s.chartTrials(what+": server CPU", "s/GB", true, trials, (*trial).cpuPerGB)
}

// besideCompaction compares a hot topic's tail while another topic of the same broker is compacted with the same when nothing is.
func (s *scene) besideCompaction() error {
	var all [][]*trial
	err := s.compactors(true, func(c *contender) error {
		trials, err := s.hotBesideCompaction(c)
		all = append(all, trials)
		return err
	})
	if err != nil {
		return err
	}
	for i, trials := range all {
		for _, p := range percentiles {
			g := goal{}
			name := "hot topic during compaction, " + p.name
			if i == 0 && p.value == 99 {
				g = atMost(1.15)
			}
			if i > 0 {
				name = "Apache Kafka: " + name
			}
			quiet := trials[1].quantile(p.value)
			quiet.who = "quiet"
			s.versus(name, "us", trials[0].quantile(p.value), quiet, g)
		}
		s.alone(trials[0].c.name+": compaction beside the hot topic", "MB/s", trials[0].extraRate(compactedRate, 1e6), goal{})
	}
	flat := all[0]
	for _, trials := range all[1:] {
		flat = append(flat, trials...)
	}
	s.plotTrials("A hot topic's batches to their consumer, quiet and while a log is compacted", flat)
	return nil
}

// countersNow are a running contender's counters, which goes on afterwards.
func (c *contender) countersNow() counters {
	defer c.server.resume()
	return c.counters()
}

// compactedRate names what was compacted a second.
const compactedRate = "compacted bytes a second"

// hotBesideCompaction measures one broker.
func (s *scene) hotBesideCompaction(c *contender) ([]*trial, error) {
	hot, err := c.lane(newTopic("hot", 16, 1024))
	if err != nil {
		return nil, err
	}
	if err := s.apart(c); err != nil {
		return nil, err
	}
	defer func() { placed = nil }()
	defer quietCollector()()
	during, quiet := *c, *c
	during.name, quiet.name, quiet.role = c.name+" during compaction", c.name+" quiet", raw
	trials := []*trial{{c: &during, what: "hot topic during compaction", counted: counters{}}, {c: &quiet, what: "hot topic", counted: counters{}}}
	load := openLoop{perSecond: compactPerSecond, seconds: s.r.seconds, consumers: 1, check: s.r.check}
	// What lasts as long as a round at a rate that is more than was seen.
	bytes := int64(600e6 * s.r.seconds)
	for round := -1; round < s.r.rounds; round++ {
		d, err := c.makeDirty("beside-"+itoa(round+1), bytes, int(bytes/1000))
		if err != nil {
			return nil, err
		}
		time.Sleep(settleTime)
		q, err := hot.stream(load)
		if err != nil {
			return nil, err
		}
		before := c.countersNow()
		m, err := s.streamDuring(hot, d, load)
		if err != nil {
			return nil, err
		}
		if round >= 0 {
			trials[0].counted.add(c.countersNow().since(before))
			trials[0].rounds, trials[1].rounds = append(trials[0].rounds, m), append(trials[1].rounds, q)
		}
		if err := d.t.delete(c.server); err != nil {
			return nil, err
		}
	}
	for _, t := range trials {
		s.keep(t)
	}
	if words := trials[0].counted.inWords(); words != "" {
		s.note("%s: %s", during.name, words)
	}
	return trials, nil
}

// streamDuring plays the hot topic's load while a log is compacted, and waits for the end of that.
func (s *scene) streamDuring(hot *lane, d *dirtyLog, load openLoop) (*measurement, error) {
	begun := nanotime()
	if err := d.begin(); err != nil {
		return nil, err
	}
	time.Sleep(settleTime)
	m, err := hot.stream(load)
	if err != nil {
		return nil, err
	}
	if d.done() {
		s.note("%s: compaction ended before the load did", d.c.name)
	}
	if err := d.wait(); err != nil {
		return nil, err
	}
	m.extra = map[string]float64{compactedRate: float64(d.bytes) / (float64(nanotime()-begun) / 1e9)}
	return m, nil
}
