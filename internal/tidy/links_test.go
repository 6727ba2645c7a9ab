package tidy

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks: what a document of ours links to in the project is there, sections
// included.
func TestLinks(t *testing.T) {
	names, err := tracked()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range markdownLink.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			checked++
			file, section, _ := strings.Cut(m[1], "#")
			target := path.Join(path.Dir(name), file)
			if file == "" {
				target = name
			}
			body, err := os.ReadFile(filepath.Join(root, target))
			if err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			} else if section != "" && !hasSection(string(body), section) {
				t.Errorf("%s links to the section %s, which is not there", name, m[1])
			}
		}
	}
	if checked == 0 {
		t.Error("no document links to anything")
	}
}

// hasSection says whether a heading becomes the anchor section.
func hasSection(text, section string) bool {
	for line := range strings.Lines(text) {
		heading, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		anchor := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(heading), "")
		if strings.ReplaceAll(anchor, " ", "-") == section {
			return true
		}
	}
	return false
}
