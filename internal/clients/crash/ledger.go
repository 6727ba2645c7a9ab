package crash

import (
	"fmt"
	"math/rand"
	"sync"
)

// Options of a ledger.
type Options struct {
	Seed int64
	// Power says that it is the machine that dies: what was not synced may be lost.
	Power bool
	// PerSecond is how many records a second each producer sends, about.
	PerSecond int
}

// Counts are what a ledger has seen so far.
type Counts struct {
	Acknowledged  int64 // records, whole transactions' records among them
	Flushed       int64 // of those, in topics that sync every batch
	Lost          int64 // acknowledged records of topics that do not, missing after a power cut
	Adopted       int64 // records found that had not been acknowledged
	Compacted     int64 // records that compaction has removed, as of the last check
	Committed     int64 // transactions
	Aborted       int64
	Undecided     int64 // transactions whose end was not answered, and which were then found either way
	Commits       int64 // of groups' offsets
	SentAgain     int64 // batches that were not answered before a crash and were sent again after it
	TopicsDeleted int64
	Settings      int64 // changes of settings that were acknowledged
	Trimmed       int64 // DeleteRecords that were acknowledged
}

// Ledger is what a broker has acknowledged, and what it may have done besides.
type Ledger struct {
	o      Options
	rng    *rand.Rand
	topics []*topic
	logs   []*log
	logOf  map[string][]*log // by topic
	all    []*writer
	fence  []*writer // one for each log

	txns  *transactions
	admin *administrator
	group *committer

	mu       sync.Mutex // of what follows, and of everything that a load's goroutines change
	counts   Counts
	findings []string
}

// New is an empty ledger, of a broker that has no topics yet.
func New(o Options) *Ledger {
	l := &Ledger{o: o, rng: rand.New(rand.NewSource(o.Seed)), topics: topics(), logOf: map[string][]*log{}}
	for _, t := range l.topics {
		for p := range t.partitions {
			g := &log{of: t, partition: p}
			l.logs = append(l.logs, g)
			l.logOf[t.name] = append(l.logOf[t.name], g)
			for _, kind := range t.writers {
				g.writers = append(g.writers, l.newWriter(g, kind))
			}
			f := l.newWriter(g, 'f')
			g.writers, l.fence = append(g.writers, f), append(l.fence, f)
		}
	}
	l.txns = newTransactions(l)
	l.admin = newAdministrator(l)
	l.group = newCommitter(l)
	return l
}

// Counts of everything until now.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

const maxFindings = 40

// finding is a violation.
func (l *Ledger) finding(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.findings) < maxFindings {
		l.findings = append(l.findings, fmt.Sprintf(format, args...))
	}
}

// takeFindings empties the list.
func (l *Ledger) takeFindings() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.findings
	l.findings = nil
	return out
}

// fate is what became of a record.
type fate uint8

const (
	pending fate = iota // sent, not answered, and not looked for yet
	there               // acknowledged, or seen
	missing             // not answered and not there, or lost with the power
)

// writer is a producer of numbered records to one partition, over all rounds.
type writer struct {
	id        int
	kind      rune // as in topic.writers; f: the fences of checks
	of        *topic
	log       *log
	fates     []fate // by number
	unsettled int    // numbers below are not pending

	again *resender // of kind a
}

func (l *Ledger) newWriter(g *log, kind rune) *writer {
	w := &writer{id: len(l.all), kind: kind, of: g.of, log: g}
	if kind == 'a' {
		w.again = &resender{w: w, id: -1}
	}
	l.all = append(l.all, w)
	return w
}

// next hands out a number. The ledger's mutex is held.
func (w *writer) next() int {
	w.fates = append(w.fates, pending)
	return len(w.fates) - 1
}

// acknowledged takes an answer down.
func (l *Ledger) acknowledged(w *writer, number int, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Acknowledged++
	if w.of.flushes {
		l.counts.Flushed++
	}
	why := w.log.put(offset, entry{int32(w.id), int32(number), true})
	w.fates[number] = there
	if why != "" && len(l.findings) < maxFindings {
		l.findings = append(l.findings, why)
	}
}

// entry is what a log has at an offset. writer -1: not known, or nothing that the ledger counts.
type entry struct {
	writer, number int32
	acked          bool
}

// log is what is known of a partition.
type log struct {
	of        *topic
	partition int32
	writers   []*writer
	base      int64 // the offset of entries[0]; what is below has left the log
	entries   []entry
	checked   int64 // the end at the last check
	trimTo    int64 // the highest offset that DeleteRecords has asked for
	start     int64 // of the log, at the last check
	gone      int64 // records that compaction had removed at the last check
}

func (g *log) String() string { return fmt.Sprintf("%s-%d", g.of.name, g.partition) }

// end is behind the last offset that is known.
func (g *log) end() int64 { return g.base + int64(len(g.entries)) }

// at is what is known of an offset.
func (g *log) at(offset int64) entry {
	if offset < g.base || offset >= g.end() {
		return entry{writer: -1}
	}
	return g.entries[offset-g.base]
}

// put enters a record, and says what is wrong with its being there.
func (g *log) put(offset int64, e entry) string {
	if offset < g.base {
		return fmt.Sprintf("%v: record %d of producer %d is acknowledged with offset %d, and the log begins at %d", g, e.number, e.writer, offset, g.base)
	}
	for offset >= g.end() {
		g.entries = append(g.entries, entry{writer: -1})
	}
	if had := g.entries[offset-g.base]; had.writer >= 0 && (had.writer != e.writer || had.number != e.number) {
		return fmt.Sprintf("%v: offset %d is record %d of producer %d, and was acknowledged as record %d of producer %d", g, offset, e.number, e.writer, had.number, had.writer)
	}
	g.entries[offset-g.base] = e
	return ""
}

// dropBelow forgets what has left the log.
func (g *log) dropBelow(start int64) {
	if n := min(start-g.base, int64(len(g.entries))); n > 0 {
		g.entries = append([]entry(nil), g.entries[n:]...)
	}
	g.base = max(g.base, start)
}

// cut forgets what a power cut has taken, and counts what of it had been acknowledged.
func (g *log) cut(l *Ledger, end int64) (lost int) {
	if end >= g.end() {
		return 0
	}
	from := max(end-g.base, 0)
	for _, e := range g.entries[from:] {
		if e.writer < 0 {
			continue
		}
		l.all[e.writer].fates[e.number] = missing
		if e.acked {
			lost++
		}
	}
	g.entries = g.entries[:from]
	return lost
}
