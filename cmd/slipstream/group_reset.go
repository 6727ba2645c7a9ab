package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// resetFlags say where to, and of what.
type resetFlags struct {
	earliest, latest bool
	offset, shift    int64
	datetime         string
	topics           []string
	allTopics        bool
	execute          bool
}

// resetRow is one partition as reset-offsets shows it.
type resetRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Old       int64  `json:"oldOffset"` // -1: none
	New       int64  `json:"newOffset"`
}

func groupReset(f *topicFlags) *cobra.Command {
	var r resetFlags
	c := &cobra.Command{
		Use:   "reset-offsets NAME",
		Short: "Move the committed offsets of a group without members; without --execute, only show where to",
		Args: func(c *cobra.Command, names []string) error {
			if len(names) != 1 {
				return fmt.Errorf("%s wants the name of one group", spoken(c))
			}
			return nil
		},
		RunE: func(c *cobra.Command, names []string) error {
			if err := r.check(c); err != nil {
				return err
			}
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				rows, err := r.plan(ctx, admin, c, names[0])
				if err != nil {
					return err
				}
				if r.execute {
					if err := commitReset(ctx, admin, names[0], rows); err != nil {
						return err
					}
				}
				return f.print(c.OutOrStdout(), rows, func(w io.Writer) { r.write(w, rows) })
			})
		},
	}
	c.Flags().BoolVar(&r.earliest, "to-earliest", false, "to the first offset")
	c.Flags().BoolVar(&r.latest, "to-latest", false, "to the end")
	c.Flags().Int64Var(&r.offset, "to-offset", 0, "to this `OFFSET`, or the nearest that there is")
	c.Flags().Int64Var(&r.shift, "shift-by", 0, "by `N` records on, or back if it is negative, as far as the log goes")
	c.Flags().StringVar(&r.datetime, "to-datetime", "", "to the first record at or after `TIME`: 2026-11-21T12:00:00.000, with Z or an offset if it is not UTC")
	c.Flags().StringArrayVar(&r.topics, "topic", nil, "a `TOPIC`, or some of its partitions: TOPIC:0,2; may be repeated")
	c.Flags().BoolVar(&r.allTopics, "all-topics", false, "all topics that the group has offsets of")
	c.Flags().BoolVar(&r.execute, "execute", false, "do it")
	return c
}

var resetTargets = []string{"to-earliest", "to-latest", "to-offset", "shift-by", "to-datetime"}

// check wants one target and some topics.
func (r *resetFlags) check(c *cobra.Command) error {
	set := 0
	for _, name := range resetTargets {
		if c.Flags().Changed(name) {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("%s wants one of --%s", spoken(c), strings.Join(resetTargets, ", --"))
	case r.allTopics == (len(r.topics) > 0):
		return fmt.Errorf("%s wants either --topic or --all-topics", spoken(c))
	case r.offset < 0:
		return fmt.Errorf("--to-offset %d: offsets begin at 0", r.offset)
	}
	_, err := r.millis()
	return err
}

// datetimes are the forms that Kafka's tool takes, without a zone meaning UTC.
var datetimes = []string{"2006-01-02T15:04:05.999Z07:00", "2006-01-02T15:04:05.999Z0700", "2006-01-02T15:04:05.999"}

func (r *resetFlags) millis() (int64, error) {
	if r.datetime == "" {
		return 0, nil
	}
	for _, form := range datetimes {
		if t, err := time.Parse(form, r.datetime); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, fmt.Errorf("--to-datetime %s: want a time like 2026-11-21T12:00:00.000", r.datetime)
}

func (r *resetFlags) write(w io.Writer, rows []resetRow) {
	fmt.Fprintln(w, "TOPIC\tPARTITION\tOLD\tNEW")
	for _, row := range rows {
		old := "-"
		if row.Old >= 0 {
			old = strconv.FormatInt(row.Old, 10)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\n", row.Topic, row.Partition, old, row.New)
	}
	if !r.execute {
		fmt.Fprintln(w, "nothing is changed: --execute does it")
	}
}

// plan finds out where the group's offsets would go. A group that has members is
// refused: they would go on from where they are.
func (r *resetFlags) plan(ctx context.Context, admin *kadm.Client, c *cobra.Command, group string) ([]resetRow, error) {
	listed, err := admin.ListGroups(ctx)
	if err != nil {
		return nil, err
	}
	if state := listed[group].State; state != "" && state != "Empty" && state != "Dead" {
		return nil, fmt.Errorf("cannot reset group %s: it has members (it is %s), and only a group without can be reset", group, state)
	}
	committed, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return nil, groupError("reset", group, err)
	}
	starts, ends, at, err := r.places(ctx, admin, committed)
	if err != nil {
		return nil, err
	}
	chosen, err := r.chosen(committed, ends)
	if err != nil {
		return nil, err
	}
	rows := []resetRow{}
	for _, p := range chosen {
		row := resetRow{Topic: p.Topic, Partition: p.Partition, Old: -1}
		if old, ok := committed.Lookup(p.Topic, p.Partition); ok && old.Err == nil {
			row.Old = old.At
		}
		start, _ := starts.Lookup(p.Topic, p.Partition)
		end, _ := ends.Lookup(p.Topic, p.Partition)
		found, ok := at.Lookup(p.Topic, p.Partition)
		if !ok || found.Offset < 0 {
			found.Offset = end.Offset // no record is so young
		}
		if c.Flags().Changed("shift-by") && row.Old < 0 {
			return nil, fmt.Errorf("cannot shift group %s: it has no offset of %s partition %d", group, p.Topic, p.Partition)
		}
		row.New = min(max(r.target(c, row.Old, start.Offset, end.Offset, found.Offset), start.Offset), end.Offset)
		rows = append(rows, row)
	}
	return rows, nil
}

func (r *resetFlags) target(c *cobra.Command, old, start, end, found int64) int64 {
	switch {
	case r.earliest:
		return start
	case r.latest:
		return end
	case c.Flags().Changed("to-offset"):
		return r.offset
	case r.datetime != "":
		return found
	}
	return old + r.shift
}

// places lists the ends of the topics in question, and what lies at --to-datetime.
func (r *resetFlags) places(ctx context.Context, admin *kadm.Client, committed kadm.OffsetResponses) (starts, ends, at kadm.ListedOffsets, err error) {
	var topics []string
	for _, t := range r.topics {
		name, _, _ := strings.Cut(t, ":")
		topics = append(topics, name)
	}
	if r.allTopics {
		committed.Each(func(o kadm.OffsetResponse) { topics = append(topics, o.Topic) })
	}
	slices.Sort(topics)
	if topics = slices.Compact(topics); len(topics) == 0 {
		return nil, nil, nil, nil
	}
	if starts, err = admin.ListStartOffsets(ctx, topics...); err != nil {
		return nil, nil, nil, err
	}
	if ends, err = admin.ListEndOffsets(ctx, topics...); err != nil {
		return nil, nil, nil, err
	}
	for _, t := range topics {
		for _, p := range ends[t] {
			if p.Err != nil && !r.allTopics {
				return nil, nil, nil, topicError("reset offsets of", t, p.Err, "")
			}
		}
	}
	if millis, _ := r.millis(); r.datetime != "" {
		at, err = admin.ListOffsetsAfterMilli(ctx, millis, topics...)
	}
	return starts, ends, at, err
}

// chosen are the partitions in question, in order: those named, or all that have an
// offset and are still there.
func (r *resetFlags) chosen(committed kadm.OffsetResponses, ends kadm.ListedOffsets) (out []kadm.Offset, err error) {
	add := func(topic string, partition int32) error {
		if end, ok := ends.Lookup(topic, partition); !ok || end.Err != nil {
			return fmt.Errorf("topic %s has no partition %d", topic, partition)
		}
		out = append(out, kadm.Offset{Topic: topic, Partition: partition})
		return nil
	}
	if r.allTopics {
		committed.Each(func(o kadm.OffsetResponse) { _ = add(o.Topic, o.Partition) })
	}
	for _, t := range r.topics {
		name, list, some := strings.Cut(t, ":")
		if !some {
			for p := range ends[name] {
				err = errors.Join(err, add(name, p))
			}
			continue
		}
		for _, text := range strings.Split(list, ",") {
			p, bad := strconv.ParseInt(text, 10, 32)
			if bad != nil {
				return nil, fmt.Errorf("--topic %s: %q is no partition", t, text)
			}
			err = errors.Join(err, add(name, int32(p)))
		}
	}
	slices.SortFunc(out, func(a, b kadm.Offset) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return slices.Compact(out), err
}

func commitReset(ctx context.Context, admin *kadm.Client, group string, rows []resetRow) error {
	offsets := kadm.Offsets{}
	for _, r := range rows {
		offsets.AddOffset(r.Topic, r.Partition, r.New, -1)
	}
	return groupError("reset", group, admin.CommitAllOffsets(ctx, group, offsets))
}
