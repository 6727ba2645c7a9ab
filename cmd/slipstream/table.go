package main

import (
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// cellRunes is the longest cell of a table: no topic's or well-meant id is longer. A column is as wide as its
// widest cell, so that one id of 32,000 characters among many would have the table take seconds and gigabytes.
// --json has everything whole.
const cellRunes = 255

// writeTable writes rows of cells with tabs between them as aligned columns.
func writeTable(w io.Writer, rows func(io.Writer)) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows(shortCells{t})
	return t.Flush()
}

// shortCells cuts the cells of the rows that are written to it, whole rows at a time.
type shortCells struct{ to io.Writer }

// Write implements io.Writer.
func (s shortCells) Write(b []byte) (int, error) {
	if len(b) <= cellRunes {
		return s.to.Write(b)
	}
	var out strings.Builder
	for rest := string(b); rest != ""; {
		end := strings.IndexAny(rest, "\t\n")
		if end < 0 {
			end = len(rest)
		}
		out.WriteString(shortened(rest[:end]))
		if end < len(rest) {
			out.WriteByte(rest[end])
			end++
		}
		rest = rest[end:]
	}
	_, err := io.WriteString(s.to, out.String())
	return len(b), err
}

func shortened(cell string) string {
	if utf8.RuneCountInString(cell) <= cellRunes {
		return cell
	}
	return string([]rune(cell)[:cellRunes-1]) + "…"
}
