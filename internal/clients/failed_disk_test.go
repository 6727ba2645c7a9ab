package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
	"unsafe"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// shutdownFileSystem is EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN: everything on the file system is written, and from then on
// every call fails with EIO, as on a disk that is gone.
const shutdownFileSystem = 0x8004587d

func failDisk(t *testing.T, mnt string) {
	t.Helper()
	d, err := os.Open(mnt)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	how := uint32(0)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), shutdownFileSystem, uintptr(unsafe.Pointer(&how))); errno != 0 {
		t.Skipf("this file system cannot be shut down: %v", errno)
	}
}

// mendDisk mounts the file system of a failed disk again.
func mendDisk(t *testing.T, mnt string) {
	t.Helper()
	for _, args := range [][]string{{"umount", mnt}, {"mount", "-o", "loop", filepath.Join(filepath.Dir(mnt), "image"), mnt}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
}

// asked is a broker that is asked one thing after the other.
type asked struct {
	t *testing.T
	w *harness.Wire
}

func (a *asked) do(version int16, req kmsg.Request) kmsg.Response {
	a.t.Helper()
	req.SetVersion(version)
	resp, err := a.w.Do(req, 20*time.Second)
	if err != nil {
		a.t.Fatalf("key %d: %v", req.Key(), err)
	}
	return resp
}

func (a *asked) produce(topic string, partition int32) int16 {
	a.t.Helper()
	resp := a.do(9, harness.Produce(9, topic, [16]byte{}, partition, -1, harness.NewBatch("x").Bytes()))
	return resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
}

func (a *asked) partitions(topic string) []kmsg.MetadataResponseTopicPartition {
	a.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = &topic
	req.Topics = append(req.Topics, one)
	ps := a.do(9, req).(*kmsg.MetadataResponse).Topics[0].Partitions
	slices.SortFunc(ps, func(x, y kmsg.MetadataResponseTopicPartition) int { return int(x.Partition - y.Partition) })
	return ps
}

// in lists the partitions of a topic in a directory, and the directory's error.
func (a *asked) in(dir, topic string) (partitions []int32, code int16) {
	a.t.Helper()
	code = -1
	for _, d := range a.do(4, kmsg.NewPtrDescribeLogDirsRequest()).(*kmsg.DescribeLogDirsResponse).Dirs {
		if d.Dir != dir {
			continue
		}
		code = d.ErrorCode
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				if t.Topic == topic {
					partitions = append(partitions, p.Partition)
				}
			}
		}
	}
	return partitions, code
}

func (a *asked) fetch(topic string, partition int32) (code int16, bytes int) {
	a.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MaxBytes, req.SessionEpoch = 100, 1<<20, -1
	one := kmsg.NewFetchRequestTopic()
	one.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, 1<<20, -1
	one.Partitions = append(one.Partitions, p)
	req.Topics = append(req.Topics, one)
	got := a.do(11, req).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	return got.ErrorCode, len(got.RecordBatches)
}

// TestDiskFails takes one of two disks away from a running broker: what clients see is the same with Apache Kafka. The
// other disk's partitions are served on, and a restart on the mended disk has everything again.
func TestDiskFails(t *testing.T) {
	harness.OwnBroker(t)
	mnt := loopMount(t, "ext4")
	disk := filepath.Join(mnt, "data")
	first := filepath.Join(loopMount(t, "ext4"), "data") // as large: partitions go where there is room
	b := harness.StartT(t, harness.Options{DataDir: first, MoreDirs: []string{disk}})
	topic := topicName(t, "disks")
	createTopic(t, b, topic, 8)
	dial := func() *asked {
		w, err := harness.Dial(b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		return &asked{t, w}
	}
	a := dial()
	for p := range int32(8) {
		for deadline := time.Now().Add(20 * time.Second); a.produce(topic, p) != 0; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the new topic takes no records")
			}
		}
	}
	there, code := a.in(disk, topic)
	if code != 0 || len(there) == 0 || len(there) == 8 {
		t.Fatalf("error %d, %v of 8 partitions are on the disk", code, there)
	}
	failDisk(t, mnt)
	const storageError, leaderNotAvailable = 56, 5
	// Apache answers the one that finds the failure with UNKNOWN_SERVER_ERROR, and every later one as here.
	if code := a.produce(topic, there[0]); code != storageError && !(b.Kind == harness.Apache && code == -1) {
		t.Errorf("produce onto the failed disk: error %d", code)
	}
	out := 0
	for deadline := time.Now().Add(30 * time.Second); out < len(there); time.Sleep(50 * time.Millisecond) {
		out = 0
		for _, p := range a.partitions(topic) {
			if p.Leader == -1 {
				out++
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d partitions are out of service", out, len(there))
		}
	}
	for _, p := range a.partitions(topic) {
		lost := slices.Contains(there, p.Partition)
		want := fmt.Sprint(0, []int32{1}, []int32{1}, []int32{}, 1)
		if lost {
			want = fmt.Sprint(leaderNotAvailable, []int32{1}, []int32{}, []int32{1}, -1)
		}
		if got := fmt.Sprint(p.ErrorCode, p.Replicas, p.ISR, p.OfflineReplicas, p.Leader); got != want {
			t.Errorf("partition %d in Metadata: error, replicas, isr, offline, leader: %s, want %s", p.Partition, got, want)
		}
		code := a.produce(topic, p.Partition)
		fetched, bytes := a.fetch(topic, p.Partition)
		if lost && (code != storageError || fetched != storageError || bytes != 0) || !lost && (code != 0 || fetched != 0 || bytes == 0) {
			t.Errorf("partition %d, lost: %t: produce %d, fetch %d with %d bytes", p.Partition, lost, code, fetched, bytes)
		}
	}
	if left, code := a.in(disk, topic); code != storageError || len(left) != 0 {
		t.Errorf("the failed directory is described with error %d and %v", code, left)
	}
	createTopic(t, b, topic+"-later", 4)
	for p := range int32(4) {
		for deadline := time.Now().Add(20 * time.Second); a.produce(topic+"-later", p) != 0; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("a topic made later takes no records")
			}
		}
	}
	harness.StopT(t, b)
	mendDisk(t, mnt)
	b = harness.RestartT(t, b)
	a = dial()
	for p := range int32(8) {
		var fetched int16
		bytes := 0
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			if fetched, bytes = a.fetch(topic, p); fetched == 0 && bytes > 0 || time.Now().After(deadline) {
				break
			}
		}
		if code := a.produce(topic, p); code != 0 || fetched != 0 || bytes == 0 {
			t.Errorf("partition %d on the mended disk: produce %d, fetch %d with %d bytes", p, code, fetched, bytes)
		}
	}
}
