package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"slipstream/internal/broker"
	"slipstream/internal/config"
	"slipstream/reactor"
	"slipstream/ring"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	listen, metrics, file, logLevel string
	dataDirs, sets                  []string
	cores                           int
	coresGiven                      bool
}

func serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the broker in the foreground",
		Long: "Run the broker in the foreground, without root. Flags win over --set, --set over the file,\n" +
			"the file over defaults. SIGTERM or SIGINT stops it cleanly, a second one at once.\n\n" +
			"A data directory must be named, here or as log.dirs: there is no default, so that\n" +
			"records never end up where nobody looks, or in a /tmp that a reboot empties.",
		Example: "  slipstream serve --data-dir ./data --listen 127.0.0.1:9092\n" +
			"  slipstream serve --config server.properties --set log.dirs=./data",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			f.coresGiven = c.Flags().Changed("cores")
			return serve(f)
		},
	}
	c.Flags().StringArrayVar(&f.dataDirs, "data-dir", nil, "a data `DIR`, made if it is not there; several: repeat it, or separate them by commas (otherwise log.dirs)")
	c.Flags().StringVar(&f.listen, "listen", "", "`HOST:PORT` to listen on; port 0 lets the kernel choose (otherwise listeners)")
	c.Flags().StringVar(&f.metrics, "metrics", "", "`HOST:PORT` to serve Prometheus' /metrics on; port 0 lets the kernel choose (otherwise slipstream.metrics.listener; off by default)")
	c.Flags().StringVar(&f.file, "config", "", "a `FILE` with Kafka's server.properties names")
	c.Flags().StringArrayVar(&f.sets, "set", nil, "a setting, `NAME=VALUE`; may be repeated")
	c.Flags().IntVar(&f.cores, "cores", 0, "`N` cores to run; 0: one fewer than processors (otherwise slipstream.cores)")
	c.Flags().StringVar(&f.logLevel, "log-level", "info", "log `LEVEL`: debug, info, warn or error")
	return c
}

func serve(f serveFlags) error {
	log, level, err := newLogger(f.logLevel)
	if err != nil {
		return err
	}
	cfg, err := config.Load(f.file, f.sets)
	if err != nil {
		return err
	}
	if f.coresGiven {
		if err := cfg.Set("slipstream.cores", strconv.Itoa(f.cores)); err != nil {
			return fmt.Errorf("--cores %d: %w", f.cores, err)
		}
	}
	dataDirs := strings.Join(f.dataDirs, ",")
	if err := needDataDir(cfg, dataDirs); err != nil {
		return err
	}
	if names := cfg.Warnings(); len(names) > 0 {
		log.Warn("settings that are accepted and change nothing here", "names", strings.Join(names, " "))
	}
	settings, err := broker.SettingsFrom(cfg, dataDirs, f.listen, raiseDescriptors())
	if err != nil {
		return err
	}
	settings.LogLevel = level
	kernel, err := ring.Open(cfg.Get("slipstream.ring.kernel"))
	if err != nil {
		return err
	}
	// Cores are threads that sit in the kernel: without a P of its own for each a
	// core that comes back waits for the scheduler.
	threads := int(cfg.Int("slipstream.helpers"))
	runtime.GOMAXPROCS(max(runtime.NumCPU(), settings.Cores+threads+2))
	cache, err := observePageCache(cfg.Get("slipstream.ebpf"), &settings, log)
	if err != nil {
		return err
	}
	defer cache.close()
	helpers := reactor.NewHelpers(threads)
	figures, err := serveMetrics(f.metrics, cfg, &settings, helpers, cache, log)
	if err != nil {
		return err
	}
	defer figures.close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		<-ctx.Done()
		time.Sleep(sameSignal)
		stop() // a second signal ends the process
	}()
	return broker.Serve(ctx, settings, kernel, helpers, log, func(r broker.Report) {
		printScreen(os.Stderr, r, cache.line, figures.url())
	})
}

// sameSignal is how long after a first signal another one is the same: timeout(1) and some supervisors signal the process and then its group,
// and what nobody has asked for twice is not to cost the clean shutdown.
const sameSignal = 500 * time.Millisecond

// needDataDir refuses Kafka's default of log.dir, a directory in /tmp: what a
// broker keeps should lie where somebody chose.
func needDataDir(cfg *config.Config, flag string) error {
	if flag != "" {
		return nil
	}
	for _, name := range []string{"log.dirs", "log.dir"} {
		if v, ok := cfg.Static(name); ok && v != "" {
			return nil
		}
	}
	return errors.New("no data directory is named: give --data-dir DIR, or log.dirs in the --config file")
}

func newLogger(level string) (*slog.Logger, *slog.LevelVar, error) {
	l := new(slog.LevelVar)
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, fmt.Errorf("--log-level %s: want debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})), l, nil
}

// raiseDescriptors raises the soft limit of open files to the hard one and
// returns what is in force.
func raiseDescriptors() uint64 {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	if r.Cur < r.Max {
		raised := unix.Rlimit{Cur: r.Max, Max: r.Max}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			r = raised
		}
	}
	return r.Cur
}

// printScreen is what a start shows.
func printScreen(w io.Writer, r broker.Report, ebpf, metrics string) {
	state := "new"
	switch {
	case r.Partitions > 0 && r.Clean:
		state = "clean"
	case r.Partitions > 0:
		state = fmt.Sprintf("recovered: %d segments scanned (%d MiB), %d bytes of a torn tail cut, %d indexes rebuilt",
			r.Recovered.SegmentsScanned, r.Recovered.BytesScanned>>20, r.Recovered.BytesCut, r.Recovered.IndexesRebuilt)
	}
	fmt.Fprintf(w, "slipstream %s, listening on %s\n", version, strings.Join(r.Addresses, ", "))
	fmt.Fprintf(w, "  node      %d of cluster %s\n", r.NodeID, r.ClusterID)
	fmt.Fprintf(w, "  data      %s (%s); %d topics, %d partitions; ready in %d ms\n", strings.Join(r.DataDirs, ", "), state, r.Topics, r.Partitions, r.TookMillis)
	fmt.Fprintf(w, "  cores     %d, io_uring level %s\n", r.Cores, r.Level)
	fmt.Fprintf(w, "  writer    %s\n", r.Writer)
	fmt.Fprintf(w, "  ebpf      %s\n", ebpf)
	if metrics != "" {
		fmt.Fprintf(w, "  metrics   %s\n", metrics)
	}
	address := r.Addresses[0]
	if host, port, err := net.SplitHostPort(address); err == nil && (host == "0.0.0.0" || host == "::") {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	fmt.Fprintf(w, "try it      echo hello | kcat -b %s -t greetings -P && kcat -b %s -t greetings -C -e\n", address, address)
}
