package main

import "testing"

func TestGoals(t *testing.T) {
	for _, c := range []struct {
		g    goal
		v    float64
		met  bool
		text string
	}{
		{atMost(1.15), 1.15, true, "<= 1.15"}, {atMost(1.15), 1.16, false, "<= 1.15"},
		{atLeast(0.9), 0.9, true, ">= 0.9"}, {atLeast(0.9), 0.89, false, ">= 0.9"},
		{below(3), 2.99, true, "< 3"}, {below(3), 3, false, "< 3"},
	} {
		if c.g.metBy(c.v) != c.met || c.g.String() != c.text {
			t.Errorf("%v by %g: %v, want %v and %q", c.g, c.v, c.g.metBy(c.v), c.met, c.text)
		}
	}
}

// TestVersus: the ratio is the median of the rounds' ratios, not the ratio of the
// medians; a goal of ours alone is held against our value.
func TestVersus(t *testing.T) {
	s := &scene{Name: "test"}
	mine := series{who: "slipstream", all: 30, rounds: []float64{10, 40, 30}}
	other := series{who: "echo", all: 20, rounds: []float64{20, 10, 20}}
	s.versus("a", "us", mine, other, atMost(1.6))
	s.versus("b", "us", mine, other, oursBelow(30))
	mine.doubt = "late"
	s.versus("c", "us", mine, other, atMost(1.6))
	s.versus("d", "us", mine, other, goal{})
	s.report("e", 5, "Apache Kafka", 10, "MB", atMost(0.5))
	s.alone("f", "MB", series{all: 70}, atMost(64))
	want := []struct {
		ratio   float64
		verdict string
	}{{1.5, "met"}, {1.5, "NOT met"}, {1.5, "in doubt"}, {1.5, ""}, {0.5, "met"}, {0, "NOT met"}}
	for i, w := range want {
		if f := s.Figures[i]; f.Ratio != w.ratio || f.verdict() != w.verdict {
			t.Errorf("%s: ratio %g, %q, want %g, %q", f.Name, f.Ratio, f.verdict(), w.ratio, w.verdict)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 4}, 4}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(c.v); got != c.want {
			t.Errorf("median of %v is %g, want %g", c.v, got, c.want)
		}
	}
	if got := pairwise([]float64{2, 3, 4}, []float64{1, 0}); len(got) != 1 || got[0] != 2 {
		t.Errorf("pairwise: %v", got)
	}
}

// TestQuantileInDoubt: a percentile that is mostly the generator's own lateness is
// not the server's.
func TestQuantileInDoubt(t *testing.T) {
	m := &measurement{latency: newHistogram(), late: newHistogram()}
	for i := range 1000 {
		m.latency.record(100_000)
		late := int64(1000)
		if i >= 980 {
			late = 90_000
		}
		m.late.record(late)
	}
	tr := &trial{c: &contender{name: "slipstream"}, rounds: []*measurement{m}}
	if v := tr.quantile(50); v.doubt != "" || !near(v.all, 100, 0.01) {
		t.Errorf("p50: %+v", v)
	}
	if v := tr.quantile(99); v.doubt == "" {
		t.Errorf("p99: %+v, want doubt", v)
	}
}
