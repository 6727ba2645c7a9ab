package broker

import (
	"slipstream/internal/group"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ShareGroupDescribe (77), version 1 (KIP-932).
//
// Departures from Kafka: there is no authorizer, so every operation is authorized.

func (s *Shard) serveShareGroupDescribe(c *call) {
	req := c.body.(*kmsg.ShareGroupDescribeRequest)
	if !s.shareGroupsEnabled() {
		c.reply(group.Refuse(req, protocol.UNSUPPORTED_VERSION))
		return
	}
	resp := kmsg.NewPtrShareGroupDescribeResponse()
	resp.Groups = make([]kmsg.ShareGroupDescribeResponseGroup, len(req.GroupIDs))
	s.askGroups(c, len(req.GroupIDs), func(i int) string { return req.GroupIDs[i] },
		func(places []int) kmsg.Request {
			part := kmsg.NewPtrShareGroupDescribeRequest()
			part.GroupIDs = choose(req.GroupIDs, places)
			return part
		},
		func(places []int, r kmsg.Response) {
			for j, i := range places {
				g := r.(*kmsg.ShareGroupDescribeResponse).Groups[j]
				if req.IncludeAuthorizedOperations && g.ErrorCode == 0 {
					g.AuthorizedOperations = groupOperations
				}
				resp.Groups[i] = g
			}
		},
		func() { c.reply(resp) })
}
