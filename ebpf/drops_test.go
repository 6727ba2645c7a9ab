package ebpf

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDrops: what the broker itself lets go is no eviction.
func TestDrops(t *testing.T) {
	const bytes = 4 << 20
	pages := uint64(bytes / pageBytes)
	for _, c := range []struct {
		name string
		drop func(r *rig, f *os.File, file uint32)
		want uint64
	}{
		{"advised", func(r *rig, f *os.File, _ uint32) { drop(r, f) }, pages},
		{"cut", func(r *rig, f *os.File, _ uint32) {
			if err := f.Truncate(bytes / 4); err != nil {
				r.Fatal(err)
			}
		}, pages * 3 / 4},
		{"deleted", func(r *rig, f *os.File, file uint32) {
			r.o.Forget(file)
			if err := os.Remove(f.Name()); err != nil {
				r.Fatal(err)
			}
			f.Close()
		}, pages},
		{"deleted after cat had read it in again", func(r *rig, f *os.File, file uint32) {
			drop(r, f)
			r.o.Forget(file)
			cat(r, f)
			if err := os.Remove(f.Name()); err != nil {
				r.Fatal(err)
			}
			f.Close()
		}, 2 * pages},
	} {
		t.Run(c.name, func(t *testing.T) {
			disks(t, func(t *testing.T, dir string) {
				r := look(t, "", Options{})
				f := logFile(t, filepath.Join(dir, "0.log"), bytes)
				file := r.o.File(int(f.Fd()), "log-0", bytes)
				c.drop(r, f, file)
				if got := r.cell("log-0", ""); got.Drops != c.want || got.Evictions != 0 {
					t.Errorf("%d pages were dropped: %+v", c.want, got)
				}
			})
		})
	}
}

// dropByAnother has another process drop a file's pages.
func dropByAnother(r *rig, f *os.File) {
	r.Helper()
	if out, err := exec.Command("dd", "of="+f.Name(), "oflag=nocache", "conv=notrunc,fdatasync", "count=0").CombinedOutput(); err != nil {
		r.Skipf("no dd that drops: %v: %s", err, out)
	}
}

func removeFile(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// TestDroppedByAnother: pages that another process had dropped are evictions, and
// it is to blame.
func TestDroppedByAnother(t *testing.T) {
	r := look(t, "", Options{})
	f := logFile(t, filepath.Join(t.TempDir(), "0.log"), 4<<20)
	pages := resident(t, f)
	r.o.File(int(f.Fd()), "log-0", 4<<20)
	dropByAnother(r, f)
	went := uint64(pages - resident(t, f))
	c, by := r.cell("log-0", ""), r.evictions("log-0")
	if went == 0 || c.Evictions != went || by["dd"] != went || c.Drops != 0 {
		t.Errorf("dd dropped %d pages: %+v, by culprit %v", went, c, by)
	}
}

// TestDroppedBehind: a read that leaves nothing in the cache brings pages in and
// drops them.
func TestDroppedBehind(t *testing.T) {
	disks(t, func(t *testing.T, dir string) {
		r := look(t, "", Options{})
		l := newLane(r)
		l.rw = unix.RWF_DONTCACHE
		f := logFile(t, filepath.Join(dir, "0.log"), 8<<20)
		one := make([]byte, 1)
		if _, err := preadv2(int(f.Fd()), one, 0, unix.RWF_DONTCACHE); errors.Is(err, unix.EOPNOTSUPP) {
			t.Skip("needs RWF_DONTCACHE (Linux 6.14, ext4 or XFS)")
		}
		drop(t, f)
		file, reader := r.o.File(int(f.Fd()), "log-0", 8<<20), r.o.Reader("log-0", "lag")
		l.read(steps(f, file, reader, 8<<20))
		lag, own := r.cell("log-0", "lag"), r.cell("log-0", "")
		left := uint64(resident(t, f))
		pages := uint64(8 << 20 / pageBytes)
		if lag.DemandMisses+lag.Readahead < pages || own.Drops+left != lag.DemandMisses+lag.Readahead || own.Evictions != 0 || left > pages/2 {
			t.Errorf("%d pages are left: %+v, %+v", left, lag, own)
		}
	})
}

func preadv2(fd int, b []byte, off int64, flags int) (int, error) {
	return unix.Preadv2(fd, [][]byte{b}, off, flags)
}

// TestInodeUsedAgain: the pages of a file that got a deleted log's inode are not
// the log's.
func TestInodeUsedAgain(t *testing.T) {
	r := look(t, "", Options{})
	mnt := loopMount(t, "ext4")
	name := filepath.Join(mnt, "0.log")
	f := logFile(t, name, 1<<20)
	file := r.o.File(int(f.Fd()), "log-0", 1<<20)
	inode := inodeNumber(t, f)
	r.o.Forget(file)
	f.Close()
	os.Remove(name)
	before := r.cell("log-0", "")
	other := logFile(t, filepath.Join(mnt, "other"), 2<<20)
	if inodeNumber(t, other) != inode {
		t.Skip("the file system gave out another inode")
	}
	drop(t, other)
	cat(r, other)
	drop(t, other)
	if c := r.cell("log-0", ""); c != before {
		t.Errorf("%+v after %+v", c, before)
	}
	number := r.o.File(int(other.Fd()), "log-1", 2<<20)
	if number == 0 {
		t.Fatal("no number")
	}
	cat(r, other)
	if c := r.cell("log-1", ""); c.ForeignInserts != 2<<20/uint64(pageBytes) {
		t.Errorf("the next log of that inode has %+v", c)
	}
	if c := r.cell("log-0", ""); c != before {
		t.Errorf("the log before it has %+v after %+v", c, before)
	}
	again := r.o.File(int(other.Fd()), "log-1", 2<<20)
	if again != number {
		t.Errorf("a file has two numbers: %d and %d", number, again)
	}
}

func inodeNumber(t *testing.T, f *os.File) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}
