package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"slipstream/internal/logtool"
	"slipstream/ring"

	"github.com/spf13/cobra"
)

func logCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "log",
		Short: "Show, verify, repair and size up the files of a data directory, ours or Apache Kafka's",
		Long: "Show, verify, repair and size up the files of a data directory, ours or Apache Kafka's. No broker is\n" +
			"needed. Only repair --yes changes anything.",
	}
	c.AddCommand(logDump(), logVerify(), logRepair(), logStat())
	onlyCommands(c)
	return c
}

// onePath wants a file or a directory.
func onePath(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s wants %s", spoken(c), what)
		}
		return nil
	}
}

func logDump() *cobra.Command {
	var o logtool.DumpOptions
	var asJSON bool
	c := &cobra.Command{
		Use:   "dump PATH",
		Short: "Show what is in a file, or in all files of a directory",
		Args:  onePath("a file or a directory"),
		RunE: func(c *cobra.Command, args []string) error {
			out := bufio.NewWriterSize(c.OutOrStdout(), 64<<10)
			problems := 0
			encoder := json.NewEncoder(out)
			err := logtool.Dump(ring.NewLinux(), args[0], o, func(it logtool.Item) error {
				if it.Kind == "problem" {
					problems++
				}
				if asJSON {
					return encoder.Encode(it)
				}
				_, err := fmt.Fprintln(out, it)
				return err
			})
			if err == nil && problems > 0 {
				err = fmt.Errorf("%d problem%s among them; log verify says which of them matter", problems, plural(problems))
			}
			return errors.Join(err, out.Flush())
		},
	}
	c.Flags().BoolVar(&o.Records, "records", false, "the records of each batch too; the broker's own are decoded")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object a line")
	return c
}

func logVerify() *cobra.Command {
	var asJSON bool
	var o logtool.VerifyOptions
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check the files of a data directory, or of one partition's, against each other",
		Args:  onePath("a data directory"),
		RunE: func(c *cobra.Command, args []string) error {
			bar := newBar(c.ErrOrStderr())
			o.Progress = bar.show
			r, err := logtool.Verify(ring.NewLinux(), args[0], o)
			bar.clear()
			if err != nil {
				return err
			}
			if asJSON {
				if err := json.NewEncoder(c.OutOrStdout()).Encode(r); err != nil {
					return err
				}
			} else {
				out := bufio.NewWriter(c.OutOrStdout())
				writeReport(out, r)
				if err := out.Flush(); err != nil {
					return err
				}
			}
			if n := r.Damaged() + r.LeftOut; n > 0 {
				return fmt.Errorf("%d problem%s in %s", n, plural(n), args[0])
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringSliceVar(&o.Compacted, "compacted", nil, "a `TOPIC` that is compacted by the broker's properties file; may be repeated")
	c.Flags().IntVarP(&o.Workers, "parallel", "j", 0, "check `N` partitions at once (otherwise one a processor)")
	c.Flags().Lookup("parallel").DefValue = "" // not to be shown
	return c
}

func writeReport(out io.Writer, r *logtool.Report) {
	for _, p := range r.Problems {
		if p.Note {
			fmt.Fprintf(out, "note: %s\n", p)
		} else {
			fmt.Fprintln(out, p)
		}
	}
	if r.LeftOut > 0 {
		fmt.Fprintf(out, "and %d more\n", r.LeftOut)
	}
	how := "not stopped cleanly, or still running"
	if r.Clean {
		how = "stopped cleanly"
	}
	damaged := r.Damaged() + r.LeftOut
	fmt.Fprintf(out, "%d partition%s, %d segment%s, %d batches, %d records, %s (%s): %d problem%s, %d note%s\n", r.Partitions, plural(r.Partitions), r.Segments, plural(r.Segments),
		r.Batches, r.Records, size(r.Bytes), how, damaged, plural(damaged), len(r.Problems)-r.Damaged(), plural(len(r.Problems)-r.Damaged()))
}

func logStat() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "stat DIR",
		Short: "Show each partition's segments, sizes, offsets, and what of it is in the page cache",
		Args:  onePath("a data directory"),
		RunE: func(c *cobra.Command, args []string) error {
			stats, err := logtool.Stat(ring.NewLinux(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(c.OutOrStdout()).Encode(stats)
			} else {
				err = writeStats(c.OutOrStdout(), stats)
			}
			for _, st := range stats {
				if st.Why != "" {
					err = errors.Join(err, fmt.Errorf("%s-%d: %s", st.Topic, st.Partition, st.Why))
				}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func writeStats(out io.Writer, stats []logtool.PartitionStat) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TOPIC\tPARTITION\tSEGMENTS\tSIZE\tON DISK\tINDEXES\tSTART\tEND\tNEWEST\tCACHED\tDIRTY")
	for _, st := range stats {
		newest := "-"
		if st.LargestTimestamp >= 0 {
			newest = time.UnixMilli(st.LargestTimestamp).UTC().Format("2006-01-02T15:04:05.000Z")
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", st.Topic, st.Partition, st.Segments, size(st.Bytes), size(st.DiskBytes), size(st.IndexBytes),
			st.StartOffset, st.EndOffset, newest, size(st.ResidentBytes), size(st.DirtyBytes))
	}
	return w.Flush()
}

// size is a number of bytes to read: - if it is not known.
func size(n int64) string {
	if n < 0 {
		return "-"
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, u := float64(n), 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + " " + units[u]
}

// openTerminal is standard error if it is a terminal.
func openTerminal(w io.Writer) *os.File {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(int(f.Fd())) {
		return nil
	}
	return f
}
