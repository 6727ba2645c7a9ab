package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions (37), versions 0-3.

func (s *Shard) serveCreatePartitions(c *call) {
	req := c.body.(*kmsg.CreatePartitionsRequest)
	var resp *kmsg.CreatePartitionsResponse
	m := c.mutating(3)
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		m.on(ctl, s.broker.shards[controllerCore], func() { resp, records = ctl.CreatePartitions(req) })
		return records
	}, func(code protocol.ErrorCode) {
		uncommitted(code, len(resp.Topics), func(i int) *int16 { return &resp.Topics[i].ErrorCode })
		c.throttleMillis = m.delayMillis
		c.reply(resp)
	})
}
