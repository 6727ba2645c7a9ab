package main

// plot is a percentile plot: latency over percentile, by nines.
type plot struct {
	Title  string  `json:"title"`
	Curves []curve `json:"curves"`
	Marks  []mark  `json:"marks,omitempty"`
}

// curve is one contender's line.
type curve struct {
	Name   string  `json:"name"`
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
	// Lower: less is better.
	Lower bool `json:"lower,omitempty"`
}

type bar struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// plotTrials draws the latencies of each trial.
func (s *scene) plotTrials(title string, trials []*trial, marks ...mark) {
	p := plot{Title: title, Marks: marks}
	for _, t := range trials {
		if points := t.merged(latencyOf).curve(); points != nil {
			p.Curves = append(p.Curves, curve{t.c.name, points})
		}
	}
	s.Plots = append(s.Plots, p)
}

// chartTrials draws one quantity of each trial.
func (s *scene) chartTrials(title, unit string, lower bool, trials []*trial, of func(*trial) series) {
	c := chart{Title: title, Unit: unit, Lower: lower}
	for _, t := range trials {
		if v := of(t); v.all != 0 {
			c.Bars = append(c.Bars, bar{t.c.name, v.all})
		}
	}
	s.Charts = append(s.Charts, c)
}
