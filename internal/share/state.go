package share

import "math"

// RecordState is what has become of a record, by Kafka's numbers.
type RecordState int8

// The states.
const (
	Available    RecordState = 0 // may be acquired
	Acquired     RecordState = 1 // is with a member; never in the log, where it is still what it was before
	Acknowledged RecordState = 2 // was accepted
	Archived     RecordState = 4 // was rejected, is a gap, or was delivered too often
)

// terminal: the record will not be delivered any more.
func (s RecordState) terminal() bool { return s == Acknowledged || s == Archived }

// String is Kafka's name of the state.
func (s RecordState) String() string {
	switch s {
	case Available:
		return "AVAILABLE"
	case Acquired:
		return "ACQUIRED"
	case Acknowledged:
		return "ACKNOWLEDGED"
	case Archived:
		return "ARCHIVED"
	}
	return "UNKNOWN"
}

// StateBatch is a stretch of records, First to Last, in one state.
type StateBatch struct {
	First, Last   int64
	State         RecordState
	DeliveryCount int16
}

// follows: b goes on where a ends and says the same, so that they are one.
func (a StateBatch) follows(b StateBatch) bool {
	return b.First == a.Last+1 && a.State == b.State && a.DeliveryCount == b.DeliveryCount
}

// combine puts newer batches over older ones and forgets what is below start. Both
// lists are in order and without overlaps, and so is what comes of them; neither is
// changed.
func combine(older, newer []StateBatch, start int64) []StateBatch {
	out := make([]StateBatch, 0, len(older)+len(newer))
	add := func(b StateBatch) {
		b.First = max(b.First, start)
		if b.First > b.Last {
			return
		}
		if n := len(out); n > 0 && out[n-1].follows(b) {
			out[n-1].Last = b.Last
			return
		}
		out = append(out, b)
	}
	rest := StateBatch{Last: -1} // what newer ones have left of an older one
	more := func() bool {
		if rest.First > rest.Last && len(older) > 0 {
			rest, older = older[0], older[1:]
		}
		return rest.First <= rest.Last
	}
	for _, n := range newer {
		for more() && rest.First < n.First {
			before := rest
			before.Last = min(rest.Last, n.First-1)
			rest.First = before.Last + 1
			add(before)
		}
		for more() && rest.First <= n.Last {
			rest.First = min(rest.Last, n.Last) + 1
		}
		add(n)
	}
	for more() {
		add(rest)
		rest.First = rest.Last + 1
	}
	return out
}

// ordered says whether batches are in order, without overlaps, and in states that
// can be kept.
func ordered(batches []StateBatch) bool {
	for i, b := range batches {
		if !b.after(batches[:i]) {
			return false
		}
	}
	return true
}

// after: b is a batch that can be kept, and may come behind those. One up to the last of all
// offsets cannot: there is none for a window to end at.
func (b StateBatch) after(those []StateBatch) bool {
	end := int64(-1)
	if n := len(those); n > 0 {
		end = those[n-1].Last
	}
	return b.First > end && b.Last >= b.First && b.Last < math.MaxInt64 && (b.State == Available || b.State.terminal()) && b.DeliveryCount >= 0
}

// orderly leaves out what a log should not have, so that the rest is ordered.
func orderly(batches []StateBatch) []StateBatch {
	if ordered(batches) {
		return batches
	}
	out := make([]StateBatch, 0, len(batches))
	for _, b := range batches {
		if b.after(out) {
			out = append(out, b)
		}
	}
	return out
}
