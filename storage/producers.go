package storage

import (
	"math"

	"slipstream/protocol"
)

// Idempotent producers: what a partition remembers of each, so that a batch sent
// twice is stored once and a missing one is noticed. The rules are Kafka's
// (ProducerAppendInfo, ProducerStateEntry).

// rememberedBatches is how many batches of a producer are known, for duplicates: as many as a producer may have
// in flight.
const rememberedBatches = 5

// batchMeta is a batch of a producer that is in the log.
type batchMeta struct {
	lastOffset  int64
	timestamp   int64 // max timestamp, ms
	lastSeq     int32
	offsetDelta int32
}

func (m *batchMeta) firstOffset() int64 { return m.lastOffset - int64(m.offsetDelta) }
func (m *batchMeta) firstSeq() int32    { return decrementSequence(m.lastSeq, m.offsetDelta) }

// decrementSequence counts back; sequences wrap after 2^31-1 to 0.
func decrementSequence(seq, by int32) int32 {
	if seq >= by {
		return seq - by
	}
	return math.MaxInt32 - (by - seq) + 1
}

// producer is one producer's state.
type producer struct {
	id               int64
	lastTimestamp    int64 // ms
	txnFirstOffset   int64 // of an open transaction, or -1
	coordinatorEpoch int32
	epoch            int16
	count            uint8                        // of batches
	batches          [rememberedBatches]batchMeta // the oldest first
}

func (q *producer) last() *batchMeta { return &q.batches[q.count-1] }

// lastSeq is the last sequence number, or NoSequence.
func (q *producer) lastSeq() int32 {
	if q.count == 0 {
		return protocol.NoSequence
	}
	return q.last().lastSeq
}

// duplicate finds the batch that b repeats.
func (q *producer) duplicate(b protocol.Batch) *batchMeta {
	if b.ProducerEpoch() != q.epoch {
		return nil
	}
	first, last := b.BaseSequence(), b.LastSequence()
	for i := range q.batches[:q.count] {
		if m := &q.batches[i]; m.lastSeq == last && m.firstSeq() == first {
			return m
		}
	}
	return nil
}

// add notes a batch. A new epoch forgets the batches of the old one.
func (q *producer) add(epoch int16, m batchMeta) {
	if epoch != q.epoch {
		q.epoch, q.count = epoch, 0
	}
	if q.count == rememberedBatches {
		copy(q.batches[:], q.batches[1:])
		q.count--
	}
	q.batches[q.count] = m
	q.count++
	q.lastTimestamp = m.timestamp
}

// producers are a partition's, by id. The zero value is ready and empty.
type producers struct {
	byID map[int64]*producer
}

func (ps *producers) get(id int64) *producer { return ps.byID[id] }

func (ps *producers) put(q *producer) {
	if ps.byID == nil {
		ps.byID = make(map[int64]*producer)
	}
	ps.byID[q.id] = q
}

func (ps *producers) len() int { return len(ps.byID) }

// check says whether an idempotent batch may be appended after what q (nil: unknown) has sent: NONE, or
// Kafka's error.
func (q *producer) check(b protocol.Batch) protocol.ErrorCode {
	if q == nil {
		return protocol.NONE // its records may have been deleted: any sequence will do
	}
	epoch, first := b.ProducerEpoch(), b.BaseSequence()
	switch {
	case epoch < q.epoch:
		return protocol.INVALID_PRODUCER_EPOCH
	case epoch != q.epoch && first != 0 && q.epoch != noProducerEpoch:
		return protocol.OUT_OF_ORDER_SEQUENCE_NUMBER
	case epoch == q.epoch && q.epoch != noProducerEpoch && !follows(q.lastSeq(), first):
		return protocol.OUT_OF_ORDER_SEQUENCE_NUMBER
	}
	return protocol.NONE
}

const noProducerEpoch = -1

// follows says whether next is the sequence number after last.
func follows(last, next int32) bool {
	return int64(next) == int64(last)+1 || next == 0 && last == math.MaxInt32
}

// metaOf is what is remembered of a batch once its offset is known.
func metaOf(b protocol.Batch) batchMeta {
	return batchMeta{
		lastOffset: b.LastOffset(), timestamp: b.MaxTimestamp(),
		lastSeq: b.LastSequence(), offsetDelta: b.LastOffsetDelta(),
	}
}

// replay takes a batch found in the log in: no checks, what is in the log was checked. ended says that it is a
// marker.
func (ps *producers) replay(b protocol.Batch) (m protocol.Marker, ended bool) {
	id := b.ProducerID()
	if id < 0 {
		return m, false
	}
	q := ps.get(id)
	if q == nil {
		q = &producer{id: id, epoch: noProducerEpoch, txnFirstOffset: -1, coordinatorEpoch: -1, lastTimestamp: -1}
		ps.put(q)
	}
	if b.IsControl() {
		if m, ended = protocol.ParseMarker(b); ended {
			q.ends(&m, b.MaxTimestamp())
		}
		return m, ended
	}
	q.add(b.ProducerEpoch(), metaOf(b))
	if b.IsTransactional() && q.txnFirstOffset < 0 {
		q.txnFirstOffset = b.BaseOffset()
	}
	return m, false
}

// expire forgets producers that have been silent for too long. The order in which the map is passed
// over shows nowhere.
func (ps *producers) expire(nowMillis, afterMillis int64) {
	for id, q := range ps.byID {
		if q.txnFirstOffset < 0 && nowMillis-q.lastTimestamp >= afterMillis {
			delete(ps.byID, id)
		}
	}
}
