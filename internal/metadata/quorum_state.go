package metadata

import (
	"encoding/json"
	"fmt"

	"slipstream/protocol"
)

// QuorumState is the file quorum-state beside the metadata log: what a raft node
// must remember of elections. One line of JSON, without a newline
// (QuorumStateData.json in kafka-raft, version 1; version 0 was Kafka's before
// dynamic voters):
//
//	{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}
//
// A node that is the only voter elects itself at each start: the epoch after the
// last one that this file or the log knows. The file is written, and durable,
// before the epoch's LeaderChange is appended.
type QuorumState struct {
	LeaderID         int32 // -1: none known
	LeaderEpoch      int32
	VotedID          int32 // -1: no vote in this epoch
	VotedDirectoryID UUID
	VoterIDs         []int32 // version 0 alone has them
}

// Append appends the file's bytes to dst.
func (q QuorumState) Append(dst []byte) []byte {
	return fmt.Appendf(dst, `{"leaderId":%d,"leaderEpoch":%d,"votedId":%d,"votedDirectoryId":"%s","data_version":1}`,
		q.LeaderID, q.LeaderEpoch, q.VotedID, q.VotedDirectoryID)
}

// ParseQuorumState reads the file.
func ParseQuorumState(b []byte) (QuorumState, error) {
	f := struct {
		LeaderID         int32  `json:"leaderId"`
		LeaderEpoch      int32  `json:"leaderEpoch"`
		VotedID          int32  `json:"votedId"`
		VotedDirectoryID string `json:"votedDirectoryId"`
		Version          *int16 `json:"data_version"`
		CurrentVoters    []struct {
			VoterID int32 `json:"voterId"`
		} `json:"currentVoters"`
	}{LeaderID: -1, LeaderEpoch: -1, VotedID: -1, VotedDirectoryID: UUID{}.String()}
	if err := json.Unmarshal(b, &f); err != nil {
		return QuorumState{}, fmt.Errorf("quorum-state: %w", err)
	}
	if f.Version == nil || *f.Version < 0 || *f.Version > 1 {
		return QuorumState{}, fmt.Errorf("quorum-state: data_version is missing or not 0 or 1")
	}
	directory, err := protocol.ParseUUID(f.VotedDirectoryID)
	if err != nil {
		return QuorumState{}, fmt.Errorf("quorum-state: votedDirectoryId: %w", err)
	}
	q := QuorumState{LeaderID: f.LeaderID, LeaderEpoch: f.LeaderEpoch, VotedID: f.VotedID, VotedDirectoryID: directory}
	for _, v := range f.CurrentVoters {
		q.VoterIDs = append(q.VoterIDs, v.VoterID)
	}
	return q, nil
}
