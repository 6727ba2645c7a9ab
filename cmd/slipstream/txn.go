package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func txnCommand() *cobra.Command {
	var f topicFlags
	c := &cobra.Command{Use: "txn", Short: "List, describe and abort transactions of a running broker, and find those that hang"}
	c.PersistentFlags().StringVar(&f.bootstrap, "bootstrap", "127.0.0.1:9092", "`HOST:PORT` of the broker")
	c.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	c.PersistentFlags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the broker")
	c.AddCommand(txnList(&f), txnDescribe(&f), txnProducers(&f), txnFindHanging(&f), txnAbort(&f))
	onlyCommands(c)
	return c
}

// txnNames wants at least one transactional id.
func txnNames(c *cobra.Command, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("%s wants a transactional id", spoken(c))
	}
	return nil
}

// txnError is one sentence with the name of Kafka's error code.
func txnError(what string, err error) error {
	if err == nil {
		return nil
	}
	var code *kerr.Error
	if !errors.As(err, &code) {
		return fmt.Errorf("cannot %s: %w", what, err)
	}
	message := strings.TrimSuffix(code.Description, ".")
	switch code {
	case kerr.TransactionalIDNotFound:
		message = "there is no such transactional id"
	case kerr.NotCoordinator:
		message = "there is no such transactional id, or its coordinator is elsewhere"
	}
	return fmt.Errorf("cannot %s: %s (%s)", what, message, code.Message)
}

// txnRow is one transactional id as list shows it.
type txnRow struct {
	ID         string `json:"transactionalId"`
	ProducerID int64  `json:"producerId"`
	State      string `json:"state"`
}

func txnList(f *topicFlags) *cobra.Command {
	var states []string
	var producers []int64
	var pattern string
	c := &cobra.Command{
		Use:   "list",
		Short: "List transactional ids and the states of their transactions",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := spell("--state", states, txnStates); err != nil {
				return err
			}
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				listed, err := admin.ListTransactionsByTxPattern(ctx, producers, states, pattern)
				if err != nil {
					return txnError("list transactions", err)
				}
				rows := []txnRow{}
				for _, t := range listed.Sorted() {
					rows = append(rows, txnRow{t.TxnID, t.ProducerID, t.State})
				}
				return f.print(c.OutOrStdout(), rows, func(w io.Writer) {
					fmt.Fprintln(w, "TRANSACTIONAL ID\tPRODUCER\tSTATE")
					for _, r := range rows {
						fmt.Fprintf(w, "%s\t%d\t%s\n", r.ID, r.ProducerID, r.State)
					}
				})
			})
		},
	}
	c.Flags().StringSliceVar(&states, "state", nil, "only transactions in this `STATE` (Ongoing, PrepareCommit, ...); may be repeated")
	c.Flags().Int64SliceVar(&producers, "producer-id", nil, "only those of this producer `ID`; may be repeated")
	c.Flags().StringVar(&pattern, "id-pattern", "", "only ids that match this regular `EXPRESSION` as a whole")
	return c
}

// describedTxn is one transactional id as describe shows it.
type describedTxn struct {
	ID            string   `json:"transactionalId"`
	State         string   `json:"state"`
	ProducerID    int64    `json:"producerId"`
	ProducerEpoch int16    `json:"producerEpoch"`
	TimeoutMillis int32    `json:"timeoutMs"`
	StartMillis   int64    `json:"startTimestampMs"` // -1: no transaction has begun yet
	Partitions    []string `json:"partitions"`       // as topic-partition; while it ends, those without a marker
}

func txnDescribe(f *topicFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "describe ID...",
		Short: "Show the producer, the age and the partitions of transactions",
		Args:  txnNames,
		RunE: func(c *cobra.Command, ids []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				rows := []describedTxn{}
				var failed error
				for _, id := range ids {
					d, err := admin.DescribeTransactions(ctx, id)
					t := d[id]
					if err = cmp.Or(err, t.Err); err != nil {
						failed = errors.Join(failed, txnError("describe transactional id "+id, err))
						continue
					}
					rows = append(rows, describedTxn{id, t.State, t.ProducerID, t.ProducerEpoch, t.TimeoutMillis, t.StartTimestamp, partitionNames(t.Topics)})
				}
				return errors.Join(f.print(c.OutOrStdout(), rows, func(w io.Writer) { writeTxns(w, rows, time.Now()) }), failed)
			})
		},
	}
}

func partitionNames(topics kadm.TopicsSet) []string {
	out := []string{}
	for _, t := range topics.Sorted() {
		for _, p := range t.Partitions {
			out = append(out, fmt.Sprintf("%s-%d", t.Topic, p))
		}
	}
	return out
}

func writeTxns(w io.Writer, rows []describedTxn, now time.Time) {
	fmt.Fprintln(w, "TRANSACTIONAL ID\tSTATE\tPRODUCER\tEPOCH\tTIMEOUT\tAGE\tPARTITIONS")
	for _, t := range rows {
		age := "-"
		if t.State == "Ongoing" || strings.HasPrefix(t.State, "Prepare") {
			age = now.Sub(time.UnixMilli(t.StartMillis)).Round(100 * time.Millisecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", t.ID, t.State, t.ProducerID, t.ProducerEpoch,
			time.Duration(t.TimeoutMillis)*time.Millisecond, age, dash(strings.Join(t.Partitions, " ")))
	}
}

// producerRow is a producer as a partition remembers it.
type producerRow struct {
	Topic            string `json:"topic"`
	Partition        int32  `json:"partition"`
	ProducerID       int64  `json:"producerId"`
	ProducerEpoch    int16  `json:"producerEpoch"`
	CoordinatorEpoch int32  `json:"coordinatorEpoch"` // of its last marker, -1: none
	LastSequence     int32  `json:"lastSequence"`
	LastMillis       int64  `json:"lastTimestampMs"`
	TxnStart         int64  `json:"transactionStartOffset"` // -1: no transaction is open
}

func txnProducers(f *topicFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "producers TOPIC...",
		Short: "Show the producers that the partitions of topics remember, and their open transactions",
		Args:  topicNames,
		RunE: func(c *cobra.Command, topics []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				rows, err := producersOf(ctx, admin, topics)
				if err != nil {
					return err
				}
				return f.print(c.OutOrStdout(), rows, func(w io.Writer) { writeProducers(w, rows) })
			})
		},
	}
}

// producersOf asks for the producers of all partitions of topics.
func producersOf(ctx context.Context, admin *kadm.Client, topics []string) ([]producerRow, error) {
	details, err := admin.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return nil, err
	}
	asked := kadm.TopicsSet{}
	for _, t := range details.Sorted() {
		if t.Err != nil {
			return nil, topicError("describe the producers of", t.Topic, t.Err, "")
		}
		asked.Add(t.Topic, t.Partitions.Numbers()...)
	}
	rows := []producerRow{}
	if len(asked) == 0 {
		return rows, nil
	}
	found, err := admin.DescribeProducers(ctx, asked)
	if err != nil {
		return nil, txnError("describe producers", err)
	}
	for _, p := range found.SortedPartitions() {
		if p.Err != nil {
			return nil, txnError(fmt.Sprintf("describe the producers of %s-%d", p.Topic, p.Partition), p.Err)
		}
		for _, x := range p.ActiveProducers.Sorted() {
			rows = append(rows, producerRow{x.Topic, x.Partition, x.ProducerID, x.ProducerEpoch, x.CoordinatorEpoch, x.LastSequence, x.LastTimestamp, x.CurrentTxnStartOffset})
		}
	}
	return rows, nil
}

func writeProducers(w io.Writer, rows []producerRow) {
	fmt.Fprintln(w, "TOPIC\tPARTITION\tPRODUCER\tEPOCH\tCOORDINATOR EPOCH\tLAST SEQUENCE\tLAST TIMESTAMP\tTRANSACTION START")
	orDash := func(n int64) string {
		if n < 0 {
			return "-"
		}
		return fmt.Sprint(n)
	}
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", r.Topic, r.Partition, r.ProducerID, r.ProducerEpoch, orDash(int64(r.CoordinatorEpoch)),
			orDash(int64(r.LastSequence)), time.UnixMilli(r.LastMillis).UTC().Format(time.RFC3339), orDash(r.TxnStart))
	}
}

func txnFindHanging(f *topicFlags) *cobra.Command {
	var topics []string
	longest := 15 * time.Minute
	c := &cobra.Command{
		Use:   "find-hanging",
		Short: "Find open transactions that no coordinator knows",
		Long: "find-hanging looks for transactions that are open in a partition, whose producer has not written there for\n" +
			"longer than a transaction may last, and that no coordinator has under way there. Such a transaction keeps\n" +
			"read_committed consumers from going on. \"txn abort --topic T --partition P --start-offset N\" ends one.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				rows, err := findHanging(ctx, admin, topics, time.Now().Add(-longest).UnixMilli())
				if err != nil {
					return err
				}
				return f.print(c.OutOrStdout(), rows, func(w io.Writer) { writeProducers(w, rows) })
			})
		},
	}
	c.Flags().StringSliceVar(&topics, "topic", nil, "only in this `TOPIC`; may be repeated (otherwise in all)")
	c.Flags().DurationVar(&longest, "max-transaction-timeout", longest, "the `TIME` that a transaction may last (transaction.max.timeout.ms)")
	return c
}

// findHanging finds the open transactions of producers that have been silent since a time and that no coordinator
// knows in that partition.
func findHanging(ctx context.Context, admin *kadm.Client, topics []string, since int64) ([]producerRow, error) {
	all, err := producersOf(ctx, admin, topics)
	if err != nil {
		return nil, err
	}
	rows := slices.DeleteFunc(all, func(r producerRow) bool { return r.TxnStart < 0 || r.LastMillis > since })
	if len(rows) == 0 {
		return rows, nil
	}
	var ids []int64
	for _, r := range rows {
		ids = append(ids, r.ProducerID)
	}
	listed, err := admin.ListTransactions(ctx, ids, nil)
	if err != nil {
		return nil, txnError("list transactions", err)
	}
	type place struct {
		producer int64
		topic    string
		number   int32
	}
	known := map[place]bool{}
	if len(listed) > 0 {
		described, err := admin.DescribeTransactions(ctx, listed.TransactionalIDs()...)
		if err != nil {
			return nil, txnError("describe transactions", err)
		}
		described.Each(func(t kadm.DescribedTransaction) {
			for _, topic := range t.Topics.Sorted() {
				for _, p := range topic.Partitions {
					known[place{t.ProducerID, topic.Topic, p}] = true
				}
			}
		})
	}
	return slices.DeleteFunc(rows, func(r producerRow) bool { return known[place{r.ProducerID, r.Topic, r.Partition}] }), nil
}
