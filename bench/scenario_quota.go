package main

import (
	"fmt"
	"time"
)

const (
	quotaBytes   = 10e6 // a second
	quotaSeconds = 10
	// neighbourPerSecond is how many 1 KiB records a second the neighbour produces.
	neighbourPerSecond = 1000
)

// quotaCase is one client with a quota.
type quotaCase struct {
	what        string
	key         string
	fetches     bool
	connections int
}

var quotaCases = []quotaCase{
	{"produce, 1 connection", "producer_byte_rate", false, 1},
	{"produce, 100 connections", "producer_byte_rate", false, 100},
	{"fetch, 1 connection", "consumer_byte_rate", true, 1},
	{"fetch, 100 connections", "consumer_byte_rate", true, 100},
}

// quotas measures whether a quota holds, and what throttled clients cost a neighbour.
func quotas(s *scene) error {
	cs, stop, err := s.brokers()
	if err != nil {
		return err
	}
	defer stop()
	byContender, err := lanes(cs, newTopic("quota", 15, 1024))
	if err != nil {
		return err
	}
	if err := each(cs, func(c *contender) error { return byContender[c].fill(16 << 20) }); err != nil {
		return err
	}
	for i := range quotaCases {
		if err := s.quotaHolds(byContender, cs, &quotaCases[i]); err != nil {
			return err
		}
	}
	return s.quotaNeighbour(byContender[cs[0]])
}

// quotaHolds compares what a client with a quota gets through with the quota, from
// its first request on.
func (s *scene) quotaHolds(byContender map[*contender]*lane, cs []*contender, q *quotaCase) error {
	length := quotaSeconds
	if s.r.quick {
		length = 1
	}
	trials, err := s.interleave("10 MB/s, "+q.what, max(s.r.rounds/3, 1), cs, func(c *contender, round int) (*measurement, error) {
		// A client of its own for each round: the last one's use counts for eleven seconds.
		id := fmt.Sprintf("bounded-%s-%d-%d", q.key[:8], q.connections, round)
		if err := c.setQuota(id, q.key, quotaBytes); err != nil {
			return nil, err
		}
		defer c.setQuota(id, q.key, 0)
		return newQuotaClients(byContender[c], id, q.fetches).rate(q.connections, float64(length))
	})
	if err != nil {
		return err
	}
	for _, t := range trials {
		if len(t.rounds) == 0 {
			continue
		}
		v := t.per(func(m *measurement) float64 { return float64(m.bytes) }, func(m *measurement) float64 { return quotaBytes * m.seconds })
		g := goal{}
		if t.c.role == ours {
			g = goal{AtLeast: 0.95, AtMost: 1.05}
		}
		s.alone(fmt.Sprintf("%s, of the quota: %s", q.what, t.c.name), "", v, g)
	}
	return nil
}

// quotaNeighbour compares the tail of a producer without quota beside a hundred
// throttled producers and a hundred throttled consumers with the same alone.
func (s *scene) quotaNeighbour(l *lane) error {
	beside := &contender{name: "beside 200 throttled connections", role: ours, server: l.c.server}
	alone := &contender{name: "alone", role: raw, server: l.c.server}
	if err := s.apart(beside); err != nil {
		return err
	}
	neighbour, err := s.neighbour(l.c)
	if err != nil {
		return err
	}
	load := openLoop{perSecond: neighbourPerSecond, seconds: s.r.seconds}
	trials, err := s.interleave("a neighbour, 1,000 x 1 KiB a second", s.openRounds(), []*contender{beside, alone}, func(c *contender, _ int) (*measurement, error) {
		if c == alone {
			return neighbour.stream(load)
		}
		return s.besideThrottled(l, func() (*measurement, error) { return neighbour.stream(load) })
	})
	if err != nil {
		return err
	}
	for _, p := range percentiles {
		g := goal{}
		if p.value == 99 {
			g = atMost(1.1)
		}
		s.versus("the neighbour, "+p.name, "us", of(trials, ours).quantile(p.value), of(trials, raw).quantile(p.value), g)
	}
	s.plotTrials("A neighbour's produce to its acknowledgement", trials)
	return l.c.on(func() error { return neighbour.t.delete(l.c.server) })
}

// neighbour is a topic of its own.
func (s *scene) neighbour(c *contender) (l *lane, err error) {
	err = c.on(func() error {
		l, err = c.lane(newTopic("neighbour", 1, 1024))
		return err
	})
	return l, err
}

// besideThrottled measures something beside clients that are throttled all the time.
func (s *scene) besideThrottled(l *lane, f func() (*measurement, error)) (*measurement, error) {
	const each = 100
	producers, consumers := newQuotaClients(l, "throttled", false), newQuotaClients(l, "throttled", true)
	for _, key := range []string{"producer_byte_rate", "consumer_byte_rate"} {
		if err := l.c.setQuota("throttled", key, quotaBytes); err != nil {
			return nil, err
		}
	}
	defer producers.stop()
	defer consumers.stop()
	if err := producers.start(each); err != nil {
		return nil, err
	}
	if err := consumers.start(each); err != nil {
		return nil, err
	}
	time.Sleep(settleTime) // what may be used at once has been
	return f()
}
