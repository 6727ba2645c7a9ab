package simtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A mutant is a bug planted in the broker: a file of testdata/mutants says what it
// is, which story finds it, and what of which file is changed, as lines that are
// there ("-", and " " around them) and lines in their place ("+").
type mutant struct {
	name, what, story, file string
	old, new                string
}

const (
	mutantsDir  = "testdata/mutants"
	moduleDir   = "../.."
	foundWithin = time.Minute     // of processor time, by some seed
	huntLimit   = 6 * foundWithin // on the clock: other programs may have the processors
)

func readMutants(t *testing.T) (list []mutant) {
	t.Helper()
	files, err := filepath.Glob(mutantsDir + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d mutants, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := mutant{name: strings.TrimSuffix(filepath.Base(file), ".txt")}
		head, body, ok := strings.Cut(string(b), "\n\n")
		if !ok {
			t.Fatalf("%s has no body", file)
		}
		for _, line := range strings.Split(head, "\n") {
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "What":
				m.what = value
			case "Story":
				m.story = value
			case "File":
				m.file = value
			default:
				t.Fatalf("%s: %q", file, line)
			}
		}
		for _, line := range strings.SplitAfter(body, "\n") {
			if line == "" {
				continue
			}
			if line[0] != '+' {
				m.old += line[1:]
			}
			if line[0] != '-' {
				m.new += line[1:]
			}
		}
		list = append(list, m)
	}
	return list
}

// mutate is the source with the bug in it.
func (m *mutant) mutate(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(moduleDir, m.file))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		t.Fatalf("%s occurs %d times in %s:\n%s", m.name, n, m.file, m.old)
	}
	return strings.Replace(string(b), m.old, m.new, 1)
}

// TestMutantsFit: the code has not moved on without its mutants.
func TestMutantsFit(t *testing.T) {
	for _, m := range readMutants(t) {
		t.Run(m.name, func(t *testing.T) {
			if _, err := parser.ParseFile(token.NewFileSet(), m.file, m.mutate(t), 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMutants builds the simulator with each mutant and lets it look for a seed that
// finds it (make sim-mutants; MUTANT=name for one, or a pattern; SHRINK=1 shrinks the seeds that find them), as many at a time as
// there are processors, and prints a table.
func TestMutants(t *testing.T) {
	if os.Getenv("MUTANTS") == "" {
		t.Skip("MUTANTS is not set")
	}
	pattern := os.Getenv("MUTANT")
	if pattern == "" {
		pattern = "*"
	}
	var list []mutant
	for _, m := range readMutants(t) {
		if match, err := path.Match(pattern, m.name); err == nil && match {
			list = append(list, m)
		}
	}
	results, dir := make([]result, len(list)), t.TempDir()
	sources := make([]string, len(list))
	for i := range list {
		sources[i] = list[i].mutate(t)
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(list); i = int(next.Add(1)) - 1 {
				results[i] = list[i].hunt(filepath.Join(dir, list[i].name), sources[i])
				fmt.Printf("%-30s %6.1f s: %s\n", list[i].name, results[i].cpu.Seconds(), results[i].said)
			}
		})
	}
	workers.Wait()
	var table strings.Builder
	alive, slowest := 0, result{}
	for i, r := range results {
		if r.err != nil {
			t.Errorf("%s: %v", list[i].name, r.err)
		} else if r.said == "" {
			alive++
			t.Errorf("%s: %s: no seed found it in %v, %v of processor time", list[i].name, list[i].what, r.took.Round(time.Second), r.cpu.Round(time.Second))
		} else if r.cpu > slowest.cpu {
			slowest = r
		}
		fmt.Fprintf(&table, "%-30s %6s %6.1f %6.1f %s\n", list[i].name, r.seed, r.cpu.Seconds(), r.took.Seconds(), r.said)
	}
	t.Logf("%d mutants, %d not found, the slowest was found in %.1f s of processor time\n%-30s %6s %6s %6s %s\n%s",
		len(list), alive, slowest.cpu.Seconds(), "mutant", "seed", "cpu s", "s", "what it said", &table)
}

// result is how a mutant was found; nothing is said of one that was not.
type result struct {
	took, cpu  time.Duration
	seed, said string
	err        error
}

// hunt runs the story until a seed fails.
func (m *mutant) hunt(dir, source string) (r result) {
	if r.err = os.Mkdir(dir, 0o755); r.err != nil {
		return r
	}
	defer os.RemoveAll(dir)
	mutated, overlay, bin := filepath.Join(dir, "mutated.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "simtest")
	root, err := filepath.Abs(moduleDir)
	if err == nil {
		err = os.WriteFile(mutated, []byte(source), 0o644)
	}
	if err == nil {
		var replace []byte
		replace, err = json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, m.file): mutated}})
		err = errors.Join(err, os.WriteFile(overlay, replace, 0o644))
	}
	if err != nil {
		r.err = err
		return r
	}
	build := exec.Command("go", "test", "-c", "-tags", "invariants", "-ldflags=-s -w", "-overlay", overlay, "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		r.err = fmt.Errorf("%w\n%s", err, out)
		return r
	}
	c := exec.Command(bin, "-test.run", "^"+m.story+"$", "-test.timeout", huntLimit.String())
	c.Env = append(os.Environ(), "SEEDS=100000", "MUTANTS=", "GOMAXPROCS=1")
	start := time.Now()
	out, err := c.CombinedOutput()
	r.took, r.cpu = time.Since(start), c.ProcessState.UserTime()+c.ProcessState.SystemTime()
	if err != nil && r.cpu < foundWithin && !strings.Contains(string(out), "panic: test timed out") {
		r.seed, r.said = failure(string(out))
		r.said += m.shrunk(bin, r.seed)
	}
	return r
}

// shrunk is, with SHRINK set, what the shrinker makes of the seed: the sizes before and
// after, and the command that replays what is left (on the mutant).
func (m *mutant) shrunk(bin, seed string) (text string) {
	if os.Getenv("SHRINK") == "" || seed == "?" {
		return ""
	}
	c := exec.Command(bin, "-test.v", "-test.run", "^TestShrink$")
	c.Env = append(os.Environ(), "MUTANTS=", "SEED="+seed, "STORY="+m.story)
	out, _ := c.CombinedOutput() // what it prints says whether it worked
	for _, line := range strings.Split(string(out), "\n") {
		line = strings.TrimSpace(line)
		for _, head := range []string{"before: ", "after:  ", "again:  "} {
			if strings.HasPrefix(line, head) {
				text += "\n        " + line
			}
		}
	}
	return text
}

// failure is the seed that failed and what it said, or the panic.
func failure(out string) (seed, said string) {
	for _, line := range strings.Split(out, "\n") {
		line = strings.TrimSpace(line)
		if _, told, ok := strings.Cut(line, "_test.go:"); ok && strings.Contains(line, ": seed ") {
			_, told, _ = strings.Cut(told, "seed ")
			seed, said, _ = strings.Cut(told, " ")
			if _, after, ok := strings.Cut(said, ", after map["); ok {
				_, said, _ = strings.Cut(after, "]: ")
			}
			return seed, said
		}
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "unexpected fault") {
			return "?", line
		}
	}
	return "?", out[max(0, len(out)-500):]
}
