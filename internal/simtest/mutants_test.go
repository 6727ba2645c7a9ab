package simtest

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
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
	foundWithin = time.Minute // by some seed
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
// finds it (make sim-mutants; MUTANT=name for one, or a pattern), and prints a table.
func TestMutants(t *testing.T) {
	if os.Getenv("MUTANTS") == "" {
		t.Skip("MUTANTS is not set")
	}
	pattern := os.Getenv("MUTANT")
	if pattern == "" {
		pattern = "*"
	}
	var table strings.Builder
	alive, slowest := 0, time.Duration(0)
	list := readMutants(t)
	hunted := 0
	for _, m := range list {
		if match, err := path.Match(pattern, m.name); err != nil || !match {
			continue
		}
		hunted++
		t.Run(m.name, func(t *testing.T) {
			took, found := m.hunt(t)
			fmt.Printf("%s: %.1f s: %s\n", m.name, took.Seconds(), found)
			if found == "" {
				alive++
				fmt.Fprintf(&table, "%-32s %6s        none found it: %s\n", m.name, "-", m.what)
				t.Errorf("%s: no seed found it in %v", m.what, took.Round(time.Second))
				return
			}
			slowest = max(slowest, took)
			seed, said, _ := strings.Cut(found, " ")
			fmt.Fprintf(&table, "%-32s %6s %6.1f %s\n", m.name, seed, took.Seconds(), said)
		})
	}
	t.Logf("%d mutants, %d not found, the slowest found in %.1f s\n%-32s %6s %6s %s\n%s", hunted, alive, slowest.Seconds(), "mutant", "seed", "s", "said", &table)
}

// hunt runs the story until a seed fails, and returns what that says.
func (m *mutant) hunt(t *testing.T) (took time.Duration, found string) {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs(moduleDir)
	if err != nil {
		t.Fatal(err)
	}
	mutated, overlay, bin := filepath.Join(dir, "mutated.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "simtest")
	if err := os.WriteFile(mutated, []byte(m.mutate(t)), 0o644); err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, m.file): mutated}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, replace, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "test", "-c", "-tags", "invariants", "-overlay", overlay, "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := exec.Command(bin, "-test.run", "^"+m.story+"$", "-test.timeout", foundWithin.String())
	c.Env = append(os.Environ(), "SEEDS=100000", "MUTANTS=")
	start := time.Now()
	out, err := c.CombinedOutput()
	took = time.Since(start)
	if err == nil || strings.Contains(string(out), "panic: test timed out") {
		return took, ""
	}
	return took, failure(string(out))
}

// failure is the seed that failed and what it said, or the panic.
func failure(out string) string {
	for _, line := range strings.Split(out, "\n") {
		line = strings.TrimSpace(line)
		if _, told, ok := strings.Cut(line, "_test.go:"); ok && strings.Contains(line, ": seed ") {
			_, told, _ = strings.Cut(told, "seed ")
			seed, tail, _ := strings.Cut(told, " ")
			if _, after, ok := strings.Cut(tail, "], after map["); ok {
				_, tail, _ = strings.Cut(after, "]: ")
			}
			return seed + " " + tail
		}
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "unexpected fault") {
			return "? " + line
		}
	}
	return "? " + out[max(0, len(out)-500):]
}
