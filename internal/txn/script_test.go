package txn

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"slipstream/internal/script"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Scripts: files of blocks, each some lines, "----", and what came of them. Blocks are separated by an empty
// line; lines that start with # before them belong to the story.
//
//	testdata/apache/*.txt  requests and the answers of a real Kafka 4.3.1. Recorded anew with
//	                       KAFKA_ADDR=127.0.0.1:9092 go test -run TestApacheAnswers -record
//	                       against a fresh broker (see recorder_test.go); otherwise replayed against
//	                       the coordinator, which must answer the same.
//	testdata/story/*.txt   all that a coordinator does. Rewritten with go test -run TestStories -rewrite;
//	                       reviewers read the diff.
//
// What both can say; every command is one line, several in a block are answered in order:
//
//	init ID [timeout=MS] [producer=P/EPOCH] [vN]
//	add ID P/EPOCH TOPIC-PARTITION... [vN]      verify ID P/EPOCH TOPIC-PARTITION... [vN]
//	offsets ID P/EPOCH GROUP [vN]
//	end ID P/EPOCH commit|abort [vN]
//	describe ID            list [state=S,...] [producer=P,...] [longer=MS] [pattern=RE] [vN]
//	log ID                 its records, the oldest first
//	wait MS                time passes
//	exhaust ID EPOCH       new epochs until this one
//
// Producer ids are written P1, P2, ... in the order in which they appear, P? is one that nobody has.
var (
	recordAnswers  = flag.Bool("record", false, "record testdata/apache anew from KAFKA_ADDR")
	rewriteStories = flag.Bool("rewrite", false, "rewrite testdata/story")
)

// forEachScript plays scripts line by line: what came of a block is what came of its lines.
func forEachScript(t *testing.T, dir string, rewrite bool, start func(t *testing.T) func(line string) string) {
	script.Play(t, dir, rewrite, func(t *testing.T) func([]string) string {
		do := start(t)
		return func(input []string) string {
			var outs []string
			for _, line := range input {
				if out := do(line); out != "" {
					outs = append(outs, out)
				}
			}
			return strings.Join(outs, "\n")
		}
	})
}

// producers gives producer ids the names that scripts use.
type producers struct{ ids []int64 }

func (p *producers) name(id int64) string {
	if id == -1 {
		return "-"
	}
	for i, known := range p.ids {
		if known == id {
			return fmt.Sprintf("P%d", i+1)
		}
	}
	p.ids = append(p.ids, id)
	return fmt.Sprintf("P%d", len(p.ids))
}

func (p *producers) id(t *testing.T, name string) int64 {
	if name == "P?" {
		return 1 << 40
	}
	i, err := strconv.Atoi(strings.TrimPrefix(name, "P"))
	if err != nil || i < 1 || i > len(p.ids) {
		t.Fatalf("no producer %q", name)
	}
	return p.ids[i-1]
}

// parse reads P/EPOCH.
func (p *producers) parse(t *testing.T, s string) (int64, int16) {
	name, epoch, ok := strings.Cut(s, "/")
	if !ok {
		t.Fatalf("%q is not P/EPOCH", s)
	}
	n, err := strconv.ParseInt(epoch, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	if name == "-" {
		return -1, int16(n)
	}
	return p.id(t, name), int16(n)
}

func (p *producers) print(id int64, epoch int16) string {
	if id == -1 && epoch == -1 {
		return "-"
	}
	return fmt.Sprintf("%s/%d", p.name(id), epoch)
}

func parsePartitions(t *testing.T, words []string) (out []TopicPartition) {
	for _, w := range words {
		i := strings.LastIndexByte(w, '-')
		n, err := strconv.Atoi(w[i+1:])
		if i < 0 || err != nil {
			t.Fatalf("%q is not TOPIC-PARTITION", w)
		}
		out = append(out, TopicPartition{w[:i], int32(n)})
	}
	return out
}

func printPartitions(list []TopicPartition) string {
	var out []string
	for _, p := range list {
		out = append(out, fmt.Sprintf("%s-%d", p.Topic, p.Partition))
	}
	return strings.Join(out, " ")
}

// options takes NAME=VALUE and vN words off a command.
func options(words []string) (rest []string, opts map[string]string) {
	opts = map[string]string{}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok {
			opts[k] = v
		} else if len(w) > 1 && w[0] == 'v' && strings.Trim(w[1:], "0123456789") == "" {
			opts["v"] = w[1:]
		} else {
			rest = append(rest, w)
		}
	}
	return rest, opts
}

// parseRequest makes a command into the request that it is.
func (p *producers) parseRequest(t *testing.T, line string) kmsg.Request {
	t.Helper()
	w, opts := options(strings.Fields(line))
	number := func(s string, otherwise int64) int64 {
		if s == "" {
			return otherwise
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range w {
		w[i] = strings.Replace(w[i], `""`, "", 1)
	}
	var req kmsg.Request
	newest := int16(99)
	switch w[0] {
	case "init":
		r := kmsg.NewPtrInitProducerIDRequest()
		r.TransactionalID = &w[1]
		r.TransactionTimeoutMillis = int32(number(opts["timeout"], 60000))
		if s := opts["producer"]; s != "" {
			r.ProducerID, r.ProducerEpoch = p.parse(t, s)
		}
		req = r
	case "add", "verify":
		req, newest = p.parseAdd(t, w, opts)
	case "offsets":
		r := kmsg.NewPtrAddOffsetsToTxnRequest()
		r.TransactionalID, r.Group = w[1], w[3]
		r.ProducerID, r.ProducerEpoch = p.parse(t, w[2])
		req = r
	case "end":
		r := kmsg.NewPtrEndTxnRequest()
		r.TransactionalID, r.Commit = w[1], w[3] == "commit"
		r.ProducerID, r.ProducerEpoch = p.parse(t, w[2])
		req = r
	case "describe":
		r := kmsg.NewPtrDescribeTransactionsRequest()
		r.TransactionalIDs = w[1:]
		req = r
	case "list":
		r := kmsg.NewPtrListTransactionsRequest()
		if s := opts["state"]; s != "" {
			r.StateFilters = strings.Split(s, ",")
		}
		if s := opts["producer"]; s != "" {
			for _, name := range strings.Split(s, ",") {
				r.ProducerIDFilters = append(r.ProducerIDFilters, p.id(t, name))
			}
		}
		r.DurationFilterMillis = number(opts["longer"], -1)
		if s, ok := opts["pattern"]; ok {
			r.TransactionalIDPattern = &s
		}
		req = r
	default:
		t.Fatalf("unknown command %q", line)
	}
	req.SetVersion(int16(number(opts["v"], int64(min(newest, req.MaxVersion())))))
	return req
}

func (p *producers) parseAdd(t *testing.T, w []string, opts map[string]string) (kmsg.Request, int16) {
	r := kmsg.NewPtrAddPartitionsToTxnRequest()
	r.TransactionalID = w[1]
	r.ProducerID, r.ProducerEpoch = p.parse(t, w[2])
	for _, tp := range parsePartitions(t, w[3:]) {
		r.Topics = append(r.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: tp.Topic, Partitions: []int32{tp.Partition}})
	}
	if v := opts["v"]; v != "4" && v != "5" && w[0] == "add" {
		return r, 3
	}
	tx := kmsg.NewAddPartitionsToTxnRequestTransaction()
	tx.TransactionalID, tx.ProducerID, tx.ProducerEpoch = r.TransactionalID, r.ProducerID, r.ProducerEpoch
	tx.VerifyOnly = w[0] == "verify"
	for _, topic := range r.Topics {
		tx.Topics = append(tx.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic(topic))
	}
	r.Transactions = append(r.Transactions, tx)
	return r, 5
}

func code(n int16) string { return protocol.ErrorCode(n).String() }

// printResponse writes a response in one line, a list in several.
func (p *producers) printResponse(resp kmsg.Response) string {
	switch r := resp.(type) {
	case *kmsg.InitProducerIDResponse:
		return code(r.ErrorCode) + " " + p.print(r.ProducerID, r.ProducerEpoch)
	case *kmsg.AddPartitionsToTxnResponse:
		return printAdded(r)
	case *kmsg.AddOffsetsToTxnResponse:
		return code(r.ErrorCode)
	case *kmsg.EndTxnResponse:
		if r.Version < 5 {
			return code(r.ErrorCode)
		}
		return code(r.ErrorCode) + " " + p.print(r.ProducerID, r.ProducerEpoch)
	case *kmsg.DescribeTransactionsResponse:
		return p.printDescription(&r.TransactionStates[0])
	case *kmsg.ListTransactionsResponse:
		out := code(r.ErrorCode)
		if len(r.UnknownStateFilters) > 0 {
			out += " unknown states " + strings.Join(r.UnknownStateFilters, ",")
		}
		var lines []string
		for _, s := range r.TransactionStates {
			lines = append(lines, fmt.Sprintf("%s %s %s", s.TransactionalID, p.name(s.ProducerID), s.TransactionState))
		}
		return strings.Join(append([]string{out}, sorted(lines)...), "\n")
	}
	return fmt.Sprintf("%T", resp)
}

func printAdded(r *kmsg.AddPartitionsToTxnResponse) string {
	var codes []string
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			codes = append(codes, fmt.Sprintf("%s-%d %s", topic.Topic, p.Partition, code(p.ErrorCode)))
		}
	}
	for _, tx := range r.Transactions {
		for _, topic := range tx.Topics {
			for _, p := range topic.Partitions {
				codes = append(codes, fmt.Sprintf("%s-%d %s", topic.Topic, p.Partition, code(p.ErrorCode)))
			}
		}
	}
	if r.ErrorCode != 0 {
		codes = append(codes, code(r.ErrorCode))
	}
	return strings.Join(sorted(codes), ", ")
}

func (p *producers) printDescription(s *kmsg.DescribeTransactionsResponseTransactionState) string {
	if s.ErrorCode != 0 {
		return code(s.ErrorCode)
	}
	out := fmt.Sprintf("%s %s timeout=%d%s", s.State, p.print(s.ProducerID, s.ProducerEpoch), s.TimeoutMillis, started(s.StartTimestamp))
	var list []TopicPartition
	for _, topic := range s.Topics {
		for _, n := range topic.Partitions {
			list = append(list, TopicPartition{topic.Topic, n})
		}
	}
	return strings.TrimRight(out+" "+printPartitions(ordered(list)), " ")
}

// started says whether there is a start; when it was differs from run to run.
func started(millis int64) string {
	if millis == -1 {
		return ""
	}
	return " started"
}

// printRecord writes what a record says, without times.
func (p *producers) printRecord(m *meta) string {
	out := fmt.Sprintf("%s %s", m.state, p.print(m.producerID, m.producerEpoch))
	if m.previousProducerID != m.producerID {
		out += " previous=" + p.name(m.previousProducerID)
	}
	if m.nextProducerID != -1 {
		out += " next=" + p.name(m.nextProducerID)
	}
	if m.clientVersion != 0 {
		out += fmt.Sprintf(" client=%d", m.clientVersion)
	}
	out += fmt.Sprintf(" timeout=%d%s", m.timeoutMillis, started(m.startMillis))
	return strings.TrimRight(out+" "+printPartitions(m.partitions), " ")
}
