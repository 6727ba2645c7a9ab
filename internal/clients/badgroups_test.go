package clients

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pipeline sends n requests on one connection, up to 64 ahead of their answers, and hands each answer to check.
func pipeline(t *testing.T, b *harness.Broker, n int, request func(i int) kmsg.Request, check func(i int, resp kmsg.Response) error) {
	t.Helper()
	w, err := harness.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ahead := make(chan kmsg.Request, 64)
	go func() {
		defer close(ahead)
		for i := range n {
			req := request(i)
			if _, err := w.Write(harness.Encode(req, int32(i))); err != nil {
				return
			}
			ahead <- req
		}
	}()
	i := 0
	for req := range ahead {
		body, err := w.ReadFrame(60 * time.Second)
		var resp kmsg.Response
		if err == nil {
			resp, err = harness.Decode(req, int32(i), body)
		}
		if err == nil {
			err = check(i, resp)
		}
		if err != nil {
			w.Conn.Close()
			for range ahead {
			}
			t.Fatalf("request %d of %d, key %d: %v", i, n, req.Key(), err)
		}
		i++
	}
	if i != n {
		t.Fatalf("%d of %d requests could be sent", i, n)
	}
}

// wantCode is nil when code is one of want.
func wantCode(code int16, want ...*kerr.Error) error {
	for _, w := range want {
		if w == nil && code == 0 || w != nil && code == w.Code {
			return nil
		}
	}
	return fmt.Errorf("error %d (%v), want %v", code, kerr.ErrorForCode(code), want)
}

func joinRequest(group, member string, metadata []byte) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(3) // before a member had to ask for its id first
	req.Group, req.MemberID, req.ProtocolType = group, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 10_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", metadata
	req.Protocols = append(req.Protocols, p)
	return req
}

func commitRequest(group, topic, metadata string, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.SetVersion(7)
	req.Group, req.Generation = group, -1
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Offset, rp.Metadata = offset, &metadata
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

func heartbeatRequest(group, member, regex string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.SetVersion(1)
	req.Group, req.MemberID, req.RebalanceTimeoutMillis = group, member, 10_000
	req.SubscribedTopicRegex = &regex
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return req
}

// TestTenThousandGroups lets one client make ten thousand groups with a member each and ten thousand that only hold an
// offset, asks for all of them, and deletes the latter with one request, beside a client that must not notice.
func TestTenThousandGroups(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while; not with -short")
	}
	b := harness.StartT(t, harness.Options{Set: groupSettings})
	topic := topicName(t, "many-groups")
	createTopic(t, b, topic, 1)
	openGroups(t, b)
	in := startInnocent(t, b)
	const n = 10_000
	pipeline(t, b, n, func(i int) kmsg.Request { return joinRequest(fmt.Sprint("member-", i), "", []byte("x")) },
		func(_ int, resp kmsg.Response) error { return wantCode(resp.(*kmsg.JoinGroupResponse).ErrorCode, nil) })
	pipeline(t, b, n, func(i int) kmsg.Request { return commitRequest(fmt.Sprint("offset-", i), topic, "", int64(i)) },
		func(_ int, resp kmsg.Response) error {
			return wantCode(resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode, nil)
		})
	list := kmsg.NewPtrListGroupsRequest()
	list.SetVersion(4)
	pipeline(t, b, 20, func(int) kmsg.Request { return list }, func(_ int, resp kmsg.Response) error {
		offsets := 0
		for _, g := range resp.(*kmsg.ListGroupsResponse).Groups {
			if strings.HasPrefix(g.Group, "offset-") {
				offsets++
			}
		}
		if offsets != n {
			return fmt.Errorf("%d groups with offsets are listed, want %d", offsets, n)
		}
		return nil
	})
	del := kmsg.NewPtrDeleteGroupsRequest()
	del.SetVersion(2)
	for i := range n {
		del.Groups = append(del.Groups, fmt.Sprint("offset-", i))
	}
	pipeline(t, b, 1, func(int) kmsg.Request { return del }, func(_ int, resp kmsg.Response) error {
		groups := resp.(*kmsg.DeleteGroupsResponse).Groups
		if len(groups) != n {
			return fmt.Errorf("%d answers for %d groups", len(groups), n)
		}
		for _, g := range groups {
			if g.ErrorCode != 0 {
				return fmt.Errorf("%s: error %d", g.Group, g.ErrorCode)
			}
		}
		return nil
	})
	pipeline(t, b, 1, func(int) kmsg.Request { return list }, func(_ int, resp kmsg.Response) error {
		for _, g := range resp.(*kmsg.ListGroupsResponse).Groups {
			if strings.HasPrefix(g.Group, "offset-") {
				return fmt.Errorf("%s is listed after it was deleted", g.Group)
			}
		}
		return nil
	})
	requireGroupWorks(t, b)
	in.finish(100)
	requireMemory(t, b, 400<<20)
}

// openGroups looks for a coordinator until there is one for every group.
func openGroups(t *testing.T, b *harness.Broker) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		w, err := harness.Dial(b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		// Apache makes the offsets' topic when it is looked for, and takes a moment to load its 50 partitions.
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.SetVersion(3)
		find.CoordinatorKey = "any"
		w.Do(find, 10*time.Second)
		ready := 0
		for i := range 200 {
			resp, err := w.Do(commitRequest(fmt.Sprint("ready-", i), "nothing", "", 0), 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if code := resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode; code == 0 || code == kerr.UnknownTopicOrPartition.Code {
				ready++
			}
		}
		w.Close()
		if ready == 200 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after a minute %d of 200 groups have a coordinator", ready)
		}
	}
}

// TestRegexesThatExplode subscribes with regular expressions that are slow or large for one engine or another, over a
// thousand topics whose names are made for them. Each must be answered soon, refused or taken, and nobody else may notice.
func TestRegexesThatExplode(t *testing.T) {
	b := harness.StartT(t, harness.Options{Set: groupSettings})
	openGroups(t, b)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.SetVersion(5)
	create.TimeoutMillis = 60_000
	for i := range 300 {
		create.Topics = append(create.Topics, newTopic(fmt.Sprintf("%s%d", strings.Repeat("a", 200), i), 1, 1))
	}
	pipeline(t, b, 1, func(int) kmsg.Request { return create }, func(_ int, resp kmsg.Response) error {
		return wantCode(resp.(*kmsg.CreateTopicsResponse).Topics[299].ErrorCode, nil)
	})
	in := startInnocent(t, b)
	regexes := []string{"(a+)+b", "(a|aa)+$", "((a*)*)*b", "(.*.*.*.*)*x", "(a?){60}a{60}", "(x+x+)+y", "a{1000}", "(a{30}){30}", "((a{100}){100}){100}",
		"(((a{1000}){1000}){1000}){1000}", "[a-z]{500}[0-9]{500}", strings.Repeat("(a", 1000) + strings.Repeat(")*", 1000), strings.Repeat("a|", 20_000), "(", `\p{Greek}+`,
		"(?i)" + strings.Repeat("[^a]", 900), ".*"}
	pipeline(t, b, 10*len(regexes), func(i int) kmsg.Request {
		return heartbeatRequest(fmt.Sprint("explode-", i), fmt.Sprint("member-", i), regexes[i%len(regexes)])
	}, func(i int, resp kmsg.Response) error {
		r := resp.(*kmsg.ConsumerGroupHeartbeatResponse)
		if err := wantCode(r.ErrorCode, nil, kerr.InvalidRegularExpression); err != nil {
			return fmt.Errorf("%.40q: %w", regexes[i%len(regexes)], err)
		}
		return nil
	})
	requireGroupWorks(t, b)
	in.finish(20)
	requireMemory(t, b, 400<<20)
}

// TestOversizedGroupFields sends metadata, member, instance and group ids as long as the protocol can carry. Kafka's own
// codes come back.
func TestOversizedGroupFields(t *testing.T) {
	b := harness.StartT(t, harness.Options{Set: groupSettings})
	topic := topicName(t, "oversized")
	createTopic(t, b, topic, 1)
	openGroups(t, b)
	in := startInnocent(t, b)
	long := strings.Repeat("x", 32_000)
	pipeline(t, b, 200, func(i int) kmsg.Request { return commitRequest("oversized", topic, long[:4096+i%2], 1) }, func(i int, resp kmsg.Response) error {
		want := []*kerr.Error{nil, kerr.OffsetMetadataTooLarge}[i%2]
		return wantCode(resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode, want)
	})
	pipeline(t, b, 200, func(i int) kmsg.Request {
		req := kmsg.NewPtrHeartbeatRequest()
		req.SetVersion(3)
		req.Group, req.MemberID, req.InstanceID = long[:100+i], long, &long
		return req
	}, func(_ int, resp kmsg.Response) error {
		return wantCode(resp.(*kmsg.HeartbeatResponse).ErrorCode, kerr.UnknownMemberID)
	})
	pipeline(t, b, 200, func(i int) kmsg.Request { return joinRequest("known-by-nobody", long, nil) }, func(_ int, resp kmsg.Response) error {
		return wantCode(resp.(*kmsg.JoinGroupResponse).ErrorCode, kerr.UnknownMemberID)
	})
	// What is taken is a member with its id of 32,000 bytes; it is the record of it that may be too large for the log.
	pipeline(t, b, 50, func(i int) kmsg.Request {
		return heartbeatRequest(long[:31_000]+fmt.Sprint(i), long, "x")
	}, func(_ int, resp kmsg.Response) error {
		return wantCode(resp.(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode, nil, kerr.InvalidRequest, kerr.UnknownServerError, kerr.CoordinatorNotAvailable)
	})
	requireGroupWorks(t, b)
	in.finish(20)
	requireMemory(t, b, 400<<20)
}

// TestMegabyteMembers joins 250 groups, and one group 250 times, with a megabyte of protocols each, from clients that ask and
// never read. Of what they say 128 MiB are kept (Go's heap may be twice that, and more on its way); what waits in sockets' place
// is in the arena, of at most 512 MiB.
func TestMegabyteMembers(t *testing.T) {
	if testing.Short() {
		t.Skip("sends 500 MB; not with -short")
	}
	harness.SlipstreamOnly(t) // Apache keeps all of it, and its heap here is a gigabyte
	b := harness.StartT(t, harness.Options{Set: groupSettings})
	openGroups(t, b)
	in := startInnocent(t, b)
	metadata := make([]byte, 1<<20)
	for _, shape := range []string{"one group", "many groups"} {
		for i := range 250 {
			group := "one"
			if shape == "many groups" {
				group = fmt.Sprint("each-", i)
			}
			w, err := harness.Dial(b.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			sendAll(t, w.Conn, harness.Encode(joinRequest(group, "", metadata), 1))
		}
		u, err := b.Usage()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", shape, u)
	}
	in.finish(20)
	requireMemory(t, b, 960<<20)
}

// sendAll gives up on a broker that does not read any more: that is its right.
func sendAll(t *testing.T, c net.Conn, bytes []byte) {
	t.Helper()
	c.SetWriteDeadline(time.Now().Add(2 * time.Second))
	c.Write(bytes)
}

// requireGroupWorks: after all that a group still works for who behaves.
func requireGroupWorks(t *testing.T, b *harness.Broker) {
	t.Helper()
	topic := topicName(t, "after")
	createTopic(t, b, topic, 2)
	cl, stop := member(t, b, "the-innocent", "classic", topic)
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := cl.CommitRecords(ctx); err != nil {
		t.Error(err)
	}
}
