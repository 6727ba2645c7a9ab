package ring

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// coldFile is a file of so many pages that is written out and dropped, of whose
// pages from..to have been read again, and nothing around them.
func (h *harness) coldFile(pages, from, to int) int {
	h.Helper()
	fd, _ := h.file(strings.Repeat("0123456789abcdef", pages*cachePage/16))
	for _, err := range []error{
		h.kernel.Sync(fd),
		h.kernel.Advise(fd, 0, 0, unix.FADV_RANDOM), // no page is read ahead
	} {
		if err != nil {
			h.Fatal(err)
		}
	}
	// A page that another processor is still busy with stays.
	for try := 0; h.kernel.Absent(fd, 0, pages*cachePage) < pages*cachePage; try++ {
		if err := h.kernel.Advise(fd, 0, 0, unix.FADV_DONTNEED); err != nil || try == 1000 {
			h.Fatalf("pages stay in the page cache (%v)", err)
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := h.kernel.ReadAt(fd, make([]byte, (to-from)*cachePage), int64(from)*cachePage); err != nil {
		h.Fatal(err)
	}
	return fd
}

// TestResident finds what is in the page cache: by cachestat where the level has
// it, else by mincore.
func TestResident(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		const page = cachePage
		fd := h.coldFile(64, 8, 29)
		for _, c := range []struct{ off, n, want int }{
			{8 * page, 56 * page, 21 * page},
			{8 * page, 21 * page, 21 * page},
			{8 * page, page, page},
			{8*page + 100, 56 * page, 21*page - 100},
			{28*page + 4095, 2, 1},
			{28 * page, 10, 10},
			{29 * page, 10, 0},
			{0, 64 * page, 0},
			{7*page + 4095, page, 0},
			{63 * page, 1, 0},
			{64 * page, page, 0}, // past the end
			{8 * page, 0, 0},
			{-1, 5, 0},
		} {
			if got := h.kernel.Resident(fd, int64(c.off), c.n); got != c.want {
				h.Errorf("Resident(%d, %d) = %d, want %d", c.off, c.n, got, c.want)
			}
		}
		for _, c := range []struct{ off, n, want int }{
			{0, 64 * page, 8 * page},
			{100, 8 * page, 8*page - 100},
			{8*page - 1, 10, 1},
			{8 * page, page, 0},
			{28 * page, 100, 0},
			{29 * page, 35 * page, 35 * page},
			{29*page + 5, 7, 7},
			{0, 0, 0},
		} {
			if got := h.kernel.Absent(fd, int64(c.off), c.n); got != c.want {
				h.Errorf("Absent(%d, %d) = %d, want %d", c.off, c.n, got, c.want)
			}
		}
		if got := h.kernel.Resident(-1, 0, 100); got != 0 {
			h.Errorf("of no file: %d", got)
		}
	})
}

// TestResidentOfLargeRanges: more than one mincore's worth, all of it there.
func TestResidentOfLargeRanges(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		const n = 5<<20 + 1234
		fd, _ := h.file(strings.Repeat("x", n))
		for _, off := range []int{0, 1, 4095, 1<<20 + 7} {
			if got := h.kernel.Resident(fd, int64(off), n-off); got != n-off {
				h.Errorf("Resident(%d, %d) = %d", off, n-off, got)
			}
		}
	})
}

func TestReadNowait(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		const page = cachePage
		fd := h.coldFile(64, 8, 10)
		p := make([]byte, 4*page)
		if n, errno := h.kernel.ReadNowait(fd, p[:16], 8*page+16); n != 16 || errno != 0 || string(p[:16]) != "0123456789abcdef" {
			h.Errorf("what is there: %d %v %q", n, errno, p[:16])
		}
		// A miss starts a read. Should the disk be done with it at once, its bytes come too.
		if n, errno := h.kernel.ReadNowait(fd, p, 8*page); n < 2*page || errno != 0 {
			h.Errorf("what is there in part: %d %v, want at least %d", n, errno, 2*page)
		}
		clear(p)
		switch n, errno := h.kernel.ReadNowait(fd, p, 40*page); {
		case errno == unix.EAGAIN && n == 0:
		case errno == 0 && n > 0 && n%page == 0 && strings.Repeat("0123456789abcdef", n/16) == string(p[:n]):
		default:
			h.Errorf("what is not there: %d %v, want EAGAIN or its bytes", n, errno)
		}
		if n, errno := h.kernel.ReadNowait(fd, p, 1<<30); n != 0 || errno != 0 {
			h.Errorf("past the end: %d %v", n, errno)
		}
	})
}

// TestReadWithoutTheCache: RWF_DONTCACHE leaves nothing behind, or is refused by name.
func TestReadWithoutTheCache(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		fd := h.coldFile(64, 0, 1)
		mem := h.memory(16 * cachePage)
		c := h.one(func(s *SQE) { s.PrepRead2(fd, pointer(mem), uint32(len(mem)), 16*cachePage, unix.RWF_DONTCACHE) })
		switch errno := c.Errno(); {
		case errno == unix.EOPNOTSUPP || errno == unix.EINVAL:
			if h.level == LevelNative {
				fs, _ := h.kernel.FileSystem(h.TempDir())
				h.Skipf("needs RWF_DONTCACHE (Linux 6.14, ext4 or XFS); this is %s", fs)
			}
		case errno != 0 || int(c.Res) != len(mem):
			h.Fatalf("%d %v", c.Res, errno)
		case h.level < LevelNative:
			h.Error("a kernel of this level took RWF_DONTCACHE")
		default:
			if string(mem[:16]) != "0123456789abcdef" {
				h.Errorf("read %q", mem[:16])
			}
			if got := h.kernel.Resident(fd, 16*cachePage, len(mem)); got != 0 {
				h.Errorf("%d bytes stayed", got)
			}
		}
	})
}

// TestResidentElsewhere: file systems whose page cache has its ways.
func TestResidentElsewhere(t *testing.T) {
	k := testKernel(t)
	dir, err := os.MkdirTemp("/dev/shm", "slipstream")
	if err != nil {
		t.Skipf("needs a tmpfs at /dev/shm: %v", err)
	}
	defer os.RemoveAll(dir)
	fd, err := k.Open(filepath.Join(dir, "f"), unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	k.WriteAt(fd, make([]byte, 10*cachePage), 0)
	if got := k.Resident(fd, 100, 9*cachePage); got != 9*cachePage {
		t.Errorf("%d bytes on tmpfs", got)
	}
	if n, errno := k.ReadNowait(fd, make([]byte, 100), 4000); n != 100 || errno != 0 {
		t.Errorf("read %d %v on tmpfs", n, errno)
	}
}

func TestPipeSizeIsReadBack(t *testing.T) {
	k := testKernel(t)
	for _, size := range []int{4096, 1 << 20} {
		r, w, room, errno := k.Pipe(size)
		if errno != 0 {
			t.Fatal(errno)
		}
		got, err := unix.FcntlInt(uintptr(r), unix.F_GETPIPE_SZ, 0)
		if err != nil || got != room || room < 4096 {
			t.Errorf("room %d for %d; the kernel says %d (%v)", room, size, got, err)
		}
		unix.Close(r)
		unix.Close(w)
	}
}

func BenchmarkResident(b *testing.B) {
	k := testKernel(b)
	path := filepath.Join(b.TempDir(), "f")
	fd, err := k.Open(path, unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	k.WriteAt(fd, make([]byte, 1<<20), 0)
	for _, c := range []struct {
		name string
		n    int
	}{{"4KiB", 4 << 10}, {"64KiB", 64 << 10}, {"256KiB", 256 << 10}, {"1MiB", 1 << 20}} {
		b.Run("cachestat/"+c.name, func(b *testing.B) {
			for b.Loop() {
				if k.Resident(fd, 0, c.n) != c.n {
					b.Fatal("not resident")
				}
			}
		})
		b.Run("mincore/"+c.name, func(b *testing.B) {
			for b.Loop() {
				if residentByMincore(fd, 0, c.n) != c.n {
					b.Fatal("not resident")
				}
			}
		})
	}
}
