package guarantees

import (
	"fmt"
	"slices"
)

// Transactions is what clients have seen of the transactions of a cluster.
type Transactions struct {
	records map[string]*Transaction // by record id
	all     []*Transaction
	logs    map[Partition]*stable
}

// Transaction is one transaction of a producer.
type Transaction struct {
	name     string
	begun    int64 // nanoseconds, before its first request was sent
	timeout  int64 // nanoseconds
	ids      []string
	where    map[string]Partition
	acked    map[string]int64 // offsets by record id
	fate     fate
	attempts int  // to end it
	ended    bool // nobody can end it any more but who has been asked to already
}

// fate is what may become of a transaction.
type fate int8

const (
	open    fate = iota // nobody has been asked to commit it: it is not, and will not be without
	unknown             // it was asked for and not answered
	committed
	aborted
)

func (f fate) String() string {
	return [...]string{"open", "of unknown outcome", "committed", "aborted"}[f]
}

// stable is what is known of a partition's last stable offset.
type stable struct {
	offset int64
	since  int64 // nanoseconds, since when it stands still below the high watermark; -1: it does not
}

// NewTransactions knows of none.
func NewTransactions() *Transactions {
	return &Transactions{records: map[string]*Transaction{}, logs: map[Partition]*stable{}}
}

// Begin is before the first request of a transaction is sent, at nowNanos.
func (ts *Transactions) Begin(name string, nowNanos, timeoutNanos int64) *Transaction {
	t := &Transaction{name: name, begun: nowNanos, timeout: timeoutNanos, where: map[string]Partition{}, acked: map[string]int64{}}
	ts.all = append(ts.all, t)
	return t
}

// Writes: a record is about to be sent. Its id occurs nowhere else.
func (ts *Transactions) Writes(t *Transaction, p Partition, id string) {
	if _, again := t.where[id]; !again {
		t.ids = append(t.ids, id)
	}
	t.where[id] = p
	ts.records[id] = t
}

// Wrote: the record was acknowledged at an offset.
func (ts *Transactions) Wrote(t *Transaction, id string, offset int64) error {
	if before, ok := t.acked[id]; ok && before != offset {
		return fmt.Errorf("transaction %s: record %s was acknowledged at offset %d and at %d", t.name, id, before, offset)
	}
	t.acked[id] = offset
	return nil
}

// Ending: the transaction's end is about to be asked for.
func (t *Transaction) Ending(commit bool) {
	t.ended = true
	t.attempts++
	switch {
	case commit && t.fate == open:
		t.fate = unknown
	case !commit && t.fate == open:
		t.fate = aborted
	}
}

// Ended: the end that was asked for is answered as done.
func (t *Transaction) Ended(commit bool) error {
	switch {
	case commit && t.fate == aborted, !commit && t.fate == committed:
		return fmt.Errorf("transaction %s is %v and its end, commit %v, was accepted", t.name, t.fate, commit)
	case commit:
		t.fate = committed
	default:
		t.fate = aborted
	}
	return nil
}

// Refused: its end was asked for and refused for good. If that was the only time,
// it is aborted, or will be.
func (t *Transaction) Refused() {
	if t.fate == unknown && t.attempts == 1 {
		t.fate = aborted
	}
}

// GivenUp: from now on somebody else may end the transaction, by aborting it:
// another producer with its id is about to start, or its own is to ask for a new
// epoch.
func (t *Transaction) GivenUp() { t.ended = true }

// mustBeOpen: at nowNanos nobody can have ended the transaction yet.
func (t *Transaction) mustBeOpen(nowNanos int64) bool {
	return !t.ended && nowNanos < t.begun+t.timeout
}

// Visible: a read_committed consumer was given a record.
func (ts *Transactions) Visible(p Partition, offset int64, id string) error {
	t := ts.records[id]
	if t == nil {
		return fmt.Errorf("%s-%d: offset %d holds %q, which nobody wrote", p.Topic, p.Number, offset, id)
	}
	if t.fate == open || t.fate == aborted {
		return fmt.Errorf("%s-%d: record %s at offset %d can be read, its transaction %s is %v", p.Topic, p.Number, id, offset, t.name, t.fate)
	}
	if at, ok := t.acked[id]; ok && at != offset {
		return fmt.Errorf("%s-%d: record %s is at offset %d, it was acknowledged at %d", p.Topic, p.Number, id, offset, at)
	}
	if t.where[id] != p {
		return fmt.Errorf("%s-%d: record %s at offset %d was written to %v", p.Topic, p.Number, id, offset, t.where[id])
	}
	return nil
}

// Stable: at nowNanos an answer told the last stable offset and the high watermark
// of a partition; the question was sent when floor was StableFloor. The offset does
// not pass an open transaction, does not go back, and does not stand still for
// longer than the longest transaction may last, with limitNanos beside.
func (ts *Transactions) Stable(p Partition, nowNanos, lastStable, highWatermark, floor, limitNanos int64) error {
	if lastStable > highWatermark {
		return fmt.Errorf("%s-%d: the last stable offset %d is above the high watermark %d", p.Topic, p.Number, lastStable, highWatermark)
	}
	if lastStable < floor {
		return fmt.Errorf("%s-%d: the last stable offset is told as %d, it was %d", p.Topic, p.Number, lastStable, floor)
	}
	for _, t := range ts.all {
		if t.fate != open || !t.mustBeOpen(nowNanos) {
			continue
		}
		for _, id := range t.ids {
			if at, ok := t.acked[id]; ok && t.where[id] == p && at < lastStable {
				return fmt.Errorf("%s-%d: the last stable offset %d has passed record %s at %d of the open transaction %s", p.Topic, p.Number, lastStable, id, at, t.name)
			}
		}
	}
	s := ts.logs[p]
	if s == nil {
		s = &stable{offset: -1, since: -1}
		ts.logs[p] = s
	}
	if lastStable < s.offset {
		return nil // an answer that was overtaken by another
	}
	switch {
	case lastStable == highWatermark:
		s.since = -1
	case s.since < 0 || lastStable > s.offset:
		s.since = nowNanos
	case nowNanos-s.since > limitNanos:
		return fmt.Errorf("%s-%d: the last stable offset stands at %d for %d ms, with the high watermark at %d: a transaction outlives its timeout",
			p.Topic, p.Number, lastStable, (nowNanos-s.since)/1e6, highWatermark)
	}
	s.offset = lastStable
	return nil
}

// StableFloor is what is known of a partition's last stable offset, 0 if nothing is.
func (ts *Transactions) StableFloor(p Partition) int64 {
	if s := ts.logs[p]; s != nil {
		return max(s.offset, 0)
	}
	return 0
}

// Stopped: the broker was down; what stood still starts to count anew.
func (ts *Transactions) Stopped() {
	for _, s := range ts.logs {
		s.since = -1
	}
}

// Complete: these are all records that read_committed consumers are given, by
// partition and in order, when no transaction is open any more. Each committed
// record is there once, none of another is, a transaction is there whole or not at
// all, and what one producer has written to a partition is in its order.
func (ts *Transactions) Complete(logs map[Partition][]string) error {
	seen := map[string]bool{}
	for p, ids := range logs {
		place := map[*Transaction]int{}
		for _, id := range ids {
			if seen[id] {
				return fmt.Errorf("%s-%d: record %s can be read twice", p.Topic, p.Number, id)
			}
			seen[id] = true
			t := ts.records[id]
			if t == nil || t.where[id] != p {
				return fmt.Errorf("%s-%d: record %s was not written there", p.Topic, p.Number, id)
			}
			at := slices.Index(t.ids, id)
			if before, ok := place[t]; ok && at < before {
				return fmt.Errorf("%s-%d: record %s comes after %s, which was written later", p.Topic, p.Number, id, t.ids[before])
			}
			place[t] = at
		}
	}
	for _, t := range ts.all {
		if err := t.whole(seen); err != nil {
			return err
		}
	}
	return nil
}

// whole: of a transaction either everything that was acknowledged can be read, or
// nothing at all.
func (t *Transaction) whole(seen map[string]bool) error {
	read, missing, missed := 0, 0, ""
	for _, id := range t.ids {
		if seen[id] {
			read++
		} else if _, ok := t.acked[id]; ok {
			missing++
			missed = id
		}
	}
	switch {
	case read > 0 && (t.fate == aborted || t.fate == open):
		return fmt.Errorf("transaction %s is %v and %d of its records can be read", t.name, t.fate, read)
	case missing > 0 && t.fate == committed:
		return fmt.Errorf("transaction %s is committed and %d of its records cannot be read: %s", t.name, missing, missed)
	case missing > 0 && read > 0:
		return fmt.Errorf("transaction %s is torn: %d of its records can be read, %d cannot: %s", t.name, read, missing, missed)
	}
	return nil
}

// Counts is how many transactions there were, by what is known of them.
func (ts *Transactions) Counts() (committedCount, abortedCount, unknownCount int) {
	for _, t := range ts.all {
		switch t.fate {
		case committed:
			committedCount++
		case unknown:
			unknownCount++
		default:
			abortedCount++
		}
	}
	return
}
