package storage

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"slipstream/ring"
)

// Every decoder of what is on the disk, given anything, returns; and what it takes it writes back.

func FuzzOffsets(f *testing.F) {
	f.Add([]byte("0\n1\ntopic 0 5\n"))
	f.Add([]byte("0\n0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := DecodeOffsets(b)
		if err != nil {
			return
		}
		again, err := DecodeOffsets(AppendOffsets(nil, entries))
		if err != nil || len(again) != len(entries) {
			t.Fatalf("%v became %v, %v", entries, again, err)
		}
	})
}

func FuzzEpochs(f *testing.F) {
	f.Add([]byte("0\n2\n0 0\n2 184\n"), int32(1), int64(7))
	f.Fuzz(func(t *testing.T, b []byte, epoch int32, offset int64) {
		e, err := decodeEpochs(b)
		if err != nil {
			return
		}
		e.endOffset(epoch, offset)
		e.at(offset)
		e.assign(epoch, max(offset, 0))
		for i := 1; i < len(e.entries); i++ {
			if e.entries[i].epoch <= e.entries[i-1].epoch || e.entries[i].start <= e.entries[i-1].start {
				t.Fatalf("out of order: %v", e)
			}
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	f.Add(mustRead(f, "testdata/kafka/golden-0/00000000000000000368.snapshot"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ps, err := decodeProducers(b)
		if err == nil && len(ps.encode()) > len(b) {
			t.Fatal("it grew")
		}
	})
}

func FuzzMetaProperties(f *testing.F) {
	f.Add(mustRead(f, "testdata/kafka/meta.properties"))
	f.Add(mustRead(f, "testdata/kafka/golden-0/partition.metadata"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMetaProperties(b); err == nil {
			if again, err := decodeMetaProperties(m.encode(0)); err != nil || again != m {
				t.Fatalf("%+v became %+v, %v", m, again, err)
			}
		}
		if id, err := decodePartitionMetadata(b); err == nil && !bytes.Contains(encodePartitionMetadata(id), []byte("version: 0\n")) {
			t.Fatal(id)
		}
		decodeCleanShutdown(b)
	})
}

// FuzzOpen opens a directory whose files hold anything, clean or not. Whatever comes of it must itself open and be read
// as a log.
func FuzzOpen(f *testing.F) {
	golden := "testdata/kafka/golden-0/"
	log := mustRead(f, golden+"00000000000000000157.log")
	f.Add(log, mustRead(f, golden+"00000000000000000157.index"), mustRead(f, golden+"00000000000000000157.timeindex"), mustRead(f, golden+"00000000000000000157.snapshot"), true)
	f.Add(log[:len(log)-7], []byte{}, make([]byte, 24), []byte{}, false)
	f.Add(append(bytes.Clone(log), make([]byte, 4096)...), make([]byte, 8), []byte("x"), []byte{0}, true)
	f.Fuzz(func(t *testing.T, log, index, timeIndex, snapshot []byte, clean bool) {
		dir := filepath.Join(t.TempDir(), "events-0")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		base := filepath.Join(dir, fileName(157, ""))
		mustWrite(t, base+logSuffix, log)
		mustWrite(t, base+indexSuffix, index)
		mustWrite(t, base+timeIndexSuffix, timeIndex)
		mustWrite(t, base+snapshotSuffix, snapshot)
		k := ring.NewLinux()
		p, _, err := Open(k, dir, goldenConfig(), OpenOptions{Clean: clean, RecoveryPoint: 160})
		if err != nil {
			return
		}
		end := p.Offsets().LogEnd
		if again, _, err := Open(k, dir, goldenConfig(), OpenOptions{}); err != nil || !clean && again.Offsets().LogEnd != end {
			t.Fatalf("it ends at %d, and opened again: %v", end, err)
		}
		q := p.Searcher()
		_, _ = q.MaxTimestamp(k)
		_, _ = q.OffsetForTimestamp(k, 1795265500_000)
	})
}
