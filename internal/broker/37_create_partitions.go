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
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		resp, records = ctl.CreatePartitions(req)
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
