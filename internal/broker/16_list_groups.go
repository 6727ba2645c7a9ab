package broker

import (
	"slipstream/internal/group"
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
	l := &listing{shard: s, call: c, of: of, resp: resp, request: c.groupRequest(req), answers: make([]*kmsg.ListGroupsResponse, of.partitions)}
	for range min(coordinatorsAtOnce, len(l.answers)) {
		l.ask()
	}
}

// coordinatorsAtOnce is how many coordinators are asked at a time: all at once would hold
// a core that has all of them for as long as all groups take.
const coordinatorsAtOnce = 4

// listing is a ListGroups under way.
type listing struct {
	shard   *Shard
	call    *call
	of      *topicState
	resp    *kmsg.ListGroupsResponse
	request group.Request
	answers []*kmsg.ListGroupsResponse // by partition
	asked   int
	came    int
}

// ask asks the next coordinator, and the one after it when that has answered.
func (l *listing) ask() {
	i := l.asked
	if i == len(l.answers) {
		return // those before were answered at once
	}
	l.asked++
	l.shard.stepGroups(partitionKey{l.of.id, int32(i)}, l.request, func(answer kmsg.Response) {
		l.answers[i] = answer.(*kmsg.ListGroupsResponse)
		l.came++
		switch {
		case l.asked < len(l.answers):
			l.ask()
		case l.came == len(l.answers):
			mergeListed(l.resp, l.answers)
			l.call.replyOfGroups(l.resp)
		}
	})
}

// mergeListed puts the coordinators' answers together. One that is loading spoils
// them all, as in Kafka; one that is not in service has no groups to tell of.
func mergeListed(resp *kmsg.ListGroupsResponse, answers []*kmsg.ListGroupsResponse) {
	for _, a := range answers {
		switch code := protocol.ErrorCode(a.ErrorCode); code {
		case protocol.NONE:
			resp.Groups = append(resp.Groups, a.Groups...)
		case protocol.NOT_COORDINATOR:
		default:
			resp.ErrorCode, resp.Groups = a.ErrorCode, nil
			return
		}
	}
}
