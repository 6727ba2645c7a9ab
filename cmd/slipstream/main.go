// Command slipstream is the broker and its tools in one binary.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// version is set by the build (git describe).
var version = "development"

func main() {
	root := &cobra.Command{
		Use:   "slipstream",
		Short: "A Kafka-wire-compatible broker on per-core io_uring",
		Long: "slipstream is a broker that Kafka's clients and tools use unchanged. It drives network and\n" +
			"file I/O from per-core io_uring rings and serves consumers zero-copy from the page cache.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; %s --help lists what there is", err, c.CommandPath())
	})
	root.AddCommand(serveCommand(), topicCommand(), brokerCommand(), groupCommand(), txnCommand(), logCommand(), adoptCommand(), versionCommand())
	onlyCommands(root)
	if err := root.Execute(); err != nil {
		for line := range strings.Lines(err.Error()) { // joined errors: a sentence each
			fmt.Fprintln(os.Stderr, "slipstream:", strings.TrimSuffix(line, "\n"))
		}
		os.Exit(1)
	}
}

// onlyCommands makes a command that only has commands below it show its help, and
// refuse what is none of them in one sentence.
func onlyCommands(c *cobra.Command) {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			return fmt.Errorf("there is no command %q; did you mean %s %s?", args[0], c.CommandPath(), near[0])
		}
		return fmt.Errorf("there is no command %q; %s --help lists what there is", args[0], c.CommandPath())
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.SuggestionsMinimumDistance = 2
}

// spoken is a command's name in a sentence, which the binary's name begins.
func spoken(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
}

// noArguments refuses arguments in one sentence.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, and %q is one", spoken(c), args[0])
	}
	return nil
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		Run:   func(*cobra.Command, []string) { fmt.Println("slipstream", version) },
	}
}
