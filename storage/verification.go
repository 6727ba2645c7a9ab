package storage

import "slipstream/protocol"

// Verification (KIP-890): before the first batch of a transaction is appended, its coordinator is asked whether it
// knows the partition to be in it (or, from transaction.version 2 on, to add it). A batch that arrives after its transaction
// has ended is refused so, instead of beginning one that nobody ends.
//
//	guard, code := p.Verify(...)     NONE and 0: the transaction is ongoing here, append at once
//	ask the coordinator              refused: answer that
//	a.Verified = guard; p.Append(a)  refused with INVALID_TXN_STATE if the transaction has ended meanwhile
type verification struct {
	guard      uint64
	sinceNanos int64 // core.Wall
	lowest     int32 // sequence number that has asked to be verified
	epoch      int16
	nextEpochs bool // the client goes by transaction.version 2: each transaction has an epoch of its own
}

// Verify begins the verification of a producer's transaction, for a batch with this first sequence number (NoSequence:
// it has none). nextEpochs says that the client goes by transaction.version 2. The guard goes into the append; 0:
// none is needed.
func (p *Partition) Verify(producerID int64, epoch int16, sequence int32, nextEpochs bool) (guard uint64, code protocol.ErrorCode) {
	if p.store == nil || p.closed {
		return 0, protocol.NOT_LEADER_OR_FOLLOWER
	}
	q := p.producers.get(producerID)
	switch {
	case q != nil && epoch < q.epoch:
		return 0, protocol.INVALID_PRODUCER_EPOCH
	case q != nil && epoch == q.epoch && q.txnFirstOffset >= 0 || p.store.unverified && !nextEpochs:
		return 0, protocol.NONE
	}
	v, ok := p.txns.verifying[producerID]
	if !ok {
		p.store.guards++
		v = verification{guard: p.store.guards, sinceNanos: p.store.core.Wall, lowest: sequence, epoch: epoch, nextEpochs: nextEpochs}
		if p.txns.verifying == nil {
			p.txns.verifying = map[int64]verification{}
		}
	}
	switch {
	case epoch == v.epoch:
		v.lowest = min(v.lowest, sequence)
	case epoch > v.epoch:
		v.epoch, v.lowest = epoch, sequence
	}
	p.txns.verifying[producerID] = v
	return v.guard, protocol.NONE
}

// SetVerification is transaction.partition.verification.enable; it is on unless set otherwise. Clients that go by
// transaction.version 2 do not add their partitions themselves: theirs are verified in any case.
func (s *Store) SetVerification(on bool) { s.unverified = !on }

// expireVerifications forgets those that nobody has come back from. The order in which the map is passed over
// shows nowhere.
func (t *transactions) expireVerifications(nowNanos, afterMillis int64) {
	for id, v := range t.verifying {
		if nowNanos/1e6-v.sinceNanos/1e6 >= afterMillis {
			delete(t.verifying, id)
		}
	}
}
