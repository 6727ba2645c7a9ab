package storage

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"slipstream/protocol"
	"slipstream/ring"
)

var recoverBytes = flag.Int64("recover-bytes", 256<<20, "how much BenchmarkRecover recovers")

// dirtyLog makes a log with one segment of so many bytes, as a broker that was killed leaves it: batches of an idempotent producer, no index.
func dirtyLog(t testing.TB, dir string, bytes int64, value int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, fileName(0, logSuffix)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var piece []byte
	written := int64(0)
	for i := int64(0); written < bytes; i++ {
		b := protocol.Batch(spec{value: value, timestamp: ring.NewLinux().Wall() / 1e6, producer: 7, sequence: int32(i)}.batch())
		b.SetBaseOffset(i)
		b.SetLeaderEpoch(0)
		piece = append(piece, b...)
		if written += int64(len(b)); len(piece) > 1<<20 || written >= bytes {
			if _, err := f.Write(piece); err != nil {
				t.Fatal(err)
			}
			piece = piece[:0]
		}
	}
	mustWrite(t, filepath.Join(dir, epochCheckpointName), []byte("0\n1\n0 0\n"))
	mustWrite(t, filepath.Join(dir, partitionMetadataName), encodePartitionMetadata(protocol.UUID{1, 2, 3}))
}

// BenchmarkRecover opens a log after a kill: MB/s, and seconds of processor time a GB, of a segment in the page cache.
func BenchmarkRecover(b *testing.B) {
	for _, value := range []int{100, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("batches of %d bytes", value), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "events-0")
			dirtyLog(b, dir, *recoverBytes, value)
			b.SetBytes(*recoverBytes)
			b.ResetTimer()
			began := processorSeconds()
			for range b.N {
				p, report, err := Open(ring.NewLinux(), dir, DefaultConfig(), OpenOptions{})
				if err != nil || p.Producers() != 1 || report.BytesScanned < *recoverBytes {
					b.Fatal(err, report)
				}
			}
			b.ReportMetric((processorSeconds()-began)/(float64(*recoverBytes)*float64(b.N)/1e9), "cpu-s/GB")
		})
	}
}

func processorSeconds() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkOpen opens a log of ten thousand closed segments after a clean stop.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "events-0")
	manySegments(b, dir, 10000)
	b.ResetTimer()
	began := processorSeconds()
	for range b.N {
		if p, _, err := Open(ring.NewLinux(), dir, DefaultConfig(), OpenOptions{Clean: true}); err != nil || p.Segments() != 10001 {
			b.Fatal(err)
		}
	}
	b.ReportMetric((processorSeconds()-began)/float64(b.N)*1e3, "cpu-ms/op")
}
