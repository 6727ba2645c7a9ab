package main

import (
	"fmt"
	"slices"
)

// goal is a bound on a ratio, or on a figure of ours where nothing is beside it.
// The zero goal is none.
type goal struct {
	AtMost  float64 `json:"atMost,omitempty"`
	AtLeast float64 `json:"atLeast,omitempty"`
	Below   float64 `json:"below,omitempty"`
	// OnOurs: the bound is on our figure even where another stands beside it.
	OnOurs bool `json:"onOurs,omitempty"`
}

func atMost(v float64) goal    { return goal{AtMost: v} }
func atLeast(v float64) goal   { return goal{AtLeast: v} }
func below(v float64) goal     { return goal{Below: v} }
func oursBelow(v float64) goal { return goal{Below: v, OnOurs: true} }

func (g goal) String() string {
	switch {
	case g.AtMost > 0:
		return fmt.Sprintf("<= %.4g", g.AtMost)
	case g.AtLeast > 0:
		return fmt.Sprintf(">= %.4g", g.AtLeast)
	case g.Below > 0:
		return fmt.Sprintf("< %.4g", g.Below)
	}
	return ""
}

func (g goal) metBy(v float64) bool {
	return (g.AtMost == 0 || v <= g.AtMost) && (g.AtLeast == 0 || v >= g.AtLeast) && (g.Below == 0 || v < g.Below)
}

// figure is one line of a report: what was measured, on slipstream, and beside what.
type figure struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Ours   float64 `json:"ours"`
	Beside string  `json:"beside,omitempty"` // what the other is, "" for none
	Other  float64 `json:"other,omitempty"`
	// Ratio is ours by the other's: the median of the rounds' ratios where there were rounds.
	Ratio  float64   `json:"ratio,omitempty"`
	Rounds []float64 `json:"rounds,omitempty"` // the ratio of each round
	Goal   goal      `json:"goal,omitzero"`
	Met    *bool     `json:"met,omitempty"` // nil where there is no goal
	// Invalid says why the figure should not be believed, "" if it may be.
	Invalid string `json:"invalid,omitempty"`
}

// judge fills in Met.
func (f *figure) judge() {
	if f.Goal == (goal{}) {
		return
	}
	v := f.Ours
	if f.Beside != "" && !f.Goal.OnOurs {
		v = f.Ratio
	}
	met := f.Goal.metBy(v)
	f.Met = &met
}

func (f *figure) verdict() string {
	switch {
	case f.Met == nil:
		return ""
	case f.Invalid != "":
		return "in doubt"
	case *f.Met:
		return "met"
	}
	return "NOT met"
}

// series is one quantity of one contender: over all rounds, and round by round.
type series struct {
	who    string
	all    float64
	rounds []float64
	doubt  string // why it should not be believed
}

// report keeps and prints a figure that stands alone, or beside one other value.
func (s *scene) report(name string, ours float64, beside string, other float64, unit string, g goal) {
	f := figure{Name: name, Unit: unit, Ours: ours, Beside: beside, Other: other, Goal: g}
	if other != 0 {
		f.Ratio = ours / other
	}
	s.add(f)
}

// versus keeps and prints our figure beside another's; the ratio is the median of
// the rounds' ratios, since rounds are close in time and absolute figures drift.
func (s *scene) versus(name, unit string, ours, other series, g goal) {
	f := figure{Name: name, Unit: unit, Ours: ours.all, Beside: other.who, Other: other.all, Goal: g,
		Rounds: pairwise(ours.rounds, other.rounds), Invalid: ours.doubt}
	if len(f.Rounds) > 0 {
		f.Ratio = median(f.Rounds)
	} else if other.all != 0 {
		f.Ratio = ours.all / other.all
	}
	s.add(f)
}

// alone keeps and prints a figure with nothing beside it.
func (s *scene) alone(name, unit string, v series, g goal) {
	s.add(figure{Name: name, Unit: unit, Ours: v.all, Goal: g, Invalid: v.doubt})
}

func (s *scene) add(f figure) {
	f.judge()
	s.Figures = append(s.Figures, f)
	printFigure(s.Name, &f)
}

func printFigure(scene string, f *figure) {
	beside, ratio := "", ""
	if f.Beside != "" {
		beside = fmt.Sprintf("%s %s", f.Beside, digits(f.Other))
		ratio = "x " + digits(f.Ratio)
	}
	bound := f.Goal.String()
	if f.Goal.OnOurs && f.Beside != "" {
		bound += " " + f.Unit
	}
	fmt.Printf("%-12s %-46s %9s %-9s %-36s %-9s %-10s %s\n", scene, f.Name, digits(f.Ours), f.Unit, beside, ratio, bound, f.verdict())
}

// digits prints a value to three significant digits, without an exponent.
func digits(v float64) string {
	switch a := max(v, -v); {
	case a == 0:
		return "0"
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// median is the middle value; of an even number, the mean of the two in the middle.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Clone(v)
	slices.Sort(s)
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// pairwise are the ratios of what two contenders had in the same round.
func pairwise(a, b []float64) (ratios []float64) {
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	return ratios
}

// judged is what the goal is held against, in words.
func (f *figure) judged() string {
	if f.Beside != "" && !f.Goal.OnOurs {
		return fmt.Sprintf("%s x %s", digits(f.Ratio), f.Beside)
	}
	return fmt.Sprintf("%s %s", digits(f.Ours), f.Unit)
}
