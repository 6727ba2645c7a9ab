package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// UpdateFeatures (57), versions 0-2. A level is in force on every core when the
// answer comes.
//
// Departures from Kafka: kraft.version is not raised from 0, since the log of such a
// directory has no voters in it.

func (s *Shard) serveUpdateFeatures(c *call) {
	req := c.body.(*kmsg.UpdateFeaturesRequest)
	var resp *kmsg.UpdateFeaturesResponse
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		resp, records = ctl.UpdateFeatures(req)
		return records
	}, func(code protocol.ErrorCode) {
		uncommitted(code, 1, func(int) *int16 { return &resp.ErrorCode })
		c.reply(resp)
	})
}
