package protocol

// Control records are the broker's own: their batch has AttrControl, consumers skip them. The key says what the
// value is:
//
//	key:  +---------+-------+    value of AbortMarker and CommitMarker:  +---------+-------------------+
//	      | int16   | int16 |                                             | int16   | int32             |
//	      | 0       | type  |                                             | 0       | coordinator epoch |
//	      +---------+-------+                                             +---------+-------------------+
//
// The other values are messages of the metadata quorum in the flexible form, which begin with a version that
// is part of their fields:
//
//	LeaderChange    int16 version, int32 leader, n x voter, n x granting voter, tags
//	                voter: int32 id, directory id (version 1+), tags
//	SnapshotHeader  int16 0, int64 timestamp (ms) of the last record contained, tags
//	SnapshotFooter  int16 0, tags
//	KRaftVersion    int16 0, int16 version, tags
//	KRaftVoters     int16 0, n x (int32 id, directory id, n x (name, host, uint16 port, tags), (int16 least, int16 most, tags), tags), tags
type ControlType int16

// Kafka's types of control records.
const (
	AbortMarker ControlType = iota
	CommitMarker
	LeaderChange
	SnapshotHeader
	SnapshotFooter
	KRaftVersion
	KRaftVoters
)

// AppendControlKey appends the key of a control record.
func AppendControlKey(b []byte, t ControlType) []byte {
	return AppendInt16(AppendInt16(b, 0), int16(t))
}

// ParseControlKey reads the key of a control record. False: it is not one. A type that is not
// listed here comes from a newer Kafka and is to be ignored.
func ParseControlKey(key []byte) (ControlType, bool) {
	r := NewReader(key)
	version, t := r.Int16(), ControlType(r.Int16())
	return t, r.err == nil && version >= 0
}

// Voter is a member of the metadata quorum in a leader change.
type Voter struct {
	ID        int32
	Directory UUID
}

// AppendLeaderChange appends the value of a LeaderChange record, version 0 or 1.
func AppendLeaderChange(b []byte, version int16, leader int32, voters, granting []Voter) []byte {
	b = AppendInt16(b, version)
	b = AppendInt32(b, leader)
	for _, list := range [2][]Voter{voters, granting} {
		b = AppendArrayLength(b, len(list), true)
		for i := range list {
			b = AppendInt32(b, list[i].ID)
			if version >= 1 {
				b = AppendUUID(b, list[i].Directory)
			}
			b = append(b, 0)
		}
	}
	return append(b, 0)
}

// AppendSnapshotHeader appends the value of a SnapshotHeader record.
func AppendSnapshotHeader(b []byte, lastTimestampMillis int64) []byte {
	return append(AppendInt64(AppendInt16(b, 0), lastTimestampMillis), 0)
}

// AppendSnapshotFooter appends the value of a SnapshotFooter record.
func AppendSnapshotFooter(b []byte) []byte { return append(b, 0, 0, 0) }

// AppendKRaftVersion appends the value of a KRaftVersion record.
func AppendKRaftVersion(b []byte, version int16) []byte {
	return append(AppendInt16(AppendInt16(b, 0), version), 0)
}

// AppendTransactionMarker appends the value of an AbortMarker or CommitMarker record.
func AppendTransactionMarker(b []byte, coordinatorEpoch int32) []byte {
	return AppendInt32(AppendInt16(b, 0), coordinatorEpoch)
}

// QuorumVoter is a voter as a KRaftVoters record has it, with the versions of kraft.version it supports.
type QuorumVoter struct {
	ID                        int32
	Directory                 UUID
	Endpoints                 []QuorumEndpoint
	LeastVersion, MostVersion int16
}

// QuorumEndpoint is where a voter listens, by the listener's name.
type QuorumEndpoint struct {
	Name, Host string
	Port       uint16
}

// AppendKRaftVoters appends the value of a KRaftVoters record.
func AppendKRaftVoters(b []byte, voters []QuorumVoter) []byte {
	b = AppendArrayLength(AppendInt16(b, 0), len(voters), true)
	for i := range voters {
		v := &voters[i]
		b = AppendUUID(AppendInt32(b, v.ID), v.Directory)
		b = AppendArrayLength(b, len(v.Endpoints), true)
		for _, e := range v.Endpoints {
			b = AppendCompactString(AppendCompactString(b, e.Name), e.Host)
			b = append(AppendInt16(b, int16(e.Port)), 0)
		}
		b = append(AppendInt16(AppendInt16(b, v.LeastVersion), v.MostVersion), 0, 0)
	}
	return append(b, 0)
}
