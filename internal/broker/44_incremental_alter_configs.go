package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// IncrementalAlterConfigs (44), versions 0-1, on topics and brokers. Changes to
// topics are live on every core when the answer comes.

func (s *Shard) serveIncrementalAlterConfigs(c *call) {
	req := c.body.(*kmsg.IncrementalAlterConfigsRequest)
	var resp *kmsg.IncrementalAlterConfigsResponse
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		resp, records = ctl.IncrementalAlterConfigs(req)
		return records
	}, func(code protocol.ErrorCode) {
		uncommitted(code, len(resp.Resources), func(i int) *int16 { return &resp.Resources[i].ErrorCode })
		c.reply(resp)
	})
}
