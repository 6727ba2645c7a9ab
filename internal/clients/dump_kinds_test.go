package clients

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestKafkaDumpsEveryKind has DumpLogSegments read every kind of file of a log that a broker writes: logs of records in each codec, compacted,
// with transactions, of the coordinators, of the metadata with its snapshots; indexes; snapshots of producers. (The checkpoint
// files and partition.metadata it does not read; Kafka itself does, in the tests that have it open our directories.) It
// must understand each, have nothing to say against any, and show what is in them.
func TestKafkaDumpsEveryKind(t *testing.T) {
	harness.OwnBroker(t)
	dir := everyKind(t)
	for _, kind := range []struct {
		files, mode string
		shows       string // in what is printed of them all
	}{
		{"codec-*/*.log", "--deep-iteration", `compresscodec: zstd(.|\n)*\| offset: \d+`},
		{"codec-*/*.log", "--print-data-log", `payload: line 7`},
		{"kept-0/*.log", "--deep-iteration", `baseOffset: \d+ lastOffset: \d+ count: \d+`},
		{"paid-0/*.log", "--deep-iteration", `isControl: true(.|\n)*endTxnMarker: ABORT coordinatorEpoch: 0`},
		{"paid-0/*.txnindex", "--deep-iteration", `version: 0 producerId: \d+ firstOffset: \d+ lastOffset: \d+ lastStableOffset: \d+`},
		{"paid-0/*.snapshot", "--deep-iteration", `producerId: \d+ producerEpoch: \d+ coordinatorEpoch: 0 currentTxnFirstOffset: OptionalLong.empty lastTimestamp: \d+`},
		{"codec-none-0/*.snapshot", "--deep-iteration", `producerId: \d+ .*firstSequence: 80 lastSequence: 99 lastOffset: 99 offsetDelta: 19 timestamp: \d+`},
		{"*-*/*.index", "--verify-index-only", ``},
		{"*-*/*.index", "--index-sanity-check", `passed sanity check`},
		{"*-*/*.timeindex", "--verify-index-only", ``},
		{"*-*/*.timeindex", "--index-sanity-check", `passed sanity check`},
		{"__consumer_offsets-*/*.log", "--offsets-decoder", `"group":"shop"(.|\n)*"offset":17`},
		{"__transaction_state-*/*.log", "--transaction-log-decoder", `"transactionalId":"till"`},
		{"__share_group_state-*/*.log", "--share-group-state-decoder", `"groupId":"queue"(.|\n)*"startOffset"`},
		{"__cluster_metadata-0/*.log", "--cluster-metadata-decoder", `"type":"TOPIC_RECORD"(.|\n)*"name":"paid"`},
		{"__cluster_metadata-0/*.checkpoint", "--cluster-metadata-decoder", `KRaftVersion(.|\n)*"type":"TOPIC_RECORD"(.|\n)*SnapshotFooter`},
	} {
		t.Run(kind.files+" "+kind.mode, func(t *testing.T) { dumpsKind(t, dir, kind.files, kind.mode, kind.shows) })
	}
}

func dumpsKind(t *testing.T, dir, pattern, mode, shows string) {
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	if strings.HasSuffix(pattern, "index") {
		files = withBatches(t, files)
	}
	word, err := harness.Judge(files, mode)
	harness.Need(t, err)
	for file, said := range word {
		for _, s := range said {
			if !strings.HasPrefix(s, "gap: ") || !strings.Contains(file, "/kept-0/") && !strings.Contains(file, "/__") { // compacted
				t.Errorf("%s: %s", file, s)
			}
		}
	}
	out := harness.ToolT(t, nil, harness.DumpLogSegments, mode, "--files", strings.Join(files, ","))
	if !regexp.MustCompile(shows).MatchString(out) {
		t.Errorf("it does not show %s:\n%.4000s", shows, out)
	}
	for _, bad := range []string{"Failed to decode", "Could not", "skipping", "Error at", "unknown"} {
		if strings.Contains(out, bad) {
			t.Errorf("it says %q of %s:\n%.4000s", bad, pattern, out)
		}
	}
}

// withBatches leaves out indexes of empty logs, which DumpLogSegments cannot show (Kafka writes them too).
func withBatches(t *testing.T, indexes []string) (list []string) {
	t.Helper()
	for _, f := range indexes {
		log := strings.TrimSuffix(f, filepath.Ext(f)) + ".log"
		if batches, _ := countDumped(t, log); batches > 0 {
			list = append(list, f)
		}
	}
	return list
}

// everyKind has a broker write every kind of file, and stops it.
func everyKind(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	b, err := harness.Start(harness.Options{Kind: harness.Slipstream, DataDir: dir, Set: []string{
		"log.index.interval.bytes=500", "offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1", "share.coordinator.state.topic.num.partitions=1",
		"metadata.log.max.record.bytes.between.snapshots=500", "log.cleaner.backoff.ms=50", "log.cleaner.min.cleanable.ratio=0.01"}})
	harness.Need(t, err)
	defer b.Kill()
	for _, codec := range harness.Codecs {
		createTopic(t, b, "codec-"+codec, 1)
		kindsOf(t, b, codec)
	}
	createTopic(t, b, "kept", 1, "cleanup.policy", "compact", "segment.ms", "100")
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	harness.Need(t, err)
	defer client.Close()
	for i := range 60 {
		harness.Need(t, client.ProduceSync(t.Context(), &kgo.Record{Topic: "kept", Key: fmt.Append(nil, i%3), Value: fmt.Append(nil, i)}).FirstErr())
		time.Sleep(5 * time.Millisecond)
	}
	var offsets kadm.Offsets
	offsets.AddOffset("kept", 0, 17, -1)
	harness.Need(t, kadm.NewClient(client).CommitAllOffsets(t.Context(), "shop", offsets))
	createTopic(t, b, "paid", 1)
	tx, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.TransactionalID("till"))
	harness.Need(t, err)
	defer tx.Close()
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		harness.Need(t, tx.BeginTransaction())
		harness.Need(t, tx.ProduceSync(t.Context(), &kgo.Record{Topic: "paid", Value: []byte("ten")}).FirstErr())
		harness.Need(t, tx.EndTransaction(t.Context(), end))
	}
	harness.ToolT(t, nil, harness.ConfigCommand, "--bootstrap-server", b.Addr, "--alter", "--entity-type", "groups", "--entity-name", "queue", "--add-config", "share.auto.offset.reset=earliest")
	harness.ToolT(t, nil, harness.ConsoleShareConsumer, "--bootstrap-server", b.Addr, "--topic", "codec-none", "--group", "queue", "--max-messages", "10", "--timeout-ms", "15000")
	harness.StopT(t, b)
	return dir
}

func kindsOf(t *testing.T, b *harness.Broker, codec string) {
	t.Helper()
	o := []kgo.Opt{kgo.SeedBrokers(b.Addr)}
	switch codec {
	case "none":
		o = append(o, kgo.ProducerBatchCompression(kgo.NoCompression()))
	case "gzip":
		o = append(o, kgo.ProducerBatchCompression(kgo.GzipCompression()))
	case "snappy":
		o = append(o, kgo.ProducerBatchCompression(kgo.SnappyCompression()))
	case "lz4":
		o = append(o, kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	case "zstd":
		o = append(o, kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	}
	client, err := kgo.NewClient(o...)
	harness.Need(t, err)
	defer client.Close()
	for range 5 {
		var records []*kgo.Record
		for i := range 20 {
			records = append(records, &kgo.Record{Topic: "codec-" + codec, Value: fmt.Append(nil, "line ", i, strings.Repeat(" and more", 10))})
		}
		harness.Need(t, client.ProduceSync(t.Context(), records...).FirstErr())
	}
}
