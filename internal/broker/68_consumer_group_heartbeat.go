package broker

import (
	"slipstream/internal/group"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupHeartbeat (68), versions 0-1 (KIP-848).
//
// Departures from Kafka: see package group.

func (s *Shard) serveConsumerGroupHeartbeat(c *call) {
	if !s.consumerGroupsEnabled() {
		c.reply(group.Refuse(c.body, protocol.UNSUPPORTED_VERSION))
		return
	}
	s.askGroup(c, c.body.(*kmsg.ConsumerGroupHeartbeatRequest).Group)
}

// consumerGroupsEnabled says whether the feature group.version and
// group.coordinator.rebalance.protocols allow KIP-848.
func (s *Shard) consumerGroupsEnabled() bool {
	return s.broker.consumerGroups && s.image.Feature("group.version") >= 1
}
