package storage

import (
	"fmt"
	"strings"
	"testing"
)

// TestLifecycle writes the whole table out: where a segment may go, and that it goes nowhere else.
func TestLifecycle(t *testing.T) {
	var got strings.Builder
	for from := range phaseCount {
		var to []string
		for next := range phaseCount + 1 {
			s := &segment{phase: from}
			if moved(s, next) {
				to = append(to, next.String())
			}
		}
		s := &segment{phase: from}
		fmt.Fprintf(&got, "%-8v %-9s in the log %-5v -> %s\n", from, phaseSuffixes[from], s.live(), strings.Join(to, ", "))
	}
	want := `
active             in the log true  -> closed
closed             in the log true  -> cleaning, deleted
cleaning           in the log true  -> closed, deleted
made     .cleaned  in the log false -> swapped, removed
swapped  .swap     in the log true  -> closed
deleted  .deleted  in the log false -> removed
removed  .deleted  in the log false -> 
`
	if got.String() != want[1:] {
		t.Errorf("got\n%s", &got)
	}
}

// moved says whether a segment may move, and that its phase is as it was if not.
func moved(s *segment, next phase) (ok bool) {
	before := s.phase
	defer func() {
		if recover() != nil {
			ok = s.phase != before
		}
	}()
	s.moveTo(next)
	return s.phase == next
}
