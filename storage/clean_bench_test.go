package storage

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"slipstream/protocol"
)

var (
	benchCleanBytes = flag.Int64("clean-bytes", 256<<20, "the log that BenchmarkClean compacts, in bytes")
	benchCleanKeys  = flag.Int("clean-keys", 200_000, "its keys")
	benchCleanKeep  = flag.String("clean-keep", "", "a directory that it is left in as it was before, for another cleaner")
)

// BenchmarkClean compacts a log of -clean-bytes (256 MiB) of 500-byte records with -clean-keys keys, drawn at random, in segments of 64 MiB: how
// fast, and what processor time a GB takes, the kernel's included.
//
//	go test -run '^$' -bench Clean -benchtime 1x ./storage -args -clean-bytes 1073741824
func BenchmarkClean(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		r := newRig(b, StoreOptions{})
		cfg := DefaultConfig()
		cfg.SegmentBytes, cfg.Compacted, cfg.Deletable = 64<<20, true, false
		dir := filepath.Join(b.TempDir(), "state-0")
		p := r.create(dir, cfg)
		writeKeyed(r, p, *benchCleanBytes, *benchCleanKeys)
		r.until("the log is in order", func() bool { return p.finishing == 0 && !p.syncing.running })
		if *benchCleanKeep != "" {
			if err := os.RemoveAll(*benchCleanKeep); err != nil {
				b.Fatal(err)
			}
			copyDir(b, dir, *benchCleanKeep)
		}
		c, ok := p.Cleanable(r.core.Wall / 1e6)
		if !ok || !c.Due() {
			b.Fatalf("nothing to clean: %+v", c)
		}
		var cleaner Cleaner
		var result CleanResult
		ended := false
		before := cpuNanos(b)
		b.StartTimer()
		p.Clean(&c, &cleaner, CleanOptions{MapBytes: 128 << 20, BytesPerSecond: noLimits.BytesPerSecond}, func(r CleanResult) { result, ended = r, true })
		for !ended {
			r.core.Turn(false)
		}
		b.StopTimer()
		if result.Err != nil {
			b.Fatal(result.Err)
		}
		b.SetBytes(c.DirtyBytes)
		b.ReportMetric(float64(cpuNanos(b)-before)/1e9/(float64(c.DirtyBytes)/1e9), "cpu-s/GB")
		b.ReportMetric(float64(result.WrittenBytes)/float64(result.ReadBytes), "left")
		if errs := r.close(); errs != nil {
			b.Fatal(errs)
		}
		b.StartTimer()
	}
}

// writeKeyed fills a log with records of 500 bytes in batches of about 16 KiB.
func writeKeyed(r *rig, p *Partition, bytes int64, keys int) {
	rng := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 500)
	block := r.core.Arena.Alloc(64 << 10)
	a := &appending{}
	for p.Bytes() < bytes {
		var bl protocol.Builder
		bl.Begin(block.Bytes()[:0], protocol.NewBatchInfo(0, 0))
		for range 30 {
			for i := 0; i < len(value); i += 8 {
				v := rng.Uint64()
				for k := range 4 {
					value[min(i+k, 499)] = byte(v >> (8 * k))
				}
			}
			bl.Append(&protocol.Record{Timestamp: r.core.Wall / 1e6, Key: fmt.Appendf(nil, "key-%08d", rng.IntN(keys)), Value: value})
		}
		_, batch := bl.Finish()
		*a = appending{}
		a.Batch, a.Owner = batch, a
		p.Append(&a.Append)
		for a.answered == 0 {
			r.core.Turn(false)
		}
	}
	block.Release()
}

// cpuNanos is the processor time that this process has taken.
func cpuNanos(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
