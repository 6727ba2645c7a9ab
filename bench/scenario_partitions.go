package main

import (
	"fmt"
	"math/rand/v2"
)

// What partitions makes, and what it asks of them.
const (
	partitionCount     = 1000
	partitionPerSecond = 500 // single-record batches, each to the next partition
)

// spreadTopic is a topic of many partitions on one contender.
type spreadTopic struct {
	c      *contender
	t      *topic
	answer answer
	next   []int64 // log end offset by partition
}

// partitions measures one producer that goes round many partitions, and one
// consumer of all of them.
func partitions(s *scene) error {
	cs, stop, err := s.brokers()
	if err != nil {
		return err
	}
	defer stop()
	t := newSpread("partitions", partitionCount)
	byContender := map[*contender]*spreadTopic{}
	memory := 0.0
	err = each(cs, func(c *contender) error {
		before := c.server.residentMB()
		begun := nanotime()
		if err := t.create(c.server.port); err != nil {
			return err
		}
		s.alone(fmt.Sprintf("creating %d partitions: %s", partitionCount, c.name), "ms", series{all: float64(nanotime()-begun) / 1e6}, goal{})
		p, err := t.firstProduce(c.server.port)
		if err != nil {
			return err
		}
		p.c.close()
		byContender[c] = &spreadTopic{c: c, t: t, answer: p.answer, next: make([]int64, partitionCount)}
		byContender[c].next[0] = 1
		if c.role == ours { // a JVM's memory says nothing of one partition
			memory = (c.server.residentMB() - before) * 1024 / partitionCount
		}
		return nil
	})
	if err != nil {
		return err
	}
	e, err := s.rawEcho("epoll echo", t, byContender[cs[0]].answer, "-kind", "many")
	if err != nil {
		return err
	}
	defer e.c.server.stop()
	e.c.server.pause()
	all := append(cs[:len(cs):len(cs)], e.c)
	if err := s.apart(all...); err != nil {
		return err
	}
	trials, err := s.interleave("1 KiB to the next of 1,000 partitions, 2,000/s, one consumer of all", s.openRounds(), all, func(c *contender, _ int) (*measurement, error) {
		if c == e.c {
			return e.stream(openLoop{perSecond: partitionPerSecond, seconds: s.r.seconds})
		}
		return byContender[c].stream(s.r.seconds)
	})
	if err != nil {
		return err
	}
	s.versusPercentiles("to the consumer", trials)
	s.alone("memory of each partition, empty", "KiB", series{all: memory}, goal{})
	s.plotTrials("Single records to 1,000 partitions in turn, to a consumer of all", trials)
	return each(cs, func(c *contender) error { return t.delete(c.server) })
}

// newSpread is a topic of n partitions, with one frame for each; their requests are
// of one size.
func newSpread(name string, n int) *topic {
	t := &topic{name: name, partitions: n, records: 1}
	batch := batchOf(rand.New(rand.NewPCG(1, 2)), 1, 1024)
	t.batches, t.batchBytes = [][]byte{batch}, len(batch)
	for p := range n {
		t.frames = append(t.frames, produceFrame(name, int32(p), batch))
	}
	return t
}

// stream plays an open loop that goes round the partitions, beginning with the
// first, to one consumer of all.
func (l *spreadTopic) stream(forSeconds float64) (*measurement, error) {
	// The answer names the partition, so only its length is known.
	c, err := dial(l.c.server.port)
	if err != nil {
		return nil, err
	}
	defer c.close()
	before := append([]int64(nil), l.next...)
	k, err := l.t.openSession(l.c.server.port, l.next)
	if err != nil {
		return nil, err
	}
	defer k.c.close()
	st := &stream{t: l.t, interval: int64(1e9 / partitionPerSecond), count: int(partitionPerSecond * forSeconds)}
	var arrived []arrival
	st.other = &otherReader{c: k.c, ask: k.ask, receive: func() ([]int, error) {
		if arrived, err = k.receive(arrived[:0]); err != nil {
			return nil, err
		}
		var batches []int
		for _, a := range arrived {
			batches = append(batches, int(a.offset-before[a.partition])*partitionCount+int(a.partition))
		}
		return batches, nil
	}}
	watch := l.c.stopwatch()
	if err := st.run(producersOf([]*client{c}, answer{bytes: l.answer.bytes})); err != nil {
		return nil, err
	}
	return watch.stop(&measurement{latency: st.latency, service: st.service, late: st.late, ops: int64(st.count),
		bytes: int64(st.count * l.t.batchBytes)}), nil
}
