package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// DeleteGroups (42), versions 0-2.
//
// Departures from Kafka: none known.

func (s *Shard) serveDeleteGroups(c *call) {
	req := c.body.(*kmsg.DeleteGroupsRequest)
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(req.Groups))
	s.askGroups(c, len(req.Groups), func(i int) string { return req.Groups[i] },
		func(places []int) kmsg.Request {
			part := kmsg.NewPtrDeleteGroupsRequest()
			part.Groups = choose(req.Groups, places)
			return part
		},
		func(places []int, r kmsg.Response) {
			for j, i := range places {
				resp.Groups[i] = r.(*kmsg.DeleteGroupsResponse).Groups[j]
			}
		},
		func() { c.reply(resp) })
}
