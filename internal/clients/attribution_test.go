package clients

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"slipstream/internal/clients/harness"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

// seen is a broker whose page cache is seen, with one log in it.
type seen struct {
	*testing.T
	b       *harness.Broker
	metrics string
	log     *os.File
	pages   int64
	records int
}

const (
	seenTopic   = "seen"
	recordBytes = 1000
)

// startSeen starts a broker and fills a log of so many bytes.
func startSeen(t *testing.T, dir string, bytes int, set ...string) *seen {
	t.Helper()
	harness.SlipstreamOnly(t)
	b := harness.StartT(t, harness.Options{DataDir: filepath.Join(dir, "data"), SlipSet: append(set, "slipstream.metrics.listener=127.0.0.1:0")})
	screen := regexp.MustCompile(`(?m)^  ebpf +(.*)\n  metrics +(\S+)`)
	var lines []string
	for deadline := time.Now().Add(10 * time.Second); lines == nil; time.Sleep(10 * time.Millisecond) {
		if lines = screen.FindStringSubmatch(b.Log()); lines == nil && time.Now().After(deadline) {
			t.Fatalf("the screen does not say where the metrics are:\n%s", b.Log())
		}
	}
	if refused := regexp.MustCompile(`BPF was refused: .*(without CAP_|seccomp|no /sys/kernel/btf|may have no BPF)`).FindString(lines[1]); refused != "" {
		t.Skip(refused)
	} else if !strings.HasPrefix(lines[1], "page cache attribution on") {
		t.Fatal(lines[1])
	}
	s := &seen{T: t, b: b, metrics: lines[2]}
	if !strings.HasPrefix(s.metrics, "http") {
		s.metrics = "http://" + s.metrics + "/metrics"
	}
	if err := harness.CreateTopic(b.Addr, seenTopic, 1); err != nil {
		t.Fatal(err)
	}
	s.fill(seenTopic, bytes)
	s.open()
	return s
}

// open finds the log and its size.
func (s *seen) open() {
	s.Helper()
	var err error
	if s.log, err = os.Open(filepath.Join(s.b.DataDir, seenTopic+"-0", "00000000000000000000.log")); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { s.log.Close() })
	st, err := s.log.Stat()
	if err != nil {
		s.Fatal(err)
	}
	s.pages = (st.Size() + int64(os.Getpagesize()) - 1) / int64(os.Getpagesize())
}

// consume reads the log from an offset, as a client.
func (s *seen) consume(client string, from int) {
	s.Helper()
	err := harness.EachRecord(s.b.Addr, seenTopic, 0, int64(from), s.records-from, func(r *kgo.Record) error {
		if len(r.Value) != recordBytes {
			return fmt.Errorf("a record of %d bytes", len(r.Value))
		}
		return nil
	}, kgo.ClientID(client))
	if err != nil {
		s.Fatal(err)
	}
}

// count adds up a counter of the log, over the series with all these labels
// (name, value pairs).
func (s *seen) count(name string, labels ...string) int64 {
	s.Helper()
	return s.sum("slipstream_page_cache_"+name+"_total", append(labels, "topic", seenTopic)...)
}

// sum adds up the series of a metric with all these labels.
func (s *seen) sum(metric string, labels ...string) (sum int64) {
	s.Helper()
	resp, err := http.Get(s.metrics)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
lines:
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, metric+"{") {
			continue
		}
		for i := 0; i < len(labels); i += 2 {
			if !regexp.MustCompile(`[{,]` + labels[i] + `="` + labels[i+1] + `"`).MatchString(line) {
				continue lines
			}
		}
		n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			s.Fatalf("%s: %v", line, err)
		}
		sum += int64(n)
	}
	return sum
}

// resident is how many of the log's pages are in the cache.
func (s *seen) resident() int64 {
	s.Helper()
	var st unix.Cachestat_t
	if err := unix.Cachestat(uint(s.log.Fd()), &unix.CachestatRange{}, &st, 0); err != nil {
		s.Skip("needs cachestat (Linux 6.5): ", err)
	}
	return int64(st.Cache)
}

// drop takes the log out of the cache.
func (s *seen) drop() {
	s.Helper()
	for range 200 {
		if err := errors.Join(unix.Fdatasync(int(s.log.Fd())), unix.Fadvise(int(s.log.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
			s.Fatal(err)
		}
		if s.resident() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Fatalf("%d pages stay in the cache", s.resident())
}

// readBytes is what the broker has had read from devices.
func (s *seen) readBytes() (n int64) {
	s.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.b.PID()))
	if err != nil {
		s.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\nread_bytes: ")
	if _, err := fmt.Sscan(after, &n); err != nil {
		s.Fatal(err)
	}
	return n
}

// about says whether two figures differ by at most one in a hundred.
func about(x, y int64) bool { return max(x, y)-min(x, y) <= max(x, y)/100 }

// onDisks runs a test on the file system of temporary files and on XFS.
func onDisks(t *testing.T, each func(t *testing.T, dir string)) {
	t.Run("tmp", func(t *testing.T) { each(t, t.TempDir()) })
	t.Run("xfs", func(t *testing.T) { each(t, loopMount(t, "xfs")) })
}

// TestAttribution: what the metrics of a real broker say of a log that a real
// client writes, another process reads, and clients read from the disk and from
// the cache. cachestat(2) and the process's read_bytes say the same.
func TestAttribution(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string) {
		s := startSeen(t, dir, 6<<20) // all of it near its end: what is read stays in the cache
		if n := s.count("write_inserts", "client", ""); !about(n, s.pages) || !about(n, s.resident()) {
			t.Errorf("%d write inserts of %d pages, %d in the cache", n, s.pages, s.resident())
		}
		went := s.resident()
		s.drop()
		if n := s.count("evicted_by", "culprit_process", `clients\.test/\d+`); n != went || s.count("evictions") != went {
			t.Errorf("%d pages were dropped by this process, %d evictions, %d of them by it", went, s.count("evictions"), n)
		}
		if err := exec.Command("cat", s.log.Name()).Run(); err != nil {
			t.Fatal(err)
		}
		if n := s.count("foreign_inserts"); n != s.pages {
			t.Errorf("%d foreign inserts of %d pages", n, s.pages)
		}
		s.drop()
		for _, round := range []string{"from the disk", "from the cache"} {
			before, read, lane := s.inserted("reader"), s.readBytes(), s.sentCold()
			lookups, misses := s.count("lookups", "client", "reader"), s.count("demand_misses", "client", "reader")
			s.consume("reader", 0)
			inserted, read := s.inserted("reader")-before, (s.readBytes()-read)/int64(os.Getpagesize())
			lookups, misses = s.count("lookups", "client", "reader")-lookups, s.count("demand_misses", "client", "reader")-misses
			own := s.inserted("")
			t.Logf("%s: %d pages: %d brought in, of them %d demand misses, %d lookups, %d read from the disk, %d by the broker itself", round, s.pages, inserted, misses, lookups, read, own)
			want := s.pages
			if round == "from the cache" {
				want, own = 0, 0
			}
			// What a helper reads to find places in the log is the broker's own.
			if inserted+own != want || own > want/20 || (misses > 0) != (want > 0) {
				t.Errorf("%s: %d pages were brought in for the reader and %d for the broker itself, %d demand misses; want %d", round, inserted, own, misses, want)
			}
			if !about(read, want) {
				t.Errorf("%s: the broker had %d pages read, want %d", round, read, want)
			}
			// The cold lane's steps may still be in its memory: what it sends of those is
			// looked up nowhere.
			lane = (s.sentCold() - lane) / int64(os.Getpagesize())
			if round == "from the disk" {
				lane = 0
			}
			if lookups+lane+1 < s.pages || lookups > s.pages*11/10 {
				t.Errorf("%s: %d lookups of %d pages, and %d pages by the cold lane", round, lookups, s.pages, lane)
			}
			if n := s.resident(); !about(n, s.pages) {
				t.Errorf("%s: %d of %d pages are in the cache", round, n, s.pages)
			}
		}
	})
}

// sentCold is how many bytes the cold lane has sent. Scrapes within a tenth of a
// second share what the cores told.
func (s *seen) sentCold() int64 {
	s.Helper()
	time.Sleep(150 * time.Millisecond)
	return s.sum("slipstream_core_rung_bytes_total", "rung", "cold")
}

// inserted is how many pages were read in for a client ("": for the broker itself).
func (s *seen) inserted(client string) int64 {
	s.Helper()
	return s.count("demand_misses", "client", client) + s.count("readahead", "client", client)
}

// TestLaggingConsumer: a consumer that is far behind leaves the cache as it found
// it, and what it brings in and drops again is said to be that.
func TestLaggingConsumer(t *testing.T) {
	onDisks(t, func(t *testing.T, dir string) {
		s := startSeen(t, dir, 32<<20)
		s.drop()
		evicted := s.count("evictions")
		s.consume("lag", 0)
		const tail = 9 << 20 // what is near the end stays, for the next who reads there
		inserted, drops, left := s.inserted("lag")+s.inserted(""), s.count("drops"), s.resident()
		gone := s.count("evictions") - evicted // a machine whose memory is full takes some back itself
		t.Logf("%d pages: %d brought in, %d dropped, %d evicted, %d are left", s.pages, inserted, drops, gone, left)
		// Where readers of the disk stand in a queue, some of what was read ahead is dropped before its turn, and read again.
		if inserted < s.pages || inserted > s.pages*3/2 || !about(inserted-drops-gone, left) || gone > s.pages/20 {
			t.Errorf("of %d pages %d were brought in, %d dropped, %d evicted; %d are left", s.pages, inserted, drops, gone, left)
		}
		if left > tail/int64(os.Getpagesize()) {
			t.Errorf("%d pages are left in the cache", left)
		}
	})
}
