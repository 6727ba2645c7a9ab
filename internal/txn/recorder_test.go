package txn

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A recorder asks a real Kafka what a script asks. The broker must be fresh and have
//
//	transaction.state.log.num.partitions=5   offsets.topic.num.partitions=5
//	transaction.abort.timed.out.transaction.cleanup.interval.ms=200
type recorder struct {
	producers
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	id   int32
}

const (
	statePartitions   = 5
	offsetsPartitions = 5
)

func record(t *testing.T) func(string) string {
	addr := os.Getenv("KAFKA_ADDR")
	if addr == "" {
		t.Fatal("-record needs KAFKA_ADDR, the address of an Apache Kafka 4.3.1")
	}
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	b := &recorder{t: t, conn: conn, r: bufio.NewReader(conn)}
	b.prepare()
	return b.run
}

// prepare makes the topics that scripts use, and the two of the coordinators.
func (b *recorder) prepare() {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 10000
	for name, partitions := range map[string]int32{"a": 4, "b": 4} {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
		req.Topics = append(req.Topics, topic)
	}
	b.do(req)
	for kind, key := range []string{"a-group", "an-id"} {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.Version, find.CoordinatorType, find.CoordinatorKey = 2, int8(kind), key
		for range 50 {
			if resp := b.do(find).(*kmsg.FindCoordinatorResponse); resp.ErrorCode == 0 {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	// until the coordinator has loaded its partitions
	for i := range 100 {
		resp := b.do(b.parseRequest(b.t, fmt.Sprintf("init warm-%d", i))).(*kmsg.InitProducerIDResponse)
		if resp.ErrorCode != 0 {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func (b *recorder) run(line string) string {
	w := strings.Fields(line)
	switch w[0] {
	case "wait":
		n, _ := strconv.Atoi(w[1])
		time.Sleep(time.Duration(n) * time.Millisecond)
		return ""
	case "log":
		return b.log(w[1])
	case "exhaust":
		to, _ := strconv.Atoi(w[2])
		req := b.parseRequest(b.t, "init "+w[1])
		for {
			resp := b.do(req).(*kmsg.InitProducerIDResponse)
			if resp.ErrorCode != 0 || int(resp.ProducerEpoch) >= to {
				return b.printResponse(resp)
			}
		}
	}
	out := b.printResponse(b.do(b.parseRequest(b.t, line)))
	if w[0] != "list" && w[1] != `""` {
		b.settle(w[1])
	}
	return out
}

// settle waits until the id's markers are written.
func (b *recorder) settle(id string) {
	req := b.parseRequest(b.t, "describe "+id)
	for range 500 {
		state := b.do(req).(*kmsg.DescribeTransactionsResponse).TransactionStates[0].State
		if !strings.HasPrefix(state, "Prepare") {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	b.t.Fatalf("%s does not settle", id)
}

// log reads the id's records from __transaction_state.
func (b *recorder) log(id string) string {
	var out []string
	golden := ""
	p := PartitionFor(id, statePartitions)
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.MinBytes = 12, 64<<20, 0
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.PartitionMaxBytes = p, 64<<20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.Partitions = "__transaction_state", []kmsg.FetchRequestTopicPartition{part}
	req.Topics = []kmsg.FetchRequestTopic{topic}
	resp := b.do(req).(*kmsg.FetchResponse)
	data := resp.Topics[0].Partitions[0].RecordBatches
	for len(data) > 0 {
		batch, rest, err := protocol.NextBatch(data)
		if err != nil {
			break
		}
		data = rest
		var it protocol.Records
		var r protocol.Record
		it.Open(batch, nil)
		for it.Next(&r) {
			of, err := decodeKey(r.Key)
			if err != nil {
				b.t.Fatal(err)
			}
			if of != id {
				continue
			}
			out = append(out, b.printRecordBytes(b.t, r.Key, r.Value))
			golden += fmt.Sprintf("%x %x\n", r.Key, r.Value)
		}
		it.Close()
	}
	if len(out) < 50 {
		appendGolden(b.t, golden)
	}
	return shorten(out)
}

// shorten leaves out the middle of a long list.
func shorten(lines []string) string {
	if n := len(lines); n > 20 {
		lines = append(append(lines[:2:2], fmt.Sprintf("... (%d more)", n-8)), lines[n-6:]...)
	}
	return strings.Join(lines, "\n")
}

func (p *producers) printRecordBytes(t *testing.T, key, value []byte) string {
	if value == nil {
		return "forgotten"
	}
	m, err := decodeValue(value)
	if err != nil {
		t.Fatalf("%x: %v", value, err)
	}
	return p.printRecord(&m)
}

// appendGolden keeps the records' bytes for TestApacheRecords, each once.
func appendGolden(t *testing.T, lines string) {
	const path = "testdata/apache-records.txt"
	b, _ := os.ReadFile(path)
	for line := range strings.Lines(lines) {
		if !strings.Contains(string(b), line) {
			b = append(b, line...)
		}
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (b *recorder) do(req kmsg.Request) kmsg.Response {
	b.t.Helper()
	b.id++
	b.conn.SetDeadline(time.Now().Add(30 * time.Second))
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("script"))
	if _, err := b.conn.Write(f.AppendRequest(nil, req, b.id)); err != nil {
		b.t.Fatal(err)
	}
	var head [4]byte
	if _, err := io.ReadFull(b.r, head[:]); err != nil {
		b.t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(b.r, body); err != nil {
		b.t.Fatal(err)
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	body = body[4:]
	if resp.IsFlexible() {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		b.t.Fatal(err)
	}
	return resp
}
