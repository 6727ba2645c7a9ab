package metadata

import (
	"encoding/binary"
	"fmt"

	"slipstream/protocol"
)

// Control records: what the raft layer of Kafka writes between metadata records.
//
//	key:    | version int16, 0 | type int16 |
//	value:  | version int16 | the schema's other fields, flexible encoding |
//
// Schemas: kafka-clients, common/message (LeaderChangeMessage,
// SnapshotHeaderRecord, SnapshotFooterRecord, KRaftVersionRecord, VotersRecord).

// Types of control records.
const (
	controlLeaderChange   = 2
	controlSnapshotHeader = 3
	controlSnapshotFooter = 4
	controlKRaftVersion   = 5
	controlVoters         = 6
)

// Control is a control record: one of LeaderChange, SnapshotHeader,
// SnapshotFooter, KRaftVersion, Voters.
type Control interface {
	controlType() int16
	body(*codec)
}

// LeaderChange is the first record of every epoch.
type LeaderChange struct {
	Version        int16 // 0, or 1 with directory ids; Kafka 4.3 writes 0
	LeaderID       int32
	Voters         []LeaderChangeVoter
	GrantingVoters []LeaderChangeVoter
	Tags           []Tag
}

// LeaderChangeVoter is a voter of the quorum.
type LeaderChangeVoter struct {
	ID          int32
	DirectoryID UUID // v1+
	Tags        []Tag
}

func (m *LeaderChange) controlType() int16 { return controlLeaderChange }

func (m *LeaderChange) body(c *codec) {
	c.int16(&m.Version)
	voter := func(c *codec, v *LeaderChangeVoter) {
		c.int32(&v.ID)
		if m.Version >= 1 {
			c.uuid(&v.DirectoryID)
		}
		c.tags(&v.Tags)
	}
	c.int32(&m.LeaderID)
	array(c, &m.Voters, 5, voter)
	array(c, &m.GrantingVoters, 5, voter)
	c.tags(&m.Tags)
}

// SnapshotHeader is the first record of a snapshot.
type SnapshotHeader struct {
	Version                   int16
	LastContainedLogTimestamp int64 // ms since 1970; 0 in bootstrap.checkpoint
	Tags                      []Tag
}

func (m *SnapshotHeader) controlType() int16 { return controlSnapshotHeader }

func (m *SnapshotHeader) body(c *codec) {
	c.int16(&m.Version)
	c.int64(&m.LastContainedLogTimestamp)
	c.tags(&m.Tags)
}

// SnapshotFooter is the last record of a snapshot: a file without it is torn.
type SnapshotFooter struct {
	Version int16
	Tags    []Tag
}

func (m *SnapshotFooter) controlType() int16 { return controlSnapshotFooter }

func (m *SnapshotFooter) body(c *codec) {
	c.int16(&m.Version)
	c.tags(&m.Tags)
}

// KRaftVersion is the level of the raft protocol: 1 has the voters in the log.
type KRaftVersion struct {
	Version      int16
	KRaftVersion int16
	Tags         []Tag
}

func (m *KRaftVersion) controlType() int16 { return controlKRaftVersion }

func (m *KRaftVersion) body(c *codec) {
	c.int16(&m.Version)
	c.int16(&m.KRaftVersion)
	c.tags(&m.Tags)
}

// Voters is the set of voters from this record on.
type Voters struct {
	Version int16
	Voters  []Voter
	Tags    []Tag
}

// Voter is a controller that votes.
type Voter struct {
	ID                  int32
	DirectoryID         UUID // directory.id in meta.properties
	Endpoints           []VoterEndpoint
	KRaftVersionFeature KRaftVersionRange
	Tags                []Tag
}

// VoterEndpoint is a controller listener.
type VoterEndpoint struct {
	Name string
	Host string
	Port uint16
	Tags []Tag
}

// KRaftVersionRange is the raft protocol levels that a voter supports.
type KRaftVersionRange struct {
	Min, Max int16
	Tags     []Tag
}

func (m *Voters) controlType() int16 { return controlVoters }

func (m *Voters) body(c *codec) {
	c.int16(&m.Version)
	array(c, &m.Voters, 26, (*codec).voter)
	c.tags(&m.Tags)
}

func (c *codec) voter(v *Voter) {
	c.int32(&v.ID)
	c.uuid(&v.DirectoryID)
	array(c, &v.Endpoints, 5, func(c *codec, e *VoterEndpoint) {
		c.string(&e.Name)
		c.string(&e.Host)
		c.uint16(&e.Port)
		c.tags(&e.Tags)
	})
	c.int16(&v.KRaftVersionFeature.Min)
	c.int16(&v.KRaftVersionFeature.Max)
	c.tags(&v.KRaftVersionFeature.Tags)
	c.tags(&v.Tags)
}

// AppendControlBatch appends one control batch to dst.
func AppendControlBatch(dst []byte, info BatchInfo, controls ...Control) []byte {
	header := protocol.NewBatchInfo(info.Offset, info.LeaderEpoch)
	header.Attributes = protocol.AttrControl
	var bl protocol.Builder
	bl.Begin(dst, header)
	for _, m := range controls {
		key, value := encodeControl(m)
		bl.Append(&protocol.Record{Timestamp: info.TimestampMillis, Key: key, Value: value})
	}
	dst, _ = bl.Finish()
	return dst
}

func encodeControl(m Control) (key, value []byte) {
	key = binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(m.controlType()))
	c := codec{}
	m.body(&c)
	return key, c.buf
}

// DecodeControl decodes a control record. A type that is not known (or is of
// transactions, which metadata has none of) is nil without an error.
func DecodeControl(key, value []byte) (Control, error) {
	if len(key) < 4 {
		return nil, fmt.Errorf("control record key of %d bytes", len(key))
	}
	if v := int16(binary.BigEndian.Uint16(key)); v < 0 {
		return nil, fmt.Errorf("control record key version %d", v)
	}
	if len(value) < 2 {
		return nil, fmt.Errorf("control record value of %d bytes", len(value))
	}
	m, maxVersion := emptyControl(binary.BigEndian.Uint16(key[2:]))
	if m == nil {
		return nil, nil
	}
	if v := int16(binary.BigEndian.Uint16(value)); v < 0 || v > maxVersion {
		return nil, fmt.Errorf("control record type %d has version %d, known are 0 to %d", m.controlType(), v, maxVersion)
	}
	c := codec{buf: value, reading: true}
	if m.body(&c); c.err != nil {
		return nil, fmt.Errorf("control record type %d: %w", m.controlType(), c.err)
	}
	if len(c.buf) != 0 {
		return nil, fmt.Errorf("control record type %d: %d bytes are left over", m.controlType(), len(c.buf))
	}
	return m, nil
}

func emptyControl(kind uint16) (m Control, maxVersion int16) {
	switch kind {
	case controlLeaderChange:
		return &LeaderChange{}, 1
	case controlSnapshotHeader:
		return &SnapshotHeader{}, 0
	case controlSnapshotFooter:
		return &SnapshotFooter{}, 0
	case controlKRaftVersion:
		return &KRaftVersion{}, 0
	case controlVoters:
		return &Voters{}, 0
	default:
		return nil, 0
	}
}
