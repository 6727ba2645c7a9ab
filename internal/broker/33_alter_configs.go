package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs (33), versions 0-2, on what IncrementalAlterConfigs (44) alters but
// loggers, as in Kafka. Changes are live on every core when the answer comes.
//
// Departures from Kafka: a resource that is named twice is refused (Kafka never
// answers such a request).

func (s *Shard) serveAlterConfigs(c *call) {
	req := c.body.(*kmsg.AlterConfigsRequest)
	var resp *kmsg.AlterConfigsResponse
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		resp, records = ctl.AlterConfigs(req)
		return records
	}, func(code protocol.ErrorCode) {
		uncommitted(code, len(resp.Resources), func(i int) *int16 { return &resp.Resources[i].ErrorCode })
		c.reply(resp)
	})
}
