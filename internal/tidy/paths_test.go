package tidy

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// machinePath finds absolute paths of the machines that the project is written
// on; in pieces, so that this file does not find itself.
var machinePath = regexp.MustCompile(`(^|[\s"'` + "`" + `=(:,])/(work|root|home/[a-z]+)` + `/|/tmp/` + `peer`)

func TestNoMachinePaths(t *testing.T) {
	names, err := tracked()
	if err != nil {
		t.Fatal(err)
	}
	excused := newExcuses(machinePaths)
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text[:min(len(text), 8000)], 0) >= 0 {
			continue // no text
		}
		for i, line := range bytes.Split(text, []byte{'\n'}) {
			if m := machinePath.Find(line); m != nil && !excused.has(name) {
				t.Errorf("%s:%d: %q is a path of one machine", name, i+1, m)
			}
		}
	}
	excused.unused(t)
}
