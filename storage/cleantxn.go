package storage

import (
	"slices"

	"slipstream/protocol"
)

// cleanedTransactions follows the transactions in a log that a cleaner passes over: which batches belong to aborted ones,
// and which markers nothing is left of. The rules are Kafka's (CleanedTransactionMetadata).
type cleanedTransactions struct {
	aborted   []abortedTxn // that are still to come, by first offset
	aborting  map[int64]*abortingTxn
	committed map[int64]bool // producers with batches of a transaction that no marker has ended yet
	index     *[]abortedTxn  // where those go whose markers stay; nil: nowhere
}

type abortingTxn struct {
	txn  abortedTxn
	seen bool // a batch of it was passed
}

func newCleanedTransactions() cleanedTransactions {
	return cleanedTransactions{aborting: map[int64]*abortingTxn{}, committed: map[int64]bool{}}
}

// expect adds aborted transactions that lie ahead, or partly behind.
func (t *cleanedTransactions) expect(list []abortedTxn) {
	t.aborted = append(t.aborted, list...)
	slices.SortFunc(t.aborted, func(a, b abortedTxn) int {
		switch {
		case a.first != b.first:
			return int(max(min(a.first-b.first, 1), -1))
		default:
			return int(max(min(a.last-b.last, 1), -1))
		}
	})
}

// begun takes those in that have begun at or before an offset.
func (t *cleanedTransactions) begun(offset int64) {
	n := 0
	for ; n < len(t.aborted) && t.aborted[n].first <= offset; n++ {
		if e := t.aborted[n]; t.aborting[e.producer] == nil {
			t.aborting[e.producer] = &abortingTxn{txn: e}
		}
	}
	t.aborted = t.aborted[n:]
}

// batch passes a batch of records. It is to be discarded if its transaction was aborted.
func (t *cleanedTransactions) batch(b protocol.Batch) (discard bool) {
	t.begun(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	if a := t.aborting[b.ProducerID()]; a != nil {
		a.seen = true
		return true
	}
	t.committed[b.ProducerID()] = true
	return false
}

// control passes a control batch. It may be discarded, once its delete horizon has come, if nothing of its transaction is left
// before it.
func (t *cleanedTransactions) control(b protocol.Batch) (discard bool) {
	t.begun(b.LastOffset())
	if b.Count() == 0 {
		return true // it was cleaned before
	}
	m, ok := protocol.ParseMarker(b)
	switch {
	case !ok:
		return false
	case m.Commit:
		left := t.committed[m.ProducerID]
		delete(t.committed, m.ProducerID)
		return !left
	}
	a := t.aborting[m.ProducerID]
	delete(t.aborting, m.ProducerID)
	if a == nil || !a.seen {
		return true
	}
	if t.index != nil {
		*t.index = append(*t.index, a.txn)
	}
	return false
}
