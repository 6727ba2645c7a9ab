package main

import "path/filepath"

// probes measures what the page cache's attribution costs: consume with and without
// its BPF programs.
func probes(s *scene) error {
	on, err := s.r.startCounted(filepath.Join(s.dir, "on"), nil, "--set", "slipstream.ebpf=on")
	if err != nil {
		return skip("BPF programs cannot be loaded here: " + err.Error())
	}
	with := &contender{name: "slipstream", role: ours, server: on}
	defer on.stop()
	on.pause()
	off, err := s.r.startCounted(filepath.Join(s.dir, "off"), nil, "--set", "slipstream.ebpf=off")
	if err != nil {
		return err
	}
	without := &contender{name: "without probes", role: raw, server: off}
	defer off.stop()
	off.pause()
	cs := []*contender{with, without}
	t := newTopic("consume", 250, 1024)
	byContender, err := lanes(cs, t)
	if err != nil {
		return err
	}
	if err := each(cs, func(c *contender) error { return byContender[c].fill(s.r.amount(consumeBytes)) }); err != nil {
		return err
	}
	if err := s.apart(cs...); err != nil {
		return err
	}
	// The difference looked for is small, and so are rounds that many of fit.
	trials, err := s.interleave("1 MiB fetches, in the page cache", 3*s.r.rounds, cs, func(c *contender, _ int) (*measurement, error) {
		defer onThread()()
		return byContender[c].drain(0, fetchBytes, s.r.check)
	})
	if err != nil {
		return err
	}
	s.versusRates("1 MiB fetches", trials, atLeast(0.98), goal{}, goal{}, goal{})
	return nil
}
