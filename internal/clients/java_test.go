package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
)

// topicName is a name no other test of this or an earlier run against the same broker has used.
func topicName(t testing.TB, what string) string {
	return fmt.Sprintf("%s-%d", what, time.Now().UnixNano())
}

// readBack collects a partition's values, and requires dense offsets and, where the producer is idempotent, batches
// that carry a producer id and gapless sequence numbers.
func readBack(t testing.TB, addr, topic string, partition, count int, idempotent bool) [][]byte {
	t.Helper()
	var values [][]byte
	err := harness.EachRecord(addr, topic, partition, 0, count, func(r *kgo.Record) error {
		if r.Offset != int64(len(values)) {
			return fmt.Errorf("offset %d where %d was due", r.Offset, len(values))
		}
		if idempotent && r.ProducerID < 0 {
			return fmt.Errorf("offset %d: no producer id: the producer was not idempotent", r.Offset)
		}
		values = append(values, r.Value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func createTopic(t testing.TB, b *harness.Broker, topic string, partitions int, settings ...string) {
	t.Helper()
	if err := harness.CreateTopic(b.Addr, topic, partitions, settings...); err != nil {
		t.Fatal(err)
	}
}

// TestJavaConsoleProducer runs Kafka's console producer with its default settings: acks=all and idempotence.
func TestJavaConsoleProducer(t *testing.T) {
	corpus, err := harness.GoSource(1, 50_000)
	if err != nil {
		t.Fatal(err)
	}
	// The program reads its input as UTF-8 text and takes a carriage return for a line's end; it gets lines without.
	var lines [][]byte
	corpus.Partitions[0].Each(func(line []byte) error {
		if utf8.Valid(line) && !bytes.ContainsRune(line, '\r') && !bytes.ContainsRune(line, '\u2028') {
			lines = append(lines, line)
		}
		return nil
	})
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "console")
	createTopic(t, b, topic, 1)
	input := append(bytes.Join(lines, []byte{'\n'}), '\n')
	harness.ToolT(t, input, harness.ConsoleProducer, "--bootstrap-server", b.Addr, "--topic", topic)
	got := readBack(t, b.Addr, topic, 0, len(lines), true)
	for i := range lines {
		if !bytes.Equal(got[i], lines[i]) {
			t.Fatalf("record %d is %q, the line was %q", i, got[i], lines[i])
		}
	}
	requireEnd(t, b, topic, int64(len(lines)))
}

// requireEnd asks Kafka's GetOffsetShell where the partitions of a topic end, and requires their sum.
func requireEnd(t testing.TB, b *harness.Broker, topic string, want int64) {
	t.Helper()
	out := harness.ToolT(t, nil, harness.GetOffsetShell, "--bootstrap-server", b.Addr, "--topic", topic)
	var sum int64
	for _, line := range strings.Fields(out) {
		var p, n int64
		if _, err := fmt.Sscanf(strings.TrimPrefix(line, topic+":"), "%d:%d", &p, &n); err != nil {
			t.Fatalf("GetOffsetShell printed %q: %v", line, err)
		}
		sum += n
	}
	if sum != want {
		t.Errorf("GetOffsetShell says %s holds %d records, want %d:\n%s", topic, sum, want, out)
	}
}

// TestJavaProducerPerformance runs the performance tool with default settings into an auto-created topic.
func TestJavaProducerPerformance(t *testing.T) {
	b := harness.StartT(t, harness.Options{Set: []string{"num.partitions=3"}})
	topic := topicName(t, "perf")
	const records = 200_000
	out := harness.ToolT(t, nil, harness.ProducerPerformance, "--bootstrap-server", b.Addr, "--topic", topic,
		"--num-records", fmt.Sprint(records), "--record-size", "256", "--throughput", "-1")
	if !regexp.MustCompile(fmt.Sprintf(`(?m)^%d records sent, .* 99\.9th`, records)).MatchString(out) {
		t.Errorf("ProducerPerformance printed:\n%s", out)
	}
	t.Log(lastLine(out))
	requireEnd(t, b, topic, records)
}

// TestJavaVerifiableProducer reads the tool's own account of every record it sent and compares it with the partitions.
func TestJavaVerifiableProducer(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "verifiable")
	createTopic(t, b, topic, 3)
	const records = 5000
	// In a JVM of its own: it sends the last of its records while that ends.
	out, _, err := harness.RunJava(nil, harness.VerifiableProducer, "--bootstrap-server", b.Addr, "--topic", topic,
		"--max-messages", fmt.Sprint(records), "--throughput", "-1")
	harness.Need(t, err)
	acked := map[int]map[int64]string{0: {}, 1: {}, 2: {}}
	for _, line := range strings.Split(out, "\n") {
		var e struct {
			Name, Value string
			Partition   int
			Offset      int64
		}
		if json.Unmarshal([]byte(line), &e) == nil && e.Name == "producer_send_success" {
			acked[e.Partition][e.Offset] = e.Value
		}
		if e.Name == "producer_send_error" {
			t.Error(line)
		}
	}
	total := 0
	for p, byOffset := range acked {
		total += len(byOffset)
		for offset, value := range readBack(t, b.Addr, topic, p, len(byOffset), false) {
			if byOffset[int64(offset)] != string(value) {
				t.Errorf("partition %d offset %d is %q, acknowledged was %q", p, offset, value, byOffset[int64(offset)])
			}
		}
	}
	if total != records {
		t.Errorf("%d of %d records were acknowledged", total, records)
	}
}

// TestJavaTopicCommand creates, lists, describes, widens and deletes topics with Kafka's own program.
func TestJavaTopicCommand(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "admin")
	run := func(args ...string) string {
		out := harness.ToolT(t, nil, harness.TopicCommand, append([]string{"--bootstrap-server", b.Addr}, args...)...)
		return out
	}
	fails := func(want string, args ...string) {
		t.Helper()
		r, err := harness.Tool(nil, harness.TopicCommand, append([]string{"--bootstrap-server", b.Addr}, args...)...)
		if err != nil || r.Status == 0 || !strings.Contains(r.Both(), want) {
			t.Errorf("%q: want a failure that says %q, got status %d (%v):\n%s", args, want, r.Status, err, r.Both())
		}
	}
	if out := run("--create", "--topic", topic, "--partitions", "2", "--config", "retention.ms=123456789"); !strings.Contains(out, "Created topic "+topic) {
		t.Errorf("create printed %q", out)
	}
	fails("already exists", "--create", "--topic", topic)
	fails("InvalidReplicationFactor", "--create", "--topic", topic+"-r", "--replication-factor", "3")
	if out := run("--list"); !containsLine(out, topic) {
		t.Errorf("list does not show %s:\n%s", topic, out)
	}
	describe := run("--describe", "--topic", topic)
	for _, want := range []string{"PartitionCount: 2", "ReplicationFactor: 1", "retention.ms=123456789", "Partition: 1\tLeader: 1\tReplicas: 1\tIsr: 1"} {
		if !strings.Contains(describe, want) {
			t.Errorf("describe lacks %q:\n%s", want, describe)
		}
	}
	run("--alter", "--topic", topic, "--partitions", "5")
	if out := run("--describe", "--topic", topic); !strings.Contains(out, "PartitionCount: 5") || !strings.Contains(out, "Partition: 4") {
		t.Errorf("describe after widening:\n%s", out)
	}
	fails("InvalidPartitions", "--alter", "--topic", topic, "--partitions", "3")
	run("--delete", "--topic", topic)
	if out := run("--list"); containsLine(out, topic) {
		t.Errorf("a deleted topic is still listed:\n%s", out)
	}
	fails("does not exist", "--describe", "--topic", topic)
}

func containsLine(text, line string) bool { return strings.Contains("\n"+text, "\n"+line+"\n") }

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// TestJavaConfigCommand sets, shows and removes a topic's settings with Kafka's own program.
func TestJavaConfigCommand(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "config")
	createTopic(t, b, topic, 1)
	args := func(more ...string) []string {
		return append([]string{"--bootstrap-server", b.Addr, "--entity-type", "topics", "--entity-name", topic}, more...)
	}
	harness.ToolT(t, nil, harness.ConfigCommand, args("--alter", "--add-config", "retention.ms=1000000,cleanup.policy=compact")...)
	out := harness.ToolT(t, nil, harness.ConfigCommand, args("--describe")...)
	for _, want := range []string{
		"retention.ms=1000000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=1000000",
		"cleanup.policy=compact sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact, DEFAULT_CONFIG:log.cleanup.policy=delete}",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("describe lacks %q:\n%s", want, out)
		}
	}
	harness.ToolT(t, nil, harness.ConfigCommand, args("--alter", "--delete-config", "retention.ms,cleanup.policy")...)
	out = harness.ToolT(t, nil, harness.ConfigCommand, args("--describe", "--all")...)
	for _, want := range []string{"cleanup.policy=delete", "retention.ms=604800000", "segment.bytes=1073741824", "max.message.bytes=1048588",
		"index.interval.bytes=4096", "compression.type=producer", "flush.messages=9223372036854775807"} {
		if !strings.Contains(out, "\n  "+want+" ") {
			t.Errorf("describe --all lacks %q:\n%s", want, out)
		}
	}
	for setting, want := range map[string]string{"nonsense=1": "Unknown topic config name: nonsense", "segment.bytes=-5": "InvalidConfigurationException"} {
		r, err := harness.Tool(nil, harness.ConfigCommand, args("--alter", "--add-config", setting)...)
		if err != nil || r.Status == 0 || !strings.Contains(r.Both(), want) {
			t.Errorf("%s: want a failure that says %q, got status %d (%v):\n%s", setting, want, r.Status, err, r.Both())
		}
	}
}

// TestDumpLogSegments lets Kafka's own reader judge every file of a stopped broker: several codecs, small segments and
// index intervals so that there is much to check, and the metadata log.
func TestDumpLogSegments(t *testing.T) {
	harness.OwnBroker(t)
	corpus, err := harness.GoSource(3, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	b := harness.StartT(t, harness.Options{})
	topics := map[string]string{}
	for _, codec := range harness.Codecs {
		topic := topicName(t, "dump-"+codec)
		topics[topic] = codec
		createTopic(t, b, topic, 3, "segment.bytes", "1048576", "index.interval.bytes", "1000")
		if err := harness.KgoProduce(b.Addr, topic, codec, corpus, kgo.ProducerBatchMaxBytes(16<<10)); err != nil {
			t.Fatal(err)
		}
	}
	createTopic(t, b, "never-written", 1)
	harness.StopT(t, b)
	dump, err := harness.DumpDir(b.DataDir)
	harness.Need(t, err)
	requireNoComplaint(t, dump.Complaints)
	for topic, codec := range topics {
		for i := range corpus.Partitions {
			p := dump.Partitions[fmt.Sprintf("%s-%d", topic, i)]
			if p == nil {
				t.Fatalf("%s-%d was not dumped", topic, i)
			}
			want := corpus.Partitions[i].Lines
			if p.Records != want || p.FirstOffset != 0 || p.NextOffset != int64(want) {
				t.Errorf("%s-%d: DumpLogSegments counts %d records at offsets %d to %d, want %d", topic, i, p.Records, p.FirstOffset, p.NextOffset, want)
			}
			if p.Codecs[codec] < p.Batches*9/10 {
				t.Errorf("%s-%d: %d batches, by codec %v", topic, i, p.Batches, p.Codecs)
			}
			if codec == "none" && p.Segments < 2 {
				t.Errorf("%s-%d: %d segments of 1 MiB for %d bytes", topic, i, p.Segments, len(corpus.Partitions[i].Data))
			}
			if p.IndexFiles == 0 {
				t.Errorf("%s-%d has no index that DumpLogSegments could check", topic, i)
			}
		}
	}
	checkMetadataLog(t, b.DataDir, len(topics)+1)
}

func requireNoComplaint(t testing.TB, complaints []string) {
	t.Helper()
	if len(complaints) > 0 {
		t.Errorf("DumpLogSegments complains %d times:\n%s", len(complaints), strings.Join(complaints[:min(20, len(complaints))], "\n"))
	}
}

func checkMetadataLog(t testing.TB, dataDir string, topics int) {
	t.Helper()
	text, wrong, err := harness.DumpMetadata(dataDir)
	harness.Need(t, err)
	requireNoComplaint(t, wrong)
	for kind, atLeast := range map[string]int{"TOPIC_RECORD": topics, "PARTITION_RECORD": topics, "FEATURE_LEVEL_RECORD": 1} {
		if n := strings.Count(text, `"type":"`+kind+`"`); n < atLeast {
			t.Errorf("the metadata log has %d %s, want at least %d", n, kind, atLeast)
		}
	}
	if m, _ := filepath.Glob(filepath.Join(dataDir, "meta.properties")); len(m) != 1 {
		t.Error("no meta.properties")
	}
}
