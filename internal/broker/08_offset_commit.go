package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// OffsetCommit (8), versions 2-10.
//
// Departures from Kafka: none known; a request may have 16 MiB and
// protocol.MaxRequestElements topics and partitions.

func (s *Shard) serveOffsetCommit(c *call) {
	s.askGroup(c, c.body.(*kmsg.OffsetCommitRequest).Group)
}
