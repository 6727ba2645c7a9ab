package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// LeaveGroup (13), versions 0-5; several members at once from v3 on.
//
// Departures from Kafka: reasons (v5) are read and not kept.

func (s *Shard) serveLeaveGroup(c *call) {
	s.askGroup(c, c.body.(*kmsg.LeaveGroupRequest).Group)
}
