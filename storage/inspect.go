package storage

import (
	"bytes"
	"fmt"

	"slipstream/protocol"
)

// What tools read of a directory's files without opening the log: the same decoders that a start goes by. Nothing that
// they return aliases the bytes given.

// IndexEntry is an entry of an .index file.
type IndexEntry struct {
	Relative int32 // the last offset of the batch, less the segment's base offset
	Position int32 // of the batch in the .log, in bytes
}

// TimeIndexEntry is an entry of a .timeindex file.
type TimeIndexEntry struct {
	Timestamp int64 // ms: the largest so far
	Relative  int32 // the last offset of the first batch that has it, less the segment's base offset
}

// AbortedEntry is an entry of a .txnindex file.
type AbortedEntry struct {
	ProducerID              int64
	FirstOffset, LastOffset int64 // Last is the abort marker's
	LastStableOffset        int64
}

// ProducerEntry is an entry of a .snapshot file. A producer has one for each batch that is remembered of it, the
// last one counts.
type ProducerEntry struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32 // -1: no batch is remembered
	LastOffset       int64 // -1: likewise
	OffsetDelta      int32
	Timestamp        int64 // ms
	CoordinatorEpoch int32
	TxnFirstOffset   int64 // of the open transaction, -1: none
}

// EpochEntry is a line of a leader-epoch-checkpoint.
type EpochEntry struct {
	Epoch       int32
	StartOffset int64
}

// ParseFileName splits the name of a file that belongs to a base offset, twenty digits and a suffix that begins with
// a dot; ok is false for any other name.
func ParseFileName(name string) (base int64, suffix string, ok bool) { return parseFileName(name) }

// DecodeIndex reads an .index file. Zeros at its end, which Kafka preallocates, are left out and counted in bytes. A
// length that is not one of whole entries is an error.
func DecodeIndex(b []byte) (entries []IndexEntry, zeros int, err error) {
	if len(b)%indexEntryBytes != 0 {
		return nil, 0, fmt.Errorf("%d bytes are not a number of whole entries of %d", len(b), indexEntryBytes)
	}
	n := trimZeros(b, indexEntryBytes)
	entries = make([]IndexEntry, 0, n/indexEntryBytes)
	for at := 0; at < n; at += indexEntryBytes {
		e := decodeIndexEntry(b[at:])
		entries = append(entries, IndexEntry{e.relative, e.position})
	}
	return entries, len(b) - n, nil
}

// DecodeTimeIndex is DecodeIndex for a .timeindex file.
func DecodeTimeIndex(b []byte) (entries []TimeIndexEntry, zeros int, err error) {
	if len(b)%timeIndexEntryBytes != 0 {
		return nil, 0, fmt.Errorf("%d bytes are not a number of whole entries of %d", len(b), timeIndexEntryBytes)
	}
	n := trimZeros(b, timeIndexEntryBytes)
	entries = make([]TimeIndexEntry, 0, n/timeIndexEntryBytes)
	for at := 0; at < n; at += timeIndexEntryBytes {
		e := decodeTimeEntry(b[at:])
		entries = append(entries, TimeIndexEntry{e.timestamp, e.relative})
	}
	return entries, len(b) - n, nil
}

// zeroBlock holds a whole number of entries of either index: Kafka makes ten megabytes of room ahead.
var zeroBlock [6 << 10]byte

// trimZeros is the length of b without the entries of zeros at its end.
func trimZeros(b []byte, size int) int {
	n := len(b)
	for n >= len(zeroBlock) && bytes.Equal(b[n-len(zeroBlock):n], zeroBlock[:]) {
		n -= len(zeroBlock)
	}
	for n > 0 && allZero(b[n-size:n]) {
		n -= size
	}
	return n
}

// DecodeAborted reads the .txnindex file of a segment whose offsets lie in [base, end).
func DecodeAborted(b []byte, base, end int64) ([]AbortedEntry, error) {
	list, err := decodeAborted(b, base, end)
	if err != nil {
		return nil, err
	}
	entries := make([]AbortedEntry, len(list))
	for i, e := range list {
		entries[i] = AbortedEntry{e.producer, e.first, e.last, e.stable}
	}
	return entries, nil
}

// DecodeSnapshot reads a .snapshot file, whose version, length and CRC must be right.
func DecodeSnapshot(b []byte) ([]ProducerEntry, error) {
	if _, err := decodeProducers(b); err != nil {
		return nil, err
	}
	var entries []ProducerEntry
	for e := b[snapshotHeadBytes:]; len(e) > 0; e = e[snapshotEntryBytes:] {
		q := decodeProducer(e)
		p := ProducerEntry{
			ProducerID: q.id, Epoch: q.epoch, LastSequence: protocol.NoSequence, LastOffset: -1,
			Timestamp: q.lastTimestamp, CoordinatorEpoch: q.coordinatorEpoch, TxnFirstOffset: q.txnFirstOffset,
		}
		if q.count > 0 {
			m := &q.batches[0]
			p.LastSequence, p.LastOffset, p.OffsetDelta = m.lastSeq, m.lastOffset, m.offsetDelta
		}
		entries = append(entries, p)
	}
	return entries, nil
}

// DecodeEpochs reads a leader-epoch-checkpoint; both fields must rise.
func DecodeEpochs(b []byte) ([]EpochEntry, error) {
	e, err := decodeEpochs(b)
	if err != nil {
		return nil, err
	}
	entries := make([]EpochEntry, len(e.entries))
	for i, x := range e.entries {
		entries[i] = EpochEntry{x.epoch, x.start}
	}
	return entries, nil
}

// DecodePartitionMetadata reads a partition.metadata: the topic's id.
func DecodePartitionMetadata(b []byte) (protocol.UUID, error) { return decodePartitionMetadata(b) }
