package metrics

import (
	"context"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Transactions are counted by how they end, and an open one shows as the lag of its partition's last stable offset.
func TestTransactionFigures(t *testing.T) {
	w := startWatched(t, Options{}, "transaction.state.log.num.partitions=4")
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.address), kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx := context.Background()
	if _, err := kadm.NewClient(cl).CreateTopics(ctx, 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if i < 3 {
			if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(i < 2)); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _, body := w.get("/metrics", "text/plain")
	text := string(body)
	for _, want := range []string{
		`kafka_cluster_partition_laststableoffsetlag{partition="0",topic="t"} 1` + "\n",
		"kafka_server_replicamanager_produceridcount 1\n",
		"kafka_server_addpartitionstotxnmanager_verificationfailurerate_total 0\n",
		"slipstream_transaction_verifications_total 4\n",
		"slipstream_transactional_ids 1\n",
		`slipstream_transactions_total{what="begun"} 4` + "\n",
		`slipstream_transactions_total{what="committed"} 2` + "\n",
		`slipstream_transactions_total{what="aborted"} 1` + "\n",
		`slipstream_coordinator_partitions{state="active",topic="__transaction_state"} 4` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, grepLines(text, strings.FieldsFunc(want, func(r rune) bool { return r == '{' || r == ' ' })[0]))
		}
	}
}
