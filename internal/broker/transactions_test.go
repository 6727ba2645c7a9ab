package broker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// txnClient is a transactional producer of a test. Version 2 goes by
// transaction.version 2: its partitions are added as it produces.
type txnClient struct {
	w        *wire
	name     string
	version  int
	id       int64
	epoch    int16
	sequence map[string]int32
}

func (b *testBroker) txnClient(name string, version int) *txnClient {
	b.t.Helper()
	c := &txnClient{w: b.dial(), name: name, version: version}
	c.init()
	return c
}

func (c *txnClient) tryInit(timeoutMillis int32) *kmsg.InitProducerIDResponse {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = &c.name, timeoutMillis, -1, -1
	return c.w.ask(4, req).(*kmsg.InitProducerIDResponse)
}

func (c *txnClient) init() {
	c.w.t.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorType, find.CoordinatorKey = 1, c.name
	c.w.ask(2, find)
	eventually(c.w.t, "the producer is initialized", func() bool {
		resp := c.tryInit(60_000)
		c.id, c.epoch, c.sequence = resp.ProducerID, resp.ProducerEpoch, map[string]int32{}
		return resp.ErrorCode == 0
	})
}

func (c *txnClient) add(topic string, partitions ...int32) protocol.ErrorCode {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = c.name, c.id, c.epoch
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: partitions}}
	resp := c.w.ask(3, req).(*kmsg.AddPartitionsToTxnResponse)
	return protocol.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// batch is the next of the client in a partition.
func (c *txnClient) batch(topic string, partition int32, values ...string) []byte {
	info := protocol.NewBatchInfo(0, -1)
	place := fmt.Sprint(topic, partition)
	info.Attributes, info.ProducerID, info.ProducerEpoch, info.BaseSequence = protocol.AttrTransactional, c.id, c.epoch, c.sequence[place]
	c.sequence[place] += int32(len(values))
	var bl protocol.Builder
	bl.Begin(nil, info)
	for _, v := range values {
		bl.Append(&protocol.Record{Timestamp: time.Now().UnixMilli(), Value: []byte(v)})
	}
	_, batch := bl.Finish()
	return batch
}

func (c *txnClient) produceRequest(topic string, partition int32, values ...string) (*kmsg.ProduceRequest, int16) {
	req := produceRequest(topic, partition, c.batch(topic, partition, values...))
	req.TransactionID = &c.name
	if c.version >= 2 {
		return req, 12
	}
	return req, 11
}

func (c *txnClient) tryProduce(topic string, partition int32, values ...string) protocol.ErrorCode {
	req, version := c.produceRequest(topic, partition, values...)
	return protocol.ErrorCode(c.w.ask(version, req).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
}

func (c *txnClient) produce(topic string, partition int32, values ...string) {
	c.w.t.Helper()
	if c.version < 2 {
		if code := c.add(topic, partition); code != protocol.NONE {
			c.w.t.Fatalf("%s: add: %v", c.name, code)
		}
	}
	if code := c.tryProduce(topic, partition, values...); code != protocol.NONE {
		c.w.t.Fatalf("%s: produce: %v", c.name, code)
	}
}

func (c *txnClient) tryEnd(commit bool) protocol.ErrorCode {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = c.name, c.id, c.epoch, commit
	version := int16(4)
	if c.version >= 2 {
		version = 5
	}
	resp := c.w.ask(version, req).(*kmsg.EndTxnResponse)
	if c.version >= 2 && resp.ErrorCode == 0 {
		c.id, c.epoch, c.sequence = resp.ProducerID, resp.ProducerEpoch, map[string]int32{}
	}
	return protocol.ErrorCode(resp.ErrorCode)
}

func (c *txnClient) end(commit bool) {
	c.w.t.Helper()
	if code := c.tryEnd(commit); code != protocol.NONE {
		c.w.t.Fatalf("%s: end: %v", c.name, code)
	}
}

// fetchCommitted is a fetch with isolation level read_committed: its answer, and the values that a consumer would be shown.
func (w *wire) fetchCommitted(version int16, topic string, partition int32, offset int64, waitMillis int32) (*kmsg.FetchResponseTopicPartition, []string) {
	w.t.Helper()
	req := fetchRequest(topic, partition, offset, waitMillis)
	req.IsolationLevel = 1
	resp := &w.ask(version, req).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	return resp, shown(w.t, resp)
}

// shown is what a consumer makes of a read_committed answer.
func shown(t *testing.T, p *kmsg.FetchResponseTopicPartition) (values []string) {
	t.Helper()
	pending := slices.Clone(p.AbortedTransactions)
	aborted := map[int64]bool{}
	for rest := protocol.Batch(p.RecordBatches); len(rest) > 0; {
		b, more, err := protocol.NextBatch(rest)
		if err != nil {
			t.Fatal(err)
		}
		rest = more
		for i := 0; i < len(pending); i++ {
			if pending[i].FirstOffset <= b.LastOffset() {
				aborted[pending[i].ProducerID] = true
				pending = slices.Delete(pending, i, i+1)
				i--
			}
		}
		if b.IsControl() {
			if m, ok := protocol.ParseMarker(b); ok && !m.Commit {
				delete(aborted, m.ProducerID)
			}
			continue
		}
		if b.IsTransactional() && aborted[b.ProducerID()] {
			continue
		}
		var it protocol.Records
		var r protocol.Record
		it.Open(b, nil)
		for it.Next(&r) {
			values = append(values, string(r.Value))
		}
		it.Close()
	}
	return values
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}

// TestTransactions has clients of both kinds commit and abort, in partitions of one and of several cores, and reads what
// comes of it.
func TestTransactions(t *testing.T) {
	for _, cores := range []int{1, 2} {
		for _, version := range []int{0, 2} {
			t.Run(fmt.Sprintf("%d cores with transaction.version %d", cores, version), func(t *testing.T) {
				b := startTestBroker(t, "", setCores(cores))
				w := b.dial()
				w.createTopic("t", 4)
				c := b.txnClient("tx", version)
				other := b.txnClient("other", version)
				for p := range int32(4) {
					c.produce("t", p, "a1", "a2")
					other.produce("t", p, "open")
				}
				c.end(false)
				for p := range int32(4) {
					c.produce("t", p, "c1")
					c.produce("t", p, "c2", "c3")
				}
				resp, values := w.fetchCommitted(12, "t", 1, 0, 0)
				if len(values) != 0 || resp.LastStableOffset != 2 || resp.HighWatermark != 7 {
					t.Errorf("while a transaction is open: %q, last stable %d of %d", values, resp.LastStableOffset, resp.HighWatermark)
				}
				other.end(true)
				for p := range int32(4) {
					resp, values := w.fetchCommitted(12, "t", p, 0, 0)
					if fmt.Sprint(values) != "[open]" || len(resp.AbortedTransactions) != 1 {
						t.Errorf("before the commit: %q of %+v", values, resp)
					}
				}
				c.end(true)
				for p := range int32(4) {
					resp, values := w.fetchCommitted(12, "t", p, 0, 0)
					if fmt.Sprint(values) != "[open c1 c2 c3]" || resp.LastStableOffset != resp.HighWatermark {
						t.Errorf("in the end: %q, last stable %d of %d", values, resp.LastStableOffset, resp.HighWatermark)
					}
				}
			})
		}
	}
}

// TestPipelinedTransaction sends the batches of a transaction one behind the other without waiting: while the first is
// verified, those behind it keep their order.
func TestPipelinedTransaction(t *testing.T) {
	for _, cores := range []int{1, 2} {
		b := startTestBroker(t, "", setCores(cores))
		w := b.dial()
		w.createTopic("t", 2)
		for _, version := range []int{0, 2} {
			c := b.txnClient(fmt.Sprint("tx", version), version)
			if version == 0 {
				if code := c.add("t", 0, 1); code != protocol.NONE {
					t.Fatal(code)
				}
			}
			const requests = 20
			var sent []*kmsg.ProduceRequest
			for i := range requests {
				req, version := c.produceRequest("t", int32(i%2), fmt.Sprint(i), "x")
				req.SetVersion(version)
				c.w.send(req)
				sent = append(sent, req)
			}
			last := map[int32]int64{0: -1, 1: -1}
			for i, req := range sent {
				p := c.w.receive(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
				if p.ErrorCode != 0 || p.BaseOffset <= last[p.Partition] {
					t.Fatalf("%d cores, version %d, request %d: %v at %d behind %d", cores, version, i, protocol.ErrorCode(p.ErrorCode), p.BaseOffset, last[p.Partition])
				}
				last[p.Partition] = p.BaseOffset
			}
			c.end(true)
		}
	}
}

// TestCommittedFetchWakes: a read_committed fetch sleeps through appends of open transactions, and through others behind
// them, until the last stable offset moves.
func TestCommittedFetchWakes(t *testing.T) {
	for _, cores := range []int{1, 2} {
		b := startTestBroker(t, "", setCores(cores))
		w := b.dial()
		w.createTopic("t", 2)
		for p := range int32(2) {
			c := b.txnClient(fmt.Sprint("tx", p), 2)
			c.produce("t", p, "one")
			waits := b.dial()
			req := fetchRequest("t", p, 0, 10_000)
			req.IsolationLevel = 1
			req.SetVersion(12)
			begun := time.Now()
			waits.send(req)
			answered := make(chan *kmsg.FetchResponse)
			go func() { answered <- waits.receive(req).(*kmsg.FetchResponse) }()
			for range 5 {
				c.produce("t", p, "more")
				w.ask(9, produceRequest("t", p, testBatch(1, "plain")))
			}
			select {
			case resp := <-answered:
				t.Fatalf("%d cores: answered while the transaction is open: %+v", cores, resp.Topics[0].Partitions[0])
			case <-time.After(100 * time.Millisecond):
			}
			c.end(p == 0)
			resp := <-answered
			got := &resp.Topics[0].Partitions[0]
			if waited := time.Since(begun); waited > 5*time.Second || len(got.RecordBatches) == 0 || len(got.AbortedTransactions) != int(p) {
				t.Errorf("%d cores: after %v: %d bytes, aborted %v", cores, waited, len(got.RecordBatches), got.AbortedTransactions)
			}
		}
	}
}

// TestCommittedSession reads committed records in a fetch session, which tells a partition only when there is news.
func TestCommittedSession(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	w.createTopic("t", 2)
	c := b.txnClient("tx", 2)
	c.produce("t", 0, "aborted")
	c.end(false)
	c.produce("t", 0, "open")
	fetch := func(sessionID, epoch int32, offset int64) *kmsg.FetchResponse {
		req := fetchRequest("t", 0, offset, 0)
		req.IsolationLevel, req.SessionID, req.SessionEpoch = 1, sessionID, epoch
		if offset < 0 {
			req.Topics = nil
		}
		return w.ask(12, req).(*kmsg.FetchResponse)
	}
	resp := fetch(0, 0, 0)
	got := &resp.Topics[0].Partitions[0]
	if len(got.AbortedTransactions) != 1 || got.LastStableOffset != 2 || got.HighWatermark != 3 || len(shown(t, got)) != 0 {
		t.Fatalf("the first: %+v", got)
	}
	session := resp.SessionID
	if resp = fetch(session, 1, 2); len(resp.Topics) != 0 {
		t.Errorf("no news, but %+v", resp.Topics)
	}
	c.end(true)
	resp = fetch(session, 2, -1)
	if len(resp.Topics) != 1 || fmt.Sprint(shown(t, &resp.Topics[0].Partitions[0])) != "[open]" || len(resp.Topics[0].Partitions[0].AbortedTransactions) != 0 {
		t.Errorf("after the commit: %+v", resp.Topics)
	}
}

// TestManyAborted: a response with tens of thousands of aborted transactions stays within the size that was asked for, and a
// consumer that goes on gets past them all. The entries of closed segments are read from their files.
func TestManyAborted(t *testing.T) {
	b := startTestBroker(t, "", setCores(1))
	w := b.dial()
	w.createTopic("t", 1, "segment.bytes", "1048576")
	c := b.txnClient("tx", 2)
	n := 9000
	if testing.Short() {
		n = 3000
	}
	for i := range n {
		c.produce("t", 0, "x")
		c.end(i == n-1)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b = startTestBroker(t, b.dir, setCores(1))
	w = b.dial()
	offset, aborted, values := int64(0), 0, []string(nil)
	for offset < int64(2*n) {
		resp, some := w.fetchCommitted(12, "t", 0, offset, 0)
		if resp.ErrorCode != 0 || len(resp.RecordBatches) == 0 {
			t.Fatalf("at %d: %v", offset, protocol.ErrorCode(resp.ErrorCode))
		}
		if size := len(resp.RecordBatches); size > 1<<20 || len(resp.AbortedTransactions) > size/146+1 {
			t.Fatalf("at %d: %d bytes, %d aborted transactions", offset, size, len(resp.AbortedTransactions))
		}
		for rest := protocol.Batch(resp.RecordBatches); len(rest) > 0; {
			batch, more, err := protocol.NextBatch(rest)
			if err != nil {
				t.Fatal(err)
			}
			offset, rest = batch.NextOffset(), more
		}
		aborted += len(resp.AbortedTransactions)
		values = append(values, some...)
	}
	if aborted < n-1 || len(values) != 1 {
		t.Errorf("%d aborted transactions were told of, there are %d; shown are %q", aborted, n-1, values)
	}
}

// TestTransactionTimesOut: a transaction that is not ended is aborted when its time is up, after a restart too; its producer is
// fenced, and what it wrote is not shown.
func TestTransactionTimesOut(t *testing.T) {
	for _, restart := range []bool{false, true} {
		b := startTestBroker(t, "", setCores(2))
		w := b.dial()
		w.createTopic("t", 2)
		c := b.txnClient("tx", 2)
		if code := c.tryInit(700).ErrorCode; code != 0 {
			t.Fatal(protocol.ErrorCode(code))
		}
		c.epoch++
		begun := time.Now()
		c.produce("t", 0, "late")
		c.produce("t", 1, "late")
		if restart {
			if err := b.stop(); err != nil {
				t.Fatal(err)
			}
			b = startTestBroker(t, b.dir, setCores(2))
			c.w, w = b.dial(), b.dial()
		}
		for p := range int32(2) {
			eventually(t, "the transaction is aborted", func() bool {
				resp, values := w.fetchCommitted(12, "t", p, 0, 0)
				if len(values) > 0 {
					t.Fatalf("shown are %q", values)
				}
				return resp.LastStableOffset == 2
			})
		}
		if took := time.Since(begun); took < 600*time.Millisecond || took > 8*time.Second {
			t.Errorf("aborted after %v, its timeout is 700 ms", took)
		}
		if code := c.tryProduce("t", 0, "later"); code != protocol.INVALID_PRODUCER_EPOCH {
			t.Errorf("its producer goes on with %v", code)
		}
		if code := c.tryEnd(true); code != protocol.INVALID_TXN_STATE { // it looks like a retry, and was aborted
			t.Errorf("its producer commits with %v", code)
		}
	}
}

// TestTransactionOfDeletedTopic: a topic that is deleted in the middle of a transaction does not keep it from ending.
func TestTransactionOfDeletedTopic(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	w.createTopic("stays", 3)
	w.createTopic("goes", 3)
	c := b.txnClient("tx", 2)
	for p := range int32(3) {
		c.produce("stays", p, "x")
		c.produce("goes", p, "x")
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TopicNames, req.TimeoutMillis = []string{"goes"}, 10_000
	if code := w.ask(5, req).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; code != 0 {
		t.Fatal(protocol.ErrorCode(code))
	}
	c.end(true)
	for p := range int32(3) {
		if _, values := w.fetchCommitted(12, "stays", p, 0, 0); fmt.Sprint(values) != "[x]" {
			t.Errorf("partition %d: %q", p, values)
		}
	}
	c.produce("stays", 0, "y")
	c.end(true)
}

// TestTransactionOfManyPartitions: a transaction over thousands of partitions ends, and no turn is long for it.
func TestTransactionOfManyPartitions(t *testing.T) {
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	const partitions = 1500
	w.createTopic("wide", partitions)
	c := b.txnClient("tx", 0)
	var all []int32
	for p := range int32(partitions) {
		all = append(all, p)
	}
	if code := c.add("wide", all...); code != protocol.NONE {
		t.Fatal(code)
	}
	if code := c.tryProduce("wide", 7, "x"); code != protocol.NONE {
		t.Fatal(code)
	}
	c.end(true)
	eventually(t, "the transaction is complete", func() bool {
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.TransactionalIDs = []string{"tx"}
		return w.ask(0, req).(*kmsg.DescribeTransactionsResponse).TransactionStates[0].State == "CompleteCommit"
	})
	for _, p := range []int32{0, 7, partitions - 1} {
		if resp, _ := w.fetchCommitted(12, "wide", p, 0, 0); resp.LastStableOffset != resp.HighWatermark || resp.HighWatermark < 1 {
			t.Errorf("partition %d: stable %d of %d", p, resp.LastStableOffset, resp.HighWatermark)
		}
	}
}

// TestVerificationIsLive: transaction.partition.verification.enable is heeded as soon as it is changed.
func TestVerificationIsLive(t *testing.T) {
	b := startTestBroker(t, "", setCores(2), "node.id=1")
	w := b.dial()
	w.createTopic("t", 4)
	c := b.txnClient("tx", 0)
	off := "false"
	for partition, step := range []struct {
		value *string
		want  protocol.ErrorCode
	}{{nil, protocol.TRANSACTION_ABORTABLE}, {&off, protocol.NONE}, {nil, protocol.TRANSACTION_ABORTABLE}} {
		w.alterOne(kmsg.ConfigResourceTypeBroker, "1", "transaction.partition.verification.enable", step.value)
		if code := c.tryProduce("t", int32(partition), "not added"); code != step.want {
			t.Errorf("step %d: %v, want %v", partition, code, step.want)
		}
	}
}

// A client does not add Kafka's own topics to its transaction, or markers would be written into them.
func TestInternalTopicsAreNotAdded(t *testing.T) {
	b := startTestBroker(t, "")
	c := b.txnClient("tx", 2)
	c.w.createTopic("t", 1)
	if code := c.add("__transaction_state", 0); code != protocol.TOPIC_AUTHORIZATION_FAILED {
		t.Errorf("__transaction_state: %v", code)
	}
	if code := c.add("t", 0); code != protocol.NONE {
		t.Errorf("t: %v", code)
	}
	c.end(true)
}
