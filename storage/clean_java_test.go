package storage

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestKafkaDumpsCompactedFiles: Kafka's own DumpLogSegments reads compacted logs, .index and .timeindex files included, finds nothing wrong with
// them, and sees the delete horizons. It needs KAFKA_LIBS, the directory with the jars of Apache Kafka 4.3.1.
func TestKafkaDumpsCompactedFiles(t *testing.T) {
	libs := os.Getenv("KAFKA_LIBS")
	if libs == "" {
		t.Skip("KAFKA_LIBS, the directory with the jars of Apache Kafka 4.3.1, is not set")
	}
	if _, err := exec.LookPath("java"); err != nil {
		t.Skip("there is no java")
	}
	x := newCleanRig(t, 4)
	cleaned := 0
	for cleaned < 3 {
		for range 40 {
			x.write()
		}
		if _, ok := x.clean(noLimits); ok {
			cleaned++
		}
	}
	kept := len(x.records(x.rig, x.p, false))
	if errs := x.close(); errs != nil {
		t.Fatal(errs)
	}
	var files []string
	for name := range listDir(t, x.dir) {
		if _, _, ok := parseFileName(name); ok && !isLeftover(name) {
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
	// Nor of the .timeindex: an empty batch has no entry. (Of what Kafka's cleaner leaves the tool says "log timestamp: -1".)
	for line := range strings.Lines(text) {
		if strings.Contains(line, "Index timestamp: ") {
			t.Errorf("a .timeindex does not fit: %s", line)
		}
	}
	if got := strings.Count(text, "keySize: ") + strings.Count(text, "keysize: "); got < kept {
		t.Errorf("Kafka sees %d records, there are %d", got, kept)
	}
	if !strings.Contains(text, "deleteHorizonMs: OptionalLong[") {
		t.Errorf("no delete horizon:\n%s", text)
	}
	if !strings.Contains(text, "count: 0 ") {
		t.Errorf("no empty batch:\n%s", text)
	}
}
