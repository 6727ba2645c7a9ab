package storage

import (
	"slipstream/protocol"
	"slipstream/reactor"
)

// Append is one batch on its way into a log. It is embedded in what waits for the answer; appending does
// not allocate. Batch and Owner are the caller's to set, the rest is for reading in Appended.
type Append struct {
	// Batch must be valid (protocol.CheckProduced and CheckRecords), outside the Go heap, and stay where it is
	// until Appended: it is stamped in place and written from there.
	Batch protocol.Batch
	// At is where in receive memory the batch lies, if it may be relayed from there: the block belongs to the
	// partition's core and stays until Appended. Else it is zero.
	At    reactor.Piece
	Owner AppendOwner
	// Origin says whose batch it is; only a coordinator's may be a marker.
	Origin Origin
	// Verified is the guard of a transactional batch's verification, see Partition.Verify.
	Verified uint64
	// TransactionVersion is, of a marker, the transaction.version of its transaction.
	TransactionVersion int16

	// Err is NONE, or why the batch was refused. Message would say more; Kafka sends none with any of these.
	Err     protocol.ErrorCode
	Message string
	// BaseOffset is the offset of the batch's first record; of the original's, if the batch is a duplicate.
	BaseOffset int64
	// LogAppendTime is the time (ms) that the log stamped on the batch, -1 if it does not.
	LogAppendTime int64
	LogStart      int64
	// Written is when the batch was in the page cache, on the clock of [reactor.Core.Clock]: from then on it
	// waited for an fsync, if at all. 0 if it was refused.
	Written int64
	// WriteNanos is the batch's share, by its bytes, of the time that the core spent writing it: 0 if a worker did.
	WriteNanos int64

	next, prev *Append
	end        int64 // the offset after the batch (after the original, if it is a duplicate)
	endPlace   place // of end, once written
	duplicate  bool
	mustSync   bool // the log's settings say that this one waits for an fsync
	remembered *producer
	before     producer // what remembered was
	wasKnown   bool     // it was in the map before
	txn        txnChange
	marker     protocol.Marker // if it is one
	txnFirst   int64           // where the transaction began that it ends
	aborted    abortedTxn
}

// AppendOwner is told, once, on the partition's core, that the append was written (and synced, if
// the topic says so) or refused. A refusal may come before Append has returned.
type AppendOwner interface{ Appended(a *Append) }

// appendList is a queue of appends that can also be walked backwards.
type appendList struct{ head, tail *Append }

func (l *appendList) empty() bool { return l.head == nil }

func (l *appendList) push(a *Append) {
	a.prev, a.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = a
	} else {
		l.head = a
	}
	l.tail = a
}

func (l *appendList) pop() *Append {
	a := l.head
	l.head = a.next
	if l.head != nil {
		l.head.prev = nil
	} else {
		l.tail = nil
	}
	a.next, a.prev = nil, nil
	return a
}

// take moves all of m behind l.
func (l *appendList) take(m *appendList) {
	if m.head == nil {
		return
	}
	if l.tail == nil {
		*l = *m
	} else {
		l.tail.next, m.head.prev = m.head, l.tail
		l.tail = m.tail
	}
	*m = appendList{}
}

// Append gives a batch its place in the log: checks size and producer, stamps base offset and leader
// epoch, and queues it for the turn's write. The answer comes through a.Owner.
func (p *Partition) Append(a *Append) {
	a.Err, a.Message = protocol.NONE, ""
	a.BaseOffset, a.LogAppendTime, a.LogStart = -1, -1, p.offsets.LogStart
	a.duplicate, a.mustSync, a.remembered, a.txn = false, false, nil, noTxn
	if code := p.refuses(a.Batch); code != protocol.NONE {
		a.refuse(code)
		return
	}
	if id := a.Batch.ProducerID(); id >= 0 {
		q := p.producers.get(id)
		if q != nil && a.Origin == FromClient {
			if m := q.duplicate(a.Batch); m != nil {
				p.repeat(a, m)
				return
			}
		}
		if code := p.checkProducer(a, q); code != protocol.NONE {
			a.refuse(code)
			return
		}
	}
	p.accept(a)
}

// checkProducer says whether a batch may be appended after what its producer (nil: unknown) has sent.
func (p *Partition) checkProducer(a *Append, q *producer) protocol.ErrorCode {
	b := a.Batch
	if b.IsTransactional() {
		if code := p.checkTransactional(a, q); code != protocol.NONE {
			return code
		}
	}
	if b.IsControl() {
		var ok bool
		if a.marker, ok = protocol.ParseMarker(b); !ok || a.Origin != FromCoordinator {
			return protocol.INVALID_RECORD
		}
		return q.checkMarker(&a.marker, a.TransactionVersion)
	}
	if q != nil && b.ProducerEpoch() < q.epoch {
		return protocol.INVALID_PRODUCER_EPOCH
	}
	if a.Origin == FromClient {
		if code := p.checkVerified(b, q); code != protocol.NONE {
			return code
		}
		if code := q.check(b); code != protocol.NONE {
			return code
		}
	}
	if q != nil && q.txnFirstOffset >= 0 && !b.IsTransactional() {
		return protocol.INVALID_TXN_STATE
	}
	return protocol.NONE
}

// refuses checks what does not depend on the producer.
func (p *Partition) refuses(b protocol.Batch) protocol.ErrorCode {
	switch {
	case p.store == nil || p.closed:
		return protocol.NOT_LEADER_OR_FOLLOWER
	case p.trouble == unsyncable:
		return protocol.KAFKA_STORAGE_ERROR
	case len(b) < protocol.HeaderBytes || b.LastOffsetDelta() < 0:
		return protocol.CORRUPT_MESSAGE
	case int64(len(b)) > int64(p.config.MaxMessageBytes):
		return protocol.MESSAGE_TOO_LARGE
	case int64(len(b)) > int64(p.config.SegmentBytes):
		return protocol.RECORD_LIST_TOO_LARGE
	}
	return protocol.NONE
}

func (a *Append) refuse(code protocol.ErrorCode) {
	a.Err = code
	a.Owner.Appended(a)
}

// accept stamps a batch and queues it.
func (p *Partition) accept(a *Append) {
	b := a.Batch
	a.BaseOffset = p.next
	b.SetBaseOffset(p.next)
	b.SetLeaderEpoch(p.epoch)
	if p.config.TimestampType == protocol.LogAppendTime && b.TimestampType() != protocol.LogAppendTime {
		b.SetTimestamps(protocol.LogAppendTime, p.store.core.Wall/1e6)
	}
	if b.TimestampType() == protocol.LogAppendTime {
		a.LogAppendTime = b.MaxTimestamp()
	}
	p.next = b.NextOffset()
	a.end = p.next
	if b.ProducerID() >= 0 {
		p.remember(a)
	}
	p.writing.queued.push(a)
	p.store.markDirty(p)
}

// repeat answers a duplicate with the original's offset: at once if the original has been answered, else behind it.
func (p *Partition) repeat(a *Append, m *batchMeta) {
	a.duplicate = true
	a.BaseOffset, a.LogAppendTime = m.firstOffset(), m.timestamp
	a.end = m.lastOffset + 1
	switch {
	case a.end <= p.answered():
		a.Owner.Appended(a)
	case a.end <= p.offsets.LogEnd:
		p.syncing.waiting.push(a)
	default:
		p.writing.queued.push(a)
		p.store.markDirty(p)
	}
}

// answered is the offset below which every append has been answered.
func (p *Partition) answered() int64 {
	if first := p.syncing.waiting.head; first != nil {
		return min(p.offsets.LogEnd, first.BaseOffset)
	}
	return p.offsets.LogEnd
}

// remember notes the batch with its producer, and in the append what to go back to should
// the write fail.
func (p *Partition) remember(a *Append) {
	b := a.Batch
	q := p.producers.get(b.ProducerID())
	a.wasKnown = q != nil
	if q == nil {
		q = &producer{id: b.ProducerID(), epoch: noProducerEpoch, txnFirstOffset: -1, coordinatorEpoch: -1, lastTimestamp: -1}
		p.producers.put(q)
	}
	a.remembered, a.before = q, *q
	if !b.IsControl() {
		q.add(b.ProducerEpoch(), metaOf(b))
	}
	if b.IsTransactional() {
		p.noteTransaction(a, q)
	}
}

// forget undoes remember. Appends are forgotten last first.
func (p *Partition) forget(a *Append) {
	if a.remembered == nil {
		return
	}
	p.forgetTransaction(a)
	*a.remembered = a.before
	if b := a.Batch; !a.wasKnown {
		if b.BaseSequence() == 0 && !b.IsControl() {
			// The producer's first batch: one that it has sent behind this one, and that comes now, is not to be the first
			// instead, for this one would be out of order then for good. An epoch without batches begins with 0.
			a.remembered.epoch, a.remembered.lastTimestamp = b.ProducerEpoch(), b.MaxTimestamp()
		} else {
			delete(p.producers.byID, a.remembered.id)
		}
	}
	a.remembered = nil
}
