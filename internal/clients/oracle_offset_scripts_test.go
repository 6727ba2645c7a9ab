package clients

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func scriptListGroups(s *script) {
	s.groupTopic("group-a")
	s.coordinators()
	s.member("list-stable")
	s.commitQuietly("list-simple", "group-a")
	list := func(states, types []string) func(int16) kmsg.Request {
		return func(int16) kmsg.Request {
			req := kmsg.NewPtrListGroupsRequest()
			req.StatesFilter, req.TypesFilter = states, types
			return req
		}
	}
	keep := func(name string, lo, hi int16, build func(int16) kmsg.Request) {
		for v := lo; v <= hi; v++ {
			s.ask(name, v, build(v))
			s.onlyGroups("list-")
		}
	}
	keep("all", 0, 5, list(nil, nil))
	keep("stable ones", 4, 5, list([]string{"Stable"}, nil))
	keep("stable and empty ones, in other letters", 4, 5, list([]string{"stable", "EMPTY"}, nil))
	keep("a state that there is not", 4, 5, list([]string{"Asleep"}, nil))
	keep("classic ones", 5, 5, list(nil, []string{"classic"}))
	keep("consumer ones", 5, 5, list(nil, []string{"Consumer"}))
	keep("a type that there is not", 5, 5, list(nil, []string{"private"}))
	keep("stable consumer ones", 5, 5, list([]string{"Stable"}, []string{"consumer"}))
}

// onlyGroups leaves the groups of this script in the last answer.
func (s *script) onlyGroups(prefix string) {
	answer, ok := s.done[len(s.done)-1].Answer.(map[string]any)
	if !ok {
		return
	}
	kept := []any{}
	groups, _ := answer["Groups"].([]any)
	for _, g := range groups {
		if strings.HasPrefix(g.(map[string]any)["Group"].(string), prefix) {
			kept = append(kept, g)
		}
	}
	answer["Groups"] = kept
}

func scriptDeleteGroups(s *script) {
	s.groupTopic("group-a")
	s.coordinators()
	s.versions("groups", 0, 2, func(v int16) kmsg.Request {
		group := fmt.Sprint("delete-", v)
		s.member(group + "-stable")
		s.commitQuietly(group+"-simple", "group-a")
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{group + "-stable", "delete-nowhere", group + "-simple"}
		return req
	})
	req := kmsg.NewPtrDeleteGroupsRequest()
	s.ask("no groups", 2, req)
}

func scriptOffsetDelete(s *script) {
	s.groupTopic("group-a")
	s.groupTopic("group-b")
	s.coordinators()
	remove := func(group string, topics ...string) *kmsg.OffsetDeleteRequest {
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = group
		for _, name := range topics {
			t := kmsg.NewOffsetDeleteRequestTopic()
			t.Topic = name
			for i := range int32(2) {
				p := kmsg.NewOffsetDeleteRequestTopicPartition()
				p.Partition = i * 5
				t.Partitions = append(t.Partitions, p)
			}
			req.Topics = append(req.Topics, t)
		}
		return req
	}
	s.commitQuietly("odel-simple", "group-a")
	s.ask("offsets of a simple group", 0, remove("odel-simple", "group-a", "nowhere"))
	s.ask("an unknown group", 0, remove("odel-nowhere", "group-a"))
	s.ask("an empty group id", 0, remove("", "group-a"))
	s.member("odel-stable")
	s.ask("a topic that a member is subscribed to, and one that none is", 0, remove("odel-stable", "group-a", "group-b"))
	s.ask("nothing", 0, remove("odel-stable"))
}

func scriptOffsetCommit(s *script) {
	id := s.groupTopic("group-a")
	s.coordinators()
	byName := func(req *kmsg.OffsetCommitRequest, v int16) *kmsg.OffsetCommitRequest {
		if v >= 10 {
			for i := range req.Topics {
				if req.Topics[i].Topic == "group-a" {
					req.Topics[i].TopicID = id
				}
			}
		}
		return req
	}
	ask := func(name string, build func() *kmsg.OffsetCommitRequest) {
		s.versions(name, 2, 10, func(v int16) kmsg.Request { return byName(build(), v) })
	}
	ask("a simple consumer", func() *kmsg.OffsetCommitRequest { return commitOffset("commit-simple", "group-a", 0, 5) })
	ask("a partition that there is not", func() *kmsg.OffsetCommitRequest { return commitOffset("commit-simple", "group-a", 9, 5) })
	ask("a negative partition", func() *kmsg.OffsetCommitRequest { return commitOffset("commit-simple", "group-a", -1, 5) })
	ask("a topic that there is not", func() *kmsg.OffsetCommitRequest { return commitOffset("commit-simple", "commit-nowhere", 0, 5) })
	ask("an empty group id", func() *kmsg.OffsetCommitRequest { return commitOffset("", "group-a", 0, 5) })
	ask("no topics", func() *kmsg.OffsetCommitRequest {
		req := commitOffset("commit-simple", "group-a", 0, 5)
		req.Topics = nil
		return req
	})
	ask("a negative offset", func() *kmsg.OffsetCommitRequest { return commitOffset("commit-simple", "group-a", 0, -7) })
	for _, n := range []int{4096, 4097} {
		ask(fmt.Sprint("metadata of ", n, " bytes"), func() *kmsg.OffsetCommitRequest {
			req := commitOffset("commit-simple", "group-a", 0, 5)
			req.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(strings.Repeat("m", n))
			return req
		})
	}
	member, generation := s.member("commit-members")
	as := func(member string, generation int32) func() *kmsg.OffsetCommitRequest {
		return func() *kmsg.OffsetCommitRequest {
			req := commitOffset("commit-members", "group-a", 0, 5)
			req.MemberID, req.Generation = member, generation
			return req
		}
	}
	ask("a member", as(member, generation))
	ask("a member of an old generation", as(member, generation-1))
	ask("a member that nobody knows", as("nobody", generation))
	ask("a simple consumer of a group with members", as("", -1))
	ask("a member of a group that there is not", func() *kmsg.OffsetCommitRequest {
		req := as(member, generation)()
		req.Group = "commit-gone"
		return req
	})
	fenced := as(member, generation)()
	fenced.InstanceID = kmsg.StringPtr("i1")
	s.ask("an instance that nobody knows", 7, fenced)
}

func scriptOffsetFetch(s *script) {
	id := s.groupTopic("group-a")
	s.coordinators()
	s.commitQuietly("fetch-simple", "group-a")
	group := func(id [16]byte, name, topic string, partitions ...int32) kmsg.OffsetFetchRequestGroup {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = name
		if topic != "" {
			t := kmsg.NewOffsetFetchRequestGroupTopic()
			t.Topic, t.TopicID, t.Partitions = topic, id, partitions
			g.Topics = append(g.Topics, t)
		}
		return g
	}
	ask := func(name string, lo int16, groups ...kmsg.OffsetFetchRequestGroup) {
		s.versions(name, lo, 10, func(v int16) kmsg.Request {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Group, req.Groups = groups[0].Group, groups
			if groups[0].Topics != nil {
				t := kmsg.NewOffsetFetchRequestTopic()
				t.Topic, t.Partitions = groups[0].Topics[0].Topic, groups[0].Topics[0].Partitions
				req.Topics = append(req.Topics, t)
			}
			return req
		})
	}
	ask("a group", 1, group(id, "fetch-simple", "group-a", 0, 1, 9))
	ask("a group that there is not", 1, group(id, "fetch-nowhere", "group-a", 0))
	ask("a topic that there is not", 1, group([16]byte{1, 2, 3}, "fetch-simple", "fetch-none", 0))
	ask("an empty group id", 1, group(id, "", "group-a", 0))
	ask("every topic", 2, group(id, "fetch-simple", ""))
	ask("several groups", 8, group(id, "fetch-simple", "group-a", 0), group(id, "fetch-nowhere", ""), group(id, "fetch-simple", "group-a", 1))
	member := group(id, "fetch-simple", "group-a", 0)
	member.MemberID, member.MemberEpoch = kmsg.StringPtr("nobody"), 3
	ask("as a member that nobody knows", 9, member)
}

func scriptConsumerGroups(s *script) {
	s.groupTopic("group-a")
	s.coordinators()
	beat := func(group, member string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.MemberEpoch = group, member, epoch
		if epoch == 0 {
			req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 60_000, []string{"group-a"}
			req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		}
		return req
	}
	for v := int16(0); v <= 1; v++ {
		g, m := fmt.Sprint("kip-", v), fmt.Sprint("member-", v)
		s.ask("a member that nobody knows, with an epoch", v, beat(g, m, 3))
		joined := s.ask("a member joins", v, beat(g, m, 0)).(*kmsg.ConsumerGroupHeartbeatResponse)
		s.ask("a heartbeat", v, beat(g, m, joined.MemberEpoch))
		s.ask("an epoch to come", v, beat(g, m, joined.MemberEpoch+5))
		s.ask("another member that nobody knows", v, beat(g, "nobody", joined.MemberEpoch))
		bad := beat(g, "m2", 0)
		bad.ServerAssignor = kmsg.StringPtr("private")
		s.ask("an assignor that there is not", v, bad)
		bad = beat(g, "m2", 0)
		bad.RebalanceTimeoutMillis = -1
		s.ask("no rebalance timeout", v, bad)
		bad = beat(g, "m2", 0)
		bad.SubscribedTopicNames = nil
		s.ask("no topics", v, bad)
		bad = beat(g, "m2", -3)
		s.ask("an epoch of -3", v, bad)
		bad = beat(g, "m2", 0)
		bad.InstanceID = kmsg.StringPtr("")
		s.ask("an empty instance id", v, bad)
		bad = beat(g, "m2", 0)
		bad.RackID = kmsg.StringPtr("")
		s.ask("an empty rack", v, bad)
		s.ask("an empty group id", v, beat("", m, 0))
		s.ask("the member leaves", v, beat(g, m, -1))
		s.ask("the member leaves once more", v, beat(g, m, -1))
	}
	regex := beat("kip-1", "m3", 0)
	regex.SubscribedTopicRegex = kmsg.StringPtr("(")
	s.ask("a regular expression that is none", 1, regex)
	s.ask("no member id", 1, beat("kip-1", "", 0))
	static := beat("kip-static", "s1", 0)
	static.InstanceID = kmsg.StringPtr("i1")
	s.ask("a static member", 1, static)
	static.MemberID = "s2"
	s.ask("another with its instance id", 1, static)
	classic, _ := s.member("kip-classic")
	s.ask("a member of a classic group", 1, beat("kip-classic", classic, 1))
	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups = []string{"kip-static", "kip-nowhere", "kip-classic", ""}
	for v := int16(0); v <= 1; v++ {
		s.ask("described", v, describe)
	}
	describe.IncludeAuthorizedOperations = true
	s.ask("described, with authorized operations", 1, describe)
}
