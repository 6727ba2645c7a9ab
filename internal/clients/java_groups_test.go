package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
)

// groupSettings make a rebalance of either protocol a matter of tenths of a second.
var groupSettings = []string{"group.initial.rebalance.delay.ms=0", "group.min.session.timeout.ms=1000",
	"group.consumer.min.heartbeat.interval.ms=200", "group.consumer.heartbeat.interval.ms=300",
	"group.consumer.min.session.timeout.ms=1000", "group.consumer.session.timeout.ms=3000"}

// tool runs one of Kafka's programs against b and returns what it printed; wantFailure is what must be in that when it
// must fail, else it must succeed.
func tool(t testing.TB, b *harness.Broker, wantFailure, main string, args ...string) string {
	t.Helper()
	r, err := harness.Tool(nil, main, append([]string{"--bootstrap-server", b.Addr}, args...)...)
	harness.Need(t, err)
	switch {
	case wantFailure == "" && (r.Status != 0 || strings.Contains(r.Out, "Error: ")):
		t.Errorf("%s %q: status %d\n%s", main, args, r.Status, r.Both())
	case wantFailure != "" && !strings.Contains(r.Both(), wantFailure):
		t.Errorf("%s %q: want a failure that says %q, got status %d and\n%s", main, args, wantFailure, r.Status, r.Both())
	}
	return r.Out
}

// requireRow requires a line of a tool's table whose columns match the pattern, in which a blank stands for any blanks.
func requireRow(t testing.TB, out, pattern string) {
	t.Helper()
	re := regexp.MustCompile(`(?m)^` + strings.ReplaceAll(pattern, " ", `[ \t]+`) + `[ \t]*$`)
	if !re.MatchString(out) {
		t.Errorf("no row %q in:\n%s", pattern, out)
	}
}

// member is a kgo consumer that has taken part in the group until the test ends or stop is called.
func member(t testing.TB, b *harness.Broker, group, protocol, topic string, more ...kgo.Opt) (cl *kgo.Client, stop func()) {
	t.Helper()
	assigned := make(chan struct{}, 100)
	opts := append([]kgo.Opt{kgo.SeedBrokers(b.Addr), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ClientID("the-member"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			if len(got) > 0 { // KIP-848 begins with an assignment of nothing
				assigned <- struct{}{}
			}
		})}, more...)
	opts = append(opts, groupProtocol(protocol)...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	select {
	case <-assigned:
	case <-time.After(30 * time.Second):
		t.Fatalf("group %s: no assignment within 30 s", group)
	}
	return cl, cl.Close
}

// groupProtocol is how kgo is told to use the classic protocol (with the range assignor) or the one of KIP-848.
func groupProtocol(protocol string) []kgo.Opt {
	if protocol == "consumer" {
		return []kgo.Opt{kgo.ServerSideBalancer()}
	}
	return []kgo.Opt{kgo.Balancers(kgo.RangeBalancer()), kgo.SessionTimeout(5 * time.Second), kgo.HeartbeatInterval(200 * time.Millisecond)}
}

// TestJavaConsumerGroups takes both kinds of group through their life with Kafka's own programs: console producer and
// consumer, VerifiableConsumer, and every action of the consumer-groups tool.
func TestJavaConsumerGroups(t *testing.T) {
	b := harness.StartT(t, harness.Options{Set: groupSettings})
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			topic, group := topicName(t, "life-"+protocol), "group-"+protocol
			createTopic(t, b, topic, 3)
			lines := produceLines(t, b, topic, 1200)
			got := consumeLines(t, b, topic, group, protocol, 200)
			got = append(got, verifiableConsume(t, b, topic, group, protocol, 1000)...)
			requireSameLines(t, got, lines)
			describeIdle(t, b, topic, group, protocol)
			describeActive(t, b, topic, group, protocol)
			moveOffsets(t, b, topic, group)
			deleteGroup(t, b, topic, group)
		})
	}
}

// produceLines writes numbered lines to three partitions with kgo (the console producer has a test of its own) and the console producer.
func produceLines(t testing.TB, b *harness.Broker, topic string, n int) (lines []string) {
	t.Helper()
	var text strings.Builder
	for i := range n {
		lines = append(lines, fmt.Sprintf("line %d", i))
		fmt.Fprintf(&text, "key-%d\tline %d\n", i%97, i)
	}
	harness.ToolT(t, []byte(text.String()), harness.ConsoleProducer, "--bootstrap-server", b.Addr, "--topic", topic,
		"--reader-property", "parse.key=true", "--reader-property", "key.separator=\t")
	return lines
}

func consumeLines(t testing.TB, b *harness.Broker, topic, group, protocol string, n int) []string {
	t.Helper()
	out := tool(t, b, "", harness.ConsoleConsumer, "--topic", topic, "--group", group, "--max-messages", fmt.Sprint(n), "--timeout-ms", "30000",
		"--command-property", "group.protocol="+protocol, "--command-property", "auto.offset.reset=earliest")
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}

// verifiableConsume lets Kafka's VerifiableConsumer read on where the group is, and checks its own account: partitions
// were assigned and revoked, offsets follow each other, and each commit was taken.
func verifiableConsume(t testing.TB, b *harness.Broker, topic, group, protocol string, n int) (values []string) {
	t.Helper()
	out := tool(t, b, "", harness.VerifiableConsumer, "--topic", topic, "--group-id", group, "--group-protocol", protocol,
		"--max-messages", fmt.Sprint(n), "--reset-policy", "earliest", "--verbose")
	seen := map[string]int{}
	next := map[int]int64{}
	for _, line := range strings.Split(out, "\n") {
		var e struct {
			Name, Value string
			Partition   int
			Offset      int64
			Success     bool
		}
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		seen[e.Name]++
		switch {
		case e.Name == "record_data":
			if at, ok := next[e.Partition]; ok && at != e.Offset {
				t.Errorf("partition %d: offset %d where %d was due", e.Partition, e.Offset, at)
			}
			next[e.Partition] = e.Offset + 1
			values = append(values, e.Value)
		case e.Name == "offsets_committed" && !e.Success:
			t.Error(line)
		}
	}
	if seen["offsets_committed"] == 0 || seen["partitions_assigned"] == 0 || seen["shutdown_complete"] != 1 || len(values) != n {
		t.Errorf("VerifiableConsumer read %d of %d; its events: %v\n%s", len(values), n, seen, tail([]byte(out), 2000))
	}
	return values
}

func requireSameLines(t testing.TB, got, want []string) {
	t.Helper()
	got, want = append([]string{}, got...), append([]string{}, want...)
	sort.Strings(got)
	sort.Strings(want)
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("read %q where %q was due", got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d lines were read, %d were written", len(got), len(want))
	}
}

// describeIdle looks at a group that everybody has left.
func describeIdle(t testing.TB, b *harness.Broker, topic, group, protocol string) {
	t.Helper()
	kind := map[string]string{"classic": "Classic", "consumer": "Consumer"}[protocol]
	groups := func(args ...string) string { return tool(t, b, "", harness.ConsumerGroupCommand, args...) }
	requireRow(t, groups("--list", "--state", "--type"), group+" "+kind+" Empty")
	if out := groups("--list", "--state", "stable"); strings.Contains(out, group) {
		t.Errorf("an empty group is listed as stable:\n%s", out)
	}
	if out := groups("--list", "--type", protocol); !strings.Contains(out, group) {
		t.Errorf("list --type %s:\n%s", protocol, out)
	}
	offsets := groups("--describe", "--group", group)
	requireRow(t, offsets, group+" "+topic+` 0 \d+ \d+ 0 - - -`)
	requireRow(t, offsets, group+" "+topic+` 2 \d+ \d+ 0 - - -`)
	requireRow(t, groups("--describe", "--group", group, "--state"), group+` \S+ \(1\) \S+ Empty 0`)
	if out := groups("--describe", "--group", group, "--members"); strings.Contains(out, "\n"+group) {
		t.Errorf("a group without members has members:\n%s", out)
	}
}

// describeActive looks at a group with a member, and requires that its offsets cannot be moved nor the group deleted.
func describeActive(t testing.TB, b *harness.Broker, topic, group, protocol string) {
	t.Helper()
	cl, stop := member(t, b, group, protocol, topic)
	id, _ := cl.GroupMetadata()
	assignor := map[string]string{"classic": "range", "consumer": "uniform"}[protocol]
	groups := func(args ...string) string { return tool(t, b, "", harness.ConsumerGroupCommand, args...) }
	// A member of KIP-848 has its partitions before the broker has heard that it has.
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(groups("--list", "--state", "stable"), group) && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	requireRow(t, groups("--describe", "--group", group, "--state"), group+` \S+ \(1\) `+assignor+` Stable 1`)
	requireRow(t, groups("--describe", "--group", group, "--members"), group+" "+regexp.QuoteMeta(id)+` /127.0.0.1 the-member 3`)
	requireRow(t, groups("--describe", "--group", group, "--members", "--verbose"), group+" "+regexp.QuoteMeta(id)+` /127.0.0.1 the-member 3 .*`+topic+`\S*0,1,2.*`)
	requireRow(t, groups("--describe", "--group", group, "--offsets"), group+" "+topic+` 1 \d+ \d+ 0 `+regexp.QuoteMeta(id)+` /127.0.0.1 the-member`)
	requireRow(t, groups("--list", "--state"), group+" Stable")
	tool(t, b, "if the group '"+group+"' is inactive, but the current state is Stable", harness.ConsumerGroupCommand, "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
	tool(t, b, "GroupNotEmptyException", harness.ConsumerGroupCommand, "--delete", "--group", group)
	tool(t, b, "GroupSubscribedToTopicException", harness.ConsumerGroupCommand, "--delete-offsets", "--group", group, "--topic", topic)
	stop()
}

// moveOffsets takes the group's offsets through every way of resetting them.
func moveOffsets(t testing.TB, b *harness.Broker, topic, group string) {
	t.Helper()
	ends := [3]int64{}
	total := int64(0)
	for p := range ends {
		ends[p] = endOffset(t, b, topic, p)
		total += ends[p]
	}
	if total != 1200 || ends[0] == 0 || ends[1] == 0 || ends[2] == 0 {
		t.Fatalf("the partitions end at %v, 1200 records are in them", ends)
	}
	reset := func(want func(p int) int64, how ...string) {
		t.Helper()
		out := tool(t, b, "", harness.ConsumerGroupCommand, append([]string{"--reset-offsets", "--group", group, "--topic", topic, "--execute"}, how...)...)
		described := tool(t, b, "", harness.ConsumerGroupCommand, "--describe", "--group", group)
		for p := range ends {
			requireRow(t, out, fmt.Sprintf("%s %s %d %d", group, topic, p, want(p)))
			requireRow(t, described, fmt.Sprintf("%s %s %d %d %d %d - - -", group, topic, p, want(p), ends[p], ends[p]-want(p)))
		}
	}
	reset(func(int) int64 { return 0 }, "--to-earliest")
	reset(func(int) int64 { return 7 }, "--to-offset", "7")
	reset(func(int) int64 { return 9 }, "--shift-by", "2")
	reset(func(p int) int64 { return ends[p] }, "--to-latest")
	reset(func(p int) int64 { return ends[p] - 3 }, "--shift-by", "-3")
	reset(func(int) int64 { return 0 }, "--to-datetime", "2020-01-01T00:00:00.000")
	reset(func(int) int64 { return 0 }, "--by-duration", "PT1H")
	reset(func(int) int64 { return 5 }, "--to-offset", "5")
	if out := tool(t, b, "", harness.ConsumerGroupCommand, "--reset-offsets", "--group", group, "--topic", topic+":1", "--to-latest", "--dry-run", "--export"); !strings.Contains(out, fmt.Sprintf(`"%s",1,%d`, topic, ends[1])) {
		t.Errorf("a dry run printed:\n%s", out)
	}
	requireRow(t, tool(t, b, "", harness.ConsumerGroupCommand, "--describe", "--group", group), fmt.Sprintf("%s %s 1 5 %d %d - - -", group, topic, ends[1], ends[1]-5))
}

func deleteGroup(t testing.TB, b *harness.Broker, topic, group string) {
	t.Helper()
	requireRow(t, tool(t, b, "", harness.ConsumerGroupCommand, "--delete-offsets", "--group", group, "--topic", topic+":0"), topic+" 0 Successful")
	out := tool(t, b, "", harness.ConsumerGroupCommand, "--describe", "--group", group)
	requireRow(t, out, group+" "+topic+` 1 5 \d+ \d+ - - -`)
	if regexp.MustCompile(topic + ` +0 `).MatchString(out) {
		t.Errorf("a deleted offset is still there:\n%s", out)
	}
	if out := tool(t, b, "", harness.ConsumerGroupCommand, "--delete", "--group", group); !strings.Contains(out, "was successful") {
		t.Errorf("delete printed:\n%s", out)
	}
	tool(t, b, "GroupIdNotFoundException", harness.ConsumerGroupCommand, "--delete", "--group", group)
	tool(t, b, "GroupIdNotFoundException", harness.ConsumerGroupCommand, "--describe", "--group", group)
	if out := tool(t, b, "", harness.ConsumerGroupCommand, "--list"); strings.Contains(out, group) {
		t.Errorf("a deleted group is listed:\n%s", out)
	}
}
