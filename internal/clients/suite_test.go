package clients

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"slipstream/internal/clients/harness"
)

// The 36 tests of franz-go's own suite that talk to a broker. TestIssueProduceBrokerTooOldFailsRecords skips itself on a
// broker that advertises Produce 0, as Apache's does and librdkafka needs.
var suite = []string{
	"TestUnknownGroupOffsetFetchPinned", "TestPing", "TestIssue1034", "TestIssue325", "TestConsumeTopicRetrieval", "TestConsumeTopicRetrieval_Many",
	"TestConsumeRegex", "TestConsumeRegexShareSkipsInternal", "Test848RegexBrokerResolves", "TestIssue337", "TestDirectPartitionPurge",
	"TestIssue434", "TestAddRemovePartitions", "TestPauseIssue489", "TestPauseIssueOct2023", "TestIssue523", "TestIssue648", "TestIssue810",
	"TestIssue865", "TestIssueFetchLargerThanBrokerMaxReadBytes", "TestPooling", "TestGroupSimple", "TestHookPollStart",
	"TestConsumeMaxDecompressBatchBytes", "TestClient_Produce", "TestIssue769", "TestIssueProduceBrokerTooOldFailsRecords",
	"TestIssueProduceSyncManualPartitionNegativeDoesNotPanic", "TestIssue831", "TestClient_ProduceLargeMessages", "TestShareGroup",
	"TestShareGroupETL", "TestShareGroupAckOnClose", "TestShareGroupOffsetsAdmin", "TestGroupETL", "TestTxnEtl",
}

// Those of them that move many records through chains of groups, transactions and share groups.
var suiteETL = []string{"TestGroupETL", "TestTxnEtl", "TestShareGroup", "TestShareGroupETL"}

// The settings of the peer that the suite's bar was measured with.
var suiteSettings = []string{"num.partitions=4", "message.max.bytes=200000000", "group.initial.rebalance.delay.ms=0",
	"group.consumer.heartbeat.interval.ms=1000", "group.consumer.min.heartbeat.interval.ms=1000"}

// TestKgoSuite runs franz-go's own tests against the broker: with few records unless KGO_TEST_RECORDS says how many
// (make test-clients: 50,000).
func TestKgoSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute; not with -short")
	}
	t.Parallel() // it sleeps for most of the time, as the other tests do that say so
	runSuite(t, suite, 1, 8*time.Minute, "KGO_TEST_RECORDS="+orElse(os.Getenv("KGO_TEST_RECORDS"), "15000"))
}

// TestLongSuite runs the suite's ETL and share tests with 500,000 records five times over, and then once with
// connections that die after 0.5 to 1.5 s (KGO_TEST_CHAOS).
func TestLongSuite(t *testing.T) {
	if os.Getenv("SLIPSTREAM_LONG") == "" {
		t.Skip("takes half an hour: make test-clients-long")
	}
	records := "KGO_TEST_RECORDS=" + orElse(os.Getenv("KGO_TEST_RECORDS"), "500000")
	t.Run("five times", func(t *testing.T) { runSuite(t, suiteETL, 5, 90*time.Minute, records) })
	t.Run("chaos", func(t *testing.T) { runSuite(t, suiteETL, 1, 60*time.Minute, records, "KGO_TEST_CHAOS=1") })
}

func orElse(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// runSuite runs the named tests of the suite, each count times, and requires that each passes each time.
func runSuite(t *testing.T, names []string, count int, limit time.Duration, env ...string) {
	t.Helper()
	bin, dir := buildSuite(t)
	b := harness.StartT(t, harness.Options{Set: suiteSettings})
	ctx, cancel := context.WithTimeout(t.Context(), limit+30*time.Second)
	defer cancel()
	passed := map[string]int{}
	start := time.Now()
	for range count {
		cmd := exec.CommandContext(ctx, bin, "-test.v", "-test.timeout", limit.String(), "-test.run", "^("+strings.Join(names, "|")+")$")
		cmd.Dir = dir
		cmd.Env = append(append(os.Environ(), "KGO_SEEDS="+b.Addr, "KGO_TEST_RF=1", "KGO_LOG_LEVEL="+orElse(os.Getenv("KGO_LOG_LEVEL"), "none")), env...)
		out, err := cmd.CombinedOutput()
		for _, m := range regexp.MustCompile(`(?m)^--- (PASS|SKIP): (\S+) \((\S+)\)`).FindAllSubmatch(out, -1) {
			name := string(m[2])
			passed[name]++
			if string(m[1]) == "SKIP" && name != "TestIssueProduceBrokerTooOldFailsRecords" {
				t.Errorf("%s skips, which it does not with Apache Kafka", name)
			}
			t.Logf("%s %s in %s", m[1], name, m[3])
		}
		if err != nil {
			t.Errorf("%v, after %v\n%s", err, time.Since(start).Round(time.Second), failures(out))
			break
		}
	}
	for _, name := range names {
		if passed[name] != count {
			t.Errorf("%s: passed %d of %d times", name, passed[name], count)
		}
	}
	t.Logf("%d tests, %d times, with %v: %v", len(names), count, env, time.Since(start).Round(100*time.Millisecond))
	requireMemory(t, b, 2<<30)
}

// failures is what the failed tests said, or the end of it all when that is not to be seen.
func failures(out []byte) []byte {
	var text bytes.Buffer
	for _, part := range regexp.MustCompile(`(?m)^=== `).Split(string(out), -1) {
		if strings.Contains(part, "--- FAIL") || strings.Contains(part, "_test.go:") && !strings.Contains(part, "deleting topic") {
			text.WriteString(part)
		}
	}
	return append(tail(text.Bytes(), 6000), tail(out, 3000)...)
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}

// buildSuite compiles franz-go's test binary and returns it and the folder it must run in.
func buildSuite(t testing.TB) (bin, dir string) {
	t.Helper()
	const pkg = "github.com/twmb/franz-go/pkg/kgo"
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", pkg).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", pkg, err)
	}
	bin = filepath.Join(t.TempDir(), "kgo.test")
	if text, err := exec.Command("go", "test", "-c", "-o", bin, pkg).CombinedOutput(); err != nil {
		t.Fatalf("building the suite: %v\n%s", err, text)
	}
	return bin, string(bytes.TrimSpace(out))
}
