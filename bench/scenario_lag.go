package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// The sizes of the experiment at scale 1: a topic of ten times the page cache that
// a broker is left with. What the processes themselves need is on top, at any scale:
// Apache Kafka's heap of 1 GiB and what its JVM has beside it, slipstream's arena.
const (
	lagTopicBytes    = 13e9
	lagCacheBytes    = 1.25e9
	lagHeapBytes     = 1.25 * (1 << 30)
	lagArenaBytes    = 64 << 20
	lagReaders       = 2
	lagPerSecond     = 1000 // batches of 16 x 1 KiB of the hot topic
	lagResidentShare = 0.2  // of the cache, for the topic that stays in it
)

// lagPhases are what each broker goes through in a round.
var lagPhases = []string{"hot topic alone", "readers alone", "hot topic, two lagging readers", "hot topic, two readers of a resident topic"}

// lagSide is one broker in its cgroup with its topics.
type lagSide struct {
	c                  *contender
	group              *memoryCgroup
	hot, big, resident *lane
	behind, near       *laggards // readers of big and of resident
	phases             [4]*trial
}

// lag measures what becomes of a hot topic's tail while others read what is not in
// the page cache.
func lag(s *scene) error {
	if os.Geteuid() != 0 {
		return skip("it bounds the page cache with a memory cgroup, which needs root")
	}
	var sides []*lagSide
	defer func() {
		for _, side := range sides {
			side.end(s)
		}
	}()
	roles := []role{ours}
	if s.r.peer {
		roles = append(roles, peer)
	}
	for _, who := range roles {
		side, err := s.lagSide(who)
		if side != nil {
			sides = append(sides, side)
		}
		if err != nil {
			return err
		}
	}
	device, err := readDevice(segmentFiles(sides[0].c.server.dir, "big"), lagReaders, 2)
	if err != nil {
		s.note("the device's own rate is not known: %v", err)
	}
	defer quietCollector()()
	for round := range s.lagRounds() {
		for _, side := range sides {
			if err := side.round(s, round); err != nil {
				return fmt.Errorf("%s: %w", side.c.name, err)
			}
		}
	}
	s.reportLag(sides, device)
	return nil
}

// lagRounds is few: each phase of a round is long.
func (s *scene) lagRounds() int { return max(s.r.rounds/3, 1) }

// lagSide starts a broker in a cgroup, makes its topics, and then bounds its memory.
func (s *scene) lagSide(who role) (*lagSide, error) {
	group, err := newMemoryCgroup(cgroupRoot, fmt.Sprintf("slipstream-bench-%d-%d", os.Getpid(), who))
	if err != nil {
		return nil, skip(err.Error())
	}
	s.r.atEnd(func() { group.remove() })
	side := &lagSide{group: group}
	limit := int64(lagCacheBytes * s.r.scale)
	if who == ours {
		limit += lagArenaBytes
		sv, err := s.r.startCounted(filepath.Join(s.dir, "slipstream"), group)
		if err != nil {
			return side, err
		}
		side.c = &contender{name: "slipstream", role: ours, server: sv}
	} else {
		sv, err := s.r.startKafka(filepath.Join(s.dir, "kafka"), group)
		if err != nil {
			return side, err
		}
		side.c = &contender{name: "Apache Kafka", role: peer, server: sv}
		limit += lagHeapBytes
	}
	for i, name := range lagPhases {
		side.phases[i] = &trial{c: side.c, what: name, counted: counters{}}
	}
	defer side.c.server.pause()
	if err := side.makeTopics(s); err != nil {
		return side, err
	}
	return side, group.limit(limit)
}

// makeTopics fills the large topic and the resident one, once, and leaves nothing
// dirty behind.
func (side *lagSide) makeTopics(s *scene) (err error) {
	if side.hot, err = side.c.lane(newTopic("hot", 16, 1024)); err != nil {
		return err
	}
	if side.big, err = side.c.lane(newTopic("big", 250, 1024)); err != nil {
		return err
	}
	if side.resident, err = side.c.lane(newTopic("resident", 250, 1024)); err != nil {
		return err
	}
	// In pieces: what is dirty is written and dropped before it is so much that it is throttled.
	total, piece := int(lagTopicBytes*s.r.scale), 1<<30
	for at := piece; at < total+piece; at += piece {
		if err := side.big.fill(min(at, total)); err != nil {
			return err
		}
		if err := syncAndDrop(side.c.server.dir, "big"); err != nil {
			return err
		}
	}
	if err := side.resident.fill(int(lagCacheBytes * s.r.scale * lagResidentShare)); err != nil {
		return err
	}
	if err := syncAndDrop(side.c.server.dir, "resident"); err != nil {
		return err
	}
	// A warm-up: the first of everything costs more.
	if _, err := side.hot.stream(openLoop{perSecond: lagPerSecond, seconds: s.r.seconds, consumers: 1}); err != nil {
		return err
	}
	side.behind = newLaggards(side.big, lagReaders, s.r.check)
	side.near = newLaggards(side.resident, lagReaders, s.r.check)
	return nil
}

// end stops the broker and removes what was made for it.
func (side *lagSide) end(s *scene) {
	if side.c != nil {
		if err := side.c.server.stop(); err != nil && side.c.role == ours {
			s.note("slipstream did not end well: %v: %s", err, side.c.server.said)
		}
		os.RemoveAll(side.c.server.dir)
	}
	if err := side.group.remove(); err != nil {
		s.note("the cgroup %s stays: %v", side.group.dir, err)
	}
}

// round goes through the phases once.
func (side *lagSide) round(s *scene, round int) error {
	hot := func() (*measurement, error) {
		return side.hot.stream(openLoop{perSecond: lagPerSecond, seconds: 2 * s.r.seconds, consumers: 1, check: s.r.check})
	}
	idle := func() (*measurement, error) {
		watch := side.c.stopwatch()
		sleepSeconds(s.r.seconds)
		return watch.stop(&measurement{}), nil
	}
	reached := 0.0
	dir := side.c.server.dir
	for phase, run := range []func() (*measurement, error){
		hot,
		func() (*measurement, error) { return side.behind.beside(0, idle) },
		func() (*measurement, error) { return side.behind.beside(0, hot) },
		func() (*measurement, error) {
			if err := readIn(dir, "resident"); err != nil {
				return nil, err
			}
			return side.near.beside(reached/lagReaders, hot)
		},
	} {
		// Each phase begins with nothing of the large topic in the cache.
		if err := syncAndDrop(dir, "big"); err != nil {
			return err
		}
		before := side.c.counters()
		m, err := measure(side.c, round, func(*contender, int) (*measurement, error) { return run() })
		if err != nil {
			return fmt.Errorf("%s: %w", lagPhases[phase], err)
		}
		side.phases[phase].counted.add(side.c.counters().since(before))
		if phase == 2 {
			reached = m.extra[readersRate]
			if bytes, ok := residentBytes(dir, "big"); ok {
				m.extra[leftInCache] = float64(bytes)
			}
		}
		if phase == 3 {
			side.checkResident(s)
		}
		side.phases[phase].rounds = append(side.phases[phase].rounds, m)
	}
	return nil
}

// checkResident notes it if the resident topic was not: the phase is then not what
// it is called.
func (side *lagSide) checkResident(s *scene) {
	want := int64(side.resident.batches * side.resident.t.batchBytes)
	if got, ok := residentBytes(side.c.server.dir, "resident"); ok && got < want*99/100 {
		s.note("%s: of the resident topic's %d bytes only %d were in the page cache at the end", side.c.name, want, got)
	}
}

// leftInCache names what of the large topic is in the page cache after a catch-up.
const leftInCache = "bytes left in the page cache"

// extraRate is one of the extra quantities, in a unit of so many.
func (t *trial) extraRate(name string, unit float64) series {
	v := series{who: t.what}
	for _, m := range t.rounds {
		v.rounds = append(v.rounds, m.extra[name]/unit)
	}
	v.all = median(v.rounds)
	return v
}

func (s *scene) reportLag(sides []*lagSide, device float64) {
	mine := sides[0].phases
	alone, readers, lagging, resident := mine[0], mine[1], mine[2], mine[3]
	for _, t := range mine {
		s.keep(t)
	}
	named := func(t *trial, percentile float64, who string) series {
		v := t.quantile(percentile)
		v.who = who
		return v
	}
	toResident, toAlone := []goal{{}, atMost(1.15), atMost(1.5)}, []goal{{}, atMost(3), {}}
	for i, p := range percentiles {
		s.versus("during catch-up "+p.name, "us", lagging.quantile(p.value), named(resident, p.value, "readers resident"), toResident[i])
		s.versus("during catch-up "+p.name, "us", lagging.quantile(p.value), named(alone, p.value, "alone"), toAlone[i])
	}
	rate := readers.extraRate(readersRate, 1e9)
	s.versus("laggards' rate beside the hot topic", "GB/s", lagging.extraRate(readersRate, 1e9), rate, atLeast(0.8))
	if device > 0 {
		s.report("laggards' rate alone", rate.all, "O_DIRECT readers", device/1e9, "GB/s", goal{})
	}
	s.alone("of the lagged topic in the cache afterwards", "MB", lagging.extraRate(leftInCache, 1e6), goal{})
	s.lagPlot("slipstream", alone, lagging, resident)
	if len(sides) > 1 {
		s.reportLagPeer(mine, sides[1].phases)
	}
}

func (s *scene) reportLagPeer(mine, theirs [4]*trial) {
	for _, t := range theirs {
		s.keep(t)
	}
	goals := []goal{{}, atMost(0.01), {}}
	for i, p := range percentiles {
		s.versus("during catch-up "+p.name, "us", mine[2].quantile(p.value), theirs[2].quantile(p.value), goals[i])
	}
	for _, p := range percentiles {
		alone := theirs[0].quantile(p.value)
		alone.who = "Apache Kafka alone"
		s.versus("Apache Kafka: during catch-up "+p.name, "us", theirs[2].quantile(p.value), alone, goal{})
	}
	s.versus("laggards' rate beside the hot topic", "GB/s", mine[2].extraRate(readersRate, 1e9), named(theirs[2].extraRate(readersRate, 1e9)), goal{})
	s.lagPlot("Apache Kafka", theirs[0], theirs[2], theirs[3])
	both := plot{Title: "Hot topic during catch-up, both brokers"}
	both.add("slipstream", mine[2])
	both.add("Apache Kafka", theirs[2])
	s.Plots = append(s.Plots, both)
}

// named gives a series the peer's name.
func named(v series) series {
	v.who = "Apache Kafka"
	return v
}

// lagPlot draws one broker's hot topic in its three circumstances.
func (s *scene) lagPlot(who string, alone, lagging, resident *trial) {
	p := plot{Title: fmt.Sprintf("%s: hot topic, 1,000 batches a second, to its tail consumer", who)}
	p.add("beside lagging readers", lagging)
	p.add("beside resident readers", resident)
	p.add("alone", alone)
	s.Plots = append(s.Plots, p)
}
