package clients

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// at is a script without a record, to speak to a broker with.
func at(t *testing.T, b *harness.Broker) *script {
	t.Helper()
	s := &script{t: t, b: b, norm: newNormaliser(b.Addr)}
	s.dial()
	t.Cleanup(func() { s.w.Close() })
	return s
}

// state is what a transactional id's coordinator says of it.
func (s *script) state(id string) kmsg.DescribeTransactionsResponseTransactionState {
	s.t.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{id}
	resp := s.must(0, req, func(r kmsg.Response) int16 {
		return r.(*kmsg.DescribeTransactionsResponse).TransactionStates[0].ErrorCode
	})
	return resp.(*kmsg.DescribeTransactionsResponse).TransactionStates[0]
}

// stable is the last stable offset of partition 0.
func (s *script) stable(topic string) int64 {
	s.t.Helper()
	req := listOffsets(topic, -1, -1, 0)
	req.IsolationLevel = 1
	resp := s.must(7, req, func(r kmsg.Response) int16 { return responsePartition(r).ErrorCode })
	return responsePartition(resp).Offset
}

// on is the same producer at another broker.
func (x *transactor) on(s *script) *transactor {
	moved := *x
	moved.s = s
	return &moved
}

// TestTransactionsMove takes a data directory with open transactions from Apache Kafka to slipstream and back: each goes
// on where the other has left it, and Kafka's own tool reads the files in between.
func TestTransactionsMove(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Apache Kafka twice; not with -short")
	}
	dir := filepath.Join(t.TempDir(), "data")
	set := []string{"transaction.state.log.num.partitions=3", "offsets.topic.num.partitions=1", "node.id=1"}
	start := func(kind harness.Kind) (*harness.Broker, *script) {
		t.Helper()
		b, err := harness.Start(harness.Options{Kind: kind, DataDir: dir, Set: set})
		harness.Need(t, err)
		t.Cleanup(func() {
			if b.Running() {
				b.Kill()
			}
		})
		return b, at(t, b)
	}
	stop := func(b *harness.Broker) {
		t.Helper()
		if err := b.Stop(60 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	topic := topicName(t, "moves")

	b, s := start(harness.Apache)
	createTopic(t, b, topic, 1, "retention.ms", "-1")
	first, second := s.transactor("first"), s.transactor("second")
	first.produce(12, topic, 0, "aborted", "by Apache")
	first.end(5, false)
	first.produce(12, topic, 0, "begun at Apache")
	second.add(topic, 0)
	second.produce(11, topic, 0, "also begun at Apache")
	stop(b)

	b, s = start(harness.Slipstream)
	first, second = first.on(s), second.on(s)
	for _, x := range []*transactor{first, second} {
		if got := s.state(x.name); got.State != "Ongoing" || got.ProducerID != x.id || got.ProducerEpoch != x.epoch || len(got.Topics) != 1 || got.Topics[0].Topic != topic {
			t.Errorf("%s is %+v after Apache", x.name, got)
		}
	}
	if got := s.stable(topic); got != 3 {
		t.Errorf("the last stable offset is %d after Apache, the oldest open transaction begins at 3", got)
	}
	first.produce(12, topic, 0, "gone on here")
	first.end(5, true)
	second.end(4, false)
	second.add(topic, 0)
	second.produce(11, topic, 0, "begun here")
	third := s.transactor("third")
	third.produce(12, topic, 0, "the third's")
	third.end(5, true)
	third.produce(12, topic, 0, "left open here")
	stop(b)
	kafkaReadsTransactions(t, dir, topic)

	b, s = start(harness.Apache)
	second, third = second.on(s), third.on(s)
	for _, x := range []*transactor{second, third} {
		if got := s.state(x.name); got.State != "Ongoing" || got.ProducerID != x.id || got.ProducerEpoch != x.epoch {
			t.Errorf("%s is %+v to Apache after us", x.name, got)
		}
	}
	if got := s.state("first"); got.State != "CompleteCommit" {
		t.Errorf("first is %s to Apache after us", got.State)
	}
	third.produce(12, topic, 0, "gone on at Apache")
	third.end(5, true)
	second.end(4, true)
	end := s.stable(topic)
	resp := s.must(12, func() kmsg.Request {
		req := fetchRequest(12, topic, [16]byte{}, 0, 2) // in the segment that all markers are in
		req.IsolationLevel = 1
		return req
	}(), func(r kmsg.Response) int16 { return r.(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode }).(*kmsg.FetchResponse)
	if got := resp.Topics[0].Partitions[0]; len(got.AbortedTransactions) != 2 || got.LastStableOffset != end {
		t.Errorf("Apache finds the aborted transactions %+v below %d, want 2: %v", got.AbortedTransactions, got.LastStableOffset, s.batches(got.RecordBatches))
	}
	stop(b)
}

// kafkaReadsTransactions has DumpLogSegments decode __transaction_state and the files that storage keeps of a topic's transactions.
func kafkaReadsTransactions(t *testing.T, dir, topic string) {
	t.Helper()
	dump := func(option, pattern string) string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		r, err := harness.Tool(nil, harness.DumpLogSegments, option, "--files", strings.Join(files, ","))
		harness.Need(t, err)
		out, errs := r.Out, r.Errors
		for _, bad := range []string{"Exception", "Could not", "Failed to decode", "isvalid: false"} {
			if strings.Contains(out+errs, bad) {
				t.Errorf("DumpLogSegments of %s says %q:\n%s%s", pattern, bad, out, errs)
			}
		}
		return out
	}
	out := dump("--transaction-log-decoder", "__transaction_state-*/*.log")
	for _, want := range []string{
		`"transactionalId":"first"\}\} payload: \{"version":"1","data":\{"producerId":\d+,("previousProducerId":\d+,)?"producerEpoch":\d+,"transactionTimeoutMs":60000,"transactionStatus":4,"transactionPartitions":\[\]`,
		`"transactionalId":"second"\}\} payload: \{"version":"1","data":\{"producerId":\d+,("previousProducerId":\d+,)?"producerEpoch":\d+,"transactionTimeoutMs":60000,"transactionStatus":1,"transactionPartitions":\[\{"topic":"` + topic + `","partitionIds":\[0\]`,
		`"transactionalId":"third"\}\} payload: \{"version":"1","data":\{"producerId":\d+,("previousProducerId":\d+,)?"producerEpoch":\d+,"transactionTimeoutMs":60000,"transactionStatus":1,.*"clientTransactionVersion":2`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("DumpLogSegments shows no %s in\n%.6000s", want, out)
		}
	}
	out = dump("--deep-iteration", topic+"-0/*.snapshot")
	if n := len(regexp.MustCompile(`producerId: \d+ producerEpoch: \d+ coordinatorEpoch: \d+ currentTxnFirstOffset: Optional`).FindAllString(out, -1)); n < 2 {
		t.Errorf("the snapshot shows %d open transactions, want 2:\n%s", n, out)
	}
	out = dump("--deep-iteration", topic+"-0/*.txnindex")
	if n := strings.Count(out, "lastStableOffset: "); n != 2 {
		t.Errorf("the index shows %d aborted transactions, want 2:\n%s", n, fmt.Sprintf("%.2000s", out))
	}
}
