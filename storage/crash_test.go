package storage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/protocol"
	"slipstream/ring"
)

// crashed is a partition directory as a kill leaves it, with what it holds.
type crashed struct {
	dir     string
	batches []protocol.Batch
}

// crashLog makes a log of n batches and leaves it without closing anything.
func crashLog(t *testing.T, cfg Config, n int) crashed {
	t.Helper()
	c := crashed{dir: filepath.Join(t.TempDir(), "events-0")}
	r := newRig(t, StoreOptions{})
	p := r.create(c.dir, cfg)
	for i := range n {
		b := spec{records: 1 + i%3, value: 20 + 7*i, producer: 5, sequence: int32(p.Offsets().LogEnd), timestamp: 1795265500_000 + int64(i*i%17)}.batch()
		r.must(p, b)
	}
	r.until("syncs end", func() bool { return !p.syncing.running })
	for base := range logsOf(t, c.dir) {
		c.batches = append(c.batches, batchesOf(t, mustRead(t, c.dir, base))...)
	}
	return c
}

// logsOf yields the names of the logs in order.
func logsOf(t *testing.T, dir string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, name := range names(listDir(t, dir)) {
			if filepath.Ext(name) == logSuffix && !yield(name) {
				return
			}
		}
	}
}

func smallConfig() Config {
	c := DefaultConfig()
	c.IndexIntervalBytes = 100
	c.ProducerIDMillis = 1 << 50
	return c
}

// checkOpened checks a log that was opened against the batches it should hold, then goes on with it.
func checkOpened(t *testing.T, dir string, want []protocol.Batch, o OpenOptions) RecoveryReport {
	t.Helper()
	k := ring.NewLinux()
	p, report, err := Open(k, dir, smallConfig(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	end := int64(0)
	if n := len(want); n > 0 {
		end = want[n-1].NextOffset()
	}
	if got := p.Offsets().LogEnd; got != end {
		t.Fatalf("the log ends at %d, want %d (%+v)", got, end, report)
	}
	var got []protocol.Batch
	for name := range logsOf(t, dir) {
		got = append(got, batchesOf(t, mustRead(t, dir, name))...)
	}
	if len(got) != len(want) {
		t.Fatalf("%d batches, want %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("batch %d differs", i)
		}
	}
	checkIndexes(t, dir)
	r := newRig(t, StoreOptions{})
	r.store.Adopt(p)
	if a := r.append(p, spec{records: 2, producer: 5, sequence: int32(end), timestamp: 1795265501_000}.batch()); a.Err != protocol.NONE || a.BaseOffset != end {
		t.Fatalf("the next append: %v at %d, want %d", a.Err, a.BaseOffset, end)
	}
	readAll(t, r, p)
	return report
}

// checkIndexes checks every index entry of a directory against the logs.
func checkIndexes(t *testing.T, dir string) {
	t.Helper()
	for name := range logsOf(t, dir) {
		base, _, _ := parseFileName(name)
		at := map[int64]protocol.Batch{}
		position := int64(0)
		for _, b := range batchesOf(t, mustRead(t, dir, name)) {
			at[position] = b
			position += int64(len(b))
		}
		index := mustRead(t, dir, fileName(base, indexSuffix))
		for ; len(index) > 0; index = index[indexEntryBytes:] {
			e := decodeIndexEntry(index)
			if b := at[int64(e.position)]; b == nil || b.LastOffset() != base+int64(e.relative) {
				t.Fatalf("%s: index entry %+v", name, e)
			}
		}
		last := timeEntry{timestamp: -1}
		times := mustRead(t, dir, fileName(base, timeIndexSuffix))
		for ; len(times) > 0; times = times[timeIndexEntryBytes:] {
			e := decodeTimeEntry(times)
			if e.timestamp <= last.timestamp || e.relative < last.relative {
				t.Fatalf("%s: time entry %+v after %+v", name, e, last)
			}
			last = e
		}
	}
}

// readAll reads a log from its start through Plan, and checks that every batch is there once.
func readAll(t *testing.T, r *rig, p *Partition) {
	t.Helper()
	o := p.Offsets()
	next := o.LogStart
	for next < o.HighWatermark {
		got, code := r.plan(p, next, 150, true)
		if code != protocol.NONE || got.Len == 0 {
			t.Fatalf("plan at %d: %v, %+v", next, code, got)
		}
		b := make([]byte, got.Len)
		if n, errno := r.kernel.ReadNow(got.File.FD(), b, got.Pos); n != len(b) || errno != 0 {
			t.Fatal(n, errno)
		}
		got.File.Release()
		for _, batch := range batchesOf(t, b) {
			if batch.LastOffset() < next || !batch.ValidCRC() {
				t.Fatalf("at %d: a batch of %d to %d", next, batch.BaseOffset(), batch.LastOffset())
			}
			next = batch.NextOffset()
		}
	}
}

// TestTornAtEveryByte cuts the log anywhere in its last three batches, fills the rest with nothing, with zeros, or with
// noise, and expects exactly the whole batches before the cut.
func TestTornAtEveryByte(t *testing.T) {
	c := crashLog(t, smallConfig(), 12)
	name := fileName(0, logSuffix)
	log := mustRead(t, c.dir, name)
	whole := len(log)
	for _, b := range c.batches[9:] {
		whole -= len(b)
	}
	noise := rand.NewChaCha8([32]byte{1})
	for cut := whole; cut <= len(log); cut++ {
		for _, fill := range []string{"nothing", "zeros", "noise"} {
			torn := bytes.Clone(log[:cut])
			switch fill {
			case "zeros":
				torn = append(torn, make([]byte, 500)...)
			case "noise":
				junk := make([]byte, 500)
				noise.Read(junk)
				torn = append(torn, junk...)
			}
			var want []protocol.Batch
			for _, b := range c.batches { // a batch that ends in zeros may be whole in spite of the cut
				if bytes.HasPrefix(torn[min(sizeOf(want), len(torn)):], b) {
					want = append(want, b)
				}
			}
			mustWrite(t, filepath.Join(c.dir, name), torn) // recovery makes the rest anew
			report := checkOpened(t, c.dir, want, OpenOptions{})
			if report.BytesCut != int64(len(torn)-sizeOf(want)) {
				t.Fatalf("cut at %d with %s: %+v", cut, fill, report)
			}
		}
	}
}

// sizeOf is the bytes of some batches.
func sizeOf(batches []protocol.Batch) (n int) {
	for _, b := range batches {
		n += len(b)
	}
	return n
}

// TestEveryByteChanged flips each byte of the last two batches: the log is cut before the one that it is in, except for
// the leader epoch and those bits of the base offset that leave it in order, which no CRC covers.
func TestEveryByteChanged(t *testing.T) {
	c := crashLog(t, smallConfig(), 6)
	name := fileName(0, logSuffix)
	log := mustRead(t, c.dir, name)
	for i := len(log) - len(c.batches[5]) - len(c.batches[4]); i < len(log); i++ {
		keep, at := 0, 0
		for at+len(c.batches[keep]) <= i {
			at += len(c.batches[keep])
			keep++
		}
		if i-at < 8 || i-at >= 12 && i-at < 16 {
			continue
		}
		bad := bytes.Clone(log)
		bad[i] ^= 0x40
		mustWrite(t, filepath.Join(c.dir, name), bad)
		checkOpened(t, c.dir, c.batches[:keep], OpenOptions{})
	}
}

// TestOnlyBehindTheRecoveryPoint checks which segments a recovery reads.
func TestOnlyBehindTheRecoveryPoint(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentBytes = 600
	c := crashLog(t, cfg, 20)
	var bases []int64
	for name := range logsOf(t, c.dir) {
		base, _, _ := parseFileName(name)
		bases = append(bases, base)
	}
	if len(bases) < 5 {
		t.Fatalf("only %d segments", len(bases))
	}
	for i, base := range bases {
		for _, point := range []int64{base, base + 1} {
			dir := filepath.Join(t.TempDir(), "events-0")
			copyDir(t, c.dir, dir)
			report := checkOpened(t, dir, c.batches, OpenOptions{RecoveryPoint: point})
			first := i // the segment that the point is in
			for first+1 < len(bases) && bases[first+1] <= point {
				first++
			}
			if want := len(bases) - first; report.SegmentsScanned != want || report.IndexesRebuilt != 0 {
				t.Errorf("from %d: %+v, want %d scanned", point, report, want)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "events-0")
	copyDir(t, c.dir, dir)
	if report := checkOpened(t, dir, c.batches, OpenOptions{RecoveryPoint: 1 << 40}); report.SegmentsScanned != 1 {
		t.Errorf("with a recovery point beyond the end: %+v", report)
	}
}

// TestDamagedSnapshots leaves the producers' snapshots behind the recovery point as a power cut may: empty, or in part. They
// are not needed, and do not stay; the one before it is.
func TestDamagedSnapshots(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentBytes = 600
	c := crashLog(t, cfg, 20)
	var snapshots []int64
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if base, suffix, ok := parseFileName(e.Name()); ok && suffix == snapshotSuffix {
			snapshots = append(snapshots, base)
		}
	}
	if len(snapshots) < 5 {
		t.Fatalf("only %d snapshots", len(snapshots))
	}
	for i, at := range snapshots[2:] {
		name := fileName(at, snapshotSuffix)
		mustWrite(t, filepath.Join(c.dir, name), mustRead(t, c.dir, name)[:5*(i%2)])
	}
	p, report, err := Open(ring.NewLinux(), c.dir, cfg, OpenOptions{RecoveryPoint: snapshots[1]})
	if err != nil || p.Offsets().LogEnd != c.batches[len(c.batches)-1].NextOffset() {
		t.Fatalf("%v, %+v", err, report)
	}
	for i, at := range snapshots {
		_, err := os.Stat(filepath.Join(c.dir, fileName(at, snapshotSuffix)))
		if is := err == nil; is != (i < 2) {
			t.Errorf("snapshot %d of %v is there: %v", at, snapshots, is)
		}
	}
}

// TestCutInTheMiddle damages an early segment: what follows it goes, and the log is whole.
func TestCutInTheMiddle(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentBytes = 600
	c := crashLog(t, cfg, 20)
	var second string
	for name := range logsOf(t, c.dir) {
		if base, _, _ := parseFileName(name); base > 0 && second == "" {
			second = name
		}
	}
	base, _, _ := parseFileName(second)
	log := mustRead(t, c.dir, second)
	log[len(log)-1] ^= 1
	mustWrite(t, filepath.Join(c.dir, second), log)
	n := len(batchesOf(t, mustRead(t, c.dir, second)))
	var want []protocol.Batch
	for _, b := range c.batches {
		if b.BaseOffset() < base || n > 1 {
			want = append(want, b)
			if b.BaseOffset() >= base {
				n--
			}
		}
	}
	report := checkOpened(t, c.dir, want, OpenOptions{})
	if report.SegmentsRemoved == 0 {
		t.Errorf("%+v", report)
	}
	for name := range listDir(t, c.dir) {
		if b, _, ok := parseFileName(name); ok && b > want[len(want)-1].NextOffset() {
			t.Errorf("%s is still there", name)
		}
	}
}

// TestIndexesRebuilt takes indexes away or damages them, of closed segments and of the last, after a clean stop
// and after a crash.
func TestIndexesRebuilt(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentBytes = 3000
	c := crashLog(t, cfg, 40)
	r := newRig(t, StoreOptions{})
	p, _ := r.open(c.dir, cfg, OpenOptions{})
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
	end := p.Offsets().LogEnd
	damage := map[string]func(path string){
		"missing":   func(path string) { os.Remove(path) },
		"odd size":  func(path string) { mustWrite(t, path, append(mustRead(t, path), 1, 2, 3)) },
		"nonsense":  func(path string) { mustWrite(t, path, bytes.Repeat([]byte{0x7f}, 48)) },
		"negative":  func(path string) { mustWrite(t, path, bytes.Repeat([]byte{0xff}, 48)) },
		"all zeros": func(path string) { mustWrite(t, path, make([]byte, 4800)) },
		"preallocated": func(path string) {
			mustWrite(t, path, append(mustRead(t, path), make([]byte, 4800)...))
		},
	}
	for what, do := range damage {
		for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
			for _, base := range []int64{p.segments[0].base, p.activeSegment().base} {
				for _, clean := range []bool{true, false} {
					name := fmt.Sprintf("%s %s of %d, clean %v", what, suffix, base, clean)
					dir := filepath.Join(t.TempDir(), "events-0")
					copyDir(t, c.dir, dir)
					do(filepath.Join(dir, fileName(base, suffix)))
					r := newRig(t, StoreOptions{})
					q, report := r.open(dir, cfg, OpenOptions{Clean: clean, RecoveryPoint: end})
					if q.Offsets().LogEnd != end {
						t.Fatalf("%s: ends at %d, want %d", name, q.Offsets().LogEnd, end)
					}
					readAll(t, r, q)
					q.Searcher().MaxTimestamp(r.kernel)
					q.touched = true
					if errs := r.close(); errs != nil {
						t.Fatalf("%s: %v", name, errs)
					}
					if what != "all zeros" && what != "preallocated" || base == q.activeSegment().base {
						checkIndexes(t, dir)
					}
					_ = report
				}
			}
		}
	}
}

// TestLeftovers opens directories with what an interrupted cleaning or deletion leaves.
func TestLeftovers(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentBytes = 600
	made := crashLog(t, cfg, 20)
	var bases []int64
	for name := range logsOf(t, made.dir) {
		base, _, _ := parseFileName(name)
		bases = append(bases, base)
	}
	rename := func(dir string, base int64, to string) {
		for _, suffix := range fileSuffixes {
			old := filepath.Join(dir, fileName(base, suffix))
			if err := os.Rename(old, old+to); err != nil {
				t.Fatal(err)
			}
		}
	}
	open := func(dir string) *Partition {
		p, _, err := Open(ring.NewLinux(), dir, cfg, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for name := range listDir(t, dir) {
			if isLeftover(name) {
				t.Errorf("%s was left", name)
			}
		}
		return p
	}
	end := made.batches[19].NextOffset()

	t.Run("deleted", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "events-0")
		copyDir(t, made.dir, dir)
		rename(dir, bases[0], deletedSuffix)
		if p := open(dir); p.Offsets().LogStart != bases[1] || p.Offsets().LogEnd != end {
			t.Errorf("%+v", p.Offsets())
		}
	})
	t.Run("cleaned", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "events-0")
		copyDir(t, made.dir, dir)
		for _, suffix := range fileSuffixes {
			mustWrite(t, filepath.Join(dir, fileName(bases[0], suffix)+cleanedSuffix), []byte("half of it"))
			mustWrite(t, filepath.Join(dir, fileName(bases[1], suffix)+swapSuffix), []byte("too early"))
		}
		if p := open(dir); p.Offsets().LogStart != 0 || p.Offsets().LogEnd != end {
			t.Errorf("%+v", p.Offsets())
		}
	})
	t.Run("swap", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "events-0")
		copyDir(t, made.dir, dir)
		// The first two segments cleaned into one: all but the first batch.
		var log []byte
		for _, base := range bases[:2] {
			log = append(log, mustRead(t, dir, fileName(base, logSuffix))...)
		}
		log = log[len(made.batches[0]):]
		mustWrite(t, filepath.Join(dir, fileName(0, logSuffix)+swapSuffix), log)
		mustWrite(t, filepath.Join(dir, fileName(0, indexSuffix)+swapSuffix), nil)
		mustWrite(t, filepath.Join(dir, fileName(0, timeIndexSuffix)+swapSuffix), nil)
		p := open(dir)
		if p.Offsets().LogEnd != end || len(p.segments) != len(bases)-1 || p.segments[1].base != bases[2] {
			t.Errorf("%+v, %d segments", p.Offsets(), len(p.segments))
		}
		r := newRig(t, StoreOptions{})
		r.store.Adopt(p)
		readAll(t, r, p)
		if got, code := r.plan(p, 0, 1, true); code != protocol.NONE || got.Pos != 0 || got.Len != len(made.batches[1]) {
			t.Errorf("offset 0, cleaned away, is answered with %+v, %v", got, code)
		}
	})
	t.Run("orphan", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "events-0")
		copyDir(t, made.dir, dir)
		mustWrite(t, filepath.Join(dir, fileName(999999, indexSuffix)), make([]byte, 8))
		if p := open(dir); p.Offsets().LogEnd != end {
			t.Errorf("%+v", p.Offsets())
		}
		if _, ok := listDir(t, dir)[fileName(999999, indexSuffix)]; ok {
			t.Error("an index without a log was left")
		}
	})
}

// TestLogStart opens with a log start from the checkpoint: inside the log, and beyond what survived.
func TestLogStart(t *testing.T) {
	c := crashLog(t, smallConfig(), 6)
	p, _, err := Open(ring.NewLinux(), c.dir, smallConfig(), OpenOptions{LogStart: 3})
	if err != nil || p.Offsets().LogStart != 3 || p.Offsets().LogEnd != 12 {
		t.Fatalf("%+v, %v", p.Offsets(), err)
	}
	p, report, err := Open(ring.NewLinux(), c.dir, smallConfig(), OpenOptions{LogStart: 100})
	if want := (Offsets{100, 100, 100, 100, 100}); err != nil || p.Offsets() != want || len(report.Notes) == 0 {
		t.Fatalf("%+v, %v", p.Offsets(), err)
	}
	r := newRig(t, StoreOptions{})
	r.store.Adopt(p)
	if got := r.must(p, spec{}.batch()); got != 100 {
		t.Errorf("the next append is at %d", got)
	}
	if _, code := r.plan(p, 99, 1000, true); code != protocol.OFFSET_OUT_OF_RANGE {
		t.Errorf("offset 99: %v", code)
	}
}

// TestEmptyDirectory opens what a crash during Create can leave.
func TestEmptyDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events-3")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(dir, partitionMetadataName), nil)
	id := TopicPartition{Topic: "events", TopicID: protocol.UUID{9}, Partition: 3}
	p, report, err := Open(ring.NewLinux(), dir, DefaultConfig(), OpenOptions{ID: id})
	if err != nil || p.ID() != id || p.Offsets().LogEnd != 0 || len(report.Notes) != 1 {
		t.Fatalf("%+v, %+v, %v", p, report, err)
	}
	id.TopicID = protocol.UUID{8}
	if _, _, err := Open(ring.NewLinux(), dir, DefaultConfig(), OpenOptions{ID: id}); err == nil || !strings.Contains(err.Error(), "belongs to the topic") {
		t.Errorf("another topic's: %v", err)
	}
}

// TestOldFormat refuses a log of messages from before Kafka 0.11 instead of cutting it away.
func TestOldFormat(t *testing.T) {
	c := crashLog(t, smallConfig(), 2)
	// A message of format 1: offset, size, CRC, magic, attributes, timestamp, no key, value "hi".
	old := []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, 'h', 'i'}
	mustWrite(t, filepath.Join(c.dir, fileName(0, logSuffix)), sealOld(old))
	if _, _, err := Open(ring.NewLinux(), c.dir, smallConfig(), OpenOptions{}); err == nil || !strings.Contains(err.Error(), "format 1") {
		t.Errorf("opened: %v", err)
	}
	mustWrite(t, filepath.Join(c.dir, fileName(0, logSuffix)), old[:len(old)-1]) // its CRC is wrong: torn
	if p, _, err := Open(ring.NewLinux(), c.dir, smallConfig(), OpenOptions{}); err != nil || p.Offsets().LogEnd != 0 {
		t.Errorf("torn: %v", err)
	}
}

// TestEpochsRebuilt loses leader-epoch-checkpoint.
func TestEpochsRebuilt(t *testing.T) {
	for _, contents := range []string{"", "0\n1\nnonsense\n", "gone"} {
		dir := filepath.Join(t.TempDir(), "golden-0")
		copyDir(t, "testdata/kafka/golden-0", dir)
		path := filepath.Join(dir, epochCheckpointName)
		if contents == "gone" {
			os.Remove(path)
		} else {
			mustWrite(t, path, []byte(contents))
		}
		r := newRig(t, StoreOptions{})
		p, _ := r.open(dir, goldenConfig(), OpenOptions{Clean: true})
		if epoch, end := p.EndOffsetForEpoch(0); epoch != 0 || end != 184 || p.EpochForOffset(200) != 2 || p.LeaderEpoch() != 2 {
			t.Errorf("%q: epoch %d ends at %d", contents, epoch, end)
		}
		r.until("the checkpoint is written", func() bool { return !p.savingEpochs })
		if got := string(mustRead(t, path)); got != "0\n2\n0 0\n2 184\n" {
			t.Errorf("written again: %q", got)
		}
	}
}
