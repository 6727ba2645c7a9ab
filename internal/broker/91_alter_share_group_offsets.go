package broker

import (
	"slipstream/internal/group"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterShareGroupOffsets (91), version 0 (KIP-932): sets where an empty share group
// begins in partitions.
//
// No departures from Kafka.

func (s *Shard) serveAlterShareGroupOffsets(c *call) {
	if !s.shareGroupsEnabled() {
		c.reply(group.Refuse(c.body, protocol.UNSUPPORTED_VERSION))
		return
	}
	s.askGroup(c, c.body.(*kmsg.AlterShareGroupOffsetsRequest).GroupID)
}
