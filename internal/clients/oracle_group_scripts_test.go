package clients

import (
	"fmt"
	"strings"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// quietly asks outside the script.
func (s *script) quietly(version int16, req kmsg.Request) kmsg.Response {
	s.t.Helper()
	req.SetVersion(version)
	s.corr++
	if _, err := s.w.Write(harness.Encode(req, s.corr)); err != nil {
		s.t.Fatal(err)
	}
	body, err := s.w.ReadFrame(15 * time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := harness.Decode(req, s.corr, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

// groupTopic is a topic that the scripts about groups share.
func (s *script) groupTopic(name string) [16]byte {
	s.t.Helper()
	known := s.quietly(12, metadataFor(name)).(*kmsg.MetadataResponse).Topics[0]
	if known.ErrorCode != 0 {
		return s.topic(name, 2)
	}
	s.norm.id(known.TopicID, "id-of-"+name)
	return known.TopicID
}

// coordinators waits until every coordinator of groups serves.
func (s *script) coordinators() {
	s.t.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"any"}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("the coordinators do not serve after 30 s")
		}
		if s.quietly(4, find).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode != 0 {
			continue
		}
		fetch := kmsg.NewPtrOffsetFetchRequest()
		for i := range 200 {
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = fmt.Sprint("probe-", i)
			fetch.Groups = append(fetch.Groups, g)
		}
		serving := true
		for _, g := range s.quietly(8, fetch).(*kmsg.OffsetFetchResponse).Groups {
			serving = serving && g.ErrorCode == 0
		}
		if serving {
			return
		}
	}
}

// beside sends a request on a connection of its own; the function that it returns
// waits for the answer and keeps it.
func (s *script) beside(name string, version int16, req kmsg.Request) func() kmsg.Response {
	s.t.Helper()
	w, err := harness.Dial(s.b.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetVersion(version)
	if _, err := w.Write(harness.Encode(req, 7)); err != nil {
		s.t.Fatal(err)
	}
	return func() kmsg.Response {
		s.t.Helper()
		defer w.Close()
		body, err := w.ReadFrame(15 * time.Second)
		if err != nil {
			s.t.Fatalf("%s: %v", name, err)
		}
		resp, err := harness.Decode(req, 7, body)
		if err != nil {
			s.t.Fatal(err)
		}
		s.done = append(s.done, exchange{Name: name, Key: req.Key(), Ver: version, Answer: s.norm.value(resp)})
		return resp
	}
}

func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, topics
	return m.AppendTo(nil)
}

func joinGroup(group, member string, protocols ...string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = group, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 30_000, 20_000
	for _, name := range protocols {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, subscription("group-a")
		req.Protocols = append(req.Protocols, p)
	}
	return req
}

func syncGroup(group, member string, generation int32) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	kind, protocol := "consumer", "range"
	req.ProtocolType, req.Protocol = &kind, &protocol
	a := kmsg.NewSyncGroupRequestGroupAssignment()
	a.MemberID, a.MemberAssignment = member, []byte("all of it")
	req.GroupAssignment = append(req.GroupAssignment, a)
	return req
}

// member makes a classic group of one stable member outside the script.
func (s *script) member(group string) (id string, generation int32) {
	s.t.Helper()
	joined := s.quietly(3, joinGroup(group, "", "range", "roundrobin")).(*kmsg.JoinGroupResponse)
	if joined.ErrorCode != 0 {
		s.t.Fatalf("joining %s: error %d", group, joined.ErrorCode)
	}
	s.norm.member(joined.MemberID)
	if synced := s.quietly(5, syncGroup(group, joined.MemberID, joined.Generation)).(*kmsg.SyncGroupResponse); synced.ErrorCode != 0 {
		s.t.Fatalf("syncing %s: error %d", group, synced.ErrorCode)
	}
	return joined.MemberID, joined.Generation
}

func scriptFindCoordinator(s *script) {
	s.coordinators()
	find := func(kind int8, keys ...string) *kmsg.FindCoordinatorRequest {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorType, req.CoordinatorKeys, req.CoordinatorKey = kind, keys, keys[0]
		return req
	}
	s.versions("a group", 0, 6, func(int16) kmsg.Request { return find(0, "fc") })
	s.ask("groups", 4, find(0, "fc", "", "fc", strings.Repeat("x", 300)))
	none := find(0, "")
	none.CoordinatorKeys = nil
	s.ask("no groups", 4, none)
	s.versions("a share group below its version", 1, 5, func(int16) kmsg.Request { return find(2, "g:AAAAAAAAAAAAAAAAAAAAAQ:0") })
	const share = "g:AAAAAAAAAAAAAAAAAAAAAQ:0"
	for kind, key := range map[int8]string{1: "txn", 2: share} { // until their topics are there
		for deadline := time.Now().Add(30 * time.Second); s.quietly(6, find(kind, key)).(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode != 0; {
			if time.Now().After(deadline) {
				s.t.Fatalf("no coordinator of type %d after 30 s", kind)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	s.ask("what the topics were made with", 1, internalTopicConfigs())
	s.versions("a transactional id", 1, 6, func(int16) kmsg.Request { return find(1, "txn") })
	s.ask("transactional ids", 4, find(1, "txn", "", "other"))
	s.ask("a share group", 6, find(2, share))
	s.ask("share groups, good and bad", 6, find(2, share, "no key", share))
	s.versions("an unknown type", 1, 6, func(int16) kmsg.Request { return find(9, "fc") })
	s.ask("a share group with a bad key", 6, find(2, "no key"))
	s.ask("a share group with a bad topic", 6, find(2, "g:zzz:0"))
	s.ask("a share group with a bad partition", 6, find(2, "g:AAAAAAAAAAAAAAAAAAAAAQ:x"))
	const topic = "AAAAAAAAAAAAAAAAAAAAAQ"
	s.ask("share groups with colons", 6, find(2, "a:b:"+topic+":0", "a::b:"+topic+":0", ":a:"+topic+":0", "a::"+topic+":0", "::"+topic+":0", ":"+topic+":0", " :"+topic+":0"))
	s.ask("share keys that end in colons", 6, find(2, "g:"+topic+":0:", "g:"+topic+":0::", "g:"+topic+"::", "g:"+topic+":", ":::", ""))
	s.ask("partitions of share keys", 6, find(2, "g:"+topic+":-1", "g:"+topic+":+1", "g:"+topic+":007", "g:"+topic+":2147483647", "g:"+topic+":2147483648", "g:"+topic+": 1", "g:"+topic+":-2147483649", "g:"+topic+":1_0"))
	s.ask("topics of share keys", 6, find(2, "g:"+topic+"==:0", "g:"+topic+"=:0", "g:"+topic+"A:0", "g:AAAA:0", "g::0", "g:AAAAAAAAAAAAAAAAAAAAA+:0", "g:AAAAAAAAAAAAAAAAAAAAA_:0", "g:AAAAAAAAAAAAAAAAAAAAAA:0"))
}

func internalTopicConfigs() *kmsg.DescribeConfigsRequest {
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range []string{"__consumer_offsets", "__transaction_state", "__share_group_state"} {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, name
		r.ConfigNames = []string{"cleanup.policy", "compression.type", "min.insync.replicas", "retention.ms", "segment.bytes", "unclean.leader.election.enable"}
		req.Resources = append(req.Resources, r)
	}
	return req
}

func scriptJoinGroup(s *script) {
	s.groupTopic("group-a")
	s.coordinators()
	for v := int16(0); v <= 9; v++ {
		group := fmt.Sprint("join-", v)
		resp := s.ask("the first member", v, joinGroup(group, "", "range")).(*kmsg.JoinGroupResponse)
		if resp.ErrorCode != 0 {
			s.ask("again, with the id that it was given", v, joinGroup(group, resp.MemberID, "range"))
		}
		s.ask("a member that nobody knows", v, joinGroup(group, "nobody", "range"))
		s.ask("no protocol in common", v, joinGroup(group, "", "other"))
		kind := joinGroup(group, "", "range")
		kind.ProtocolType = "connect"
		s.ask("another protocol type", v, kind)
	}
	s.versions("an empty group id", 0, 9, func(int16) kmsg.Request { return joinGroup("", "", "range") })
	for _, ms := range []int32{-1, 0, 5_999, 1_800_001} {
		req := joinGroup("join-session", "", "range")
		req.SessionTimeoutMillis = ms
		s.ask(fmt.Sprint("a session timeout of ", ms), 5, req)
	}
	s.ask("no protocols", 5, joinGroup("join-none", ""))
	kind := joinGroup("join-none", "", "range")
	kind.ProtocolType = ""
	s.ask("no protocol type", 5, kind)
	s.ask("an unknown member of an unknown group", 5, joinGroup("join-nowhere", "nobody", "range"))
	static := func(member string) *kmsg.JoinGroupRequest {
		req := joinGroup("join-static", member, "range")
		req.InstanceID = kmsg.StringPtr("i1")
		return req
	}
	first := s.ask("a static member", 7, static("")).(*kmsg.JoinGroupResponse)
	s.quietly(5, syncGroup("join-static", first.MemberID, first.Generation))
	s.ask("the static member comes back", 7, static(""))
	s.ask("the static member's old id", 7, static(first.MemberID))
	s.ask("a static member with an unknown id", 7, static("nobody"))

	a := s.ask("two members: the first", 3, joinGroup("join-two", "", "range")).(*kmsg.JoinGroupResponse)
	s.quietly(5, syncGroup("join-two", a.MemberID, a.Generation))
	b := s.beside("two members: the second", 3, joinGroup("join-two", "", "range"))
	s.untilRebalance("join-two", a.MemberID, a.Generation)
	s.ask("two members: the first joins again", 3, joinGroup("join-two", a.MemberID, "range"))
	b()
}

// untilRebalance heartbeats until the group is rebalancing.
func (s *script) untilRebalance(group, member string, generation int32) {
	s.t.Helper()
	beat := heartbeat(group, member, generation)
	for deadline := time.Now().Add(10 * time.Second); s.quietly(4, beat).(*kmsg.HeartbeatResponse).ErrorCode != 27; {
		if time.Now().After(deadline) {
			s.t.Fatal("no rebalance after 10 s")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func heartbeat(group, member string, generation int32) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	return req
}

func scriptHeartbeat(s *script) {
	s.groupTopic("group-a")
	s.coordinators()
	id, generation := s.member("beat")
	s.versions("a member", 0, 4, func(int16) kmsg.Request { return heartbeat("beat", id, generation) })
	s.versions("an old generation", 0, 4, func(int16) kmsg.Request { return heartbeat("beat", id, generation-1) })
	s.versions("a generation to come", 0, 4, func(int16) kmsg.Request { return heartbeat("beat", id, generation+1) })
	s.versions("an unknown member", 0, 4, func(int16) kmsg.Request { return heartbeat("beat", "nobody", generation) })
	s.versions("an unknown group", 0, 4, func(int16) kmsg.Request { return heartbeat("beat-nowhere", id, generation) })
	s.versions("an empty group id", 0, 4, func(int16) kmsg.Request { return heartbeat("", id, generation) })
	req := heartbeat("beat", id, generation)
	req.InstanceID = kmsg.StringPtr("i1")
	s.ask("an instance that nobody knows", 4, req)
	static := joinGroup("beat-static", "", "range")
	static.InstanceID = kmsg.StringPtr("i1")
	one := s.quietly(7, static).(*kmsg.JoinGroupResponse)
	req = heartbeat("beat-static", "nobody", one.Generation)
	req.InstanceID = kmsg.StringPtr("i1")
	s.ask("an instance with another member's id", 4, req)
}

func scriptLeaveGroup(s *script) {
	s.groupTopic("group-a")
	s.coordinators()
	leave := func(v int16, group string, members ...string) *kmsg.LeaveGroupRequest {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group, req.MemberID = group, members[0]
		for _, id := range members {
			m := kmsg.NewLeaveGroupRequestMember()
			m.MemberID = id
			if instance, ok := strings.CutPrefix(id, "instance "); ok {
				m.MemberID, m.InstanceID = "", &instance
			}
			req.Members = append(req.Members, m)
		}
		return req
	}
	for v := int16(0); v <= 5; v++ {
		group := fmt.Sprint("leave-", v)
		id, _ := s.member(group)
		s.ask("an unknown member", v, leave(v, group, "nobody"))
		s.ask("a member", v, leave(v, group, id))
		s.ask("the member once more", v, leave(v, group, id))
	}
	s.versions("an unknown group", 0, 5, func(v int16) kmsg.Request { return leave(v, "leave-nowhere", "nobody") })
	s.versions("an empty group id", 0, 5, func(v int16) kmsg.Request { return leave(v, "", "nobody") })
	id, _ := s.member("leave-many")
	s.ask("several", 5, leave(5, "leave-many", "nobody", id, "instance i1"))
}

func scriptSyncGroup(s *script) {
	s.groupTopic("group-a")
	s.coordinators()
	for v := int16(0); v <= 5; v++ {
		group := fmt.Sprint("sync-", v)
		joined := s.quietly(3, joinGroup(group, "", "range")).(*kmsg.JoinGroupResponse)
		s.norm.member(joined.MemberID)
		s.ask("the leader", v, syncGroup(group, joined.MemberID, joined.Generation))
		s.ask("the leader once more", v, syncGroup(group, joined.MemberID, joined.Generation))
		s.ask("an old generation", v, syncGroup(group, joined.MemberID, joined.Generation-1))
		s.ask("an unknown member", v, syncGroup(group, "nobody", joined.Generation))
		s.ask("an unknown group", v, syncGroup("sync-nowhere", joined.MemberID, joined.Generation))
		s.ask("an empty group id", v, syncGroup("", joined.MemberID, joined.Generation))
	}
	id, generation := s.member("sync-kinds")
	for _, kind := range []string{"", "connect", "consumer"} {
		for _, protocol := range []string{"", "other", "range"} {
			req := syncGroup("sync-kinds", id, generation)
			req.ProtocolType, req.Protocol = nil, nil
			if kind != "" {
				req.ProtocolType = &kind
			}
			if protocol != "" {
				req.Protocol = &protocol
			}
			s.ask(fmt.Sprintf("protocol type %q, protocol %q", kind, protocol), 5, req)
		}
	}
}

func scriptDescribeGroups(s *script) {
	s.groupTopic("group-a")
	s.coordinators()
	s.member("desc-stable")
	joined := s.quietly(3, joinGroup("desc-joined", "", "range")).(*kmsg.JoinGroupResponse)
	s.norm.member(joined.MemberID)
	s.commitQuietly("desc-simple", "group-a")
	describe := func(groups ...string) *kmsg.DescribeGroupsRequest {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = groups
		return req
	}
	s.versions("groups", 0, 6, func(int16) kmsg.Request {
		return describe("desc-stable", "desc-nowhere", "desc-joined", "desc-simple", "")
	})
	s.versions("with authorized operations", 3, 6, func(int16) kmsg.Request {
		req := describe("desc-stable", "desc-nowhere")
		req.IncludeAuthorizedOperations = true
		return req
	})
	s.ask("no groups", 5, describe())
}

// commitQuietly commits an offset of partition 0 as a simple consumer.
func (s *script) commitQuietly(group, topic string) {
	s.t.Helper()
	resp := s.quietly(8, commitOffset(group, topic, 0, 1)).(*kmsg.OffsetCommitResponse)
	if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
		s.t.Fatalf("committing for %s: error %d", group, code)
	}
}

func commitOffset(group, topic string, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, offset, 0, kmsg.StringPtr("note")
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}
