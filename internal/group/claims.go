package group

import (
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A static member that is away stays in its group until its session ends, while
// rebalances go on without it. What the leader is told of it is what it said when
// it last joined. By a cooperative protocol it may have been given more after that,
// and the leader, who knows of none of it, gives that to others. When the member is
// back and its first request is a JoinGroup, not a Heartbeat or an OffsetCommit
// (which are refused for their generation), it would go on with all of it until its
// SyncGroup is answered, and commit what it did with the generation that it has just
// joined: records are worked on twice, and an offset goes back behind what another
// member has committed. Kafka 4.3 lets that happen. Here such a member is not known
// any more: a client gives everything up and joins anew by its instance id, as after
// a Heartbeat.

// claimsUnknown says whether a static member that was away claims partitions that
// the leader of the last generation could not know of and did not give to it.
func (cg *classicGroup) claimsUnknown(m *classicMember, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if !m.missed || m.instance == nil || !cg.isConsumer() || cg.protocol == nil {
		return false
	}
	i := slices.IndexFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return p.Name == *cg.protocol })
	if i < 0 {
		return false
	}
	now, err := parseSubscription(protocols[i].Metadata)
	if err != nil || len(now.owned) == 0 {
		return false // it is the leader's business, or it has given everything up
	}
	told, err := parseSubscription(m.metadata(*cg.protocol))
	if err != nil {
		return false
	}
	given, err := parseAssignment(m.assignment)
	if err != nil {
		return false
	}
	type part struct {
		topic  string
		number int32
	}
	known := map[part]bool{}
	for _, lists := range [][]topicList{told.owned, given} {
		for _, l := range lists {
			for _, p := range l.partitions {
				known[part{l.topic, p}] = true
			}
		}
	}
	return slices.ContainsFunc(now.owned, func(l topicList) bool {
		return slices.ContainsFunc(l.partitions, func(p int32) bool { return !known[part{l.topic, p}] })
	})
}

// claimsOthers is the same in a consumer group: what a classic member claims and
// does not have is another's by now.
func (cg *consumerGroup) claimsOthers(m *consumerMember, owns assignment) (claims bool) {
	owns.each(func(o owner) {
		has := cg.owners.of(o.topic, o.partition)
		claims = claims || has != nil && has != m
	})
	return claims
}

// notKnown refuses a JoinGroup so that its client gives up what it has.
func notKnown(req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	return joinError(req, req.MemberID, protocol.UNKNOWN_MEMBER_ID)
}
