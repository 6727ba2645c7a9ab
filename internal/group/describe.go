package group

import (
	"strings"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeGroups serves DescribeGroups (key 15) v0-6, which is about classic groups.
func (c *Coordinator) describeGroups(r *Request, req *kmsg.DescribeGroupsRequest) {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Version = req.Version
	var newest *group
	for _, id := range req.Groups {
		g := c.find(id)
		if g != nil && (newest == nil || g.batch > newest.batch) {
			newest = g
		}
		d := describeClassic(id, g, req.Version)
		if c.shares.byID[id] != nil && d.ErrorMessage != nil {
			*d.ErrorMessage = "Group " + id + " is not a classic group."
		}
		resp.Groups = append(resp.Groups, d)
	}
	c.respond(newest, r, resp)
}

func describeClassic(id string, g *group, version int16) kmsg.DescribeGroupsResponseGroup {
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group, d.Members = id, []kmsg.DescribeGroupsResponseGroupMember{}
	if g == nil || g.classic == nil {
		d.State = "Dead"
		if version >= 6 {
			text := "Group " + id + " not found."
			if g != nil {
				text = "Group " + id + " is not a classic group."
			}
			d.ErrorCode, d.ErrorMessage = int16(protocol.GROUP_ID_NOT_FOUND), &text
		}
		return d
	}
	cg := g.classic
	d.State, d.ProtocolType = cg.state.String(), cg.protocolType
	stable := cg.state == classicStable
	if stable {
		d.Protocol = orEmpty(cg.protocol)
	}
	for m := range cg.members.all() {
		member := kmsg.DescribeGroupsResponseGroupMember{MemberID: m.id, InstanceID: m.instance, ClientID: m.clientID, ClientHost: m.clientHost,
			ProtocolMetadata: []byte{}, MemberAssignment: []byte{}}
		if stable {
			member.ProtocolMetadata = append(member.ProtocolMetadata, m.metadata(d.Protocol)...)
			member.MemberAssignment = append(member.MemberAssignment, m.assignment...)
		}
		d.Members = append(d.Members, member)
	}
	return d
}

// listGroups serves ListGroups (key 16) v0-5 for the groups of this coordinator.
// Filters are compared without regard to case; one that means nothing matches
// nothing.
func (c *Coordinator) listGroups(r *Request, req *kmsg.ListGroupsRequest) {
	l := &listing{token: r.Token, asked: req, resp: kmsg.NewPtrListGroupsResponse()}
	l.resp.Version = req.Version
	if _, done := l.run(c, syncUnits); !done {
		c.jobs.add(l)
	}
}

// listing is a ListGroups under way: some hundred groups at a time.
type listing struct {
	walk
	token uint64
	asked *kmsg.ListGroupsRequest
	resp  *kmsg.ListGroupsResponse
}

// listedUnits is what a group costs in units of work.
const listedUnits = 10

// run implements job.
func (l *listing) run(c *Coordinator, units int) (used int, done bool) {
	for used < units {
		g := l.next(c)
		if g == nil {
			c.listShares(l.resp, l.asked)
			c.enqueue(nil, waiting{token: l.token, batch: c.out.seq, body: l.resp})
			return used, true
		}
		used += listedUnits
		if !g.exists() {
			continue
		}
		listed := g.listed()
		if matches(l.asked.StatesFilter, listed.GroupState) && matches(l.asked.TypesFilter, listed.GroupType) {
			l.resp.Groups = append(l.resp.Groups, listed)
		}
	}
	return used, false
}

// refuseListings answers those that will not be finished.
func (c *Coordinator) refuseListings(code protocol.ErrorCode) {
	for _, one := range c.jobs.queue {
		if l, ok := one.(*listing); ok {
			refuse(l.resp, code)
			c.out.ready = append(c.out.ready, waiting{token: l.token, body: l.resp})
		}
	}
	c.jobs.queue = nil
}

func (g *group) listed() kmsg.ListGroupsResponseGroup {
	if g.consumer != nil {
		return kmsg.ListGroupsResponseGroup{Group: g.id, ProtocolType: consumerProtocolType, GroupState: g.consumer.state().String(), GroupType: "consumer"}
	}
	return kmsg.ListGroupsResponseGroup{Group: g.id, ProtocolType: g.classic.protocolType, GroupState: g.classic.state.String(), GroupType: "classic"}
}

func matches(filter []string, value string) bool {
	for _, f := range filter {
		if strings.EqualFold(strings.TrimSpace(f), value) {
			return true
		}
	}
	return len(filter) == 0
}
