package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/internal/config"
	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/ring"
)

// metadataFiles is a data directory whose metadata is to be damaged.
type metadataFiles struct {
	t   *testing.T
	dir string
}

func (m metadataFiles) path(pattern string) string {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.dir, metadataDir, pattern))
	if err != nil || len(found) == 0 {
		m.t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[len(found)-1] // the newest
}

// change gives a file other contents.
func (m metadataFiles) change(pattern string, to func([]byte) []byte) {
	m.t.Helper()
	path := m.path(pattern)
	b, err := os.ReadFile(path)
	must(m.t, err)
	must(m.t, os.WriteFile(path, to(b), 0o644))
}

func zeroed(b []byte) []byte  { return make([]byte, len(b)) }
func flipped(b []byte) []byte { b[len(b)/2] ^= 1; return b }
func emptied([]byte) []byte   { return nil }
func halved(b []byte) []byte  { return b[:len(b)/2] }
func torn(b []byte) []byte    { return b[:len(b)-5] }
func foreign(b []byte) []byte { return bytes.Repeat([]byte("no log\n"), len(b)/7+1) }
func unclean(m metadataFiles) { must(m.t, os.Remove(filepath.Join(m.dir, ".kafka_cleanshutdown"))) }
func nextOffset(b []byte) int64 { // of a log's bytes
	next := int64(0)
	for len(b) > 0 {
		batch, rest, err := protocol.NextBatch(b)
		if err != nil {
			return next
		}
		next, b = batch.NextOffset(), rest
	}
	return next
}

// append adds a batch of records to the newest segment.
func (m metadataFiles) append(records ...metadata.Record) {
	m.change("*.log", func(b []byte) []byte {
		return metadata.AppendBatch(b, metadata.BatchInfo{Offset: nextOffset(b), LeaderEpoch: 1, TimestampMillis: 1}, records)
	})
}

func (m metadataFiles) control(controls ...metadata.Control) {
	m.change("*.log", func(b []byte) []byte {
		return metadata.AppendControlBatch(b, metadata.BatchInfo{Offset: nextOffset(b), LeaderEpoch: 1, TimestampMillis: 1}, controls...)
	})
}

// unknownType is a batch whose first record is of a type that Kafka 4.3 does not have.
func unknownType(b []byte) []byte {
	at := len(b)
	b = metadata.AppendBatch(b, metadata.BatchInfo{Offset: nextOffset(b), LeaderEpoch: 1}, []metadata.Record{&metadata.NoOpRecord{}})
	batch := b[at:]
	i := bytes.LastIndex(batch, []byte{1, 20, 0}) // frame version, api key, version
	batch[i+1] = 77
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// TestBadMetadata: metadata that cannot be believed, or not be gone on with, is refused in one sentence, with nothing changed;
// adopt --check says the same.
func TestBadMetadata(t *testing.T) {
	original := t.TempDir()
	sets := []string{"metadata.log.max.record.bytes.between.snapshots=100000000", setCores(1)}
	b := startTestBroker(t, original, sets...)
	w := b.dial()
	for i := range 5 {
		w.createTopic(fmt.Sprint("topic-", i), 1)
	}
	must(t, b.stop())
	for _, c := range []struct {
		name   string
		damage func(m metadataFiles)
		words  []string
	}{
		{"a log cut in half", func(m metadataFiles) { m.change("*.log", halved) }, []string{"00000000000000000000.log", "damaged", "stopped cleanly"}},
		{"a log of zeros", func(m metadataFiles) { m.change("*.log", zeroed) }, []string{"end of the log is missing"}},
		{"a log of zeros after a crash", func(m metadataFiles) { unclean(m); m.change("*.log", zeroed) }, []string{"end of the log is missing"}},
		{"an empty log", func(m metadataFiles) { m.change("*.log", emptied) }, []string{"ends at offset 0", "end of the log is missing"}},
		{"a bit flipped", func(m metadataFiles) { m.change("*.log", flipped) }, []string{"damaged at byte"}},
		{"a bit flipped before a crash", func(m metadataFiles) { unclean(m); m.change("*.log", flipped) }, []string{"it goes on at byte", "no torn end"}},
		{"something else as a log", func(m metadataFiles) { m.change("*.log", foreign) }, []string{"00000000000000000000.log", "damaged at byte 0"}},
		{"no log", func(m metadataFiles) { must(m.t, os.Remove(m.path("*.log"))) }, []string{"topic-0-0", "no metadata log"}},
		{"no metadata directory", func(m metadataFiles) { must(m.t, os.RemoveAll(filepath.Join(m.dir, metadataDir))) }, []string{"topic-0-0", "no metadata log", "ZooKeeper"}},
		{"a log without its beginning", func(m metadataFiles) {
			must(m.t, os.Rename(m.path("*.log"), filepath.Join(m.dir, metadataDir, "00000000000000000007.log")))
		}, []string{"begins at offset 7", "no snapshot"}},
		{"a snapshot ahead of the log", func(m metadataFiles) {
			s := metadata.AppendSnapshot(nil, metadata.Snapshot{}, metadata.BootstrapFeatures())
			must(m.t, os.WriteFile(filepath.Join(m.dir, metadataDir, "00000000000000009999-0000000001.checkpoint"), s, 0o644))
		}, []string{"before its snapshot at 9999", "missing"}},
		{"a record of a newer release", func(m metadataFiles) { m.change("*.log", unknownType) }, []string{"record type 77", "newer release"}},
		{"a metadata.version of the future", func(m metadataFiles) {
			m.append(&metadata.FeatureLevelRecord{Name: metadata.MetadataVersion, FeatureLevel: 31})
		}, []string{"metadata.version is finalized at level 31", "up to 30"}},
		{"a feature of the future", func(m metadataFiles) { m.append(&metadata.FeatureLevelRecord{Name: "time.travel", FeatureLevel: 1}) }, []string{"time.travel"}},
		{"a record that does not fit", func(m metadataFiles) { m.append(&metadata.RemoveTopicRecord{TopicID: metadata.UUID{7}}) }, []string{"unknown topic"}},
		{"three voters", func(m metadataFiles) {
			m.control(&metadata.Voters{Voters: []metadata.Voter{{ID: 1}, {ID: 2}, {ID: 3}}})
		}, []string{"voters [1 2 3]", "without the others"}},
		{"another controller", func(m metadataFiles) { m.control(&metadata.Voters{Voters: []metadata.Voter{{ID: 9}}}) }, []string{"controllers [9]", "node 1 is none of them"}},
		{"quorum-state of zeros", func(m metadataFiles) { m.change("quorum-state", zeroed) }, []string{"quorum-state", "damaged"}},
		{"quorum-state cut off", func(m metadataFiles) { m.change("quorum-state", torn) }, []string{"quorum-state", "damaged"}},
		{"an empty quorum-state", func(m metadataFiles) { m.change("quorum-state", emptied) }, []string{"quorum-state", "damaged"}},
		{"quorum-state of the future", func(m metadataFiles) {
			m.change("quorum-state", func(b []byte) []byte {
				return bytes.Replace(b, []byte(`"data_version":1`), []byte(`"data_version":2`), 1)
			})
		}, []string{"quorum-state", "data_version"}},
		{"another node's quorum-state", func(m metadataFiles) {
			m.change("quorum-state", func([]byte) []byte { return metadata.QuorumState{LeaderID: 4, LeaderEpoch: 1, VotedID: -1}.Append(nil) })
		}, []string{"quorum-state", "node 4"}},
		{"epochs used up", func(m metadataFiles) {
			m.change("quorum-state", func([]byte) []byte {
				return metadata.QuorumState{LeaderID: 1, LeaderEpoch: 1<<31 - 1, VotedID: -1}.Append(nil)
			})
		}, []string{"epochs", "used up"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			must(t, os.CopyFS(dir, os.DirFS(original)))
			c.damage(metadataFiles{t, dir})
			refusedStart(t, dir, dir, sets, c.words...)
			before := tree(t, dir)
			a := adoptDirs(t, dir)
			if len(a.Stops) == 0 || !containsAll(strings.Join(a.Stops, "\n"), c.words) {
				t.Errorf("adopt --check says %q, want %q", a.Stops, c.words)
			}
			if tree(t, dir) != before {
				t.Error("adopt --check has changed something")
			}
		})
	}
}

func containsAll(text string, words []string) bool {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

func adoptDirs(t *testing.T, dirs string) *Adoption {
	t.Helper()
	cfg, err := config.Load("", nil)
	must(t, err)
	s, err := SettingsFrom(cfg, dirs, "127.0.0.1:0", 1024)
	must(t, err)
	return Adopt(ring.NewLinux(), s, true)
}

// TestTornMetadata: what a crash leaves of a batch that was being written is no damage.
func TestTornMetadata(t *testing.T) {
	b := startTestBroker(t, "", setCores(1))
	b.dial().createTopic("t", 1)
	must(t, b.stop())
	m := metadataFiles{t, b.dir}
	unclean(m)
	var end int64
	m.change("*.log", func(log []byte) []byte {
		end = nextOffset(log)
		whole := metadata.AppendBatch(nil, metadata.BatchInfo{Offset: end, LeaderEpoch: 1}, []metadata.Record{&metadata.TopicRecord{Name: "never", TopicID: metadata.UUID{3}}})
		return append(log, whole[:len(whole)-3]...)
	})
	if a := adoptDirs(t, b.dir); len(a.Stops) > 0 || a.Metadata.End != end || a.Metadata.Torn == 0 {
		t.Errorf("adopt --check says %+v, %q", a.Metadata, a.Stops)
	}
	b = startTestBroker(t, b.dir, setCores(1))
	if b.report.Topics != 1 {
		t.Errorf("%d topics, want 1", b.report.Topics)
	}
	b.dial().createTopic("never", 1)
}
