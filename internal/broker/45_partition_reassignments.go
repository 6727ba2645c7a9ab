package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartitionReassignments (45), versions 0-1, and ListPartitionReassignments
// (46), version 0.
//
// Departures from Kafka: a partition can only be given to this node alone, which
// takes no time; what an Apache cluster left under way is listed until then.

func (s *Shard) serveAlterPartitionReassignments(c *call) {
	req := c.body.(*kmsg.AlterPartitionAssignmentsRequest)
	var resp *kmsg.AlterPartitionAssignmentsResponse
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		resp, records = ctl.AlterPartitionReassignments(req)
		return records
	}, func(code protocol.ErrorCode) {
		for i := range resp.Topics {
			t := &resp.Topics[i]
			uncommitted(code, len(t.Partitions), func(j int) *int16 { return &t.Partitions[j].ErrorCode })
		}
		c.reply(resp)
	})
}

func (s *Shard) serveListPartitionReassignments(c *call) {
	c.reply(s.image.ListPartitionReassignments(c.body.(*kmsg.ListPartitionReassignmentsRequest)))
}
