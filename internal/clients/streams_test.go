package clients

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
)

// wordCount is one running instance of internal/clients/java/src/WordCount.java.
type wordCount struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	log bytes.Buffer
}

func (w *wordCount) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *wordCount) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// streamsApp is what all instances of the application have in common.
type streamsApp struct {
	addr, id, stateDir, in, out string
}

func (a streamsApp) start(t *testing.T) *wordCount {
	t.Helper()
	cmd, err := harness.OurJava("WordCount", a.addr, a.id, a.stateDir, a.in, a.out, "commit.interval.ms=200", "num.stream.threads=2",
		"replication.factor=1", "statestore.cache.max.bytes=100000", "consumer.session.timeout.ms=6000", "consumer.heartbeat.interval.ms=500",
		"producer.transaction.timeout.ms=10000", "producer.linger.ms=20", "metadata.max.age.ms=2000")
	harness.Need(t, err)
	w := &wordCount{cmd: cmd}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.kill()
		if t.Failed() {
			t.Logf("the application's log ends:\n%s", tail([]byte(w.text()), 4000))
		}
	})
	return w
}

func (w *wordCount) kill() {
	if w.cmd.ProcessState == nil {
		w.cmd.Process.Kill()
		w.cmd.Wait()
	}
}

// stop is SIGTERM; the application closes its tasks.
func (w *wordCount) stop(t *testing.T) {
	t.Helper()
	w.cmd.Process.Signal(os.Interrupt)
	timer := time.AfterFunc(30*time.Second, func() { w.cmd.Process.Kill() })
	w.cmd.Wait()
	if !timer.Stop() {
		t.Errorf("the application did not end within 30 s of SIGINT")
	}
}

// counts follows the output topic as a read_committed consumer does.
type counts struct {
	cl      *kgo.Client
	mu      sync.Mutex
	last    map[string]int64 // by word
	wrong   []string
	records int
}

func followCounts(t *testing.T, addr, topic string) *counts {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	c := &counts{cl: cl, last: map[string]int64{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			fetches := cl.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			c.take(fetches)
		}
	}()
	t.Cleanup(func() { cl.Close(); <-done })
	return c
}

// take requires that each word's counts only rise: a count that comes again, or a lower one, was counted from a state
// that a crash should have undone.
func (c *counts) take(fetches kgo.Fetches) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fetches.EachRecord(func(r *kgo.Record) {
		n := int64(binary.BigEndian.Uint64(r.Value))
		if n <= c.last[string(r.Key)] {
			c.wrong = append(c.wrong, fmt.Sprintf("%s-%d offset %d: %q is counted %d after %d", r.Topic, r.Partition, r.Offset, r.Key, n, c.last[string(r.Key)]))
		}
		c.last[string(r.Key)] = n
		c.records++
	})
}

func (c *counts) total() (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.last {
		n += v
	}
	return n
}

// awaitTotal waits until at least n words are counted.
func (c *counts) awaitTotal(t *testing.T, n int64, w *wordCount) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); c.total() < n; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d words were counted after 90 s; the application's log ends:\n%s", c.total(), n, tail([]byte(w.text()), 4000))
		}
	}
}

// words is a text cut into lines, and how often each word is in it.
func words(t *testing.T, lines int) (text [][]byte, want map[string]int64, total int64) {
	t.Helper()
	corpus, err := harness.GoSource(1, 4*lines)
	if err != nil {
		t.Fatal(err)
	}
	want = map[string]int64{}
	corpus.Partitions[0].Each(func(line []byte) error {
		// Words are what Java's split(" ") makes of a line, so that the text must be UTF-8.
		if len(text) == lines || !utf8.Valid(line) || len(line) == 0 {
			return nil
		}
		text = append(text, line)
		for _, word := range strings.Split(string(line), " ") {
			if word != "" {
				want[word]++
				total++
			}
		}
		return nil
	})
	return text, want, total
}

// TestStreamsWordCount counts words with Kafka Streams and exactly_once_v2 while the application is killed twice and the
// broker once, each in the middle of its transactions. A read_committed consumer must see every word's count rise to
// exactly what the input holds. Afterwards Kafka's streams resetter puts the application back to its start.
func TestStreamsWordCount(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute; not with -short")
	}
	harness.OwnBroker(t)
	t.Parallel()
	b := harness.StartT(t, harness.Options{Set: []string{"group.initial.rebalance.delay.ms=0"}})
	in, out := topicName(t, "lines"), topicName(t, "counts")
	createTopic(t, b, in, 3)
	createTopic(t, b, out, 3, "cleanup.policy", "compact")
	text, want, total := words(t, 12_000)
	app := streamsApp{addr: b.Addr, id: "words-" + in, stateDir: t.TempDir(), in: in, out: out}
	w := app.start(t)
	seen := followCounts(t, b.Addr, out)
	produced := make(chan error, 1)
	go func() { produced <- produceSlowly(b.Addr, in, text, 12*time.Second) }()

	for i := range 2 {
		seen.awaitTotal(t, total*int64(i+1)/6, w)
		w.kill()
		t.Logf("application killed with %d of %d words counted", seen.total(), total)
		w = app.start(t)
	}
	seen.awaitTotal(t, total/2, w)
	b.Kill()
	t.Logf("broker killed with %d of %d words counted", seen.total(), total)
	b = harness.RestartT(t, b)
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	seen.awaitTotal(t, total, w)
	w.stop(t)
	time.Sleep(500 * time.Millisecond) // anything more would be too much
	requireCounts(t, seen, want)
	resetStreams(t, b, app)
}

// produceSlowly spreads the lines over the given time.
func produceSlowly(addr, topic string, lines [][]byte, over time.Duration) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.ProducerLinger(5*time.Millisecond), kgo.RetryTimeout(time.Minute), kgo.RequestTimeoutOverhead(20*time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed kgo.FirstErrPromise
	start := time.Now()
	for i, line := range lines {
		time.Sleep(time.Until(start.Add(over * time.Duration(i) / time.Duration(len(lines)))))
		cl.Produce(context.Background(), &kgo.Record{Value: line}, failed.Promise())
	}
	return failed.Err()
}

func requireCounts(t *testing.T, seen *counts, want map[string]int64) {
	t.Helper()
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for i, wrong := range seen.wrong {
		if i == 10 {
			t.Errorf("and %d more", len(seen.wrong)-10)
			break
		}
		t.Error(wrong)
	}
	off := 0
	for _, word := range slices.Sorted(maps.Keys(want)) {
		if seen.last[word] != want[word] {
			if off++; off <= 10 {
				t.Errorf("%q is counted %d times, it is there %d times", word, seen.last[word], want[word])
			}
		}
	}
	if off > 0 || len(seen.last) != len(want) {
		t.Errorf("%d of %d words are counted wrong; %d were counted", off, len(want), len(seen.last))
	}
	t.Logf("%d words, in %d updates", len(want), seen.records)
}

// resetStreams runs Kafka's streams resetter and looks at what it did with Kafka's other tools.
func resetStreams(t *testing.T, b *harness.Broker, app streamsApp) {
	t.Helper()
	internal := func() (names []string) {
		for _, name := range strings.Fields(tool(t, b, "", harness.TopicCommand, "--list")) {
			if strings.HasPrefix(name, app.id+"-") {
				names = append(names, name)
			}
		}
		return names
	}
	if before := internal(); len(before) != 2 {
		t.Errorf("the application's internal topics are %q, want a repartition and a changelog topic", before)
	}
	tool(t, b, "", harness.StreamsResetter, "--application-id", app.id, "--input-topics", app.in, "--force")
	if after := internal(); len(after) != 0 {
		t.Errorf("the resetter left %q", after)
	}
	described := tool(t, b, "", harness.ConsumerGroupCommand, "--describe", "--group", app.id)
	for p := range 3 {
		requireRow(t, described, fmt.Sprintf(`%s %s %d 0 (\d+) (\d+) - - -`, app.id, app.in, p))
	}
}
