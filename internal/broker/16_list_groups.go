package broker

import (
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups (16), versions 0-5; filters by state from v4 and by type from v5 on.
//
// Departures from Kafka: groups are listed by partition of __consumer_offsets and
// then by name.

func (s *Shard) serveListGroups(c *call) {
	req := c.body.(*kmsg.ListGroupsRequest)
	resp := kmsg.NewPtrListGroupsResponse()
	of := s.topicsByName[consumerOffsets.name]
	if of == nil {
		c.reply(resp)
		return
	}
	answers := make([]*kmsg.ListGroupsResponse, of.partitions)
	left := len(answers) + 1
	ended := func() {
		if left--; left == 0 {
			c.reply(mergeListed(resp, answers))
		}
	}
	r := c.groupRequest(req)
	for i := range answers {
		s.stepGroups(partitionKey{of.id, int32(i)}, r, func(answer kmsg.Response) {
			answers[i] = answer.(*kmsg.ListGroupsResponse)
			ended()
		})
	}
	ended()
}

// mergeListed puts the coordinators' answers together. One that is loading spoils
// them all, as in Kafka; one that is not in service has no groups to tell of.
func mergeListed(resp *kmsg.ListGroupsResponse, answers []*kmsg.ListGroupsResponse) *kmsg.ListGroupsResponse {
	for _, a := range answers {
		switch code := protocol.ErrorCode(a.ErrorCode); code {
		case protocol.NONE:
			resp.Groups = append(resp.Groups, a.Groups...)
		case protocol.NOT_COORDINATOR:
		default:
			resp.ErrorCode, resp.Groups = a.ErrorCode, nil
			return resp
		}
	}
	return resp
}
