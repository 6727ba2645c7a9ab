package clients

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/internal/broker"
	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// journey is a data directory that goes from broker to broker.
type journey struct {
	t   *testing.T
	dir string
	set []string
	b   *harness.Broker
	s   *script
	cl  *kgo.Client

	kill bool // brokers are killed, not stopped
}

// start has the next broker open the directory.
func (j *journey) start(kind harness.Kind) {
	j.t.Helper()
	b, err := harness.Start(harness.Options{Kind: kind, DataDir: j.dir, Set: j.set, SlipSet: []string{"slipstream.drain.ms=500"}})
	harness.Need(j.t, err)
	j.t.Cleanup(func() {
		if b.Running() {
			b.Kill()
		}
	})
	j.b, j.s = b, at(j.t, b)
	j.cl, err = kgo.NewClient(kgo.SeedBrokers(b.Addr))
	harness.Need(j.t, err)
	j.t.Cleanup(j.cl.Close)
}

func (j *journey) stop() {
	j.t.Helper()
	j.cl.Close()
	if j.kill {
		j.b.Kill()
		return
	}
	if err := j.b.Stop(60 * time.Second); err != nil {
		j.t.Fatal(err)
	}
}

// write produces to five partitions with a codec each, keys, headers and timestamps of their own; and to a compacted topic
// keys that are written again and removed.
func (j *journey) write(ctx context.Context, stage string) {
	j.t.Helper()
	for i, codec := range harness.Codecs {
		cl, err := kgo.NewClient(kgo.SeedBrokers(j.b.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(harness.KgoCodec(codec)))
		harness.Need(j.t, err)
		for n := range 50 {
			value := strings.Repeat(fmt.Sprintf("%s %s %d ", stage, codec, n), 20)
			cl.Produce(ctx, &kgo.Record{
				Topic: "codecs", Partition: int32(i), Key: fmt.Append(nil, n), Value: []byte(value), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(n)),
				Headers: []kgo.RecordHeader{{Key: "stage", Value: []byte(stage)}, {Key: "none"}},
			}, nil)
			var latest []byte // nil: the key is removed
			if n%3 > 0 {
				latest = []byte(value)
			}
			cl.Produce(ctx, &kgo.Record{Topic: "compacted", Key: fmt.Append(nil, n%7), Value: latest}, nil)
			cl.Produce(ctx, &kgo.Record{Topic: "grouped", Partition: int32(n % 2), Value: fmt.Append(nil, stage, n)}, nil)
			cl.Produce(ctx, &kgo.Record{Topic: "shared", Value: fmt.Append(nil, stage, n)}, nil)
		}
		harness.Need(j.t, cl.Flush(ctx))
		cl.Close()
	}
}

// commit reads as members of a group of each protocol, and as a member of a share group that accepts some of what it gets.
func (j *journey) commit(accept int) {
	j.t.Helper()
	readGroup(j.t, j.b.Addr, "classic", "grouped", 20)
	readGroup(j.t, j.b.Addr, "kip848", "grouped", 30, kgo.WithContext(kipContext()))
	j.s.shareSetting("shares", "share.auto.offset.reset", "earliest")
	tid := j.s.quietly(12, metadataFor("shared")).(*kmsg.MetadataResponse).Topics[0].TopicID
	m := newShareMember(j.t, j.b, "shares", "member", "shared", tid)
	m.join(1)
	got := m.fetch(1)
	var first []place
	for offset := int64(0); len(first) < accept && offset < 10_000; offset++ {
		if p := (place{0, offset}); got[p] > 0 {
			first = append(first, p)
		}
	}
	if len(first) < accept {
		j.t.Fatalf("the share group has got %d records, want %d", len(got), accept)
	}
	m.acknowledge(1, first)
	leave := shareHeartbeat("shares", "member", -1, "shared")
	m.ask(1, leave)
	m.w.Close()
}

// settings sets one of each kind of what the metadata log has.
func (j *journey) settings(ctx context.Context, suffix string) {
	j.t.Helper()
	admin := kadm.NewClient(j.cl)
	bytes := "2000" + suffix
	for _, r := range []struct {
		kind       kmsg.ConfigResourceType
		name       string
		key, value string
	}{
		{kmsg.ConfigResourceTypeTopic, "codecs", "max.message.bytes", "100000" + suffix},
		{kmsg.ConfigResourceTypeBroker, "", "log.retention.ms", "90000000" + suffix},
		{kmsg.ConfigResourceTypeBroker, "1", "log.cleaner.backoff.ms", bytes},
		{kmsg.ConfigResourceTypeGroupConfig, "kip848", "consumer.session.timeout.ms", "5000" + suffix},
		{kmsg.ConfigResourceTypeClientMetrics, "watch" + suffix, "interval.ms", "6000" + suffix},
	} {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		one := kmsg.NewIncrementalAlterConfigsRequestResource()
		one.ResourceType, one.ResourceName = r.kind, r.name
		one.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: r.key, Value: &r.value}}
		req.Resources = append(req.Resources, one)
		resp, err := req.RequestWith(ctx, j.cl)
		harness.Need(j.t, err)
		if resp.Resources[0].ErrorCode != 0 {
			j.t.Fatalf("%s of %v %q: error %d", r.key, r.kind, r.name, resp.Resources[0].ErrorCode)
		}
	}
	user := "user" + suffix
	_, err := admin.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{
		Entity: kadm.ClientQuotaEntity{{Type: "user", Name: &user}, {Type: "client-id"}}, Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 1e9}},
	}})
	harness.Need(j.t, err)
	_, err = admin.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: user, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: "secret"}})
	harness.Need(j.t, err)
}

// TestApacheAndBack takes a data directory from Apache Kafka to slipstream and back: what one has written the other
// finds, goes on with, and adds to. Kafka's own programs read the files in between and the broker at the end. With
// SLIPSTREAM_APACHE_KILLED=1 the brokers are killed instead of stopped (make apache-and-back does both).
func TestApacheAndBack(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Apache Kafka twice; not with -short")
	}
	j := &journey{t: t, dir: filepath.Join(t.TempDir(), "data"), kill: os.Getenv("SLIPSTREAM_APACHE_KILLED") == "1", set: []string{
		"node.id=1", "transaction.state.log.num.partitions=3", "offsets.topic.num.partitions=1", "share.coordinator.state.topic.num.partitions=1",
		"metadata.log.max.record.bytes.between.snapshots=3000", "group.initial.rebalance.delay.ms=0",
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()

	j.start(harness.Apache)
	createTopic(t, j.b, "codecs", 5)
	createTopic(t, j.b, "compacted", 1, "cleanup.policy", "compact")
	createTopic(t, j.b, "moves", 1, "retention.ms", "-1")
	createTopic(t, j.b, "grouped", 2)
	createTopic(t, j.b, "shared", 1)
	j.write(ctx, "Apache")
	j.commit(40)
	j.settings(ctx, "1")
	first, second := beginAtApache(j.s)
	byApache := factsOf(t, j.b)
	if a := adoptCheck(t, j.dir); len(a.Stops) != 1 || !strings.Contains(a.Stops[0], "in use") {
		t.Errorf("beside a running Kafka adopt --check says %q", a.Stops)
	}
	j.stop()
	wouldOpen(t, adoptChecked(t, j.dir), j.kill)

	j.start(harness.Slipstream)
	sameFacts(t, byApache, factsOf(t, j.b), "slipstream after Apache Kafka")
	createTopic(t, j.b, "ours", 3, "segment.bytes", "1048576")
	j.write(ctx, "slipstream")
	j.commit(30)
	j.settings(ctx, "2")
	first, second, third := goOnHere(j.s, first.on(j.s), second.on(j.s))
	byUs := factsOf(t, j.b)
	j.stop()
	if a := adoptChecked(t, j.dir); len(a.Stops) > 0 {
		t.Errorf("adopt --check of our own directory says %q", a.Stops)
	}
	if !j.kill { // indexes of a log that was not closed are made anew at a start
		kafkaReadsFiles(t, j.dir)
	}

	j.start(harness.Apache)
	sameFacts(t, byUs, factsOf(t, j.b), "Apache Kafka after slipstream")
	kafkasProgramsRead(t, j.b.Addr)
	endAtApache(j.s, second.on(j.s), third.on(j.s), first.name)
	j.stop()
}

func kafkaReadsFiles(t *testing.T, dir string) {
	t.Helper()
	kafkaReadsTransactions(t, dir, "moves")
	kafkaReadsDirectory(t, dir)
}

// wouldOpen holds what adopt --check says against what the first stage has written.
func wouldOpen(t *testing.T, a *broker.Adoption, killed bool) {
	t.Helper()
	c := a.Contents
	if len(a.Stops) > 0 || a.Metadata == nil || a.Metadata.Snapshot == "" || a.Metadata.Features["metadata.version"] != 30 ||
		a.Topics != 8 || a.Partitions != 15 || a.Directories[0].Clean == killed || a.Directories[0].RecoverSegments > 0 != killed || a.Directories[0].Partitions != 15 ||
		c.ClassicGroups != 1 || c.ConsumerGroups != 1 || c.ShareGroups != 1 || c.CommittedOffsets < 2 || c.TransactionalIDs != 2 ||
		!slices.Equal(c.OpenTransactions, []string{"first", "second"}) {
		t.Errorf("adopt --check says %+v, %+v", a, a.Metadata)
	}
}

// lasting is a producer whose transactions stay open for as long as two brokers take to start on a busy machine.
func lasting(s *script, name string) *transactor {
	s.t.Helper()
	x := s.transactor(name)
	req := initTransactional(name, -1, -1)
	req.TransactionTimeoutMillis = 900_000
	x.adopt(s.must(4, req, func(r kmsg.Response) int16 { return r.(*kmsg.InitProducerIDResponse).ErrorCode }).(*kmsg.InitProducerIDResponse))
	return x
}

// beginAtApache leaves an aborted transaction and two open ones in topic moves.
func beginAtApache(s *script) (first, second *transactor) {
	first, second = lasting(s, "first"), lasting(s, "second")
	first.produce(12, "moves", 0, "aborted", "by Apache")
	first.end(5, false)
	first.produce(12, "moves", 0, "begun at Apache")
	second.add("moves", 0)
	second.produce(11, "moves", 0, "also begun at Apache")
	return first, second
}

// goOnHere ends them, and leaves the second's next one and a third's open.
func goOnHere(s *script, first, second *transactor) (_, _, third *transactor) {
	if got := s.stable("moves"); got != 3 {
		s.t.Errorf("the last stable offset is %d after Apache, the oldest open transaction begins at 3", got)
	}
	first.produce(12, "moves", 0, "gone on here")
	first.end(5, true)
	second.end(4, false)
	second.add("moves", 0)
	second.produce(11, "moves", 0, "begun here")
	third = lasting(s, "third")
	third.produce(12, "moves", 0, "the third's")
	third.end(5, true)
	third.produce(12, "moves", 0, "left open here")
	return first, second, third
}

func endAtApache(s *script, second, third *transactor, committed string) {
	s.t.Helper()
	if got := s.state(committed); got.State != "CompleteCommit" {
		s.t.Errorf("%s is %s to Apache after us", committed, got.State)
	}
	third.produce(12, "moves", 0, "gone on at Apache")
	third.end(5, true)
	second.end(4, true)
	end := s.stable("moves")
	req := fetchRequest(12, "moves", [16]byte{}, 0, 2) // in the segment that all markers are in
	req.IsolationLevel = 1
	resp := s.must(12, req, func(r kmsg.Response) int16 { return r.(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode }).(*kmsg.FetchResponse)
	if got := resp.Topics[0].Partitions[0]; len(got.AbortedTransactions) != 2 || got.LastStableOffset != end {
		s.t.Errorf("Apache finds the aborted transactions %+v below %d, want 2: %v", got.AbortedTransactions, got.LastStableOffset, s.batches(got.RecordBatches))
	}
}

// kafkaReadsDirectory has DumpLogSegments read every log and index, the metadata log and its snapshots.
func kafkaReadsDirectory(t *testing.T, dir string) {
	t.Helper()
	d, err := harness.DumpDir(dir)
	harness.Need(t, err)
	if len(d.Complaints) > 0 {
		t.Errorf("DumpLogSegments complains: %q", d.Complaints)
	}
	for i, codec := range harness.Codecs {
		p := d.Partitions[fmt.Sprintf("codecs-%d", i)]
		if p == nil || p.Records != 100 || p.Codecs[strings.ToUpper(codec)]+p.Codecs[codec] < 2 {
			t.Errorf("codecs-%d, %s: DumpLogSegments finds %+v, want 100 records in at least two such batches", i, codec, p)
		}
	}
	text, wrong, err := harness.DumpMetadata(dir)
	harness.Need(t, err)
	if len(wrong) > 0 {
		t.Errorf("DumpLogSegments of the metadata says %q", wrong)
	}
	snapshots, _ := filepath.Glob(filepath.Join(dir, "__cluster_metadata-0", "*.checkpoint"))
	if len(snapshots) < 2 || strings.Count(text, "SnapshotFooter") != len(snapshots) {
		t.Errorf("there are %d snapshots of the metadata, DumpLogSegments reads %d footers", len(snapshots), strings.Count(text, "SnapshotFooter"))
	}
}

// kafkasProgramsRead has Kafka's programs ask the broker for what the directory has.
func kafkasProgramsRead(t *testing.T, addr string) {
	t.Helper()
	for _, c := range []struct {
		main  string
		args  string
		wants []string
	}{
		{harness.ConsoleConsumer, "--topic codecs --partition 4 --offset earliest --max-messages 100 --timeout-ms 30000", []string{"Apache zstd 49", "slipstream zstd 49"}},
		{harness.TopicCommand, "--describe --topic ours", []string{"PartitionCount: 3", "segment.bytes=1048576"}},
		{harness.ConsumerGroupCommand, "--describe --all-groups --offsets", []string{"classic", "kip848"}},
		{harness.ShareGroupCommand, "--describe --group shares --offsets", []string{"shared"}},
		{harness.TransactionsCommand, "list", []string{"second", "third", "Ongoing"}},
		{harness.ConfigCommand, "--describe --entity-type topics --entity-name codecs", []string{"max.message.bytes=1000002"}},
		{harness.LogDirs, "--describe --topic-list ours,codecs", []string{`"partition":"codecs-4"`, `"partition":"ours-2"`}},
	} {
		args := append([]string{"--bootstrap-server", addr}, strings.Fields(c.args)...)
		out := harness.ToolT(t, nil, c.main, args...)
		for _, want := range c.wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s %s shows no %q:\n%.3000s", c.main, c.args, want, out)
			}
		}
	}
}
