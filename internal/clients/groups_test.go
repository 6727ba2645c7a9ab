package clients

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kipContext makes a kgo client speak KIP-848's protocol.
func kipContext() context.Context {
	//lint:ignore SA1029 the client looks for this very key
	return context.WithValue(context.Background(), "opt_in_kafka_next_gen_balancer_beta", true)
}

// readGroup reads n records of a topic as a member of a group and commits them.
func readGroup(t testing.TB, addr, group, topic string, n int, opts ...kgo.Opt) {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for seen := 0; seen < n; {
		fetches := cl.PollRecords(ctx, n-seen)
		if err := fetches.Err(); err != nil {
			t.Fatalf("group %s, after %d of %d records: %v", group, seen, n, err)
		}
		if err := cl.CommitRecords(ctx, fetches.Records()...); err != nil {
			t.Fatal(err)
		}
		seen += fetches.NumRecords()
	}
}

// produceNumbers produces n numbered records to partition 0.
func produceNumbers(t testing.TB, addr, topic string, n int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := range n {
		cl.Produce(context.Background(), &kgo.Record{Value: fmt.Append(nil, i)}, nil)
	}
	if err := cl.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// committedOffset is a group's offset of partition 0; -1: none.
func committedOffset(t testing.TB, addr, group, topic string) int64 {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	offsets, err := kadm.NewClient(cl).FetchOffsets(ctx, group)
	if err != nil {
		t.Fatal(err)
	}
	o, ok := offsets.Lookup(topic, 0)
	if !ok {
		return -1
	}
	return o.At
}

// What groups of both protocols have committed is there after a clean stop and
// after kill -9, and Kafka's own tool reads the log that it is in.
func TestGroupsSurviveAndKafkaReadsTheirLog(t *testing.T) {
	b := harness.StartT(t, harness.Options{Set: []string{"group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=3"}})
	topic := topicName(t, "read")
	createTopic(t, b, topic, 1)
	produceNumbers(t, b.Addr, topic, 60)
	readGroup(t, b.Addr, "classic-readers", topic, 20)
	readGroup(t, b.Addr, "new-readers", topic, 10, kgo.WithContext(kipContext()))
	harness.StopT(t, b)
	b = harness.RestartT(t, b)
	if got := committedOffset(t, b.Addr, "classic-readers", topic); got != 20 {
		t.Errorf("after a restart the classic group is at %d, want 20", got)
	}
	readGroup(t, b.Addr, "classic-readers", topic, 15)
	readGroup(t, b.Addr, "new-readers", topic, 15, kgo.WithContext(kipContext()))
	b.Kill()
	b = harness.RestartT(t, b)
	for group, want := range map[string]int64{"classic-readers": 35, "new-readers": 25} {
		if got := committedOffset(t, b.Addr, group, topic); got != want {
			t.Errorf("after kill -9 %s is at %d, want %d", group, got, want)
		}
	}
	readGroup(t, b.Addr, "classic-readers", topic, 25)
	harness.StopT(t, b)
	if b.Kind == harness.Slipstream {
		checkOffsetsLog(t, b.DataDir, topic)
	}
}

// checkOffsetsLog has DumpLogSegments decode __consumer_offsets.
func checkOffsetsLog(t *testing.T, dataDir, topic string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dataDir, "__consumer_offsets-*", "*.log"))
	if err != nil || len(logs) < 3 {
		t.Fatalf("segments of __consumer_offsets: %v, %v", logs, err)
	}
	out, errs, err := harness.RunJava(nil, harness.DumpLogSegments, "--offsets-decoder", "--files", strings.Join(logs, ","))
	harness.Need(t, err)
	if strings.Contains(out+errs, "Exception") || strings.Contains(out, "Failed to decode") {
		t.Errorf("DumpLogSegments complains:\n%s%s", out, errs)
	}
	for _, want := range []string{
		`"type":"1","data":\{"group":"classic-readers","topic":"` + topic + `","partition":0\}\} payload: \{"version":"\d+","data":\{"offset":60,`,
		`"type":"1","data":\{"group":"new-readers","topic":"` + topic + `","partition":0\}\} payload: \{"version":"\d+","data":\{"offset":25,`,
		`"type":"2","data":\{"group":"classic-readers"\}\} payload: \{"version":"\d+","data":\{"protocolType":"consumer","generation":\d+,`,
		`"type":"3","data":\{"groupId":"new-readers"\}\}`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("DumpLogSegments shows no %s in\n%.4000s", want, out)
		}
	}
}

// The coordinator's directory that an Apache Kafka wrote loads here: its groups go on
// where they were.
func TestOffsetsOfApacheLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	apache, err := harness.Start(harness.Options{Kind: harness.Apache, DataDir: dir, Set: []string{"offsets.topic.num.partitions=4", "offsets.topic.compression.codec=0"}})
	harness.Need(t, err)
	t.Cleanup(apache.Kill)
	topic := topicName(t, "apache")
	createTopic(t, apache, topic, 1)
	produceNumbers(t, apache.Addr, topic, 40)
	readGroup(t, apache.Addr, "classic-readers", topic, 12)
	readGroup(t, apache.Addr, "new-readers", topic, 7, kgo.WithContext(kipContext()))
	if err := apache.Stop(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	b, err := harness.Start(harness.Options{Kind: harness.Slipstream, DataDir: dir, Set: []string{"node.id=1", "group.initial.rebalance.delay.ms=0"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Kill)
	for group, want := range map[string]int64{"classic-readers": 12, "new-readers": 7} {
		if got := committedOffset(t, b.Addr, group, topic); got != want {
			t.Errorf("%s is at %d, Apache left it at %d", group, got, want)
		}
	}
	readGroup(t, b.Addr, "classic-readers", topic, 28)
	readGroup(t, b.Addr, "new-readers", topic, 33, kgo.WithContext(kipContext()))
	if strings.Contains(b.Log(), "could not be loaded") {
		t.Errorf("a coordinator was not loaded:\n%s", b.Log())
	}
}

// kcat and Kafka's console consumer share a topic as members of groups.
func TestConsumersOfOtherMakes(t *testing.T) {
	b := harness.StartT(t, harness.Options{Set: []string{"group.initial.rebalance.delay.ms=500"}})
	topic := topicName(t, "makes")
	createTopic(t, b, topic, 4)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	const records = 400
	for i := range records {
		cl.Produce(context.Background(), &kgo.Record{Value: fmt.Append(nil, i)}, nil)
	}
	if err := cl.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	var lines [2]string
	for i := range lines { // two of one group share the partitions
		wait.Go(func() {
			cmd, err := harness.Kcat("-b", b.Addr, "-G", "kcats", "-e", "-q", "-X", "auto.offset.reset=earliest", topic)
			if err != nil {
				t.Error(err)
				return
			}
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("kcat: %v", err)
			}
			lines[i] = string(out)
		})
	}
	java := func(group string, args ...string) {
		out, errs, err := harness.RunJava(nil, "org.apache.kafka.tools.consumer.ConsoleConsumer", append([]string{"--bootstrap-server", b.Addr, "--topic", topic,
			"--group", group, "--from-beginning", "--max-messages", fmt.Sprint(records), "--timeout-ms", "30000"}, args...)...)
		if err != nil {
			if _, missing := err.(*harness.Missing); missing {
				harness.Need(t, err)
			}
			t.Errorf("the console consumer of %s: %v\n%s", group, err, errs)
		}
		if n := len(regexp.MustCompile(`(?m)^\d+$`).FindAllString(out, -1)); n != records {
			t.Errorf("the console consumer of %s prints %d lines, want %d\n%s", group, n, records, errs)
		}
	}
	java("classic-console")
	java("new-console", "--consumer-property", "group.protocol=consumer")
	wait.Wait()
	seen := map[string]int{}
	for _, text := range lines {
		for line := range strings.Lines(text) {
			seen[strings.TrimSpace(line)]++
		}
	}
	if len(seen) != records {
		t.Errorf("two kcats of one group saw %d different records, want %d", len(seen), records)
	}
}
