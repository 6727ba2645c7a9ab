package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ElectLeaders (43), versions 0-2: alone, this node leads all that it has, and no
// election is needed.

func (s *Shard) serveElectLeaders(c *call) {
	req := c.body.(*kmsg.ElectLeadersRequest)
	var resp *kmsg.ElectLeadersResponse
	s.propose(func(ctl *metadata.Controller) []metadata.Record {
		resp = ctl.ElectLeaders(req)
		return nil
	}, func(protocol.ErrorCode) { c.reply(resp) })
}
