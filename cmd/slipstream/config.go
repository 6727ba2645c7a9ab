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
	"github.com/twmb/franz-go/pkg/kmsg"
)

// configRow is a setting of a topic or broker as config show has it.
type configRow struct {
	Of     string  `json:"of"`
	Name   string  `json:"name"`
	Value  *string `json:"value"` // null: none, or not to be shown
	Source string  `json:"source"`
}

// sources say in words where a value comes from.
var sources = map[kmsg.ConfigSource]string{
	kmsg.ConfigSourceDynamicTopicConfig:         "topic",
	kmsg.ConfigSourceDynamicBrokerConfig:        "broker, live",
	kmsg.ConfigSourceDynamicDefaultBrokerConfig: "all brokers, live",
	kmsg.ConfigSourceStaticBrokerConfig:         "broker, at start",
	kmsg.ConfigSourceDefaultConfig:              "default",
}

func topicConfig(f *topicFlags) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Show and change the settings of topics while the broker runs"}
	var all bool
	show := &cobra.Command{
		Use:   "show NAME...",
		Short: "Show the settings of topics that are not Kafka's defaults, and where they come from",
		Args:  topicNames,
		RunE: func(c *cobra.Command, names []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				configs, err := admin.DescribeTopicConfigs(ctx, names...)
				if err != nil {
					return err
				}
				return f.showConfigs(c.OutOrStdout(), "TOPIC", configs, all, func(c kadm.ResourceConfig) error {
					return topicError("describe", c.Name, c.Err, c.ErrMessage)
				})
			})
		},
	}
	show.Flags().BoolVar(&all, "all", false, "defaults too")
	alter := func(names []string, changes []kadm.AlterConfig) error {
		return f.run(func(ctx context.Context, admin *kadm.Client) error {
			altered, err := admin.AlterTopicConfigs(ctx, changes, names...)
			for _, a := range altered {
				err = errors.Join(err, topicError("configure", a.Name, a.Err, a.ErrMessage))
			}
			return err
		})
	}
	c.AddCommand(show,
		&cobra.Command{
			Use:   "set NAME SETTING=VALUE...",
			Short: "Give a topic settings, which are in force at once",
			Args:  nameAndMore("a topic", "SETTING=VALUE"),
			RunE: func(_ *cobra.Command, args []string) error {
				changes, err := settingsToSet(args[1:])
				if err != nil {
					return err
				}
				return alter(args[:1], changes)
			},
		},
		&cobra.Command{
			Use:   "delete NAME SETTING...",
			Short: "Take settings of its own from a topic: it has the broker's again",
			Args:  nameAndMore("a topic", "SETTING"),
			RunE: func(_ *cobra.Command, args []string) error {
				return alter(args[:1], settingsToDelete(args[1:]))
			},
		})
	onlyCommands(c)
	return c
}

func brokerCommand() *cobra.Command {
	var f topicFlags
	c := &cobra.Command{Use: "broker", Short: "Show and change the settings of a running broker"}
	c.PersistentFlags().StringVar(&f.bootstrap, "bootstrap", "127.0.0.1:9092", "`HOST:PORT` of the broker")
	c.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	c.PersistentFlags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the broker")
	c.AddCommand(brokerConfig(&f))
	onlyCommands(c)
	return c
}

func brokerConfig(f *topicFlags) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Show and change the broker's settings while it runs"}
	var all bool
	show := &cobra.Command{
		Use:   "show",
		Short: "Show the broker's settings that are not Kafka's defaults, and where they come from",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(func(ctx context.Context, admin *kadm.Client) error {
				brokers, err := admin.ListBrokers(ctx)
				if err != nil {
					return err
				}
				configs, err := admin.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...)
				if err != nil {
					return err
				}
				return f.showConfigs(c.OutOrStdout(), "BROKER", configs, all, func(c kadm.ResourceConfig) error {
					return brokerError("describe", c.Name, c.Err, c.ErrMessage)
				})
			})
		},
	}
	show.Flags().BoolVar(&all, "all", false, "defaults too")
	alter := func(changes []kadm.AlterConfig) error {
		return f.run(func(ctx context.Context, admin *kadm.Client) error {
			altered, err := admin.AlterBrokerConfigs(ctx, changes)
			for _, a := range altered {
				err = errors.Join(err, brokerError("configure", a.Name, a.Err, a.ErrMessage))
			}
			return err
		})
	}
	c.AddCommand(show,
		&cobra.Command{
			Use:   "set SETTING=VALUE...",
			Short: "Give the broker settings that can change while it runs; they are kept",
			Args:  atLeastOne("SETTING=VALUE"),
			RunE: func(_ *cobra.Command, args []string) error {
				changes, err := settingsToSet(args)
				if err != nil {
					return err
				}
				return alter(changes)
			},
		},
		&cobra.Command{
			Use:   "delete SETTING...",
			Short: "Take back settings that were given to a running broker: it has those of its start again",
			Args:  atLeastOne("SETTING"),
			RunE:  func(_ *cobra.Command, args []string) error { return alter(settingsToDelete(args)) },
		})
	onlyCommands(c)
	return c
}

// brokerError is topicError for settings of brokers.
func brokerError(what, broker string, err error, message string) error {
	var code *kerr.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &code):
		return fmt.Errorf("cannot %s broker %s: %w", what, broker, err)
	case message == "":
		message = code.Description
	}
	if broker == "" {
		return fmt.Errorf("cannot %s the broker: %s (%s)", what, strings.TrimSuffix(message, "."), code.Message)
	}
	return fmt.Errorf("cannot %s broker %s: %s (%s)", what, broker, strings.TrimSuffix(message, "."), code.Message)
}

// nameAndMore wants a name and something about it.
func nameAndMore(what, more string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < 2 {
			return fmt.Errorf("%s wants the name of %s and at least one %s", spoken(c), what, more)
		}
		return nil
	}
}

func atLeastOne(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s wants at least one %s", spoken(c), what)
		}
		return nil
	}
}

func settingsToSet(args []string) (changes []kadm.AlterConfig, err error) {
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not a setting and its value: want name=value", a)
		}
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	return changes, nil
}

func settingsToDelete(names []string) (changes []kadm.AlterConfig) {
	for _, name := range names {
		changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
	}
	return changes
}

// showConfigs prints settings by what they are of and by name.
func (f *topicFlags) showConfigs(out io.Writer, title string, configs kadm.ResourceConfigs, all bool, explain func(kadm.ResourceConfig) error) error {
	rows, err := []configRow{}, error(nil)
	slices.SortFunc(configs, func(a, b kadm.ResourceConfig) int { return cmp.Compare(a.Name, b.Name) })
	for _, of := range configs {
		if e := explain(of); e != nil {
			err = errors.Join(err, e)
			continue
		}
		slices.SortFunc(of.Configs, func(a, b kadm.Config) int { return cmp.Compare(a.Key, b.Key) })
		for _, c := range of.Configs {
			if !all && c.Source == kmsg.ConfigSourceDefaultConfig {
				continue
			}
			rows = append(rows, configRow{of.Name, c.Key, c.Value, cmp.Or(sources[c.Source], c.Source.String())})
		}
	}
	return errors.Join(f.print(out, rows, func(w io.Writer) {
		fmt.Fprintf(w, "%s\tSETTING\tVALUE\tFROM\n", title)
		for _, r := range rows {
			value := "-"
			if r.Value != nil {
				value = *r.Value
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Of, r.Name, value, r.Source)
		}
	}), err)
}
