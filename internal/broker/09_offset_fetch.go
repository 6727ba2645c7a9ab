package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// OffsetFetch (9), versions 1-10; several groups at once from v8 on.
//
// Departures from Kafka: none known.

func (s *Shard) serveOffsetFetch(c *call) {
	req := c.body.(*kmsg.OffsetFetchRequest)
	if req.Version < 8 {
		s.askGroup(c, req.Group)
		return
	}
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Groups = make([]kmsg.OffsetFetchResponseGroup, len(req.Groups))
	s.askGroups(c, len(req.Groups), func(i int) string { return req.Groups[i].Group },
		func(places []int) kmsg.Request {
			part := kmsg.NewPtrOffsetFetchRequest()
			part.RequireStable = req.RequireStable
			for _, i := range places {
				part.Groups = append(part.Groups, req.Groups[i])
			}
			return part
		},
		func(places []int, r kmsg.Response) {
			for j, i := range places {
				resp.Groups[i] = r.(*kmsg.OffsetFetchResponse).Groups[j]
			}
		},
		func() { c.replyOfGroups(resp) })
}
