package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// OffsetDelete (47), version 0.
//
// Departures from Kafka: none known.

func (s *Shard) serveOffsetDelete(c *call) {
	s.askGroup(c, c.body.(*kmsg.OffsetDeleteRequest).Group)
}
