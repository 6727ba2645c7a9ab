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
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Version = req.Version
	for _, g := range c.sorted {
		if !g.exists() {
			continue
		}
		listed := g.listed()
		if matches(req.StatesFilter, listed.GroupState) && matches(req.TypesFilter, listed.GroupType) {
			resp.Groups = append(resp.Groups, listed)
		}
	}
	c.listShares(resp, req)
	c.enqueue(nil, waiting{token: r.Token, batch: c.out.seq, body: resp})
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
