package metadata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"slipstream/protocol"
)

const (
	kafkaLog      = "00000000000000000000.log"
	kafkaSnapshot = "00000000000000000109-0000000001.checkpoint"
	kafkaVoters   = "00000000000000000000-0000000000.checkpoint"
)

// TestKafkaFilesByteForByte: every batch of every file that Kafka wrote is
// decoded and comes out of our own encoders as it was.
func TestKafkaFilesByteForByte(t *testing.T) {
	for _, name := range []string{kafkaLog, kafkaSnapshot, kafkaVoters, "bootstrap.checkpoint"} {
		t.Run(name, func(t *testing.T) {
			b := kafkaFile(t, name)
			batches := 0
			for len(b) > 0 {
				batch, rest, err := protocol.NextBatch(b)
				if err != nil {
					t.Fatal(err)
				}
				if again := reencode(t, batch); !bytes.Equal(again, batch) {
					t.Errorf("batch at offset %d\nKafka's %x\nours    %x", batch.BaseOffset(), []byte(batch), again)
				}
				batches++
				b = rest
			}
			if batches < 2 {
				t.Errorf("%d batches", batches)
			}
		})
	}
}

func reencode(t *testing.T, batch protocol.Batch) []byte {
	t.Helper()
	var records []Record
	var controls []Control
	info := BatchInfo{Offset: batch.BaseOffset(), LeaderEpoch: batch.LeaderEpoch(), TimestampMillis: batch.BaseTimestamp()}
	err := EachEntry(batch, func(e Entry) error {
		if want := info.Offset + int64(len(records)+len(controls)); e.Offset != want || e.TimestampMillis != info.TimestampMillis {
			t.Errorf("record has offset %d and time %d, want %d and %d", e.Offset, e.TimestampMillis, want, info.TimestampMillis)
		}
		if e.Control != nil {
			controls = append(controls, e.Control)
		} else {
			records = append(records, e.Record)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if batch.IsControl() {
		return AppendControlBatch(nil, info, controls...)
	}
	return AppendBatch(nil, info, records)
}

// TestKafkaLogIsKafkaSnapshot: folding Kafka's log up to where Kafka took a
// snapshot gives what folding the snapshot gives.
func TestKafkaLogIsKafkaSnapshot(t *testing.T) {
	fromSnapshot := NewImage()
	controls, err := fromSnapshot.ReadSnapshot(kafkaFile(t, kafkaSnapshot))
	if err != nil {
		t.Fatal(err)
	}
	if len(controls) != 4 {
		t.Errorf("the snapshot has %d control records", len(controls))
	}
	checkImage(t, fromSnapshot)
	fromLog := NewImage()
	log := kafkaFile(t, kafkaLog)
	end := offsetOf(t, log, 109)
	if _, next, epoch, err := fromLog.Replay(log[:end], 0); err != nil || next != 109 || epoch != 1 {
		t.Fatalf("replay up to the snapshot: offset %d, epoch %d, %v", next, epoch, err)
	}
	if got, want := describe(fromLog.Records()), describe(fromSnapshot.Records()); got != want {
		t.Errorf("the log gives\n%s\nthe snapshot\n%s", got, want)
	}
	// From here on both read the rest of the log.
	for name, im := range map[string]*Image{"log": fromLog, "snapshot": fromSnapshot} {
		n, next, epoch, err := im.Replay(log, 109)
		if err != nil || n != len(log) || epoch != 2 {
			t.Fatalf("%s: replay of the rest read %d of %d bytes, epoch %d: %v", name, n, len(log), epoch, err)
		}
		if next < 120 {
			t.Errorf("%s: next offset is %d", name, next)
		}
		checkImage(t, im)
	}
	if !bytes.Equal(fingerprint(fromLog), fingerprint(fromSnapshot)) {
		t.Error("log and snapshot differ after the rest of the log")
	}
}

func offsetOf(t *testing.T, log []byte, offset int64) int {
	for at := 0; at < len(log); {
		batch, _, err := protocol.NextBatch(log[at:])
		if err != nil {
			t.Fatal(err)
		}
		if batch.BaseOffset() == offset {
			return at
		}
		at += len(batch)
	}
	t.Fatalf("no batch at offset %d", offset)
	return 0
}

// TestKafkaDirectory says what the image of the real log is.
func TestKafkaDirectory(t *testing.T) {
	im := NewImage()
	if _, _, _, err := im.Replay(kafkaFile(t, kafkaLog), 0); err != nil {
		t.Fatal(err)
	}
	orders := im.TopicByName("orders")
	if orders == nil || len(orders.Partitions) != 5 || im.TopicByName("gone") != nil {
		t.Fatalf("topics: %v", im.Topics())
	}
	if im.TopicByID(orders.ID) != orders || im.PartitionCount() != 5 {
		t.Error("orders is not found by id")
	}
	p := orders.Partition(4)
	if p.Leader != 1 || p.LeaderEpoch != 2 || p.PartitionEpoch != 2 || len(p.ISR) != 1 {
		t.Errorf("orders-4 after a clean restart: %+v", *p)
	}
	if v, ok := im.Config(Resource{ResourceTopic, "orders"}, "segment.ms"); v != "60000" || !ok {
		t.Errorf("segment.ms is %q", v)
	}
	if v, ok := im.Config(Resource{ResourceTopic, "orders"}, "retention.ms"); ok {
		t.Errorf("retention.ms is %q, it was deleted", v)
	}
	if im.Feature(MetadataVersion) != MetadataLevel || im.Feature("nothing") != 0 {
		t.Errorf("features: %v", im.Features())
	}
	if im.NextProducerID() != 1000 {
		t.Errorf("next producer id is %d", im.NextProducerID())
	}
	if b := im.Broker(1); b == nil || b.Fenced || b.InControlledShutdown || len(b.LogDirs) != 1 {
		t.Errorf("broker: %+v", b)
	}
	if len(im.Controllers()) != 1 || len(im.kept) != 4 {
		t.Errorf("%d controllers, %d kept records", len(im.Controllers()), len(im.kept))
	}
}

// TestBootstrapAsKafka: what we write to an empty directory is what Kafka wrote.
func TestBootstrapAsKafka(t *testing.T) {
	controls := Elect(1, kafkaVoterSet(t))
	if got, want := describeControls(controls), firstControls(t, kafkaFile(t, kafkaLog)); got != want {
		t.Errorf("the epoch begins with\n%s\nKafka's with\n%s", got, want)
	}
	var kafka []Record
	log := kafkaFile(t, kafkaLog)
	batch, _, _ := protocol.NextBatch(log[offsetOf(t, log, 3):])
	if err := EachEntry(batch, func(e Entry) error { kafka = append(kafka, e.Record); return nil }); err != nil {
		t.Fatal(err)
	}
	// That directory was formatted with a SCRAM user.
	kafka = append(kafka[:7:7], kafka[8:]...)
	if got, want := describe(Bootstrap()), describe(kafka); got != want {
		t.Errorf("bootstrap is\n%s\nKafka's\n%s", got, want)
	}
}

func kafkaVoterSet(t *testing.T) *Voters {
	im := NewImage()
	controls, err := im.ReadSnapshot(kafkaFile(t, kafkaVoters))
	if err != nil {
		t.Fatal(err)
	}
	kafka := controls[2].(*Voters)
	v := kafka.Voters[0]
	ours := VotersAlone(1, v.DirectoryID, []VoterEndpoint{{Name: "CONTROLLER", Host: "127.0.0.1", Port: 29293}})
	if got, want := describeControls([]Control{ours}), describeControls([]Control{kafka}); got != want {
		t.Errorf("voters are %s, Kafka's %s", got, want)
	}
	return ours
}

func firstControls(t *testing.T, b []byte) string {
	batch, _, err := protocol.NextBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	var controls []Control
	if err := EachEntry(batch, func(e Entry) error { controls = append(controls, e.Control); return nil }); err != nil {
		t.Fatal(err)
	}
	return describeControls(controls)
}

func describeControls(controls []Control) string {
	var out []string
	for _, m := range controls {
		key, value := encodeControl(m)
		out = append(out, fmt.Sprintf("%T %x %x", m, key, value))
	}
	return strings.Join(out, "\n")
}

// TestSnapshotFile: an image goes into a snapshot file and comes out of it.
func TestSnapshotFile(t *testing.T) {
	im := NewImage()
	if _, _, _, err := im.Replay(kafkaFile(t, kafkaLog), 0); err != nil {
		t.Fatal(err)
	}
	file := AppendSnapshot(nil, Snapshot{
		LastContainedMillis: 7, TimestampMillis: 9, KRaftVersion: &KRaftVersion{KRaftVersion: 1}, Voters: kafkaVoterSet(t),
	}, im.Records())
	again := NewImage()
	controls, err := again.ReadSnapshot(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fingerprint(im), fingerprint(again)) {
		t.Error("the snapshot is another image")
	}
	if h, ok := controls[0].(*SnapshotHeader); !ok || h.LastContainedLogTimestamp != 7 || len(controls) != 4 {
		t.Errorf("control records: %v", controls)
	}
	for cut := range file {
		if _, err := NewImage().ReadSnapshot(file[:cut]); err == nil {
			t.Fatalf("a snapshot cut to %d of %d bytes is read", cut, len(file))
		}
	}
	headless := AppendBatch(nil, BatchInfo{}, im.Records())
	if _, err := NewImage().ReadSnapshot(headless); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a snapshot without header and footer: %v", err)
	}
}

// TestTornLog: a log cut anywhere replays up to its last whole batch; one with a
// bit turned says where.
func TestTornLog(t *testing.T) {
	log := kafkaFile(t, kafkaLog)[:2000]
	lastWhole := 0
	for cut := range log {
		n, _, _, err := NewImage().Replay(log[:cut], 0)
		if err != nil || n > cut || n < lastWhole {
			t.Fatalf("cut at %d: read %d, %v", cut, n, err)
		}
		lastWhole = n
	}
	for at := range lastWhole {
		turned := bytes.Clone(log[:lastWhole])
		turned[at] ^= 0x40
		n, _, _, err := NewImage().Replay(turned, 0)
		// The base offset and the leader epoch lie before the checksum's span.
		batch := offsetWithin(log, at)
		if err == nil && n == lastWhole && batch >= 8 && (batch < 12 || batch >= 16) {
			t.Fatalf("bit turned at byte %d (%d of its batch): not noticed", at, batch)
		}
		if n > at {
			if batch >= 8 && (batch < 12 || batch >= 16) {
				t.Fatalf("bit turned at byte %d: %d bytes are called good", at, n)
			}
		}
	}
}

// offsetWithin is a byte's position in its batch.
func offsetWithin(log []byte, at int) int {
	for begin := 0; ; {
		batch, _, err := protocol.NextBatch(log[begin:])
		if err != nil || at < begin+len(batch) {
			return at - begin
		}
		begin += len(batch)
	}
}

func TestQuorumState(t *testing.T) {
	kafka := kafkaFile(t, "quorum-state")
	q, err := ParseQuorumState(kafka)
	if err != nil {
		t.Fatal(err)
	}
	if q.LeaderID != 1 || q.LeaderEpoch != 2 || q.VotedID != -1 {
		t.Errorf("%+v", q)
	}
	if again := q.Append(nil); !bytes.Equal(again, kafka) {
		t.Errorf("is written as %s, Kafka's is %s", again, kafka)
	}
	old := `{"clusterId":"","leaderId":3,"leaderEpoch":4,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":3}],"data_version":0}`
	if q, err := ParseQuorumState([]byte(old)); err != nil || q.LeaderID != 3 || q.LeaderEpoch != 4 {
		t.Errorf("version 0: %+v, %v", q, err)
	}
	for _, bad := range []string{"", "{}", "[]", `{"data_version":2}`, `{"data_version":1,"votedDirectoryId":"x"}`, `{"leaderId":99999999999,"data_version":1}`} {
		if q, err := ParseQuorumState([]byte(bad)); err == nil {
			t.Errorf("%s is read as %+v", bad, q)
		}
	}
}

// FuzzReplay gives every batch the checksum it should have, so that what is
// wrong lies behind it.
func FuzzReplay(f *testing.F) {
	for b := kafkaFile(f, kafkaLog); len(b) > 0; {
		batch, rest, err := protocol.NextBatch(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(batch))
		b = rest
	}
	f.Add(kafkaFile(f, "bootstrap.checkpoint"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		for rest := b; ; {
			batch, after, err := protocol.NextBatch(rest)
			if err != nil {
				break
			}
			binary.BigEndian.PutUint32(batch[17:], batch.ComputeCRC())
			rest = after
		}
		im := NewImage()
		n, _, _, _ := im.Replay(b, 0)
		if n < 0 || n > len(b) {
			t.Fatalf("read %d of %d", n, len(b))
		}
		if err := NewImage().ApplyAll(im.Records()); err != nil {
			t.Fatalf("its own records do not fold: %v", err)
		}
		NewImage().ReadSnapshot(b)
	})
}

func FuzzDecodeControl(f *testing.F) {
	for _, m := range []Control{&LeaderChange{Version: 1, Voters: []LeaderChangeVoter{{ID: 1}}}, &SnapshotHeader{}, &SnapshotFooter{}, &KRaftVersion{}, VotersAlone(1, UUID{}, nil)} {
		key, value := encodeControl(m)
		f.Add(key, value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		m, err := DecodeControl(key, value)
		if err != nil || m == nil {
			return
		}
		k, v := encodeControl(m)
		if _, err := DecodeControl(k, v); err != nil {
			t.Fatalf("%x %x is decoded, what is made of it is not: %v", key, value, err)
		}
	})
}

func FuzzQuorumState(f *testing.F) {
	f.Add(kafkaFile(f, "quorum-state"))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseQuorumState(b)
		if err != nil {
			return
		}
		q.VoterIDs = nil // only read, from files of version 0
		if again, err := ParseQuorumState(q.Append(nil)); err != nil || !reflect.DeepEqual(again, q) {
			t.Fatalf("%+v comes back as %+v, %v", q, again, err)
		}
	})
}
