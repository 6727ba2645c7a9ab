package broker

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeAcls (29), CreateAcls (30) and DeleteAcls (31), versions 1-3: there is no
// authorizer, which is what the answers say, as Kafka's do without one.

const noAuthorizer = "No Authorizer is configured."

func (s *Shard) serveDescribeAcls(c *call) {
	resp := kmsg.NewPtrDescribeACLsResponse()
	resp.ErrorCode = int16(protocol.SECURITY_DISABLED)
	resp.ErrorMessage = kmsg.StringPtr("No Authorizer is configured on the broker")
	c.reply(resp)
}

func (s *Shard) serveCreateAcls(c *call) {
	resp := kmsg.NewPtrCreateACLsResponse()
	for range c.body.(*kmsg.CreateACLsRequest).Creations {
		r := kmsg.NewCreateACLsResponseResult()
		r.ErrorCode, r.ErrorMessage = int16(protocol.SECURITY_DISABLED), kmsg.StringPtr(noAuthorizer)
		resp.Results = append(resp.Results, r)
	}
	c.reply(resp)
}

func (s *Shard) serveDeleteAcls(c *call) {
	resp := kmsg.NewPtrDeleteACLsResponse()
	for range c.body.(*kmsg.DeleteACLsRequest).Filters {
		r := kmsg.NewDeleteACLsResponseResult()
		r.ErrorCode, r.ErrorMessage = int16(protocol.SECURITY_DISABLED), kmsg.StringPtr(noAuthorizer)
		resp.Results = append(resp.Results, r)
	}
	c.reply(resp)
}
