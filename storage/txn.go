package storage

import (
	"math"
	"slices"

	"slipstream/protocol"
)

// Transactions as a partition sees them: a producer's transactional batches, and the control batch (marker) that
// commits or aborts them. What lies below the last stable offset is decided: consumers that read committed
// records only are shown no more than that, and which of it was aborted (txnindex.go).
//
//	first batch           marker               marker is below the high watermark
//	-----+------------------+------------------------+------------->
//	     | holds LastStable back                     | does not any more
//
// As everywhere in a partition, an append changes this when it is given its place and changes it back should the
// write fail. The rules are Kafka's (ProducerAppendInfo, ProducerStateManager, UnifiedLog).

// openTxn is a transaction that holds the last stable offset back.
type openTxn struct {
	producer int64
	first    place // of its first batch; segment is nil until that is written
	marker   int64 // the marker's offset, -1: it has none yet
}

// transactions are a partition's. The zero value has none.
type transactions struct {
	open  []openTxn // by first offset, rising
	ended []int64   // the first offsets of those of open that have a marker, by the marker's offset

	verifying map[int64]verification // by producer id
	aborting  []*segment             // those with aborted transactions, or which may have some, by base offset (txnindex.go)
}

func (t *transactions) find(first int64) int {
	i, found := slices.BinarySearchFunc(t.open, first, func(e openTxn, first int64) int {
		switch {
		case e.first.offset < first:
			return -1
		case e.first.offset > first:
			return 1
		}
		return 0
	})
	if !found {
		return -1
	}
	return i
}

// begin opens a transaction at the log's end.
func (t *transactions) begin(producer, first int64) {
	t.open = append(t.open, openTxn{producer: producer, first: place{offset: first}, marker: -1})
}

// end gives a transaction its marker and returns the last stable offset that the marker's own place would have:
// where the next transaction that is open still began, else behind the marker.
func (t *transactions) end(producer, first, marker int64) (stable int64) {
	if i := t.find(first); i >= 0 {
		t.open[i].marker = marker
		t.ended = append(t.ended, first)
	}
	for i := range t.open {
		if e := &t.open[i]; e.marker < 0 && e.producer != producer {
			return e.first.offset
		}
	}
	return marker + 1
}

// unbegin and unend undo begin and end, the last one first.
func (t *transactions) unbegin(first int64) {
	if i := t.find(first); i >= 0 {
		t.open = slices.Delete(t.open, i, i+1)
	}
}

func (t *transactions) unend(first int64) {
	if i := t.find(first); i >= 0 {
		t.open[i].marker = -1
		t.ended = t.ended[:len(t.ended)-1]
	}
}

// decided forgets those whose markers are below the high watermark.
func (t *transactions) decided(highWatermark int64) {
	n := 0
	for ; n < len(t.ended); n++ {
		i := t.find(t.ended[n])
		if t.open[i].marker >= highWatermark {
			break
		}
		t.open = slices.Delete(t.open, i, i+1)
	}
	t.ended = slices.Delete(t.ended, 0, n)
}

// lastStable is the last stable offset for a high watermark.
func (t *transactions) lastStable(o *Offsets) int64 {
	if len(t.open) == 0 {
		return o.HighWatermark
	}
	return max(min(t.open[0].first.offset, o.HighWatermark), o.LogStart)
}

// stabilize puts LastStable where it belongs after the high watermark or the log's start has moved in o.
func (p *Partition) stabilize(o *Offsets) {
	if len(p.txns.ended) > 0 {
		p.txns.decided(o.HighWatermark)
	}
	o.LastStable = p.txns.lastStable(o)
}

// readable is how far a query may read.
func (p *Partition) readable(q *Query) place {
	if q.Committed && p.offsets.LastStable < p.offsets.HighWatermark && len(p.txns.open) > 0 {
		if at := p.txns.open[0].first; at.offset == p.offsets.LastStable && at.segment != nil {
			return at
		}
	}
	return p.visible
}

// Origin says who made a batch.
type Origin uint8

const (
	// FromClient is a batch of a Produce request: its sequence numbers are checked.
	FromClient Origin = iota
	// FromCoordinator is a batch of a coordinator: a marker, or a group's offsets within a transaction.
	FromCoordinator
)

// checkTransactional says whether a transactional batch may be appended after what its producer (nil: unknown) has
// sent. The first one of a transaction must be one that the coordinator knows of: otherwise nobody would ever end it.
func (p *Partition) checkTransactional(a *Append, q *producer) protocol.ErrorCode {
	b := a.Batch
	if q != nil && q.txnFirstOffset >= 0 && q.epoch == b.ProducerEpoch() {
		return protocol.NONE
	}
	if q != nil && b.ProducerEpoch() < q.epoch {
		return protocol.INVALID_PRODUCER_EPOCH
	}
	if b.IsControl() || p.store.unverified {
		return protocol.NONE
	}
	if v := p.txns.verifying[b.ProducerID()]; a.Verified == 0 || v.guard != a.Verified {
		return protocol.INVALID_TXN_STATE
	}
	return protocol.NONE
}

// checkVerified checks the sequence of a producer whose transaction was verified: while it was, earlier batches of it may
// have been refused, and those that follow must not come in before them.
func (p *Partition) checkVerified(b protocol.Batch, q *producer) protocol.ErrorCode {
	v, ok := p.txns.verifying[b.ProducerID()]
	if !ok {
		return protocol.NONE
	}
	known := q != nil && q.count > 0
	if first := b.BaseSequence(); v.nextEpochs && first != 0 && !known || first > v.lowest {
		return protocol.OUT_OF_ORDER_SEQUENCE_NUMBER
	}
	return protocol.NONE
}

// checkMarker says whether a marker may end what its producer (nil: unknown) has open. From transaction.version 2 on it has
// an epoch of its own, higher than that of the transaction's records: one that comes late cannot end the next transaction. The same
// marker again, where nothing is open any more, does no harm.
func (q *producer) checkMarker(m *protocol.Marker, version int16) protocol.ErrorCode {
	if q == nil {
		return protocol.NONE
	}
	again := m.ProducerEpoch == q.epoch && (q.txnFirstOffset < 0 || m.ProducerEpoch == math.MaxInt16)
	switch {
	case m.ProducerEpoch < q.epoch, version >= 2 && m.ProducerEpoch == q.epoch && !again:
		return protocol.INVALID_PRODUCER_EPOCH
	case q.coordinatorEpoch > m.CoordinatorEpoch:
		return protocol.TRANSACTION_COORDINATOR_FENCED
	}
	return protocol.NONE
}

// ends takes a marker into the producer's state.
func (q *producer) ends(m *protocol.Marker, timestamp int64) {
	if m.ProducerEpoch != q.epoch {
		q.epoch, q.count = m.ProducerEpoch, 0
	}
	q.lastTimestamp, q.txnFirstOffset, q.coordinatorEpoch = timestamp, -1, m.CoordinatorEpoch
}

// noteTransaction notes what an accepted transactional batch begins or ends; q is its producer.
func (p *Partition) noteTransaction(a *Append, q *producer) {
	b := a.Batch
	switch {
	case !b.IsControl() && q.txnFirstOffset < 0:
		q.txnFirstOffset, a.txn = a.BaseOffset, beginsTxn
		p.txns.begin(q.id, a.BaseOffset)
	case b.IsControl():
		if first := q.txnFirstOffset; first >= 0 {
			a.txn, a.txnFirst = endsTxn, first
			stable := p.txns.end(q.id, first, a.BaseOffset)
			if !a.marker.Commit {
				a.txn, a.aborted = abortsTxn, abortedTxn{q.id, first, a.BaseOffset, stable}
			}
		}
		q.ends(&a.marker, b.MaxTimestamp())
	}
	if v, ok := p.txns.verifying[q.id]; ok && !(v.nextEpochs && b.IsControl() && b.ProducerEpoch() == v.epoch) {
		delete(p.txns.verifying, q.id) // but not the next transaction's, which may have overtaken the marker
	}
}

// forgetTransaction undoes noteTransaction.
func (p *Partition) forgetTransaction(a *Append) {
	switch a.txn {
	case beginsTxn:
		p.txns.unbegin(a.BaseOffset)
	case endsTxn, abortsTxn:
		p.txns.unend(a.txnFirst)
	}
	a.txn = noTxn
}

// wroteTransaction enters what a written batch has begun or ended at a place.
func (p *Partition) wroteTransaction(a *Append, at place) {
	switch a.txn {
	case beginsTxn:
		if i := p.txns.find(a.BaseOffset); i >= 0 {
			p.txns.open[i].first = at
		}
	case abortsTxn:
		p.abortedIn(at.segment, a.aborted)
	}
}

// txnChange is what an append does to its producer's transaction.
type txnChange uint8

const (
	noTxn txnChange = iota
	beginsTxn
	endsTxn
	abortsTxn
)
