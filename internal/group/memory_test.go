package group

import (
	"strings"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestMemoryOfMembers fills the memory that two coordinators share with members of
// every kind, and empties it in every way that there is.
func TestMemoryOfMembers(t *testing.T) {
	memory := &Memory{LimitBytes: 10_000}
	here, there := newWorld(t), newWorld(t)
	for _, w := range []*world{here, there} {
		w.c = New(Options{Settings: w.settings, Topics: w.topics, RandomID: w.randomID, Memory: memory})
		w.c.Loaded(w.now)
	}
	join := func(w *world, group, member string, bytes int) (string, protocol.ErrorCode) {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.MemberID, req.ProtocolType = 3, group, member, "consumer"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 10_000
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, bytes)}}
		token := w.send("client", req)
		resp, ok := w.answers[token].(*kmsg.JoinGroupResponse)
		if !ok {
			return "", protocol.NONE // it waits
		}
		return resp.MemberID, protocol.ErrorCode(resp.ErrorCode)
	}
	subscribe := func(w *world, member, topic string) protocol.ErrorCode {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, "subscribers", member, 10_000
		req.SubscribedTopicNames, req.Topics = []string{topic}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		return protocol.ErrorCode(w.answers[w.send("client", req)].(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode)
	}
	want := func(what string, got, code protocol.ErrorCode, used int64) {
		t.Helper()
		if got != code || memory.UsedBytes() != used {
			t.Fatalf("%s: %v with %d bytes kept, want %v with %d", what, got, memory.UsedBytes(), code, used)
		}
		for _, w := range []*world{here, there} {
			if err := w.c.Check(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, code := join(here, "a", "", 4_000)
	want("the first", code, protocol.NONE, 4_053)
	_, code = join(there, "b", "", 4_000)
	want("one of the other coordinator", code, protocol.NONE, 8_106)
	_, code = join(here, "c", "", 4_000)
	want("one too many", code, protocol.GROUP_MAX_SIZE_REACHED, 8_106)
	want("a subscription", subscribe(here, "s1", strings.Repeat("t", 1_000)), protocol.NONE, 9_154)
	want("a subscription too many", subscribe(here, "s2", strings.Repeat("t", 1_000)), protocol.GROUP_MAX_SIZE_REACHED, 9_154)
	want("the same again", subscribe(here, "s1", strings.Repeat("t", 1_000)), protocol.NONE, 9_154)
	want("a shorter one", subscribe(here, "s1", "t"), protocol.NONE, 8_155)
	there.pass(400_000) // the member's JoinGroup has not been answered, or it has not said anything since
	want("a session ends", protocol.NONE, protocol.NONE, 4_102)
	_, code = join(there, "c", "", 4_000)
	want("there is room again", code, protocol.NONE, 8_155)
	there.c.Unload(there.now)
	want("a coordinator goes", protocol.NONE, protocol.NONE, 4_102)
	here.c.fail(protocol.NOT_COORDINATOR)
	want("a coordinator fails", protocol.NONE, protocol.NONE, 0)
}
