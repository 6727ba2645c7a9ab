package metadata

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The value of a metadata record (its key is null):
//
//	+---------------+---------+---------+----------------------------------+
//	| frame version | api key | version | body: the schema's fields in      |
//	| uvarint, 1    | uvarint | uvarint | order, flexible encoding (codec.go) |
//	+---------------+---------+---------+----------------------------------+
//
// The records and their fields are those of Apache Kafka 4.3's metadata schemas
// (kafka-metadata, common/metadata/*.json), all 26 of them.

// frameVersion is the only frame version there is.
const frameVersion = 1

// Record is one record of the metadata log: a pointer to one of this package's
// ...Record structs. A record, and every slice in it, must not be changed once
// it has been handed to AppendRecord, Image.Apply or a Controller: images of
// several cores share it.
type Record interface {
	Key() uint32 // the record type's api key

	version() int16
	setVersion(int16)
	body(*codec)
}

// recordType says how to make an empty record, with the defaults of fields that
// may be absent, and up to which version it is known.
type recordType struct {
	name       string
	maxVersion int16
	empty      func() Record
}

// recordTypes is indexed by api key. 6, 13 and 16 have no schema in Kafka 4.3.
var recordTypes = [...]recordType{
	0:  {"RegisterBrokerRecord", 4, func() Record { return &RegisterBrokerRecord{} }},
	1:  {"UnregisterBrokerRecord", 0, func() Record { return &UnregisterBrokerRecord{} }},
	2:  {"TopicRecord", 0, func() Record { return &TopicRecord{} }},
	3:  {"PartitionRecord", 2, func() Record { return &PartitionRecord{} }},
	4:  {"ConfigRecord", 0, func() Record { return &ConfigRecord{} }},
	5:  {"PartitionChangeRecord", 2, func() Record { return NewPartitionChange(UUID{}, -1) }},
	7:  {"FenceBrokerRecord", 0, func() Record { return &FenceBrokerRecord{} }},
	8:  {"UnfenceBrokerRecord", 0, func() Record { return &UnfenceBrokerRecord{} }},
	9:  {"RemoveTopicRecord", 0, func() Record { return &RemoveTopicRecord{} }},
	10: {"DelegationTokenRecord", 0, func() Record { return &DelegationTokenRecord{} }},
	11: {"UserScramCredentialRecord", 0, func() Record { return &UserScramCredentialRecord{} }},
	12: {"FeatureLevelRecord", 0, func() Record { return &FeatureLevelRecord{} }},
	14: {"ClientQuotaRecord", 0, func() Record { return &ClientQuotaRecord{} }},
	15: {"ProducerIdsRecord", 0, func() Record { return &ProducerIdsRecord{} }},
	17: {"BrokerRegistrationChangeRecord", 3, func() Record { return &BrokerRegistrationChangeRecord{} }},
	18: {"AccessControlEntryRecord", 0, func() Record { return &AccessControlEntryRecord{} }},
	19: {"RemoveAccessControlEntryRecord", 0, func() Record { return &RemoveAccessControlEntryRecord{} }},
	20: {"NoOpRecord", 0, func() Record { return &NoOpRecord{} }},
	21: {"ZkMigrationStateRecord", 0, func() Record { return &ZkMigrationStateRecord{} }},
	22: {"RemoveUserScramCredentialRecord", 0, func() Record { return &RemoveUserScramCredentialRecord{} }},
	23: {"BeginTransactionRecord", 0, func() Record { return &BeginTransactionRecord{} }},
	24: {"EndTransactionRecord", 0, func() Record { return &EndTransactionRecord{} }},
	25: {"AbortTransactionRecord", 0, func() Record { return &AbortTransactionRecord{} }},
	26: {"RemoveDelegationTokenRecord", 0, func() Record { return &RemoveDelegationTokenRecord{} }},
	27: {"RegisterControllerRecord", 0, func() Record { return &RegisterControllerRecord{} }},
	28: {"ClearElrRecord", 0, func() Record { return &ClearElrRecord{} }},
}

// UnknownRecordError is a record type, or a version of one, that this program
// does not know: the log was written by a newer Kafka.
type UnknownRecordError struct {
	Key     uint32
	Version uint32
	Name    string // empty if the type itself is unknown
	Max     int16  // the newest version known, if the type is
}

func (e *UnknownRecordError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("metadata record type %d (version %d) is not known to Kafka 4.3: the log was written by a newer release", e.Key, e.Version)
	}
	return fmt.Sprintf("metadata record %s (type %d) has version %d, known are 0 to %d: the log was written by a newer release",
		e.Name, e.Key, e.Version, e.Max)
}

// AppendRecord appends the framed value of r to dst, in r's own version.
func AppendRecord(dst []byte, r Record) []byte {
	dst = binary.AppendUvarint(dst, frameVersion)
	dst = binary.AppendUvarint(dst, uint64(r.Key()))
	dst = binary.AppendUvarint(dst, uint64(r.version()))
	c := codec{buf: dst}
	r.body(&c)
	return c.buf
}

// DecodeRecord decodes the framed value of one record. The record does not
// alias b. The error is an [*UnknownRecordError] for what a newer Kafka wrote;
// any other means that b is damaged.
func DecodeRecord(b []byte) (Record, error) {
	var frame, key, version uint32
	c := codec{buf: b, reading: true}
	c.uvarint(&frame)
	c.uvarint(&key)
	c.uvarint(&version)
	if c.err != nil {
		return nil, fmt.Errorf("metadata record frame: %w", c.err)
	}
	if frame != frameVersion {
		return nil, fmt.Errorf("metadata record frame version is %d, known is %d", frame, frameVersion)
	}
	if key >= uint32(len(recordTypes)) || recordTypes[key].empty == nil {
		return nil, &UnknownRecordError{Key: key, Version: version}
	}
	t := &recordTypes[key]
	if version > math.MaxInt16 || int16(version) > t.maxVersion {
		return nil, &UnknownRecordError{Key: key, Version: version, Name: t.name, Max: t.maxVersion}
	}
	r := t.empty()
	r.setVersion(int16(version))
	if r.body(&c); c.err != nil {
		return nil, fmt.Errorf("metadata record %s version %d: %w", t.name, version, c.err)
	}
	if len(c.buf) != 0 {
		return nil, fmt.Errorf("metadata record %s version %d: %d bytes are left over", t.name, version, len(c.buf))
	}
	return r, nil
}

// RecordName is the schema's name of r's type.
func RecordName(r Record) string { return recordTypes[r.Key()].name }
