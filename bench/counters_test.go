package main

import "testing"

func TestCounterLines(t *testing.T) {
	c := counters{}
	for _, line := range []string{
		`# HELP slipstream_core_turns_total Turns.`,
		`slipstream_core_turns_total{core="0"} 12`,
		`slipstream_core_turns_total{core="1"} 3`,
		`slipstream_core_rung_bytes_total{core="0",rung="hot"} 1e+09`,
		`slipstream_core_rung_bytes_total{core="0",rung="relay"} 5`,
		`slipstream_core_arena_bytes{core="0"} 7`, // no counter
		`go_gc_total 4`,
		`slipstream_store_syncs_total{core="0"}`,
		`slipstream_page_cache_demand_misses_total{topic="a, b",partition="0"} 9`,
	} {
		if name, v, ok := counterLine(line); ok {
			c[name] += v
		}
	}
	want := counters{"slipstream_core_turns_total": 15, "slipstream_core_rung_bytes_total/hot": 1e9,
		"slipstream_core_rung_bytes_total/relay": 5, "slipstream_page_cache_demand_misses_total": 9}
	if len(c) != len(want) {
		t.Errorf("%v", c)
	}
	for name, v := range want {
		if c[name] != v {
			t.Errorf("%s is %g, want %g", name, c[name], v)
		}
	}
	moved := c.since(counters{"slipstream_core_turns_total": 5, "slipstream_page_cache_demand_misses_total": 9})
	if moved["slipstream_core_turns_total"] != 10 || len(moved) != 3 {
		t.Errorf("moved: %v", moved)
	}
	if got, want := moved.inWords(), "relay 5e-09 GB · hot 1.00 GB"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if scrape(0) != nil || counters(nil).inWords() != "" {
		t.Error("counters of nobody")
	}
}
