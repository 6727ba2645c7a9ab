package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"slipstream/protocol"
	"slipstream/reactor"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// findCoordinator makes __consumer_offsets.
func (w *wire) findCoordinator(kind int8, keys ...string) *kmsg.FindCoordinatorResponse {
	w.t.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKeys = kind, keys
	return w.ask(4, req).(*kmsg.FindCoordinatorResponse)
}

func commitRequest(group, topic string, offsets ...int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	for i, offset := range offsets {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = int32(i), offset
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// commit commits an offset of partition 0, again while the coordinator is loading.
func (w *wire) commit(group, topic string, offset int64) protocol.ErrorCode {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp := w.ask(8, commitRequest(group, topic, offset)).(*kmsg.OffsetCommitResponse)
		code := protocol.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode)
		if code != protocol.COORDINATOR_LOAD_IN_PROGRESS || time.Now().After(deadline) {
			return code
		}
	}
}

// committed fetches the offsets of partition 0 for several groups at once.
func (w *wire) committed(topic string, groups ...string) (offsets []int64) {
	w.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	for _, id := range groups {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = id
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = topic, []int32{0}
		g.Topics = append(g.Topics, t)
		req.Groups = append(req.Groups, g)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp := w.ask(8, req).(*kmsg.OffsetFetchResponse)
		loading := false
		offsets = offsets[:0]
		for i, g := range resp.Groups {
			if g.Group != groups[i] {
				w.t.Fatalf("the answer has group %q in place %d, asked was %q", g.Group, i, groups[i])
			}
			switch code := protocol.ErrorCode(g.ErrorCode); code {
			case protocol.NONE:
				offsets = append(offsets, g.Topics[0].Partitions[0].Offset)
			case protocol.COORDINATOR_LOAD_IN_PROGRESS:
				loading = true
			default:
				w.t.Fatalf("group %q: %s", g.Group, code)
			}
		}
		if !loading {
			return offsets
		}
		if time.Now().After(deadline) {
			w.t.Fatal("coordinators are still loading after 10 s")
		}
	}
}

func groupNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("group-", i))
	}
	return names
}

// Offsets of groups on all cores are there after a restart, and requests about many
// groups come back in their order.
func TestOffsetsSurviveARestart(t *testing.T) {
	for _, cores := range []int{1, 3} {
		t.Run(fmt.Sprint(cores, " cores"), func(t *testing.T) {
			b := startTestBroker(t, "", setCores(cores))
			w := b.dial()
			w.createTopic("t", 1)
			groups := groupNames(40)
			for _, c := range w.findCoordinator(0, groups...).Coordinators {
				if c.ErrorCode != 0 || c.NodeID != 1 {
					t.Fatalf("coordinator of %q: error %d, node %d", c.Key, c.ErrorCode, c.NodeID)
				}
			}
			for i, g := range groups {
				for _, offset := range []int64{1, int64(i)} {
					if code := w.commit(g, "t", offset); code != protocol.NONE {
						t.Fatalf("commit of %s: %s", g, code)
					}
				}
			}
			if err := b.stop(); err != nil {
				t.Fatal(err)
			}
			b = startTestBroker(t, b.dir, setCores(cores))
			w = b.dial()
			for i, offset := range w.committed("t", append(groups, "nobody")...) {
				if want := int64(i); offset != want && (i < len(groups) || offset != -1) {
					t.Errorf("group %d: offset %d after the restart", i, offset)
				}
			}
			list := w.ask(5, kmsg.NewPtrListGroupsRequest()).(*kmsg.ListGroupsResponse)
			if list.ErrorCode != 0 || len(list.Groups) != len(groups) {
				t.Errorf("ListGroups: error %d, %d groups, want %d", list.ErrorCode, len(list.Groups), len(groups))
			}
			del := kmsg.NewPtrDeleteGroupsRequest()
			del.Groups = []string{"group-3", "nobody", "group-1"}
			want := []protocol.ErrorCode{protocol.NONE, protocol.GROUP_ID_NOT_FOUND, protocol.NONE}
			for i, g := range w.ask(2, del).(*kmsg.DeleteGroupsResponse).Groups {
				if g.Group != del.Groups[i] || g.ErrorCode != int16(want[i]) {
					t.Errorf("DeleteGroups: answer %d is about %q, error %d, want %s", i, g.Group, g.ErrorCode, want[i])
				}
			}
		})
	}
}

// Without __consumer_offsets nobody coordinates, and nothing but FindCoordinator
// makes it.
func TestNoCoordinator(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	w.createTopic("t", 1)
	if code := w.commit("g", "t", 1); code != protocol.NOT_COORDINATOR {
		t.Errorf("commit: %s", code)
	}
	if list := w.ask(5, kmsg.NewPtrListGroupsRequest()).(*kmsg.ListGroupsResponse); list.ErrorCode != 0 || len(list.Groups) != 0 {
		t.Errorf("ListGroups: error %d, %d groups", list.ErrorCode, len(list.Groups))
	}
	w.findCoordinator(0, "g")
	if code := w.commit("g", "t", 1); code != protocol.NONE {
		t.Errorf("commit after FindCoordinator: %s", code)
	}
	produced := w.ask(9, produceRequest("__consumer_offsets", 0, testBatch(1, "x"))).(*kmsg.ProduceResponse)
	if code := protocol.ErrorCode(produced.Topics[0].Partitions[0].ErrorCode); code != protocol.INVALID_TOPIC_EXCEPTION {
		t.Errorf("a client's produce to __consumer_offsets: %s", code)
	}
}

func joinRequest(group, member string, metadata int) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = group, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 30_000, 60_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", make([]byte, metadata)
	req.Protocols = append(req.Protocols, p)
	return req
}

// A member that waits for a rebalance is answered when the broker stops, and does
// not keep it from stopping.
func TestParkedJoinIsAnsweredAtShutdown(t *testing.T) {
	b := startTestBroker(t, "", setCores(2), "group.initial.rebalance.delay.ms=60000")
	w := b.dial()
	w.findCoordinator(0, "g")
	join := joinRequest("g", "", 10)
	join.SetVersion(3)
	w.send(join)
	time.Sleep(100 * time.Millisecond)
	begun := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- b.stop() }()
	resp := w.receive(join).(*kmsg.JoinGroupResponse)
	if code := protocol.ErrorCode(resp.ErrorCode); code != protocol.NOT_COORDINATOR {
		t.Errorf("the parked JoinGroup is answered %s", code)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("stopping took %v", d)
	}
}

// A record that is none of a coordinator's leaves that coordinator out of service,
// and no other. Only the admin client can have written it.
func TestDamagedOffsetsLog(t *testing.T) {
	b := startTestBroker(t, "", "offsets.topic.num.partitions=2")
	w := b.dial()
	w.createTopic("t", 1)
	w.findCoordinator(0, "g")
	groups := groupNames(8)
	for _, g := range groups {
		if code := w.commit(g, "t", 7); code != protocol.NONE {
			t.Fatal(code)
		}
	}
	var bl protocol.Builder
	bl.Begin(nil, protocol.NewBatchInfo(0, -1))
	bl.Append(&protocol.Record{Key: []byte{0, 1, 0, 50, 'g'}, Value: []byte{0, 3}}) // a name of 50 bytes that is not there
	_, batch := bl.Finish()
	produce := produceRequest("__consumer_offsets", 0, batch)
	produce.SetVersion(9)
	w.corr++
	if _, err := w.conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(adminClientID)).AppendRequest(nil, produce, w.corr)); err != nil {
		t.Fatal(err)
	}
	if code := w.receive(produce).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		t.Fatalf("the admin client's produce: error %d", code)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b = startTestBroker(t, b.dir, "offsets.topic.num.partitions=2")
	w = b.dial()
	answers := map[protocol.ErrorCode]int{}
	for _, g := range groups {
		answers[w.commit(g, "t", 8)]++
	}
	if len(answers) != 2 || answers[protocol.NOT_COORDINATOR] == 0 || answers[protocol.NONE] == 0 {
		t.Errorf("commits are answered %v", answers)
	}
	if err := b.stop(); err != nil { // the log is the broker's until then
		t.Error(err)
	}
	if !strings.Contains(b.logs.String(), "could not be loaded") {
		t.Errorf("the log does not say so:\n%s", b.logs)
	}
}

// A topic's deletion takes its offsets, and that of __consumer_offsets its groups.
func TestDeletedTopics(t *testing.T) {
	b := startTestBroker(t, "", setCores(2), "offsets.topic.num.partitions=4")
	w := b.dial()
	w.createTopic("t", 1)
	w.findCoordinator(0, "g")
	if code := w.commit("g", "t", 5); code != protocol.NONE {
		t.Fatal(code)
	}
	w.deleteTopic("t")
	deadline := time.Now().Add(10 * time.Second)
	for w.committed("t", "g")[0] != -1 {
		if time.Now().After(deadline) {
			t.Fatal("the offset of a deleted topic is still there")
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.createTopic("u", 1)
	w.commit("g", "u", 6)
	w.deleteTopic("__consumer_offsets")
	if code := w.commit("g", "u", 7); code != protocol.NOT_COORDINATOR {
		t.Errorf("a commit without __consumer_offsets: %s", code)
	}
	w.findCoordinator(0, "g")
	if got := w.committed("u", "g")[0]; got != -1 {
		t.Errorf("a new __consumer_offsets has offset %d", got)
	}
}

func (w *wire) deleteTopic(name string) {
	w.t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames = []string{name}
	if code := w.ask(5, req).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; code != 0 {
		w.t.Fatalf("deleting %s: error %d", name, code)
	}
}

// onCore runs f on a core and waits for it.
type onCore struct {
	f    func()
	done chan struct{}
}

func (m *onCore) Deliver(*reactor.Core) {
	m.f()
	close(m.done)
}

func (b *testBroker) onCore(core int, f func()) {
	b.t.Helper()
	m := &onCore{f, make(chan struct{})}
	if !b.broker.cores[core].Inject(m) {
		b.t.Fatal("the core takes no message")
	}
	<-m.done
}

// A coordinator whose log refuses a batch is loaded anew: who was waiting is told,
// what was committed before is there, and it serves again.
func TestCoordinatorIsLoadedAnew(t *testing.T) {
	b := startTestBroker(t, "", "offsets.topic.num.partitions=1", "group.initial.rebalance.delay.ms=60000")
	w := b.dial()
	w.createTopic("t", 1)
	w.findCoordinator(0, "g")
	if code := w.commit("g", "t", 5); code != protocol.NONE {
		t.Fatal(code)
	}
	parked := b.dial()
	join := joinRequest("joining", "", 10)
	join.SetVersion(3)
	parked.send(join)
	time.Sleep(50 * time.Millisecond)
	shrink := func(bytes int32) {
		s := b.broker.shards[0]
		h := s.hosted[partitionKey{s.topicsByName["__consumer_offsets"].id, 0}]
		settings := h.topic.settings
		settings.MaxMessageBytes = bytes
		h.log.SetConfig(settings)
	}
	b.onCore(0, func() { shrink(70) }) // the coordinator does not know
	if code := w.commit("g", "t", 6); code != protocol.UNKNOWN_SERVER_ERROR {
		t.Errorf("a commit that the log refuses: %s", code)
	}
	if code := protocol.ErrorCode(parked.receive(join).(*kmsg.JoinGroupResponse).ErrorCode); code != protocol.UNKNOWN_SERVER_ERROR {
		t.Errorf("the JoinGroup that waited: %s", code)
	}
	b.onCore(0, func() { shrink(1 << 20) })
	if got := w.committed("t", "g")[0]; got != 5 {
		t.Errorf("loaded anew, the offset is %d, want 5", got)
	}
	if code := w.commit("g", "t", 7); code != protocol.NONE {
		t.Errorf("a commit after it: %s", code)
	}
	if got := w.committed("t", "g")[0]; got != 7 {
		t.Errorf("the offset is %d, want 7", got)
	}
}

// Two thousand groups are listed whole, by several cores, with filters.
func TestManyGroupsAreListed(t *testing.T) {
	const n = 2000
	b := startTestBroker(t, "", setCores(2), "offsets.topic.num.partitions=3")
	w := b.dial()
	w.createTopic("t", 1)
	w.findCoordinator(0, "g")
	for from := 0; from < n; from += 100 { // a hundred commits at a time
		for i := range 100 {
			req := commitRequest(fmt.Sprintf("group-%04d", from+i), "t", 1)
			req.SetVersion(8)
			w.send(req)
		}
		for range 100 {
			req := commitRequest("", "t", 1)
			req.SetVersion(8)
			if code := w.receive(req).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
				t.Fatalf("a commit: %s", protocol.ErrorCode(code))
			}
		}
	}
	list := kmsg.NewPtrListGroupsRequest()
	seen := map[string]bool{}
	for _, g := range w.ask(5, list).(*kmsg.ListGroupsResponse).Groups {
		seen[g.Group] = g.GroupState == "Empty" && g.GroupType == "classic"
	}
	if len(seen) != n || !seen["group-0000"] || !seen["group-1999"] {
		t.Errorf("%d groups are listed, want %d", len(seen), n)
	}
	list.StatesFilter = []string{"Stable"}
	if groups := w.ask(5, list).(*kmsg.ListGroupsResponse).Groups; len(groups) != 0 {
		t.Errorf("%d groups are stable", len(groups))
	}
}

// Where the settings leave KIP-848 out, clients are told, and fall back.
func TestConsumerGroupsCanBeLeftOut(t *testing.T) {
	w := startTestBroker(t, "", "group.coordinator.rebalance.protocols=classic").dial()
	w.findCoordinator(0, "g")
	beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	beat.Group, beat.MemberID = "g", "m"
	if code := protocol.ErrorCode(w.ask(1, beat).(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode); code != protocol.UNSUPPORTED_VERSION {
		t.Errorf("a heartbeat: %s", code)
	}
	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups = []string{"g"}
	if code := protocol.ErrorCode(w.ask(1, describe).(*kmsg.ConsumerGroupDescribeResponse).Groups[0].ErrorCode); code != protocol.UNSUPPORTED_VERSION {
		t.Errorf("described: %s", code)
	}
}

// What a group sets for itself counts from its next heartbeat on, and what the
// broker's settings allow bounds it.
func TestGroupSettingsAreLive(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	w.createTopic("t", 1)
	w.findCoordinator(0, "g")
	beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	beat.Group, beat.MemberID, beat.RebalanceTimeoutMillis, beat.SubscribedTopicNames = "g", "m", 60_000, []string{"t"}
	beat.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	first := w.ask(1, beat).(*kmsg.ConsumerGroupHeartbeatResponse)
	if first.ErrorCode != 0 || first.HeartbeatIntervalMillis != 5000 {
		t.Fatalf("error %d, heartbeat every %d ms", first.ErrorCode, first.HeartbeatIntervalMillis)
	}
	alter := func(value string) int16 {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, "g"
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = "consumer.heartbeat.interval.ms", &value
		r.Configs = append(r.Configs, c)
		req.Resources = append(req.Resources, r)
		return w.ask(1, req).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode
	}
	if code := alter("7000"); code != 0 {
		t.Fatalf("setting consumer.heartbeat.interval.ms: error %d", code)
	}
	if code := alter("99000"); code == 0 {
		t.Error("an interval over group.consumer.max.heartbeat.interval.ms is taken")
	}
	beat.MemberEpoch = first.MemberEpoch
	if next := w.ask(1, beat).(*kmsg.ConsumerGroupHeartbeatResponse); next.ErrorCode != 0 || next.HeartbeatIntervalMillis != 7000 {
		t.Errorf("error %d, heartbeat every %d ms", next.ErrorCode, next.HeartbeatIntervalMillis)
	}
}

// Answers are encoded on the connection's core while the group's core goes on: the
// race detector sees whether they share anything.
func TestAnswersShareNothingWithTheirGroup(t *testing.T) {
	b := startTestBroker(t, "", setCores(2), "offsets.topic.num.partitions=2")
	b.dial().createTopic("t", 1)
	b.dial().findCoordinator(0, "g")
	done := make(chan struct{}, 8)
	for i := range 8 {
		w := b.dial()
		go func() {
			defer func() { done <- struct{}{} }()
			for n := range 100 {
				group := fmt.Sprint("group-", (n+i)%2)
				commit := commitRequest(group, "t", int64(n))
				commit.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(fmt.Sprint("note ", n))
				fetch := kmsg.NewPtrOffsetFetchRequest()
				g := kmsg.NewOffsetFetchRequestGroup()
				g.Group = group
				fetch.Groups = append(fetch.Groups, g)
				beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
				beat.Group, beat.MemberID, beat.RebalanceTimeoutMillis = "new", fmt.Sprint("m", i), 60_000
				beat.SubscribedTopicNames, beat.Topics = []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
				regex := "t|" + fmt.Sprint(n)
				beat.SubscribedTopicRegex = &regex
				describe := kmsg.NewPtrConsumerGroupDescribeRequest()
				describe.Groups = []string{"new"}
				for _, r := range []struct {
					version int16
					req     kmsg.Request
				}{{8, commit}, {8, fetch}, {1, beat}, {1, describe}} {
					r.req.SetVersion(r.version)
					w.send(r.req)
				}
				for range 4 {
					if w.frame() == nil {
						t.Error("the connection was closed")
						return
					}
				}
			}
		}()
	}
	for range 8 {
		<-done
	}
}
