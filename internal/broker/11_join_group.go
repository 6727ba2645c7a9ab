package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// JoinGroup (11), versions 0-9. The answer waits for the rebalance.
//
// Departures from Kafka: see package group.

func (s *Shard) serveJoinGroup(c *call) {
	s.askGroup(c, c.body.(*kmsg.JoinGroupRequest).Group)
}
