package clients

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
)

// memoryCgroup is a memory cgroup with a limit; what a process that is put into it
// brings in from then on is charged to it.
func memoryCgroup(t *testing.T, limit int) (dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a memory cgroup needs root")
	}
	root, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if text, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil && strings.Contains(string(text), "memory") {
		root, file = "/sys/fs/cgroup", "memory.max"
		_ = os.WriteFile(root+"/cgroup.subtree_control", []byte("+memory"), 0)
	}
	dir = filepath.Join(root, fmt.Sprintf("slipstream-clients-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("no memory cgroup can be made here: ", err)
	}
	t.Cleanup(func() {
		for range 200 { // what is charged to it goes with it, by and by
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, file), fmt.Append(nil, limit), 0); err != nil {
		t.Skip("memory cgroups have no limit here: ", err)
	}
	return dir
}

// TestCulpritsOfTheRealBroker: a broker in a memory cgroup that is too small says of
// a log's pages whose appends pushed them out.
func TestCulpritsOfTheRealBroker(t *testing.T) {
	group := memoryCgroup(t, 160<<20)
	s := startSeen(t, t.TempDir(), 0)
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, s.b.PID()), 0); err != nil {
		t.Skip("the broker cannot be put into a cgroup: ", err)
	}
	t.Cleanup(s.b.Kill) // before the cgroup goes
	s.fill(seenTopic, 24<<20)
	if err := harness.CreateTopic(s.b.Addr, "flood", 1); err != nil {
		t.Fatal(err)
	}
	s.fill("flood", 200<<20)
	// The kernel may still be taking pages back: the counter and the cache are compared when none went between the two.
	var went, by, left int64
	for range 20 {
		went = s.count("evictions")
		by = s.count("evicted_by", "culprit_topic", "flood", "culprit_client", "")
		left = s.resident()
		time.Sleep(150 * time.Millisecond) // scrapes within a tenth of a second share what the cores told
		if s.count("evictions") == went {
			break
		}
	}
	t.Logf("%d pages of %d went, %d of them for appends to the other log", went, 24<<20/os.Getpagesize(), by)
	if went < 1000 || !about(s.count("write_inserts")-went, left) {
		t.Errorf("%d pages went of %d, %d are left", went, s.count("write_inserts"), left)
	}
	if by < went*9/10 {
		t.Errorf("of %d pages that went only %d are put down to the appends", went, by)
	}
	s.consume("late", 0)
}

// fill appends so many bytes to a topic.
func (s *seen) fill(topic string, total int) {
	s.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.b.Addr), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		s.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	value := make([]byte, recordBytes)
	for range total >> 10 {
		client.Produce(ctx, &kgo.Record{Topic: topic, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				s.Error(err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil || s.Failed() {
		s.Fatal(err)
	}
	if topic == seenTopic {
		s.records += total >> 10
	}
}
