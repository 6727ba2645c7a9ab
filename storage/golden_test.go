package storage

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"
	"testing"

	"slipstream/protocol"
)

// testdata/kafka is part of a data directory that Apache Kafka 4.3.1 wrote and closed: a topic with
// segment.ms=60000 and index.interval.bytes=300, written by six idempotent producers with no compression, zstd
// and lz4, in two runs of the broker (leader epochs 0 and 2).

func goldenConfig() Config {
	c := DefaultConfig()
	c.SegmentMillis, c.IndexIntervalBytes = 60_000, 300
	return c
}

// goldenBatches are all batches of the golden log, in order.
func goldenBatches(t testing.TB) (all []protocol.Batch) {
	for _, name := range names(listDir(t, "testdata/kafka/golden-0")) {
		if filepath.Ext(name) == logSuffix {
			all = append(all, batchesOf(t, mustRead(t, "testdata/kafka/golden-0", name))...)
		}
	}
	return all
}

// TestGoldenRewrite appends what Kafka was given and expects the directory that Kafka made of it, byte for byte; only
// snapshots may have more, see lastEntriesOnly.
func TestGoldenRewrite(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		dir := filepath.Join(t.TempDir(), "golden-0")
		golden := "testdata/kafka/golden-0"
		id := TopicPartition{Topic: "golden"}
		var err error
		if id.TopicID, err = decodePartitionMetadata(mustRead(t, golden, partitionMetadataName)); err != nil {
			t.Fatal(err)
		}
		batches := goldenBatches(t)
		k := newFaults()
		k.wall = batches[0].MaxTimestamp() * 1e6
		p, err := Create(k, dir, id, goldenConfig(), 0)
		if err != nil {
			t.Fatal(err)
		}
		r := newRigOn(t, k, o)
		r.store.Adopt(p)
		for i, b := range batches {
			if b.LeaderEpoch() != p.LeaderEpoch() { // Kafka was stopped and started
				if errs := r.close(); errs != nil {
					t.Fatal(errs)
				}
				r = newRigOn(t, k, o)
				p, _ = r.open(dir, goldenConfig(), OpenOptions{Clean: true, RecoveryPoint: p.offsets.RecoveryPoint})
				p.SetLeaderEpoch(b.LeaderEpoch())
			}
			fresh := protocol.Batch(slices.Clone(b))
			fresh.SetBaseOffset(0)
			fresh.SetLeaderEpoch(-1)
			if got := r.must(p, fresh); got != b.BaseOffset() {
				t.Fatalf("batch %d: offset %d, Kafka gave %d", i, got, b.BaseOffset())
			}
		}
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
		sameDirs(t, golden, dir)
	})
}

// lastEntriesOnly is a snapshot without what Kafka does not write: all but the last entry of each producer.
func lastEntriesOnly(b []byte) []byte {
	const size = snapshotEntryBytes
	out := bytes.Clone(b[:snapshotHeadBytes])
	entries := b[snapshotHeadBytes:]
	for i := 0; i < len(entries); i += size {
		if i+size == len(entries) || !bytes.Equal(entries[i:i+8], entries[i+size:i+size+8]) {
			out = append(out, entries[i:i+size]...)
		}
	}
	binary.BigEndian.PutUint32(out[6:], uint32((len(out)-snapshotHeadBytes)/size))
	binary.BigEndian.PutUint32(out[2:], protocol.CRC32C(out[snapshotCRCFrom:]))
	return out
}

func sameDirs(t *testing.T, want, got string) {
	t.Helper()
	a, b := names(listDir(t, want)), names(listDir(t, got))
	if !slices.Equal(a, b) {
		t.Errorf("files differ:\nwant %q\ngot  %q", a, b)
	}
	for _, name := range a {
		if !slices.Contains(b, name) {
			continue
		}
		x, y := mustRead(t, want, name), mustRead(t, got, name)
		if filepath.Ext(name) == snapshotSuffix {
			y = lastEntriesOnly(y)
		}
		if !bytes.Equal(x, y) {
			t.Errorf("%s differs:\nwant %d bytes %x\ngot  %d bytes %x", name, len(x), x[:min(len(x), 300)], len(y), y[:min(len(y), 300)])
		}
	}
}
