package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// topicFlags are the flags that all topic commands have.
type topicFlags struct {
	bootstrap string
	json      bool
	timeout   time.Duration
}

func topicCommand() *cobra.Command {
	var f topicFlags
	c := &cobra.Command{Use: "topic", Short: "Create, list, describe and delete topics of a running broker"}
	c.PersistentFlags().StringVar(&f.bootstrap, "bootstrap", "127.0.0.1:9092", "host:port of the broker")
	c.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	c.PersistentFlags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the broker")
	c.AddCommand(topicCreate(&f), topicList(&f), topicDescribe(&f), topicDelete(&f))
	return c
}

// run gives do a client of the broker and a time limit.
func (f *topicFlags) run(do func(context.Context, *kadm.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(f.bootstrap), kgo.RetryTimeout(f.timeout), kgo.RequestRetries(1))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
	defer cancel()
	err = do(ctx, kadm.NewClient(client))
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer from %s within %s: is the broker running there?", f.bootstrap, f.timeout)
	}
	return err
}

func topicCreate(f *topicFlags) *cobra.Command {
	var partitions int32
	var configs []string
	c := &cobra.Command{
		Use:   "create NAME...",
		Short: "Create topics",
		Args:  cobra.MinimumNArgs(1),
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
				for _, t := range created.Sorted() {
					err = errors.Join(err, topicError("create", t.Topic, t.Err, t.ErrMessage))
				}
				return err
			})
		},
	}
	c.Flags().Int32Var(&partitions, "partitions", -1, "number of partitions (default: the broker's num.partitions)")
	c.Flags().StringArrayVar(&configs, "config", nil, "name=value, a topic setting; may be repeated")
	return c
}

func topicError(what, topic string, err error, message string) error {
	if err == nil {
		return nil
	}
	if message != "" {
		return fmt.Errorf("%s topic %s: %s (%w)", what, topic, message, err)
	}
	return fmt.Errorf("%s topic %s: %w", what, topic, err)
}

func topicDelete(f *topicFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete topics and their records",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				deleted, err := admin.DeleteTopics(ctx, names...)
				if err != nil {
					return err
				}
				for _, t := range deleted.Sorted() {
					err = errors.Join(err, topicError("delete", t.Topic, t.Err, t.ErrMessage))
				}
				return err
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

func topicList(f *topicFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List topics",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				topics, err := admin.ListTopicsWithInternal(ctx)
				if err != nil {
					return err
				}
				rows := []topicRow{}
				for _, t := range topics.Sorted() {
					rows = append(rows, topicRow{t.Topic, t.ID.String(), len(t.Partitions)})
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

func topicDescribe(f *topicFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME...",
		Short: "Show the partitions of topics with their offsets, and settings that differ from the default",
		Args:  cobra.MinimumNArgs(1),
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
						fmt.Fprintln(w, s)
					}
				})
			})
		},
	}
}

func describeTopics(ctx context.Context, admin *kadm.Client, names []string) (rows []partitionRow, settings []string, err error) {
	topics, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			return nil, nil, topicError("describe", t.Topic, t.Err, "")
		}
	}
	starts, err := admin.ListStartOffsets(ctx, names...)
	if err != nil {
		return nil, nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range topics.Sorted() {
		for _, p := range t.Partitions.Sorted() {
			start, _ := starts.Lookup(t.Topic, p.Partition)
			end, _ := ends.Lookup(t.Topic, p.Partition)
			rows = append(rows, partitionRow{t.Topic, p.Partition, p.Leader, p.LeaderEpoch, start.Offset, end.Offset})
		}
	}
	configs, err := admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range configs {
		for _, c := range t.Configs {
			if c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
				settings = append(settings, fmt.Sprintf("%s: %s=%s", t.Name, c.Key, c.MaybeValue()))
			}
		}
	}
	sort.Strings(settings)
	return rows, settings, nil
}

// print writes v as JSON, or as the table that table writes.
func (f *topicFlags) print(w io.Writer, v any, table func(io.Writer)) error {
	if f.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	table(t)
	return t.Flush()
}
