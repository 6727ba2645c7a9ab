package storage

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestKafkaDumpsOurTransactions: Kafka's own DumpLogSegments reads the markers, .txnindex and .snapshot files of random
// histories. It needs KAFKA_LIBS, the directory with the jars of Apache Kafka 4.3.1.
func TestKafkaDumpsOurTransactions(t *testing.T) {
	libs := os.Getenv("KAFKA_LIBS")
	if libs == "" {
		t.Skip("KAFKA_LIBS, the directory with the jars of Apache Kafka 4.3.1, is not set")
	}
	if _, err := exec.LookPath("java"); err != nil {
		t.Skip("there is no java")
	}
	x := newTxnRig(t, 3)
	for len(x.p.txns.aborting) < 3 {
		x.write()
	}
	if errs := x.close(); errs != nil {
		t.Fatal(errs)
	}
	var files []string
	for name := range listDir(t, x.dir) {
		if _, suffix, ok := parseFileName(name); ok && suffix != indexSuffix && suffix != timeIndexSuffix {
			files = append(files, filepath.Join(x.dir, name))
		}
	}
	out, err := exec.Command("java", "-cp", libs+"/*", "org.apache.kafka.tools.DumpLogSegments", "--deep-iteration", "--files", strings.Join(files, ",")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := string(out)
	for _, complaint := range []string{"isvalid: false", "Exception", "Could not", "Mismatches"} {
		if strings.Contains(text, complaint) {
			t.Errorf("it says %q:\n%s", complaint, text)
		}
	}
	markers, aborted := 0, 0
	for _, w := range x.writes {
		if w.marker {
			markers++
		}
	}
	aborted = len(x.aborted(0, 1<<60))
	if got := strings.Count(text, "endTxnMarker: "); got != markers {
		t.Errorf("Kafka sees %d markers, there are %d", got, markers)
	}
	if got := strings.Count(text, "lastStableOffset: "); got != aborted || aborted == 0 {
		t.Errorf("Kafka sees %d aborted transactions, there are %d:\n%s", got, aborted, text)
	}
	if !strings.Contains(text, "coordinatorEpoch: 3 currentTxnFirstOffset: ") {
		t.Errorf("no producers with transactions:\n%s", text)
	}
}
