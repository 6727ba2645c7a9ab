package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// describedGroup is one group as describe shows it.
type describedGroup struct {
	Name       string     `json:"name"`
	Type       string     `json:"type"`
	State      string     `json:"state"`
	Assignor   string     `json:"assignor"`
	Members    int        `json:"members"`
	Partitions []groupLag `json:"partitions"`
	Lag        int64      `json:"lag"` // of all partitions whose lag is known
}

// groupLag is one partition that a group reads or has read.
type groupLag struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committedOffset"` // -1: none
	End       int64  `json:"endOffset"`       // -1: the partition is gone
	Lag       int64  `json:"lag"`             // -1: not known
	Member    string `json:"member"`
	ClientID  string `json:"clientId"`
	Host      string `json:"host"`
}

func groupDescribe(f *topicFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME...",
		Short: "Show the state of groups, who reads what, and how far behind it is",
		Args:  groupNames,
		RunE: func(c *cobra.Command, names []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				groups := []describedGroup{}
				var failed error
				for _, name := range names {
					g, err := describeGroup(ctx, admin, name)
					if err != nil {
						failed = errors.Join(failed, groupError("describe", name, err))
						continue
					}
					groups = append(groups, *g)
				}
				return errors.Join(f.print(c.OutOrStdout(), groups, func(w io.Writer) { writeGroups(w, groups) }), failed)
			})
		},
	}
}

func writeGroups(w io.Writer, groups []describedGroup) {
	unknown := func(n int64) string {
		if n < 0 {
			return "-"
		}
		return strconv.FormatInt(n, 10)
	}
	for _, g := range groups {
		fmt.Fprintf(w, "%s: %s group, %s, %d member%s, lag %d\n", g.Name, g.Type, g.State, g.Members, plural(g.Members), g.Lag)
		if len(g.Partitions) == 0 {
			continue
		}
		fmt.Fprintln(w, "TOPIC\tPARTITION\tCOMMITTED\tEND\tLAG\tMEMBER\tCLIENT\tHOST")
		for _, p := range g.Partitions {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n",
				p.Topic, p.Partition, unknown(p.Committed), unknown(p.End), unknown(p.Lag), dash(p.Member), dash(p.ClientID), dash(p.Host))
		}
	}
}

// owner is a member that reads a partition.
type owner struct{ member, clientID, host string }

// describeGroup asks as of a consumer group, and as of a classic one if it is none.
func describeGroup(ctx context.Context, admin *kadm.Client, name string) (*describedGroup, error) {
	g := &describedGroup{Name: name, Type: "consumer", Partitions: []groupLag{}}
	owners, err := g.describeConsumer(ctx, admin)
	if errors.Is(err, kerr.GroupIDNotFound) {
		g.Type = "classic"
		owners, err = g.describeClassic(ctx, admin)
	}
	if err != nil {
		return nil, err
	}
	committed, err := admin.FetchOffsets(ctx, name)
	if err != nil {
		return nil, err
	}
	return g, g.measure(ctx, admin, owners, committed)
}

func (g *describedGroup) describeConsumer(ctx context.Context, admin *kadm.Client) (map[kadm.Offset]owner, error) {
	described, err := admin.DescribeConsumerGroups(ctx, g.Name)
	if err != nil {
		return nil, err
	}
	d := described[g.Name]
	if d.Err != nil {
		return nil, d.Err
	}
	g.State, g.Assignor, g.Members = d.State, d.AssignorName, len(d.Members)
	owners := map[kadm.Offset]owner{}
	for _, m := range d.Members {
		for topic, partitions := range m.Assignment {
			for p := range partitions {
				owners[kadm.Offset{Topic: topic, Partition: p}] = owner{m.MemberID, m.ClientID, m.ClientHost}
			}
		}
	}
	return owners, nil
}

func (g *describedGroup) describeClassic(ctx context.Context, admin *kadm.Client) (map[kadm.Offset]owner, error) {
	described, err := admin.DescribeGroups(ctx, g.Name)
	if err != nil {
		return nil, err
	}
	d := described[g.Name]
	if d.Err != nil {
		return nil, d.Err
	}
	if d.State == "Dead" {
		return nil, kerr.GroupIDNotFound
	}
	g.State, g.Assignor, g.Members = d.State, d.Protocol, len(d.Members)
	owners := map[kadm.Offset]owner{}
	for _, m := range d.Members {
		assigned, ok := m.Assigned.AsConsumer()
		if !ok {
			continue // of another protocol
		}
		for _, t := range assigned.Topics {
			for _, p := range t.Partitions {
				owners[kadm.Offset{Topic: t.Topic, Partition: p}] = owner{m.MemberID, m.ClientID, m.ClientHost}
			}
		}
	}
	return owners, nil
}

// measure lists every partition that has an owner or an offset, with its lag.
func (g *describedGroup) measure(ctx context.Context, admin *kadm.Client, owners map[kadm.Offset]owner, committed kadm.OffsetResponses) error {
	rows := map[kadm.Offset]*groupLag{}
	row := func(topic string, partition int32) *groupLag {
		at := kadm.Offset{Topic: topic, Partition: partition}
		if rows[at] == nil {
			rows[at] = &groupLag{Topic: topic, Partition: partition, Committed: -1, End: -1, Lag: -1}
		}
		return rows[at]
	}
	for at, o := range owners {
		r := row(at.Topic, at.Partition)
		r.Member, r.ClientID, r.Host = o.member, o.clientID, o.host
	}
	committed.Each(func(o kadm.OffsetResponse) {
		if o.Err == nil {
			row(o.Topic, o.Partition).Committed = o.At
		}
	})
	var topics []string
	for at := range rows {
		topics = append(topics, at.Topic)
	}
	if len(topics) == 0 {
		return nil
	}
	slices.Sort(topics)
	ends, err := admin.ListEndOffsets(ctx, slices.Compact(topics)...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if end, ok := ends.Lookup(r.Topic, r.Partition); ok && end.Err == nil {
			r.End = end.Offset
		}
		if r.Committed >= 0 && r.End >= 0 {
			r.Lag = max(r.End-r.Committed, 0)
			g.Lag += r.Lag
		}
		g.Partitions = append(g.Partitions, *r)
	}
	slices.SortFunc(g.Partitions, func(a, b groupLag) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return nil
}
