package protocol

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A record batch, version (magic) 2, on the wire and on disk alike:
//
//	 0             8        12             16      17      21           23
//	+-------------+--------+--------------+-------+-------+------------+
//	| base offset | length | leader epoch | magic | CRC   | attributes |
//	| int64       | int32  | int32        | 2     | int32 | int16      |
//	+-------------+--------+--------------+-------+-------+------------+
//	23                  27               35              43
//	+-------------------+----------------+---------------+
//	| last offset delta | base timestamp | max timestamp |
//	| int32             | int64, ms      | int64, ms     |
//	+-------------------+----------------+---------------+
//	43            51               53              57             61        12 + length
//	+-------------+----------------+---------------+--------------+---------+
//	| producer id | producer epoch | base sequence | record count | records |
//	| int64       | int16          | int32         | int32        |         |
//	+-------------+----------------+---------------+--------------+---------+
//
// length counts from the leader epoch to the end. CRC is CRC-32C from the attributes to the end: base
// offset and leader epoch lie before it, so a broker stamps them in place. Attributes:
//
//	bit 15..7  6               5        4              3               2..0
//	+---------+----------------+---------+---------------+----------------+-------+
//	| unused  | delete horizon | control | transactional | log append time | codec |
//	+---------+----------------+---------+---------------+----------------+-------+
//
// With a delete horizon the base timestamp is that horizon. A compressed batch has
// its records, and nothing else, compressed as one stream.
const (
	HeaderBytes   = 61 // of a batch, before its records
	LogOverhead   = 12 // base offset and length, which length does not count
	CurrentMagic  = 2
	NoTimestamp   = int64(-1)
	NoOffset      = int64(-1)
	NoProducerID  = int64(-1)
	NoEpoch       = int32(-1)
	NoSequence    = int32(-1)
	magicPosition = 16
	crcPosition   = 17
	crcFrom       = 21

	// A batch of magic 0 holds one message of at least 14 bytes: the least that length may be.
	minLegacyLength = 14
)

// Codec is how a batch's records are compressed: bits 0 to 2 of its attributes.
type Codec uint8

// Kafka's codecs. 5 to 7 mean nothing yet.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// String returns the name that compression.type has for the codec.
func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return "unknown"
}

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// TimestampType is bit 3 of a batch's attributes.
type TimestampType uint8

// CreateTime is the producer's time, LogAppendTime the broker's: all records of the
// batch then have its max timestamp.
const (
	CreateTime TimestampType = iota
	LogAppendTime
)

// The bits of a batch's attributes.
const (
	AttrCodec         = 0x07
	AttrLogAppendTime = 0x08
	AttrTransactional = 0x10
	AttrControl       = 0x20
	AttrDeleteHorizon = 0x40

	// What SetTimestamps leaves of the attributes: bits without a meaning are cleared, as Kafka does.
	attrKept = AttrCodec | AttrTransactional | AttrControl | AttrDeleteHorizon
)

// Why NextBatch found no batch.
var (
	// ErrIncomplete: the bytes end inside a batch. More bytes may complete it.
	ErrIncomplete = errors.New("protocol: bytes end inside a record batch")
	// ErrCorrupt: these bytes do not begin a batch, whatever follows them.
	ErrCorrupt = errors.New("protocol: not a record batch")
	// ErrMagic: a message set of magic 0 or 1, which only Kafka before 4.0 reads.
	ErrMagic = errors.New("protocol: message format before version 2")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC32C returns the CRC-32C (Castagnoli) of b.
func CRC32C(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Batch is one record batch of magic 2, whole: the bytes themselves, owned by whoever owns them.
// It comes from NextBatch or a Builder, which make sure that it has at least HeaderBytes and is as
// long as its length says; every method relies on that.
type Batch []byte

// NextBatch splits the first batch off b. It checks length and magic, not the CRC.
// No bytes at all are ErrIncomplete.
func NextBatch(b []byte) (batch Batch, rest []byte, err error) {
	if len(b) < LogOverhead {
		return nil, b, ErrIncomplete
	}
	length := int(int32(binary.BigEndian.Uint32(b[8:])))
	if length < minLegacyLength {
		return nil, b, ErrCorrupt
	}
	if len(b) <= magicPosition {
		return nil, b, ErrIncomplete
	}
	switch magic := b[magicPosition]; {
	case magic > CurrentMagic:
		return nil, b, ErrCorrupt
	case length > len(b)-LogOverhead:
		return nil, b, ErrIncomplete
	case magic < CurrentMagic:
		return nil, b, ErrMagic
	case length < HeaderBytes-LogOverhead:
		return nil, b, ErrCorrupt
	}
	end := LogOverhead + length
	return Batch(b[:end:end]), b[end:], nil
}

func (b Batch) int16(at int) int16 { return int16(binary.BigEndian.Uint16(b[at:])) }
func (b Batch) int32(at int) int32 { return int32(binary.BigEndian.Uint32(b[at:])) }
func (b Batch) int64(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }

// BaseOffset is the offset of the first record (of the first there was before compaction).
func (b Batch) BaseOffset() int64 { return b.int64(0) }

// Length is what the length field says: the batch's size less LogOverhead.
func (b Batch) Length() int32 { return b.int32(8) }

// LeaderEpoch is the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() int32 { return b.int32(12) }

// Magic is the version of the format, 2.
func (b Batch) Magic() int8 { return int8(b[magicPosition]) }

// CRC is the stored checksum.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[crcPosition:]) }

// Attributes are the 16 bits drawn above.
func (b Batch) Attributes() int16 { return b.int16(21) }

// Codec is how the records are compressed; it may be one that does not exist (5 to 7).
func (b Batch) Codec() Codec { return Codec(b[22] & AttrCodec) }

// TimestampType tells whose time the records carry.
func (b Batch) TimestampType() TimestampType { return TimestampType(b[22] & AttrLogAppendTime >> 3) }

// IsTransactional reports whether the batch is part of a transaction.
func (b Batch) IsTransactional() bool { return b[22]&AttrTransactional != 0 }

// IsControl reports whether the records are control records, which no consumer sees.
func (b Batch) IsControl() bool { return b[22]&AttrControl != 0 }

// HasDeleteHorizon reports whether the base timestamp is a delete horizon.
func (b Batch) HasDeleteHorizon() bool { return b[22]&AttrDeleteHorizon != 0 }

// LastOffsetDelta is the last offset less the base offset.
func (b Batch) LastOffsetDelta() int32 { return b.int32(23) }

// LastOffset is the offset of the last record there was before compaction.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset after LastOffset.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// BaseTimestamp is what the records' timestamp deltas count from, in ms.
func (b Batch) BaseTimestamp() int64 { return b.int64(27) }

// MaxTimestamp is the largest timestamp of the records, in ms.
func (b Batch) MaxTimestamp() int64 { return b.int64(35) }

// ProducerID is NoProducerID unless the producer is idempotent.
func (b Batch) ProducerID() int64 { return b.int64(43) }

// ProducerEpoch is -1 unless the producer is idempotent.
func (b Batch) ProducerEpoch() int16 { return b.int16(51) }

// BaseSequence is the sequence number of the first record, or NoSequence.
func (b Batch) BaseSequence() int32 { return b.int32(53) }

// LastSequence is the sequence number of the last record; they wrap after 2^31-1 to 0.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base == NoSequence {
		return NoSequence
	}
	return int32((int64(base) + int64(b.LastOffsetDelta())) & 0x7fffffff)
}

// Count is the number of records that the batch says it has.
func (b Batch) Count() int32 { return b.int32(57) }

// Payload is the records, compressed as Codec says.
func (b Batch) Payload() []byte { return b[HeaderBytes:] }

// ComputeCRC is the checksum that the batch should have.
func (b Batch) ComputeCRC() uint32 { return CRC32C(b[crcFrom:]) }

// ValidCRC reports whether the stored checksum is right.
func (b Batch) ValidCRC() bool { return b.CRC() == b.ComputeCRC() }

// SetBaseOffset stamps the batch with its place in the log. The CRC does not cover it.
func (b Batch) SetBaseOffset(offset int64) { binary.BigEndian.PutUint64(b, uint64(offset)) }

// SetLeaderEpoch stamps the batch with its leader's epoch. The CRC does not cover it.
func (b Batch) SetLeaderEpoch(epoch int32) { binary.BigEndian.PutUint32(b[12:], uint32(epoch)) }

// SetTimestamps stamps timestamp type and max timestamp (ms) and computes the CRC anew, unless they
// are those already. This is how a batch gets its log append time, and how the header of one whose producer was
// wrong about the largest timestamp is put right.
func (b Batch) SetTimestamps(kind TimestampType, maxTimestamp int64) {
	if b.TimestampType() == kind && b.MaxTimestamp() == maxTimestamp {
		return
	}
	b[21], b[22] = 0, b[22]&attrKept|byte(kind)<<3
	binary.BigEndian.PutUint64(b[35:], uint64(maxTimestamp))
	b.setCRC()
}

func (b Batch) setCRC() { binary.BigEndian.PutUint32(b[crcPosition:], b.ComputeCRC()) }
