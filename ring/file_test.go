package ring

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestFileThroughTheRing(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		dir := h.TempDir()
		path := h.memory(len(dir) + 16)
		copy(path, dir+"/log")
		fd := h.ok(func(s *SQE) {
			s.PrepOpenat(unix.AT_FDCWD, pointer(path), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
		})
		h.ok(func(s *SQE) { s.PrepFallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 1<<16) })

		one, two, three := h.text("first,"), h.text("second,"), h.text("third")
		if n := h.ok(func(s *SQE) { s.PrepWrite(fd, pointer(one), 6, 0) }); n != 6 {
			h.Errorf("wrote %d", n)
		}
		iovs := iovecs(h.memory(64), two, three)
		if n := h.ok(func(s *SQE) { s.PrepWritev(fd, &iovs[0], 2, 6) }); n != 12 {
			h.Errorf("wrote %d", n)
		}
		h.ok(func(s *SQE) { s.PrepSyncFileRange(fd, 18, 0, unix.SYNC_FILE_RANGE_WRITE) })
		h.ok(func(s *SQE) { s.PrepFsync(fd, FsyncDatasync) })
		h.ok(func(s *SQE) { s.PrepFsync(fd, 0) })

		mem := h.memory(32)
		if n := h.ok(func(s *SQE) { s.PrepRead(fd, pointer(mem), 32, 0) }); string(mem[:n]) != "first,second,third" {
			h.Errorf("read %q", mem[:n])
		}
		a, b := h.memory(5), h.memory(8)
		iovs = iovecs(h.memory(64), a, b)
		if n := h.ok(func(s *SQE) { s.PrepReadv(fd, &iovs[0], 2, 6) }); n != 12 || string(a)+string(b[:7]) != "second,third" {
			h.Errorf("read %d: %q %q", n, a, b)
		}
		h.ok(func(s *SQE) { s.PrepFadvise(fd, 0, 18, unix.FADV_DONTNEED) })

		stat := (*unix.Statx_t)(pointer(h.memory(256)))
		h.ok(func(s *SQE) { s.PrepStatx(unix.AT_FDCWD, pointer(path), 0, unix.STATX_SIZE, stat) })
		if stat.Size != 18 {
			h.Errorf("size %d, want 18: the allocation must not show", stat.Size)
		}
		if h.ring.Features().Supports(OpFtruncate) {
			h.ok(func(s *SQE) { s.PrepFtruncate(fd, 5) })
			if size, _ := h.kernel.Size(fd); size != 5 {
				h.Errorf("size %d after ftruncate, want 5", size)
			}
		}
		moved := h.memory(len(dir) + 16)
		copy(moved, dir+"/moved")
		h.ok(func(s *SQE) { s.PrepRenameat(unix.AT_FDCWD, pointer(path), unix.AT_FDCWD, pointer(moved), 0) })
		h.ok(func(s *SQE) { s.PrepUnlinkat(unix.AT_FDCWD, pointer(moved), 0) })
		h.ok(func(s *SQE) { s.PrepClose(fd) })
		if names, err := h.kernel.ReadDir(dir); err != nil || len(names) != 0 {
			h.Errorf("left in the directory: %v, %v", names, err)
		}
	})
}

// TestSpliceFileToSocket links file -> pipe -> socket in one submission.
func TestSpliceFileToSocket(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		content := strings.Repeat("slipstream ", 300)
		fd, _ := h.file(content)
		ours, peer := h.pair()
		r, w := h.pipe()
		n := uint32(len(content))
		h.get(1, func(s *SQE) { s.PrepSplice(fd, 0, w, CurrentPosition, n, unix.SPLICE_F_MOVE) }).Flags = SQEIOLink
		h.get(2, func(s *SQE) { s.PrepSplice(r, CurrentPosition, ours, CurrentPosition, n, 0) })
		got := h.await(2)
		h.want(h.byData(got, 1), 1, int32(n))
		h.want(h.byData(got, 2), 2, int32(n))
		if s := h.read(peer, len(content)); s != content {
			h.Error("the peer got other bytes")
		}
	})
}

// TestSpliceToFullSocket: what the bulk rung rests on. With O_NONBLOCK on the socket
// no worker waits for its room, and what it did not take stays in the pipe.
func TestSpliceToFullSocket(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		fd, _ := h.file(strings.Repeat("slipstream ", 300))
		ours, peer := h.pair()
		r, w := h.pipe()
		if errno := h.kernel.SetNonblock(ours, true); errno != 0 {
			h.Fatal(errno)
		}
		filler := iovecs(h.memory(16), h.memory(1<<20))
		full := 0
		for quiet := 0; quiet < 20; { // the peer's side takes more for a while
			n, errno := h.kernel.SendNow(ours, filler, false)
			full += n
			if quiet++; errno != unix.EAGAIN {
				quiet = 0
			}
			time.Sleep(2 * time.Millisecond)
		}
		h.get(1, func(s *SQE) { s.PrepSplice(fd, 0, w, CurrentPosition, 3300, unix.SPLICE_F_NONBLOCK) }).Flags = SQEIOLink
		h.get(2, func(s *SQE) { s.PrepSplice(r, CurrentPosition, ours, CurrentPosition, 3300, unix.SPLICE_F_NONBLOCK) })
		got := h.await(2)
		h.want(h.byData(got, 1), 1, 3300)
		h.wantErrno(h.byData(got, 2), 2, unix.EAGAIN)
		h.read(peer, full)
		if n := h.ok(func(s *SQE) {
			s.PrepSplice(r, CurrentPosition, ours, CurrentPosition, 3300, unix.SPLICE_F_NONBLOCK)
		}); n != 3300 || h.read(peer, 5) != "slips" {
			h.Errorf("%d bytes were left in the pipe", n)
		}
	})
}

func TestTee(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		r1, w1 := h.pipe()
		r2, w2 := h.pipe()
		h.write(w1, "twice")
		if n := h.ok(func(s *SQE) { s.PrepTee(r1, w2, 5, 0) }); n != 5 {
			h.Errorf("%d bytes", n)
		}
		if a, b := h.read(r1, 5), h.read(r2, 5); a != "twice" || b != "twice" {
			h.Errorf("%q and %q", a, b)
		}
	})
}

// timespec is one that the kernel may read.
func (h *harness) timespec(d time.Duration) *Timespec {
	ts := (*Timespec)(pointer(h.memory(16)))
	*ts = TimespecOf(int64(d))
	return ts
}

func TestTimeouts(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		start := time.Now()
		h.wantErrno(h.one(func(s *SQE) { s.PrepTimeout(h.timespec(20*time.Millisecond), 0, 0) }), 0x0123456789abcdef, unix.ETIME)
		if took := time.Since(start); took < 20*time.Millisecond {
			h.Errorf("fired after %s", took)
		}

		// One that is satisfied by a completion.
		h.get(1, func(s *SQE) { s.PrepTimeout(h.timespec(time.Hour), 1, 0) })
		h.get(2, (*SQE).PrepNop)
		h.want(h.byData(h.await(2), 1), 1, 0)

		// One that is taken back, and one that is set anew.
		h.get(3, func(s *SQE) { s.PrepTimeout(h.timespec(time.Hour), 0, 0) })
		h.get(4, func(s *SQE) { s.PrepTimeoutRemove(3, 0) })
		got := h.await(2)
		h.wantErrno(h.byData(got, 3), 3, unix.ECANCELED)
		h.want(h.byData(got, 4), 4, 0)
		h.get(5, func(s *SQE) { s.PrepTimeout(h.timespec(time.Hour), 0, 0) })
		h.get(6, func(s *SQE) { s.PrepTimeoutUpdate(h.timespec(time.Millisecond), 5, 0) })
		got = h.await(2)
		h.wantErrno(h.byData(got, 5), 5, unix.ETIME)
		h.want(h.byData(got, 6), 6, 0)

		// An absolute one, on CLOCK_MONOTONIC.
		at := h.timespec(time.Duration(h.kernel.Monotonic()) + 10*time.Millisecond)
		h.wantErrno(h.one(func(s *SQE) { s.PrepTimeout(at, 0, TimeoutAbs) }), 0x0123456789abcdef, unix.ETIME)
	})
}

func TestLinkTimeout(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		ours, _ := h.pair()
		mem := h.memory(8)
		h.get(1, func(s *SQE) { s.PrepRecv(ours, pointer(mem), 8, 0) }).Flags = SQEIOLink
		h.get(2, func(s *SQE) { s.PrepLinkTimeout(h.timespec(10*time.Millisecond), 0) })
		got := h.await(2)
		h.wantErrno(h.byData(got, 1), 1, unix.ECANCELED)
		h.wantErrno(h.byData(got, 2), 2, unix.ETIME)
	})
}

func TestProvidedBuffersTheOldWay(t *testing.T) {
	atLevels(t, Level515, func(h *harness) {
		ours, peer := h.pair()
		mem := h.memory(4 * 16)
		h.ok(func(s *SQE) { s.PrepProvideBuffers(pointer(mem), 16, 4, 5, 10) })
		h.write(peer, "old way")
		c := h.one(func(s *SQE) { s.PrepRecvSelect(ours, 16, 0, 5) })
		id, ok := c.Buffer()
		if !ok || id < 10 || id > 13 || string(mem[(id-10)*16:][:7]) != "old way" {
			h.Errorf("completion %+v", c)
		}
		if n := h.ok(func(s *SQE) { s.PrepRemoveBuffers(10, 5) }); n != 3 {
			h.Errorf("%d buffers were left, want 3", n)
		}
	})
}

func TestTimespecOf(t *testing.T) {
	for _, c := range []struct {
		nanos int64
		want  Timespec
	}{{0, Timespec{}}, {-5, Timespec{}}, {1, Timespec{0, 1}}, {1e9, Timespec{1, 0}}, {2_500_000_001, Timespec{2, 500_000_001}}} {
		if got := TimespecOf(c.nanos); got != c.want {
			t.Errorf("%d ns: %+v, want %+v", c.nanos, got, c.want)
		}
	}
	if unsafe.Sizeof(Timespec{}) != 16 {
		t.Error("a timespec is two 64-bit words")
	}
}
