package group

import (
	"math"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Memory bounds what members of groups can make coordinators keep: the protocols
// of classic members, which may be a megabyte each and more, and the subscriptions
// of the others. Coordinators of one core share one. It bounds who joins and who
// subscribes to more; nobody is put out for it. What a log says is loaded, whatever
// it takes. Kafka has no such bound.
type Memory struct {
	LimitBytes int64
	used       int64
}

// UsedBytes is what is kept at present.
func (m *Memory) UsedBytes() int64 { return m.used }

// perEntryBytes is what a name and its place weigh beside their bytes.
const perEntryBytes = 48

// account is one coordinator's part of a Memory.
type account struct {
	memory *Memory
	bytes  int64
}

func newAccount(m *Memory) account {
	if m == nil {
		m = &Memory{LimitBytes: math.MaxInt64}
	}
	return account{memory: m}
}

func (a *account) charge(bytes int64) {
	a.bytes += bytes
	a.memory.used += bytes
}

// settle gives everything back, at the end of a coordinator's life.
func (a *account) settle() {
	a.charge(-a.bytes)
	*a = newAccount(nil)
}

// hasRoom says whether somebody who keeps before may keep after instead.
func (c *Coordinator) hasRoom(before, after int64) bool {
	m := c.account.memory
	return after <= before || after-before <= m.LimitBytes-m.used
}

// askedBytes is what a JoinGroup's member is going to keep.
func askedBytes(protocols []kmsg.JoinGroupRequestProtocol) (n int64) {
	for i := range protocols {
		n += int64(len(protocols[i].Name)+len(protocols[i].Metadata)) + perEntryBytes
	}
	return n
}

func protocolBytes(protocols []ClassicProtocol) (n int64) {
	for i := range protocols {
		n += int64(len(protocols[i].Name)+len(protocols[i].Metadata)) + perEntryBytes
	}
	return n
}

// bytes is what a member of a consumer group keeps of what it says of itself.
func (m *memberFacts) bytes() int64 {
	n := int64(len(m.regex))
	for _, t := range m.topics {
		n += int64(len(t)) + perEntryBytes
	}
	if m.classic != nil {
		n += protocolBytes(m.classic.SupportedProtocols)
	}
	return n
}

// keeps is what a member of a group, if there is one of that id, keeps already.
func (g *group) keeps(id string) int64 {
	switch {
	case g == nil:
	case g.classic != nil:
		if m := g.classic.members.byID[id]; m != nil {
			return protocolBytes(m.protocols)
		}
	case g.consumer != nil:
		if m := g.consumer.members[id]; m != nil {
			return m.bytes()
		}
	}
	return 0
}

// adopt makes cg the group's classic life, in the place of another.
func (c *Coordinator) adopt(g *group, cg *classicGroup) {
	if g.classic != nil {
		g.classic.account.charge(-g.classic.bytes)
		g.classic.account = nil
	}
	g.classic = cg
	cg.account = &c.account
	cg.account.charge(cg.bytes)
}

// roomFor refuses a heartbeat whose subscription there is no memory for.
func (c *Coordinator) roomFor(req *kmsg.ConsumerGroupHeartbeatRequest) *refusal {
	asked := int64(0)
	for _, t := range req.SubscribedTopicNames {
		asked += int64(len(t)) + perEntryBytes
	}
	if req.SubscribedTopicRegex != nil {
		asked += int64(len(*req.SubscribedTopicRegex))
	}
	if asked > 0 && !c.hasRoom(c.find(req.Group).keeps(req.MemberID), asked) {
		return refusef(protocol.GROUP_MAX_SIZE_REACHED, "The members of this broker's groups keep %d bytes of subscriptions; there is no room for %d more.",
			c.account.memory.used, asked)
	}
	return nil
}
