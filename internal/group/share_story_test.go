package group

import (
	"fmt"
	"strings"
	"testing"

	"slipstream/internal/script"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The stories of testdata/share are told of share groups. A command is
//
//	topics NAME=N ...   drop NAME   wait MILLIS   restart   set size=N
//	MEMBER beat GROUP [epoch=N] [topics=A,B]
//	errand [CODE]            the oldest errand is done
//	alter GROUP TOPIC-P=OFFSET   forget GROUP TOPIC   offsets GROUP   describe GROUP
//	delete GROUP   list   join GROUP (of a classic member)   show GROUP
func TestShareStories(t *testing.T) {
	script.Play(t, "share", *rewriteStories, func(t *testing.T) func([]string) string {
		return (&shareStory{world: newWorld(t), epochs: map[string]int32{}}).play
	})
}

type shareStory struct {
	*world
	epochs map[string]int32 // of members
	asked  []asked
}

type asked struct {
	token uint64
	by    string
}

func (s *shareStory) play(lines []string) string {
	var out []string
	for _, line := range lines {
		words := strings.Fields(line)
		if text := s.do(words); text != "" {
			out = append(out, text)
		}
		kept := s.asked[:0]
		for _, a := range s.asked {
			if r := s.answers[a.token]; r != nil {
				out = append(out, a.by+": "+s.tell(a.by, r))
			} else {
				kept = append(kept, a)
			}
		}
		s.asked = kept
		for _, m := range s.left {
			out = append(out, fmt.Sprintf("%s has left %s, last %v", m.Member, m.Group, m.Last))
		}
		s.left = nil
	}
	return strings.Join(out, "\n")
}

func (s *shareStory) do(words []string) string {
	switch words[0] {
	case "topics":
		for _, w := range words[1:] {
			name, n, _ := strings.Cut(w, "=")
			s.setTopic(name, int32(atoi(n)))
		}
	case "drop":
		s.removeTopic(words[1])
	case "wait":
		s.pass(atoi(words[1]))
	case "restart":
		s.errands = nil
		s.restart()
	case "set":
		_, n, _ := strings.Cut(words[1], "=")
		s.settings.ShareMaxSize = int32(atoi(n))
		s.c.SetSettings(s.settings)
	case "errand":
		return s.errand(words[1:])
	case "show":
		return s.showShare(words[1])
	default:
		by, req := s.request(words)
		s.asked = append(s.asked, asked{s.send(by, req), by})
	}
	return ""
}

func (s *shareStory) request(words []string) (by string, req kmsg.Request) {
	switch words[0] {
	case "alter":
		r := kmsg.NewPtrAlterShareGroupOffsetsRequest()
		r.GroupID = words[1]
		at, offset, _ := strings.Cut(words[2], "=")
		topic, p, _ := strings.Cut(at, "-")
		r.Topics = []kmsg.AlterShareGroupOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.AlterShareGroupOffsetsRequestTopicPartition{
			{Partition: int32(atoi(p)), StartOffset: atoi(offset)},
		}}}
		req = r
	case "forget":
		r := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
		r.GroupID, r.Topics = words[1], []kmsg.DeleteShareGroupOffsetsRequestTopic{{Topic: words[2]}}
		req = r
	case "offsets":
		r := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
		g := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
		g.GroupID = words[1]
		r.Groups, req = append(r.Groups, g), r
	case "describe":
		r := kmsg.NewPtrShareGroupDescribeRequest()
		r.GroupIDs, req = words[1:], r
	case "delete":
		r := kmsg.NewPtrDeleteGroupsRequest()
		r.Groups, req = words[1:], r
	case "list":
		req = kmsg.NewPtrListGroupsRequest()
		req.SetVersion(5)
	case "join":
		r := kmsg.NewPtrJoinGroupRequest()
		r.Group, r.SessionTimeoutMillis, r.ProtocolType = words[1], 30_000, "consumer"
		r.Protocols, req = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range"}), r
	default:
		return words[0], s.beat(words)
	}
	return words[0], req
}

func (s *shareStory) beat(words []string) kmsg.Request {
	r := kmsg.NewPtrShareGroupHeartbeatRequest()
	r.Version, r.MemberID, r.GroupID, r.MemberEpoch = 1, words[0], words[2], s.epochs[words[0]]
	for _, w := range words[3:] {
		switch name, value, _ := strings.Cut(w, "="); name {
		case "epoch":
			r.MemberEpoch = int32(atoi(value))
		case "topics":
			r.SubscribedTopicNames = strings.Split(value, ",")
		}
	}
	return r
}

func (s *shareStory) errand(words []string) string {
	if len(s.errands) == 0 {
		return "no errand"
	}
	e := s.errands[0]
	s.errands = s.errands[1:]
	code := protocol.NONE
	for c := protocol.ErrorCode(0); len(words) > 0 && c < 150; c++ {
		if c.String() == words[0] {
			code = c
		}
	}
	out := fmt.Sprintf("errand: %s states of %s, epoch %d:", [...]string{"begin", "delete"}[e.Action], e.Group, e.StateEpoch)
	codes := make([]protocol.ErrorCode, len(e.Partitions))
	for i, p := range e.Partitions {
		topic, _ := s.topics.TopicByID(p.Topic)
		out += fmt.Sprintf(" %s-%d@%d", topic.Name, p.Partition, p.StartOffset)
		codes[i] = code
	}
	s.c.ErrandDone(s.now, e.ID, codes)
	s.settle()
	return out
}

func (s *shareStory) tell(by string, r kmsg.Response) string {
	code := func(c int16) string { return protocol.ErrorCode(c).String() }
	switch r := r.(type) {
	case *kmsg.ShareGroupHeartbeatResponse:
		if r.ErrorCode != 0 {
			return fmt.Sprintf("%s %q", code(r.ErrorCode), orEmpty(r.ErrorMessage))
		}
		s.epochs[by] = max(r.MemberEpoch, 0)
		out := fmt.Sprintf("epoch %d", r.MemberEpoch)
		if r.Assignment != nil {
			out += " has"
			for _, t := range r.Assignment.TopicPartitions {
				topic, _ := s.topics.TopicByID(t.TopicID)
				out += fmt.Sprintf(" %s%v", topic.Name, t.Partitions)
			}
		}
		return out
	case *kmsg.ShareGroupDescribeResponse:
		g := r.Groups[0]
		return fmt.Sprintf("%s %s epoch %d target %d, %d members", code(g.ErrorCode), g.GroupState, g.GroupEpoch, g.AssignmentEpoch, len(g.Members))
	case *kmsg.AlterShareGroupOffsetsResponse:
		out := code(r.ErrorCode)
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				out += fmt.Sprintf(" %s-%d %s", t.Topic, p.Partition, code(p.ErrorCode))
			}
		}
		return out
	case *kmsg.DeleteShareGroupOffsetsResponse:
		out := code(r.ErrorCode)
		for _, t := range r.Topics {
			out += " " + t.Topic + " " + code(t.ErrorCode)
		}
		return out
	case *kmsg.DescribeShareGroupOffsetsResponse:
		out := code(r.Groups[0].ErrorCode)
		for _, t := range r.Groups[0].Topics {
			out += fmt.Sprintf(" %s: %d", t.Topic, len(t.Partitions))
		}
		return out
	case *kmsg.DeleteGroupsResponse:
		return code(r.Groups[0].ErrorCode)
	case *kmsg.JoinGroupResponse:
		return code(r.ErrorCode)
	case *kmsg.ListGroupsResponse:
		out := ""
		for _, g := range r.Groups {
			out += fmt.Sprintf("%s:%s/%s/%s ", g.Group, g.ProtocolType, g.GroupState, g.GroupType)
		}
		return strings.TrimSpace(out)
	}
	return "?"
}

func (s *shareStory) showShare(id string) string {
	sg := s.c.shares.byID[id]
	if sg == nil {
		return id + ": none"
	}
	out := []string{fmt.Sprintf("%s: epoch %d target %d", id, sg.epoch, sg.assignmentEpoch)}
	for _, m := range sg.sorted {
		text := fmt.Sprintf("  %s epoch %d", m.id, m.epoch)
		for _, t := range sg.target[m.id] {
			topic, _ := s.topics.TopicByID(t.topic)
			text += fmt.Sprintf(" %s%v", topic.Name, t.partitions)
		}
		out = append(out, text)
	}
	for i, topics := range [...][]ShareTopicPartitions{sg.states.InitializingTopics, sg.states.InitializedTopics} {
		for _, t := range topics {
			out = append(out, fmt.Sprintf("  %s %s%v", [...]string{"to be begun", "begun"}[i], t.TopicName, t.Partitions))
		}
	}
	return strings.Join(out, "\n")
}

func atoi(s string) (n int64) {
	if _, err := fmt.Sscan(s, &n); err != nil {
		panic(err)
	}
	return n
}
