package group

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// stopwatch measures calls, one by one. A story that is played several times makes
// the same calls each time, so that the shortest of each is what it takes when
// nothing else wants the processor.
type stopwatch struct {
	took  []time.Duration
	names []string
}

func (s *stopwatch) call(what string, f func()) {
	begin := time.Now()
	f()
	s.took = append(s.took, time.Since(begin))
	s.names = append(s.names, what)
}

// shortest keeps the shorter time of each call.
func (s *stopwatch) shortest(again *stopwatch) {
	for i := range min(len(s.took), len(again.took)) {
		s.took[i] = min(s.took[i], again.took[i])
	}
}

// longest is the call that took longest, and what all took together.
func (s *stopwatch) longest() (at int, total time.Duration) {
	for i, d := range s.took {
		total += d
		if d > s.took[at] {
			at = i
		}
	}
	return at, total
}

// stepped is a coordinator whose every call is measured.
type stepped struct {
	c       *Coordinator
	watch   stopwatch
	now     int64
	token   uint64
	answers map[uint64]kmsg.Response
}

func newStepped(topics *fakeTopics, change func(*Settings)) *stepped {
	s := &stepped{now: 1000, answers: map[uint64]kmsg.Response{}}
	settings := DefaultSettings()
	change(&settings)
	ids := uint64(0)
	s.c = New(Options{Settings: settings, Topics: topics, RandomID: func() (id protocol.UUID) {
		ids++
		for i := range 8 {
			id[8+i] = byte(ids >> (8 * i))
		}
		return id
	}})
	s.c.Loaded(s.now)
	return s
}

func (s *stepped) send(client string, req kmsg.Request) uint64 {
	s.token++
	s.watch.call("Step", func() {
		s.c.Step(s.now, Request{Token: s.token, ClientID: client, ClientHost: "/127.0.0.1", Body: req})
	})
	return s.token
}

// settle drives the coordinator as a core does: a few hundred answers a turn.
func (s *stepped) settle() {
	for {
		var r Ready
		s.watch.call("Ready", func() { r = s.c.Ready(128) })
		for _, a := range r.Responses {
			s.answers[a.Token] = a.Body
		}
		for _, b := range r.Batches {
			s.watch.call("Committed", func() { s.c.Committed(s.now, b.Seq) })
		}
		if r.DeadlineMillis != 0 && r.DeadlineMillis <= s.now {
			s.watch.call("Tick", func() { s.c.Tick(s.now) })
		} else if r.More {
			s.watch.call("Work", func() { s.c.Work(s.now) })
		} else if len(r.Batches) == 0 {
			return
		}
	}
}

func (s *stepped) pass(millis int64) {
	s.now += millis
	s.settle()
}

const thousand = 1000

// classicThousand takes a classic group of a thousand members from nothing through
// two rebalances.
func classicThousand(s *stepped) {
	ids := make([]string, thousand)
	metadata := subscriptionBytes(1, []string{"orders", "payments", "shipments"}, nil)
	join := func(i int) uint64 {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.MemberID = 9, "g", ids[i]
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = 300_000, 300_000, "consumer"
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata}, {Name: "cooperative-sticky", Metadata: metadata}}
		return s.send(fmt.Sprintf("consumer-%d", i), req)
	}
	for i := range ids {
		token := join(i)
		s.settle()
		ids[i] = s.answers[token].(*kmsg.JoinGroupResponse).MemberID
	}
	for round := range 2 {
		tokens := make([]uint64, thousand)
		for i := range ids {
			tokens[i] = join(i)
			s.settle()
		}
		for s.answers[tokens[0]] == nil {
			s.pass(3000)
		}
		leader := s.answers[tokens[0]].(*kmsg.JoinGroupResponse)
		if len(leader.Members) != thousand {
			panic(fmt.Sprintf("round %d: the leader sees %d members", round, len(leader.Members)))
		}
		for i := range ids {
			req := kmsg.NewPtrSyncGroupRequest()
			kind := "consumer"
			req.Version, req.Group, req.MemberID, req.Generation, req.ProtocolType, req.Protocol = 5, "g", ids[i], leader.Generation, &kind, leader.Protocol
			if i == 0 {
				for _, m := range leader.Members {
					req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.MemberID,
						MemberAssignment: assignmentOfTopics("orders", "payments", "shipments")})
				}
			}
			s.send("c", req)
		}
		s.settle()
	}
}

func assignmentOfTopics(names ...string) []byte {
	var lists []topicList
	for _, n := range names {
		lists = append(lists, topicList{n, []int32{1, 2, 3}})
	}
	c := codec{buf: []byte{0, 1}}
	array(&c, &lists, 6, (*codec).topicList)
	return append(c.buf, 0xff, 0xff, 0xff, 0xff)
}

// consumerThousand takes a consumer group of a thousand members from nothing to
// where everyone has its part of many partitions.
func consumerThousand(s *stepped, topics []string, mixed bool, assignor string) {
	clients := make([]*consumerClient, thousand)
	owned := func(a assignment) []kmsg.ConsumerGroupHeartbeatRequestTopic {
		out := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, t := range a {
			out = append(out, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.topic, Partitions: t.partitions})
		}
		return out
	}
	for round := range 12 {
		for i := range clients {
			if clients[i] == nil {
				clients[i] = &consumerClient{id: fmt.Sprintf("member-%04d", i), topics: topics, assignor: &assignor}
				if mixed && i%2 == 1 {
					clients[i].topics = topics[:len(topics)/2]
				}
			}
			cl := clients[i]
			req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			req.Version, req.Group, req.MemberID, req.MemberEpoch, req.Topics = 1, "g", cl.id, cl.epoch, owned(cl.wants)
			if round == 0 {
				req.RebalanceTimeoutMillis, req.SubscribedTopicNames, req.ServerAssignor = 300_000, cl.topics, cl.assignor
			}
			token := s.send("consumer", req)
			s.settle()
			answer := s.answers[token].(*kmsg.ConsumerGroupHeartbeatResponse)
			if answer.ErrorCode != 0 {
				panic(*answer.ErrorMessage)
			}
			cl.hear(answer)
			delete(s.answers, token)
		}
		s.pass(5000)
	}
	if state := s.c.find("g").consumer.state(); state != consumerStable {
		panic(fmt.Sprintf("the group is %s", state))
	}
}

func manyTopics(n int, partitions int32) (*fakeTopics, []string) {
	topics := newFakeTopics()
	var names []string
	for i := range n {
		name := fmt.Sprintf("topic-%04d", i)
		topics.set(name, partitions)
		names = append(names, name)
	}
	topics.index()
	return topics, names
}

// TestThousandMembersInShortSteps: no call holds a core for a millisecond, however
// large the group.
func TestThousandMembersInShortSteps(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would be measured, too
	for _, story := range []struct {
		name string
		run  func() *stepped
	}{
		{"classic", func() *stepped {
			topics, _ := manyTopics(3, 1000)
			s := newStepped(topics, func(*Settings) {})
			classicThousand(s)
			return s
		}},
		{"uniform, 10 topics of 400", func() *stepped {
			topics, names := manyTopics(10, 400)
			s := newStepped(topics, func(*Settings) {})
			consumerThousand(s, names, false, "uniform")
			return s
		}},
		{"uniform, 100 topics of 100", func() *stepped {
			topics, names := manyTopics(100, 100)
			s := newStepped(topics, func(*Settings) {})
			consumerThousand(s, names, false, "uniform")
			return s
		}},
		{"uniform, different topics", func() *stepped {
			topics, names := manyTopics(20, 100)
			s := newStepped(topics, func(*Settings) {})
			consumerThousand(s, names, true, "uniform")
			return s
		}},
		{"range, 20 topics of 1000", func() *stepped {
			topics, names := manyTopics(20, 1000)
			s := newStepped(topics, func(*Settings) {})
			consumerThousand(s, names, false, "range")
			return s
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			watch := &story.run().watch
			for range 9 {
				at, total := watch.longest()
				if watch.took[at] < time.Millisecond {
					t.Logf("%d calls, %v in all, the longest %v (%s)", len(watch.took), total, watch.took[at], watch.names[at])
					return
				}
				runtime.GC()
				watch.shortest(&story.run().watch)
			}
			at, _ := watch.longest()
			t.Errorf("call %d of %d, a %s, took %v", at, len(watch.took), watch.names[at], watch.took[at])
		})
	}
}

// BenchmarkHeartbeats is 5,000 groups of 4 members that send theirs.
func BenchmarkHeartbeats(b *testing.B) {
	const groups, members = 5000, 4
	topics, names := manyTopics(1, 4)
	for _, kind := range []string{"classic", "consumer"} {
		b.Run(kind, func(b *testing.B) {
			s := newStepped(topics, func(st *Settings) { st.InitialRebalanceDelayMillis, st.ConsumerAssignmentIntervalMillis = 0, 0 })
			var beats []kmsg.Request
			if kind == "classic" {
				beats = classicGroups(s, groups, members, names)
			} else {
				beats = consumerGroups(s, groups, members, names)
			}
			clear(s.answers)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				s.c.Step(s.now+int64(i/(groups*members)), Request{Token: uint64(i), ClientID: "c", ClientHost: "/127.0.0.1", Body: beats[i%len(beats)]})
				if i%64 == 63 {
					for _, a := range s.c.Ready(128).Responses {
						if i < 64 && fmt.Sprint(a.Body) == "" {
							b.Fatal("no answer")
						}
					}
				}
			}
		})
	}
}

func classicGroups(s *stepped, groups, members int, names []string) (beats []kmsg.Request) {
	metadata := subscriptionBytes(1, names, nil)
	for g := range groups {
		for range members {
			req := kmsg.NewPtrJoinGroupRequest()
			req.Version, req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = 3, fmt.Sprintf("group-%d", g), 300_000, 300_000, "consumer"
			req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata}}
			s.send("c", req)
		}
		s.settle()
	}
	for _, g := range s.c.sorted {
		for m := range g.classic.members.all() {
			req := kmsg.NewPtrSyncGroupRequest()
			req.Version, req.Group, req.MemberID, req.Generation = 4, g.id, m.id, g.classic.generation
			s.send("c", req)
			beat := kmsg.NewPtrHeartbeatRequest()
			beat.Version, beat.Group, beat.MemberID, beat.Generation = 4, g.id, m.id, g.classic.generation
			beats = append(beats, beat)
		}
		s.settle()
	}
	return beats
}

func consumerGroups(s *stepped, groups, members int, names []string) (beats []kmsg.Request) {
	for g := range groups {
		for m := range members {
			req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, fmt.Sprintf("group-%d", g), fmt.Sprintf("m%d", m), 60_000
			req.SubscribedTopicNames, req.Topics = names, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			s.send("c", req)
			s.settle()
		}
	}
	for _, g := range s.c.sorted {
		for range 3 { // until all have their part
			for _, m := range g.consumer.sorted {
				req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
				req.Version, req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = 1, g.id, m.id, m.epoch, -1
				for _, t := range m.assigned {
					req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.topic, Partitions: t.partitions})
				}
				if req.Topics == nil {
					req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
				}
				s.send("c", req)
				s.settle()
			}
		}
		for _, m := range g.consumer.sorted {
			req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			req.Version, req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = 1, g.id, m.id, m.epoch, -1
			beats = append(beats, req)
		}
	}
	return beats
}

// BenchmarkOffsetCommit is one partition a commit, as an auto-committing consumer
// with one partition sends it.
func BenchmarkOffsetCommit(b *testing.B) {
	topics, names := manyTopics(1, 4)
	s := newStepped(topics, func(*Settings) {})
	var reqs []*kmsg.OffsetCommitRequest
	for g := range 5000 {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.Generation = 9, fmt.Sprintf("group-%d", g), -1
		req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: names[0], Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: int32(g % 4), Offset: 1}}}}
		reqs = append(reqs, req)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		s.c.Step(s.now, Request{Token: uint64(i), ClientID: "c", ClientHost: "/127.0.0.1", Body: reqs[i%len(reqs)]})
		if i%64 == 63 {
			for _, batch := range s.c.Ready(128).Batches {
				s.c.Committed(s.now, batch.Seq)
			}
		}
	}
}
