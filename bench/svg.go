package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Drawings are SVG without scripts and without colours of their own: classes that
// the page's style sheet colours, for light and dark.

const (
	plotWidth, plotHeight   = 860.0, 330.0
	plotLeft, plotRight     = 66.0, 176.0
	plotTop, plotBottom     = 14.0, 40.0
	labelHeight             = 15.0
	chartWidth              = 420.0
	barHeight, barGap       = 20.0, 8.0
	chartLeft, chartNumbers = 112.0, 64.0
)

// roleClass is a contender's class; the second and third of a role are dashed.
func roleClass(r role, nth int) string {
	return [...]string{"ours", "peer", "raw"}[r] + [...]string{"", " dash", " dots"}[min(nth, 2)]
}

// axes map nines and microseconds to a place in a plot.
type axes struct {
	nines     float64 // at the right end
	low, high float64 // log10 of microseconds at the bottom and the top
}

func (a axes) x(nines float64) float64 {
	return plotLeft + (plotWidth-plotLeft-plotRight)*nines/a.nines
}

func (a axes) y(micros float64) float64 {
	share := (math.Log10(max(micros, 1e-3)) - a.low) / (a.high - a.low)
	return plotHeight - plotBottom - (plotHeight-plotTop-plotBottom)*min(max(share, 0), 1)
}

// axes fit all curves and marks.
func (p *plot) axes() axes {
	a := axes{nines: 3, low: math.Inf(1), high: math.Inf(-1)}
	see := func(micros float64) {
		if micros > 0 {
			a.low, a.high = min(a.low, math.Log10(micros)), max(a.high, math.Log10(micros))
		}
	}
	for _, c := range p.Curves {
		for _, at := range c.Points {
			if at.Nines >= 0.04 { // the fastest of all is of no interest, and far below
				see(at.Micros)
			}
			a.nines = max(a.nines, at.Nines)
		}
	}
	for _, m := range p.Marks {
		see(m.Micros)
	}
	if math.IsInf(a.low, 1) {
		a.low, a.high = 0, 1
	}
	a.nines = min(a.nines, 5)
	a.low, a.high = floorStep(a.low), -floorStep(-a.high)
	if a.high-a.low < 0.6 {
		a.high = a.low + 0.7
	}
	return a
}

// floorStep goes down to the next of 1, 2 and 5 times a power of ten.
func floorStep(v float64) float64 {
	whole := math.Floor(v)
	for _, step := range []float64{math.Log10(5), math.Log10(2)} {
		if v-whole >= step-1e-9 {
			return whole + step
		}
	}
	return whole
}

// svg draws the plot.
func (p *plot) svg() string {
	a := p.axes()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s" xmlns="http://www.w3.org/2000/svg">`,
		plotWidth, plotHeight, html.EscapeString(p.Title))
	a.grid(&b)
	nth := map[role]int{}
	var labels []label
	for _, c := range p.Curves {
		class := roleClass(c.Role, nth[c.Role])
		nth[c.Role]++
		end := a.curve(&b, &c, class)
		labels = append(labels, label{end, c.Name, class})
	}
	for _, m := range p.Marks {
		a.mark(&b, &m)
	}
	for _, l := range spread(labels) {
		fmt.Fprintf(&b, `<text class="label %s" x="%.1f" y="%.1f">%s</text>`, l.class, plotWidth-plotRight+8, l.y+4, html.EscapeString(l.text))
	}
	b.WriteString(`</svg>`)
	return b.String()
}

// grid draws the lines at powers of ten and at whole nines, and names them.
func (a axes) grid(b *strings.Builder) {
	bottom := plotHeight - plotBottom
	a.heights(b)
	for _, percentile := range []float64{50, 90, 99, 99.9, 99.99, 99.999} {
		nines := ninesOf(percentile)
		if nines > a.nines+1e-9 {
			break
		}
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, a.x(nines), a.x(nines), plotTop, bottom)
		fmt.Fprintf(b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="middle">p%g</text>`, a.x(nines), bottom+18, percentile)
	}
}

// heights draws the lines at powers of ten, and the axis.
func (a axes) heights(b *strings.Builder) {
	right, bottom := plotWidth-plotRight, plotHeight-plotBottom
	for power := math.Floor(a.low); power <= a.high; power++ {
		for _, step := range []float64{1, 2, 5} {
			micros := step * math.Pow(10, power)
			at := math.Log10(micros)
			if at < a.low-1e-9 || at > a.high+1e-9 {
				continue
			}
			class := "grid minor"
			if step == 1 {
				class = "grid"
			}
			fmt.Fprintf(b, `<line class="%s" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, class, plotLeft, right, a.y(micros), a.y(micros))
			if step == 1 || a.high-a.low < 2.2 {
				fmt.Fprintf(b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`, plotLeft-8, a.y(micros)+4, duration(micros))
			}
		}
	}
	fmt.Fprintf(b, `<line class="axis" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, plotLeft, right, bottom, bottom)
}

// curve draws a line with dots at the percentiles that figures name, and returns
// the height at which it ends.
func (a axes) curve(b *strings.Builder, c *curve, class string) (end float64) {
	var path strings.Builder
	for i, at := range c.Points {
		if at.Nines > a.nines+1e-9 {
			break
		}
		end = a.y(at.Micros)
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", command, a.x(at.Nines), end)
	}
	fmt.Fprintf(b, `<path class="line %s" d="%s"/>`, class, path.String())
	for _, percentile := range []float64{50, 99, 99.9} {
		if micros, ok := c.at(ninesOf(percentile)); ok {
			fmt.Fprintf(b, `<circle class="dot %s" cx="%.1f" cy="%.1f" r="3.5"><title>%s, p%g: %s</title></circle>`,
				class, a.x(ninesOf(percentile)), a.y(micros), html.EscapeString(c.Name), percentile, duration(micros))
		}
	}
	return end
}

// at is the curve's value at some nines, between its points.
func (c *curve) at(nines float64) (float64, bool) {
	for i := 1; i < len(c.Points); i++ {
		p, q := c.Points[i-1], c.Points[i]
		if nines >= p.Nines && nines <= q.Nines && q.Nines > p.Nines {
			share := (nines - p.Nines) / (q.Nines - p.Nines)
			return p.Micros + (q.Micros-p.Micros)*share, true
		}
	}
	return 0, false
}

// mark draws a goal: a short bar that the curve should pass below.
func (a axes) mark(b *strings.Builder, m *mark) {
	x, y := a.x(m.Nines), a.y(m.Micros)
	fmt.Fprintf(b, `<path class="goal" d="M%.1f %.1fh36M%.1f %.1fl-5 -7h10z"><title>goal: %s</title></path>`, x-18, y, x, y, html.EscapeString(m.Label))
	fmt.Fprintf(b, `<text class="goal" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, x, y-11, html.EscapeString(typeset(m.Label)))
}

// typeset gives a bound the signs that a page has and a terminal may not.
var typeset = strings.NewReplacer("<=", "≤", ">=", "≥", " x ", " × ", " us", " µs").Replace

// label is a curve's name beside its end.
type label struct {
	y     float64
	text  string
	class string
}

// spread moves labels apart until none covers another, and keeps them inside.
func spread(labels []label) []label {
	slices.SortStableFunc(labels, func(p, q label) int { return int(math.Copysign(1, p.y-q.y)) })
	for i := 1; i < len(labels); i++ {
		labels[i].y = max(labels[i].y, labels[i-1].y+labelHeight)
	}
	limit := plotHeight - plotBottom
	for i := len(labels) - 1; i >= 0; i-- {
		labels[i].y = min(labels[i].y, limit)
		limit = labels[i].y - labelHeight
	}
	return labels
}

// duration prints microseconds in the unit that reads best.
func duration(micros float64) string {
	switch {
	case micros >= 1e6*0.9995:
		return digits(micros/1e6) + " s"
	case micros >= 1e3*0.9995:
		return trimZeros(micros/1e3) + " ms"
	}
	return trimZeros(micros) + " µs"
}

func trimZeros(v float64) string {
	if v == math.Trunc(v) {
		return fmt.Sprintf("%.0f", v)
	}
	return digits(v)
}

// svg draws the bars, longest value at full width.
func (c *chart) svg() string {
	longest := 0.0
	for _, bar := range c.Bars {
		longest = max(longest, bar.Value)
	}
	var b strings.Builder
	height := float64(len(c.Bars))*(barHeight+barGap) + barGap
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s" xmlns="http://www.w3.org/2000/svg">`,
		chartWidth, height, html.EscapeString(c.Title))
	nth := map[role]int{}
	for i, one := range c.Bars {
		y := barGap + float64(i)*(barHeight+barGap)
		width := 0.0
		if longest > 0 {
			width = (chartWidth - chartLeft - chartNumbers) * one.Value / longest
		}
		class := roleClass(one.Role, nth[one.Role])
		nth[one.Role]++
		fmt.Fprintf(&b, `<text class="name" x="%.1f" y="%.1f" text-anchor="end">%s</text>`, chartLeft-8, y+barHeight-6, html.EscapeString(one.Name))
		fmt.Fprintf(&b, `<rect class="bar %s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2"/>`, class, chartLeft, y, max(width, 1.5), barHeight)
		fmt.Fprintf(&b, `<text class="value" x="%.1f" y="%.1f">%s</text>`, chartLeft+max(width, 1.5)+6, y+barHeight-6, digits(one.Value))
	}
	b.WriteString(`</svg>`)
	return b.String()
}
