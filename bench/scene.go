package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
)

// scene is what one scenario found: everything of it that the JSON and the HTML
// report have.
type scene struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	About   string   `json:"about"`
	Seconds float64  `json:"seconds"`
	LoadCPU float64  `json:"generatorCPUSeconds"`
	Skipped string   `json:"skipped,omitempty"`
	Failed  string   `json:"failed,omitempty"`
	Figures []figure `json:"figures"`
	Loads   []load   `json:"loads,omitempty"`
	Plots   []plot   `json:"plots,omitempty"`
	Charts  []chart  `json:"charts,omitempty"`
	Graphs  []graph  `json:"graphs,omitempty"`
	Notes   []string `json:"notes,omitempty"`

	r   *run
	dir string // for the scenario's files; removed at its end
}

// load is what one contender was measured with: where its figures come from, and
// what the generator itself did.
type load struct {
	What      string   `json:"what"`
	Contender string   `json:"contender"`
	Rounds    int      `json:"rounds"`
	Seconds   float64  `json:"seconds"`
	Ops       int64    `json:"ops"`
	Bytes     int64    `json:"bytes,omitempty"`
	Lost      int64    `json:"lost,omitempty"`
	Latency   *summary `json:"latencyMicros,omitempty"`
	Service   *summary `json:"uncorrectedMicros,omitempty"` // from the real time of sending
	Late      *summary `json:"generatorLateMicros,omitempty"`
	ServerCPU float64  `json:"serverCPUSeconds"`
	LoadCPU   float64  `json:"generatorCPUSeconds"`
	Counters  counters `json:"counters,omitempty"` // slipstream's own
}

func (s *scene) keep(t *trial) {
	if len(t.rounds) == 0 {
		return
	}
	s.Loads = append(s.Loads, load{
		What: t.what, Contender: t.c.name, Rounds: len(t.rounds),
		Seconds:   t.sum(seconds),
		Ops:       int64(t.sum(operations)),
		Bytes:     int64(t.sum(func(m *measurement) float64 { return float64(m.bytes) })),
		Lost:      int64(t.sum(func(m *measurement) float64 { return float64(m.lost) })),
		Latency:   t.merged(latencyOf).summary(false),
		Service:   t.merged(serviceOf).summary(false),
		Late:      t.merged(lateOf).summary(false),
		ServerCPU: t.sum(serverCPU),
		LoadCPU:   t.sum(func(m *measurement) float64 { return m.loadCPU }),
		Counters:  t.counted,
	})
}

func (s *scene) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.Notes = append(s.Notes, text)
	fmt.Printf("%-12s %s\n", s.Name, text)
}

// lateness says how late the generator was in the loads that have a schedule.
func (s *scene) lateness() string {
	worst := 0.0
	for _, l := range s.Loads {
		if l.Late != nil {
			worst = max(worst, l.Late.P99)
		}
	}
	if worst == 0 {
		return ""
	}
	return fmt.Sprintf(", and sent at most %s late (p99)", duration(worst))
}

// skip is returned by a scenario that this machine cannot run.
type skip string

func (e skip) Error() string { return string(e) }

// play runs one scenario and keeps what came of it.
func (r *run) play(sc *scenario) *scene {
	s := &scene{Name: sc.name, Title: sc.title, About: sc.about, r: r}
	begun, cpu := nanotime(), ownCPUSeconds()
	defer func() {
		s.Seconds, s.LoadCPU = float64(nanotime()-begun)/1e9, ownCPUSeconds()-cpu
		fmt.Printf("%-12s took %.0f s, of which the generator used a processor for %.1f s%s\n", s.Name, s.Seconds, s.LoadCPU, s.lateness())
		os.RemoveAll(s.dir)
		placed = nil
	}()
	s.dir = filepath.Join(r.dir, sc.name)
	err := os.MkdirAll(s.dir, 0o755)
	if err == nil {
		err = sc.run(s)
	}
	switch why, skipped := err.(skip); {
	case skipped:
		s.Skipped = string(why)
		fmt.Printf("%-12s skipped: %s\n", s.Name, why)
	case err != nil:
		s.Failed = err.Error()
		fmt.Printf("%-12s FAILED: %v\n", s.Name, err)
	}
	return s
}

// quietCollector keeps Go's collector out of the measurements: it would stop the
// generator's threads. The result lets it work again.
func quietCollector() func() {
	runtime.GC()
	percent := debug.SetGCPercent(-1)
	limit := debug.SetMemoryLimit(2 << 30)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}
