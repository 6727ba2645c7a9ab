package broker

import (
	"fmt"
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AddRaftVoter (80), versions 0-1, and RemoveRaftVoter (81), version 0: the voters
// of the metadata log are this node.
//
// Departures from Kafka: another voter is not added (Kafka tries to reach it first,
// and answers REQUEST_TIMED_OUT where it cannot).

func (s *Shard) serveAddRaftVoter(c *call) {
	req := c.body.(*kmsg.AddRaftVoterRequest)
	resp := kmsg.NewPtrAddRaftVoterResponse()
	refuse := func(code protocol.ErrorCode, text string) {
		resp.ErrorCode, resp.ErrorMessage = int16(code), &text
		c.reply(resp)
	}
	switch {
	case s.otherCluster(req.ClusterID):
		refuse(protocol.INCONSISTENT_CLUSTER_ID, s.clusterText(req.ClusterID))
	case req.VoterID < 0 || req.VoterDirectoryID == [16]byte{}:
		refuse(protocol.INVALID_REQUEST, "Add voter request didn't include a valid voter")
	case !slices.ContainsFunc(req.Listeners, func(l kmsg.AddRaftVoterRequestListener) bool { return l.Name == "CONTROLLER" }):
		refuse(protocol.INVALID_REQUEST, "Add voter request didn't include the endpoint for the default listener ListenerName(CONTROLLER)")
	case req.VoterID == s.broker.nodeID:
		refuse(protocol.DUPLICATE_VOTER, fmt.Sprintf("The voter id for ReplicaKey(id=%d, directoryId=%s) is already part of the set of voters [%s].",
			req.VoterID, protocol.UUID(req.VoterDirectoryID), s.voterText()))
	default:
		refuse(protocol.REQUEST_TIMED_OUT, "This node is its own controller, and takes no other voter")
	}
}

func (s *Shard) serveRemoveRaftVoter(c *call) {
	req := c.body.(*kmsg.RemoveRaftVoterRequest)
	resp := kmsg.NewPtrRemoveRaftVoterResponse()
	code, text := protocol.VOTER_NOT_FOUND, fmt.Sprintf("Cannot remove voter ReplicaKey(id=%d, directoryId=%s) from the set of voters [%s]",
		req.VoterID, protocol.UUID(req.VoterDirectoryID), s.voterText())
	switch {
	case s.otherCluster(req.ClusterID):
		code, text = protocol.INCONSISTENT_CLUSTER_ID, s.clusterText(req.ClusterID)
	case req.VoterID < 0 || req.VoterDirectoryID == [16]byte{}:
		code, text = protocol.INVALID_REQUEST, "Remove voter request didn't include a valid voter"
	}
	resp.ErrorCode, resp.ErrorMessage = int16(code), &text
	c.reply(resp)
}

func (s *Shard) otherCluster(id *string) bool { return id != nil && *id != s.broker.clusterID }

func (s *Shard) clusterText(id *string) string {
	return fmt.Sprintf("The given id %q doesn't match the cluster id %q", *id, s.broker.clusterID)
}

func (s *Shard) voterText() string {
	return fmt.Sprintf("ReplicaKey(id=%d, directoryId=%s)", s.broker.nodeID, s.broker.directoryID)
}
