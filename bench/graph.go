package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// graph is a time over a size, both in powers of ten.
type graph struct {
	Title string `json:"title"`
	Unit  string `json:"unit"` // of the size
	Lines []line `json:"lines"`
}

// line is one contender's points, by rising size.
type line struct {
	Name   string    `json:"name"`
	Role   role      `json:"role"`
	Sizes  []float64 `json:"sizes"`
	Micros []float64 `json:"micros"`
}

// svg draws the graph on the grid of a plot.
func (g *graph) svg() string {
	a := axes{low: math.Inf(1), high: math.Inf(-1)}
	left, right := math.Inf(1), math.Inf(-1)
	for _, l := range g.Lines {
		for i, micros := range l.Micros {
			a.low, a.high = min(a.low, math.Log10(micros)), max(a.high, math.Log10(micros))
			left, right = min(left, math.Log10(l.Sizes[i])), max(right, math.Log10(l.Sizes[i]))
		}
	}
	if math.IsInf(a.low, 1) {
		a.low, a.high, left, right = 0, 1, 0, 1
	}
	a.low, a.high = floorStep(a.low), max(-floorStep(-a.high), floorStep(a.low)+0.7)
	a.nines = max(right-left, 0.1) // what a plot has nines for
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s" xmlns="http://www.w3.org/2000/svg">`,
		plotWidth, plotHeight, html.EscapeString(g.Title))
	a.heights(&b)
	var labels []label
	nth, sizes := map[role]int{}, map[float64]bool{}
	for _, l := range g.Lines {
		class := roleClass(l.Role, nth[l.Role])
		nth[l.Role]++
		labels = append(labels, label{a.line(&b, &l, left, class), l.Name, class})
		for _, size := range l.Sizes {
			if sizes[size] {
				continue
			}
			sizes[size] = true
			fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="middle">%.0f %s</text>`, a.x(math.Log10(size)-left), plotHeight-plotBottom+18, size, html.EscapeString(g.Unit))
		}
	}
	for _, l := range spread(labels) {
		fmt.Fprintf(&b, `<text class="label %s" x="%.1f" y="%.1f">%s</text>`, l.class, plotWidth-plotRight+8, l.y+4, html.EscapeString(l.text))
	}
	b.WriteString(`</svg>`)
	return b.String()
}

// line draws a line with a dot at each point, and returns the height at which it ends.
func (a axes) line(b *strings.Builder, l *line, left float64, class string) (end float64) {
	var path, dots strings.Builder
	for i, micros := range l.Micros {
		command := "L"
		if i == 0 {
			command = "M"
		}
		x := a.x(math.Log10(l.Sizes[i]) - left)
		end = a.y(micros)
		fmt.Fprintf(&path, "%s%.1f %.1f", command, x, end)
		fmt.Fprintf(&dots, `<circle class="dot %s" cx="%.1f" cy="%.1f" r="3.5"><title>%s, %.0f: %s</title></circle>`, class, x, end, html.EscapeString(l.Name), l.Sizes[i], duration(micros))
	}
	fmt.Fprintf(b, `<path class="line %s" d="%s"/>%s`, class, path.String(), dots.String())
	return end
}
