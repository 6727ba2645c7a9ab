package main

import (
	"fmt"
	"os"
	"strings"
)

// The README's table lies between these marks; what is outside is not touched.
const (
	tableBegins = "<!-- bench: make bench-report writes what follows -->"
	tableEnds   = "<!-- bench: end -->"
)

// intoReadme writes the figures that have goals into a Markdown file, and where the
// whole report is.
func (found *report) intoReadme(path, jsonFile, htmlFile string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), tableBegins)
	_, after, ok2 := strings.Cut(rest, tableEnds)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no table of the bench: it lies between %q and %q", path, tableBegins, tableEnds)
	}
	table := found.markdown()
	if jsonFile != "" && htmlFile != "" {
		table += fmt.Sprintf("\nThe whole run, with its plots: [%s](%s), and [%s](%s).\n", htmlFile, htmlFile, jsonFile, jsonFile)
	}
	return os.WriteFile(path, []byte(before+tableBegins+"\n"+table+tableEnds+after), 0o644)
}

// markdown is what was measured on, and a table of the figures that have goals.
func (found *report) markdown() string {
	var b strings.Builder
	m := found.Machine
	fmt.Fprintf(&b, "%d processors (%s), %.0f GB, %s, %s, %s", m.Processors, m.Model, m.MemoryGB, m.Kernel, m.FileSystem, found.Versions["go"])
	if v, ok := found.Versions["Apache Kafka"]; ok {
		fmt.Fprintf(&b, ", Apache Kafka %s on Java %s", v, found.Versions["java"])
	}
	t := found.Tally()
	fmt.Fprintf(&b, "; %s, commit %s. %d goals met, %d not met, %d in doubt.\n\n", found.Begun.Format("2006-01-02"), found.Versions["commit"], t.Met, t.Missed, t.Doubt)
	b.WriteString("| scenario | figure | slipstream | beside | ratio | goal | |\n| --- | --- | ---: | ---: | ---: | ---: | --- |\n")
	for _, s := range found.Scenes {
		for _, f := range s.Figures {
			if f.Met == nil {
				continue
			}
			beside, ratio := "", ""
			if f.Beside != "" {
				beside, ratio = f.Beside+" "+f.Value(f.Other), digits(f.Ratio)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", s.Name, f.Name, f.Value(f.Ours), beside, ratio, f.Bound(), f.verdict())
		}
	}
	return b.String()
}
