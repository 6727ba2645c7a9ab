package tidy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	runPattern = regexp.MustCompile(`-run '([^']+)' (\./\S+)`)
	testName   = regexp.MustCompile(`(?m)^func (Test\w+|Fuzz\w+)\(`)
)

// TestMakefileRunsTests: go test passes when -run selects nothing, so every name
// that the Makefile runs must begin one in its package.
func TestMakefileRunsTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, m := range runPattern.FindAllStringSubmatch(string(text), -1) {
		if m[1] == "^$$" {
			continue // fuzzing
		}
		names := testNames(t, m[2])
		for _, want := range strings.Split(m[1], "|") {
			checked++
			found := false
			for _, name := range names {
				found = found || strings.HasPrefix(name, want)
			}
			if !found {
				t.Errorf("the Makefile runs %s of %s, where there is none", want, m[2])
			}
		}
	}
	if checked < 8 {
		t.Fatalf("only %d patterns found", checked)
	}
}

func testNames(t *testing.T, pkg string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no tests: %v", pkg, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testName.FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names
}
