package broker

import (
	"slipstream/internal/group"
	"slipstream/internal/share"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ShareGroupHeartbeat (76), version 1 (KIP-932).
//
// Departures from Kafka: who joins is answered when it has been assigned to, at most
// share.assignment.interval.ms later, instead of with nothing and again at its next
// heartbeat.

func (s *Shard) serveShareGroupHeartbeat(c *call) {
	if !s.shareGroupsEnabled() {
		c.reply(group.Refuse(c.body, protocol.UNSUPPORTED_VERSION))
		return
	}
	req := c.body.(*kmsg.ShareGroupHeartbeatRequest)
	if !share.ValidMemberID(req.MemberID) {
		c.reply(group.Refuse(c.body, protocol.INVALID_REQUEST))
		return
	}
	s.askGroup(c, req.GroupID)
}
