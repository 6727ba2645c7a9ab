package storage

import "slices"

// ProducerState is what DescribeProducers tells of a producer.
type ProducerState struct {
	ID               int64
	Epoch            int16
	LastSequence     int32 // protocol.NoSequence: none
	LastTimestamp    int64 // ms, of its last batch or marker
	CoordinatorEpoch int32 // of the last marker, -1: none
	TxnFirstOffset   int64 // of its open transaction, -1: none
}

// ActiveProducers appends the producers that the partition remembers to dst, by id. It takes time for all of them, a
// few microseconds for a hundred.
func (p *Partition) ActiveProducers(dst []ProducerState) []ProducerState {
	from := len(dst)
	for _, q := range p.producers.byID {
		dst = append(dst, ProducerState{q.id, q.epoch, q.lastSeq(), q.lastTimestamp, q.coordinatorEpoch, q.txnFirstOffset})
	}
	slices.SortFunc(dst[from:], func(a, b ProducerState) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return dst
}

// OpenTransactions is the number of transactions that hold LastStable back.
func (p *Partition) OpenTransactions() int { return len(p.txns.open) }

// OldestTransaction is the transaction that holds LastStable back: its producer, where it began, and when that producer
// last wrote here (ms). One that is older than any timeout is hanging: its coordinator does not know it. ok is false if there is none.
func (p *Partition) OldestTransaction() (producerID, firstOffset, lastTimestamp int64, ok bool) {
	for i := range p.txns.open {
		e := &p.txns.open[i]
		if e.marker >= 0 {
			continue
		}
		if q := p.producers.get(e.producer); q != nil {
			return e.producer, e.first.offset, q.lastTimestamp, true
		}
	}
	return -1, -1, -1, false
}
