// Command slipstream is the broker and its tools in one binary.
package main

import (
	"fmt"
	"os"

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
	root.AddCommand(serveCommand(), topicCommand(), versionCommand())
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "slipstream:", err)
		os.Exit(1)
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(*cobra.Command, []string) { fmt.Println("slipstream", version) },
	}
}
