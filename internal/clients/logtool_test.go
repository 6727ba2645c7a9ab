package clients

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipstream/internal/clients/harness"
	"slipstream/internal/logtool"
	"slipstream/ring"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestLogVerifyAgreesWithKafka lets both judge a directory that Apache wrote, and one that slipstream wrote: with
// nothing wrong they count the same batches and records, and of a damaged batch both complain.
func TestLogVerifyAgreesWithKafka(t *testing.T) {
	harness.OwnBroker(t)
	for _, kind := range []harness.Kind{harness.Apache, harness.Slipstream} {
		t.Run(kind.String(), func(t *testing.T) {
			dir := dirWithCodecs(t, kind)
			r := verify(t, dir)
			if len(r.Problems) > 0 || !r.Clean {
				t.Fatalf("of a sound directory: %+v", r.Problems)
			}
			dump, err := harness.DumpDir(dir)
			harness.Need(t, err)
			requireNoComplaint(t, dump.Complaints)
			for name, p := range dump.Partitions {
				batches, records := countDumped(t, filepath.Join(dir, name))
				if batches != p.Batches || records != p.Records {
					t.Errorf("%s: %d batches, %d records; Kafka counts %d, %d", name, batches, records, p.Batches, p.Records)
				}
			}
			flipBit(t, filepath.Join(dir, "logged-zstd-0", "00000000000000000000.log"))
			r = verify(t, dir)
			if len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Why, "the CRC is wrong") {
				t.Errorf("of a flipped bit: %+v", r.Problems)
			}
			dump, err = harness.DumpDir(dir)
			harness.Need(t, err)
			if len(dump.Complaints) == 0 {
				t.Error("Kafka sees nothing wrong in a flipped bit")
			}
		})
	}
}

// dirWithCodecs has a broker write a topic in each codec and a transaction of each end, and stops it.
func dirWithCodecs(t *testing.T, kind harness.Kind) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	b, err := harness.Start(harness.Options{Kind: kind, DataDir: dir, Set: []string{"log.index.interval.bytes=1000", "offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1"}})
	harness.Need(t, err)
	defer b.Kill()
	corpus, err := harness.GoSource(1, 5_000)
	harness.Need(t, err)
	for _, codec := range harness.Codecs {
		createTopic(t, b, "logged-"+codec, 1)
		harness.Need(t, harness.KgoProduce(b.Addr, "logged-"+codec, codec, corpus, kgo.ProducerBatchMaxBytes(4<<10)))
	}
	tx, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.TransactionalID("till"))
	harness.Need(t, err)
	defer tx.Close()
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		harness.Need(t, tx.BeginTransaction())
		harness.Need(t, tx.ProduceSync(t.Context(), &kgo.Record{Topic: "logged-none", Value: []byte("ten")}).FirstErr())
		harness.Need(t, tx.EndTransaction(t.Context(), end))
	}
	harness.StopT(t, b)
	return dir
}

// verify runs the command, whose exit status must tell what its report does.
func verify(t *testing.T, dir string) *logtool.Report {
	t.Helper()
	bin, err := harness.Binary()
	harness.Need(t, err)
	cmd := exec.Command(bin, "log", "verify", "--json", dir)
	out, err := cmd.Output()
	var r logtool.Report
	if e := json.Unmarshal(out, &r); e != nil || (err != nil) != (r.Damaged() > 0) {
		t.Fatalf("%v, %v: %s", e, err, out)
	}
	return &r
}

// countDumped counts what log dump shows of the .log files of a directory.
func countDumped(t *testing.T, dir string) (batches, records int) {
	t.Helper()
	err := logtool.Dump(ring.NewLinux(), dir, logtool.DumpOptions{Records: true}, func(it logtool.Item) error {
		switch it.Kind {
		case "batch":
			batches++
		case "record":
			records++
			if slices.ContainsFunc(it.Fields, func(f logtool.Field) bool { return f.Name == "undecodable" }) {
				t.Errorf("%s: %v", dir, it)
			}
		case "problem":
			t.Errorf("%s: %v", dir, it)
		}
		return nil
	})
	harness.Need(t, err)
	return batches, records
}

func flipBit(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	harness.Need(t, err)
	b[len(b)/2] ^= 1
	harness.Need(t, os.WriteFile(path, b, 0o644))
}
