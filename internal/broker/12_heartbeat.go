package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// Heartbeat (12), versions 0-4.
//
// Departures from Kafka: none known.

func (s *Shard) serveHeartbeat(c *call) {
	s.askGroup(c, c.body.(*kmsg.HeartbeatRequest).Group)
}
