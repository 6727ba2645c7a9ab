package broker

import (
	"slipstream/internal/group"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupDescribe (69), versions 0-1 (KIP-848).
//
// Departures from Kafka: there is no authorizer, so every operation is authorized.

func (s *Shard) serveConsumerGroupDescribe(c *call) {
	req := c.body.(*kmsg.ConsumerGroupDescribeRequest)
	if !s.consumerGroupsEnabled() {
		c.reply(group.Refuse(req, protocol.UNSUPPORTED_VERSION))
		return
	}
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	resp.Groups = make([]kmsg.ConsumerGroupDescribeResponseGroup, len(req.Groups))
	s.askGroups(c, len(req.Groups), func(i int) string { return req.Groups[i] },
		func(places []int) kmsg.Request {
			part := kmsg.NewPtrConsumerGroupDescribeRequest()
			part.Groups = choose(req.Groups, places)
			return part
		},
		func(places []int, r kmsg.Response) {
			for j, i := range places {
				g := r.(*kmsg.ConsumerGroupDescribeResponse).Groups[j]
				if req.IncludeAuthorizedOperations && g.ErrorCode == 0 {
					g.AuthorizedOperations = groupOperations
				}
				resp.Groups[i] = g
			}
		},
		func() { c.replyOfGroups(resp) })
}
