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

func groupCommand() *cobra.Command {
	var f topicFlags
	c := &cobra.Command{Use: "group", Short: "List, describe, reset and delete consumer groups of a running broker"}
	c.PersistentFlags().StringVar(&f.bootstrap, "bootstrap", "127.0.0.1:9092", "`HOST:PORT` of the broker")
	c.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	c.PersistentFlags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the broker")
	c.AddCommand(groupList(&f), groupDescribe(&f), groupReset(&f), groupDelete(&f))
	onlyCommands(c)
	return c
}

// groupNames wants at least one name.
func groupNames(c *cobra.Command, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("%s wants the name of a group", spoken(c))
	}
	return nil
}

// groupError is one sentence with the name of Kafka's error code.
func groupError(what, group string, err error) error {
	if err == nil {
		return nil
	}
	var code *kerr.Error
	if !errors.As(err, &code) {
		return fmt.Errorf("cannot %s group %s: %w", what, group, err)
	}
	message := strings.TrimSuffix(code.Description, ".")
	if code == kerr.GroupIDNotFound {
		message = "there is no such classic or consumer group"
	}
	return fmt.Errorf("cannot %s group %s: %s (%s)", what, group, message, code.Message)
}

// groupRow is one group as list shows it.
type groupRow struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	State    string `json:"state"`
	Protocol string `json:"protocol"`
}

func groupList(f *topicFlags) *cobra.Command {
	var states, types []string
	c := &cobra.Command{
		Use:   "list",
		Short: "List groups",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := cmp.Or(spell("--state", states, groupStates), spell("--type", types, groupTypes)); err != nil {
				return err
			}
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				rows := []groupRow{}
				for _, kind := range types { // the client does not tell a group's type
					listed, err := admin.ListGroupsByType(ctx, []string{kind}, states...)
					if err != nil {
						return err
					}
					for _, g := range listed.Sorted() {
						rows = append(rows, groupRow{g.Group, kind, g.State, g.ProtocolType})
					}
				}
				slices.SortFunc(rows, func(a, b groupRow) int { return cmp.Compare(a.Name, b.Name) })
				return f.print(c.OutOrStdout(), rows, func(w io.Writer) {
					fmt.Fprintln(w, "GROUP\tTYPE\tSTATE\tPROTOCOL")
					for _, r := range rows {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, r.Type, r.State, dash(r.Protocol))
					}
				})
			})
		},
	}
	c.Flags().StringSliceVar(&states, "state", nil, "only groups in this `STATE` (Stable, Empty, ...); may be repeated")
	c.Flags().StringSliceVar(&types, "type", slices.Clone(groupTypes), "only groups of this `TYPE`; may be repeated")
	return c
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func groupDelete(f *topicFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME...",
		Short: "Delete groups without members, with their committed offsets",
		Args:  groupNames,
		RunE: func(c *cobra.Command, names []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				deleted, err := admin.DeleteGroups(ctx, names...)
				if err != nil && len(deleted) == 0 {
					return err
				}
				err = nil
				rows := []deletedRow{}
				for _, g := range deleted.Sorted() {
					if g.Err != nil {
						err = errors.Join(err, groupError("delete", g.Group, g.Err))
						continue
					}
					rows = append(rows, deletedRow{g.Group})
				}
				return errors.Join(f.printDeleted(c.OutOrStdout(), names, rows), err)
			})
		},
	}
}
