package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// abortedTxn is what abort has done.
type abortedTxn struct {
	ID         string `json:"transactionalId,omitempty"`
	Partition  string `json:"partition,omitempty"` // as topic-partition
	ProducerID int64  `json:"producerId"`
	Epoch      int16  `json:"producerEpoch"`
}

// abortFlags say which transaction of a partition is meant, as Kafka's tool does.
type abortFlags struct {
	topic            string
	partition        int32
	start            int64
	producer         int64
	epoch            int16
	coordinatorEpoch int32
}

func txnAbort(f *topicFlags) *cobra.Command {
	var a abortFlags
	c := &cobra.Command{
		Use:   "abort [ID...]",
		Short: "Abort the transactions of transactional ids, or one that hangs in a partition",
		Long: "With transactional ids, abort has their coordinators abort what is ongoing; their producers are fenced.\n" +
			"With --topic it writes an abort marker into a partition by hand, for a transaction that no coordinator knows\n" +
			"(find-hanging): of the producer whose transaction begins at --start-offset, or of --producer-id.",
		RunE: func(c *cobra.Command, ids []string) error {
			switch {
			case a.topic == "" && len(ids) == 0:
				return fmt.Errorf("%s wants a transactional id, or --topic, --partition and --start-offset", spoken(c))
			case a.topic != "" && len(ids) > 0:
				return fmt.Errorf("%s wants either transactional ids or --topic", spoken(c))
			case a.topic != "" && (a.start < 0) == (a.producer < 0):
				return fmt.Errorf("%s wants either --start-offset or --producer-id with --topic", spoken(c))
			}
			rows := []abortedTxn{}
			err := f.run(func(ctx context.Context, admin *kadm.Client) error {
				if a.topic != "" {
					row, err := a.abort(ctx, admin)
					if err == nil {
						rows = append(rows, *row)
					}
					return err
				}
				var failed error
				for _, id := range ids {
					row, err := f.fence(ctx, admin, id)
					if err != nil {
						failed = errors.Join(failed, txnError("abort the transaction of "+id, err))
						continue
					}
					rows = append(rows, *row)
				}
				return failed
			})
			return errors.Join(f.print(c.OutOrStdout(), rows, func(w io.Writer) { writeAborted(w, rows) }), err)
		},
	}
	c.Flags().StringVar(&a.topic, "topic", "", "the `TOPIC` of a hanging transaction")
	c.Flags().Int32Var(&a.partition, "partition", 0, "its `PARTITION`")
	c.Flags().Int64Var(&a.start, "start-offset", -1, "the `OFFSET` where it begins there")
	c.Flags().Int64Var(&a.producer, "producer-id", -1, "its producer's `ID`, where the offset is not known")
	c.Flags().Int16Var(&a.epoch, "producer-epoch", -1, "its producer's `EPOCH`, with --producer-id")
	c.Flags().Int32Var(&a.coordinatorEpoch, "coordinator-epoch", -1, "its coordinator's `EPOCH`, with --producer-id")
	return c
}

func writeAborted(w io.Writer, rows []abortedTxn) {
	for _, r := range rows {
		if r.ID != "" {
			fmt.Fprintf(w, "aborted %s\tproducer %d is fenced\n", r.ID, r.ProducerID)
			continue
		}
		fmt.Fprintf(w, "aborted in %s\tproducer %d epoch %d\n", r.Partition, r.ProducerID, r.Epoch)
	}
}

// fence has the coordinator of a transactional id abort its transaction: whoever initializes the id takes it over.
func (f *topicFlags) fence(ctx context.Context, admin *kadm.Client, id string) (*abortedTxn, error) {
	described, err := admin.DescribeTransactions(ctx, id)
	if err == nil {
		err = described[id].Err
	}
	if err != nil {
		return nil, err
	}
	if state := described[id].State; state != "Ongoing" {
		return nil, fmt.Errorf("nothing is ongoing, it is %s", state)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(f.bootstrap), kgo.RetryTimeout(f.timeout))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis = &id, described[id].TimeoutMillis
		req.ProducerID, req.ProducerEpoch = -1, -1
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return nil, err
		}
		switch err := kerr.ErrorForCode(resp.ErrorCode); {
		case err == nil:
			return &abortedTxn{ID: id, ProducerID: described[id].ProducerID, Epoch: described[id].ProducerEpoch}, nil
		case !errors.Is(err, kerr.ConcurrentTransactions):
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond): // it is being aborted
		}
	}
}

// abort writes a marker by hand.
func (a *abortFlags) abort(ctx context.Context, admin *kadm.Client) (*abortedTxn, error) {
	name := fmt.Sprintf("%s-%d", a.topic, a.partition)
	if a.start >= 0 {
		if err := a.find(ctx, admin, name); err != nil {
			return nil, err
		}
	}
	topics := kadm.TopicsSet{}
	topics.Add(a.topic, a.partition)
	answers, err := admin.WriteTxnMarkers(ctx, kadm.TxnMarkers{
		ProducerID: a.producer, ProducerEpoch: a.epoch, CoordinatorEpoch: max(a.coordinatorEpoch, 0), Topics: topics,
	})
	if err != nil {
		return nil, txnError("abort in "+name, err)
	}
	for _, p := range answers.SortedPartitions() {
		if p.Err != nil {
			return nil, txnError("abort in "+name, p.Err)
		}
	}
	return &abortedTxn{Partition: name, ProducerID: a.producer, Epoch: a.epoch}, nil
}

// find fills in the producer whose transaction begins at the offset.
func (a *abortFlags) find(ctx context.Context, admin *kadm.Client, name string) error {
	rows, err := producersOf(ctx, admin, []string{a.topic})
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Partition == a.partition && r.TxnStart == a.start {
			a.producer, a.epoch, a.coordinatorEpoch = r.ProducerID, r.ProducerEpoch, r.CoordinatorEpoch
			return nil
		}
	}
	return fmt.Errorf("no transaction that is open in %s begins at offset %d; txn producers %s shows those that are", name, a.start, a.topic)
}
