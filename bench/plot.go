package main

// plot is a percentile plot: latency over percentile, by nines.
type plot struct {
	Title  string  `json:"title"`
	Curves []curve `json:"curves"`
	Marks  []mark  `json:"marks,omitempty"`
}

// curve is one line of a plot.
type curve struct {
	Name   string  `json:"name"`
	Role   role    `json:"role"`
	Points []point `json:"points"`
}

// mark is a goal: a latency that a percentile should not exceed.
type mark struct {
	Label  string  `json:"label"`
	Nines  float64 `json:"nines"`
	Micros float64 `json:"micros"`
}

// chart is a bar chart of one quantity.
type chart struct {
	Title string `json:"title"`
	Unit  string `json:"unit"`
	Bars  []bar  `json:"bars"`
	Lower bool   `json:"lower,omitempty"` // less is better
}

type bar struct {
	Name  string  `json:"name"`
	Role  role    `json:"role"`
	Value float64 `json:"value"`
}

// plotTrials draws the latencies of each trial.
func (s *scene) plotTrials(title string, trials []*trial, marks ...mark) {
	p := plot{Title: title, Marks: marks}
	for _, t := range trials {
		p.add(t.c.name, t)
	}
	s.Plots = append(s.Plots, p)
}

// add draws one trial's latencies under a name.
func (p *plot) add(name string, t *trial) {
	if points := t.merged(latencyOf).curve(); points != nil {
		p.Curves = append(p.Curves, curve{name, t.c.role, points})
	}
}

// chartTrials draws one quantity of each trial.
func (s *scene) chartTrials(title, unit string, lower bool, trials []*trial, of func(*trial) series) {
	c := chart{Title: title, Unit: unit, Lower: lower}
	for _, t := range trials {
		if v := of(t); v.all != 0 {
			c.Bars = append(c.Bars, bar{t.c.name, t.c.role, v.all})
		}
	}
	s.Charts = append(s.Charts, c)
}
