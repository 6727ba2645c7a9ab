package protocol

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// testdata/produce_oracle.json is what an Apache Kafka 4.3.1 answered to crafted Produce requests. To ask again:
//
//	SLIPSTREAM_KAFKA=127.0.0.1:9092 go test ./protocol -run TestProduceOracle
const (
	oracleFile    = "testdata/produce_oracle.json"
	oracleAddress = "SLIPSTREAM_KAFKA"
)

// oracleAnswer is one crafted records field and what Kafka said.
type oracleAnswer struct {
	Name    string
	Topic   string // see oracleTopics
	Version int16
	Records []byte // as sent; null if null

	Code    string // "closed" if the connection was closed without an answer
	Message string `json:",omitempty"`
	Errors  []oracleRecordError
	// Stored is what a Fetch gave back, base offset and leader epoch zeroed, log append time set to oracleNow.
	Stored []byte `json:",omitempty"`
}

type oracleRecordError struct {
	Index   int32
	Message string
}

// oracleTopics are the topics by name, as their settings and as our rules.
var oracleTopics = map[string]struct {
	configs map[string]string
	rules   func(*Rules)
}{
	"plain":   {nil, func(*Rules) {}},
	"compact": {map[string]string{"cleanup.policy": "compact"}, func(r *Rules) { r.Compacted = true }},
	"append":  {map[string]string{"message.timestamp.type": "LogAppendTime"}, func(r *Rules) { r.TimestampType = LogAppendTime }},
	"before":  {map[string]string{"message.timestamp.before.max.ms": "1000"}, func(r *Rules) { r.TimestampBeforeMaxMillis = 1000 }},
	"small":   {map[string]string{"max.message.bytes": "300"}, func(r *Rules) { r.MaxMessageBytes = 300 }},
}

// allowedRange is the part of Kafka's message about timestamps that depends on the time of day.
var allowedRange = regexp.MustCompile(`\[-?\d+, -?\d+\]`)

// TestProduceOracle compares our answer to each crafted batch with the one that Kafka gave, and for
// the accepted ones the bytes that were stored.
func TestProduceOracle(t *testing.T) {
	if addr := os.Getenv(oracleAddress); addr != "" {
		askProduceOracle(t, addr)
	}
	var answers []oracleAnswer
	data, err := os.ReadFile(oracleFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &answers); err != nil {
		t.Fatal(err)
	}
	recorded := map[string]bool{}
	for _, a := range answers {
		recorded[a.Name] = true
		t.Run(a.Name, func(t *testing.T) { compareWithOracle(t, &a) })
	}
	for _, c := range craftedBatches() {
		if !recorded[c.Name] {
			t.Errorf("%s: never asked of a real Kafka", c.Name)
		}
	}
}

// departure tells where we mean to answer differently from Kafka, and what.
func departure(a *oracleAnswer) (ErrorCode, bool) {
	codec, fault, _ := strings.Cut(a.Name, ": ")
	switch {
	case codec == "none" && strings.HasPrefix(fault, "offset delta"):
		// Kafka stores the batch. Its offsets would go back or leave the batch's range.
		return INVALID_RECORD, true
	case codec != "none" && strings.Contains(fault, "record length") && a.Code == "NONE",
		a.Name == "snappy: broken in the middle":
		// Kafka does not look at the lengths of compressed records, and stores what no consumer can read.
		return INVALID_RECORD, true
	case a.Name == "null records":
		// Kafka fails and never answers. Null is treated as empty.
		return INVALID_RECORD, true
	case strings.Contains(a.Name, "transactional"):
		// That the request has no transactional id is for the broker to see.
		return checkedAs(a.Name), true
	}
	return NONE, false
}

func checkedAs(name string) ErrorCode {
	if strings.HasPrefix(name, "control") {
		return INVALID_RECORD
	}
	return NONE
}

const oracleNow = int64(1_764_000_000_000)

func compareWithOracle(t *testing.T, a *oracleAnswer) {
	rules := DefaultRules()
	rules.MaxMessageBytes = 200_000_000
	rules.Partition = "oracle-" + a.Topic + "-0"
	oracleTopics[a.Topic].rules(&rules)
	sent := append([]byte(nil), a.Records...)
	b, code := CheckProduced(sent, a.Version, &rules)
	var v Verdict
	if code == CORRUPT_MESSAGE && a.Version >= 8 {
		v.Message = ExplainCorrupt(sent)
	}
	if code == NONE {
		if b.Codec() == None {
			v = CheckRecords(b, &rules, oracleNow)
		} else {
			v = CheckCompressed(b, &rules, oracleNow, new(Scratch))
		}
		code = v.Code
	}
	if ours, ok := departure(a); ok {
		if code != ours {
			t.Fatalf("we say %v, meant to say %v; Kafka %s", code, ours, a.Code)
		}
		return
	}
	if code.String() != a.Code {
		t.Fatalf("we say %v, Kafka %s", code, a.Code)
	}
	if len(v.Errors) != len(a.Errors) {
		t.Fatalf("we name %v, Kafka %v", v.Errors, a.Errors)
	}
	for i, e := range v.Errors {
		if e.BatchIndex != a.Errors[i].Index || allowedRange.ReplaceAllString(e.Message, "RANGE") != a.Errors[i].Message {
			t.Errorf("we name %v, Kafka %v", e, a.Errors[i])
		}
	}
	if got := allowedRange.ReplaceAllString(v.Message, "RANGE"); got != a.Message {
		t.Errorf("we say  %q,\nKafka %q", got, a.Message)
	}
	if code != NONE {
		return
	}
	v.Settle(b, &rules, oracleNow)
	b.SetLeaderEpoch(0)
	if string(b) != string(a.Stored) {
		t.Errorf("we store\n%x\nKafka\n%x", []byte(b), a.Stored)
	}
}

// askProduceOracle writes oracleFile anew from the answers of the Kafka at addr.
func askProduceOracle(t *testing.T, addr string) {
	o := dialOracle(t, addr)
	ids := map[string][16]byte{}
	var names []string
	for name := range oracleTopics {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		ids[name] = o.createTopic(t, "oracle-"+name, oracleTopics[name].configs)
	}
	var answers []oracleAnswer
	for _, c := range craftedBatches() {
		c.ask(t, o, ids[c.Topic])
		answers = append(answers, c)
	}
	data, err := json.MarshalIndent(answers, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(oracleFile, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ask sends the batch and fills in the answer.
func (a *oracleAnswer) ask(t *testing.T, o *oracle, id [16]byte) {
	t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(a.Version)
	req.Acks, req.TimeoutMillis = -1, 5000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = "oracle-"+a.Topic, id
	part := kmsg.NewProduceRequestTopicPartition()
	part.Records = a.Records
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := o.request(req)
	if err != nil {
		a.Code = "closed"
		o.redial(t)
		return
	}
	p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	a.Code = ErrorCode(p.ErrorCode).String()
	if p.ErrorMessage != nil {
		a.Message = allowedRange.ReplaceAllString(*p.ErrorMessage, "RANGE")
	}
	for _, e := range p.ErrorRecords {
		re := oracleRecordError{Index: e.RelativeOffset}
		if e.ErrorMessage != nil {
			re.Message = allowedRange.ReplaceAllString(*e.ErrorMessage, "RANGE")
		}
		a.Errors = append(a.Errors, re)
	}
	if p.ErrorCode == 0 {
		a.Stored = o.fetch(t, "oracle-"+a.Topic, p.BaseOffset)
		if a.Topic == "append" { // the time of day went into it
			stored := Batch(a.Stored)
			stored.SetTimestamps(stored.TimestampType(), oracleNow)
		}
	}
}

// fetch returns what is stored from offset on, with base offset and leader epoch zeroed.
func (o *oracle) fetch(t *testing.T, name string, offset int64) []byte {
	t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(11)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 1000, 1, 1<<20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = name
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes = offset, 1<<20
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := o.request(req)
	if err != nil {
		t.Fatalf("fetching %s at %d: %v", name, offset, err)
	}
	stored := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
	if len(stored) >= 16 {
		binary.BigEndian.PutUint64(stored, 0)
		binary.BigEndian.PutUint32(stored[12:], 0)
	}
	return stored
}
