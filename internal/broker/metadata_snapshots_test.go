package broker

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipstream/internal/metadata"
	"slipstream/internal/sim"
	"slipstream/ring"
	"slipstream/storage"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestMetadataStaysShort changes settings 100,000 times: the directory and what a start reads stay as small as the
// settings of snapshots say, and nothing is lost.
func TestMetadataStaysShort(t *testing.T) {
	const groups, rounds = 1000, 100
	sets := []string{"metadata.log.max.record.bytes.between.snapshots=400000", "metadata.max.retention.bytes=1000000", setCores(2)}
	b := startTestBroker(t, "", sets...)
	w := b.dial()
	value := func(round, i int) string { return fmt.Sprint(45000 + (round*7+i)%10_000) }
	for round := range rounds {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		for i := range groups {
			v := value(round, i)
			r := kmsg.NewIncrementalAlterConfigsRequestResource()
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, fmt.Sprintf("group-%04d", i)
			r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "consumer.session.timeout.ms", Value: &v}}
			req.Resources = append(req.Resources, r)
		}
		for _, r := range w.ask(1, req).(*kmsg.IncrementalAlterConfigsResponse).Resources {
			if r.ErrorCode != 0 {
				t.Fatalf("round %d: error %d", round, r.ErrorCode)
			}
		}
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b = startTestBroker(t, b.dir, sets...) // and .deleted files are gone
	w = b.dial()
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, i := range []int{0, groups - 1} {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeGroupConfig, fmt.Sprintf("group-%04d", i), []string{"consumer.session.timeout.ms"}
		req.Resources = append(req.Resources, r)
	}
	for n, r := range w.ask(4, req).(*kmsg.DescribeConfigsResponse).Resources {
		if want := value(rounds-1, n*(groups-1)); len(r.Configs) != 1 || r.Configs[0].Value == nil || *r.Configs[0].Value != want {
			t.Errorf("%s is %+v after a restart, want %s", r.ResourceName, r.Configs, want)
		}
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	m, err := readMetadataOf(ring.NewLinux(), b.dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	files, _ := os.ReadDir(filepath.Join(b.dir, metadataDir))
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			size += info.Size()
		}
	}
	// A thousand records of a round, about 50 KB, can come between a limit and what is done about it, and while a snapshot
	// is made some more; the last segment stays whole.
	if m.from.Offset < groups*rounds/2 || m.behind > 2_000_000 || size > 4_000_000 || m.end < groups*rounds {
		t.Errorf("%d changes leave %d bytes in the metadata directory; a start reads %s and %d bytes of log behind it", m.end, size, m.from.FileName(), m.behind)
	}
	t.Logf("%d records; %d bytes in %d files; a start reads %s and %d bytes behind it", m.end, size, len(files), m.from.FileName(), m.behind)
}

// simulatedMetadata writes a metadata directory to a simulated disk: a snapshot of some records and a log behind it.
func simulatedMetadata(t *testing.T, k ring.Kernel) (dir string, want *metadata.Image) {
	t.Helper()
	dir = "/data/" + metadataDir
	if err := makeDirs(k, dir); err != nil {
		t.Fatal(err)
	}
	want = metadata.NewImage()
	var log []byte
	next := int64(0)
	add := func(records ...metadata.Record) {
		log = metadata.AppendBatch(log, metadata.BatchInfo{Offset: next, LeaderEpoch: 1, TimestampMillis: 1000 + next}, records)
		next += int64(len(records))
		if err := want.ApplyAll(records); err != nil {
			t.Fatal(err)
		}
	}
	add(metadata.BootstrapFeatures()...)
	for i := range 40 {
		id := metadata.UUID{1, byte(i)}
		add(&metadata.TopicRecord{Name: fmt.Sprint("topic-", i), TopicID: id},
			&metadata.PartitionRecord{Version: 2, TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: []metadata.UUID{{9}}})
	}
	for name, contents := range map[string][]byte{
		"00000000000000000000.log": log,
		"partition.metadata":       fmt.Appendf(nil, "version: 0\ntopic_id: %s", metadata.MetadataTopicID),
		"quorum-state":             metadata.QuorumState{LeaderID: 1, LeaderEpoch: 1, VotedID: -1}.Append(nil),
	} {
		if err := storage.ReplaceFile(k, dir+"/"+name, contents); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.SyncDir("/data"); err != nil {
		t.Fatal(err)
	}
	if err := k.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	return dir, want
}

func encoded(im *metadata.Image) (b []byte) {
	for _, r := range im.Records() {
		b = metadata.AppendRecord(b, r)
	}
	return b
}

// TestSnapshotCut cuts the power at each call of the kernel that making a snapshot takes, with any remainder on the disk: a
// start finds the same state every time, from the new snapshot or without it.
func TestSnapshotCut(t *testing.T) {
	with, without := 0, 0
	for _, mode := range []sim.CutMode{sim.CutTear, sim.CutDrop, sim.CutKeep} {
		for calls := 1; ; calls++ {
			world := sim.New(uint64(calls), sim.Options{})
			k := world.Kernel()
			dir, want := simulatedMetadata(t, k)
			log, _, err := storage.Open(k, dir, MetadataSettings{}.log(), storage.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			job := &snapshotJob{dir: dir, scan: log.Scan(0), end: log.Offsets().LogEnd}
			world.CrashAfter(calls, false, mode)
			cut := crashes(func() { job.Work(k) })
			if !cut {
				world.CrashAfter(0, false, mode)
				world.PowerCut(mode)
			}
			k = world.Restart()
			m, err := readMetadata(k, dir, 1, false, job.end)
			if err != nil {
				t.Fatalf("cut at call %d (mode %d): %v", calls, mode, err)
			}
			if !bytes.Equal(encoded(m.images[0]), encoded(want)) || m.end != job.end {
				t.Fatalf("cut at call %d (mode %d): the state is another one, or ends at %d", calls, mode, m.end)
			}
			if m.from.Offset > 0 {
				with++
			} else {
				without++
			}
			if err := removeSnapshotLeftovers(k, dir); err != nil {
				t.Fatal(err)
			}
			if !cut {
				if m.from.Offset != job.end || job.err != nil {
					t.Errorf("a snapshot that was made is not found after the cut: %v", job.err)
				}
				break
			}
		}
	}
	if with == 0 || without == 0 {
		t.Errorf("%d cuts left a snapshot and %d did not: that shows little", with, without)
	}
}

// TestMetadataAfterAFailedSync ends a broker after an fsync of the metadata log that failed, with its last batch in the page cache and
// not on the disk: what is read is what the log has once it is opened, before and after.
func TestMetadataAfterAFailedSync(t *testing.T) {
	world := sim.New(1, sim.Options{})
	k := world.Kernel()
	dir, want := simulatedMetadata(t, k)
	path := dir + "/00000000000000000000.log"
	b, err := readFile(k, path)
	must(t, err)
	end := nextOffset(b)
	lost := metadata.AppendBatch(nil, metadata.BatchInfo{Offset: end, LeaderEpoch: 1}, []metadata.Record{&metadata.NoOpRecord{}})
	world.Plan([]sim.Fault{{Kind: sim.FaultSyncError, Path: ".log", For: 1e9, Count: 1}})
	fd, err := k.Open(path, syscall.O_WRONLY, 0)
	must(t, err)
	_, err = k.WriteAt(fd, lost, int64(len(b)))
	must(t, err)
	if err := k.Sync(fd); err == nil {
		t.Fatal("the fsync did not fail")
	}
	if b, err = readFile(k, path); err != nil || nextOffset(b) == end {
		t.Fatalf("the page cache has nothing that the disk does not: %v", err)
	}
	world.Kill()
	k = world.Restart()
	m, err := readMetadata(k, dir, 1, false, 0)
	must(t, err)
	log, _, err := storage.Open(k, dir, MetadataSettings{}.log(), storage.OpenOptions{})
	must(t, err)
	if opened := log.Offsets().LogEnd; m.end != end || opened != end || !bytes.Equal(encoded(m.images[0]), encoded(want)) {
		t.Errorf("the log is read up to offset %d and opened up to %d, want %d", m.end, opened, end)
	}
}

// crashes says whether the machine stopped meanwhile.
func crashes(f func()) (stopped bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, stopped = p.(sim.Crash); !stopped {
				panic(p)
			}
		}
	}()
	f()
	return false
}

// TestDamagedSnapshot starts with a newest snapshot that is damaged: the one before and the log stand in, and a new
// one is made at once.
func TestDamagedSnapshot(t *testing.T) {
	sets := []string{"metadata.log.max.record.bytes.between.snapshots=300"}
	b := startTestBroker(t, "", sets...)
	w := b.dial()
	for i := range 6 {
		w.createTopic(fmt.Sprint("topic-", i), 1)
	}
	dir := filepath.Join(b.dir, metadataDir)
	snapshots := func() (names []string) { names, _ = filepath.Glob(filepath.Join(dir, "*.checkpoint")); return names }
	for until := time.Now().Add(10 * time.Second); len(snapshots()) < 3 && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	before := snapshots()
	newest := before[len(before)-1]
	text, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(newest, text[:len(text)*2/3], 0o644); err != nil {
		t.Fatal(err)
	}
	b = startTestBroker(t, b.dir)
	if b.report.Topics != 6 {
		t.Errorf("%d topics are found, want 6", b.report.Topics)
	}
	if !strings.Contains(b.logs.String(), filepath.Base(newest)) {
		t.Errorf("nobody is told of %s", newest)
	}
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		after := snapshots()
		if _, err := os.Stat(newest); os.IsNotExist(err) && after[len(after)-1] > newest {
			return
		}
	}
	t.Errorf("no snapshot has taken the place of %s: %v", newest, snapshots())
}
