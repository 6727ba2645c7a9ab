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
