package main

import (
	"fmt"
	"path/filepath"
	"strconv"
)

// broker starts slipstream for this scenario, stopped when the scenario ends.
func (s *scene) broker(args ...string) (*contender, error) {
	sv, err := s.r.startCounted(filepath.Join(s.dir, "slipstream"), nil, args...)
	if err != nil {
		return nil, err
	}
	return &contender{name: "slipstream", role: ours, server: sv}, nil
}

// brokers are slipstream, started for this scenario, and Apache Kafka if it is
// wanted. Call stop at the end.
func (s *scene) brokers(args ...string) (cs []*contender, stop func(), err error) {
	c, err := s.broker(args...)
	if err != nil {
		return nil, nil, err
	}
	cs = append(cs, c)
	stop = func() {
		if err := c.server.stop(); err != nil {
			s.note("slipstream did not end well: %v: %s", err, c.server.said)
		}
	}
	if s.r.peer {
		sv, err := s.r.sharedKafka()
		if err != nil {
			stop()
			return nil, nil, err
		}
		cs = append(cs, &contender{name: "Apache Kafka", role: peer, server: sv})
	}
	for _, c := range cs {
		c.server.pause()
	}
	return cs, stop, nil
}

// rawLimit starts one of raw.go's servers.
func (s *scene) rawLimit(name string, args ...string) (*contender, error) {
	sv, err := startRaw(args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.r.killAtEnd(sv)
	return &contender{name: name, role: raw, server: sv}, nil
}

// on lets a contender run while f does.
func (c *contender) on(f func() error) error {
	c.server.resume()
	defer c.server.pause()
	return f()
}

// counters are what a contender counts itself, if it does.
func (c *contender) counters() counters {
	if c.server == nil || c.server.metrics == 0 {
		return nil
	}
	var got counters
	c.on(func() error { got = scrape(c.server.metrics); return nil })
	return got
}

// each does something on every contender, one after the other.
func each(cs []*contender, f func(*contender) error) error {
	for _, c := range cs {
		if err := c.on(func() error { return f(c) }); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func itoa(n int) string { return strconv.Itoa(n) }
