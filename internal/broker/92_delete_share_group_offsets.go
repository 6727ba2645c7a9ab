package broker

import (
	"slipstream/internal/group"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteShareGroupOffsets (92), version 0 (KIP-932): forgets where an empty share
// group is in topics.
//
// No departures from Kafka.

func (s *Shard) serveDeleteShareGroupOffsets(c *call) {
	if !s.shareGroupsEnabled() {
		c.reply(group.Refuse(c.body, protocol.UNSUPPORTED_VERSION))
		return
	}
	s.askGroup(c, c.body.(*kmsg.DeleteShareGroupOffsetsRequest).GroupID)
}
