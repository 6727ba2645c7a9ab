package crash

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// scene is a ledger, one of its logs, and what a broker has in it.
type scene struct {
	l    *Ledger
	g    *log
	w    *writer // idempotent
	read []*kgo.Record
}

func newScene(topic string, power bool) *scene {
	l := New(Options{Seed: 1, Power: power, PerSecond: 1})
	g := l.logOf[topic][0]
	return &scene{l: l, g: g, w: g.writers[0]}
}

// send sends a record that the broker takes: it is at the next offset.
func (s *scene) send(acked bool) {
	n := s.w.next()
	r := &kgo.Record{Topic: s.g.of.name, Partition: s.g.partition, Offset: int64(len(s.read)), Value: s.w.value(n)}
	if s.g.of.cleanup == compacts {
		r.Key, r.Headers = s.w.key(n), s.w.headers(n)
	}
	s.read = append(s.read, r)
	if acked {
		s.l.acknowledged(s.w, n, r.Offset)
	}
}

// check is a check after a crash, up to the last record.
func (s *scene) check() []string {
	s.l.boundsOf(s.g, 0, int64(len(s.read)))
	s.l.compare(s.g, s.read, int64(len(s.read)-1))
	s.l.settle()
	return s.l.takeFindings()
}

// TestLedgerFinds does one wrong thing to a log at a time; the first few do what a crash may.
func TestLedgerFinds(t *testing.T) {
	for name, c := range map[string]struct {
		topic string
		power bool
		do    func(s *scene)
		want  string // part of the first finding; empty: none
	}{
		"nothing":                           {"flushed", true, func(s *scene) {}, ""},
		"unanswered records are there":      {"flushed", true, func(s *scene) { s.send(false); s.send(false) }, ""},
		"unanswered records are not there":  {"flushed", true, func(s *scene) { s.send(false); s.read = s.read[:5] }, ""},
		"a suffix is lost with the power":   {"cached", true, func(s *scene) { s.read = s.read[:3] }, ""},
		"a flushed suffix is lost":          {"flushed", true, func(s *scene) { s.read = s.read[:4] }, "1 acknowledged records are missing"},
		"a suffix is lost with a kill":      {"cached", false, func(s *scene) { s.read = s.read[:3] }, "2 acknowledged records are missing"},
		"a record in the middle is another": {"cached", true, func(s *scene) { s.read[2].Value = s.read[1].Value }, "was record 2"},
		"a record has other bytes":          {"flushed", true, func(s *scene) { s.read[2].Value = append([]byte(nil), append(s.read[2].Value, '!')...) }, "other bytes"},
		"a record is nobody's":              {"flushed", true, func(s *scene) { s.read[2].Value = []byte("?") }, "nobody has sent"},
		"a hole": {"flushed", true, func(s *scene) {
			s.read = append(s.read[:2:2], s.read[3:]...)
			s.send(true)
			s.read[4].Offset = 5
		}, "offset 3 follows offset 1"},
		"a record is there twice": {"flushed", true, func(s *scene) {
			s.send(false)
			s.read[5].Value = s.w.value(4)
		}, "there twice"},
		"unanswered records have changed places": {"flushed", true, func(s *scene) {
			s.send(false)
			s.send(false)
			s.read[5].Value, s.read[6].Value = s.read[6].Value, s.read[5].Value
		}, "follows its record"},
		"an unanswered record is skipped": {"flushed", true, func(s *scene) {
			s.send(false)
			s.send(false)
			s.read[5].Value, s.read = s.read[6].Value, s.read[:6]
		}, "sent before it, is not"},
		"what was lost comes back": {"cached", true, func(s *scene) {
			whole := s.read
			s.read = s.read[:3]
			s.check()
			s.read = whole
		}, "was not there before, and is now"},
		"what was found is lost": {"flushed", true, func(s *scene) {
			s.send(false)
			s.check()
			s.read = s.read[:5]
		}, "1 acknowledged records are missing"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(c.topic, c.power)
			for range 5 {
				s.send(true)
			}
			c.do(s)
			end := 0
			for _, r := range s.read {
				end = max(end, int(r.Offset)+1)
			}
			s.l.boundsOf(s.g, 0, int64(end))
			s.l.compare(s.g, s.read, int64(end-1))
			s.l.settle()
			got := strings.Join(s.l.takeFindings(), "; ")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("findings %q, want %q", got, c.want)
			}
		})
	}
}

// TestCompactedLastValues removes what compaction may, and then one record that it may not.
func TestCompactedLastValues(t *testing.T) {
	s := newScene("compacted", true)
	for range 3*keysPerWriter + 5 {
		s.send(true)
	}
	all := s.read
	check := func(from int) string {
		s.read = all[from:]
		s.l.compare(s.g, s.read, int64(len(all)-1))
		return strings.Join(s.l.takeFindings(), "; ")
	}
	if got := check(2*keysPerWriter + 5); got != "" {
		t.Errorf("every key's last record is there: %s", got)
	}
	if got := check(2*keysPerWriter + 6); !strings.Contains(got, fmt.Sprintf("number %d at offset %d, is missing", 2*keysPerWriter+5, 2*keysPerWriter+5)) {
		t.Errorf("a key's last record is missing: %q", got)
	}
}

// TestTransactionsJudged shows a transaction of two records in each partition in every way.
func TestTransactionsJudged(t *testing.T) {
	for _, c := range []struct {
		end   end
		shown [txnPartitions]int
		wrong bool
		after end
	}{
		{committed, [2]int{2, 2}, false, committed},
		{committed, [2]int{2, 0}, true, committed},
		{committed, [2]int{0, 0}, true, committed},
		{aborted, [2]int{0, 0}, false, aborted},
		{aborted, [2]int{2, 2}, true, aborted},
		{undecided, [2]int{2, 2}, false, committed},
		{undecided, [2]int{0, 0}, false, aborted},
		{undecided, [2]int{0, 2}, true, undecided},
	} {
		l := New(Options{Seed: 1, PerSecond: 1})
		w := l.txns.writers[0]
		w.list = []transaction{{records: [2]int{2, 2}, end: c.end}}
		w.judge(0, c.shown)
		if wrong := len(l.takeFindings()) > 0; wrong != c.wrong || !wrong && w.list[0].end != c.after {
			t.Errorf("end %d, shown %v: wrong %v, then end %d", c.end, c.shown, wrong, w.list[0].end)
		}
	}
}
