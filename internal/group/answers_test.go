package group

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// tell writes an answer in one line. What no two brokers have in common (throttle
// times, ids that are random) is left out.
func (s *stage) tell(a answered) string {
	switch r := a.resp.(type) {
	case *kmsg.JoinGroupResponse:
		return s.tellJoin(r)
	case *kmsg.SyncGroupResponse:
		return fmt.Sprintf("SyncGroup %s %s/%s %s", code(r.ErrorCode), shown(r.ProtocolType), shown(r.Protocol), tellAssignment(r.MemberAssignment))
	case *kmsg.HeartbeatResponse:
		return "Heartbeat " + code(r.ErrorCode)
	case *kmsg.LeaveGroupResponse:
		out := "LeaveGroup " + code(r.ErrorCode)
		for _, m := range r.Members {
			out += fmt.Sprintf(" %s/%s:%s", m.MemberID, shown(m.InstanceID), code(m.ErrorCode))
		}
		return out
	case *kmsg.OffsetCommitResponse:
		var parts []string // a real Kafka puts those that are refused first
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				parts = append(parts, fmt.Sprintf(" %s-%d:%s", s.topicOf(t.Topic, t.TopicID), p.Partition, code(p.ErrorCode)))
			}
		}
		slices.Sort(parts)
		return "OffsetCommit" + strings.Join(parts, "")
	case *kmsg.TxnOffsetCommitResponse:
		out := "TxnOffsetCommit"
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				out += fmt.Sprintf(" %s-%d:%s", t.Topic, p.Partition, code(p.ErrorCode))
			}
		}
		return out
	case *kmsg.OffsetFetchResponse:
		return s.tellFetch(r)
	case *kmsg.OffsetDeleteResponse:
		var parts []string
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				parts = append(parts, fmt.Sprintf(" %s-%d:%s", t.Topic, p.Partition, code(p.ErrorCode)))
			}
		}
		slices.Sort(parts)
		return "OffsetDelete " + code(r.ErrorCode) + strings.Join(parts, "")
	case *kmsg.ConsumerGroupHeartbeatResponse:
		return s.tellBeat(r)
	case *kmsg.ConsumerGroupDescribeResponse:
		return s.tellConsumer(r)
	case *kmsg.DescribeGroupsResponse:
		return s.tellClassic(r)
	case *kmsg.ListGroupsResponse:
		out := "ListGroups " + code(r.ErrorCode)
		slices.SortFunc(r.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
		for _, g := range r.Groups {
			out += fmt.Sprintf(" %s:%s/%s/%s", g.Group, g.ProtocolType, g.GroupState, g.GroupType)
		}
		return out
	case *kmsg.DeleteGroupsResponse:
		out := "DeleteGroups"
		for _, g := range r.Groups {
			out += fmt.Sprintf(" %s:%s", g.Group, code(g.ErrorCode))
		}
		return out
	}
	return fmt.Sprintf("%T", a.resp)
}

func code(c int16) string { return protocol.ErrorCode(c).String() }

func shown(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

func (s *stage) topicOf(name string, id protocol.UUID) string {
	if name != "" {
		return name
	}
	return s.to.topicName(id)
}

func (s *stage) tellJoin(r *kmsg.JoinGroupResponse) string {
	out := fmt.Sprintf("JoinGroup %s member=%s", code(r.ErrorCode), r.MemberID)
	if r.ErrorCode != 0 {
		return out
	}
	out += fmt.Sprintf(" generation=%d %s/%s leader=%s", r.Generation, shown(r.ProtocolType), shown(r.Protocol), r.LeaderID)
	if r.SkipAssignment {
		out += " skip"
	}
	var members []string
	for _, m := range r.Members {
		parsed, err := parseSubscription(m.ProtocolMetadata)
		text := fmt.Sprintf("%s(%s)", s.aliased(m.MemberID), strings.Join(parsed.topics, ","))
		if err != nil {
			text = fmt.Sprintf("%s(%q)", s.aliased(m.MemberID), m.ProtocolMetadata)
		}
		if m.InstanceID != nil {
			text += "/" + *m.InstanceID
		}
		members = append(members, text)
	}
	slices.Sort(members) // a real Kafka's order is that of a hash table
	if len(members) > 0 {
		out += " members=" + strings.Join(members, " ")
	}
	return out
}

func tellAssignment(b []byte) string {
	if len(b) == 0 {
		return "nothing"
	}
	lists, err := parseAssignment(b)
	if err != nil {
		return fmt.Sprintf("%q", b)
	}
	slices.SortFunc(lists, func(a, b topicList) int { return cmp.Compare(a.topic, b.topic) })
	var out []string
	for _, l := range lists {
		slices.Sort(l.partitions)
		out = append(out, fmt.Sprintf("%s%v", l.topic, l.partitions))
	}
	return fmt.Sprintf("v%d {%s}", int(b[0])<<8|int(b[1]), strings.Join(out, " "))
}

func (s *stage) tellFetch(r *kmsg.OffsetFetchResponse) string {
	out := "OffsetFetch"
	one := func(topic string, p int32, offset int64, epoch int32, metadata *string, e int16) {
		out += fmt.Sprintf(" %s-%d=%d", topic, p, offset)
		if epoch != -1 {
			out += fmt.Sprintf("@%d", epoch)
		}
		if shown(metadata) != "" {
			out += ":" + shown(metadata)
		}
		if e != 0 {
			out += "!" + code(e)
		}
	}
	if r.Version < 8 {
		out += " " + code(r.ErrorCode)
		slices.SortFunc(r.Topics, func(a, b kmsg.OffsetFetchResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				one(t.Topic, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode)
			}
		}
		return out
	}
	for _, g := range r.Groups {
		out += fmt.Sprintf(" %s %s", g.Group, code(g.ErrorCode))
		slices.SortFunc(g.Topics, func(a, b kmsg.OffsetFetchResponseGroupTopic) int {
			return cmp.Compare(s.topicOf(a.Topic, a.TopicID), s.topicOf(b.Topic, b.TopicID))
		})
		for _, t := range g.Topics {
			slices.SortFunc(t.Partitions, func(a, b kmsg.OffsetFetchResponseGroupTopicPartition) int {
				return cmp.Compare(a.Partition, b.Partition)
			})
			for _, p := range t.Partitions {
				one(s.topicOf(t.Topic, t.TopicID), p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode)
			}
		}
	}
	return out
}

func (s *stage) tellBeat(r *kmsg.ConsumerGroupHeartbeatResponse) string {
	out := "ConsumerGroupHeartbeat " + code(r.ErrorCode)
	if r.ErrorMessage != nil {
		out += fmt.Sprintf(" %q", *r.ErrorMessage)
	}
	if r.ErrorCode != 0 {
		return out
	}
	out += fmt.Sprintf(" %s epoch=%d", shown(r.MemberID), r.MemberEpoch)
	if r.HeartbeatIntervalMillis != 0 {
		out += fmt.Sprintf(" every=%d", r.HeartbeatIntervalMillis)
	}
	if r.Assignment != nil {
		var parts []string
		for _, t := range r.Assignment.Topics {
			p := slices.Clone(t.Partitions)
			slices.Sort(p)
			parts = append(parts, fmt.Sprintf("%s%v", s.to.topicName(t.TopicID), p))
		}
		slices.Sort(parts)
		out += " has {" + strings.Join(parts, " ") + "}"
	}
	return out
}

func (s *stage) tellConsumer(r *kmsg.ConsumerGroupDescribeResponse) string {
	out := "ConsumerGroupDescribe"
	assigned := func(a kmsg.Assignment) string {
		var parts []string
		for _, t := range a.TopicPartitions {
			p := slices.Clone(t.Partitions)
			slices.Sort(p)
			parts = append(parts, fmt.Sprintf("%s%v", t.Topic, p))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, " ") + "}"
	}
	for _, g := range r.Groups {
		out += fmt.Sprintf(" %s %s", g.Group, code(g.ErrorCode))
		if g.ErrorMessage != nil {
			out += fmt.Sprintf(" %q", *g.ErrorMessage)
		}
		if g.ErrorCode != 0 {
			continue
		}
		out += fmt.Sprintf(" %s epoch=%d assignment=%d %s", g.State, g.Epoch, g.AssignmentEpoch, g.AssignorName)
		var members []string
		for _, m := range g.Members {
			slices.Sort(m.SubscribedTopics)
			members = append(members, fmt.Sprintf("\n  %s instance=%s rack=%s epoch=%d %s %s topics=%v regex=%s has %s target %s type=%d", s.aliased(m.MemberID),
				shown(m.InstanceID), shown(m.RackID), m.MemberEpoch, m.ClientID, m.ClientHost, m.SubscribedTopics, shown(m.SubscribedTopicRegex),
				assigned(m.Assignment), assigned(m.TargetAssignment), m.MemberType))
		}
		slices.Sort(members)
		out += strings.Join(members, "")
	}
	return out
}

func (s *stage) tellClassic(r *kmsg.DescribeGroupsResponse) string {
	out := "DescribeGroups"
	for _, g := range r.Groups {
		out += fmt.Sprintf(" %s %s %s %q/%q", g.Group, code(g.ErrorCode), g.State, g.ProtocolType, g.Protocol)
		if g.ErrorMessage != nil {
			out += fmt.Sprintf(" %q", *g.ErrorMessage)
		}
		var members []string
		for _, m := range g.Members {
			members = append(members, fmt.Sprintf("\n  %s instance=%s %s %s metadata=%d bytes has %s", s.aliased(m.MemberID), shown(m.InstanceID), m.ClientID, m.ClientHost,
				len(m.ProtocolMetadata), tellAssignment(m.MemberAssignment)))
		}
		slices.Sort(members)
		out += strings.Join(members, "")
	}
	return out
}
