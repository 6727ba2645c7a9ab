package storage

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"slipstream/protocol"
	"slipstream/ring"
)

func TestCheckpointsAsKafkaWritesThem(t *testing.T) {
	k := ring.NewLinux()
	for name, want := range map[string][]OffsetEntry{
		recoveryCheckpointName:    {{"golden", 0, 368}, {"small", 0, 25000}},
		replicationCheckpointName: {{"small", 0, 25000}, {"golden", 0, 368}},
		logStartCheckpointName:    nil,
		cleanerCheckpointName:     nil,
	} {
		b := mustRead(t, "testdata/kafka", name)
		got, err := DecodeOffsets(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, want)
		}
		if len(b) > 0 && !bytes.Equal(AppendOffsets(nil, want), b) {
			t.Errorf("%s is encoded as %q, Kafka has %q", name, AppendOffsets(nil, want), b)
		}
	}
	c, notes := ReadCheckpoints(k, "testdata/kafka")
	if c.RecoveryPoint["golden-0"] != 368 || c.HighWatermark["small-0"] != 25000 || len(c.LogStart) != 0 || notes != nil {
		t.Errorf("got %+v, notes %q", c, notes)
	}
	if b := mustRead(t, "testdata/kafka/golden-0", epochCheckpointName); true {
		e, err := decodeEpochs(b)
		if err != nil || !bytes.Equal(e.encode(), b) {
			t.Errorf("epochs %v, %v", e, err)
		}
	}
	if b := mustRead(t, "testdata/kafka/kafka_cleanshutdown"); decodeCleanShutdown(b) <= 0 {
		t.Errorf("broker epoch of %q is %d", b, decodeCleanShutdown(b))
	}
}

func TestDataDirectoryFiles(t *testing.T) {
	k, dir := ring.NewLinux(), t.TempDir()
	if err := MakeDataDir(k, dir); err != nil {
		t.Fatal(err)
	}
	err := WriteCheckpoints(k, dir, []Checkpoint{
		{Topic: "b", Partition: 10, RecoveryPoint: 5, HighWatermark: 6, Readers: -1},
		{Topic: "b", Partition: 2, RecoveryPoint: 7, HighWatermark: 7, LogStart: 4, FirstSegment: 4, Readers: 5},
		{Topic: "a", Partition: 0, RecoveryPoint: 1, HighWatermark: 9, LogStart: 3, FirstSegment: 1, Readers: 9},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		recoveryCheckpointName:    "0\n3\na 0 1\nb 2 7\nb 10 5\n",
		replicationCheckpointName: "0\n3\na 0 9\nb 2 7\nb 10 6\n",
		logStartCheckpointName:    "0\n1\na 0 3\n",
		readersCheckpointName:     "0\n2\na 0 9\nb 2 5\n",
	} {
		if got := string(mustRead(t, dir, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if err := WriteCleanShutdown(k, dir, 13); err != nil {
		t.Fatal(err)
	}
	if got := string(mustRead(t, dir, cleanShutdownName)); got != `{"version":0,"brokerEpoch":13}` {
		t.Errorf("the marker is %q", got)
	}
	for i, want := range []bool{true, false} {
		if clean, epoch, err := TakeCleanShutdown(k, dir); clean != want || err != nil || want && epoch != 13 {
			t.Errorf("taken %d times: %v, %d, %v", i+1, clean, epoch, err)
		}
	}
	fd, err := Lock(k, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(k, dir); !errors.Is(err, syscall.EWOULDBLOCK) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second lock: %v", err)
	}
	k.Close(fd)
	if fd, err = Lock(k, dir); err != nil {
		t.Errorf("a lock given back: %v", err)
	}
	k.Close(fd)
	for name := range listDir(t, dir) {
		if strings.HasSuffix(name, tmpSuffix) {
			t.Errorf("%s was left", name)
		}
	}
}

func TestMetaProperties(t *testing.T) {
	k, dir := ring.NewLinux(), t.TempDir()
	m, err := ReadMetaProperties(k, "testdata/kafka")
	if err != nil || m.NodeID != 1 || len(m.ClusterID) != 22 || m.DirectoryID == (protocol.UUID{}) {
		t.Fatalf("Kafka's: %+v, %v", m, err)
	}
	if _, err := ReadMetaProperties(k, dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	if err := WriteMetaProperties(k, dir, m, 1795265500e9); err != nil {
		t.Fatal(err)
	}
	want := mustRead(t, "testdata/kafka/meta.properties")
	got := mustRead(t, dir, metaPropertiesName)
	strip := func(b []byte) []byte { return b[bytes.Index(b, []byte("node.id")):] } // the date
	if !bytes.Equal(strip(got), strip(want)) || !bytes.HasPrefix(got, []byte("#\n#Sat Nov 21 ")) {
		t.Errorf("written:\n%s\nKafka's:\n%s", got, want)
	}
	if again, err := ReadMetaProperties(k, dir); err != nil || again != m {
		t.Errorf("read again: %+v, %v", again, err)
	}
	for text, want := range map[string]string{
		"version=0\nbroker.id=1\ncluster.id=x\n":               "version",
		"version=1\nnode.id=1\n":                               "cluster.id",
		"version=1\ncluster.id=x\nnode.id=-1\n":                "node.id",
		"version=1\ncluster.id=x\nnode.id=1\ndirectory.id=?\n": "directory.id",
	} {
		if _, err := decodeMetaProperties([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	odd := MetaProperties{ClusterID: `a=b:c\d#e`, NodeID: 3}
	if got, err := decodeMetaProperties(odd.encode(0)); err != nil || got != odd {
		t.Errorf("%+v came back as %+v, %v", odd, got, err)
	}
}

func TestBadCheckpoints(t *testing.T) {
	for _, text := range []string{"1\n0\n", "0", "0\nx\n", "0\n1\n", "0\n0\na 0 1\n", "0\n1\na 0\n", "0\n1\na x 1\n", "0\n1\na 0 -1\n", "0\n1\na -1 1\n"} {
		if got, err := DecodeOffsets([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
	for _, text := range []string{"0\n2\n1 0\n1 5\n", "0\n2\n1 5\n2 5\n", "0\n1\n-1 5\n", "0\n1\n1 1 1\n"} {
		if got, err := decodeEpochs([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
	for _, text := range []string{"", "version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ", "version: 0\n", "version: 0\ntopic_id: x"} {
		if got, err := decodePartitionMetadata([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]struct {
		topic     string
		partition int32
		kind      DirKind
	}{
		"events-0":         {"events", 0, DirPartition},
		"my-topic.x-12":    {"my-topic.x", 12, DirPartition},
		"events-00":        {"", 0, DirOther},
		"events-+1":        {"", 0, DirOther},
		"events--1":        {"events-", 1, DirPartition},
		"events-":          {"", 0, DirOther},
		"-1":               {"", 0, DirOther},
		"lost+found":       {"", 0, DirOther},
		"a-0.1f00-delete":  {"", 0, DirDeleted},
		"a-0.1f00-future":  {"", 0, DirSetAside},
		"a-99999999999999": {"", 0, DirOther},
	} {
		if topic, partition, kind := ParseDirName(name); topic != want.topic || partition != want.partition || kind != want.kind {
			t.Errorf("%s: %q %d %d", name, topic, partition, kind)
		}
	}
	id := TopicPartition{Topic: strings.Repeat("t", 249), Partition: 12}
	got := deletedDirName(id, protocol.UUID{0xab})
	if len(got) != 255 || !strings.HasSuffix(got, "t-12.ab000000000000000000000000000000-delete") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	if b, suffix, ok := parseFileName("00000000000000000368.snapshot"); b != 368 || suffix != snapshotSuffix || !ok {
		t.Error(b, suffix, ok)
	}
	for _, name := range []string{"368.log", "0000000000000000036x.log", "99999999999999999999.log", "00000000000000000368", "leader-epoch-checkpoint"} {
		if _, _, ok := parseFileName(name); ok {
			t.Errorf("%s was taken for a segment's", name)
		}
	}
}

func TestEpochs(t *testing.T) {
	var e epochs
	steps := []struct {
		epoch   int32
		start   int64
		changed bool
		want    string
	}{
		{0, 0, true, "0 0"}, {0, 5, false, "0 0"}, {1, 0, true, "1 0"}, {3, 10, true, "1 0,3 10"},
		{3, 12, false, "1 0,3 10"}, {4, 10, true, "1 0,4 10"}, {5, 20, true, "1 0,4 10,5 20"},
		{-1, 30, false, "1 0,4 10,5 20"}, {6, 15, true, "1 0,4 10,6 15"},
	}
	for _, s := range steps {
		changed := e.assign(s.epoch, s.start)
		got := strings.ReplaceAll(strings.TrimSuffix(strings.SplitN(string(e.encode()), "\n", 3)[2], "\n"), "\n", ",")
		if changed != s.changed || got != s.want {
			t.Errorf("assign(%d, %d): %v, %q; want %v, %q", s.epoch, s.start, changed, got, s.changed, s.want)
		}
	}
	for asked, want := range map[int32][2]int64{-1: {-1, -1}, 0: {0, 0}, 1: {1, 10}, 3: {1, 10}, 4: {4, 15}, 5: {4, 15}, 6: {6, 99}, 7: {-1, -1}} {
		if epoch, end := e.endOffset(asked, 99); int64(epoch) != want[0] || end != want[1] {
			t.Errorf("endOffset(%d) is %d, %d; want %v", asked, epoch, end, want)
		}
	}
	for offset, want := range map[int64]int32{-1: -1, 0: 1, 9: 1, 10: 4, 14: 4, 15: 6, 99: 6} {
		if got := e.at(offset); got != want {
			t.Errorf("at(%d) is %d, want %d", offset, got, want)
		}
	}
	if !e.truncateStart(12) || e.at(11) != -1 || e.at(12) != 4 {
		t.Errorf("cut at the start: %v", e)
	}
	if !e.truncateEnd(15) || e.latest() != 4 {
		t.Errorf("cut at the end: %v", e)
	}
}

func TestSnapshotAsKafkaWritesIt(t *testing.T) {
	for name := range listDir(t, "testdata/kafka/golden-0") {
		if filepath.Ext(name) != snapshotSuffix {
			continue
		}
		b := mustRead(t, "testdata/kafka/golden-0", name)
		ps, err := decodeProducers(b)
		if err != nil || ps.len() != (len(b)-snapshotHeadBytes)/snapshotEntryBytes || !bytes.Equal(ps.encode(), b) {
			t.Errorf("%s: %d producers, %v", name, ps.len(), err)
		}
		for i := range b { // any bit that flips is noticed
			bad := bytes.Clone(b)
			bad[i] ^= 0x10
			if _, err := decodeProducers(bad); !errors.Is(err, errSnapshot) {
				t.Fatalf("%s with byte %d changed: %v", name, i, err)
			}
		}
	}
}
