package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicFlags are the flags that all topic commands have.
type topicFlags struct {
	bootstrap string
	json      bool
	timeout   time.Duration
}

func topicCommand() *cobra.Command {
	var f topicFlags
	c := &cobra.Command{Use: "topic", Short: "Create, list, describe, configure and delete topics of a running broker"}
	c.PersistentFlags().StringVar(&f.bootstrap, "bootstrap", "127.0.0.1:9092", "`HOST:PORT` of the broker")
	c.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	c.PersistentFlags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the broker")
	c.AddCommand(topicCreate(&f), topicList(&f), topicDescribe(&f), topicConfig(&f), topicDelete(&f))
	onlyCommands(c)
	return c
}

// topicNames wants at least one name.
func topicNames(c *cobra.Command, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("%s wants the name of a topic", spoken(c))
	}
	return nil
}

// run gives do a client of the broker and a time limit.
func (f *topicFlags) run(do func(context.Context, *kadm.Client) error) error {
	if _, _, err := net.SplitHostPort(f.bootstrap); err != nil {
		return fmt.Errorf("--bootstrap %s: want host:port", f.bootstrap)
	}
	// The client retries until its time is up; a broker that is not there is known at once.
	probe, err := net.DialTimeout("tcp", f.bootstrap, f.timeout)
	if err != nil {
		return f.explain(err)
	}
	probe.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(f.bootstrap), kgo.RetryTimeout(f.timeout), kgo.RequestRetries(1))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
	defer cancel()
	// The client's first exchange with a broker, and Close, do not heed ctx.
	done := make(chan error, 1)
	go func() { done <- do(ctx, kadm.NewClient(client)) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		client.Close()
	}
	return f.explain(err)
}

// explain says of a broker that does not answer where it was looked for.
func (f *topicFlags) explain(err error) error {
	var dial *net.OpError
	var name *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer from %s within %s: is the broker running there? (--bootstrap says where to look)", f.bootstrap, f.timeout)
	case errors.As(err, &name):
		return fmt.Errorf("the host of --bootstrap %s cannot be found: %s", f.bootstrap, name.Err)
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("no broker answers at %s: %s (--bootstrap says where to look)", f.bootstrap, reason(dial.Err))
	}
	return err
}

// reason is what the kernel said, without the call it said it to.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

func topicCreate(f *topicFlags) *cobra.Command {
	var partitions int32
	var configs []string
	c := &cobra.Command{
		Use:   "create NAME...",
		Short: "Create topics",
		Args:  topicNames,
		RunE: func(c *cobra.Command, names []string) error {
			settings := map[string]*string{}
			for _, s := range configs {
				name, value, ok := strings.Cut(s, "=")
				if !ok {
					return fmt.Errorf("--config %q: want name=value", s)
				}
				settings[name] = &value
			}
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				created, err := admin.CreateTopics(ctx, partitions, -1, settings, names...)
				if err != nil {
					return err
				}
				rows := []topicRow{}
				for _, t := range created.Sorted() {
					if t.Err != nil {
						err = errors.Join(err, topicError("create", t.Topic, t.Err, t.ErrMessage))
						continue
					}
					rows = append(rows, topicRow{t.Topic, topicID(t.ID), int(t.NumPartitions)})
				}
				slices.SortFunc(rows, func(a, b topicRow) int {
					return cmp.Compare(slices.Index(names, a.Name), slices.Index(names, b.Name))
				})
				return errors.Join(f.print(c.OutOrStdout(), rows, func(w io.Writer) {
					for _, r := range rows {
						fmt.Fprintf(w, "created %s with %d partition%s\n", r.Name, r.Partitions, plural(r.Partitions))
					}
				}), err)
			})
		},
	}
	c.Flags().Int32Var(&partitions, "partitions", -1, "`N` partitions (otherwise the broker's num.partitions)")
	c.Flags().Lookup("partitions").DefValue = "0" // not to be shown
	c.Flags().StringArrayVar(&configs, "config", nil, "a topic setting, `NAME=VALUE`; may be repeated")
	return c
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// deletedRow is one topic as delete shows it.
type deletedRow struct {
	Name string `json:"name"`
}

// topicError is one sentence: Kafka's message with the name of its error code.
func topicError(what, topic string, err error, message string) error {
	if err == nil {
		return nil
	}
	var code *kerr.Error
	if !errors.As(err, &code) {
		return fmt.Errorf("cannot %s topic %s: %w", what, topic, err)
	}
	switch {
	case code == kerr.UnknownTopicOrPartition:
		message = "there is no such topic"
	case message == "":
		message = code.Description
	}
	return fmt.Errorf("cannot %s topic %s: %s (%s)", what, topic, strings.TrimSuffix(message, "."), code.Message)
}

func topicDelete(f *topicFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete topics and their records",
		Args:  topicNames,
		RunE: func(c *cobra.Command, names []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				deleted, err := admin.DeleteTopics(ctx, names...)
				if err != nil {
					return err
				}
				rows := []deletedRow{}
				for _, t := range deleted.Sorted() {
					if t.Err != nil {
						err = errors.Join(err, topicError("delete", t.Topic, t.Err, t.ErrMessage))
						continue
					}
					rows = append(rows, deletedRow{t.Topic})
				}
				return errors.Join(f.printDeleted(c.OutOrStdout(), names, rows), err)
			})
		},
	}
}

// topicRow is one topic as list shows it.
type topicRow struct {
	Name       string `json:"name"`
	ID         string `json:"id"`
	Partitions int    `json:"partitions"`
}

// topicID writes an id as Kafka's tools do.
func topicID(id kadm.TopicID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func topicList(f *topicFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List topics",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				topics, err := admin.ListTopicsWithInternal(ctx)
				if err != nil {
					return err
				}
				rows := []topicRow{}
				for _, t := range topics.Sorted() {
					rows = append(rows, topicRow{t.Topic, topicID(t.ID), len(t.Partitions)})
				}
				return f.print(c.OutOrStdout(), rows, func(w io.Writer) {
					fmt.Fprintln(w, "NAME\tPARTITIONS\tID")
					for _, r := range rows {
						fmt.Fprintf(w, "%s\t%d\t%s\n", r.Name, r.Partitions, r.ID)
					}
				})
			})
		},
	}
}

// partitionRow is one partition as describe shows it.
type partitionRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Leader    int32  `json:"leader"`
	Epoch     int32  `json:"leaderEpoch"`
	Start     int64  `json:"startOffset"`
	End       int64  `json:"endOffset"`
}

// settingRow is a setting of a topic as describe shows it.
type settingRow struct {
	Topic string `json:"topic"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

func topicDescribe(f *topicFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME...",
		Short: "Show the partitions of topics with their offsets, and the settings the topics were given",
		Args:  topicNames,
		RunE: func(c *cobra.Command, names []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				rows, settings, err := describeTopics(ctx, admin, names)
				if err != nil {
					return err
				}
				return f.print(c.OutOrStdout(), map[string]any{"partitions": rows, "settings": settings}, func(w io.Writer) {
					fmt.Fprintln(w, "TOPIC\tPARTITION\tLEADER\tEPOCH\tSTART\tEND")
					for _, r := range rows {
						fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\n", r.Topic, r.Partition, r.Leader, r.Epoch, r.Start, r.End)
					}
					for _, s := range settings {
						fmt.Fprintf(w, "%s: %s=%s\n", s.Topic, s.Name, s.Value)
					}
				})
			})
		},
	}
}

// offsetOf is -1 where nobody could be asked.
func offsetOf(all kadm.ListedOffsets, p kadm.PartitionDetail) int64 {
	if o, ok := all.Lookup(p.Topic, p.Partition); ok && o.Err == nil {
		return o.Offset
	}
	return -1
}

func describeTopics(ctx context.Context, admin *kadm.Client, names []string) (rows []partitionRow, settings []settingRow, err error) {
	topics, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			return nil, nil, topicError("describe", t.Topic, t.Err, "")
		}
	}
	// Partitions in a directory that has failed have no leader to ask: they are shown without offsets.
	var partly *kadm.ShardErrors
	leaderless := false
	topics.EachPartition(func(p kadm.PartitionDetail) { leaderless = leaderless || p.Leader < 0 })
	starts, err := admin.ListStartOffsets(ctx, names...)
	if err != nil && !(leaderless && errors.As(err, &partly)) {
		return nil, nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err != nil && !(leaderless && errors.As(err, &partly)) {
		return nil, nil, err
	}
	for _, t := range topics.Sorted() {
		for _, p := range t.Partitions.Sorted() {
			rows = append(rows, partitionRow{t.Topic, p.Partition, p.Leader, p.LeaderEpoch, offsetOf(starts, p), offsetOf(ends, p)})
		}
	}
	settings = []settingRow{}
	configs, err := admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range configs {
		for _, c := range t.Configs {
			if c.Source == kmsg.ConfigSourceDynamicTopicConfig {
				settings = append(settings, settingRow{t.Name, c.Key, c.MaybeValue()})
			}
		}
	}
	slices.SortFunc(settings, func(a, b settingRow) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Name, b.Name))
	})
	return rows, settings, nil
}

// printDeleted writes what was deleted, in the order in which it was named.
func (f *topicFlags) printDeleted(w io.Writer, names []string, rows []deletedRow) error {
	slices.SortFunc(rows, func(a, b deletedRow) int {
		return cmp.Compare(slices.Index(names, a.Name), slices.Index(names, b.Name))
	})
	return f.print(w, rows, func(w io.Writer) {
		for _, r := range rows {
			fmt.Fprintln(w, "deleted", r.Name)
		}
	})
}

// print writes v as JSON, or as the table that table writes.
func (f *topicFlags) print(w io.Writer, v any, table func(io.Writer)) error {
	if f.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	return writeTable(w, table)
}
