package main

import (
	"bufio"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"slipstream/internal/clients/harness"
)

// counters are what slipstream itself counts: the totals of its /metrics, by name,
// those of several cores added up. They say why a figure is what it is.
type counters map[string]float64

// counted are the metrics that are read, by what their names begin with.
var counted = []string{"slipstream_core_", "slipstream_store_", "slipstream_page_cache_"}

// metricsFlag makes a broker serve its counters, and is where.
func metricsFlag() (args []string, port int, err error) {
	port, err = harness.FreePort()
	return []string{"--metrics", fmt.Sprintf("127.0.0.1:%d", port)}, port, err
}

// scrape reads a broker's counters; nil if it has none to show.
func scrape(port int) counters {
	if port == 0 {
		return nil
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	got := counters{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, ok := counterLine(lines.Text())
		if ok {
			got[name] += value
		}
	}
	return got
}

// counterLine takes a line of the text format apart. Of the labels only the rung
// stays; the others are added up.
func counterLine(line string) (name string, value float64, ok bool) {
	if !slices.ContainsFunc(counted, func(prefix string) bool { return strings.HasPrefix(line, prefix) }) {
		return "", 0, false
	}
	space := strings.LastIndexByte(line, ' ')
	if space < 0 {
		return "", 0, false
	}
	name, labels, _ := strings.Cut(line[:space], "{")
	if !strings.HasSuffix(name, "_total") {
		return "", 0, false
	}
	for _, label := range strings.Split(strings.TrimSuffix(labels, "}"), ",") {
		if rung, is := strings.CutPrefix(label, "rung="); is {
			name += "/" + strings.Trim(rung, `"`)
		}
	}
	value, err := strconv.ParseFloat(line[space+1:], 64)
	return name, value, err == nil
}

// since is what was counted from before on; what did not move is left out.
func (c counters) since(before counters) counters {
	moved := counters{}
	for name, v := range c {
		if d := v - before[name]; d != 0 {
			moved[name] = d
		}
	}
	return moved
}

func (c counters) add(more counters) {
	for name, v := range more {
		c[name] += v
	}
}

// inWords are the counters that explain most figures.
func (c counters) inWords() string {
	if len(c) == 0 {
		return ""
	}
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	for _, rung := range []string{"relay", "hot", "bulk", "cold"} {
		if v := c["slipstream_core_rung_bytes_total/"+rung]; v > 0 {
			say("%s %s GB", rung, digits(v/1e9))
		}
	}
	for _, q := range []struct{ text, name string }{
		{"tail misses", "slipstream_core_tail_misses_total"}, {"hot turned cold", "slipstream_core_hot_turned_cold_total"},
		{"cold waits", "slipstream_core_cold_waits_total"}, {"cold steps", "slipstream_core_cold_steps_total"},
		{"shared", "slipstream_core_cold_steps_shared_total"}, {"wasted", "slipstream_core_cold_steps_wasted_total"},
		{"demand misses", "slipstream_page_cache_demand_misses_total"}, {"pages evicted", "slipstream_page_cache_evictions_total"},
		{"of them at a tail", "slipstream_page_cache_tail_evictions_total"}, {"syncs", "slipstream_store_syncs_total"},
		{"jobs on helpers", "slipstream_core_jobs_offloaded_total"}, {"sends blocked", "slipstream_core_sends_blocked_total"},
	} {
		if v := c[q.name]; v > 0 {
			say("%s %.0f", q.text, v)
		}
	}
	if requests := c["slipstream_core_requests_total"]; requests > 0 {
		say("%s enters, %s submissions and %s parks a request", digits(c["slipstream_core_enters_total"]/requests),
			digits(c["slipstream_core_submissions_total"]/requests), digits(c["slipstream_core_parks_total"]/requests))
	}
	return strings.Join(words, " · ")
}
