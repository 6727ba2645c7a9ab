package clients

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
)

// kcatMember is a kcat that consumes as a member of a group: librdkafka's balanced consumer.
type kcatMember struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	read map[string]int // how often, by "partition value"
	from map[string]int // how many, by partition
	done chan struct{}
}

func startKcatMember(t *testing.T, b *harness.Broker, group, strategy, topic string) *kcatMember {
	t.Helper()
	cmd, err := harness.Kcat("-b", b.Addr, "-G", group, "-q", "-u", "-f", "%p %s\n", "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000",
		"-X", "heartbeat.interval.ms=300", "-X", "auto.commit.interval.ms=200", "-X", "partition.assignment.strategy="+strategy, topic)
	harness.Need(t, err)
	m := &kcatMember{cmd: cmd, read: map[string]int{}, from: map[string]int{}, done: make(chan struct{})}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go m.follow(out)
	t.Cleanup(m.kill)
	return m
}

func (m *kcatMember) follow(out io.Reader) {
	defer close(m.done)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		m.mu.Lock()
		m.read[lines.Text()]++
		partition, _, _ := strings.Cut(lines.Text(), " ")
		m.from[partition]++
		m.mu.Unlock()
	}
}

func (m *kcatMember) kill() {
	m.cmd.Process.Kill()
	<-m.done
	m.cmd.Wait()
}

// leave ends the member as Ctrl-C does: it commits and says so to the group.
func (m *kcatMember) leave() {
	m.cmd.Process.Signal(os.Interrupt)
	select {
	case <-m.done:
	case <-time.After(20 * time.Second):
	}
	m.kill()
}

// partitions is how many partitions the member has read from.
func (m *kcatMember) partitions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.from)
}

// forget makes partitions count what comes from now on.
func (m *kcatMember) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.from = map[string]int{}
}

func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 40 s: %s", what)
		}
	}
}

// TestKcatGroups shares four partitions among kcats: one alone, two, and one again after the other was killed without a
// word, with eager and with cooperative rebalancing. Every record is read; and after an orderly end none comes again.
func TestKcatGroups(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a session to end; not with -short")
	}
	t.Parallel()
	b := harness.StartT(t, harness.Options{Set: groupSettings})
	for _, strategy := range []string{"range", "cooperative-sticky"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			topic, group := topicName(t, "balanced-"+strategy), "kcat-"+strategy
			createTopic(t, b, topic, 4)
			load := startNumbers(t, b.Addr, topic, 4)
			first := startKcatMember(t, b, group, strategy, topic)
			await(t, "the first reads all partitions", func() bool { return first.partitions() == 4 })
			second := startKcatMember(t, b, group, strategy, topic)
			await(t, "the second reads two partitions", func() bool { return second.partitions() == 2 })
			first.forget()
			await(t, "the first reads two partitions", func() bool { return first.partitions() == 2 })
			time.Sleep(500 * time.Millisecond)
			if first.partitions() != 2 || second.partitions() != 2 {
				t.Errorf("they share four partitions as %d and %d", first.partitions(), second.partitions())
			}
			first.kill()
			await(t, "the second reads all partitions", func() bool { return second.partitions() == 4 })
			sent := load.finish(t)
			missing := func() (lines []string) {
				for _, line := range sent {
					if first.read[line]+readOf(second, line) == 0 {
						lines = append(lines, line)
					}
				}
				return lines
			}
			await(t, "everything is read", func() bool { return len(missing()) == 0 })
			time.Sleep(400 * time.Millisecond) // for an automatic commit
			second.leave()
			third := startKcatMember(t, b, group, strategy, topic)
			load = startNumbers(t, b.Addr, topic, 4)
			await(t, "the third reads all partitions", func() bool { return third.partitions() == 4 })
			load.finish(t)
			third.leave()
			for _, line := range sent {
				if third.read[line] > 0 {
					t.Errorf("%q came again after it was committed", line)
					break
				}
			}
		})
	}
}

func readOf(m *kcatMember, line string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.read[line]
}

// numbers is a load of values that occur once, on all partitions.
type numbers struct {
	stop chan struct{}
	sent chan []string // "partition value"
}

func startNumbers(t *testing.T, addr, topic string, partitions int) *numbers {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	n := &numbers{stop: make(chan struct{}), sent: make(chan []string, 1)}
	run := time.Now().UnixNano()
	go func() {
		defer cl.Close()
		var sent []string
		for i := 0; !wait(n.stop, 5*time.Millisecond); i++ {
			r := &kgo.Record{Partition: int32(i % partitions), Value: fmt.Append(nil, run, "/", i)}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Error(err)
				break
			}
			sent = append(sent, fmt.Sprintf("%d %s", r.Partition, r.Value))
		}
		n.sent <- sent
	}()
	return n
}

func (n *numbers) finish(t *testing.T) []string {
	t.Helper()
	close(n.stop)
	sent := <-n.sent
	if len(sent) == 0 {
		t.Error("nothing was sent")
	}
	return sent
}

// TestKcatTransactions produces with librdkafka's transactional producer: kcat commits what it reads from its input as one
// transaction when that ends. Its two markers take an offset each.
func TestKcatTransactions(t *testing.T) {
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "kcat-txn")
	createTopic(t, b, topic, 1)
	createTopic(t, b, topic+"-other", 1)
	openTransaction(t, b, "other", topic+"-other") // kcat gives up before Apache has made the transactions' topic
	path := filepath.Join(t.TempDir(), "lines")
	writeFile(t, path, "one\ntwo\nthree\n")
	for range 2 {
		cmd, err := harness.Kcat("-P", "-b", b.Addr, "-t", topic, "-p", "0", "-X", "transactional.id="+topic, "-l", path)
		harness.Need(t, err)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if end := endOffset(t, b, topic, 0); end != 8 {
		t.Errorf("the log ends at %d, want 6 records and 2 markers", end)
	}
	for _, level := range []string{"read_committed", "read_uncommitted"} {
		cmd, err := harness.Kcat("-C", "-b", b.Addr, "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q", "-X", "isolation.level="+level)
		harness.Need(t, err)
		out, err := cmd.Output()
		if lines := strings.Count(string(out), "\n"); err != nil || lines != 6 {
			t.Errorf("%s: %d lines, want 6 (%v):\n%s", level, lines, err, out)
		}
	}
}
