package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// SyncGroup (14), versions 0-5. The answer waits for the leader's assignment.
//
// Departures from Kafka: a request may have 16 MiB.

func (s *Shard) serveSyncGroup(c *call) {
	s.askGroup(c, c.body.(*kmsg.SyncGroupRequest).Group)
}
