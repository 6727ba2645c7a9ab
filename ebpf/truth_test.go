package ebpf

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func addressOf(b []byte) unsafe.Pointer { return unsafe.Pointer(&b[0]) }

const segmentBytes = 12<<20 + 1000 // some pages, and a part of one

// TestColdThenHot: of a segment that is not in the cache, demand misses and
// readahead are exactly its pages, and cachestat(2) and the process's read_bytes
// say the same; the next time all are hits.
func TestColdThenHot(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			disks(t, func(t *testing.T, dir string) {
				r := look(t, mode, Options{})
				f := logFile(t, filepath.Join(dir, "0.log"), segmentBytes)
				pages := uint64((segmentBytes + pageBytes - 1) / pageBytes)
				file, reader := r.o.File(int(f.Fd()), "hot-0", segmentBytes), r.o.Reader("hot-0", "client")
				drop(t, f)
				before := readBytes(t)
				r.read(f, file, reader, 0, 0, segmentBytes, 256<<10)
				fromDisk := uint64(readBytes(t)-before) / uint64(pageBytes)
				c := r.cell("hot-0", "client")
				t.Logf("%d pages: %d demand misses, %d readahead; %d pages read", pages, c.DemandMisses, c.Readahead, fromDisk)
				if c.DemandMisses+c.Readahead != pages || c.DemandMisses == 0 {
					t.Errorf("%d demand misses and %d readahead of %d pages", c.DemandMisses, c.Readahead, pages)
				}
				if c.Lookups < pages || c.Lookups > pages+1 { // chunks are of whole pages
					t.Errorf("%d lookups of %d pages", c.Lookups, pages)
				}
				if !within(fromDisk, pages) {
					t.Errorf("%d pages were read from the device, not %d", fromDisk, pages)
				}
				if n, ok := cached(t, int(f.Fd())); ok && !within(n, pages) {
					t.Errorf("cachestat says %d pages, not %d", n, pages)
				}
				r.read(f, file, reader, 0, 0, segmentBytes, 256<<10)
				again := r.cell("hot-0", "client")
				if again.DemandMisses != c.DemandMisses || again.Readahead != c.Readahead || again.Hits()-c.Hits() != pages {
					t.Errorf("read again: %+v after %+v", again, c)
				}
				if own := r.cell("hot-0", ""); own.WriteInserts+own.ForeignInserts+own.Readahead+own.DemandMisses+own.Evictions != 0 {
					t.Errorf("and beside it %+v", own)
				}
			})
		})
	}
}

// cached is how many of a file's pages cachestat(2) sees; not ok before 6.5.
func cached(t testing.TB, fd int) (pages uint64, ok bool) {
	t.Helper()
	var at unix.Cachestat_t
	err := unix.Cachestat(uint(fd), &unix.CachestatRange{}, &at, 0)
	if errors.Is(err, unix.ENOSYS) {
		return 0, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return at.Cache, true
}

// TestAppends: what appends bring in are write inserts.
func TestAppends(t *testing.T) {
	disks(t, func(t *testing.T, dir string) {
		r := look(t, "", Options{})
		f := logFile(t, filepath.Join(dir, "0.log"), 0)
		file := r.o.File(int(f.Fd()), "log-3", 0)
		batch := make([]byte, 100_000)
		total := 0
		for range 80 {
			n, err := f.Write(batch)
			if err != nil {
				t.Fatal(err)
			}
			total += n
			r.o.Extent(file, int64(total))
		}
		pages := uint64((total + pageBytes - 1) / pageBytes)
		c := r.cell("log-3", "")
		if c.WriteInserts != pages || c.Readahead+c.DemandMisses+c.ForeignInserts+c.Lookups != 0 {
			t.Errorf("%d pages were appended: %+v", pages, c)
		}
		if n, ok := cached(t, int(f.Fd())); ok && !within(n, c.WriteInserts) {
			t.Errorf("cachestat says %d pages, not %d", n, c.WriteInserts)
		}
		r.read(f, file, r.o.Reader("log-3", "tail"), 0, 0, total, 1<<20)
		if c := r.cell("log-3", "tail"); c.Lookups < pages || c.Hits() != c.Lookups || c.Readahead != 0 {
			t.Errorf("what was just appended is read: %+v", c)
		}
	})
}

// cat has another process read a file.
func cat(r *rig, f *os.File) {
	r.Helper()
	if err := exec.Command("cat", f.Name()).Run(); err != nil {
		r.Fatal(err)
	}
}

// TestForeign: what another process brings in is nobody's of ours.
func TestForeign(t *testing.T) {
	disks(t, func(t *testing.T, dir string) {
		r := look(t, "", Options{})
		f := logFile(t, filepath.Join(dir, "0.log"), segmentBytes)
		pages := uint64((segmentBytes + pageBytes - 1) / pageBytes)
		file := r.o.File(int(f.Fd()), "log-3", segmentBytes)
		reader := r.o.Reader("log-3", "client")
		drop(t, f)
		r.o.Begin(0, file, reader, 0, segmentBytes) // a slot in use does not make it ours
		cat(r, f)
		r.o.End(0, 0)
		if c := r.cell("log-3", ""); c.ForeignInserts != pages {
			t.Errorf("%d pages were read by cat: %+v", pages, c)
		}
		if c := r.cell("log-3", "client"); c != (Cell{Partition: "log-3", Client: "client"}) {
			t.Errorf("the client has %+v", c)
		}
		r.read(f, file, reader, 0, 0, segmentBytes, 1<<20)
		if c := r.cell("log-3", "client"); c.DemandMisses+c.Readahead != 0 || c.Hits() < pages {
			t.Errorf("after that the client has %+v", c)
		}
	})
}
