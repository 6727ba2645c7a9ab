package txn

import (
	"errors"
	"fmt"

	"slipstream/protocol"
)

// A record of __transaction_state is all that is known of a transactional id; the
// last one counts, and one without a value forgets the id.
//
//	key    +-------+------------------+    value  +-------+------------------------------+
//	       | int16 | transactional id |           | int16 | version 0 or 1: the fields   |
//	       | 0     | string           |           |       | of TransactionLogValue below |
//	       +-------+------------------+           +-------+------------------------------+
//
//	producer id             int64
//	producer epoch          int16
//	timeout                 int32, ms
//	state                   int8
//	partitions              array, null while Empty, of { topic string, array of partition int32 }
//	last update             int64, ms since 1970
//	start of transaction    int64, ms since 1970; -1: none yet
//	in version 1 then tags, by rising number, only those that differ from their default:
//	  0  previous producer id     int64, -1
//	  1  next producer id         int64, -1   of the state after this one, when epochs have run out
//	  2  client's transaction.version int16, 0
//	  3  next producer epoch      int16, -1   Kafka 4.3 does not write it
//
// Version 1 is flexible (compact strings and arrays, tags at the end of every
// structure); it is written from transaction.version 1 on. The schemas are
// TransactionLogKey and TransactionLogValue of Apache Kafka 4.3.

const (
	recordKeyVersion   = 0
	recordValueVersion = 1 // the newest that is read and written
)

// meta is what a record holds, and all that survives a restart but for
// lastProducerEpoch, which Kafka does not write either.
type meta struct {
	state              State
	producerID         int64
	previousProducerID int64
	nextProducerID     int64
	producerEpoch      int16
	lastProducerEpoch  int16
	timeoutMillis      int32
	clientVersion      int16            // transaction.version that the client went by: 0 or 2
	partitions         []TopicPartition // ordered. While ending: those whose marker is still to be written
	startMillis        int64
	updateMillis       int64
}

// appendKey appends the key of id's record.
func appendKey(b []byte, id string) []byte {
	return protocol.AppendString(protocol.AppendInt16(b, recordKeyVersion), id)
}

// appendValue appends the value of a record, in version 0 or 1.
func (m *meta) appendValue(b []byte, version int16) []byte {
	flexible := version >= 1
	b = protocol.AppendInt16(b, version)
	b = protocol.AppendInt64(b, m.producerID)
	b = protocol.AppendInt16(b, m.producerEpoch)
	b = protocol.AppendInt32(b, m.timeoutMillis)
	b = protocol.AppendInt8(b, int8(m.state))
	b = m.appendPartitions(b, flexible)
	b = protocol.AppendInt64(b, m.updateMillis)
	b = protocol.AppendInt64(b, m.startMillis)
	if flexible {
		b = m.appendTags(b)
	}
	return b
}

func (m *meta) appendPartitions(b []byte, flexible bool) []byte {
	if m.state == Empty {
		if flexible {
			return protocol.AppendCompactNull(b)
		}
		return protocol.AppendInt32(b, -1)
	}
	b = protocol.AppendArrayLength(b, topics(m.partitions), flexible)
	for rest := m.partitions; len(rest) > 0; {
		n := sameTopic(rest)
		if flexible {
			b = protocol.AppendCompactString(b, rest[0].Topic)
		} else {
			b = protocol.AppendString(b, rest[0].Topic)
		}
		b = protocol.AppendArrayLength(b, n, flexible)
		for _, p := range rest[:n] {
			b = protocol.AppendInt32(b, p.Partition)
		}
		if flexible {
			b = append(b, 0)
		}
		rest = rest[n:]
	}
	return b
}

// The tags of a value.
const (
	tagPreviousProducerID = iota
	tagNextProducerID
	tagClientVersion
	tagNextProducerEpoch
)

func (m *meta) appendTags(b []byte) []byte {
	count := uint32(0)
	for _, there := range [...]bool{m.previousProducerID != -1, m.nextProducerID != -1, m.clientVersion != 0} {
		if there {
			count++
		}
	}
	b = protocol.AppendUvarint(b, count)
	if m.previousProducerID != -1 {
		b = protocol.AppendInt64(append(b, tagPreviousProducerID, 8), m.previousProducerID)
	}
	if m.nextProducerID != -1 {
		b = protocol.AppendInt64(append(b, tagNextProducerID, 8), m.nextProducerID)
	}
	if m.clientVersion != 0 {
		b = protocol.AppendInt16(append(b, tagClientVersion, 2), m.clientVersion)
	}
	return b
}

// ErrVersion is a record of a version that is not known: it may be left from a
// newer Kafka. Kafka passes over such records.
var ErrVersion = errors.New("txn: record of an unknown version")

var errRecord = errors.New("txn: damaged record")

// decodeKey reads a key.
func decodeKey(b []byte) (id string, err error) {
	r := protocol.NewReader(b)
	if v := r.Int16(); r.Err() == nil && v != recordKeyVersion {
		return "", fmt.Errorf("%w: key version %d", ErrVersion, v)
	}
	id = string(r.String())
	if r.Err() != nil {
		return "", fmt.Errorf("%w: key: %w", errRecord, r.Err())
	}
	return id, nil
}

// decodeValue reads a value. Nothing of what it returns aliases b.
func decodeValue(b []byte) (m meta, err error) {
	r := protocol.NewReader(b)
	version := r.Int16()
	if r.Err() == nil && (version < 0 || version > recordValueVersion) {
		return m, fmt.Errorf("%w: value version %d", ErrVersion, version)
	}
	m = meta{previousProducerID: -1, nextProducerID: -1, lastProducerEpoch: -1}
	m.producerID = r.Int64()
	m.producerEpoch = r.Int16()
	m.timeoutMillis = r.Int32()
	m.state = State(r.Int8())
	m.decodePartitions(&r, version >= 1)
	m.updateMillis = r.Int64()
	m.startMillis = r.Int64()
	if version >= 1 {
		m.decodeTags(&r)
	}
	if r.Err() != nil {
		return m, fmt.Errorf("%w: value: %w", errRecord, r.Err())
	}
	if m.state < 0 || m.state >= Dead {
		return m, fmt.Errorf("%w: a transaction cannot be in state %d", errRecord, m.state)
	}
	return m, nil
}

func (m *meta) decodePartitions(r *protocol.Reader, flexible bool) {
	for range arrayLength(r, flexible, 4) {
		var topic string
		if flexible {
			topic = string(r.CompactString())
		} else {
			topic = string(r.String())
		}
		for range arrayLength(r, flexible, 4) {
			m.partitions = append(m.partitions, TopicPartition{topic, r.Int32()})
		}
		if flexible {
			r.SkipTags()
		}
		if r.Err() != nil {
			return
		}
	}
	m.partitions = ordered(m.partitions)
	if m.state == Empty {
		m.partitions = nil
	}
}

// arrayLength reads the length of an array; null is 0.
func arrayLength(r *protocol.Reader, flexible bool, elementBytes int) int {
	if flexible {
		return max(r.CompactArrayLength(min(elementBytes, 3)), 0)
	}
	return max(r.ArrayLength(elementBytes), 0)
}

func (m *meta) decodeTags(r *protocol.Reader) {
	for n := r.Uvarint(); n > 0 && r.Err() == nil; n-- {
		tag, field := r.Tag()
		switch tag {
		case tagPreviousProducerID:
			m.previousProducerID = field.Int64()
		case tagNextProducerID:
			m.nextProducerID = field.Int64()
		case tagClientVersion:
			m.clientVersion = field.Int16()
		}
		if field.Err() != nil || field.Len() != 0 && tag < tagNextProducerEpoch {
			r.Take(-1) // the record is damaged: the reader's error says so from here on
		}
	}
}

// AppendBatch appends the records of one Ready as one batch to dst, as Kafka's
// coordinator writes them: uncompressed, from no producer. baseOffset is the log's
// end (storage stamps it again), leaderEpoch the coordinator's.
func AppendBatch(dst []byte, baseOffset int64, leaderEpoch int32, records []Record) []byte {
	var bl protocol.Builder
	bl.Begin(dst, protocol.NewBatchInfo(baseOffset, leaderEpoch))
	for i := range records {
		r := &records[i]
		bl.Append(&protocol.Record{Timestamp: r.TimestampMillis, Key: r.Key, Value: r.Value})
	}
	dst, _ = bl.Finish()
	return dst
}
