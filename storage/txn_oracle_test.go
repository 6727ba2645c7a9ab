package storage

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"flag"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// testdata/kafka-txn is a partition that Apache Kafka 4.3.1 wrote and closed (segment.ms=60000,
// index.interval.bytes=300), with transactions of clients of both kinds: some committed, some aborted, one still open; and fetches.json,
// what Kafka answered to consumers that read committed records only. Recorded anew with
//
//	KAFKA_ADDR=127.0.0.1:9092 KAFKA_DATA=DIR go test -run TestKafkaTransactions -record-txn
//
// against a fresh broker; then stop it (SIGTERM) and copy DIR/txn-0.
var recordTxn = flag.Bool("record-txn", false, "record testdata/kafka-txn anew from KAFKA_ADDR")

const goldenTxn = "testdata/kafka-txn/txn-0"

// recordedFetch is a Fetch with isolation level read_committed from an offset on, and what came of it.
type recordedFetch struct {
	From       int64
	End        int64 // behind the last batch
	LastStable int64
	Aborted    []AbortedTransaction
}

// TestKafkaTransactions gives us what Kafka was given, and expects the same directory byte for byte, .txnindex and snapshots
// included; then reads it as Kafka let it be read.
func TestKafkaTransactions(t *testing.T) {
	if *recordTxn {
		recordTransactions(t)
		return
	}
	var fetches []recordedFetch
	if err := json.Unmarshal(mustRead(t, "testdata/kafka-txn/fetches.json"), &fetches); err != nil {
		t.Fatal(err)
	}
	writers(t, func(t *testing.T, o StoreOptions) {
		dir := filepath.Join(t.TempDir(), "txn-0")
		r, p := rewriteTransactions(t, dir, o)
		checkFetches(t, r, p, fetches)
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
		sameDirs(t, goldenTxn, dir)
	})
	for _, clean := range []bool{true, false} {
		dir := filepath.Join(t.TempDir(), "txn-0")
		copyDir(t, goldenTxn, dir)
		r := newRig(t, StoreOptions{})
		p, report := r.open(dir, goldenTxnConfig(), OpenOptions{Clean: clean})
		if clean != (report.SegmentsScanned == 0) {
			t.Errorf("clean %v: %+v", clean, report)
		}
		checkFetches(t, r, p, fetches)
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
		for name := range listDir(t, goldenTxn) {
			if _, suffix, ok := parseFileName(name); ok && suffix == txnIndexSuffix && string(mustRead(t, goldenTxn, name)) != string(mustRead(t, dir, name)) {
				t.Errorf("clean %v: %s differs", clean, name)
			}
		}
	}
}

func goldenTxnConfig() Config {
	c := goldenConfig()
	c.ProducerIDMillis = 1 << 50
	return c
}

func rewriteTransactions(t *testing.T, dir string, o StoreOptions) (*rig, *Partition) {
	var batches []protocol.Batch
	for name := range logsOf(t, goldenTxn) {
		batches = append(batches, batchesOf(t, mustRead(t, goldenTxn, name))...)
	}
	k := newFaults()
	k.wall = batches[0].MaxTimestamp() * 1e6
	topicID, err := decodePartitionMetadata(mustRead(t, goldenTxn, partitionMetadataName))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Create(k, dir, TopicPartition{Topic: "txn", TopicID: topicID}, goldenTxnConfig(), 0)
	if err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, k, o)
	r.store.Adopt(p)
	for i, b := range batches {
		fresh := protocol.Batch(slices.Clone(b))
		fresh.SetBaseOffset(0)
		a := &appending{}
		a.Batch, a.Owner = r.memory(fresh), a
		if b.IsTransactional() && !b.IsControl() {
			var code protocol.ErrorCode
			if a.Verified, code = p.Verify(b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), false); code != protocol.NONE {
				t.Fatalf("batch %d is not verified: %v", i, code)
			}
		}
		if b.IsControl() {
			a.Origin = FromCoordinator
		}
		p.Append(&a.Append)
		r.until("it is answered", func() bool { return a.answered > 0 })
		if a.Err != protocol.NONE || a.BaseOffset != b.BaseOffset() {
			t.Fatalf("batch %d: %v at %d, Kafka gave %d", i, a.Err, a.BaseOffset, b.BaseOffset())
		}
	}
	return r, p
}

func checkFetches(t *testing.T, r *rig, p *Partition, fetches []recordedFetch) {
	t.Helper()
	for _, f := range fetches {
		if got := p.Offsets().LastStable; got != f.LastStable {
			t.Fatalf("the last stable offset is %d, Kafka says %d", got, f.LastStable)
		}
		q := Query{Offset: f.From, MaxBytes: 1 << 30, AtLeastOne: true, Committed: true}
		got, l, code := p.Plan(q, nil)
		for l != nil {
			r.until("a lookup is done", l.Done)
			got, l, code = p.Plan(q, l)
		}
		if code != protocol.NONE || got.Len > 0 && got.End != f.End || got.Len == 0 && f.End != f.From {
			t.Errorf("from %d: %v, to %d; Kafka reads to %d", f.From, code, got.End, f.End)
		}
		got.Release()
		// Kafka looks as far as the next index entry, which may be farther than what it sends.
		want := slices.DeleteFunc(inOrder(slices.Clone(f.Aborted)), func(a AbortedTransaction) bool { return a.FirstOffset >= f.End })
		if got := r.ask(p, f.From, f.End); !slices.Equal(got, want) {
			t.Errorf("aborted in [%d, %d): %v, Kafka says %v", f.From, f.End, got, want)
		}
	}
}

// kafka is a connection to a real broker.
type kafka struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	id   int32
}

func (k *kafka) do(req kmsg.Request) kmsg.Response {
	k.t.Helper()
	k.id++
	k.conn.SetDeadline(time.Now().Add(30 * time.Second))
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("recorder"))
	if _, err := k.conn.Write(f.AppendRequest(nil, req, k.id)); err != nil {
		k.t.Fatal(err)
	}
	var head [4]byte
	if _, err := io.ReadFull(k.r, head[:]); err != nil {
		k.t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(k.r, body); err != nil {
		k.t.Fatal(err)
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	body = body[4:]
	if resp.IsFlexible() {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		k.t.Fatal(err)
	}
	return resp
}

// client is a transactional producer of the recording; version 2: a new one.
type client struct {
	name     string
	version  int
	id       int64
	epoch    int16
	sequence int32
	open     bool
}

// recordTransactions has Kafka write the log, and asks it to read it.
func recordTransactions(t *testing.T) {
	conn, err := net.Dial("tcp", os.Getenv("KAFKA_ADDR"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	k := &kafka{t: t, conn: conn, r: bufio.NewReader(conn)}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = 5, 10000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "txn", 1, 1
	for name, value := range map[string]string{"segment.ms": "60000", "index.interval.bytes": "300"} {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
	}
	create.Topics = append(create.Topics, topic)
	if resp := k.do(create).(*kmsg.CreateTopicsResponse); resp.Topics[0].ErrorCode != 0 {
		t.Fatal(resp.Topics[0].ErrorCode)
	}
	k.initialize(&client{name: "nobody"}) // 0, which is no producer in a spec
	clients := []*client{{name: "new-1", version: 2}, {name: "old-1"}, {name: "new-2", version: 2}, {name: "old-2"}, {name: "open", version: 2}, nil}
	for _, c := range clients {
		if c != nil {
			k.initialize(c)
		}
	}
	rng := rand.New(rand.NewPCG(5, 5))
	now := time.Now().UnixMilli()
	for i := range 130 {
		c := clients[rng.IntN(len(clients))]
		at := now + int64(i)*4000
		switch {
		case c == nil:
			k.produce(nil, at, 1+rng.IntN(4))
		case c.open && rng.IntN(2) == 0 && (c.name != "open" || i < 60):
			k.end(c, rng.IntN(2) == 0)
		default:
			k.produce(c, at, 1+rng.IntN(4))
		}
	}
	for _, c := range clients {
		if c != nil && c.open && c.name != "open" {
			k.end(c, false)
		}
	}
	time.Sleep(500 * time.Millisecond)
	var fetches []recordedFetch
	for from := int64(0); ; from++ {
		f, ok := k.fetch(from)
		if !ok {
			break
		}
		fetches = append(fetches, f)
	}
	b, err := json.Marshal(fetches)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, "testdata/kafka-txn/fetches.json", append(b, '\n'))
}

func (k *kafka) initialize(c *client) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 4, &c.name, 900_000
	for range 100 {
		resp := k.do(req).(*kmsg.InitProducerIDResponse)
		if resp.ErrorCode == 0 {
			c.id, c.epoch = resp.ProducerID, resp.ProducerEpoch
			return
		}
		time.Sleep(200 * time.Millisecond)
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.Version, find.CoordinatorType, find.CoordinatorKey = 2, 1, c.name
		k.do(find)
	}
	k.t.Fatalf("no producer for %s", c.name)
}

// produce sends a batch; one of a client begins its transaction if it must.
func (k *kafka) produce(c *client, at int64, records int) {
	s := spec{records: records, value: 60, timestamp: at}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 10000
	if c != nil {
		s.producer, s.epoch, s.sequence, s.attrs = c.id, c.epoch, c.sequence, protocol.AttrTransactional
		c.sequence += int32(records)
		req.TransactionID = &c.name
		if c.version == 2 {
			req.Version = 12
		} else if !c.open {
			add := kmsg.NewPtrAddPartitionsToTxnRequest()
			add.Version, add.TransactionalID, add.ProducerID, add.ProducerEpoch = 3, c.name, c.id, c.epoch
			add.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "txn", Partitions: []int32{0}}}
			k.again(func() int16 {
				return k.do(add).(*kmsg.AddPartitionsToTxnResponse).Topics[0].Partitions[0].ErrorCode
			})
		}
		c.open = true
	}
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = s.batch()
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = "txn", []kmsg.ProduceRequestTopicPartition{part}
	req.Topics = []kmsg.ProduceRequestTopic{topic}
	k.again(func() int16 {
		code := k.do(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
		if code != 0 {
			k.t.Logf("%+v: %v", c, protocol.ErrorCode(code))
		}
		return code
	})
}

func (k *kafka) end(c *client, commit bool) {
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = 4, c.name, c.id, c.epoch, commit
	if c.version == 2 {
		req.Version = 5
	}
	k.again(func() int16 {
		resp := k.do(req).(*kmsg.EndTxnResponse)
		if c.version == 2 && resp.ErrorCode == 0 {
			c.id, c.epoch, c.sequence = resp.ProducerID, resp.ProducerEpoch, 0
		}
		if resp.ErrorCode != 0 {
			k.t.Logf("end of %+v: %v", c, protocol.ErrorCode(resp.ErrorCode))
		}
		return resp.ErrorCode
	})
	c.open = false
	time.Sleep(20 * time.Millisecond) // the marker is written
}

// again asks until it is answered well.
func (k *kafka) again(do func() int16) {
	k.t.Helper()
	code := int16(0)
	for range 100 {
		if code = do(); code == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	k.t.Fatal(protocol.ErrorCode(code))
}

func (k *kafka) fetch(from int64) (recordedFetch, bool) {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.IsolationLevel = 12, math.MaxInt32, 1
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes = from, math.MaxInt32
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.Partitions = "txn", []kmsg.FetchRequestTopicPartition{part}
	req.Topics = []kmsg.FetchRequestTopic{topic}
	resp := &k.do(req).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if resp.ErrorCode != 0 || from > resp.LastStableOffset {
		return recordedFetch{}, false
	}
	f := recordedFetch{From: from, End: from, LastStable: resp.LastStableOffset, Aborted: []AbortedTransaction{}}
	for _, a := range resp.AbortedTransactions {
		f.Aborted = append(f.Aborted, AbortedTransaction{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset})
	}
	for data := resp.RecordBatches; len(data) > 0; {
		b, rest, err := protocol.NextBatch(data)
		if err != nil {
			break
		}
		f.End, data = b.NextOffset(), rest
	}
	return f, true
}
