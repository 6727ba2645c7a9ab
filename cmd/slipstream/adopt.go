package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"slipstream/internal/broker"
	"slipstream/internal/config"
	"slipstream/ring"

	"github.com/spf13/cobra"
)

func adoptCommand() *cobra.Command {
	var check, asJSON bool
	var file string
	var sets []string
	c := &cobra.Command{
		Use:   "adopt --check DIR...",
		Short: "Say what a start would find in a data directory, of Apache Kafka's too, and what would stop it",
		Long: "Say what a start would find in the data directory of a stopped broker, ours or Apache Kafka's, and\n" +
			"what would stop it. Nothing is changed. There is no conversion: serve opens such a directory, and\n" +
			"Kafka opens it again afterwards. The exit status is 0 if a start would open it, 1 if it would not.",
		Example: "  slipstream adopt --check /var/lib/kafka/data\n" +
			"  slipstream adopt --check --config server.properties",
		RunE: func(c *cobra.Command, dirs []string) error {
			if !check {
				return errors.New("adopt only checks: give --check; there is nothing to convert, slipstream serve --data-dir DIR opens the directory")
			}
			cfg, err := config.Load(file, sets)
			if err != nil {
				return err
			}
			if len(dirs) == 0 && needDataDir(cfg, "") != nil {
				return errors.New("no data directory is named: adopt --check DIR, or log.dirs in the --config file")
			}
			settings, err := broker.SettingsFrom(cfg, strings.Join(dirs, ","), "", 1024)
			if err != nil {
				return err
			}
			_, node := cfg.Static("node.id")
			_, brokerID := cfg.Static("broker.id")
			found := broker.Adopt(ring.NewLinux(), settings, !node && !brokerID)
			if asJSON {
				err = json.NewEncoder(c.OutOrStdout()).Encode(found)
			} else {
				err = writeAdoption(c.OutOrStdout(), found)
			}
			if n := len(found.Stops); err == nil && n > 0 {
				err = fmt.Errorf("%s would not be opened, for %d reason%s", strings.Join(settings.DataDirs, ", "), n, plural(n))
			}
			return err
		},
	}
	c.Flags().BoolVar(&check, "check", false, "look, and change nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&file, "config", "", "a `FILE` with Kafka's server.properties names: the settings of the start")
	c.Flags().StringArrayVar(&sets, "set", nil, "a setting of the start, `NAME=VALUE`; may be repeated")
	return c
}

func writeAdoption(out io.Writer, a *broker.Adoption) error {
	return writeTable(out, func(w io.Writer) {
		if a.ClusterID != "" {
			fmt.Fprintf(w, "cluster\t%s\nnode\t%d\n", a.ClusterID, a.NodeID)
		}
		for _, d := range a.Directories {
			fmt.Fprintf(w, "directory\t%s: %d partition%s, %s, %s\n", d.Path, d.Partitions, plural(d.Partitions), size(d.Bytes), recovery(&d))
		}
		if m := a.Metadata; m != nil {
			writeAdoptedMetadata(w, m)
			fmt.Fprintf(w, "topics\t%d with %d partition%s, %s\n", a.Topics, a.Partitions, plural(a.Partitions), size(a.Bytes))
			c := &a.Contents
			fmt.Fprintf(w, "groups\t%d classic, %d consumer, %d share; %d committed offset%s, %d share-partition%s\n", c.ClassicGroups, c.ConsumerGroups, c.ShareGroups,
				c.CommittedOffsets, plural(c.CommittedOffsets), c.ShareStates, plural(c.ShareStates))
			fmt.Fprintf(w, "transactions\t%d transactional id%s; open: %s\n", c.TransactionalIDs, plural(c.TransactionalIDs), listed(c.OpenTransactions))
		}
		for _, s := range a.Notes {
			fmt.Fprintf(w, "note\t%s\n", s)
		}
		for _, s := range a.Stops {
			fmt.Fprintf(w, "stops a start\t%s\n", s)
		}
		if len(a.Stops) == 0 {
			fmt.Fprintf(w, "to start\tslipstream serve --set node.id=%d --data-dir %s\n", a.NodeID, joinPaths(a.Directories))
		}
	})
}

func writeAdoptedMetadata(w io.Writer, m *broker.AdoptedMetadata) {
	from := "no snapshot"
	if m.Snapshot != "" {
		from = "snapshot " + m.Snapshot
	}
	fmt.Fprintf(w, "metadata\t%s and %s of log behind it; ends at offset %d, epoch %d\n", from, size(m.Behind), m.End, m.Epoch)
	names := make([]string, 0, len(m.Features))
	for name, level := range m.Features {
		names = append(names, fmt.Sprintf("%s %d", name, level))
	}
	slices.Sort(names)
	fmt.Fprintf(w, "features\t%s\n", listed(names))
}

// recovery is what a start has to do in a directory before it can serve it.
func recovery(d *broker.AdoptedDir) string {
	if d.Clean {
		return "stopped cleanly"
	}
	return fmt.Sprintf("not stopped cleanly: a start validates %d segment%s, %s", d.RecoverSegments, plural(d.RecoverSegments), size(d.RecoverBytes))
}

// listed is the first of some names.
func listed(names []string) string {
	const most = 8
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

func joinPaths(dirs []broker.AdoptedDir) string {
	paths := make([]string, len(dirs))
	for i := range dirs {
		paths[i] = dirs[i].Path
	}
	return strings.Join(paths, ",")
}
