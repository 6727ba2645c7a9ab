package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// openTransaction commits one record at offset 0 of partition 0 and leaves another open at offset 2.
func openTransaction(t *testing.T, b *harness.Broker, id, topic string) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.TransactionalID(id), kgo.TransactionTimeout(50*time.Second),
		kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range 2 {
		err := cl.BeginTransaction()
		if err == nil {
			err = cl.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint("record ", i))).FirstErr()
		}
		if err == nil && i == 0 {
			err = cl.EndTransaction(ctx, kgo.TryCommit)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return cl
}

// TestJavaTransactions looks at an open transaction with every action of Kafka's transactions tool, ends it with two of
// them, and requires that its producer is fenced.
func TestJavaTransactions(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic, id := topicName(t, "txn"), topicName(t, "id")
	createTopic(t, b, topic, 2)
	cl := openTransaction(t, b, id, topic)
	txn := func(wantFailure string, args ...string) string {
		t.Helper()
		return tool(t, b, wantFailure, harness.TransactionsCommand, args...)
	}
	requireRow(t, txn("", "list"), id+` 1 \d+ Ongoing`)
	requireRow(t, txn("", "list", "--duration-filter", "1"), id+` 1 \d+ Ongoing`)
	if out := txn("", "list", "--duration-filter", "1000000"); strings.Contains(out, id) {
		t.Errorf("a young transaction is listed as an old one:\n%s", out)
	}
	requireRow(t, txn("", "describe", "--transactional-id", id), `1 `+id+` \d+ \d+ Ongoing 50000 \d+ \d+ `+topic+`-0`)
	txn("the ID could not be found", "describe", "--transactional-id", "nobody")
	requireRow(t, txn("", "describe-producers", "--topic", topic, "--partition", "0"), `\d+ \d+ 0 0 \d+ 2`)
	if out := txn("", "find-hanging", "--broker-id", "1", "--max-transaction-timeout", "0"); strings.Contains(out, topic) {
		t.Errorf("a transaction that its coordinator knows is found hanging:\n%s", out)
	}
	txn("Could not find any open transactions starting at offset 1", "abort", "--topic", topic, "--partition", "0", "--start-offset", "1")
	txn("", "abort", "--topic", topic, "--partition", "0", "--start-offset", "2")
	requireRow(t, txn("", "describe-producers", "--topic", topic, "--partition", "0"), `\d+ \d+ \d+ -?\d+ \d+ None`)
	txn("", "forceTerminateTransaction", "--transactionalId", id)
	if out := txn("", "list", "--duration-filter", "0"); strings.Contains(out, "Ongoing") {
		t.Errorf("a terminated transaction goes on:\n%s", out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := cl.EndTransaction(ctx, kgo.TryCommit); !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		t.Errorf("the terminated producer commits with %v, want it fenced", err)
	}
	out := tool(t, b, "", harness.ConsoleConsumer, "--topic", topic, "--partition", "0", "--offset", "earliest", "--isolation-level", "read_committed", "--timeout-ms", "2000")
	if out != "record 0\n" {
		t.Errorf("a read_committed consumer reads %q", out)
	}
}

// TestJavaShareGroups consumes with Kafka's share consumer and looks after the group with its share-groups tool.
func TestJavaShareGroups(t *testing.T) {
	b := harness.StartT(t, harness.Options{Set: groupSettings})
	topic, group := topicName(t, "queue"), topicName(t, "share")
	createTopic(t, b, topic, 3)
	groups := func(wantFailure string, args ...string) string {
		t.Helper()
		return tool(t, b, wantFailure, harness.ShareGroupCommand, args...)
	}
	consume := func(n int) (lines []string) {
		t.Helper()
		out := tool(t, b, "", harness.ConsoleShareConsumer, "--topic", topic, "--group", group, "--max-messages", fmt.Sprint(n), "--timeout-ms", "15000")
		lines = strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		sort.Strings(lines)
		return lines
	}
	tool(t, b, "", harness.ConfigCommand, "--alter", "--entity-type", "groups", "--entity-name", group, "--add-config", "share.auto.offset.reset=earliest")
	lines := produceLines(t, b, topic, 300)
	// A batch is acquired as a whole, so that what is left over of it when a consumer ends comes again to the next.
	got := consume(300)
	requireSameLines(t, got, lines)
	requireRow(t, groups("", "--list"), group)
	requireRow(t, groups("", "--describe", "--group", group, "--state"), group+` \S+ \(1\) Empty 0`)
	described := groups("", "--describe", "--group", group)
	for p := range 3 {
		requireRow(t, described, fmt.Sprintf(`%s %s %d \d+ 0`, group, topic, p)) // the start offset is written down later than the lag
	}
	reset := groups("", "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute")
	for p := range 3 {
		requireRow(t, reset, fmt.Sprintf(`%s %s %d 0`, group, topic, p))
	}
	requireSameLines(t, consume(300), lines)
	groups("", "--delete-offsets", "--group", group, "--topic", topic)
	if out := groups("", "--describe", "--group", group); strings.Contains(out, topic) {
		t.Errorf("deleted offsets are still there:\n%s", out)
	}
	groups("", "--delete", "--group", group)
	if out := groups("", "--list"); strings.Contains(out, group) {
		t.Errorf("a deleted share group is listed:\n%s", out)
	}
}

// TestJavaAdminTools runs the rest of Kafka's admin programs, each for what it is for.
func TestJavaAdminTools(t *testing.T) {
	b := harness.StartT(t, harness.Options{Set: groupSettings})
	topic := topicName(t, "tools")
	createTopic(t, b, topic, 3)
	produceLines(t, b, topic, 600)
	run := func(main string, args ...string) string { t.Helper(); return tool(t, b, "", main, args...) }

	createTopic(t, b, topic+"-latency", 1)
	out := run(harness.EndToEndLatency, "--topic", topic+"-latency", "--num-records", "200", "--producer-acks", "all", "--record-size", "100")
	if !regexp.MustCompile(`Avg latency: .*\nPercentiles: 50th = `).MatchString(out) {
		t.Errorf("EndToEndLatency printed:\n%s", out)
	}
	out = run(harness.ConsumerPerformance, "--topic", topic, "--num-records", "500", "--group", "perf", "--timeout", "20000")
	if f := strings.Split(lastLine(out), ", "); len(f) < 5 || f[4] < "500" {
		t.Errorf("ConsumerPerformance printed:\n%s", out)
	}
	requireRow(t, run(harness.GroupsCommand, "--list"), `perf Classic consumer`)
	out = run(harness.LogDirs, "--describe", "--topic-list", topic)
	if !regexp.MustCompile(`"partition":"` + topic + `-[012]","size":[1-9]\d+,"offsetLag":0,"isFuture":false`).MatchString(out) {
		t.Errorf("LogDirs printed:\n%s", out)
	}
	out = run(harness.FeatureCommand, "describe")
	for feature, level := range map[string]string{"metadata.version": "4.3-IV0", "group.version": "1", "transaction.version": "2", "share.version": "1"} {
		requireRow(t, out, `Feature: `+regexp.QuoteMeta(feature)+` SupportedMinVersion: \S+ SupportedMaxVersion: `+level+` FinalizedVersionLevel: `+level+` Epoch: \d+`)
	}
	requireRow(t, run(harness.MetadataQuorum, "describe", "--status"), `LeaderId: 1`)
	out = run(harness.BrokerApiVersions)
	for _, want := range []string{"JoinGroup(11): 0 to 9 [usable: 9]", "ConsumerGroupHeartbeat(68): 0 to 1 [usable: 1]", "TxnOffsetCommit(28): 0 to 5 [usable: 5]", "Produce(0): 0 to 13 [usable: 13]"} {
		if !strings.Contains(out, want) {
			t.Errorf("BrokerApiVersionsCommand does not say %q:\n%s", want, out)
		}
	}
	configs(t, b)
	deleteRecords(t, b, topic)
}

// configs sets, shows and removes what Kafka's configs tool can set beside topics: quotas, groups, the broker.
func configs(t *testing.T, b *harness.Broker) {
	t.Helper()
	for _, c := range []struct{ kind, name, setting, shown string }{
		{"clients", "some-client", "producer_byte_rate=1000000", "Quota configs for client-id 'some-client' are producer_byte_rate=1000000.0"},
		{"users", "some-user", "request_percentage=50", "Quota configs for user-principal 'some-user' are request_percentage=50.0"},
		{"groups", "some-group", "consumer.session.timeout.ms=20000", "consumer.session.timeout.ms=20000 sensitive=false synonyms={DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=20000"},
		{"brokers", "1", "log.cleaner.backoff.ms=20000", "log.cleaner.backoff.ms=20000 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:log.cleaner.backoff.ms=20000"},
	} {
		entity := []string{"--entity-type", c.kind, "--entity-name", c.name}
		name, _, _ := strings.Cut(c.setting, "=")
		tool(t, b, "", harness.ConfigCommand, append(entity, "--alter", "--add-config", c.setting)...)
		requireShown(t, b, c.shown, true, append(entity, "--describe")...)
		tool(t, b, "", harness.ConfigCommand, append(entity, "--alter", "--delete-config", name)...)
		requireShown(t, b, c.shown, false, append(entity, "--describe")...)
	}
}

// requireShown waits a moment, as Apache answers a change before its broker knows of it.
func requireShown(t *testing.T, b *harness.Broker, text string, want bool, args ...string) {
	t.Helper()
	out := ""
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if out = tool(t, b, "", harness.ConfigCommand, args...); strings.Contains(out, text) == want {
			return
		}
	}
	t.Errorf("%q: want %q shown: %v; it prints\n%s", args, text, want, out)
}

// deleteRecords cuts partition 0 at 10 with Kafka's tool.
func deleteRecords(t *testing.T, b *harness.Broker, topic string) {
	t.Helper()
	path := t.TempDir() + "/offsets.json"
	writeFile(t, path, fmt.Sprintf(`{"partitions":[{"topic":%q,"partition":0,"offset":10}],"version":1}`, topic))
	out := tool(t, b, "", harness.DeleteRecords, "--offset-json-file", path)
	if !strings.Contains(out, topic+"-0\tlow_watermark: 10") {
		t.Errorf("DeleteRecordsCommand printed:\n%s", out)
	}
	if start := offsetOf(t, b, topic, 0, -2); start != 10 {
		t.Errorf("the log begins at %d after records before 10 were deleted", start)
	}
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
