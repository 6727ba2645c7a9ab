package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateTopics (19), versions 2-7.
//
// Departures from Kafka: the answer comes when the partitions can be used, not
// when the change is merely committed, so a client may produce at once.

func (s *Shard) serveCreateTopics(c *call) {
	req := c.body.(*kmsg.CreateTopicsRequest)
	var resp *kmsg.CreateTopicsResponse
	m := c.mutating(6)
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		m.on(ctl, s.broker.shards[controllerCore], func() { resp, records = ctl.CreateTopics(req) })
		return records
	}, func(code protocol.ErrorCode) {
		uncommitted(code, len(resp.Topics), func(i int) *int16 { return &resp.Topics[i].ErrorCode })
		c.throttleMillis = m.delayMillis
		c.reply(resp)
	})
}
