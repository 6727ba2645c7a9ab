package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTableCutsLongCells(t *testing.T) {
	var out strings.Builder
	long := strings.Repeat("é", 32_000)
	err := writeTable(&out, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tSTATE")
		fmt.Fprintf(w, "%s\t%s\n", "short", "Ongoing")
		fmt.Fprintf(w, "%s\t%s\n", long, "Empty")
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "short ") || !strings.HasSuffix(lines[1], "  Ongoing") {
		t.Fatalf("%.400q", lines)
	}
	cell, state, _ := strings.Cut(lines[2], "  ")
	if n := utf8.RuneCountInString(cell); n != cellRunes || !strings.HasSuffix(cell, "é…") || state != "Empty" {
		t.Errorf("a cell of %d characters, then %q", n, state)
	}
}
