package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"slipstream/protocol"
)

// A .snapshot file holds the producers as they were when the log ended at the offset that the file is
// named by. Version 1, big-endian:
//
//	0         2       6         10
//	+---------+-------+---------+----------------
//	| version | CRC   | count   | count x entry
//	| 1 int16 | int32 | int32   |
//	+---------+-------+---------+----------------
//
//	0             8       10              14            22             26
//	+-------------+-------+---------------+-------------+--------------+
//	| producer id | epoch | last sequence | last offset | offset delta |
//	| int64       | int16 | int32         | int64       | int32        |
//	+-------------+-------+---------------+-------------+--------------+
//	26            34                  38                         46
//	+-------------+-------------------+--------------------------+
//	| timestamp   | coordinator epoch | first offset of an open  |
//	| int64, ms   | int32             | transaction int64, or -1 |
//	+-------------+-------------------+--------------------------+
//
// CRC is CRC-32C from the count to the end. Kafka writes one entry for a producer: its last batch, and after a
// restart refuses any earlier one that is sent again as out of order, upon which clients begin a new epoch and
// the batch is stored twice. Here a producer has an entry for each batch that is remembered, the oldest first.
// Kafka reads that as it is meant: of several entries the last one counts.
const (
	snapshotHeadBytes  = 10
	snapshotEntryBytes = 46
	snapshotVersion    = 1
	snapshotCRCFrom    = 6
)

// encode writes the producers in the order of their ids, which is Kafka's for small ids.
func (ps *producers) encode() []byte {
	ids := make([]int64, 0, len(ps.byID))
	for id := range ps.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	entries := 0
	for _, id := range ids {
		entries += max(int(ps.byID[id].count), 1)
	}
	b := make([]byte, snapshotHeadBytes, snapshotHeadBytes+entries*snapshotEntryBytes)
	binary.BigEndian.PutUint16(b, snapshotVersion)
	binary.BigEndian.PutUint32(b[6:], uint32(entries))
	for _, id := range ids {
		b = ps.byID[id].appendTo(b)
	}
	binary.BigEndian.PutUint32(b[2:], protocol.CRC32C(b[snapshotCRCFrom:]))
	return b
}

func (q *producer) appendTo(b []byte) []byte {
	if q.count == 0 {
		return q.appendEntry(b, &batchMeta{lastOffset: -1, lastSeq: protocol.NoSequence}, q.lastTimestamp)
	}
	last := int(q.count) - 1
	for i := range q.batches[:last] {
		b = q.appendEntry(b, &q.batches[i], q.batches[i].timestamp)
	}
	return q.appendEntry(b, &q.batches[last], q.lastTimestamp)
}

func (q *producer) appendEntry(b []byte, m *batchMeta, timestamp int64) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(q.id))
	b = binary.BigEndian.AppendUint16(b, uint16(q.epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(m.lastSeq))
	b = binary.BigEndian.AppendUint64(b, uint64(m.lastOffset))
	b = binary.BigEndian.AppendUint32(b, uint32(m.offsetDelta))
	b = binary.BigEndian.AppendUint64(b, uint64(timestamp))
	b = binary.BigEndian.AppendUint32(b, uint32(q.coordinatorEpoch))
	return binary.BigEndian.AppendUint64(b, uint64(q.txnFirstOffset))
}

var errSnapshot = errors.New("a producer snapshot is damaged")

// decodeProducers reads a snapshot.
func decodeProducers(b []byte) (producers, error) {
	var ps producers
	if len(b) < snapshotHeadBytes {
		return ps, fmt.Errorf("%w: %d bytes", errSnapshot, len(b))
	}
	if v := binary.BigEndian.Uint16(b); v != snapshotVersion {
		return ps, fmt.Errorf("%w: version %d", errSnapshot, v)
	}
	if binary.BigEndian.Uint32(b[2:]) != protocol.CRC32C(b[snapshotCRCFrom:]) {
		return ps, fmt.Errorf("%w: its CRC is wrong", errSnapshot)
	}
	n := int64(int32(binary.BigEndian.Uint32(b[6:])))
	if n < 0 || n*snapshotEntryBytes != int64(len(b)-snapshotHeadBytes) {
		return ps, fmt.Errorf("%w: %d producers in %d bytes", errSnapshot, n, len(b))
	}
	for e := b[snapshotHeadBytes:]; len(e) > 0; e = e[snapshotEntryBytes:] {
		q := decodeProducer(e)
		if earlier := ps.get(q.id); earlier != nil && earlier.epoch == q.epoch {
			q.continues(earlier)
		}
		ps.put(q)
	}
	return ps, nil
}

// continues puts the batches of an earlier entry of the same producer before q's own.
func (q *producer) continues(earlier *producer) {
	own := q.batches[:q.count]
	all := append(append([]batchMeta(nil), earlier.batches[:earlier.count]...), own...)
	all = all[max(0, len(all)-rememberedBatches):]
	q.count = uint8(copy(q.batches[:], all))
}

func decodeProducer(e []byte) *producer {
	q := &producer{
		id:               int64(binary.BigEndian.Uint64(e)),
		epoch:            int16(binary.BigEndian.Uint16(e[8:])),
		lastTimestamp:    int64(binary.BigEndian.Uint64(e[26:])),
		coordinatorEpoch: int32(binary.BigEndian.Uint32(e[34:])),
		txnFirstOffset:   int64(binary.BigEndian.Uint64(e[38:])),
	}
	m := batchMeta{
		lastSeq:     int32(binary.BigEndian.Uint32(e[10:])),
		lastOffset:  int64(binary.BigEndian.Uint64(e[14:])),
		offsetDelta: int32(binary.BigEndian.Uint32(e[22:])),
		timestamp:   q.lastTimestamp,
	}
	if m.lastOffset >= 0 && m.lastSeq >= 0 && m.offsetDelta >= 0 {
		q.batches[0], q.count = m, 1
	}
	return q
}
