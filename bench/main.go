// Command bench measures slipstream against raw limits, and with -peer against
// Apache Kafka, in one run on one machine: absolute figures drift from machine to
// machine and hour to hour, ratios of interleaved measurements much less.
//
//	go run ./bench                  every scenario, against the raw limits
//	go run ./bench -only rtt,consume
//	go run ./bench -peer            beside Apache Kafka (needs java and mvn)
//	go run ./bench -json out.json   the figures for a machine to read
//
// The load generator is one process with blocking sockets on locked threads; the
// servers, raw limits included, are processes of their own. CPU is the server
// process's user and system time from /proc.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

// run is one invocation: where things are, what to do, and what came of it.
type run struct {
	binary  string
	dir     string
	peer    bool
	rounds  int
	results []result
}

// result is one figure: what was measured, on whom, and beside what.
type result struct {
	Scenario string  `json:"scenario"`
	Figure   string  `json:"figure"`
	Ours     float64 `json:"ours"`
	Beside   string  `json:"beside"`
	Other    float64 `json:"other"`
	Ratio    float64 `json:"ratio"`
	Unit     string  `json:"unit"`
	Goal     string  `json:"goal,omitempty"`
	Met      *bool   `json:"met,omitempty"`
}

// goal is a bound on a ratio or on a figure of ours.
type goal struct {
	atMost, atLeast float64
}

func (g goal) String() string {
	switch {
	case g.atMost > 0:
		return fmt.Sprintf("<= %g", g.atMost)
	case g.atLeast > 0:
		return fmt.Sprintf(">= %g", g.atLeast)
	}
	return ""
}

// report keeps and prints one figure. Where other is 0 the goal is on ours.
func (r *run) report(scenario, figure string, ours float64, beside string, other float64, unit string, g goal) {
	res := result{Scenario: scenario, Figure: figure, Ours: ours, Beside: beside, Other: other, Unit: unit, Goal: g.String()}
	judged := ours
	if other > 0 {
		res.Ratio = ours / other
		judged = res.Ratio
	}
	r.judge(&res, judged, g)
}

// reportRatio is report for a ratio that was computed pair by pair.
func (r *run) reportRatio(scenario, figure string, ours float64, beside string, other, ratio float64, unit string, g goal) {
	res := result{Scenario: scenario, Figure: figure, Ours: ours, Beside: beside, Other: other, Ratio: ratio, Unit: unit, Goal: g.String()}
	r.judge(&res, ratio, g)
}

func (r *run) judge(res *result, judged float64, g goal) {
	verdict := ""
	if g != (goal{}) {
		met := (g.atMost == 0 || judged <= g.atMost) && (g.atLeast == 0 || judged >= g.atLeast)
		res.Met = &met
		verdict = "met"
		if !met {
			verdict = "NOT met"
		}
	}
	r.results = append(r.results, *res)
	other, ratio := "", ""
	if res.Beside != "" {
		other = fmt.Sprintf("%s %.4g", res.Beside, res.Other)
		ratio = fmt.Sprintf("x %.2f", res.Ratio)
	}
	fmt.Printf("%-12s %-26s %10.4g %-8s %-30s %-8s %-8s %s\n", res.Scenario, res.Figure, res.Ours, res.Unit, other, ratio, res.Goal, verdict)
}

// scenarios in the order in which they run.
var scenarios = []struct {
	name string
	run  func(*run) error
}{
	{"rtt", (*run).roundTrip},
	{"spin", (*run).roundTripSpinning},
	{"throughput", (*run).throughput},
	{"consume", (*run).consume},
	{"start", (*run).startUp},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "raw" {
		rawServer(os.Args[2:])
		return
	}
	r := &run{}
	only := flag.String("only", "", "comma-separated scenarios: rtt, spin, throughput, consume, start")
	out := flag.String("json", "", "write the figures to this file")
	flag.StringVar(&r.binary, "binary", "bin/slipstream", "the broker to measure")
	flag.StringVar(&r.dir, "dir", "", "where data directories go (default: a temporary directory)")
	flag.BoolVar(&r.peer, "peer", false, "measure Apache Kafka beside it")
	flag.IntVar(&r.rounds, "rounds", 15, "interleaved rounds of each pair")
	flag.Parse()
	if err := r.all(*only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (r *run) all(only, out string) error {
	if r.dir == "" {
		dir, err := os.MkdirTemp("", "slipstream-bench")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		r.dir = dir
	}
	wanted := strings.Split(only, ",")
	fmt.Printf("%s\n%-12s %-26s %10s %-8s %-30s %-8s %-8s\n", describeMachine(), "scenario", "figure", "ours", "", "beside", "ratio", "goal")
	for _, s := range scenarios {
		if only != "" && !slices.Contains(wanted, s.name) {
			continue
		}
		if err := s.run(r); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if out == "" {
		return nil
	}
	b, err := json.MarshalIndent(map[string]any{"machine": describeMachine(), "results": r.results}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(b, '\n'), 0o644)
}
