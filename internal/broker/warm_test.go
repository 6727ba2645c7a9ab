package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipstream/protocol"
	"slipstream/ring"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

const readersFile = "slipstream-readers-checkpoint"

// bigBatch is a batch of one record of n bytes.
func bigBatch(n int) protocol.Batch {
	var bl protocol.Builder
	bl.Begin(nil, protocol.NewBatchInfo(0, -1))
	bl.Append(&protocol.Record{Timestamp: 1, Value: make([]byte, n)})
	_, b := bl.Finish()
	return b
}

// logFiles are the .log files of a partition, in order.
func logFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no log in %s: %v", dir, err)
	}
	slices.Sort(names)
	return names
}

// dropPages takes the files of a partition out of the page cache.
func dropPages(t *testing.T, dir string) {
	t.Helper()
	k := ring.NewLinux()
	for _, name := range logFiles(t, dir) {
		fd, err := k.Open(name, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close(fd)
		if err := k.Sync(fd); err != nil {
			t.Fatal(err)
		}
		if err := k.Advise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if k.Resident(fd, 0, 4096) != 0 {
			t.Skip("the file system's pages do not go: tmpfs?")
		}
	}
}

// residentFromEnd is how many bytes at the end of a log, which is its segments one after the other, are in
// the page cache without a gap.
func residentFromEnd(t *testing.T, dir string) (n int64) {
	t.Helper()
	k := ring.NewLinux()
	names := logFiles(t, dir)
	slices.Reverse(names)
	for _, name := range names {
		fd, err := k.Open(name, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close(fd)
		size, err := k.Size(fd)
		if err != nil {
			t.Fatal(err)
		}
		const page = 4096
		off := (size - 1) &^ (page - 1)
		for ; off >= 0 && k.Resident(fd, off, 1) > 0; off -= page {
		}
		if off >= 0 {
			return n + max(size-(off+page), 0)
		}
		n += size
	}
	return n
}

// TestWarmStart reads ahead, before it is ready, what a tail reader of the last run will ask for: no more than
// the bounds allow, newest first, and nothing without a place, or with one that makes no sense.
func TestWarmStart(t *testing.T) {
	const batches, reader, value = 16, 8, 300_000
	batch := int64(len(bigBatch(value)))
	wanted := (batches - reader) * batch
	slack := int64(1 << 20) // of the kernel's readahead
	for _, c := range []struct {
		name      string
		places    func(t *testing.T, path string) // changes the file
		set       string
		low, high int64 // bytes that are there afterwards
		log       string
		stale     int
	}{
		{name: "as it was left", low: wanted, high: wanted + slack},
		{name: "bounded by bytes", set: "slipstream.warm.bytes=1572864", low: 1 << 19, high: 3<<19 + slack},
		{name: "off", set: "slipstream.warm.bytes=0", high: slack / 2},
		{name: "no time", set: "slipstream.warm.ms=0", high: slack / 2},
		{name: "without the file", places: func(t *testing.T, path string) { os.Remove(path) }, high: slack / 2},
		{name: "damaged", places: func(t *testing.T, path string) { os.WriteFile(path, []byte("0\n7\nt 0"), 0o644) },
			high: slack / 2, log: readersFile + " is ignored"},
		{name: "stale", places: func(t *testing.T, path string) { os.WriteFile(path, []byte("0\n2\nt 0 17\nother 0 5\n"), 0o644) },
			high: slack / 2, log: "stale=2", stale: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The kernel may take pages back at any time, whoever reads or writes much beside this: what is
			// wrong here is wrong every time.
			for attempt := 1; ; attempt++ {
				wrong := warmStart(t, batches, reader, value, c.set, c.places, func(b *testBroker, resident int64) (wrong []string) {
					r := b.report.Warm
					if resident < c.low || resident > c.high {
						wrong = append(wrong, fmt.Sprintf("%d bytes at the end are in the page cache, want %d to %d: %+v", resident, c.low, c.high, r))
					}
					if c.low > 0 && (r.ReadBytes+r.ResidentBytes < c.low || r.ReadBytes+r.ResidentBytes+r.LeftOutBytes != wanted) {
						wrong = append(wrong, fmt.Sprintf("%+v, want %d bytes", r, wanted))
					}
					if b.report.TookMillis < r.TookMillis {
						wrong = append(wrong, fmt.Sprintf("ready in %d ms, of which the warm start alone took %d", b.report.TookMillis, r.TookMillis))
					}
					if !strings.Contains(b.logs.String(), c.log) || r.Stale != c.stale {
						wrong = append(wrong, fmt.Sprintf("%q was not logged, %d stale\n%s", c.log, r.Stale, b.logs))
					}
					return wrong
				})
				if len(wrong) == 0 {
					return
				}
				if attempt == 3 {
					t.Fatal(strings.Join(wrong, "\n"))
				}
				t.Logf("attempt %d: %s", attempt, strings.Join(wrong, "\n"))
			}
		})
	}
}

// warmStart leaves a log with a reader near its end, drops its pages, starts a broker on it again, and returns what
// check says of that broker and of how much of the log's end is in the page cache.
func warmStart(t *testing.T, batches, reader, value int, set string, places func(*testing.T, string), check func(*testBroker, int64) []string) []string {
	t.Helper()
	b := startTestBroker(t, "", setCores(2))
	w := b.dial()
	w.createTopic("t", 1, "segment.bytes", "1048576")
	for range batches {
		if p := w.ask(9, produceRequest("t", 0, bigBatch(value))).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
			t.Fatal(p.ErrorCode)
		}
	}
	for offset := int64(reader); offset < int64(reader)+3; offset++ {
		w.ask(11, fetchRequest("t", 0, offset, 100))
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	path, dir := filepath.Join(b.dir, readersFile), filepath.Join(b.dir, "t-0")
	if got, err := os.ReadFile(path); err != nil || string(got) != "0\n1\nt 0 8\n" {
		t.Fatalf("places %q, %v", got, err)
	}
	if places != nil {
		places(t, path)
	}
	dropPages(t, dir)
	var sets []string
	if set != "" {
		sets = append(sets, set)
	}
	b = startTestBroker(t, b.dir, sets...)
	return check(b, residentFromEnd(t, dir))
}

// TestReadersAreKept writes readers' places with the other checkpoints, so that they are there after a kill: of those
// near the end, and the lowest of them.
func TestReadersAreKept(t *testing.T) {
	b := startTestBroker(t, "", "log.flush.offset.checkpoint.interval.ms=20", "slipstream.warm.bytes=10000")
	w := b.dial()
	w.createTopic("t", 2)
	for range 30 {
		w.ask(9, produceRequest("t", 1, bigBatch(1000)))
	}
	for _, offset := range []int64{30, 0, 28, 29, 30} { // the one at 0 is a laggard
		w.ask(11, fetchRequest("t", 1, offset, 0))
	}
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		got, _ := os.ReadFile(filepath.Join(b.dir, readersFile))
		if string(got) == "0\n1\nt 1 28\n" {
			return
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("places %q", got)
		}
	}
}
