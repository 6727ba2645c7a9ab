// Command demo shows the main job: every line of the Go distribution's source tree through the real broker and back.
// kcat and kgo produce it with each of Kafka's five compressions; kcat, kgo and Kafka's Java console consumer read every
// partition back, and the SHA-256 of what they read must be that of what was produced. Run it with `make demo`.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"slipstream/internal/clients/harness"
)

func main() {
	lines := flag.Int("lines", 0, "stop after about this many lines (0: all of them)")
	partitions := flag.Int("partitions", 3, "partitions of each topic")
	flag.Parse()
	err := run(*lines, *partitions)
	harness.Cleanup()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(lines, partitions int) error {
	corpus, err := harness.GoSource(partitions, lines)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "slipstream-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	input, err := harness.KcatInput(dir, corpus)
	if err != nil {
		return err
	}
	java := partitions
	if _, err := harness.Jars(); err != nil {
		var missing *harness.Missing
		if !errors.As(err, &missing) || harness.RequireTools() {
			return err
		}
		fmt.Printf("note: %v, so its consumer is left out\n", missing)
		java = 0
	}
	b, err := harness.Start(harness.Options{Kind: harness.DefaultKind(), DataDir: filepath.Join(dir, "data")})
	if err != nil {
		return err
	}
	fmt.Printf("input: every line of the Go source tree: %d files, %d lines, %.1f MB, longest line %d bytes\n",
		corpus.Files, corpus.Lines, float64(corpus.Bytes)/1e6, corpus.Longest)
	for p := range corpus.Partitions {
		fmt.Printf("  partition %d: %8d lines, SHA-256 %x\n", p, corpus.Partitions[p].Lines, corpus.Partitions[p].Sum)
	}
	fmt.Printf("broker: %v on %s, ready in %d ms\n\n", b.Kind, b.Addr, b.ReadyIn.Milliseconds())
	fmt.Printf("%-22s %-20s %-16s %-16s %-20s %s\n", "topic", "produced", "kcat reads", "kgo reads", "Java reads", "on disk")
	start := time.Now()
	for _, codec := range harness.Codecs {
		for _, producer := range []string{"kcat", "kgo"} {
			job := harness.Job{Addr: b.Addr, Topic: producer + "-" + codec, Producer: producer, Codec: codec,
				Corpus: corpus, KcatInput: input, JavaPartitions: java}
			if err := show(b, &job); err != nil {
				return fmt.Errorf("%s: %w\n%s", job.Topic, err, b.Log())
			}
		}
	}
	fmt.Printf("\n%d records produced, each read back by every consumer, byte for byte and in order, in %.0f s\n",
		2*len(harness.Codecs)*corpus.Lines, time.Since(start).Seconds())
	return stop(b)
}

// show runs one job and prints its row.
func show(b *harness.Broker, job *harness.Job) error {
	fmt.Printf("%-22s ", job.Topic)
	var javaTook time.Duration
	var javaBytes int64
	for _, step := range job.Run() {
		if step.Err != nil {
			fmt.Println("FAILED")
			return step.Err
		}
		rate := float64(step.Bytes) / step.Took.Seconds() / 1e6
		switch {
		case strings.HasPrefix(step.What, "produced"):
			fmt.Printf("%-20s ", fmt.Sprintf("%.1f s %.0f MB/s", step.Took.Seconds(), rate))
		case strings.HasPrefix(step.What, "read by Java"):
			javaTook += step.Took
			javaBytes += step.Bytes
		case strings.HasPrefix(step.What, "read"):
			fmt.Printf("%-16s ", fmt.Sprintf("ok %.0f MB/s", rate))
		}
	}
	java := "-"
	if javaBytes > 0 {
		java = fmt.Sprintf("ok %.0f MB/s", float64(javaBytes)/javaTook.Seconds()/1e6)
	}
	fmt.Printf("%-20s %s\n", java, onDisk(b, job.Topic))
	return nil
}

// onDisk is the size of a topic's log files.
func onDisk(b *harness.Broker, topic string) string {
	var sum int64
	paths, _ := filepath.Glob(filepath.Join(b.DataDir, topic+"-*", "*.log"))
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil {
			sum += info.Size()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err.Error()
		}
	}
	if len(paths) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f MB", float64(sum)/1e6)
}

func stop(b *harness.Broker) error {
	if b.Kind == harness.External {
		return nil
	}
	if err := b.Stop(time.Minute); err != nil {
		return err
	}
	fmt.Println("the broker stopped cleanly on SIGTERM")
	return nil
}
