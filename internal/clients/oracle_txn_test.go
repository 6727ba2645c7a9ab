package clients

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"slipstream/internal/clients/harness"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the scripts about transactions share. A transaction's state moves on by itself once it is ended; scripts wait for
// that outside the script (settle), so that both brokers are asked in the same state.

// transactor is a transactional producer of a script.
type transactor struct {
	s        *script
	name     string
	id       int64
	epoch    int16
	sequence map[string]int32
}

// must asks outside the script until the answer has no error that passes by itself.
func (s *script) must(version int16, req kmsg.Request, code func(kmsg.Response) int16) kmsg.Response {
	s.t.Helper()
	req.SetVersion(version)
	for range 200 {
		resp, err := s.w.Do(req, 10*time.Second)
		if err != nil {
			s.t.Fatal(err)
		}
		switch c := protocol.ErrorCode(code(resp)); c {
		case protocol.NONE:
			return resp
		case protocol.COORDINATOR_LOAD_IN_PROGRESS, protocol.NOT_COORDINATOR, protocol.COORDINATOR_NOT_AVAILABLE, protocol.CONCURRENT_TRANSACTIONS:
		default:
			s.t.Fatalf("key %d: %v", req.Key(), c)
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("key %d: no good answer within ten seconds", req.Key())
	return nil
}

func initTransactional(name string, id int64, epoch int16) *kmsg.InitProducerIDRequest {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = &name, 60_000, id, epoch
	return req
}

// transactor initializes a producer, outside the script.
func (s *script) transactor(name string) *transactor {
	s.t.Helper()
	x := &transactor{s: s, name: name}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorType, find.CoordinatorKey = 1, name
	s.must(2, find, func(r kmsg.Response) int16 { return r.(*kmsg.FindCoordinatorResponse).ErrorCode })
	x.init()
	return x
}

func (x *transactor) init() {
	x.s.t.Helper()
	resp := x.s.must(4, initTransactional(x.name, -1, -1), func(r kmsg.Response) int16 { return r.(*kmsg.InitProducerIDResponse).ErrorCode })
	x.adopt(resp.(*kmsg.InitProducerIDResponse))
}

func (x *transactor) adopt(r *kmsg.InitProducerIDResponse) {
	x.id, x.epoch, x.sequence = r.ProducerID, r.ProducerEpoch, map[string]int32{}
}

func (x *transactor) adding(topic string, partitions ...int32) *kmsg.AddPartitionsToTxnRequest {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = x.name, x.id, x.epoch
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: partitions}}
	return req
}

// addingAsBroker is the same as brokers ask it, from version 4 on.
func (x *transactor) addingAsBroker(verifyOnly bool, topic string, partitions ...int32) *kmsg.AddPartitionsToTxnRequest {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	t := kmsg.NewAddPartitionsToTxnRequestTransaction()
	t.TransactionalID, t.ProducerID, t.ProducerEpoch, t.VerifyOnly = x.name, x.id, x.epoch, verifyOnly
	t.Topics = []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: topic, Partitions: partitions}}
	req.Transactions = append(req.Transactions, t)
	return req
}

// add adds a partition outside the script.
func (x *transactor) add(topic string, partition int32) {
	x.s.t.Helper()
	x.s.must(3, x.adding(topic, partition), func(r kmsg.Response) int16 {
		return r.(*kmsg.AddPartitionsToTxnResponse).Topics[0].Partitions[0].ErrorCode
	})
}

func (x *transactor) ending(commit bool) *kmsg.EndTxnRequest {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = x.name, x.id, x.epoch, commit
	return req
}

// end ends a transaction outside the script, and waits for its markers.
func (x *transactor) end(version int16, commit bool) {
	x.s.t.Helper()
	resp := x.s.must(version, x.ending(commit), func(r kmsg.Response) int16 { return r.(*kmsg.EndTxnResponse).ErrorCode }).(*kmsg.EndTxnResponse)
	if version >= 5 {
		x.id, x.epoch, x.sequence = resp.ProducerID, resp.ProducerEpoch, map[string]int32{}
	}
	x.settle()
}

// settle waits until the transaction's markers are written.
func (x *transactor) settle() {
	x.s.t.Helper()
	for range 500 {
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.TransactionalIDs = []string{x.name}
		resp, err := x.s.w.Do(req, 10*time.Second)
		if err != nil {
			x.s.t.Fatal(err)
		}
		if !strings.HasPrefix(resp.(*kmsg.DescribeTransactionsResponse).TransactionStates[0].State, "Prepare") {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	x.s.t.Fatalf("%s does not settle", x.name)
}

// batch is the producer's next in a partition.
func (x *transactor) batch(topic string, partition int32, values ...string) []byte {
	b := harness.NewBatch(values...)
	place := fmt.Sprint(topic, "-", partition)
	b.ProducerID, b.Epoch, b.Sequence, b.Attributes = x.id, x.epoch, x.sequence[place], int16(protocol.AttrTransactional)
	x.sequence[place] += int32(len(values))
	return b.Bytes()
}

func (x *transactor) producing(version int16, topic string, partition int32, batch []byte) *kmsg.ProduceRequest {
	req := harness.Produce(version, topic, [16]byte{}, partition, -1, batch)
	req.TransactionID = &x.name
	return req
}

// produce produces outside the script.
func (x *transactor) produce(version int16, topic string, partition int32, values ...string) {
	x.s.t.Helper()
	x.s.must(version, x.producing(version, topic, partition, x.batch(topic, partition, values...)), func(r kmsg.Response) int16 {
		return r.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
	})
}

// sortPartitions puts the partitions in the last answer in order, which means nothing there.
func (s *script) sortPartitions() { sortPartitions(s.done[len(s.done)-1].Answer) }

func sortPartitions(v any) {
	switch v := v.(type) {
	case map[string]any:
		for field, of := range v {
			if list, ok := of.([]any); ok && field == "Partitions" {
				sort.SliceStable(list, func(i, j int) bool { return partitionKey(list[i]) < partitionKey(list[j]) })
				continue
			}
			sortPartitions(of)
		}
	case []any:
		for _, of := range v {
			sortPartitions(of)
		}
	}
}

func partitionKey(v any) string {
	if m, ok := v.(map[string]any); ok {
		v = m["Partition"]
	}
	return fmt.Sprintf("%05d", v)
}

// askBatches is ask for a fetch, whose records are told batch by batch: what is drawn has a name, the time of a marker is
// left out.
func (s *script) askBatches(what string, version int16, req *kmsg.FetchRequest) {
	s.t.Helper()
	resp, ok := s.ask(what, version, req).(*kmsg.FetchResponse)
	if !ok {
		return
	}
	answer := s.done[len(s.done)-1].Answer.(map[string]any)
	topics := answer["Topics"].([]any)
	for i := range resp.Topics {
		partitions := topics[i].(map[string]any)["Partitions"].([]any)
		for j := range resp.Topics[i].Partitions {
			partitions[j].(map[string]any)["RecordBatches"] = s.batches(resp.Topics[i].Partitions[j].RecordBatches)
		}
	}
}

func (s *script) batches(data []byte) any {
	out := []any{}
	for rest := protocol.Batch(data); len(rest) > 0; {
		b, more, err := protocol.NextBatch(rest)
		if err != nil || b == nil {
			return append(out, fmt.Sprint("cut short: ", err))
		}
		rest = more
		text := fmt.Sprintf("%d-%d, %d bytes, attributes %#x, leader epoch %d, %v epoch %d sequence %d", b.BaseOffset(), b.LastOffset(), len(b),
			b.Attributes(), b.LeaderEpoch(), name(s.norm.producers, b.ProducerID(), "producer"), b.ProducerEpoch(), b.BaseSequence())
		if m, ok := protocol.ParseMarker(b); ok {
			text += fmt.Sprintf(", a marker: commit %v, coordinator epoch %d", m.Commit, m.CoordinatorEpoch)
		}
		if !b.ValidCRC() {
			text += ", wrong CRC"
		}
		out = append(out, text)
	}
	return out
}
