package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"slipstream/protocol"
	"slipstream/ring"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// failingDisk is a kernel on which everything that writes below a directory fails once it is broken.
type failingDisk struct {
	ring.Kernel
	dir    string
	broken atomic.Bool
	mu     sync.Mutex
	files  map[int]string
}

func (k *failingDisk) fails(path string) error {
	if k.broken.Load() && strings.HasPrefix(path, k.dir+"/") || k.broken.Load() && path == k.dir {
		return &os.PathError{Op: "fail", Path: path, Err: syscall.EIO}
	}
	return nil
}

func (k *failingDisk) path(fd int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.files[fd]
}

func (k *failingDisk) Open(path string, flags int, mode uint32) (int, error) {
	if err := k.fails(path); err != nil && flags&(syscall.O_RDWR|syscall.O_WRONLY|syscall.O_CREAT) != 0 {
		return -1, err
	}
	fd, err := k.Kernel.Open(path, flags, mode)
	k.mu.Lock()
	k.files[fd] = path
	k.mu.Unlock()
	return fd, err
}

func (k *failingDisk) OpenNowait(path string, flags int) (int, syscall.Errno) {
	fd, errno := k.Kernel.OpenNowait(path, flags)
	k.mu.Lock()
	k.files[fd] = path
	k.mu.Unlock()
	return fd, errno
}

func (k *failingDisk) WriteNow(fd int, iovs []unix.Iovec, off int64) (int, syscall.Errno) {
	if k.fails(k.path(fd)) != nil {
		return 0, syscall.EIO
	}
	return k.Kernel.WriteNow(fd, iovs, off)
}

func (k *failingDisk) SyncDir(path string) error {
	if err := k.fails(path); err != nil {
		return err
	}
	return k.Kernel.SyncDir(path)
}

func (k *failingDisk) Mkdir(path string, mode uint32) error {
	if err := k.fails(path); err != nil {
		return err
	}
	return k.Kernel.Mkdir(path, mode)
}

func (k *failingDisk) ReadDir(path string) ([]ring.DirEntry, error) {
	if err := k.fails(path); err != nil {
		return nil, err
	}
	return k.Kernel.ReadDir(path)
}

func (k *failingDisk) Space(path string) (int64, int64, error) {
	if err := k.fails(path); err != nil {
		return 0, 0, err
	}
	return k.Kernel.Space(path)
}

// threeDirs are new data directories and their list.
func threeDirs(t *testing.T) ([]string, string) {
	root := t.TempDir()
	dirs := []string{filepath.Join(root, "a"), filepath.Join(root, "b"), filepath.Join(root, "c")}
	return dirs, strings.Join(dirs, ",")
}

// logDirs are the answers of DescribeLogDirs, by directory: its error and its partitions.
func (w *wire) logDirs() map[string][]string {
	w.t.Helper()
	req := kmsg.NewPtrDescribeLogDirsRequest()
	all := map[string][]string{}
	for _, d := range w.ask(4, req).(*kmsg.DescribeLogDirsResponse).Dirs {
		in := []string{protocol.ErrorCode(d.ErrorCode).String()}
		for _, topic := range d.Topics {
			for _, p := range topic.Partitions {
				in = append(in, fmt.Sprintf("%s-%d", topic.Topic, p.Partition))
			}
		}
		all[d.Dir] = in
	}
	return all
}

// produceTo produces one record and returns its error.
func (w *wire) produceTo(topic string, partition int32) protocol.ErrorCode {
	w.t.Helper()
	resp := w.ask(9, produceRequest(topic, partition, testBatch(1, "x"))).(*kmsg.ProduceResponse)
	return protocol.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// partitionsOf are a topic's partitions as Metadata has them.
func (w *wire) partitionsOf(topic string) []kmsg.MetadataResponseTopicPartition {
	w.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = &topic
	req.Topics = append(req.Topics, asked)
	return w.ask(12, req).(*kmsg.MetadataResponse).Topics[0].Partitions
}

// requireNoMoves asks for partition t-0 to be in each directory, and in one that is none.
func (w *wire) requireNoMoves(was map[string][]string, dirs []string) {
	w.t.Helper()
	for _, dir := range append([]string{"/nowhere"}, dirs...) {
		want := protocol.INVALID_REQUEST
		switch {
		case slices.Contains(was[dir], "t-0"):
			want = protocol.NONE
		case dir == "/nowhere":
			want = protocol.LOG_DIR_NOT_FOUND
		}
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		d := kmsg.NewAlterReplicaLogDirsRequestDir()
		d.Dir = dir
		d.Topics = append(d.Topics, kmsg.AlterReplicaLogDirsRequestDirTopic{Topic: "t", Partitions: []int32{0}})
		req.Dirs = append(req.Dirs, d)
		got := w.ask(2, req).(*kmsg.AlterReplicaLogDirsResponse).Topics[0].Partitions[0].ErrorCode
		if got != int16(want) {
			w.t.Errorf("t-0 to %s: error %d, want %s", dir, got, want)
		}
	}
}

// TestLogDirs: partitions that are made together spread over the directories, are found again whatever the order of log.dirs,
// and each directory has its own identity, checkpoints and marker.
func TestLogDirs(t *testing.T) {
	dirs, list := threeDirs(t)
	b := startTestBroker(t, list, setCores(2))
	w := b.dial()
	w.createTopic("t", 9)
	for p := range int32(9) {
		if code := w.produceTo("t", p); code != protocol.NONE {
			t.Fatal(code)
		}
	}
	was := w.logDirs()
	ids := map[string]bool{}
	for _, d := range dirs {
		if len(was[d]) != 4 {
			t.Errorf("%s has %v, want 3 partitions", d, was[d])
		}
		meta, err := os.ReadFile(filepath.Join(d, "meta.properties"))
		must(t, err)
		for _, line := range strings.Split(string(meta), "\n") {
			if strings.HasPrefix(line, "directory.id=") {
				ids[line] = true
			}
		}
	}
	if len(ids) != 3 {
		t.Errorf("directory ids: %v", ids)
	}
	w.requireNoMoves(was, dirs)
	must(t, b.stop())
	for _, d := range dirs {
		for _, name := range []string{".kafka_cleanshutdown", "recovery-point-offset-checkpoint"} {
			if _, err := os.Stat(filepath.Join(d, name)); err != nil {
				t.Error(err)
			}
		}
	}
	checkpoint, err := os.ReadFile(filepath.Join(dirs[1], "recovery-point-offset-checkpoint"))
	must(t, err)
	for _, p := range was[dirs[1]][1:] {
		if !strings.Contains(string(checkpoint), strings.ReplaceAll(p, "-", " ")+" 1") {
			t.Errorf("%s is not in %q", p, checkpoint)
		}
	}
	// The metadata log stays where it is; the others come in another order, and one more comes.
	more := filepath.Join(filepath.Dir(dirs[0]), "more")
	b = startTestBroker(t, strings.Join([]string{more, dirs[2], dirs[0], dirs[1]}, ","), setCores(2), "metadata.log.dir="+dirs[0])
	if !b.report.Clean {
		t.Error("the start was not clean")
	}
	w = b.dial()
	w.createTopic("u", 3)
	is := w.logDirs()
	if want := []string{"NONE", "u-0", "u-1", "u-2"}; !slices.Equal(is[more], want) {
		t.Errorf("%s has %v: new partitions go to the new, empty directory", more, is[more])
	}
	for _, d := range dirs {
		if !slices.Equal(is[d], was[d]) {
			t.Errorf("%s has %v, had %v", d, is[d], was[d])
		}
	}
	for p := range int32(9) {
		if code := w.produceTo("t", p); code != protocol.NONE {
			t.Errorf("partition %d: %s", p, code)
		}
	}
}

// TestLogDirIsNotThere starts without a directory that has partitions: they are out of service, not begun anew, and are there
// again with the directory.
func TestLogDirIsNotThere(t *testing.T) {
	dirs, list := threeDirs(t)
	b := startTestBroker(t, list)
	w := b.dial()
	w.createTopic("t", 6)
	for p := range int32(6) {
		w.produceTo("t", p)
	}
	must(t, b.stop())
	b = startTestBroker(t, dirs[0]+","+dirs[1])
	w = b.dial()
	out := 0
	for _, p := range w.partitionsOf("t") {
		code := w.produceTo("t", p.Partition)
		switch {
		case p.Leader == 1 && p.ErrorCode == 0 && code == protocol.NONE && len(p.OfflineReplicas) == 0:
		case p.Leader == -1 && protocol.ErrorCode(p.ErrorCode) == protocol.LEADER_NOT_AVAILABLE && code == protocol.KAFKA_STORAGE_ERROR && slices.Equal(p.OfflineReplicas, []int32{1}):
			out++
		default:
			t.Errorf("%+v, produce: %s", p, code)
		}
	}
	if out != 2 {
		t.Errorf("%d partitions are out of service, want the 2 of %s", out, dirs[2])
	}
	must(t, b.stop())
	b = startTestBroker(t, list)
	w = b.dial()
	for _, p := range w.partitionsOf("t") {
		fetched := w.ask(11, fetchRequest("t", p.Partition, 0, 0)).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if n := countRecords(t, fetched.RecordBatches); p.Leader != 1 || len(p.OfflineReplicas) != 0 || n < 1 {
			t.Errorf("%+v has %d records", p, n)
		}
	}
}

// TestLogDirFails breaks a disk under a running broker: its partitions are out of service, for clients exactly as
// with Kafka; the others are served on, new ones are made elsewhere, and a restart on the mended disk has everything again.
func TestLogDirFails(t *testing.T) {
	dirs, list := threeDirs(t)
	disk := &failingDisk{dir: dirs[1], files: map[int]string{}}
	sets := []string{setCores(2), "slipstream.writer=inline", "offsets.topic.num.partitions=6"}
	b, err := tryTestBroker(t, list, func(k ring.Kernel) ring.Kernel { disk.Kernel = k; return disk }, sets...)
	must(t, err)
	w := b.dial()
	w.createTopic("t", 6)
	for p := range int32(6) {
		w.produceTo("t", p)
	}
	var there int32 = -1
	for _, name := range w.logDirs()[dirs[1]][1:] {
		fmt.Sscanf(name, "t-%d", &there)
	}
	if there < 0 {
		t.Fatal("no partition of t is in", dirs[1])
	}
	findGroup := func(group string) protocol.ErrorCode {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKey = group
		return protocol.ErrorCode(w.ask(3, find).(*kmsg.FindCoordinatorResponse).ErrorCode)
	}
	findGroup("any") // makes the topic
	parked := b.dial()
	fetch := fetchRequest("t", there, 1, 20_000)
	fetch.SetVersion(11)
	parked.send(fetch)
	time.Sleep(50 * time.Millisecond)
	disk.broken.Store(true)
	if code := w.produceTo("t", there); code != protocol.KAFKA_STORAGE_ERROR {
		t.Errorf("produce onto the broken disk: %s", code)
	}
	waited := parked.receive(fetch).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if code := protocol.ErrorCode(waited.ErrorCode); code != protocol.KAFKA_STORAGE_ERROR {
		t.Errorf("the fetch that waited: %s", code)
	}
	out := 0
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out = 0
		for _, p := range w.partitionsOf("t") {
			if p.Leader == -1 && slices.Equal(p.OfflineReplicas, []int32{1}) && protocol.ErrorCode(p.ErrorCode) == protocol.LEADER_NOT_AVAILABLE {
				out++
			}
		}
		if out == 2 || time.Now().After(deadline) {
			break
		}
	}
	if out != 2 {
		t.Fatalf("%d partitions without a leader, want 2\n%s", out, b.logs)
	}
	if got := w.logDirs()[dirs[1]]; !slices.Equal(got, []string{"KAFKA_STORAGE_ERROR"}) {
		t.Errorf("the broken directory is described as %v", got)
	}
	served := 0
	for p := range int32(6) {
		if code := w.produceTo("t", p); code == protocol.NONE {
			served++
		} else if code != protocol.KAFKA_STORAGE_ERROR {
			t.Errorf("partition %d: %s", p, code)
		}
	}
	if served != 4 {
		t.Errorf("%d partitions are served, want 4", served)
	}
	lost := 0
	for i := range 40 {
		if code := findGroup(fmt.Sprint("group-", i)); code == protocol.COORDINATOR_NOT_AVAILABLE {
			lost++
		} else if code != protocol.NONE {
			t.Errorf("the coordinator of group-%d: %s", i, code)
		}
	}
	if lost == 0 || lost == 40 {
		t.Errorf("%d of 40 groups have no coordinator, want those of a third of the partitions", lost)
	}
	w.createTopic("later", 4)
	for p := range int32(4) {
		if code := w.produceTo("later", p); code != protocol.NONE {
			t.Errorf("a topic made later: %s", code)
		}
	}
	must(t, b.stop())
	disk.broken.Store(false)
	b = startTestBroker(t, list, sets...)
	w = b.dial()
	for p := range int32(6) {
		fetched := w.ask(11, fetchRequest("t", p, 0, 0)).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if n := countRecords(t, fetched.RecordBatches); fetched.ErrorCode != 0 || n < 1 {
			t.Errorf("partition %d after the restart: error %d, %d records", p, fetched.ErrorCode, n)
		}
	}
}

// TestMetadataDirFails: the broker says so and ends.
func TestMetadataDirFails(t *testing.T) {
	dirs, list := threeDirs(t)
	disk := &failingDisk{dir: dirs[0], files: map[int]string{}}
	b, err := tryTestBroker(t, list, func(k ring.Kernel) ring.Kernel { disk.Kernel = k; return disk }, "slipstream.writer=inline")
	must(t, err)
	w := b.dial()
	w.createTopic("t", 3)
	disk.broken.Store(true)
	if code := w.produceTo("t", 0); code != protocol.KAFKA_STORAGE_ERROR {
		t.Errorf("produce onto the broken disk: %s", code)
	}
	deadline := time.Now().Add(20 * time.Second)
	for b.broker.State() == StateRunning && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if err := b.stop(); err == nil || !strings.Contains(err.Error(), dirs[0]+", which has the metadata log, has failed") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the broker ended with %v", err)
	}
}
