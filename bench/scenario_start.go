package main

import (
	"fmt"
	"path/filepath"
	"time"
)

// startUp measures the time from exec to listening, on an empty directory and on
// one with 1,000 segments, and the memory of an idle broker.
func startUp(s *scene) error {
	full := filepath.Join(s.dir, "slipstream")
	sv, err := s.r.startBroker(full, nil)
	if err != nil {
		return err
	}
	c := &contender{name: "slipstream", role: ours, server: sv}
	time.Sleep(time.Second)
	s.alone("idle resident memory", "MB", series{all: c.server.residentMB()}, atMost(64))
	if s.r.peer {
		if err := startPeer(s, c); err != nil {
			return err
		}
	}
	// Batches as large as half a segment roll every other append.
	count := s.r.amount(1000)
	t := newTopic("segments", 600, 1000)
	l, err := c.lane(t, "segment.bytes", "1048576")
	if err != nil {
		return err
	}
	if err := l.fill((count + 1) * t.batchBytes); err != nil {
		return err
	}
	if err := c.server.stop(); err != nil {
		return fmt.Errorf("stopping: %w", err)
	}
	if got := len(segmentFiles(full, t.name)); got < count {
		return fmt.Errorf("%d segments were made, %d wanted", got, count)
	}
	var empty, segments []float64
	for i := range s.r.rounds {
		again, err := s.r.startBroker(full, nil)
		if err != nil {
			return err
		}
		again.stop()
		segments = append(segments, again.ready.Seconds()*1e3)
		fresh, err := s.r.startBroker(filepath.Join(s.dir, "empty", itoa(i)), nil)
		if err != nil {
			return err
		}
		fresh.stop()
		empty = append(empty, fresh.ready.Seconds()*1e3)
	}
	s.alone("start with an empty directory", "ms", series{all: median(empty)}, goal{})
	s.alone(fmt.Sprintf("start with %d segments", count), "ms", series{all: median(segments)}, below(300))
	return nil
}

// startPeer starts an Apache Kafka of its own for the same figures.
func startPeer(s *scene, c *contender) error {
	k, err := s.r.startKafka(filepath.Join(s.dir, "kafka"), nil)
	if err != nil {
		return err
	}
	defer k.stop()
	time.Sleep(time.Second)
	s.report("start", c.server.ready.Seconds()*1e3, "Apache Kafka", k.ready.Seconds()*1e3, "ms", goal{})
	s.report("idle resident memory", c.server.residentMB(), "Apache Kafka", k.residentMB(), "MB", goal{})
	s.report("threads", float64(c.server.threads()), "Apache Kafka", float64(k.threads()), "", goal{})
	return nil
}
