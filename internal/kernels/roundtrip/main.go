// Command roundtrip runs the slipstream binary and a client against it on the machine it is started on: the guest of
// internal/kernels. It has no need of Go, Java or kcat there.
//
//	roundtrip check -dir D -level L   every codec there and back, over a clean restart and over kill -9
//
// SLIPSTREAM_BIN names the binary. The last line printed is "roundtrip: ok ..." or the exit status is 1.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("want check"))
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	dir := flags.String("dir", "", "data directory")
	level := flags.String("level", "", "ring level to force; empty: the kernel's own")
	lines := flags.Int("lines", 5000, "check: lines per partition and codec")
	flags.Parse(os.Args[2:])
	o := harness.Options{Kind: harness.Slipstream, DataDir: *dir, Ready: 2 * time.Minute}
	if *level != "" && *level != "native" {
		o.SlipSet = append(o.SlipSet, "slipstream.ring.level="+*level)
	}
	b, err := harness.Start(o)
	if err != nil {
		fail(err)
	}
	switch os.Args[1] {
	case "check":
		err = check(b, corpus(*lines))
	default:
		err = fmt.Errorf("unknown mode %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, b.Log())
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "roundtrip:", err)
	os.Exit(1)
}

// corpus is numbered lines of many lengths, empty ones too.
func corpus(lines int) *harness.Corpus {
	c := &harness.Corpus{Partitions: make([]harness.Part, 2)}
	filler := strings.Repeat("the quick brown fox jumps over the lazy dog ", 60)
	for p := range c.Partitions {
		part := &c.Partitions[p]
		for i := range lines {
			if i%17 != 0 {
				part.Data = fmt.Appendf(part.Data, "%d %s", i, filler[:i*37%len(filler)])
			}
			part.Data = append(part.Data, '\n')
		}
		part.Lines = lines
		part.Sum = sha256.Sum256(part.Data)
		c.Lines += lines
		c.Bytes += int64(len(part.Data))
	}
	return c
}

func check(b *harness.Broker, c *harness.Corpus) (err error) {
	for _, codec := range harness.Codecs {
		if err := harness.CreateTopic(b.Addr, codec, len(c.Partitions), "segment.bytes", "1048576"); err != nil {
			return err
		}
		if err := harness.KgoProduce(b.Addr, codec, codec, c, kgo.ProducerBatchMaxBytes(64<<10)); err != nil {
			return err
		}
	}
	if err := readAll(b, c); err != nil {
		return fmt.Errorf("after producing: %w", err)
	}
	if err := b.Stop(time.Minute); err != nil {
		return err
	}
	if b, err = b.Restart(); err != nil {
		return err
	}
	if err := readAll(b, c); err != nil {
		return fmt.Errorf("after a clean restart: %w", err)
	}
	b.Kill()
	if b, err = b.Restart(); err != nil {
		return err
	}
	if err := readAll(b, c); err != nil {
		return fmt.Errorf("after kill -9: %w", err)
	}
	if err := b.Stop(time.Minute); err != nil {
		return err
	}
	fmt.Printf("roundtrip: ok %d records of %d codecs, restarted and killed\n", c.Lines*len(harness.Codecs), len(harness.Codecs))
	return nil
}

func readAll(b *harness.Broker, c *harness.Corpus) error {
	for _, codec := range harness.Codecs {
		for p := range c.Partitions {
			sum, err := harness.KgoConsume(b.Addr, codec, codec, p, c.Partitions[p].Lines)
			if err != nil {
				return err
			}
			if sum != c.Partitions[p].Sum {
				return fmt.Errorf("%s-%d: other bytes than were produced", codec, p)
			}
		}
	}
	return nil
}
