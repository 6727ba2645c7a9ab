package clients

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
)

const killPartitions = 4

// load is one producer of numbered records to every partition, and its account of what was acknowledged.
type load struct {
	name       string
	idempotent bool
	cl         *kgo.Client
	stop       chan struct{}
	done       sync.WaitGroup
	sent       [killPartitions]int // records numbered 0 to sent-1 were handed to the client; after done
	acked      [killPartitions]atomic.Int64
	mu         sync.Mutex
	ackedNums  [killPartitions]map[int]bool // of the producer without idempotence
	errs       []error
}

func startLoad(t testing.TB, addr, topic, name string, idempotent bool) *load {
	t.Helper()
	l := &load{name: name, idempotent: idempotent, stop: make(chan struct{})}
	opts := []kgo.Opt{kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(time.Millisecond), kgo.MaxBufferedRecords(2000), kgo.RetryTimeout(3 * time.Minute),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.RequestTimeoutOverhead(20 * time.Second), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.ProducerBatchMaxBytes(32 << 10), kgo.ProducerBatchCompression(kgo.SnappyCompression())}
	if idempotent {
		// A broker that forgot the producer's sequence must show as an error, not be papered over with a new producer id.
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.StopProducerOnDataLossDetected())
	} else {
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	l.cl = cl
	for p := range killPartitions {
		l.ackedNums[p] = map[int]bool{}
		l.done.Add(1)
		go l.produce(p)
	}
	return l
}

func (l *load) produce(p int) {
	defer l.done.Done()
	pad := strings.Repeat(l.name, 100)
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			l.sent[p] = n
			return
		default:
		}
		r := &kgo.Record{Partition: int32(p), Key: []byte(l.name), Value: fmt.Appendf(nil, "%d %s", n, pad[:n%90])}
		l.cl.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if err != nil {
				l.errs = append(l.errs, fmt.Errorf("%s, partition %d, record %d: %w", l.name, p, n, err))
				return
			}
			l.acked[p].Add(1)
			if !l.idempotent {
				l.ackedNums[p][n] = true
			}
		})
		if n%64 == 0 {
			time.Sleep(time.Millisecond) // a load, not the machine's limit
		}
	}
}

func (l *load) total() (n int64) {
	for p := range l.acked {
		n += l.acked[p].Load()
	}
	return n
}

// finish stops producing and waits until everything that was sent is acknowledged.
func (l *load) finish(t testing.TB) {
	t.Helper()
	close(l.stop)
	l.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := l.cl.Flush(ctx); err != nil {
		t.Errorf("%s: flushing: %v", l.name, err)
	}
	l.cl.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, err := range l.errs {
		if i == 5 {
			t.Errorf("... and %d more errors", len(l.errs)-i)
			break
		}
		t.Error(err)
	}
}

// TestKillNine kills the broker at random moments of a load, starts it again, twenty times over, and then accounts for
// every record: none that was acknowledged is missing, none of an idempotent producer is there twice, every producer's
// order is kept, offsets have no gap, and Kafka's own tool finds logs and indexes sound.
func TestKillNine(t *testing.T) {
	harness.OwnBroker(t)
	rounds := 20
	if n, err := strconv.Atoi(os.Getenv("SLIPSTREAM_KILL_ROUNDS")); err == nil {
		rounds = n
	} else if testing.Short() {
		rounds = 5
	}
	seed := time.Now().UnixNano()
	if n, err := strconv.ParseInt(os.Getenv("SLIPSTREAM_KILL_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewSource(seed))
	b := harness.StartT(t, harness.Options{})
	topic := topicName(t, "kill")
	createTopic(t, b, topic, killPartitions, "segment.bytes", "1048576", "index.interval.bytes", "1000")
	loads := []*load{
		startLoad(t, b.Addr, topic, "alpha", true),
		startLoad(t, b.Addr, topic, "beta", true),
		startLoad(t, b.Addr, topic, "plain", false),
	}
	for round := range rounds {
		before := [3]int64{}
		for i, l := range loads {
			before[i] = l.total()
		}
		awaitProgress(t, b, loads, before)
		time.Sleep(time.Duration(rng.Intn(250_000)) * time.Microsecond)
		b.Kill()
		b = harness.RestartT(t, b)
		t.Logf("round %d: back in %v; acknowledged %d, %d, %d", round, b.ReadyIn.Round(time.Millisecond), loads[0].total(), loads[1].total(), loads[2].total())
		if t.Failed() {
			break
		}
	}
	for _, l := range loads {
		l.finish(t)
	}
	if t.Failed() {
		return
	}
	account(t, b, topic, loads)
	harness.StopT(t, b)
	dump, err := harness.DumpDir(b.DataDir)
	harness.Need(t, err)
	requireNoComplaint(t, dump.Complaints)
}

// awaitProgress waits until every producer got something acknowledged since before.
func awaitProgress(t testing.TB, b *harness.Broker, loads []*load, before [3]int64) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		moving := 0
		for i, l := range loads {
			if l.total() > before[i] {
				moving++
			}
			l.mu.Lock()
			failed := len(l.errs) > 0
			l.mu.Unlock()
			if failed {
				return // finish says what
			}
		}
		if moving == len(loads) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no acknowledgement for a minute; the broker runs: %v; its log ends:\n%s", b.Running(), tail([]byte(b.Log()), 3000))
		}
	}
}

// account reads everything back and compares it with what the producers know.
func account(t testing.TB, b *harness.Broker, topic string, loads []*load) {
	t.Helper()
	for p := range killPartitions {
		end := endOffset(t, b, topic, p)
		numbers := map[string][]int{}
		next := int64(0)
		err := harness.EachRecord(b.Addr, topic, p, 0, int(end), func(r *kgo.Record) error {
			if r.Offset != next {
				return fmt.Errorf("partition %d: offset %d where %d was due", p, r.Offset, next)
			}
			next++
			word, _, _ := strings.Cut(string(r.Value), " ")
			n, err := strconv.Atoi(word)
			if err != nil {
				return fmt.Errorf("partition %d offset %d: %q", p, r.Offset, r.Value)
			}
			numbers[string(r.Key)] = append(numbers[string(r.Key)], n)
			return nil
		})
		if err != nil {
			t.Error(err)
			continue
		}
		for _, l := range loads {
			got := numbers[l.name]
			if l.idempotent {
				exactlyOnce(t, l, p, got)
			} else {
				atLeastOnce(t, l, p, got)
			}
		}
	}
}

// exactlyOnce: 0, 1, 2 ... up to all that was sent.
func exactlyOnce(t testing.TB, l *load, p int, got []int) {
	t.Helper()
	for i, n := range got {
		if n != i {
			what := "missing"
			if n < i {
				what = "there twice or out of order"
			}
			t.Errorf("%s, partition %d: record %d where %d was due: %s", l.name, p, n, i, what)
			return
		}
	}
	if len(got) != l.sent[p] || int64(len(got)) != l.acked[p].Load() {
		t.Errorf("%s, partition %d: %d records are there, %d were sent and %d acknowledged", l.name, p, len(got), l.sent[p], l.acked[p].Load())
	}
}

// atLeastOnce: all that was acknowledged, in order; what was sent again after a lost answer may be there again.
func atLeastOnce(t testing.TB, l *load, p int, got []int) {
	t.Helper()
	seen := map[int]bool{}
	highest := -1
	for _, n := range got {
		if !seen[n] && n < highest {
			t.Errorf("%s, partition %d: record %d comes first after %d", l.name, p, n, highest)
			return
		}
		seen[n] = true
		highest = max(highest, n)
	}
	var missing []int
	for n := range l.ackedNums[p] {
		if !seen[n] {
			missing = append(missing, n)
		}
	}
	sort.Ints(missing)
	if len(missing) > 0 {
		t.Errorf("%s, partition %d: %d acknowledged records are missing, from %d to %d", l.name, p, len(missing), missing[0], missing[len(missing)-1])
	}
}

func endOffset(t testing.TB, b *harness.Broker, topic string, partition int) int64 {
	t.Helper()
	return offsetOf(t, b, topic, partition, -1)
}

// offsetOf is ListOffsets for one partition.
func offsetOf(t testing.TB, b *harness.Broker, topic string, partition int, timestamp int64) int64 {
	t.Helper()
	w, err := harness.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		req := listOffsets(topic, -1, timestamp, int32(partition))
		req.SetVersion(7)
		resp, err := w.Do(req, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		p := responsePartition(resp)
		if p.ErrorCode == 0 {
			return p.Offset
		}
		if time.Now().After(deadline) {
			t.Fatalf("ListOffsets of %s-%d: error %d", topic, partition, p.ErrorCode)
		}
	}
}

// TestRestartAfterKill starts the broker again the moment the killed one is reaped, as a supervisor does, several times
// and with connections open: its address and its directory must be had.
func TestRestartAfterKill(t *testing.T) {
	harness.SlipstreamOnly(t)
	b := harness.StartT(t, harness.Options{})
	for range 10 {
		var open []*harness.Wire
		for range 20 {
			w, err := harness.Dial(b.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			open = append(open, w)
		}
		for _, w := range open {
			if _, err := w.Do(metadataFor(), 5*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		b.KillOnly()
		b = harness.RestartT(t, b)
	}
}

// TestTornTail kills the broker and leaves behind the active segment what a torn write would: part of a batch, zeros,
// or garbage. What was acknowledged is there afterwards, what was torn is not, and the next record follows without a gap.
func TestTornTail(t *testing.T) {
	harness.OwnBroker(t)
	sound := harness.NewBatch("torn", "off").Bytes()
	for name, tailBytes := range map[string][]byte{
		"half a batch":           sound[:len(sound)/2],
		"a header's start":       sound[:7],
		"zeros":                  make([]byte, 5000),
		"garbage":                randomBytes(3000),
		"a batch with a bad CRC": func() []byte { b := harness.NewBatch("x"); b.BreakCRC = true; return b.Bytes() }(),
		"a batch far too long":   append([]byte{0, 0, 0, 0, 0, 0, 0, 100, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 2}, make([]byte, 100)...),
	} {
		t.Run(name, func(t *testing.T) {
			b := harness.StartT(t, harness.Options{})
			topic := topicName(t, "torn")
			createTopic(t, b, topic, 1)
			w, err := harness.Dial(b.Addr)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 10 {
				if _, err := w.Do(harness.Produce(9, topic, [16]byte{}, 0, -1, harness.NewBatch(fmt.Sprint("record ", i)).Bytes()), 10*time.Second); err != nil {
					t.Fatal(err)
				}
			}
			w.Close()
			b.Kill()
			log := filepath.Join(b.DataDir, topic+"-0", "00000000000000000000.log")
			tear(t, log, tailBytes)
			b = harness.RestartT(t, b)
			if end := endOffset(t, b, topic, 0); end != 10 {
				t.Errorf("the log ends at %d, 10 records were acknowledged", end)
			}
			if w, err = harness.Dial(b.Addr); err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if _, err := w.Do(harness.Produce(9, topic, [16]byte{}, 0, -1, harness.NewBatch("record 10").Bytes()), 10*time.Second); err != nil {
				t.Fatal(err)
			}
			for i, v := range readBack(t, b.Addr, topic, 0, 11, false) {
				if want := fmt.Sprint("record ", i); string(v) != want {
					t.Errorf("offset %d is %q, want %q", i, v, want)
				}
			}
			harness.StopT(t, b)
			dump, err := harness.DumpDir(b.DataDir)
			harness.Need(t, err)
			requireNoComplaint(t, dump.Complaints)
		})
	}
}

// tear writes tail where the last sound batch of a log ends; behind that there may be preallocated zeros already.
func tear(t testing.TB, path string, tail []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := 0
	for end+17 <= len(text) && text[end+16] == 2 {
		n := int(text[end+8])<<24 | int(text[end+9])<<16 | int(text[end+10])<<8 | int(text[end+11])
		if n <= 0 || end+12+n > len(text) {
			break
		}
		end += 12 + n
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(tail, int64(end)); err != nil {
		t.Fatal(err)
	}
}
