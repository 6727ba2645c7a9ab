package sim

import (
	"errors"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A failed writeback leaves pages clean that are not on the disk; each open file is told
// once, and so is whoever opens the file before anybody was told (errseq_t). The page
// cache has them until they are pushed out.
func TestFailedWritebackIsToldOnce(t *testing.T) {
	w := New(1, Options{Evictions: EvictionsNever})
	w.Plan([]Fault{{ID: 1, Kind: FaultSyncError, Path: "/a", For: 1e9, Count: 1}})
	k := w.Kernel()
	open := func() int {
		t.Helper()
		fd, err := k.Open("/a", unix.O_RDWR|unix.O_CREAT, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	first, second := open(), open()
	if _, err := k.WriteAt(first, []byte("lost"), 0); err != nil {
		t.Fatal(err)
	}
	if err := k.Sync(first); !errors.Is(err, syscall.EIO) {
		t.Errorf("the first fsync: %v", err)
	}
	if err := k.Sync(first); err != nil {
		t.Errorf("the same file again: %v", err)
	}
	if err := k.Sync(second); !errors.Is(err, syscall.EIO) {
		t.Errorf("another open file: %v", err)
	}
	if err := k.Sync(open()); err != nil {
		t.Errorf("a file opened after it was told: %v", err)
	}
	b := make([]byte, 4)
	if n, _ := k.ReadAt(second, b, 0); string(b[:n]) != "lost" {
		t.Errorf("the page cache has %q", b[:n])
	}
	if err := k.Advise(first, 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if n, _ := k.ReadAt(second, b, 0); string(b[:n]) != "\x00\x00\x00\x00" {
		t.Errorf("the disk has %q", b[:n])
	}
	if fired := w.Fired(); len(fired) != 1 || fired[0].Path != "/a" {
		t.Errorf("fired: %+v", fired)
	}
}

// Rot is on the medium: who has the page in the page cache reads what was written.
func TestRotShowsWhenThePageLeavesTheCache(t *testing.T) {
	w := New(1, Options{Evictions: EvictionsNever})
	w.Plan([]Fault{{ID: 1, Kind: FaultRot, Path: "/a", From: 1e6}})
	k := w.Kernel()
	fd, err := k.Open("/a", unix.O_RDWR|unix.O_CREAT, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	written := make([]byte, 512)
	if _, err := k.WriteAt(fd, written, 0); err != nil {
		t.Fatal(err)
	}
	if err := k.Sync(fd); err != nil {
		t.Fatal(err)
	}
	w.Advance(w.Now() + 2e6)
	b := make([]byte, 512)
	if _, err := k.ReadAt(fd, b, 0); err != nil || string(b) != string(written) {
		t.Errorf("from the page cache: %v, and what was written %v", err, string(b) == string(written))
	}
	if err := k.Advise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ReadAt(fd, b, 0); err != nil || string(b) == string(written) {
		t.Errorf("from the disk: %v, and what was written %v", err, string(b) == string(written))
	}
}

// A disk that is full or fails for a while does so for the files of the entry, and heals.
func TestDiskFaultsEnd(t *testing.T) {
	for _, c := range []struct {
		kind FaultKind
		want syscall.Errno
	}{{FaultNoSpace, unix.ENOSPC}, {FaultWriteError, unix.EIO}} {
		t.Run(string(c.kind), func(t *testing.T) {
			w := New(1, Options{})
			k := w.Kernel()
			a, errA := k.Open("/a", unix.O_RDWR|unix.O_CREAT, 0o644)
			b, errB := k.Open("/b", unix.O_RDWR|unix.O_CREAT, 0o644)
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			w.Plan([]Fault{{ID: 1, Kind: c.kind, Path: "/a", For: 1e6}})
			if _, err := k.WriteAt(b, []byte("x"), 0); err != nil {
				t.Errorf("another file: %v", err)
			}
			failed := false
			for range 20 { // a write may be taken in part first
				_, err := k.WriteAt(a, make([]byte, pageBytes), 0)
				failed = failed || errors.Is(err, c.want)
			}
			if !failed {
				t.Errorf("no write failed with %v", c.want)
			}
			w.Advance(w.Now() + 2e6)
			if _, err := k.WriteAt(a, make([]byte, pageBytes), 0); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}
