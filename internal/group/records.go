package group

import (
	"encoding/binary"
	"fmt"

	"slipstream/protocol"
)

// A record of __consumer_offsets:
//
//	key    +--------------+---------------------------------------------+
//	       | type  int16  | the key schema's fields, plain encoding     |
//	       +--------------+---------------------------------------------+
//	value  +--------------+---------------------------------------------+
//	       | version int16| the value schema's fields in that version   |
//	       +--------------+---------------------------------------------+
//
// A null value is a tombstone: what the key names is gone. Types, fields and
// versions are those of Apache Kafka 4.3's kafka-group-coordinator schemas.

// RecordType is the first number of a key: what the record is about.
type RecordType int16

// The record types that this package reads and writes. Types that are not here
// (streams groups) belong to others and are passed over.
const (
	TypeLegacyOffsetCommit       RecordType = 0
	TypeOffsetCommit             RecordType = 1
	TypeGroupMetadata            RecordType = 2  // a classic group
	TypeConsumerGroup            RecordType = 3  // a consumer group's epoch
	TypeConsumerPartitions       RecordType = 4  // written before Kafka 4.1 only; read so that it is erased
	TypeConsumerMember           RecordType = 5  // what a member said of itself
	TypeConsumerTarget           RecordType = 6  // the target assignment's epoch
	TypeConsumerTargetMember     RecordType = 7  // a member's part of it
	TypeConsumerMemberAssignment RecordType = 8  // what a member has, and must give up
	TypeShareMember              RecordType = 10 // the same of share groups
	TypeShareGroup               RecordType = 11
	TypeShareTarget              RecordType = 12
	TypeShareTargetMember        RecordType = 13
	TypeShareMemberAssignment    RecordType = 14
	TypeShareStatePartitions     RecordType = 15 // which partitions a share group has states of
	TypeConsumerRegex            RecordType = 16 // what topics a regular expression means
)

// Key is a record's key, decoded. It is comparable: equal keys are one place in
// the compacted log.
type Key struct {
	Type      RecordType
	Group     string
	Name      string // the topic, the member id or the regular expression, as the type has it
	Partition int32  // of an offset
}

// Value is a record's value, decoded: a pointer to one of this package's
// ...Value structs, or nil for a tombstone.
type Value interface {
	version() int16
	walk(c *codec, version int16)
}

// Record is one record of the log.
type Record struct {
	Key   Key
	Value Value // nil: a tombstone
}

// recordType says what a type's key and value look like.
type recordType struct {
	name        string
	named       bool // the key has a Name
	partitioned bool // the key has a Partition
	maxVersion  int16
	flexible    int16 // the first version with flexible encoding
	empty       func() Value
}

const neverFlexible = 1 << 14

// typeOf knows the record types; ok is false for those of others.
func typeOf(t RecordType) (rt recordType, ok bool) {
	switch t {
	case TypeLegacyOffsetCommit:
		return recordType{"LegacyOffsetCommit", true, true, 0, neverFlexible, func() Value { return &LegacyOffsetCommitValue{} }}, true
	case TypeOffsetCommit:
		return recordType{"OffsetCommit", true, true, 4, 4, func() Value { return &OffsetCommitValue{LeaderEpoch: -1, ExpireTimestamp: -1} }}, true
	case TypeGroupMetadata:
		return recordType{"GroupMetadata", false, false, 4, 4, func() Value { return &GroupMetadataValue{CurrentStateTimestamp: -1} }}, true
	case TypeConsumerGroup:
		return recordType{"ConsumerGroupMetadata", false, false, 0, 0, func() Value { return &ConsumerGroupMetadataValue{} }}, true
	case TypeConsumerPartitions:
		return recordType{"ConsumerGroupPartitionMetadata", false, false, 0, 0, func() Value { return &ConsumerGroupPartitionMetadataValue{} }}, true
	case TypeConsumerMember:
		return recordType{"ConsumerGroupMemberMetadata", true, false, 0, 0, func() Value { return &ConsumerGroupMemberMetadataValue{RebalanceTimeoutMillis: -1} }}, true
	case TypeConsumerTarget:
		return recordType{"ConsumerGroupTargetAssignmentMetadata", false, false, 0, 0, func() Value { return &ConsumerGroupTargetAssignmentMetadataValue{} }}, true
	case TypeConsumerTargetMember:
		return recordType{"ConsumerGroupTargetAssignmentMember", true, false, 0, 0, func() Value { return &ConsumerGroupTargetAssignmentMemberValue{} }}, true
	case TypeConsumerMemberAssignment:
		return recordType{"ConsumerGroupCurrentMemberAssignment", true, false, 0, 0, func() Value { return &ConsumerGroupCurrentMemberAssignmentValue{} }}, true
	case TypeShareMember:
		return recordType{"ShareGroupMemberMetadata", true, false, 0, 0, func() Value { return &ShareGroupMemberMetadataValue{} }}, true
	case TypeShareGroup:
		return recordType{"ShareGroupMetadata", false, false, 0, 0, func() Value { return &ShareGroupMetadataValue{} }}, true
	case TypeShareTarget:
		return recordType{"ShareGroupTargetAssignmentMetadata", false, false, 0, 0, func() Value { return &ConsumerGroupTargetAssignmentMetadataValue{} }}, true
	case TypeShareTargetMember:
		return recordType{"ShareGroupTargetAssignmentMember", true, false, 0, 0, func() Value { return &ConsumerGroupTargetAssignmentMemberValue{} }}, true
	case TypeShareMemberAssignment:
		return recordType{"ShareGroupCurrentMemberAssignment", true, false, 0, 0, func() Value { return &ShareGroupCurrentMemberAssignmentValue{} }}, true
	case TypeShareStatePartitions:
		return recordType{"ShareGroupStatePartitionMetadata", false, false, 0, 0, func() Value { return &ShareGroupStatePartitionMetadataValue{} }}, true
	case TypeConsumerRegex:
		return recordType{"ConsumerGroupRegularExpression", true, false, 0, 0, func() Value { return &ConsumerGroupRegularExpressionValue{} }}, true
	}
	return recordType{}, false
}

// String is the name of the type's schema, without Key or Value.
func (t RecordType) String() string {
	if rt, ok := typeOf(t); ok {
		return rt.name
	}
	return fmt.Sprintf("type %d", int16(t))
}

// UnknownRecordError is a record type that is not this package's, or a version
// that is newer than what it knows. The record was well-formed as far as read:
// who loads a log passes over unknown types, as Kafka does.
type UnknownRecordError struct {
	Type    RecordType
	Version int16 // of the value; -1: the type itself is unknown
}

func (e *UnknownRecordError) Error() string {
	if e.Version < 0 {
		return fmt.Sprintf("group record type %d is not known", int16(e.Type))
	}
	return fmt.Sprintf("group record %s has version %d, which is not known", e.Type, e.Version)
}

func walkKey(c *codec, k *Key, rt *recordType) {
	c.string(&k.Group)
	if rt.named {
		c.string(&k.Name)
	}
	if rt.partitioned {
		c.int32(&k.Partition)
	}
}

// AppendKey appends a key's bytes to dst. Its strings must be at most 32767 bytes.
func AppendKey(dst []byte, k Key) []byte {
	rt, _ := typeOf(k.Type)
	c := codec{buf: binary.BigEndian.AppendUint16(dst, uint16(k.Type))}
	walkKey(&c, &k, &rt)
	return c.buf
}

// AppendValue appends a value's bytes, in the value's own version, to dst.
func AppendValue(dst []byte, t RecordType, v Value) []byte {
	rt, _ := typeOf(t)
	version := v.version()
	c := codec{buf: binary.BigEndian.AppendUint16(dst, uint16(version)), flexible: version >= rt.flexible}
	v.walk(&c, version)
	return c.buf
}

// DecodeKey decodes a key. The error is an [*UnknownRecordError] for types that
// are not this package's; any other means that b is damaged.
func DecodeKey(b []byte) (Key, error) {
	if len(b) < 2 {
		return Key{}, fmt.Errorf("group record key: %w", errShort)
	}
	k := Key{Type: RecordType(binary.BigEndian.Uint16(b))}
	rt, ok := typeOf(k.Type)
	if !ok {
		return k, &UnknownRecordError{Type: k.Type, Version: -1}
	}
	c := codec{buf: b[2:], reading: true}
	walkKey(&c, &k, &rt)
	if c.err == nil && len(c.buf) != 0 {
		c.err = errLeft
	}
	if c.err != nil {
		return k, fmt.Errorf("group record key %s: %w", rt.name, c.err)
	}
	return k, nil
}

// DecodeValue decodes the value of a record whose key has type t; nil bytes are
// a tombstone and give nil. The value does not alias b. Errors are as DecodeKey's.
func DecodeValue(t RecordType, b []byte) (Value, error) {
	if b == nil {
		return nil, nil
	}
	rt, ok := typeOf(t)
	if !ok {
		return nil, &UnknownRecordError{Type: t, Version: -1}
	}
	if len(b) < 2 {
		return nil, fmt.Errorf("group record %s: %w", rt.name, errShort)
	}
	version := int16(binary.BigEndian.Uint16(b))
	if version < 0 || version > rt.maxVersion {
		return nil, &UnknownRecordError{Type: t, Version: version}
	}
	v := rt.empty()
	c := codec{buf: b[2:], reading: true, flexible: version >= rt.flexible}
	v.walk(&c, version)
	if c.err == nil && len(c.buf) != 0 {
		c.err = errLeft
	}
	if c.err != nil {
		return nil, fmt.Errorf("group record %s version %d: %w", rt.name, version, c.err)
	}
	return v, nil
}

// OffsetCommitValue is a committed offset.
type OffsetCommitValue struct {
	Version         int16
	Offset          int64
	LeaderEpoch     int32 // of the last consumed record; -1: not known (v3+)
	Metadata        string
	CommitTimestamp int64         // milliseconds
	ExpireTimestamp int64         // milliseconds; -1: by the broker's retention (v1)
	TopicID         protocol.UUID // zero: not known (v4+)
	Tags            []Tag
}

func (v *OffsetCommitValue) version() int16 { return v.Version }

func (v *OffsetCommitValue) walk(c *codec, version int16) {
	v.Version = version
	c.int64(&v.Offset)
	if version >= 3 {
		c.int32(&v.LeaderEpoch)
	}
	c.string(&v.Metadata)
	c.int64(&v.CommitTimestamp)
	if version == 1 {
		c.int64(&v.ExpireTimestamp)
	}
	if c.flexible {
		c.tags(&v.Tags, optional{0, v.TopicID != protocol.UUID{}, func(c *codec) { c.uuid(&v.TopicID) }})
	}
}

// LegacyOffsetCommitValue is a committed offset under a key of type 0, which
// Kafka reads and does not write.
type LegacyOffsetCommitValue struct {
	Offset          int64
	Metadata        string
	CommitTimestamp int64 // milliseconds
}

func (v *LegacyOffsetCommitValue) version() int16 { return 0 }

func (v *LegacyOffsetCommitValue) walk(c *codec, _ int16) {
	c.int64(&v.Offset)
	c.string(&v.Metadata)
	c.int64(&v.CommitTimestamp)
}

// GroupMetadataValue is a classic group, as of its last completed rebalance.
type GroupMetadataValue struct {
	Version               int16
	ProtocolType          string
	Generation            int32
	Protocol              *string
	Leader                *string
	CurrentStateTimestamp int64 // milliseconds; -1: not known (v2+)
	Members               []GroupMetadataMember
	Tags                  []Tag
}

// GroupMetadataMember is a member of a classic group.
type GroupMetadataMember struct {
	MemberID               string
	GroupInstanceID        *string // (v3+)
	ClientID               string
	ClientHost             string
	RebalanceTimeoutMillis int32 // -1: the session timeout (v1+)
	SessionTimeoutMillis   int32
	Subscription           []byte // the metadata of the protocol that was chosen
	Assignment             []byte
	Tags                   []Tag
}

func (v *GroupMetadataValue) version() int16 { return v.Version }

func (v *GroupMetadataValue) walk(c *codec, version int16) {
	v.walkHead(c, version)
	array(c, &v.Members, 18, func(c *codec, m *GroupMetadataMember) { m.walk(c, version) })
	c.noTags(&v.Tags)
}

// appendClassicHead begins a value that n members are to follow, each as its walk
// writes it.
func appendClassicHead(dst []byte, v *GroupMetadataValue, n int) []byte {
	c := codec{buf: binary.BigEndian.AppendUint16(dst, classicRecordVersion)}
	v.walkHead(&c, classicRecordVersion)
	c.length(n, 18, true)
	return c.buf
}

func (v *GroupMetadataValue) walkHead(c *codec, version int16) {
	v.Version = version
	c.string(&v.ProtocolType)
	c.int32(&v.Generation)
	c.nullableString(&v.Protocol)
	c.nullableString(&v.Leader)
	if version >= 2 {
		c.int64(&v.CurrentStateTimestamp)
	}
}

func (m *GroupMetadataMember) walk(c *codec, version int16) {
	if c.reading {
		m.RebalanceTimeoutMillis = -1
	}
	c.string(&m.MemberID)
	if version >= 3 {
		c.nullableString(&m.GroupInstanceID)
	}
	c.string(&m.ClientID)
	c.string(&m.ClientHost)
	if version >= 1 {
		c.int32(&m.RebalanceTimeoutMillis)
	}
	c.int32(&m.SessionTimeoutMillis)
	c.bytes(&m.Subscription)
	c.bytes(&m.Assignment)
	c.noTags(&m.Tags)
}
