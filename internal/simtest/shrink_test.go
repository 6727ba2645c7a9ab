package simtest

import (
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/internal/sim"
)

// The shrinker takes out of a failing seed's story what is not needed for it to fail in
// the same way: entries of the plan, lives of the broker, clients, topics, time. The seed
// stays; what is left is told again with what the clients and the world draw from it. A
// change is kept if the story still ends with the same kind of violation.

// ending is what a story came to.
type ending struct {
	kind   string // "": nothing was wrong
	told   string
	events uint64 // of the trace
	cast   []string
	rounds int
	plan   int
}

var (
	numbers = regexp.MustCompile(`[0-9a-f]*[0-9][0-9a-f]*`)
	// losses are the ways in which clients find that what was there is not: which of them
	// it is depends on who looks first.
	losses = regexp.MustCompile(`is out of range|and is not there|had reached|the high watermark is told as|and held|and was acknowledged at|for the oldest batch that is not acknowledged`)
	names  = regexp.MustCompile(`\b(durable|lazy|table|window|orders|events|ledger|results|extra-#)(-#)?\b`)
)

// kindOf is what two stories that fail in the same way have in common: what is said,
// without which record, offset, client or topic it was.
func kindOf(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if losses.MatchString(text) {
		return "something is lost"
	}
	text = names.ReplaceAllString(numbers.ReplaceAllString(text, "#"), "log")
	return text[:min(len(text), 100)]
}

// play tells a story and says how it ended.
func play(t *testing.T, story func(*testing.T, outline) (*run, error), o outline) (e ending) {
	defer func() {
		if p := recover(); p != nil {
			e.told = fmt.Sprintf("panic: %v\n%s", p, debug.Stack())
			e.kind = kindOf(e.told)
		}
	}()
	r, err := story(t, o)
	e.events, e.cast, e.rounds = r.node.world.TraceEvents(), r.cast(), r.size.rounds
	if r.faults != nil {
		e.plan = len(r.plan)
	}
	if err != nil {
		e.kind, e.told = kindOf(r.violation.Error()), err.Error()
	}
	return e
}

// shrinking is a search for the smallest outline.
type shrinking struct {
	play  func(o outline) ending
	until time.Time
	tries int

	outline outline
	ending  ending
}

// salts is in how many ways a shorter story is told before it is taken for one in which
// nothing goes wrong: with fewer clients everybody draws something else, and what has to
// come together for the violation comes at another time.
const salts = 4

// try keeps an outline if its story ends as the first did.
func (s *shrinking) try(o outline) bool {
	for range salts {
		if time.Now().After(s.until) {
			return false
		}
		s.tries++
		if e := s.play(o); e.kind == s.ending.kind {
			s.outline, s.ending = o, e
			return true
		}
		o.salt = o.salt%salts + 1
	}
	return false
}

// shrink takes out what can go, until nothing can.
func (s *shrinking) shrink() {
	for before := s.tries; ; before = s.tries {
		kept := s.fewerFaults()
		kept = s.fewerRounds() || kept
		kept = s.fewerNames() || kept
		kept = s.lessTime() || kept
		if kept = s.simplerFaults() || kept; !kept || s.tries == before {
			return
		}
	}
}

// fewerFaults leaves out entries of the plan: half of them, a quarter, one.
func (s *shrinking) fewerFaults() (kept bool) {
	for n := len(s.outline.plan); n > 0; n /= 2 {
		for from := 0; from < len(s.outline.plan); {
			o := s.outline
			o.plan = slices.Delete(slices.Clone(o.plan), from, min(from+n, len(o.plan)))
			if s.try(o) {
				kept = true
			} else {
				from += n
			}
		}
	}
	return kept
}

// fewerRounds tells of as few lives as it can.
func (s *shrinking) fewerRounds() bool {
	for n := range s.ending.rounds {
		o := s.outline
		if o.rounds = n; s.try(o) {
			return true
		}
	}
	return false
}

// fewerNames leaves out clients and topics: half of what is left, a quarter, one.
func (s *shrinking) fewerNames() (kept bool) {
	cast := s.ending.cast
	for n := (len(cast) + 1) / 2; n > 0; n /= 2 {
		for from := 0; from < len(cast); from += n {
			o := s.outline
			o.without = slices.Clone(o.without)
			for _, name := range cast[from:min(from+n, len(cast))] {
				if !slices.Contains(o.without, name) {
					o.without = append(o.without, name)
				}
			}
			if len(o.without) > len(s.outline.without) && s.try(o) {
				kept = true
			}
		}
	}
	return kept
}

// lessTime makes the lives shorter.
func (s *shrinking) lessTime() (kept bool) {
	for s.outline.brevity < 6 {
		o := s.outline
		if o.brevity++; !s.try(o) {
			return kept
		}
		kept = true
	}
	return kept
}

// simplerFaults lets an entry hit once, at once, and for as short a time as it can.
func (s *shrinking) simplerFaults() (kept bool) {
	for i := range s.outline.plan {
		for _, change := range []func(o *outline) bool{
			func(o *outline) bool { f := &o.plan[i]; was := f.Count; f.Count = 1; return was > 1 },
			func(o *outline) bool { f := &o.plan[i]; was := f.Skip; f.Skip = 0; return was > 0 },
			func(o *outline) bool { f := &o.plan[i]; f.For /= 4; return f.For > 1e5 },
		} {
			o := s.outline
			o.plan = slices.Clone(o.plan)
			if change(&o) && s.try(o) {
				kept = true
			}
		}
	}
	return kept
}

// TestShrink is make sim-shrink: the story of SEED (STORY says of which test) is cut down.
func TestShrink(t *testing.T) {
	if os.Getenv("SHRINK") == "" {
		t.Skip("SHRINK is not set")
	}
	test := os.Getenv("STORY")
	if test == "" {
		test = "TestFaultSeeds"
	}
	story := outlined[test]
	if story == nil {
		t.Fatalf("there is no story %s", test)
	}
	seed, _ := seedsWanted(1)
	traceLines = 0
	begun := time.Now()
	s := &shrinking{until: begun.Add(shrinkFor()), play: func(o outline) ending { return play(t, story, o) }}
	s.outline = outlineOf(t, seed)
	if !s.outline.planned && test == "TestFaultSeeds" {
		r := newFaulty(t, s.outline)
		s.outline.plan, s.outline.planned = r.plan, true
	}
	s.ending = s.play(s.outline)
	if s.ending.kind == "" {
		t.Fatalf("nothing is wrong with seed %d of %s", seed, test)
	}
	first := s.ending
	s.shrink()
	t.Logf("%s\n\nbefore: %s\nafter:  %s\n%d stories in %v\nagain:  %s",
		s.ending.told, &first, &s.ending, s.tries, time.Since(begun).Round(time.Second), s.outline.command(test))
}

func (e *ending) String() string {
	return fmt.Sprintf("%d faults, %d rounds, %d clients and topics, %d events", e.plan, e.rounds, len(e.cast), e.events)
}

// shrinkFor is how long it may take: SHRINK is a duration, or just set.
func shrinkFor() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("SHRINK")); err == nil {
		return d
	}
	return 2 * time.Minute
}

// The shrinker finds the one entry, the life and the clients that it takes, and does not
// take another violation for the same.
func TestShrinkerFindsWhatItTakes(t *testing.T) {
	cast := []string{"topic:lazy", "topic:table", "i0", "i1", "i2", "c0", "c1", "extras"}
	s := &shrinking{until: time.Now().Add(time.Minute)}
	s.play = func(o outline) ending {
		e := ending{plan: len(o.plan), rounds: 5, events: 1000}
		if o.rounds >= 0 {
			e.rounds = o.rounds
		}
		for _, name := range cast {
			if !slices.Contains(o.without, name) {
				e.cast = append(e.cast, name)
			}
		}
		has := func(id int) bool {
			return slices.ContainsFunc(o.plan, func(f sim.Fault) bool { return f.ID == id && f.Count > 0 })
		}
		switch {
		case slices.Contains(o.without, "i1"):
			e.kind = "another"
		case has(3) && has(6) && e.rounds >= 2 && !slices.Contains(o.without, "c1"):
			e.kind = "the one"
		}
		return e
	}
	s.outline = drawn(1)
	s.outline.planned = true
	for id := range 9 {
		s.outline.plan = append(s.outline.plan, sim.Fault{ID: id, Count: 4, Skip: 2, For: 1e6})
	}
	s.ending = s.play(s.outline)
	s.shrink()
	o := s.outline
	if len(o.plan) != 2 || o.plan[0].ID != 3 || o.plan[1].ID != 6 || o.plan[0].Count != 1 || o.plan[1].Skip != 0 {
		t.Errorf("the plan is %s", planText(o.plan))
	}
	if o.rounds != 2 || !slices.Equal(s.ending.cast, []string{"i1", "c1"}) {
		t.Errorf("%d rounds with %v", o.rounds, s.ending.cast)
	}
	again := drawn(1)
	if err := again.parseCut(o.cutText()); err != nil || again.rounds != o.rounds || again.brevity != o.brevity || again.salt != o.salt || !slices.Equal(again.without, o.without) {
		t.Errorf("%s is read as %+v, %v", o.cutText(), again, err)
	}
	if a, b := kindOf("table-0: record i2-000043 is at offset 43"), kindOf("durable-1: record i0-000001 is at offset 7"); a != b {
		t.Errorf("%q and %q are not of a kind", a, b)
	}
}
