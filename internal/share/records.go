package share

import (
	"errors"
	"fmt"

	"slipstream/protocol"
)

// A record of __share_group_state (schemas ShareSnapshot and ShareUpdate):
//
//	key    +--------+----------------+----------+-----------+
//	       | int16  | string         | uuid     | int32     |   type 0: a snapshot, 1: an update
//	       | type   | group id       | topic id | partition |
//	       +--------+----------------+----------+-----------+
//	value  +---------+----------------+-------------+--------------+--------------+---------------+---------------+---------+---------------+
//	       | int16   | int32          | int32       | int32        | int64        | int64         | int64         | batches | tags          |
//	       | version | snapshot epoch | state epoch | leader epoch | start offset | created, ms   | written, ms   |         | 0: int32      |
//	       | 0       |                | snapshots   |              | -1: as it was| snapshots     | snapshots     |         | complete count|
//	       +---------+----------------+-------------+--------------+--------------+---------------+---------------+---------+---------------+
//	batch  +-------+-------+-------+----------+------+
//	       | int64 | int64 | int8  | int16    | tags |
//	       | first | last  | state | delivered|      |
//	       +-------+-------+-------+----------+------+
//
// Values are flexible, keys plain. A snapshot without a value says that the state is
// gone. An update changes what the snapshot and the updates before it have said.

const (
	snapshotType int16 = 0
	updateType   int16 = 1
)

// batchBytes is what a state batch takes in a record.
const batchBytes = 8 + 8 + 1 + 2 + 1

// Key names a share-partition.
type Key struct {
	Group     string
	Topic     protocol.UUID
	Partition int32
}

// String is how FindCoordinator names a share-partition.
func (k Key) String() string { return fmt.Sprintf("%s:%s:%d", k.Group, k.Topic, k.Partition) }

// State is what is kept of a share-partition.
type State struct {
	SnapshotEpoch int32 // rises with every snapshot
	StateEpoch    int32 // rises when the offsets are set from outside
	LeaderEpoch   int32
	StartOffset   int64 // -1: not known yet
	// DeliveryCompleteCount is how many records from StartOffset on are done with; -1:
	// not known.
	DeliveryCompleteCount int32
	CreateTimestamp       int64 // milliseconds
	WriteTimestamp        int64
	Batches               []StateBatch
}

// UnknownRecordError is a record of a type or version that is not known.
type UnknownRecordError struct{ Type, Version int16 }

func (e *UnknownRecordError) Error() string {
	return fmt.Sprintf("share state record type %d version %d is not known", e.Type, e.Version)
}

var errLeft = errors.New("bytes are left over")

// appendKey encodes a record's key.
func appendKey(b []byte, kind int16, k Key) []byte {
	b = protocol.AppendInt16(b, kind)
	b = protocol.AppendString(b, k.Group)
	b = protocol.AppendUUID(b, k.Topic)
	return protocol.AppendInt32(b, k.Partition)
}

// parseKey decodes a record's key.
func parseKey(b []byte) (kind int16, k Key, err error) {
	r := protocol.NewReader(b)
	kind = r.Int16()
	if r.Err() == nil && kind != snapshotType && kind != updateType {
		return kind, k, &UnknownRecordError{kind, -1}
	}
	k.Group = string(r.String())
	k.Topic = r.UUID()
	k.Partition = r.Int32()
	if r.Err() == nil && r.Len() > 0 {
		return kind, k, errLeft
	}
	return kind, k, r.Err()
}

// appendSnapshot and appendUpdate encode a record's value.
func appendSnapshot(b []byte, s *State) []byte {
	b = protocol.AppendInt16(b, 0)
	b = protocol.AppendInt32(b, s.SnapshotEpoch)
	b = protocol.AppendInt32(b, s.StateEpoch)
	b = protocol.AppendInt32(b, s.LeaderEpoch)
	b = protocol.AppendInt64(b, s.StartOffset)
	b = protocol.AppendInt64(b, s.CreateTimestamp)
	b = protocol.AppendInt64(b, s.WriteTimestamp)
	return appendBatches(b, s)
}

func appendUpdate(b []byte, s *State) []byte {
	b = protocol.AppendInt16(b, 0)
	b = protocol.AppendInt32(b, s.SnapshotEpoch)
	b = protocol.AppendInt32(b, s.LeaderEpoch)
	b = protocol.AppendInt64(b, s.StartOffset)
	return appendBatches(b, s)
}

func appendBatches(b []byte, s *State) []byte {
	b = protocol.AppendArrayLength(b, len(s.Batches), true)
	for _, t := range s.Batches {
		b = protocol.AppendInt64(b, t.First)
		b = protocol.AppendInt64(b, t.Last)
		b = protocol.AppendInt8(b, int8(t.State))
		b = append(protocol.AppendInt16(b, t.DeliveryCount), 0)
	}
	if s.DeliveryCompleteCount == -1 {
		return append(b, 0)
	}
	return protocol.AppendInt32(append(b, 1, 0, 4), s.DeliveryCompleteCount)
}

// parseValue decodes a record's value; of an update the fields that it does not have
// are 0.
func parseValue(kind int16, b []byte) (s State, err error) {
	r := protocol.NewReader(b)
	if version := r.Int16(); r.Err() == nil && version != 0 {
		return s, &UnknownRecordError{kind, version}
	}
	s.SnapshotEpoch = r.Int32()
	if kind == snapshotType {
		s.StateEpoch = r.Int32()
	}
	s.LeaderEpoch = r.Int32()
	s.StartOffset = r.Int64()
	if kind == snapshotType {
		s.CreateTimestamp, s.WriteTimestamp = r.Int64(), r.Int64()
	}
	if n := r.CompactArrayLength(batchBytes); n > 0 {
		s.Batches = make([]StateBatch, n)
	}
	for i := range s.Batches {
		s.Batches[i] = StateBatch{r.Int64(), r.Int64(), RecordState(r.Int8()), r.Int16()}
		r.SkipTags()
	}
	s.DeliveryCompleteCount = -1
	for n := r.Uvarint(); n > 0 && r.Err() == nil; n-- {
		if tag, field := r.Tag(); tag == 0 {
			s.DeliveryCompleteCount = field.Int32()
			if err := field.Err(); err != nil {
				return s, err
			}
		}
	}
	if r.Err() == nil && r.Len() > 0 {
		return s, errLeft
	}
	s.Batches = orderly(s.Batches)
	return s, r.Err()
}

// IgnoreUnknown is err, unless it only says that a record is of a kind that is not
// known: who loads a log passes over those, as Kafka does.
func IgnoreUnknown(err error) error {
	var unknown *UnknownRecordError
	if errors.As(err, &unknown) {
		return nil
	}
	return err
}
