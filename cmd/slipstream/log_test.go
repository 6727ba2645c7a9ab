package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"slipstream/internal/logtool"
	"slipstream/protocol"
	"slipstream/ring"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// writtenDir is the data directory of a broker that has stopped: orders-0 has several segments of an idempotent
// producer, payments-0 a committed and an aborted transaction, and a group has committed an offset.
func writtenDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	b := start(t, "--data-dir", dir, "--set", "log.segment.bytes=1048576", "--set", "log.index.interval.bytes=4000", "--set", "offsets.topic.num.partitions=1", "--set", "transaction.state.log.num.partitions=1")
	slipstream(t, "topic", "create", "orders", "payments", "--partitions", "1", "--bootstrap", b.address)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(100))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 { // synchronously: batches of 50 KB, each its own
		var records []*kgo.Record
		for j := range 10 {
			records = append(records, &kgo.Record{Topic: "orders", Key: fmt.Appendf(nil, "k%d", j), Value: bytes.Repeat([]byte{byte(i)}, 5000)})
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var offsets kadm.Offsets
	offsets.AddOffset("orders", 0, 17, -1)
	if err := kadm.NewClient(client).CommitAllOffsets(ctx, "shop", offsets); err != nil {
		t.Fatal(err)
	}
	client.Close()
	payTwice(ctx, t, b.address)
	b.signal(t, syscall.SIGTERM)
	b.wait(t, 20*time.Second)
	return dir
}

// TestLog looks at a directory that the broker wrote, and finds nothing wrong; the commands change nothing.
func TestLog(t *testing.T) {
	dir := writtenDir(t)
	before := contents(t, dir)
	r := slipstream(t, "log", "verify", dir)
	if r.status != 0 || r.errors != "" || strings.Count(r.out, "\n") != 1 || !strings.Contains(r.out, "(stopped cleanly): 0 problems, 0 notes") {
		t.Errorf("verify: status %d\n%s%s", r.status, r.out, r.errors)
	}
	r = slipstream(t, "log", "stat", dir, "--json")
	var stats []logtool.PartitionStat
	if err := json.Unmarshal([]byte(r.out), &stats); err != nil {
		t.Fatalf("%v\n%s%s", err, r.out, r.errors)
	}
	found := false
	for _, st := range stats {
		if st.Topic == "orders" {
			found = true
			if st.Segments < 3 || st.Bytes < 3_000_000 || st.StartOffset != 0 || st.EndOffset != 600 || time.Since(time.UnixMilli(st.LargestTimestamp)).Abs() > time.Hour || st.ResidentBytes > st.Bytes {
				t.Errorf("stat of orders-0: %+v", st)
			}
		}
	}
	if !found {
		t.Errorf("stat has no orders: %s", r.out)
	}
	for _, test := range []struct{ path, has string }{
		{"__cluster_metadata-0", `"type":"TopicRecord"`},
		{"__consumer_offsets-0", `"type":"OffsetCommit","group":"shop","topic":"orders","partition":0,"data":{"Version"`},
		{"__transaction_state-0", `"transactionalId":"till"`},
		{"payments-0", `"endTxnMarker":"ABORT"`},
		{"payments-0", `"kind":"aborted"`},
		{"payments-0", `"kind":"producer"`},
		{"payments-0", `"value":"dGVu"`},
		{"orders-0", `{"kind":"index","offset":`},
		{"orders-0", `{"kind":"timeindex","timestamp":`},
		{"orders-0", `{"kind":"epoch","epoch":`},
		{"recovery-point-offset-checkpoint", `{"kind":"offset","topic":"orders","partition":0,"offset":600}`},
	} {
		r := slipstream(t, "log", "dump", filepath.Join(dir, test.path), "--records", "--json")
		if r.status != 0 || !strings.Contains(r.out, test.has) {
			t.Errorf("dump %s: status %d, no %s\n%.2000s%s", test.path, r.status, test.has, r.out, r.errors)
		}
		for line := range strings.Lines(r.out) {
			if !json.Valid([]byte(line)) {
				t.Errorf("dump %s: %s", test.path, line)
			}
		}
	}
	if after := contents(t, dir); after != before {
		t.Error("the commands changed the directory")
	}
	refused(t, "log", "verify", t.TempDir())
	refused(t, "log", "dump", filepath.Join(dir, "orders-0", "nothing.log"))
	refused(t, "log", "stat")
}

// contents is the sum of all files of a directory.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var all bytes.Buffer
	if err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s %d %08x\n", path, len(b), protocol.CRC32C(b))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// batchesOf are the positions of a log's batches.
func batchesOf(t *testing.T, log []byte) (positions []int) {
	t.Helper()
	for rest := log; len(rest) > 0; {
		b, after, err := protocol.NextBatch(rest)
		if err != nil {
			t.Fatal(err)
		}
		positions = append(positions, len(log)-len(rest))
		_ = b
		rest = after
	}
	return positions
}

// recrc puts a batch's checksum right after a change.
func recrc(b []byte) {
	batch, _, _ := protocol.NextBatch(b)
	binary.BigEndian.PutUint32(b[17:], batch.ComputeCRC())
}

// damage is one thing planted in a directory, and the one line that is to come of it.
type damage struct {
	name  string
	file  string // below the directory; of orders-0 the nth segment's: "0.log"
	plant func(b []byte, batches []int) []byte
	where string // the file to be named, if it is another
	says  string
	kill  bool // the broker did not stop cleanly
	note  bool
	more  bool // the same damage shows in another file too
}

var damages = []damage{
	{name: "a bit in a record", file: "0.log", plant: func(b []byte, at []int) []byte { b[at[3]+2000] ^= 4; return b }, says: "the CRC is wrong"},
	{name: "a bit in a record of the last segment", file: "-1.log", kill: true, plant: func(b []byte, at []int) []byte { b[at[2]+2000] ^= 4; return b }, says: "the CRC is wrong"},
	{name: "a length", file: "1.log", plant: func(b []byte, at []int) []byte { b[at[3]+8] = 0x7f; return b }, says: "its length would be"},
	{name: "an offset", file: "0.log", plant: func(b []byte, at []int) []byte { b[at[5]+6]++; return b }, says: "are missing before the batch"},
	{name: "a batch twice", file: "-1.log", plant: func(b []byte, at []int) []byte { return append(b, b[at[len(at)-1]:]...) }, says: "where offset 600 is due"},
	{name: "a batch taken out of the end of a segment", file: "0.log", plant: func(b []byte, at []int) []byte { return b[:at[len(at)-1]] }, where: "1.log", says: "are missing before the segment", more: true},
	{name: "zeros inside", file: "0.log", plant: func(b []byte, at []int) []byte { clear(b[at[4]:at[5]]); return b }, says: "its length would be 0"},
	{name: "a torn tail", file: "-1.log", kill: true, note: true, plant: func(b []byte, at []int) []byte { return append(b, b[at[0]:at[0]+3000]...) }, says: "torn tail: the last 3000 bytes, from offset 600 on"},
	{name: "a torn tail of a clean stop", file: "-1.log", plant: func(b []byte, at []int) []byte { return append(b, b[at[0]:at[0]+3000]...) }, says: "nothing of the 3000 bytes from offset 600 on can be read"},
	{name: "room made ahead", file: "-1.log", kill: true, note: true, plant: func(b []byte, at []int) []byte { return append(b, make([]byte, 4096)...) }, says: "4096 bytes of zeros follow the last batch"},
	{name: "a torn closed segment", file: "0.log", kill: true, plant: func(b []byte, at []int) []byte { return b[:len(b)-100] }, says: "can be read"},
	{name: "an epoch", file: "-1.log", plant: func(b []byte, at []int) []byte { b[at[len(at)-1]+15] += 9; return b }, where: "leader-epoch-checkpoint", says: "and its batch is of epoch"},
	{name: "a count", file: "0.log", plant: func(b []byte, at []int) []byte { b[at[2]+60]--; recrc(b[at[2]:]); return b }, says: "a batch of 9 records has offsets"},
	{name: "a sequence", file: "-1.log", plant: func(b []byte, at []int) []byte { b[at[len(at)-1]+55]++; recrc(b[at[len(at)-1]:]); return b }, says: "is due"},
	{name: "an index entry's position", file: "0.index", plant: func(b []byte, _ []int) []byte { b[8*3+7]++; return b }, says: "no batch begins at position"},
	{name: "an index entry's offset", file: "0.index", plant: func(b []byte, _ []int) []byte { b[8*3+3]++; return b }, says: "and the batch there ends with"},
	{name: "an index that falls", file: "1.index", plant: func(b []byte, _ []int) []byte { copy(b[16:24], b[0:8]); return b }, says: "does not follow the entry before"},
	{name: "an index behind the log", file: "-1.index", plant: func(b []byte, _ []int) []byte { return append(b, 0, 0, 0x7f, 0, 0x7f, 0, 0, 0) }, says: "no batch begins at position 2130706432"},
	{name: "half an index entry", file: "0.index", plant: func(b []byte, _ []int) []byte { return b[:len(b)-3] }, says: "whole entries"},
	{name: "zeros behind an index", file: "0.index", plant: func(b []byte, _ []int) []byte { return append(b, make([]byte, 800)...) }, says: "it ends in 800 bytes of zeros"},
	{name: "no index", file: "0.index", plant: func([]byte, []int) []byte { return nil }, says: "it is missing"},
	{name: "a timestamp", file: "1.timeindex", plant: func(b []byte, _ []int) []byte { b[7]--; return b }, says: "and the batch there has"},
	{name: "no last timestamp", file: "0.timeindex", plant: func(b []byte, _ []int) []byte { return b[:12] }, says: "a search by time would miss it"},
	{name: "a producer", file: "1.snapshot", plant: func(b []byte, _ []int) []byte {
		b[len(b)-46+13]++ // the last sequence of the last entry
		binary.BigEndian.PutUint32(b[2:], protocol.CRC32C(b[6:]))
		return b
	}, says: "has written sequence"},
	{name: "a snapshot's CRC", file: "1.snapshot", plant: func(b []byte, _ []int) []byte { b[20]++; return b }, says: "its CRC is wrong"},
	{name: "an aborted transaction forgotten", file: "payments-0/00000000000000000000.txnindex", plant: func([]byte, []int) []byte { return nil }, says: "would be read as committed"},
	{name: "an aborted transaction too many", file: "payments-0/00000000000000000000.txnindex", plant: func(b []byte, _ []int) []byte { return append(storageAborted(0), b...) }, says: "no abort marker is at offset 1"},
	{name: "a checkpoint", file: "recovery-point-offset-checkpoint", plant: func(b []byte, _ []int) []byte { return append(b, "no offset\n"...) }, says: "a checkpoint says that it has"},
	{name: "a recovery point behind the end", file: "recovery-point-offset-checkpoint", plant: func(b []byte, _ []int) []byte {
		return bytes.Replace(b, []byte("orders 0 600\n"), []byte("orders 0 601\n"), 1)
	}, says: "orders-0: offset 601 lies behind the log's end, 600"},
	{name: "a high watermark that a power cut has left behind the end", file: "replication-offset-checkpoint", kill: true, note: true, plant: func(b []byte, _ []int) []byte {
		return bytes.Replace(b, []byte("orders 0 600\n"), []byte("orders 0 601\n"), 1)
	}, says: "orders-0: offset 601 lies behind the log's end, 600"},
	{name: "leader epochs", file: "orders-0/leader-epoch-checkpoint", plant: func([]byte, []int) []byte { return []byte("1\n") }, says: "version"},
	{name: "a topic id", file: "orders-0/partition.metadata", plant: func([]byte, []int) []byte { return []byte("version: 0\ntopic_id: x") }, says: "is not an id"},
}

// storageAborted is an entry of a .txnindex, of a transaction that was never aborted: from offset first on.
func storageAborted(first int64) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0)
	for _, v := range []int64{4711, first, first + 1, first + 2} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return b
}

// placeOf is the path of a damage's file.
func placeOf(dir string, logs []string, name string) string {
	var n int
	suffix, extra := "", ""
	if _, err := fmt.Sscanf(strings.Replace(name, ".", " .", 1), "%d %s", &n, &suffix); err != nil || strings.Contains(name, "/") {
		if !strings.Contains(name, "/") && name == "leader-epoch-checkpoint" {
			extra = "orders-0"
		}
		return filepath.Join(dir, extra, name)
	}
	if n < 0 {
		n += len(logs)
	}
	return strings.TrimSuffix(logs[n], ".log") + suffix
}

// TestLogVerifyFindsDamage plants one thing after the other: each is found where it is, and nothing else is.
func TestLogVerifyFindsDamage(t *testing.T) {
	dir := writtenDir(t)
	logs, err := filepath.Glob(filepath.Join(dir, "orders-0", "*.log"))
	if err != nil || len(logs) < 3 {
		t.Fatal(logs, err)
	}
	place := func(name string) string { return placeOf(dir, logs, name) }
	marker := filepath.Join(dir, ".kafka_cleanshutdown")
	for _, d := range damages {
		path := place(d.file)
		sound, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var batches []int
		if strings.HasSuffix(path, ".log") {
			batches = batchesOf(t, sound)
		}
		write(t, path, d.plant(bytes.Clone(sound), batches))
		clean, err := os.ReadFile(marker)
		if err != nil {
			t.Fatal(err)
		}
		if d.kill {
			write(t, marker, nil)
		}
		var bytesDone atomic.Int64
		r, err := logtool.Verify(ring.NewLinux(), dir, logtool.VerifyOptions{Progress: func(done, total int64) { bytesDone.Store(max(done, bytesDone.Load())) }})
		write(t, path, sound)
		write(t, marker, clean)
		if err != nil {
			t.Fatal(err)
		}
		where := path
		if d.where != "" {
			where = place(d.where)
		}
		problems := r.Problems
		if d.more {
			problems = slices.DeleteFunc(slices.Clone(problems), func(p logtool.Problem) bool { return p.File != where })
		}
		if len(problems) != 1 || problems[0].File != where || !strings.Contains(problems[0].Why, d.says) || problems[0].Note != d.note || bytesDone.Load() < 1<<20 {
			t.Errorf("%s in %s: want one problem of %s that says %q, got %d (%d bytes read):", d.name, path, where, d.says, len(r.Problems), bytesDone.Load())
			for _, p := range r.Problems {
				t.Errorf("\t%v", p)
			}
		}
	}
	r := slipstream(t, "log", "verify", dir)
	if r.status != 0 {
		t.Errorf("with everything put back: %s", r.out)
	}
	write(t, place("0.index"), nil)
	if r = slipstream(t, "log", "verify", dir, "-j", "1"); r.status != 1 || !strings.Contains(r.errors, "1 problem in ") || !strings.Contains(r.out, ".index: it is missing") {
		t.Errorf("status %d\n%s%s", r.status, r.out, r.errors)
	}
}

// write replaces a file; nil removes it.
func write(t *testing.T, path string, b []byte) {
	t.Helper()
	err := os.Remove(path)
	if b != nil {
		err = os.WriteFile(path, b, 0o644)
	}
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

// TestLogVerifyAfterCompaction: offsets that compaction took out are not missed, whether the broker has stopped cleanly or was
// killed; neither is what a kill leaves told as damage.
func TestLogVerifyAfterCompaction(t *testing.T) {
	dir := writtenDir(t)
	b := start(t, "--data-dir", dir, "--set", "log.segment.bytes=1048576", "--set", "log.cleanup.policy=compact", "--set", "log.cleaner.backoff.ms=100", "--set", "log.cleaner.min.cleanable.ratio=0.01")
	first := filepath.Join(dir, "orders-0", "00000000000000000000.log")
	deadline := time.Now().Add(20 * time.Second)
	for {
		if info, err := os.Stat(first); err == nil && info.Size() < 500_000 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("orders-0 was not compacted")
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.signal(t, syscall.SIGTERM)
	b.wait(t, 20*time.Second)
	for _, clean := range []bool{true, false} {
		if !clean {
			b := start(t, "--data-dir", dir)
			b.signal(t, syscall.SIGKILL)
			b.wait(t, 20*time.Second)
		}
		r, err := logtool.Verify(ring.NewLinux(), dir, logtool.VerifyOptions{Compacted: []string{"orders"}})
		if err != nil || r.Damaged() > 0 || r.Clean != clean || r.Records < 200 {
			t.Errorf("clean %v: %v: %+v", clean, err, r)
		}
	}
	for checkpoint, missing := range map[string]bool{"0\n1\norders 0 400\n": false, "0\n0\n": true} {
		write(t, filepath.Join(dir, "cleaner-offset-checkpoint"), []byte(checkpoint))
		r, err := logtool.Verify(ring.NewLinux(), dir, logtool.VerifyOptions{})
		told := slices.ContainsFunc(r.Problems, func(p logtool.Problem) bool { return strings.Contains(p.Why, "are missing before the batch") })
		if err != nil || r.Damaged() > 0 != missing || told != missing {
			t.Errorf("with the checkpoint %q: %v: %+v", checkpoint, err, r)
		}
	}
}

// payTwice has a transactional producer write to payments twice: the first is committed, the second aborted.
func payTwice(ctx context.Context, t *testing.T, address string) {
	t.Helper()
	tx, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.TransactionalID("till"))
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := tx.ProduceSync(ctx, &kgo.Record{Topic: "payments", Value: []byte("ten")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := tx.EndTransaction(ctx, how); err != nil {
			t.Fatal(err)
		}
	}
	tx.Close()
}
