// Command bench measures slipstream against raw limits, and with -peer against
// Apache Kafka, in one run on one machine: absolute figures drift from machine to
// machine and hour to hour, ratios of interleaved measurements much less.
//
//	go run ./bench                           every scenario, against the raw limits
//	go run ./bench -only rtt,consume
//	go run ./bench -peer                     beside Apache Kafka (needs java and mvn)
//	go run ./bench -html out.html -json out.json
//	go run ./bench -from out.json -html out.html   draws a saved run again
//	go run ./bench -check -only e2e,lag      consumers verify every byte they get
//
// The generator is one process with few threads, on blocking sockets or an event
// loop; the servers, raw limits included, are processes of their own, and the ones
// that are not being measured are stopped. Open-loop latencies count from the time
// at which the schedule wanted a request sent. CPU is a process's own clock.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// run is one invocation: where things are, and what to do.
type run struct {
	binary   string
	dir      string
	peer     bool
	check    bool
	rounds   int
	seconds  float64
	scale    float64
	quick    bool
	sets     list
	kafka    *server // lives through the run, so that its compilers are warm
	mu       sync.Mutex
	cleanups []func()
}

// amount is how much of something is done: n, and with -quick a twentieth of it.
func (r *run) amount(n int) int {
	if r.quick {
		return max(n/20, 1)
	}
	return n
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// scenario is one experiment.
type scenario struct {
	name, title, about string
	run                func(*scene) error
}

// report is a whole run: what the JSON file holds, and the HTML is drawn from.
type report struct {
	Begun    time.Time         `json:"begun"`
	Seconds  float64           `json:"seconds"`
	Command  string            `json:"command"`
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Scenes   []*scene          `json:"scenarios"`
}

func init() {
	// The main goroutine starts all servers; see deathSignal.
	runtime.LockOSThread()
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "raw" {
		rawServer(os.Args[2:])
		return
	}
	r := &run{}
	only := flag.String("only", "", "comma-separated scenarios: "+strings.Join(scenarioNames(), ", "))
	jsonFile := flag.String("json", "", "write everything to this `FILE`, for a machine to read")
	htmlFile := flag.String("html", "", "write a report with plots to this `FILE`")
	readme := flag.String("readme", "", "write the judged figures into this Markdown `FILE`, between its marks")
	from := flag.String("from", "", "measure nothing, report what this JSON `FILE` of an earlier run has")
	flag.StringVar(&r.binary, "binary", "bin/slipstream", "the broker to measure")
	flag.StringVar(&r.dir, "dir", "build/bench", "where data directories go: on the file system to measure, with room for twice the scenario lag's topic")
	flag.BoolVar(&r.peer, "peer", false, "measure Apache Kafka beside it")
	flag.BoolVar(&r.check, "check", false, "consumers verify every byte, offset and CRC; the figures mean less")
	flag.IntVar(&r.rounds, "rounds", 7, "interleaved rounds of each comparison")
	flag.Float64Var(&r.seconds, "seconds", 2, "seconds of a round of open-loop load; the scenario lag takes twice as many")
	flag.Float64Var(&r.scale, "scale", 0.25, "size of the scenarios lag and compaction: 1 is a topic of 13 GB beside 1.25 GB of page cache, and a log of 10 GB with 10 million keys")
	flag.BoolVar(&r.quick, "quick", false, "a little of everything, to see that it works; the figures mean nothing")
	flag.Var(&r.sets, "set", "a setting of slipstream, `NAME=VALUE`; may be repeated")
	flag.Parse()
	found, err := r.main(*only, *from)
	if err == nil {
		err = found.write(*jsonFile, *htmlFile, *readme)
	}
	if err == nil {
		err = found.failures()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// main measures, or reads what was measured.
func (r *run) main(only, from string) (*report, error) {
	if from != "" {
		return readReport(from)
	}
	return r.all(only)
}

func (r *run) all(only string) (*report, error) {
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if only != "" && !slices.Contains(scenarioNames(), name) {
			return nil, fmt.Errorf("there is no scenario %q: there are %s", name, strings.Join(scenarioNames(), ", "))
		}
	}
	if _, err := os.Stat(r.binary); err != nil {
		return nil, fmt.Errorf("the broker is not there, make build makes it: %w", err)
	}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.dir, "data-")
	if err != nil {
		return nil, err
	}
	if r.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	r.atEnd(func() { os.RemoveAll(dir) })
	defer r.cleanUp()
	r.cleanUpOnSignal()
	// A thread in the kernel keeps no other waiting.
	runtime.GOMAXPROCS(runtime.NumCPU() + 8)
	raiseDescriptors()
	if r.quick {
		r.rounds, r.seconds, r.scale = 1, 0.2, min(r.scale, 0.05)
	}
	found := &report{Begun: time.Now().UTC().Truncate(time.Second), Command: strings.Join(append([]string{"bench"}, os.Args[1:]...), " "),
		Machine: describeMachine(dir), Versions: r.versions()}
	fmt.Printf("%s\n%-12s %-46s %9s %-9s %-36s %-9s %-10s\n", found.Machine, "scenario", "figure", "ours", "", "beside", "ratio", "goal")
	for i := range scenarios {
		if only == "" || slices.Contains(wanted, scenarios[i].name) {
			found.Scenes = append(found.Scenes, r.play(&scenarios[i]))
		}
	}
	found.Seconds = time.Since(found.Begun).Seconds()
	found.printSummary()
	return found, nil
}

func scenarioNames() (names []string) {
	for i := range scenarios {
		names = append(names, scenarios[i].name)
	}
	return names
}

// atEnd remembers what to undo, last first.
func (r *run) atEnd(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

// killAtEnd ends a server that is still there when the run ends, so that its cgroup
// and its files can go.
func (r *run) killAtEnd(s *server) {
	r.atEnd(func() { s.cmd.Process.Kill() })
}

func (r *run) cleanUp() {
	if r.kafka != nil {
		r.kafka.stop()
		r.kafka = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
	r.cleanups = nil
}

// cleanUpOnSignal leaves nothing behind when the run is interrupted.
func (r *run) cleanUpOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		r.mu.Lock() // and nothing more is started
		for _, f := range slices.Backward(r.cleanups) {
			f()
		}
		os.Exit(130)
	}()
}

func readReport(path string) (*report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := &report{}
	if err := json.Unmarshal(b, found); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return found, nil
}

// write writes what was asked for: the names of what was not are empty.
func (found *report) write(jsonFile, htmlFile, readme string) error {
	if jsonFile != "" {
		b, err := json.Marshal(found)
		if err != nil {
			return err
		}
		if err := writeFile(jsonFile, append(b, '\n')); err != nil {
			return err
		}
	}
	if htmlFile != "" {
		b, err := found.html()
		if err != nil {
			return err
		}
		if err := writeFile(htmlFile, b); err != nil {
			return err
		}
		fmt.Println("report:", htmlFile)
	}
	if readme != "" {
		return found.intoReadme(readme, jsonFile, htmlFile)
	}
	return nil
}

func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// failures are the scenarios that did not come to their end. Goals that are not met
// are findings, not failures.
func (found *report) failures() error {
	var all []error
	for _, s := range found.Scenes {
		if s.Failed != "" {
			all = append(all, fmt.Errorf("%s: %s", s.Name, s.Failed))
		}
	}
	return errors.Join(all...)
}

// printSummary counts the goals and names those that are not met.
func (found *report) printSummary() {
	met, missed, doubtful := 0, 0, 0
	var lines []string
	for _, s := range found.Scenes {
		for i := range s.Figures {
			f := &s.Figures[i]
			switch f.verdict() {
			case "met":
				met++
			case "NOT met":
				missed++
			case "in doubt":
				doubtful++
			default:
				continue
			}
			if f.verdict() != "met" {
				lines = append(lines, fmt.Sprintf("  %-12s %s: %s, goal %s %s", s.Name, f.Name, f.judged(), f.Goal, f.Invalid))
			}
		}
	}
	fmt.Printf("\n%d goals met, %d not met, %d in doubt, in %.0f s\n", met, missed, doubtful, found.Seconds)
	for _, l := range lines {
		fmt.Println(l)
	}
}
