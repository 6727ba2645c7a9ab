package broker

import (
	"slipstream/internal/group"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// How requests about groups reach the coordinators: one that names one group is a
// visit to its coordinator; one that names several is split by coordinator, and
// the answers are put together in the request's order.

// groupRequest is the call as the machine takes it.
func (c *call) groupRequest(body kmsg.Request) group.Request {
	return group.Request{
		ClientID: string(c.header.ClientID), ClientHost: "/" + c.req.Conn.Peer.Addr().Unmap().String(), Body: body,
	}
}

// askGroup has a group's coordinator answer the call.
func (s *Shard) askGroup(c *call, id string) {
	s.stepGroup(id, c.groupRequest(c.body), c.replyOfGroups)
	c.forgetBody()
}

// largeAnswer is from how many members, partitions or groups on a helper encodes
// an answer: about 100 us' worth.
const largeAnswer = 500

// replyOfGroups is reply for answers that grow with a group.
func (c *call) replyOfGroups(resp kmsg.Response) {
	if elementsOf(resp) >= largeAnswer {
		c.replyFromHelper(resp)
		return
	}
	c.reply(resp)
}

// elementsOf is how many members, partitions or groups an answer tells of.
func elementsOf(resp kmsg.Response) (n int) {
	switch r := resp.(type) {
	case *kmsg.JoinGroupResponse:
		n = len(r.Members)
	case *kmsg.ListGroupsResponse:
		n = len(r.Groups)
	case *kmsg.DescribeGroupsResponse:
		for i := range r.Groups {
			n += 1 + 2*len(r.Groups[i].Members)
		}
	case *kmsg.ConsumerGroupDescribeResponse:
		for i := range r.Groups {
			n += 1 + 4*len(r.Groups[i].Members)
		}
	case *kmsg.OffsetCommitResponse:
		for i := range r.Topics {
			n += len(r.Topics[i].Partitions)
		}
	case *kmsg.OffsetFetchResponse:
		for i := range r.Topics {
			n += len(r.Topics[i].Partitions)
		}
		for i := range r.Groups {
			for j := range r.Groups[i].Topics {
				n += len(r.Groups[i].Topics[j].Partitions)
			}
		}
	}
	return n
}

// stepGroup has the coordinator of a group take a request, and calls done on this
// core with the answer.
func (s *Shard) stepGroup(id string, r group.Request, done func(kmsg.Response)) {
	k, ok := s.partitionOf(consumerOffsets, id)
	if !ok {
		done(group.Refuse(r.Body, protocol.NOT_COORDINATOR))
		return
	}
	s.stepGroups(k, r, done)
}

// stepGroups is stepGroup for the coordinator of a partition.
func (s *Shard) stepGroups(k partitionKey, r group.Request, done func(kmsg.Response)) {
	var resp kmsg.Response
	s.visitCoordinatorAt(k, func(co *coordinated, back func()) {
		co.machine.(*groupMachine).step(r, func(answer kmsg.Response) {
			resp = answer
			back()
		})
	}, func(code protocol.ErrorCode) {
		if code != protocol.NONE {
			resp = group.Refuse(r.Body, code)
		}
		done(resp)
	})
}

// forgetBody lets go of a request's body that somebody else has taken in: a
// member may wait for a rebalance for minutes.
func (c *call) forgetBody() {
	if c.done {
		return
	}
	version := c.body.GetVersion()
	c.body = kmsg.RequestForKey(c.header.APIKey)
	c.body.SetVersion(version)
}

// groupsAsked are the groups that a request names, by coordinator.
type groupsAsked struct {
	of     []partitionKey
	places [][]int // in the request
}

// splitGroups puts the groups of a request to their coordinators, in the order in
// which those are first named; ok is false while there are none at all.
func (s *Shard) splitGroups(n int, id func(i int) string) (out groupsAsked, ok bool) {
	at := make(map[int32]int)
	for i := range n {
		k, found := s.partitionOf(consumerOffsets, id(i))
		if !found {
			return groupsAsked{}, false
		}
		j, seen := at[k.partition]
		if !seen {
			j = len(out.of)
			at[k.partition] = j
			out.of, out.places = append(out.of, k), append(out.places, nil)
		}
		out.places[j] = append(out.places[j], i)
	}
	return out, true
}

// askGroups has each coordinator answer for those groups of the call that are its
// own. part makes the request for some places of the call's, put takes their
// answer in, finish sends the whole.
func (s *Shard) askGroups(c *call, n int, id func(i int) string,
	part func(places []int) kmsg.Request, put func(places []int, resp kmsg.Response), finish func()) {
	asked, ok := s.splitGroups(n, id)
	if !ok {
		c.reply(group.Refuse(c.body, protocol.NOT_COORDINATOR))
		return
	}
	left := len(asked.of) + 1
	ended := func() {
		if left--; left == 0 {
			finish()
		}
	}
	for i, k := range asked.of {
		places := asked.places[i]
		body := part(places)
		body.SetVersion(c.header.Version)
		s.stepGroups(k, c.groupRequest(body), func(resp kmsg.Response) {
			put(places, resp)
			ended()
		})
	}
	ended()
}
