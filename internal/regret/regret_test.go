package regret

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the stories' answers anew")

// TestStories plays the files in testdata: a line is one or more steps of 100 ms,
// "12x cold=120 pushed=3" (MiB per step, pages), and what the controller made of
// them stands behind the arrow. A line that begins with # tells the story.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 4 {
		t.Fatalf("stories: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			after := play(t, string(before))
			if *update {
				if err := os.WriteFile(file, []byte(after), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if after != string(before) {
				t.Errorf("the story ends otherwise:\n%s\nwas:\n%s", after, before)
			}
		})
	}
}

func play(t *testing.T, story string) string {
	var s State
	var out strings.Builder
	lines := bufio.NewScanner(strings.NewReader(story))
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			fmt.Fprintln(&out, line)
			continue
		}
		told, _, _ := strings.Cut(line, " ->")
		steps, m := parseSteps(t, told)
		for range steps {
			s = Step(s, m, Defaults())
		}
		fmt.Fprintf(&out, "%s -> %s\n", told, describe(s))
	}
	return out.String()
}

func parseSteps(t *testing.T, line string) (steps int, m Sample) {
	m = Sample{Nanos: 100e6, Attributed: true}
	for i, word := range strings.Fields(line) {
		var n uint64
		name, value, _ := strings.Cut(word, "=")
		if i == 0 {
			value = strings.TrimSuffix(word, "x")
		}
		if _, err := fmt.Sscan(value, &n); err != nil && name != "blind" {
			t.Fatalf("%q: %q: %v", line, word, err)
		}
		switch {
		case i == 0:
			steps = int(n)
		case name == "cold":
			m.ColdBytes = n << 20
		case name == "pushed":
			m.PushedOut = n
		case name == "misses":
			m.Misses = n
		case name == "blind":
			m.Attributed = false
		default:
			t.Fatalf("%q: what is %q?", line, word)
		}
	}
	return steps, m
}

func describe(s State) string {
	if s.Rate == 0 {
		return fmt.Sprintf("no limit, slowed %d times", s.Slowed)
	}
	return fmt.Sprintf("%d MiB/s, slowed %d times", s.Rate>>20, s.Slowed)
}

// TestFindsWhatTheCacheBears closes the loop: a cache that bears some rate, and
// pushes tail pages out above it. Whatever that rate is, cold readers end up
// near it, and the tail is left alone most of the time.
func TestFindsWhatTheCacheBears(t *testing.T) {
	for _, bears := range []int64{20 << 20, 100 << 20, 400 << 20, 900 << 20} {
		var s State
		random := rand.New(rand.NewPCG(uint64(bears), 1))
		const device, steps, settled = 1200 << 20, 2000, 200
		var moved, regrets int64
		for i := range steps {
			rate := int64(device)
			if s.Rate > 0 {
				rate = min(rate, s.Rate)
			}
			m := Sample{Nanos: 100e6, ColdBytes: uint64(rate / 10), Attributed: true}
			if rate > bears {
				m.PushedOut = 1 + random.Uint64N(100)
			}
			if i >= settled {
				moved += rate / 10
				if m.PushedOut > 0 {
					regrets++
				}
			}
			s = Step(s, m, Defaults())
		}
		const seconds = (steps - settled) / 10
		average := moved / seconds
		if average < bears*55/100 || average > bears*11/10 {
			t.Errorf("a cache that bears %d MiB/s: cold readers got %d MiB/s", bears>>20, average>>20)
		}
		if regrets*5 > steps-settled {
			t.Errorf("a cache that bears %d MiB/s: the tail lost pages in %d of %d steps", bears>>20, regrets, steps-settled)
		}
	}
}

// TestBounds: whatever is seen, the rate is 0 or at least the floor, and a step
// never overflows.
func TestBounds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	l := Defaults()
	var s State
	for range 100_000 {
		m := Sample{
			Nanos: random.Int64N(3) * random.Int64N(1e9), ColdBytes: random.Uint64() >> random.UintN(64),
			PushedOut: random.Uint64() >> random.UintN(64) & 7, Misses: random.Uint64N(2), Attributed: random.UintN(2) == 0,
		}
		if s = Step(s, m, l); s.Rate != 0 && s.Rate < l.Floor {
			t.Fatalf("rate %d after %+v", s.Rate, m)
		}
	}
}

// TestDoesNotAllocate: it runs on a core.
func TestDoesNotAllocate(t *testing.T) {
	var s State
	m := Sample{Nanos: 100e6, ColdBytes: 1 << 27, PushedOut: 1, Attributed: true}
	if n := testing.AllocsPerRun(100, func() { s = Step(s, m, Defaults()) }); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}
