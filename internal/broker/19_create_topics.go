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
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		resp, records = ctl.CreateTopics(req)
		return records
	}, func(code protocol.ErrorCode) {
		if code != protocol.NONE {
			for i := range resp.Topics {
				if resp.Topics[i].ErrorCode == 0 {
					resp.Topics[i].ErrorCode = int16(code)
				}
			}
		}
		c.reply(resp)
	})
}
