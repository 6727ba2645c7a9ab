package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// DescribeGroups (15), versions 0-6: classic groups.
//
// Departures from Kafka: there is no authorizer, so every operation is authorized.

// groupOperations are AclOperation's bits that apply to groups: read, delete,
// describe, describe and alter configs.
const groupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

func (s *Shard) serveDescribeGroups(c *call) {
	req := c.body.(*kmsg.DescribeGroupsRequest)
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(req.Groups))
	s.askGroups(c, len(req.Groups), func(i int) string { return req.Groups[i] },
		func(places []int) kmsg.Request {
			part := kmsg.NewPtrDescribeGroupsRequest()
			part.Groups = choose(req.Groups, places)
			return part
		},
		func(places []int, r kmsg.Response) {
			for j, i := range places {
				g := r.(*kmsg.DescribeGroupsResponse).Groups[j]
				if req.IncludeAuthorizedOperations && g.ErrorCode == 0 {
					g.AuthorizedOperations = groupOperations
				}
				resp.Groups[i] = g
			}
		},
		func() { c.replyOfGroups(resp) })
}

// choose gives the strings at some places.
func choose(all []string, places []int) []string {
	out := make([]string, len(places))
	for j, i := range places {
		out[j] = all[i]
	}
	return out
}
