package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
)

//go:embed report.html
var reportTemplate string

// html is the whole report as one page that needs nothing from elsewhere.
func (found *report) html() ([]byte, error) {
	t, err := template.New("report").Funcs(template.FuncMap{
		"svg":      func(d drawing) template.HTML { return template.HTML(d.svg()) },
		"digits":   digits,
		"duration": duration,
		"percent":  func(part, whole float64) string { return fmt.Sprintf("%.0f %%", 100*part/max(whole, 1e-9)) },
		"count":    count,
	}).Parse(reportTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, found)
	return b.Bytes(), err
}

// drawing is a plot or a chart.
type drawing interface{ svg() string }

// What the template calls has an exported name.

// PlotsAndCharts are pointers, whose methods draw.
func (s *scene) PlotsAndCharts() (all struct {
	Plots  []*plot
	Charts []*chart
	Graphs []*graph
}) {
	for i := range s.Plots {
		all.Plots = append(all.Plots, &s.Plots[i])
	}
	for i := range s.Charts {
		all.Charts = append(all.Charts, &s.Charts[i])
	}
	for i := range s.Graphs {
		all.Graphs = append(all.Graphs, &s.Graphs[i])
	}
	return all
}

// Verdict is "met", "NOT met", "in doubt" or nothing.
func (f figure) Verdict() string { return f.verdict() }

// Class is the verdict as a class of the style sheet.
func (f figure) Class() string {
	return map[string]string{"met": "met", "NOT met": "missed", "in doubt": "doubt"}[f.verdict()]
}

// Bound is the goal with what it bounds.
func (f figure) Bound() string {
	if f.Goal == (goal{}) {
		return ""
	}
	if f.Goal.OnOurs || f.Beside == "" {
		return typeset(f.Goal.String() + " " + f.Unit)
	}
	return typeset(f.Goal.String()) + " ×"
}

// Value prints a figure of the line in its unit.
func (f figure) Value(v float64) string {
	if f.Unit == "us" {
		return duration(v)
	}
	return strings.TrimSpace(digits(v) + " " + f.Unit)
}

// Spread is the range of the rounds' ratios.
func (f figure) Spread() string {
	if len(f.Rounds) < 2 {
		return ""
	}
	return fmt.Sprintf("%s–%s", digits(slices.Min(f.Rounds)), digits(slices.Max(f.Rounds)))
}

// Counted are slipstream's own counters in words.
func (l load) Counted() string { return l.Counters.inWords() }

// Tally counts the goals.
func (found *report) Tally() (t struct{ Met, Missed, Doubt int }) {
	for _, s := range found.Scenes {
		for _, f := range s.Figures {
			switch f.verdict() {
			case "met":
				t.Met++
			case "NOT met":
				t.Missed++
			case "in doubt":
				t.Doubt++
			}
		}
	}
	return t
}

// Date is when the run began.
func (found *report) Date() string { return found.Begun.Format("2006-01-02 15:04 UTC") }

// Software are the versions, in an order that does not change.
func (found *report) Software() (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(found.Versions)) {
		lines = append(lines, name+" "+strings.TrimPrefix(found.Versions[name], name+" "))
	}
	return lines
}

// count prints a number with a space between thousands.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}
