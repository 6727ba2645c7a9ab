package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sampleReport has everything that a report can have.
func sampleReport() *report {
	h := newHistogram()
	for i := range int64(5000) {
		h.record(20_000 + i*i)
	}
	s := &scene{Name: "e2e", Title: `Produce & <consume>`, About: "about", Seconds: 3}
	p := plot{Title: `"quoted" & <odd>`, Marks: []mark{{"< 3 x echo", ninesOf(99), 150}, {"<= 1.5 x", ninesOf(50), 40}},
		Curves: []curve{{"slipstream", ours, h.curve()}, {"Apache <Kafka>", peer, h.curve()}, {"echo & co", raw, h.curve()},
			{"another", raw, h.curve()}, {"nothing", raw, nil}}}
	s.Plots = []plot{p, {Title: "empty"}}
	s.Charts = []chart{{"rate", "GB/s", []bar{{"slipstream", ours, 2.5}, {"a < b", raw, 3}, {"none", peer, 0}}, false}, {Title: "no bars"}}
	s.versus("p50", "us", series{who: "slipstream", all: 30, rounds: []float64{30, 31}}, series{who: "echo", all: 20, rounds: []float64{20, 20}}, atMost(1.2))
	s.versus("p99", "us", series{who: "slipstream", all: 30, doubt: "late"}, series{who: "echo", all: 20}, atMost(1.2))
	s.alone("memory", "MB", series{all: 10}, atMost(64))
	s.keep(&trial{c: &contender{name: "slipstream"}, what: "load", rounds: []*measurement{{latency: h, service: h, late: h, ops: 5000, seconds: 1, serverCPU: 0.5, loadCPU: 0.2}}})
	s.Notes = []string{"a note"}
	return &report{Begun: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Command: "bench", Machine: describeMachine("."),
		Versions: map[string]string{"go": "go1.26"}, Scenes: []*scene{s, {Name: "lag", Title: "Lag", Skipped: "no root"}, {Name: "flush", Failed: "it broke"}}}
}

// wellFormed parses XML to its end.
func wellFormed(text string) error {
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func TestDrawingsAreWellFormed(t *testing.T) {
	for _, s := range sampleReport().Scenes {
		for _, p := range s.Plots {
			if err := wellFormed(p.svg()); err != nil {
				t.Errorf("%s: %v", p.Title, err)
			}
			if n := strings.Count(p.svg(), "NaN") + strings.Count(p.svg(), "Inf"); n > 0 {
				t.Errorf("%s: %d numbers that are none", p.Title, n)
			}
		}
		for _, c := range s.Charts {
			if err := wellFormed(c.svg()); err != nil {
				t.Errorf("%s: %v", c.Title, err)
			}
		}
	}
}

func TestLabelsDoNotCoverEachOther(t *testing.T) {
	labels := spread([]label{{y: 100}, {y: 101}, {y: 99}, {y: plotHeight}, {y: plotHeight - plotBottom}, {y: 20}})
	for i := 1; i < len(labels); i++ {
		if labels[i].y-labels[i-1].y < labelHeight-1e-9 {
			t.Errorf("labels at %g and %g", labels[i-1].y, labels[i].y)
		}
	}
	if last := labels[len(labels)-1].y; last > plotHeight-plotBottom {
		t.Errorf("the last label is at %g, below the plot", last)
	}
}

// TestReportStandsAlone: the page has all it was given and needs nothing from elsewhere.
func TestReportStandsAlone(t *testing.T) {
	b, err := sampleReport().html()
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, want := range []string{"Produce &amp; &lt;consume&gt;", "NOT met", "in doubt", "no root", "it broke", "a note", "≤ 1.2 ×", "prefers-color-scheme: dark", "<svg"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, unwanted := range []string{"<script", "<link", "src=", "@import", "url(", "https://"} {
		if strings.Contains(page, unwanted) {
			t.Errorf("the page has %q", unwanted)
		}
	}
}

// TestReadmeTable: only what is between the marks changes, and again the same.
func TestReadmeTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	found := sampleReport()
	if err := os.WriteFile(path, []byte("# before\n"+tableBegins+"\nold\n"+tableEnds+"\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := found.write("", "", path); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if !strings.HasPrefix(text, "# before\n"+tableBegins+"\n") || !strings.HasSuffix(text, tableEnds+"\nafter\n") || strings.Contains(text, "old") {
			t.Fatalf("%s", text)
		}
		for _, row := range []string{"| `e2e` | p50 | 30 µs | echo 20 µs | 1.52 | ≤ 1.2 × | NOT met |", "| `e2e` | memory | 10.0 MB |  |  | ≤ 64 MB | met |"} {
			if !strings.Contains(text, row) {
				t.Errorf("no row %q in\n%s", row, text)
			}
		}
	}
	if err := os.WriteFile(path, []byte("no marks"), 0o644); err != nil {
		t.Fatal(err)
	}
	if found.write("", "", path) == nil {
		t.Error("a file without marks was written to")
	}
}

// TestReportIsReadAgain: a JSON file gives the page that the run gave.
func TestReportIsReadAgain(t *testing.T) {
	found := sampleReport()
	dir := t.TempDir()
	jsonFile, htmlFile := filepath.Join(dir, "a", "out.json"), filepath.Join(dir, "out.html")
	if err := found.write(jsonFile, htmlFile, ""); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(dir, "again.html")
	read, err := (&run{}).main("", jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := read.write("", again, ""); err != nil {
		t.Fatal(err)
	}
	if err := read.failures(); err == nil || !strings.Contains(err.Error(), "it broke") {
		t.Errorf("a run with a failed scenario ends with %v", err)
	}
	a, _ := os.ReadFile(htmlFile)
	b, _ := os.ReadFile(again)
	if len(a) == 0 || string(a) != string(b) {
		t.Errorf("a page of %d bytes, and of %d from the JSON file", len(a), len(b))
	}
	if tally := found.Tally(); tally.Met != 1 || tally.Missed != 1 || tally.Doubt != 1 {
		t.Errorf("%+v", tally)
	}
}
