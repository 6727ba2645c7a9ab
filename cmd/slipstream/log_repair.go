package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"slipstream/internal/logtool"
	"slipstream/ring"

	"github.com/spf13/cobra"
)

func logRepair() *cobra.Command {
	var asJSON bool
	var o logtool.RepairOptions
	c := &cobra.Command{
		Use:   "repair DIR...",
		Short: "Put right what verify finds in a stopped data directory, or in some of its partitions'",
		Long: "Put right what verify finds in a stopped data directory, or in some of its partitions'. Without --yes\n" +
			"nothing is changed: it says what it would do. A copy of each file that is changed or removed is kept\n" +
			"first, in a directory beside DIR or in that of --backup; copied back, they undo the repair.\n\n" +
			"A log ends where it is damaged, as Kafka's recovery has it; --skip-batch keeps what follows the damage.\n" +
			"Indexes, snapshots of producers and leader epochs are made anew from the log. What cannot be repaired is\n" +
			"listed, and makes the exit status 1.",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("%s wants a data directory, or partitions' directories in one", spoken(c))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			bar := newBar(c.ErrOrStderr())
			o.Progress, o.NowNanos, o.Own = bar.show, time.Now().UnixNano(), ownAs
			r, err := logtool.Repair(ring.NewLinux(), args, o)
			bar.clear()
			if r == nil {
				return err
			}
			if asJSON {
				err = errors.Join(err, json.NewEncoder(c.OutOrStdout()).Encode(r))
			} else {
				out := bufio.NewWriter(c.OutOrStdout())
				writeRepair(out, r)
				err = errors.Join(err, out.Flush())
			}
			return errors.Join(err, verdict(r))
		},
	}
	c.Flags().BoolVar(&o.Yes, "yes", false, "do it")
	c.Flags().BoolVar(&o.SkipBatches, "skip-batch", false, "take damaged batches out of a log and keep what follows, instead of ending the log there")
	c.Flags().StringVar(&o.Backup, "backup", "", "keep the copies in `DIR`, which must be empty or not be there")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringSliceVar(&o.Compacted, "compacted", nil, "a `TOPIC` that is compacted by the broker's properties file; may be repeated")
	c.Flags().IntVarP(&o.Workers, "parallel", "j", 0, "work on `N` partitions at once (otherwise one a processor)")
	c.Flags().Lookup("parallel").DefValue = "" // not to be shown
	return c
}

// verdict makes the exit status: 1 where something is to be done, or cannot be.
func verdict(r *logtool.RepairReport) error {
	var todo, left error
	if n := len(r.Actions); n > 0 && !r.Done {
		todo = fmt.Errorf("%d thing%s to do: --yes does %s", n, plural(n), map[bool]string{true: "it", false: "them"}[n == 1])
	}
	if n := len(r.Left); n > 0 {
		left = fmt.Errorf("%d problem%s that cannot be repaired", n, plural(n))
	}
	return errors.Join(todo, left)
}

func writeRepair(out io.Writer, r *logtool.RepairReport) {
	would, minor := "would ", 0
	if r.Done {
		would = ""
	}
	for _, a := range r.Actions {
		if a.Minor() {
			minor++
			continue
		}
		fmt.Fprintf(out, "%s%s\n", would, a)
	}
	if minor > 0 {
		fmt.Fprintf(out, "%sremove or rebuild %d file%s that go with these logs (--json names them)\n", would, minor, plural(minor))
	}
	for _, p := range r.Left {
		fmt.Fprintf(out, "not repaired: %s\n", p)
	}
	switch {
	case r.Done:
		fmt.Fprintf(out, "%d thing%s done; the files as they were are in %s\n", len(r.Actions), plural(len(r.Actions)), r.Backup)
	case len(r.Actions) == 0 && len(r.Left) == 0:
		fmt.Fprintf(out, "%d partition%s, %d segment%s, %s: nothing to repair\n", r.Found.Partitions, plural(r.Found.Partitions), r.Found.Segments, plural(r.Found.Segments), size(r.Found.Bytes))
	}
}

// ownAs gives a file the owner of a directory or another file: who repairs is often root, and the broker is not.
func ownAs(path, like string) error {
	info, err := os.Stat(like)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() && int(st.Gid) == os.Getegid() {
		return nil
	}
	return os.Chown(path, int(st.Uid), int(st.Gid))
}
