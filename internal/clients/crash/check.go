package crash

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Setup creates the topics.
func (l *Ledger) Setup(addr string) error {
	for _, t := range l.topics {
		if err := harness.CreateTopic(addr, t.name, int(t.partitions), t.settings...); err != nil {
			return err
		}
	}
	return nil
}

// checkTime is what a check may take, on a machine that is emulated.
const checkTime = 2 * time.Minute

// Check compares what a broker has, that was started after a crash, with the ledger, and returns what is wrong. What was not known
// is known afterwards. whole: from each log's start; otherwise from where the last check ended, but for compacted topics.
func (l *Ledger) Check(addr string, whole bool) []string {
	ctx, cancel := context.WithTimeout(context.Background(), checkTime)
	defer cancel()
	if err := l.check(ctx, addr, whole); err != nil {
		l.finding("the check ended early: %v", err)
	}
	return l.takeFindings()
}

func (l *Ledger) check(ctx context.Context, addr string, whole bool) error {
	if err := l.txns.settle(ctx, addr); err != nil {
		return err
	}
	cl, err := kgo.NewClient(options(addr, kgo.StopProducerOnDataLossDetected())...)
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	if err := l.bounds(ctx, admin); err != nil {
		return err
	}
	fences, err := l.setFences(ctx, cl)
	if err != nil {
		return err
	}
	reads, err := l.readBack(ctx, addr, fences, whole, kgo.ReadUncommitted(), func(g *log) bool { return g.of.name != txnTopic })
	if err != nil {
		return err
	}
	for g, read := range reads {
		l.compare(g, read, fences[g])
	}
	l.settle()
	committed, err := l.readBack(ctx, addr, fences, whole, kgo.ReadCommitted(), func(g *log) bool { return g.of.name == txnTopic })
	if err != nil {
		return err
	}
	l.txns.compare(committed, whole)
	for _, g := range l.logs {
		g.checked = fences[g]
	}
	if err := l.txns.checkOffsets(ctx, admin); err != nil {
		return err
	}
	if err := l.group.check(ctx, admin); err != nil {
		return err
	}
	return l.admin.check(ctx, admin)
}

// bounds holds where the logs begin and end against the ledger.
func (l *Ledger) bounds(ctx context.Context, admin *kadm.Client) error {
	var names []string
	for _, t := range l.topics {
		names = append(names, t.name)
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("listing the logs' ends: %w", err)
	}
	starts, err := admin.ListStartOffsets(ctx, names...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("listing the logs' starts: %w", err)
	}
	for _, g := range l.logs {
		end, ok := ends.Lookup(g.of.name, g.partition)
		start, known := starts.Lookup(g.of.name, g.partition)
		if !ok || !known {
			l.finding("%v: the broker does not have it", g)
			continue
		}
		l.boundsOf(g, start.Offset, end.Offset)
	}
	return nil
}

func (l *Ledger) boundsOf(g *log, start, end int64) {
	known, lost := g.end(), 0
	l.mu.Lock()
	lost = g.cut(l, end)
	mayLose := l.o.Power && !g.of.flushes
	if mayLose {
		l.counts.Lost += int64(lost)
	}
	l.mu.Unlock()
	if lost > 0 && !mayLose {
		l.finding("%v: %d acknowledged records are missing: the log ends at %d, and what was known at %d", g, lost, end, known)
	}
	switch {
	case g.of.cleanup == trims && start > g.trimTo:
		l.finding("%v: the log begins at %d, and DeleteRecords has asked for no more than %d", g, start, g.trimTo)
	case (g.of.cleanup == keeps || g.of.cleanup == compacts) && start != 0:
		l.finding("%v: the log begins at %d, and nothing may leave it", g, start)
	}
	g.start = start
}

// setFences writes a record to the end of each partition, which shows that it can be written to, and is where reading ends.
func (l *Ledger) setFences(ctx context.Context, cl *kgo.Client) (map[*log]int64, error) {
	var records []*kgo.Record
	for _, w := range l.fence {
		l.mu.Lock()
		n := w.next()
		l.mu.Unlock()
		r := &kgo.Record{Topic: w.of.name, Partition: w.log.partition, Value: w.value(n)}
		if w.of.cleanup == compacts {
			r.Key, r.Headers = w.key(n), w.headers(n)
		}
		records = append(records, r)
	}
	fences := map[*log]int64{}
	for i, r := range cl.ProduceSync(ctx, records...) {
		if r.Err != nil {
			return nil, fmt.Errorf("appending to %s-%d: %w", r.Record.Topic, r.Record.Partition, r.Err)
		}
		w := l.fence[i]
		for _, f := range l.fence { // the results are in the order of the answers
			if f.of.name == r.Record.Topic && f.log.partition == r.Record.Partition {
				w = f
			}
		}
		fences[w.log] = r.Record.Offset
		l.acknowledged(w, len(w.fates)-1, r.Record.Offset)
	}
	return fences, nil
}

// readBack reads partitions up to their fences.
func (l *Ledger) readBack(ctx context.Context, addr string, fences map[*log]int64, whole bool, level kgo.IsolationLevel, want func(*log) bool) (map[*log][]*kgo.Record, error) {
	from := map[string]map[int32]kgo.Offset{}
	reads := map[*log][]*kgo.Record{}
	for _, g := range l.logs {
		if !want(g) {
			continue
		}
		if from[g.of.name] == nil {
			from[g.of.name] = map[int32]kgo.Offset{}
		}
		at := max(g.checked-100, g.start)
		if whole || g.of.cleanup == compacts {
			at = g.start
		}
		from[g.of.name][g.partition] = kgo.NewOffset().At(at)
		reads[g] = nil
	}
	cl, err := kgo.NewClient(options(addr, kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(level), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	for left := len(reads); left > 0; {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("reading back: %w", ctx.Err())
		}
		for _, e := range fetches.Errors() {
			return nil, fmt.Errorf("reading back %s-%d: %w", e.Topic, e.Partition, e.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			g := l.logOf[r.Topic][r.Partition]
			reads[g] = append(reads[g], r)
			if r.Offset == fences[g] {
				left--
			}
		})
	}
	return reads, nil
}

// compare holds what was read of a log against what is known of it, and learns from it.
func (l *Ledger) compare(g *log, read []*kgo.Record, fence int64) {
	if len(read) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	first := read[0].Offset
	seen := map[int64]bool{}
	last := map[int32]int32{} // numbers by idempotent writer
	bad := func(format string, args ...any) {
		if len(l.findings) < maxFindings {
			l.findings = append(l.findings, fmt.Sprintf(format, args...))
		}
	}
	for i, r := range read {
		e, why := l.identify(g, r)
		if why == "" {
			seen[r.Offset] = true
			why = l.take(g, r.Offset, e)
		}
		if i > 0 && r.Offset != read[i-1].Offset+1 && g.of.cleanup != compacts {
			bad("%v: offset %d follows offset %d", g, r.Offset, read[i-1].Offset)
		}
		if why != "" {
			bad("%s", why)
			continue
		}
		if n, ok := last[e.writer]; ok && e.number <= n && l.all[e.writer].kind != 'p' {
			bad("%v: record %d of producer %d at offset %d follows its record %d", g, e.number, e.writer, r.Offset, n)
		}
		last[e.writer] = e.number
	}
	if g.of.cleanup == compacts {
		l.lastValues(g, seen, bad)
		return
	}
	missed := 0
	for o := max(first, g.base); o <= fence; o++ {
		if e := g.at(o); e.writer >= 0 && !seen[o] {
			missed++
		}
	}
	if missed > 0 {
		bad("%v: %d records that were there are not", g, missed)
	}
	l.kept(g, first, fence, bad)
}

// identify says whose record it is. A record with other bytes than were sent is nobody's.
func (l *Ledger) identify(g *log, r *kgo.Record) (entry, string) {
	name := r.Value
	for _, h := range r.Headers {
		if h.Key == whose {
			name = h.Value
		}
	}
	var id, n int
	if _, err := fmt.Sscanf(string(name[:min(len(name), 24)]), "%d %d", &id, &n); err != nil || id < 0 || id >= len(l.all) || l.all[id].log != g {
		return entry{}, fmt.Sprintf("%v: offset %d holds what nobody has sent: %.60q", g, r.Offset, r.Value)
	}
	w := l.all[id]
	if n < 0 || n >= len(w.fates) || !bytes.Equal(r.Value, w.value(n)) || g.of.cleanup == compacts && !bytes.Equal(r.Key, w.key(n)) {
		return entry{}, fmt.Sprintf("%v: offset %d is said to be record %d of producer %d, which has sent %d, and it has other bytes", g, r.Offset, n, id, len(w.fates))
	}
	return entry{writer: int32(id), number: int32(n)}, ""
}

// take compares a record with what is known of its offset, or adopts it.
func (l *Ledger) take(g *log, offset int64, e entry) string {
	if offset < g.base {
		return "" // it had left the log, and is back: its going was not durable yet
	}
	if known := g.at(offset); known.writer >= 0 {
		if known.writer != e.writer || known.number != e.number {
			return fmt.Sprintf("%v: offset %d was record %d of producer %d, and is record %d of producer %d", g, offset, known.number, known.writer, e.number, e.writer)
		}
		return ""
	}
	w := l.all[e.writer]
	switch f := w.fates[e.number]; {
	case f == missing:
		return fmt.Sprintf("%v: record %d of producer %d was not there before, and is now, at offset %d", g, e.number, e.writer, offset)
	case f == there && w.kind != 'p':
		return fmt.Sprintf("%v: record %d of producer %d is there twice, again at offset %d", g, e.number, e.writer, offset)
	}
	l.counts.Adopted++
	w.fates[e.number] = there
	e.acked = l.mustStay(g)
	return g.put(offset, e)
}

// mustStay says whether what has been read of a log must be there after the next crash.
func (l *Ledger) mustStay(g *log) bool { return !l.o.Power || g.of.flushes }

// lastValues requires of a compacted topic the last record of each key.
func (l *Ledger) lastValues(g *log, seen map[int64]bool, bad func(string, ...any)) {
	type key struct{ writer, key int32 }
	last := map[key]int64{}
	gone := int64(0)
	for i, e := range g.entries {
		if e.writer < 0 {
			continue
		}
		last[key{e.writer, e.number % keysPerWriter}] = g.base + int64(i)
		if !seen[g.base+int64(i)] {
			gone++
		}
	}
	l.counts.Compacted += gone - g.gone
	g.gone = gone
	for k, offset := range last {
		e := g.at(offset)
		if !seen[offset] && !tombstone(int(e.number)) {
			bad("%v: key %d-%d: its last record, number %d at offset %d, is missing", g, k.writer, k.key, e.number, offset)
		}
	}
}

// kept requires that retention has left as much as it must, and forgets the rest.
func (l *Ledger) kept(g *log, first, fence int64, bad func(string, ...any)) {
	if g.of.cleanup != retains && g.of.cleanup != trims {
		return
	}
	if g.of.cleanup == retains && g.start > 0 {
		bytes := int64(0)
		for o := g.start; o <= fence; o++ {
			bytes += 100 // more than a record's share of what is around it
			if e := g.at(o); e.writer >= 0 {
				bytes += int64(len(l.all[e.writer].value(int(e.number))))
			}
		}
		if bytes < retainedBytes && !l.o.Power { // with the power the newest may go
			bad("%v: offsets %d to %d are less than the %d bytes that retention keeps", g, g.start, fence, retainedBytes)
		}
	}
	g.dropBelow(min(g.start, first))
}

// settle gives up on what was not answered and is not there. An idempotent producer's records are a prefix of what it sent.
func (l *Ledger) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.all {
		hole := -1
		for n := w.unsettled; n < len(w.fates); n++ {
			if w.fates[n] == pending && w.again != nil && len(w.again.open) > 0 && n >= w.again.open[0] {
				break // it will be sent again
			}
			switch {
			case w.fates[n] == pending:
				w.fates[n] = missing
				if hole < 0 {
					hole = n
				}
			case w.fates[n] == there && hole >= 0 && w.kind != 'p' && w.of.cleanup == keeps && w.of.name != txnTopic:
				if len(l.findings) < maxFindings {
					l.findings = append(l.findings, fmt.Sprintf("%v: record %d of producer %d is there, and record %d, sent before it, is not", w.log, n, w.id, hole))
				}
				hole = n
			}
			w.unsettled = n + 1
		}
	}
}
