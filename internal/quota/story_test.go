package quota

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"slipstream/internal/script"
)

var rewrite = flag.Bool("rewrite", false, "put what the machine says into the stories")

// TestStories runs testdata/story. Bounds and entities:
//
//	set USER CLIENT BOUND | remove USER CLIENT     * is the default, - is absent
//	find USER CLIENT
//
// and cores that share a bound; core 0 is the home:
//
//	burst MILLIS          negative: Kafka's windows alone
//	cores N BOUND
//	CORE MILLIS VALUE     it is used on a core then
//	CORE MILLIS VALUE line    it is to be used, and waits in line
//	settle CORE MILLIS    the core reports and is answered
//	report CORE MILLIS | answer CORE MILLIS
func TestStories(t *testing.T) {
	script.Play(t, "story", *rewrite, func(t *testing.T) func([]string) string {
		s := &stage{t: t, shape: Shape{11, 1000, -1}, answers: map[int]*Answer{}}
		return func(input []string) string {
			var out []string
			for _, line := range input {
				out = append(out, line+s.play(strings.Fields(line)))
			}
			return strings.Join(out, "\n")
		}
	})
}

type stage struct {
	t       *testing.T
	shape   Shape
	limits  Limits
	bound   float64
	home    *Home
	cores   []*Account
	answers map[int]*Answer
}

func entity(user, client string) (e Entity) {
	e.User, e.UserName = part(user)
	e.Client, e.ClientName = part(client)
	return e
}

func part(s string) (Part, string) {
	switch s {
	case "*":
		return Default, ""
	case "-":
		return Absent, ""
	}
	return Named, s
}

func (s *stage) play(w []string) string {
	switch w[0] {
	case "set":
		s.limits.Set(entity(w[1], w[2]), num(s.t, w[3]))
		return ""
	case "remove":
		s.limits.Remove(entity(w[1], w[2]))
		return fmt.Sprintf(": %d left", s.limits.Len())
	case "find":
		bound, scope, ok := s.limits.Find(w[1], w[2])
		if !ok {
			return ": no bound"
		}
		return fmt.Sprintf(": %v for %s", bound, describe(scope))
	case "burst":
		s.shape.BurstMillis = int64(num(s.t, w[1]))
		return ""
	case "cores":
		s.home, s.bound, s.cores = new(Home), num(s.t, w[2]), nil
		for i := range int(num(s.t, w[1])) {
			s.cores = append(s.cores, new(Account))
			if i == 0 {
				s.cores[0].AtHome(s.home)
			}
		}
		return ""
	}
	if w[0] == "settle" || w[0] == "report" || w[0] == "answer" {
		return s.settle(w[0], int(num(s.t, w[1])), int64(num(s.t, w[2])))
	}
	a := s.cores[int(num(s.t, w[0]))]
	now := int64(num(s.t, w[1]))
	if len(w) == 4 {
		if wait := a.Line(s.shape, now, s.bound, num(s.t, w[2])); wait > 0 {
			return fmt.Sprintf(": wait %d", wait)
		}
		a.Record(s.shape, now, s.bound, num(s.t, w[2]))
		return fmt.Sprintf(": goes, and leaves %d owed", a.Owed(s.shape, now))
	}
	a.Record(s.shape, now, s.bound, num(s.t, w[2]))
	return fmt.Sprintf(": wait %d", a.Delay(s.shape, now, s.bound))
}

func (s *stage) settle(what string, core int, now int64) (out string) {
	a := s.cores[core]
	if what != "answer" {
		if !a.Unsaid() {
			return ": nothing to report"
		}
		said := a.Report()
		s.home.Record(s.shape, now, s.bound, said)
		s.answers[core] = new(Answer)
		s.home.Copy(s.answers[core])
		out = fmt.Sprintf(": reports %v", said)
	}
	if what != "report" {
		a.Settle(s.shape, now, s.bound, s.answers[core])
		rate := a.Rate(s.shape, now)
		out += fmt.Sprintf(": knows %.1f a second", rate)
	}
	return out
}

func describe(s Scope) string {
	var parts []string
	if s.User == Named {
		parts = append(parts, "user "+s.UserName)
	}
	if s.Client == Named {
		parts = append(parts, "client "+s.ClientName)
	}
	return strings.Join(parts, ", ")
}
