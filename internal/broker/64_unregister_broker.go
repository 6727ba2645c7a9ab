package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// UnregisterBroker (64), version 0, of brokers that an Apache cluster left in the
// metadata log.
//
// Departures from Kafka: this node itself is not unregistered.

func (s *Shard) serveUnregisterBroker(c *call) {
	req := c.body.(*kmsg.UnregisterBrokerRequest)
	var resp *kmsg.UnregisterBrokerResponse
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		resp, records = ctl.UnregisterBroker(req)
		return records
	}, func(code protocol.ErrorCode) {
		uncommitted(code, 1, func(int) *int16 { return &resp.ErrorCode })
		c.reply(resp)
	})
}
