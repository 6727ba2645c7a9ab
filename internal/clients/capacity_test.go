package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// The figures of the README come from `make capacity`, which sets both to 10,000.
func capacity(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// usage logs what the broker holds and returns it.
func usage(t testing.TB, b *harness.Broker, when string) harness.Usage {
	t.Helper()
	u, err := b.Usage()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%-40s %v", when+":", u)
	return u
}

// TestIdleConnections opens many connections that each have asked something once and then idle, and one that works.
func TestIdleConnections(t *testing.T) {
	harness.SlipstreamOnly(t)
	n := capacity("SLIPSTREAM_CONNECTIONS", 1000)
	needDescriptors(t, n+500) // the test holds the other ends
	b := harness.StartT(t, harness.Options{})
	before := usage(t, b, "idle, no connection")
	if before.ResidentBytes > 64<<20 {
		t.Errorf("%d MB resident when idle; 64 is the bound", before.ResidentBytes>>20)
	}
	var open []*harness.Wire
	for i := range n {
		w, err := harness.Dial(b.Addr)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer w.Close()
		open = append(open, w)
		if _, err := w.Do(metadataFor(), 10*time.Second); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	in := startInnocent(t, b)
	time.Sleep(time.Second)
	after := usage(t, b, fmt.Sprintf("%d connections", n))
	perConnection := float64(after.ResidentBytes-before.ResidentBytes) / float64(n)
	t.Logf("%.1f KiB a connection", perConnection/1024)
	if perConnection > 16<<10 {
		t.Errorf("%.0f bytes resident a connection; an idle one may hold no 16 KiB buffer", perConnection)
	}
	if after.Descriptors > before.Descriptors+n+50 {
		t.Errorf("%d descriptors for %d connections", after.Descriptors-before.Descriptors, n)
	}
	for i := 0; i < n; i += max(1, n/100) {
		if _, err := open[i].Do(metadataFor(), 10*time.Second); err != nil {
			t.Errorf("connection %d, asked again: %v", i, err)
		}
	}
	in.finish(20)
	for _, w := range open {
		w.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		u, err := b.Usage()
		if err != nil {
			t.Fatal(err)
		}
		if u.Descriptors <= before.Descriptors+10 {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%d descriptors are left open after all connections closed, %d were open before", u.Descriptors, before.Descriptors)
			break
		}
	}
	usage(t, b, "all connections closed")
}

func needDescriptors(t testing.TB, n int) {
	t.Helper()
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	if lim.Max < uint64(n) {
		t.Skipf("needs %d descriptors, the hard limit is %d (ulimit -Hn)", n, lim.Max)
	}
	lim.Cur = lim.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
}

// TestManyPartitions creates many partitions, writes to every one, and starts the broker again after a clean stop and
// after kill -9: memory and descriptors stay bounded, every record is there, and starting is quick.
func TestManyPartitions(t *testing.T) {
	harness.SlipstreamOnly(t)
	n := capacity("SLIPSTREAM_PARTITIONS", 1000)
	const topics = 10
	b := harness.StartT(t, harness.Options{Ready: time.Minute})
	before := usage(t, b, "no partition")
	start := time.Now()
	for i := range topics {
		createTopic(t, b, fmt.Sprintf("many-%d", i), n/topics)
	}
	t.Logf("%d partitions created in %v", n, time.Since(start).Round(time.Millisecond))
	empty := usage(t, b, fmt.Sprintf("%d partitions, empty", n))
	writeToEach(t, b, topics, n/topics, 0)
	written := usage(t, b, fmt.Sprintf("%d partitions, each written", n))
	t.Logf("%.1f KiB a partition, empty; %.1f KiB, written", float64(empty.ResidentBytes-before.ResidentBytes)/1024/float64(n),
		float64(written.ResidentBytes-before.ResidentBytes)/1024/float64(n))
	if limit := int64(64<<20) + int64(n)*32<<10; written.ResidentBytes > limit {
		t.Errorf("%d MB resident, the bound is %d MB", written.ResidentBytes>>20, limit>>20)
	}
	if written.Descriptors > 6000 {
		t.Errorf("%d descriptors: they must be bounded, however many partitions there are", written.Descriptors)
	}
	best, alone := time.Hour, 0
	for range 5 {
		start := time.Now()
		if err := b.Stop(5 * time.Minute); err != nil { // every log is flushed: as long as the disk takes
			t.Fatal(err)
		}
		t.Logf("SIGTERM to exit 0: %v", time.Since(start).Round(time.Millisecond))
		before := waitingForCPU()
		b = harness.RestartT(t, b)
		best = min(best, b.ReadyIn)
		if before < 1.3 && waitingForCPU() < 1.3 {
			alone++
		}
		if n > 1000 || best <= 300*time.Millisecond {
			break
		}
	}
	t.Logf("%d segments: ready in %v after a clean stop", n, best.Round(time.Millisecond))
	if n <= 1000 && best > 300*time.Millisecond {
		if alone == 0 {
			t.Log("300 ms is the bound, but others use this machine's processors")
		} else {
			t.Errorf("start-up with %d segments took %v; 300 ms is the bound", n, best)
		}
	}
	writeToEach(t, b, topics, n/topics, 1)
	b.Kill()
	b = harness.RestartT(t, b)
	t.Logf("%d segments: ready in %v after kill -9", n, b.ReadyIn.Round(time.Millisecond))
	writeToEach(t, b, topics, n/topics, 2)
	usage(t, b, "after all that")
	if err := b.Stop(5 * time.Minute); err != nil {
		t.Fatal(err)
	}
	checkpoint, err := os.ReadFile(filepath.Join(b.DataDir, "recovery-point-offset-checkpoint"))
	if err != nil || len(checkpoint) == 0 {
		t.Errorf("recovery-point-offset-checkpoint: %v, %d bytes", err, len(checkpoint))
	}
}

// waitingForCPU is how many times longer than its processor time a busy thread on every processor takes: above 1 there
// are others that want them, and times say little.
func waitingForCPU() float64 {
	const work = 20 * time.Millisecond
	var wg sync.WaitGroup
	start := time.Now()
	for range runtime.NumCPU() {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for from := threadTime(); threadTime()-from < work; {
			}
		})
	}
	wg.Wait()
	return float64(time.Since(start)) / float64(work)
}

func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

// writeToEach produces one record to every partition, many partitions a request, and requires its offset.
func writeToEach(t testing.TB, b *harness.Broker, topics, partitions int, offset int64) {
	t.Helper()
	w, err := harness.Dial(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	batch := harness.NewBatch("one record").Bytes()
	for i := range topics {
		req := harness.Produce(9, fmt.Sprintf("many-%d", i), [16]byte{}, 0, -1, batch)
		for p := 1; p < partitions; p++ {
			part := kmsg.NewProduceRequestTopicPartition()
			part.Partition, part.Records = int32(p), batch
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, part)
		}
		resp, err := w.Do(req, 60*time.Second)
		if err != nil {
			t.Fatalf("many-%d: %v", i, err)
		}
		for _, p := range resp.(*kmsg.ProduceResponse).Topics[0].Partitions {
			if p.ErrorCode != 0 || p.BaseOffset != offset {
				t.Fatalf("many-%d-%d: error %d, offset %d where %d was due", i, p.Partition, p.ErrorCode, p.BaseOffset, offset)
			}
		}
	}
}

// TestStartup measures from exec to the first accepted connection, and what a broker that nobody uses holds.
func TestStartup(t *testing.T) {
	harness.SlipstreamOnly(t)
	b := harness.StartT(t, harness.Options{})
	t.Logf("a new directory: ready in %v", b.ReadyIn.Round(time.Millisecond))
	if b.ReadyIn > time.Second {
		t.Errorf("ready in %v; within a second is the contract", b.ReadyIn)
	}
	time.Sleep(300 * time.Millisecond)
	if u := usage(t, b, "idle"); u.ResidentBytes > 64<<20 {
		t.Errorf("%d MB resident when idle; 64 is the bound", u.ResidentBytes>>20)
	}
	start := time.Now()
	harness.StopT(t, b)
	t.Logf("SIGTERM to exit 0: %v", time.Since(start).Round(time.Millisecond))
}
