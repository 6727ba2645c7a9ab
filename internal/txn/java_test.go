package txn

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestKafkaDumpsOurLog: Kafka's own DumpLogSegments reads the records of a coordinator. It needs KAFKA_LIBS, the
// directory with the jars of Apache Kafka 4.3.1.
func TestKafkaDumpsOurLog(t *testing.T) {
	libs := os.Getenv("KAFKA_LIBS")
	if libs == "" {
		t.Skip("KAFKA_LIBS, the directory with the jars of Apache Kafka 4.3.1, is not set")
	}
	if _, err := exec.LookPath("java"); err != nil {
		t.Skip("there is no java")
	}
	n := newNode(t)
	worn := meta{producerID: 77, previousProducerID: 77, nextProducerID: -1, producerEpoch: exhaustedEpoch, timeoutMillis: 60000, startMillis: -1, updateMillis: n.now}
	n.log = append(n.log, Record{Key: appendKey(nil, "worn"), Value: worn.appendValue(nil, 1), TimestampMillis: n.now})
	n.name(worn.producerID) // P1
	n.start(n.c.config)
	for _, line := range []string{
		"init orders", "add orders P2/0 a-0 a-1 b-3 v5", "end orders P2/0 commit", "add orders P2/1 a-0 v5", "end orders P2/1 abort",
		"init old", "add old P3/0 a-0 v3", "end old P3/0 commit v3", "add worn P1/32766 b-1 v5", "end worn P1/32766 commit",
		"set expiration=1", "wait 2",
	} {
		n.run(line)
	}
	file := filepath.Join(t.TempDir(), "00000000000000000000.log")
	var log []byte
	for i, r := range n.log {
		log = AppendBatch(log, int64(i), 1, []Record{r})
	}
	if err := os.WriteFile(file, log, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("java", "-cp", libs+"/*", "org.apache.kafka.tools.DumpLogSegments", "--transaction-log-decoder", "--files", file).CombinedOutput()
	text := string(out)
	if err != nil || strings.Contains(text, "Exception") || strings.Contains(text, "Could not") || strings.Contains(text, "isvalid: false") {
		t.Fatalf("%v\n%.3000s", err, text)
	}
	if got := strings.Count(text, "\n| offset: "); got != len(n.log) {
		t.Errorf("Kafka sees %d records, there are %d", got, len(n.log))
	}
	for _, want := range []string{
		`"transactionalId":"orders"`, `"previousProducerId":77,`, `"nextProducerId":4002`, `"clientTransactionVersion":2`,
		`"transactionPartitions":[{"topic":"a","partitionIds":[0,1]},{"topic":"b","partitionIds":[3]}]`, "payload: <DELETE>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %s:\n...%s", want, text[max(0, len(text)-5000):])
		}
	}
}
