// Package script plays the stories that the tests of pure machines are told in.
//
// A script is a file of blocks: some lines, "----", and what came of them. Blocks
// are separated by an empty line; lines that start with # before a block belong to
// its story.
package script

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type block struct {
	story  string // comment lines before it, as they are
	input  []string
	output string
}

// Play plays every script in testdata/dir, each with a machine of its own: what
// start returned is given the lines of one block after the other and says what came of
// them. That is compared with what the script says, or with rewrite put in its place.
func Play(t *testing.T, dir string, rewrite bool, start func(t *testing.T) func(input []string) string) {
	paths, _ := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
	if len(paths) == 0 {
		t.Fatalf("no scripts in testdata/%s", dir)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			blocks := read(t, path)
			do := start(t)
			for i, b := range blocks {
				if len(b.input) == 0 {
					continue
				}
				got := do(b.input)
				if rewrite {
					blocks[i].output = got
				} else if got != b.output {
					t.Errorf("%s%s\ngives\n%s\n%s", b.story, strings.Join(b.input, "\n"), got, lineByLine(got, b.output))
				}
			}
			if rewrite {
				write(t, path, blocks)
			}
		})
	}
}

func read(t *testing.T, path string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		var b block
		lines := strings.Split(part, "\n")
		for len(lines) > 0 && strings.HasPrefix(lines[0], "#") {
			b.story += lines[0] + "\n"
			lines = lines[1:]
		}
		for len(lines) > 0 && lines[0] != "----" {
			b.input = append(b.input, lines[0])
			lines = lines[1:]
		}
		if len(lines) > 0 {
			b.output = strings.Join(lines[1:], "\n")
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func write(t *testing.T, path string, blocks []block) {
	t.Helper()
	var parts []string
	for _, b := range blocks {
		s := b.story + strings.Join(b.input, "\n")
		if len(b.input) > 0 {
			s += "\n----\n" + b.output
		}
		parts = append(parts, strings.TrimSuffix(s, "\n"))
	}
	if err := os.WriteFile(path, []byte(strings.Join(parts, "\n\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// lineByLine tells where two answers part.
func lineByLine(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is\n%s\nand was\n%s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("there are %d lines and were %d", len(a), len(b))
}
