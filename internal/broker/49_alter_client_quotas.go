package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterClientQuotas (49), versions 0-1. The quotas are in force on every core when
// the answer comes; quotas.go says how.
//
// Departures from Kafka: an ip entity is an address, names of hosts are not looked
// up; an entity named twice in a request is refused and left as it is.

func (s *Shard) serveAlterClientQuotas(c *call) {
	req := c.body.(*kmsg.AlterClientQuotasRequest)
	var resp *kmsg.AlterClientQuotasResponse
	s.propose(func(ctl *metadata.Controller) (records []metadata.Record) {
		resp, records = ctl.AlterClientQuotas(req)
		return records
	}, func(code protocol.ErrorCode) {
		uncommitted(code, len(resp.Entries), func(i int) *int16 { return &resp.Entries[i].ErrorCode })
		c.reply(resp)
	})
}
