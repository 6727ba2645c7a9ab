package logtool

import (
	"errors"
	"fmt"

	"slipstream/internal/group"
	"slipstream/internal/metadata"
	"slipstream/internal/share"
	"slipstream/internal/txn"
	"slipstream/protocol"
)

// The topics whose records have a meaning to the broker.
const (
	offsetsTopic = "__consumer_offsets"
	txnTopic     = "__transaction_state"
	sharesTopic  = "__share_group_state"
)

// compactedInside are the broker's own compacted topics, whatever the metadata log says.
var compactedInside = map[string]bool{offsetsTopic: true, txnTopic: true, sharesTopic: true}

// control decodes a control record: its type's name and what it says.
func control(r *protocol.Record) ([]Field, error) {
	kind, ok := protocol.ParseControlKey(r.Key)
	if !ok {
		return nil, fmt.Errorf("a control record has a key of %d bytes that is none", len(r.Key))
	}
	switch kind {
	case protocol.AbortMarker, protocol.CommitMarker:
		name := "ABORT"
		if kind == protocol.CommitMarker {
			name = "COMMIT"
		}
		v := protocol.NewReader(r.Value)
		v.Int16()
		epoch := v.Int32()
		if v.Err() != nil {
			return nil, fmt.Errorf("a transaction marker has a value of %d bytes", len(r.Value))
		}
		return []Field{{"endTxnMarker", name}, {"coordinatorEpoch", epoch}}, nil
	}
	c, err := metadata.DecodeControl(r.Key, r.Value)
	switch {
	case err != nil:
		return nil, err
	case c == nil:
		return []Field{{"controlType", int16(kind)}}, nil
	}
	return []Field{{"control", controlName(kind)}, {"data", c}}, nil
}

func controlName(kind protocol.ControlType) string {
	switch kind {
	case protocol.LeaderChange:
		return "LeaderChange"
	case protocol.SnapshotHeader:
		return "SnapshotHeader"
	case protocol.SnapshotFooter:
		return "SnapshotFooter"
	case protocol.KRaftVersion:
		return "KRaftVersion"
	}
	return "KRaftVoters"
}

// decode says what a record of one of the broker's own topics says; nothing of other topics. A record of a type or
// version that is not known comes from a newer Kafka and is no error.
func decode(topic string, r *protocol.Record) ([]Field, error) {
	switch topic {
	case metadata.MetadataTopic:
		m, err := metadata.DecodeRecord(r.Value)
		var unknown *metadata.UnknownRecordError
		if errors.As(err, &unknown) {
			return []Field{{"type", "unknown"}, {"why", err.Error()}}, nil
		}
		if err != nil {
			return nil, err
		}
		return []Field{{"type", metadata.RecordName(m)}, {"data", m}}, nil
	case offsetsTopic:
		return decodeGroup(r)
	case txnTopic:
		id, l, err := txn.DecodeLogged(r.Key, r.Value)
		if errors.Is(err, txn.ErrVersion) {
			return []Field{{"type", "unknown"}, {"why", err.Error()}}, nil
		}
		if err != nil {
			return nil, err
		}
		return []Field{{"type", "TransactionLog"}, {"transactionalId", id}, {"data", l}}, nil
	case sharesTopic:
		schema, key, state, err := share.DecodeRecord(r.Key, r.Value)
		var unknown *share.UnknownRecordError
		if errors.As(err, &unknown) {
			return []Field{{"type", "unknown"}, {"why", err.Error()}}, nil
		}
		if err != nil {
			return nil, err
		}
		return []Field{{"type", schema}, {"sharePartition", key.String()}, {"data", state}}, nil
	}
	return nil, nil
}

func decodeGroup(r *protocol.Record) ([]Field, error) {
	key, err := group.DecodeKey(r.Key)
	var value group.Value
	if err == nil {
		value, err = group.DecodeValue(key.Type, r.Value)
	}
	var unknown *group.UnknownRecordError
	if errors.As(err, &unknown) {
		return []Field{{"type", "unknown"}, {"why", err.Error()}}, nil
	}
	if err != nil {
		return nil, err
	}
	fields := []Field{{"type", key.Type.String()}, {"group", key.Group}}
	switch key.Type {
	case group.TypeOffsetCommit, group.TypeLegacyOffsetCommit:
		fields = append(fields, Field{"topic", key.Name}, Field{"partition", key.Partition})
	default:
		if key.Name != "" {
			fields = append(fields, Field{"name", key.Name})
		}
	}
	return append(fields, Field{"data", value}), nil
}
