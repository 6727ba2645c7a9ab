package clients

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestKillNineTransactions kills the broker at random moments while producers commit and abort transactions, one of them
// with the offsets of what it has consumed, and others leave theirs open for good. Then it accounts for every record: a read_committed
// consumer, one that was there all the time and one that comes afterwards, sees each record of a committed transaction once
// and in order, and none of an aborted one; what was consumed and transformed is there once; and no transaction is open for longer than its timeout.
//
// SLIPSTREAM_KILL_ROUNDS is the number of kills, 5 if not set; SLIPSTREAM_KILL_SEED repeats their moments.
func TestKillNineTransactions(t *testing.T) {
	harness.OwnBroker(t)
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("SLIPSTREAM_KILL_ROUNDS")); err == nil {
		rounds = n
	}
	seed := time.Now().UnixNano()
	if n, err := strconv.ParseInt(os.Getenv("SLIPSTREAM_KILL_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewSource(seed))
	k := newTxnKills(t, seed)
	for round := range rounds {
		before := k.progress()
		k.leaveOpen(round)
		k.awaitMoving(before)
		time.Sleep(time.Duration(rng.Intn(300_000)) * time.Microsecond)
		k.b.Kill()
		k.b = harness.RestartT(t, k.b)
		t.Logf("round %d: back in %v; transactions %v", round, k.b.ReadyIn.Round(time.Millisecond), k.progress())
		if t.Failed() {
			return
		}
	}
	k.finish()
	if t.Failed() {
		return
	}
	k.account()
	harness.StopT(t, k.b)
	dump, err := harness.DumpDir(k.b.DataDir)
	harness.Need(t, err)
	requireNoComplaint(t, dump.Complaints)
}

// leaverTimeout is that of the transactions that nobody ends.
const leaverTimeout = 2 * time.Second

// txnKills is a broker that is killed, with its clients.
type txnKills struct {
	t         *testing.T
	b         *harness.Broker
	topic     string
	input     string
	writers   []*txnWriter
	copier    *txnCopier
	follower  *committedReader
	left      []string // transactional ids
	stop      chan struct{}
	stopped   sync.WaitGroup
	mu        sync.Mutex
	complaint []error
}

func newTxnKills(t *testing.T, seed int64) *txnKills {
	t.Helper()
	k := &txnKills{t: t, b: harness.StartT(t, harness.Options{Set: []string{"group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3"}}), topic: topicName(t, "txn-kill"), input: topicName(t, "txn-input"), stop: make(chan struct{})}
	createTopic(t, k.b, k.topic, killPartitions, "segment.bytes", "1048576")
	createTopic(t, k.b, k.input, 2)
	for i := range 3 {
		w := &txnWriter{k: k, name: fmt.Sprintf("writer-%d", i), rng: rand.New(rand.NewSource(seed + int64(i)))}
		k.writers = append(k.writers, w)
	}
	k.copier = newTxnCopier(k)
	k.follower = k.read(k.topic)
	for _, w := range k.writers {
		k.stopped.Add(1)
		go w.run()
	}
	k.stopped.Add(1)
	go k.copier.run()
	return k
}

func (k *txnKills) complain(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.complaint = append(k.complaint, fmt.Errorf(format, args...))
}

func (k *txnKills) options(more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(k.b.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RetryTimeout(time.Minute),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RequestTimeoutOverhead(10 * time.Second),
	}, more...)
}

// txnWriter writes transactions, one after the other, and knows how each ended.
type txnWriter struct {
	k      *txnKills
	name   string
	rng    *rand.Rand
	fates  []written // by number
	ended  atomic.Int64
	client *kgo.Client
}

// written is a transaction: its records by partition, and how it ended.
type written struct {
	records [killPartitions]int
	fate    fate
}

type fate uint8

const (
	unknown fate = iota // its commit was not answered
	committed
	aborted
)

func (w *txnWriter) run() {
	defer w.k.stopped.Done()
	for n := 0; ; n++ {
		select {
		case <-w.k.stop:
			if w.client != nil {
				w.client.Close()
			}
			return
		default:
		}
		x := written{}
		x.fate = w.transaction(n, &x.records)
		w.fates = append(w.fates, x)
		w.ended.Add(1)
		time.Sleep(5 * time.Millisecond) // a load, not the machine's limit
	}
}

// transaction writes one: to each partition some records "name number partition index".
func (w *txnWriter) transaction(n int, records *[killPartitions]int) fate {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	if w.client == nil {
		cl, err := kgo.NewClient(w.k.options(kgo.TransactionalID(w.k.topic+w.name), kgo.TransactionTimeout(30*time.Second), kgo.DefaultProduceTopic(w.k.topic))...)
		if err != nil {
			w.k.complain("%s: %v", w.name, err)
			return unknown
		}
		w.client = cl
	}
	if err := w.client.BeginTransaction(); err != nil {
		w.renew()
		return aborted
	}
	var failed atomic.Bool
	for p := range killPartitions {
		records[p] = w.rng.Intn(4)
		for i := range records[p] {
			r := &kgo.Record{Partition: int32(p), Value: fmt.Appendf(nil, "%s %d %d %d", w.name, n, p, i)}
			w.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Store(true)
				}
			})
		}
	}
	if err := w.client.Flush(ctx); err != nil {
		failed.Store(true)
	}
	commit := w.rng.Intn(3) > 0 && !failed.Load()
	err := w.client.EndTransaction(ctx, kgo.TransactionEndTry(commit))
	switch {
	case err == nil && commit:
		return committed
	case err == nil:
		return aborted
	}
	w.renew()
	if commit {
		return unknown
	}
	return aborted
}

// renew goes on with a new client, whose first act is to end what the old one has left.
func (w *txnWriter) renew() {
	w.client.Close()
	w.client = nil
}

// leaveOpen begins a transaction that nobody will end.
func (k *txnKills) leaveOpen(round int) {
	k.t.Helper()
	id := fmt.Sprintf("%s-leaver-%d", k.topic, round)
	cl, err := kgo.NewClient(k.options(kgo.TransactionalID(id), kgo.TransactionTimeout(leaverTimeout), kgo.DefaultProduceTopic(k.topic))...)
	if err != nil {
		k.t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		k.t.Fatal(err)
	}
	for p := range killPartitions {
		r := &kgo.Record{Partition: int32(p), Value: fmt.Appendf(nil, "leaver %d %d 0", round, p)}
		if err := cl.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			k.t.Fatalf("leaver %d: %v", round, err)
		}
	}
	k.left = append(k.left, id)
}

// txnCopier consumes the input and writes it to the topic's last partition, with its offsets, in transactions.
type txnCopier struct {
	k      *txnKills
	fed    [2]int // records in the input's partitions
	copied atomic.Int64
}

const copiedRecords = 6000

func newTxnCopier(k *txnKills) *txnCopier {
	k.t.Helper()
	c := &txnCopier{k: k}
	cl, err := kgo.NewClient(k.options(kgo.DefaultProduceTopic(k.input))...)
	if err != nil {
		k.t.Fatal(err)
	}
	defer cl.Close()
	for n := range copiedRecords {
		p := n % 2
		cl.Produce(context.Background(), &kgo.Record{Partition: int32(p), Value: fmt.Appendf(nil, "%d", c.fed[p])}, nil)
		c.fed[p]++
	}
	if err := cl.Flush(context.Background()); err != nil {
		k.t.Fatal(err)
	}
	return c
}

func (c *txnCopier) run() {
	defer c.k.stopped.Done()
	for {
		again, err := c.session()
		if !again {
			return
		}
		if err != nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// session copies until it has failed, or all is copied and the test is over.
func (c *txnCopier) session() (again bool, err error) {
	s, err := kgo.NewGroupTransactSession(c.k.options(kgo.TransactionalID(c.k.topic+"-copier"), kgo.TransactionTimeout(20*time.Second),
		kgo.ConsumerGroup(c.k.topic+"-copiers"), kgo.ConsumeTopics(c.k.input), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DefaultProduceTopic(c.k.topic), kgo.InstanceID("copier"), kgo.SessionTimeout(10*time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return true, err
	}
	defer s.Close()
	// What the session before has left is ended first: its offsets are not stable until it is.
	if _, _, err := s.Client().ProducerID(context.Background()); err != nil {
		return true, err
	}
	for {
		select {
		case <-c.k.stop:
			return false, nil
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		poll, stop := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := s.PollRecords(poll, 20)
		stop()
		if err := c.pass(ctx, s, fetches.Records()); err != nil {
			cancel()
			return true, err
		}
		cancel()
	}
}

// pass writes what was consumed in one transaction.
func (c *txnCopier) pass(ctx context.Context, s *kgo.GroupTransactSession, records []*kgo.Record) error {
	if len(records) == 0 {
		return nil
	}
	if err := s.Begin(); err != nil {
		return err
	}
	failed := kgo.AbortingFirstErrPromise(s.Client())
	for _, r := range records {
		copied := &kgo.Record{Partition: killPartitions - 1, Value: fmt.Appendf(nil, "copy %d %s", r.Partition, r.Value)}
		s.Produce(ctx, copied, failed.Promise())
	}
	ok, err := s.End(ctx, kgo.TransactionEndTry(failed.Err() == nil))
	if ok {
		c.copied.Add(int64(len(records)))
		time.Sleep(10 * time.Millisecond) // so that it lasts
	}
	return err
}

func (k *txnKills) progress() (out []int64) {
	for _, w := range k.writers {
		out = append(out, w.ended.Load())
	}
	return append(out, k.copier.copied.Load())
}

// awaitMoving waits until every writer has ended two transactions since, and the copier one if it has any to do.
func (k *txnKills) awaitMoving(before []int64) {
	k.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for i := 0; i < len(before); {
		now := k.progress()[i]
		if now > before[i]+1 || i == len(k.writers) && now == copiedRecords {
			i++
			continue
		}
		if time.Now().After(deadline) {
			k.t.Fatalf("client %d has not ended a transaction for a minute; the broker's log ends:\n%s", i, tail([]byte(k.b.Log()), 3000))
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// finish lets the copier come to its end, stops the clients, and waits until nothing is open.
func (k *txnKills) finish() {
	t := k.t
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); k.copier.copied.Load() < copiedRecords && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	close(k.stop)
	k.stopped.Wait()
	for _, err := range k.complaint {
		t.Error(err)
	}
	// The writers' own transactions are all ended, or their clients have been followed by others; one of the last may be left to its timeout.
	limit := 30*time.Second + 3*time.Second
	begun := time.Now()
	for p := range killPartitions {
		for endOffset(t, k.b, k.topic, p) != k.stableOffset(p) {
			if time.Since(begun) > limit {
				t.Errorf("partition %d: a transaction is open %v after the last client has left: stable %d, end %d", p, limit, k.stableOffset(p), endOffset(t, k.b, k.topic, p))
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	t.Logf("nothing is open %v after the last client has left", time.Since(begun).Round(time.Millisecond))
	k.checkLeft()
	end, err := kgo.NewClient(k.options(kgo.TransactionalID(k.topic+"-end"), kgo.DefaultProduceTopic(k.topic))...)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if err := end.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for p := range killPartitions {
		if err := end.ProduceSync(context.Background(), &kgo.Record{Partition: int32(p), Value: []byte("end")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := end.EndTransaction(context.Background(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
}

// checkLeft requires that what was left open has been aborted by its coordinator.
func (k *txnKills) checkLeft() {
	k.t.Helper()
	w, err := harness.Dial(k.b.Addr)
	if err != nil {
		k.t.Fatal(err)
	}
	defer w.Close()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = k.left
	resp, err := w.Do(req, 10*time.Second)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, s := range resp.(*kmsg.DescribeTransactionsResponse).TransactionStates {
		if s.ErrorCode != 0 || s.State != "CompleteAbort" {
			k.t.Errorf("%s is %s (error %d), it should be CompleteAbort", s.TransactionalID, s.State, s.ErrorCode)
		}
	}
}

func (k *txnKills) stableOffset(partition int) int64 {
	k.t.Helper()
	w, err := harness.Dial(k.b.Addr)
	if err != nil {
		k.t.Fatal(err)
	}
	defer w.Close()
	req := listOffsets(k.topic, -1, -1, int32(partition))
	req.SetVersion(7)
	req.IsolationLevel = 1
	resp, err := w.Do(req, 10*time.Second)
	if err != nil {
		k.t.Fatal(err)
	}
	return responsePartition(resp).Offset
}

// committedReader collects what a read_committed consumer is shown of a topic, up to the record "end" in each partition.
type committedReader struct {
	values [killPartitions][]string
	err    error
	done   chan struct{}
}

func (k *txnKills) read(topic string) *committedReader {
	r := &committedReader{done: make(chan struct{})}
	cl, err := kgo.NewClient(k.options(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))...)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(cl.Close)
	go func() {
		defer close(r.done)
		for left := killPartitions; left > 0; {
			fetches := cl.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				r.err = kgo.ErrClientClosed
				return
			}
			fetches.EachRecord(func(rec *kgo.Record) {
				if string(rec.Value) == "end" {
					left--
					return
				}
				r.values[rec.Partition] = append(r.values[rec.Partition], string(rec.Value))
			})
		}
	}()
	return r
}

// account compares what two consumers were shown with what the producers know.
func (k *txnKills) account() {
	t := k.t
	t.Helper()
	late := k.read(k.topic)
	for name, r := range map[string]*committedReader{"the consumer that was there": k.follower, "a consumer afterwards": late} {
		select {
		case <-r.done:
		case <-time.After(60 * time.Second):
			t.Fatalf("%s does not come to the end", name)
		}
		if r.err != nil {
			t.Fatal(r.err)
		}
	}
	for p := range killPartitions {
		if !slices.Equal(k.follower.values[p], late.values[p]) {
			t.Errorf("partition %d: the consumer that was there has seen %d records, one afterwards sees %d, and not the same", p, len(k.follower.values[p]), len(late.values[p]))
		}
	}
	shown := 0
	for _, w := range k.writers {
		shown += k.accountWriter(w, late)
	}
	k.accountCopies(late)
	for p := range killPartitions {
		for _, v := range late.values[p] {
			if strings.HasPrefix(v, "leaver ") {
				t.Errorf("partition %d: %q is of a transaction that nobody has ended", p, v)
			}
		}
	}
	t.Logf("%d records of writers and %d copies, each once", shown, k.copier.copied.Load())
}

// accountWriter holds a writer's records in all partitions against the fates of its transactions.
func (k *txnKills) accountWriter(w *txnWriter, r *committedReader) (shown int) {
	t := k.t
	t.Helper()
	seen := make([][killPartitions]int, len(w.fates))
	for p := range killPartitions {
		last := -1
		for _, v := range r.values[p] {
			if !strings.HasPrefix(v, w.name+" ") {
				continue
			}
			var n, of, i int
			if _, err := fmt.Sscanf(v[len(w.name):], " %d %d %d", &n, &of, &i); err != nil || of != p || n >= len(w.fates) {
				t.Errorf("partition %d: %q", p, v)
				return shown
			}
			if n < last || seen[n][p] != i {
				t.Errorf("partition %d: %q comes after transaction %d and %d records of its own", p, v, last, seen[n][p])
				return shown
			}
			seen[n][p]++
			last = n
			shown++
		}
	}
	counts := [3]int{}
	for n, x := range w.fates {
		counts[x.fate]++
		none := seen[n] == [killPartitions]int{}
		all := seen[n] == x.records
		if x.fate == committed && !all || x.fate == aborted && !none || !all && !none {
			t.Errorf("%s: transaction %d wrote %v records, its fate is %d (0 unknown, 1 committed, 2 aborted), shown are %v", w.name, n, x.records, x.fate, seen[n])
		}
	}
	t.Logf("%s: %d transactions committed, %d aborted, %d of unknown fate", w.name, counts[committed], counts[aborted], counts[unknown])
	if counts[committed] == 0 || counts[aborted] == 0 {
		t.Errorf("%s: nothing was tried", w.name)
	}
	return shown
}

// accountCopies requires every record of the input once, in order.
func (k *txnKills) accountCopies(r *committedReader) {
	k.t.Helper()
	var next [2]int
	for _, v := range r.values[killPartitions-1] {
		var p, n int
		if _, err := fmt.Sscanf(v, "copy %d %d", &p, &n); err != nil {
			continue
		}
		if n != next[p] {
			k.t.Errorf("a copy of input %d record %d where %d was due", p, n, next[p])
			return
		}
		next[p]++
	}
	if next != k.copier.fed {
		k.t.Errorf("%v records were copied, %v were to be", next, k.copier.fed)
	}
}
