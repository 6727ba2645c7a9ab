package clients

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
)

const connectSettings = `bootstrap.servers=ADDRESS
listeners=http://127.0.0.1:PORT
group.id=connect
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
offset.storage.topic=connect-offsets
offset.storage.replication.factor=1
offset.storage.partitions=3
config.storage.topic=connect-configs
config.storage.replication.factor=1
status.storage.topic=connect-status
status.storage.replication.factor=1
exactly.once.source.support=enabled
plugin.discovery=service_load
scheduled.rebalance.max.delay.ms=500
session.timeout.ms=6000
heartbeat.interval.ms=500
producer.transaction.timeout.ms=10000
`

// worker is a distributed worker of Kafka Connect, and rest its address.
type worker struct {
	t    *testing.T
	kill func()
	rest string
}

func startWorker(t *testing.T, b *harness.Broker) *worker {
	t.Helper()
	port, err := harness.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "connect.properties")
	writeFile(t, path, strings.NewReplacer("ADDRESS", b.Addr, "PORT", fmt.Sprint(port)).Replace(connectSettings))
	cmd, err := harness.OurJava("org.apache.kafka.connect.cli.ConnectDistributed", path)
	harness.Need(t, err)
	var log wordCount // its log is what is wanted of it
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log.cmd = cmd
	w := &worker{t: t, kill: log.kill, rest: fmt.Sprintf("http://127.0.0.1:%d", port)}
	t.Cleanup(func() {
		w.kill()
		if t.Failed() {
			t.Logf("the worker's log ends:\n%s", tail([]byte(log.text()), 4000))
		}
	})
	return w
}

// ask sends a request until it is answered with want.
func (w *worker) ask(want int, method, path, body string) string {
	w.t.Helper()
	last := ""
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		req, err := http.NewRequestWithContext(w.t.Context(), method, w.rest+path, strings.NewReader(body))
		if err != nil {
			w.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			last = err.Error()
			continue
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == want {
			return string(text)
		}
		last = fmt.Sprintf("%s %s", resp.Status, text)
	}
	w.t.Fatalf("%s %s: want status %d, got %s", method, path, want, last)
	return ""
}

// TestConnect runs a source connector with exactly-once support on a distributed worker of Kafka Connect, kills the worker
// and the broker in its transactions, and requires that a read_committed consumer sees each number once and in order.
func TestConnect(t *testing.T) {
	if os.Getenv("SLIPSTREAM_CLIENTS") == "" {
		t.Skip("takes half a minute: make test-clients")
	}
	harness.OwnBroker(t)
	b := harness.StartT(t, harness.Options{Set: []string{"group.initial.rebalance.delay.ms=0"}})
	createTopic(t, b, "numbers", 1)
	w := startWorker(t, b)
	w.ask(http.StatusCreated, http.MethodPost, "/connectors", `{"name":"numbers","config":{"connector.class":"Numbers","tasks.max":"1","topic":"numbers"}}`)
	awaitNumbers(t, b, 300)
	w.kill()
	w = startWorker(t, b)
	w.ask(http.StatusOK, http.MethodGet, "/connectors/numbers/status", "")
	before := endOffset(t, b, "numbers", 0)
	awaitNumbers(t, b, before+300)
	b.Kill()
	b = harness.RestartT(t, b)
	awaitNumbers(t, b, endOffset(t, b, "numbers", 0)+300)
}

// awaitNumbers reads 0, 1, 2 ... as far as offset end, and in a committed transaction.
func awaitNumbers(t *testing.T, b *harness.Broker, end int64) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"numbers": {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	next := 0
	for at := int64(0); at < end; {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d numbers up to offset %d of %d: %v", next, at, end, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != fmt.Sprint(next) {
				t.Fatalf("offset %d holds %s, %d was due", r.Offset, r.Value, next)
			}
			next++
			at = r.Offset + 1
		})
	}
	t.Logf("%d numbers up to offset %d", next, end)
}
