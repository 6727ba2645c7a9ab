package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// openTransaction begins a transaction with a record in each of some partitions of orders.
func openTransaction(t *testing.T, broker, id string, partitions ...int32) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.TransactionalID(id), kgo.TransactionTimeout(time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, p := range partitions {
		if err := client.ProduceSync(context.Background(), &kgo.Record{Topic: "orders", Partition: p, Value: []byte(id)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return client
}

// hang writes a batch that is in a transaction no coordinator knows, long ago; the broker must not verify.
func hang(t *testing.T, broker string, partition int32) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	info := protocol.NewBatchInfo(0, -1)
	info.Attributes, info.ProducerID, info.ProducerEpoch, info.BaseSequence = protocol.AttrTransactional, 4242, 3, 0
	var bl protocol.Builder
	bl.Begin(nil, info)
	bl.Append(&protocol.Record{Timestamp: time.Now().Add(-time.Hour).UnixMilli(), Value: []byte("lost")})
	_, batch := bl.Finish()
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis, req.TransactionID = 9, -1, 10_000, kmsg.StringPtr("nobody")
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = "orders", []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: batch}}
	req.Topics = append(req.Topics, topic)
	resp, err := client.Broker(1).Request(context.Background(), &pinned{req})
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		t.Fatal(protocol.ErrorCode(code))
	}
}

// pinned is a Produce in the version that it has: later ones name topics by their ids.
type pinned struct{ *kmsg.ProduceRequest }

func (p *pinned) MaxVersion() int16 { return 9 }

// TestTxns is the life of some transactions as the commands tell it.
func TestTxns(t *testing.T) {
	b := start(t, "--data-dir", filepath.Join(t.TempDir(), "data"), "--set", "transaction.partition.verification.enable=false", "--set", "node.id=1")
	if r := slipstream(t, "topic", "--bootstrap", b.address, "create", "orders", "--partitions", "3"); r.status != 0 {
		t.Fatal(r.errors)
	}
	type step struct {
		args   string
		status int
		out    string // a pattern for all of it
		errors []string
	}
	play := func(steps []step) {
		t.Helper()
		for _, step := range steps {
			r := slipstream(t, append([]string{"txn", "--bootstrap", b.address}, strings.Fields(step.args)...)...)
			if r.status != step.status || !regexp.MustCompile("^"+step.out+"$").MatchString(r.out) {
				t.Errorf("txn %s: status %d, want %d; it prints\n%s%s", step.args, r.status, step.status, r.out, r.errors)
			}
			for _, want := range step.errors {
				if !strings.Contains(r.errors, want) {
					t.Errorf("txn %s: %q does not say %q", step.args, r.errors, want)
				}
			}
		}
	}
	const (
		listHead      = `TRANSACTIONAL ID +PRODUCER +STATE\n`
		describeHead  = `TRANSACTIONAL ID +STATE +PRODUCER +EPOCH +TIMEOUT +AGE +PARTITIONS\n`
		producersHead = `TOPIC +PARTITION +PRODUCER +EPOCH +COORDINATOR EPOCH +LAST SEQUENCE +LAST TIMESTAMP +TRANSACTION START\n`
	)
	play([]step{
		{"list", 0, listHead, nil},
		{"describe nobody", 1, describeHead, []string{"cannot describe transactional id nobody: "}},
	})
	bill := openTransaction(t, b.address, "billing", 0, 2)
	ship := openTransaction(t, b.address, "shipping", 0)
	if err := ship.EndTransaction(context.Background(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	hang(t, b.address, 1)
	play([]step{
		{"list", 0, listHead + `billing +\d+ +Ongoing\nshipping +\d+ +CompleteCommit\n`, nil},
		{"list --state Ongoing", 0, listHead + `billing +\d+ +Ongoing\n`, nil},
		{"list --state ongoing", 0, listHead + `billing +\d+ +Ongoing\n`, nil},
		{"list --state Open", 1, ``, []string{"--state Open: want one of", "Ongoing"}},
		{"list --id-pattern s.*", 0, listHead + `shipping +\d+ +CompleteCommit\n`, nil},
		{"list --id-pattern [", 1, ``, []string{"INVALID_REGULAR_EXPRESSION"}},
		{"describe billing shipping", 0, describeHead + `billing +Ongoing +\d+ +0 +1m0s +[\d.]+m?s +orders-0 orders-2\nshipping +CompleteCommit +\d+ +1 +1m0s +- +-\n`, nil},
		{"describe billing nobody", 1, describeHead + `billing +Ongoing .*\n`, []string{"there is no such transactional id (TRANSACTIONAL_ID_NOT_FOUND)"}},
		{"producers orders", 0, producersHead + `orders +0 +\d+ +0 +- +0 +\S+Z +0\norders +0 +\d+ +1 +0 +- +\S+Z +-\norders +1 +4242 +3 +- +0 +\S+Z +0\norders +2 +\d+ +0 +- +0 +\S+Z +0\n`, nil},
		{"producers nowhere", 1, ``, []string{"cannot describe the producers of topic nowhere"}},
		{"find-hanging", 0, producersHead + `orders +1 +4242 +3 +- +0 +\S+Z +0\n`, nil},
		{"find-hanging --topic orders --max-transaction-timeout 0s", 0, producersHead + `orders +1 +4242 .*\n`, nil},
		{"find-hanging --max-transaction-timeout 2h", 0, producersHead, nil},
		{"abort", 1, ``, []string{"wants a transactional id, or --topic"}},
		{"abort billing --topic orders", 1, ``, []string{"wants either transactional ids or --topic"}},
		{"abort --topic orders", 1, ``, []string{"wants either --start-offset or --producer-id"}},
		{"abort --topic orders --partition 1 --start-offset 7", 1, ``, []string{"no transaction that is open in orders-1 begins at offset 7"}},
		{"abort --topic orders --partition 1 --start-offset 0", 0, `aborted in orders-1 +producer 4242 epoch 3\n`, nil},
		{"find-hanging", 0, producersHead, nil},
		{"abort shipping nobody", 1, ``, []string{"nothing is ongoing, it is CompleteCommit", "nobody"}},
		{"abort billing", 0, `aborted billing +producer \d+ is fenced\n`, nil},
		{"list --state Ongoing", 0, listHead, nil},
	})
	if err := bill.EndTransaction(context.Background(), kgo.TryCommit); err == nil {
		t.Error("a transaction that was aborted by hand is committed")
	}
	var rows []struct {
		TransactionalID string `json:"transactionalId"`
		State           string
	}
	r := slipstream(t, "txn", "--bootstrap", b.address, "--json", "list")
	if err := json.Unmarshal([]byte(r.out), &rows); err != nil || fmt.Sprint(rows) != "[{billing Empty} {shipping CompleteCommit}]" {
		t.Errorf("as JSON: %v %v", rows, err)
	}
}
