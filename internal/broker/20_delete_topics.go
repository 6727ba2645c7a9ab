package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteTopics (20), versions 1-6, by name and (v6) by id. The partitions'
// directories are renamed at once and removed after file.delete.delay.ms.

func (s *Shard) serveDeleteTopics(c *call) {
	req := c.body.(*kmsg.DeleteTopicsRequest)
	var resp *kmsg.DeleteTopicsResponse
	m := c.mutating(5)
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		m.on(ctl, s.broker.shards[controllerCore], func() { resp, records = ctl.DeleteTopics(req) })
		return records
	}, func(code protocol.ErrorCode) {
		uncommitted(code, len(resp.Topics), func(i int) *int16 { return &resp.Topics[i].ErrorCode })
		c.throttleMillis = m.delayMillis
		c.reply(resp)
	})
}
