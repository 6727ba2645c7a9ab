package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, k ring.Kernel, path string, content []byte) int {
	t.Helper()
	fd, err := k.Open(path, unix.O_RDWR|unix.O_CREAT, 0o644)
	must(t, err)
	_, err = k.WriteAt(fd, content, 0)
	must(t, err)
	return fd
}

// contents is a whole file, or nil if it is not there.
func contents(t *testing.T, k ring.Kernel, path string) []byte {
	t.Helper()
	info, err := k.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	must(t, err)
	fd, err := k.Open(path, unix.O_RDONLY, 0)
	must(t, err)
	defer k.Close(fd)
	b := make([]byte, info.Size)
	if n, err := k.ReadAt(fd, b, 0); n != len(b) || err != nil && err != io.EOF {
		t.Fatalf("read %d of %d bytes of %s: %v", n, len(b), path, err)
	}
	return b
}

func pattern(n int, b byte) []byte {
	p := bytes.Repeat([]byte{b}, n)
	return p
}

func TestKillKeepsWhatWasWritten(t *testing.T) {
	for seed := range uint64(20) {
		w := New(seed, Options{})
		k := w.Kernel()
		must(t, k.Mkdir("/d", 0o755))
		fd := create(t, k, "/d/a", pattern(10_000, 1))
		must(t, k.TryLock(fd))
		must(t, k.Rename("/d/a", "/d/b"))
		w.Kill()
		if _, err := k.Open("/d/b", unix.O_RDONLY, 0); err == nil {
			t.Fatal("a dead kernel answered")
		}
		k = w.Restart()
		if got := contents(t, k, "/d/b"); !bytes.Equal(got, pattern(10_000, 1)) {
			t.Fatalf("seed %d: %d bytes survived the kill", seed, len(got))
		}
		fd, err := k.Open("/d/b", unix.O_RDWR, 0)
		must(t, err)
		must(t, k.TryLock(fd)) // the lock died with its holder
	}
}

func TestPowerCutKeepsWhatWasSynced(t *testing.T) {
	for seed := range uint64(300) {
		w := New(seed, Options{})
		k := w.Kernel()
		must(t, k.Mkdir("/d", 0o755))
		must(t, k.SyncDir("/"))
		fd := create(t, k, "/d/a", pattern(10_000, 1))
		must(t, k.Sync(fd))
		must(t, k.SyncDir("/d"))
		_, err := k.WriteAt(fd, pattern(20_000, 2), 10_000) // not synced: may follow
		must(t, err)
		w.PowerCut(CutDrawn)
		got := contents(t, w.Restart(), "/d/a")
		if len(got) < 10_000 || !bytes.Equal(got[:10_000], pattern(10_000, 1)) {
			t.Fatalf("seed %d: of 10000 synced bytes: %d bytes there, whole: false", seed, len(got))
		}
		for i, b := range got[10_000:] {
			if b != 0 && b != 2 {
				t.Fatalf("seed %d: byte %d is %d, which nobody wrote", seed, 10_000+i, b)
			}
		}
	}
}

// What a cut leaves of an overwritten, unsynced file: every sector is old or new,
// and over the seeds everything happens.
func TestPowerCutTearsWhatWasNot(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(300) {
		w := New(seed, Options{})
		k := w.Kernel()
		fd := create(t, k, "/a", pattern(5*pageBytes, 1))
		must(t, k.Sync(fd))
		must(t, k.SyncDir("/"))
		_, err := k.WriteAt(fd, pattern(7*pageBytes, 2), 0)
		must(t, err)
		w.PowerCut(CutDrawn)
		got := contents(t, w.Restart(), "/a")
		switch {
		case len(got) == 5*pageBytes:
			seen["old size"]++
		case len(got) == 7*pageBytes:
			seen["new size"]++
		case len(got) > 5*pageBytes && len(got) < 7*pageBytes:
			seen["size between"]++
		default:
			t.Fatalf("seed %d: size %d", seed, len(got))
		}
		old, torn := 0, false
		for at := 0; at < len(got); at += sectorBytes {
			sector := got[at:min(at+sectorBytes, len(got))]
			for _, b := range sector {
				if b != sector[0] {
					t.Fatalf("seed %d: the sector at %d is torn", seed, at)
				}
			}
			zero := at >= 5*pageBytes
			if !(sector[0] == 2 || !zero && sector[0] == 1 || zero && sector[0] == 0) {
				t.Fatalf("seed %d: the sector at %d is %d", seed, at, sector[0])
			}
			if sector[0] != 2 {
				old++
			}
			if at%pageBytes != 0 && sector[0] != got[at-1] {
				torn = true
			}
		}
		switch {
		case torn:
			seen["torn page"]++
		case old == 0:
			seen["all new"]++
		case old == (len(got)+sectorBytes-1)/sectorBytes:
			seen["all old"]++
		default:
			seen["some pages"]++
		}
	}
	for _, what := range []string{"old size", "new size", "size between", "torn page", "all new", "all old", "some pages"} {
		if seen[what] == 0 {
			t.Errorf("in 300 cuts never: %s (%v)", what, seen)
		}
	}
}

func TestPowerCutModes(t *testing.T) {
	for seed := range uint64(20) {
		for mode, want := range map[CutMode]byte{CutKeep: 2, CutDrop: 1} {
			w := New(seed, Options{})
			k := w.Kernel()
			fd := create(t, k, "/a", pattern(pageBytes, 1))
			must(t, k.Sync(fd))
			must(t, k.SyncDir("/"))
			w.Kernel().WriteAt(fd, pattern(pageBytes, 2), 0)
			create(t, k, "/b", []byte("b"))
			w.PowerCut(mode)
			k = w.Restart()
			got := contents(t, k, "/a")
			if len(got) != pageBytes || (got[0] != want && mode == CutKeep) {
				t.Fatalf("mode %d: %d bytes of %d", mode, len(got), got[0])
			}
			if exists := contents(t, k, "/b") != nil; exists != (mode == CutKeep) {
				t.Fatalf("mode %d: the new file is there: %v", mode, exists)
			}
		}
	}
}

func TestNamesInAPowerCut(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(300) {
		w := New(seed, Options{})
		k := w.Kernel()
		must(t, k.Mkdir("/d", 0o755))
		must(t, k.SyncDir("/"))
		must(t, k.Sync(create(t, k, "/d/config", []byte("old"))))
		must(t, k.SyncDir("/d"))

		must(t, k.Sync(create(t, k, "/d/config.tmp", []byte("new"))))
		must(t, k.Rename("/d/config.tmp", "/d/config"))
		create(t, k, "/d/unsynced", nil)
		must(t, k.Sync(create(t, k, "/d/kept", []byte("x"))))
		must(t, k.Remove("/d/kept"))
		must(t, k.Mkdir("/d/sub", 0o755))
		must(t, k.Sync(create(t, k, "/d/sub/f", []byte("y"))))
		must(t, k.SyncDir("/d/sub")) // but not /d

		w.PowerCut(CutDrawn)
		k = w.Restart()
		switch got := string(contents(t, k, "/d/config")); got {
		case "old", "new":
			seen[got]++
		default:
			t.Fatalf("seed %d: after a rename over it the file holds %q", seed, got)
		}
		for _, name := range []string{"/d/unsynced", "/d/kept", "/d/sub"} {
			_, err := k.Stat(name)
			seen[fmt.Sprint(name, " ", err == nil)]++
		}
		if _, err := k.Stat("/d/sub"); err == nil {
			if got := contents(t, k, "/d/sub/f"); string(got) != "y" {
				t.Fatalf("seed %d: the directory is there, its synced file is %q", seed, got)
			}
		}
	}
	for _, what := range []string{"old", "new", "/d/unsynced true", "/d/unsynced false", "/d/kept true", "/d/kept false", "/d/sub true", "/d/sub false"} {
		if seen[what] == 0 {
			t.Errorf("in 300 cuts never: %s (%v)", what, seen)
		}
	}
}

func TestLooseNames(t *testing.T) {
	for seed := range uint64(50) {
		w := New(seed, Options{LooseNames: true})
		must(t, w.Kernel().Sync(create(t, w.Kernel(), "/a", []byte("a"))))
		w.PowerCut(CutDrawn)
		if got := contents(t, w.Restart(), "/a"); string(got) != "a" {
			t.Fatalf("seed %d: %q", seed, got)
		}
	}
}

func TestTruncateInAPowerCut(t *testing.T) {
	for seed := range uint64(100) {
		w := New(seed, Options{})
		k := w.Kernel()
		fd := create(t, k, "/a", pattern(20_000, 1))
		must(t, k.Sync(fd))
		must(t, k.SyncDir("/"))
		must(t, k.Truncate(fd, 5_000))
		must(t, k.Sync(fd))
		must(t, k.Truncate(fd, 9_000))
		w.PowerCut(CutDrawn)
		got := contents(t, w.Restart(), "/a")
		if len(got) < 5_000 || len(got) > 9_000 {
			t.Fatalf("seed %d: %d bytes", seed, len(got))
		}
		if !bytes.Equal(got, append(pattern(5_000, 1), make([]byte, len(got)-5_000)...)) {
			t.Fatalf("seed %d: what was cut off and synced came back", seed)
		}
	}
}

func TestFullDisk(t *testing.T) {
	w := New(1, Options{DiskBytes: 10 * pageBytes})
	k := w.Kernel()
	fd := create(t, k, "/a", pattern(8*pageBytes, 1))
	mem := mmapped(t, 4*pageBytes)
	iov := []unix.Iovec{{Base: &mem[0], Len: 4 * pageBytes}}
	if n, errno := k.WriteNow(fd, iov, 8*pageBytes); n != 2*pageBytes || errno != 0 {
		t.Fatalf("a write that fits in part: %d, %v", n, errno)
	}
	if n, errno := k.WriteNow(fd, iov, 10*pageBytes); n != 0 || errno != unix.ENOSPC {
		t.Fatalf("a write that does not fit: %d, %v", n, errno)
	}
	if n, errno := k.WriteNow(fd, iov, 0); n != 4*pageBytes || errno != 0 {
		t.Fatalf("an overwrite: %d, %v", n, errno)
	}
	if _, err := k.WriteAt(fd, pattern(10, 1), 10*pageBytes); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("WriteAt: %v", err)
	}
	if err := k.Allocate(fd, 0, 11*pageBytes); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Allocate: %v", err)
	}
	must(t, k.Truncate(fd, 4*pageBytes))
	must(t, k.Allocate(fd, 0, 10*pageBytes))
	if info, _ := k.Stat("/a"); info.Size != 4*pageBytes || info.Blocks != 10*pageBytes/sectorBytes {
		t.Fatalf("%+v", info)
	}
	must(t, k.Truncate(fd, 4*pageBytes)) // gives preallocated room back
	must(t, k.Remove("/a"))
	other := create(t, k, "/b", nil)
	if err := k.Allocate(other, 0, 8*pageBytes); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a removed file that is open keeps its room: %v", err)
	}
	must(t, k.Close(fd))
	must(t, k.Allocate(other, 0, 10*pageBytes))
}

func mmapped(t *testing.T, n int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	must(t, err)
	t.Cleanup(func() { unix.Munmap(b) })
	return b
}

// A write that a worker has in hand when the program is killed is done, done in
// part, or not.
func TestKillInTheMiddleOfAWrite(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(100) {
		w := New(seed, Options{Writes: WritesPunted})
		k := w.Kernel()
		fd := create(t, k, "/a", nil)
		r, err := ring.New(k, ring.Options{Entries: 8})
		must(t, err)
		mem := mmapped(t, 4*pageBytes)
		for i := range mem {
			mem[i] = 7
		}
		r.Get().PrepWrite(fd, unsafe.Pointer(&mem[0]), uint32(len(mem)), 0)
		must(t, r.Enter(0, 0))
		w.Kill()
		got := contents(t, w.Restart(), "/a")
		switch {
		case len(got) == 0:
			seen["none"]++
		case len(got) == len(mem):
			seen["all"]++
		default:
			seen["part"]++
		}
		if !bytes.Equal(got, pattern(len(got), 7)) {
			t.Fatalf("seed %d: the part that was written is wrong", seed)
		}
	}
	if seen["none"] == 0 || seen["part"] == 0 {
		t.Errorf("%v", seen)
	}
}

func TestCrashAfter(t *testing.T) {
	outcomes := map[int]bool{}
	for seed := range uint64(40) {
		w := New(seed, Options{})
		k := w.Kernel()
		fd := create(t, k, "/a", nil)
		w.CrashAfter(1, true, CutDrawn)
		crashed := func() (crashed bool) {
			defer func() { _, crashed = recover().(Crash) }()
			k.WriteAt(fd, pattern(100, 3), 0)
			return false
		}()
		if !crashed || !w.Down() {
			t.Fatalf("seed %d: crashed %v, down %v", seed, crashed, w.Down())
		}
		got := contents(t, w.Restart(), "/a")
		if !bytes.Equal(got, pattern(len(got), 3)) {
			t.Fatalf("seed %d: %v", seed, got)
		}
		outcomes[len(got)] = true
	}
	if len(outcomes) < 10 {
		t.Errorf("the write was cut at only %d places", len(outcomes))
	}
}

// Fsync in the ring does not wait for writes that are still a worker's.
func TestFsyncOvertakesWrites(t *testing.T) {
	lost := false
	for seed := range uint64(50) {
		w := New(seed, Options{Writes: WritesPunted})
		k := w.Kernel()
		fd := create(t, k, "/a", nil)
		must(t, k.SyncDir("/"))
		r, err := ring.New(k, ring.Options{Entries: 8})
		must(t, err)
		mem := mmapped(t, pageBytes)
		mem[0] = 9
		r.Get().PrepWrite(fd, unsafe.Pointer(&mem[0]), 1, 0)
		r.Get().PrepFsync(fd, ring.FsyncDatasync)
		must(t, r.Enter(0, 0))
		w.Advance(w.Now() + 1e9)
		w.PowerCut(CutDrop)
		lost = lost || len(contents(t, w.Restart(), "/a")) == 0
	}
	if !lost {
		t.Error("an unordered fsync always covered the write before it")
	}
}
