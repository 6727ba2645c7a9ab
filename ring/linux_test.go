package ring

import (
	"bytes"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func kernelHarness(t *testing.T) *harness { return &harness{T: t, kernel: testKernel(t)} }

// socketPair is a TCP connection made without a ring.
func (h *harness) socketPair() (ours, peer int) {
	h.Helper()
	listener, at := h.listen()
	peer = h.dial(at)
	ours, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { unix.Close(ours) })
	return ours, peer
}

func TestSendNow(t *testing.T) {
	h := kernelHarness(t)
	ours, peer := h.socketPair()
	a, b := h.text("more "), h.text("to come")
	if n, errno := h.kernel.SendNow(ours, iovecs(h.memory(64), a), true); n != 5 || errno != 0 {
		t.Fatalf("%d, %v", n, errno)
	}
	if n, errno := h.kernel.SendNow(ours, iovecs(h.memory(64), b), false); n != 7 || errno != 0 {
		t.Fatalf("%d, %v", n, errno)
	}
	if got := h.read(peer, 12); got != "more to come" {
		t.Errorf("the peer got %q", got)
	}
	big := h.memory(1 << 20)
	for range 1000 {
		if _, errno := h.kernel.SendNow(ours, iovecs(h.memory(64), big), false); errno == unix.EAGAIN {
			return
		} else if errno != 0 {
			t.Fatal(errno)
		}
	}
	t.Error("a socket that nobody reads took a gigabyte")
}

func TestSendFileNow(t *testing.T) {
	h := kernelHarness(t)
	content := strings.Repeat("0123456789", 1000)
	file, _ := h.file(content)
	ours, peer := h.socketPair()
	if errno := h.kernel.SetNonblock(ours, true); errno != 0 {
		t.Fatal(errno)
	}
	n, errno := h.kernel.SendFileNow(ours, file, 5, 100)
	if n != 100 || errno != 0 {
		t.Fatalf("sent %d, %v", n, errno)
	}
	if got := h.read(peer, 100); got != content[5:105] {
		t.Errorf("the peer got %q", got)
	}
	if n, errno := h.kernel.SendFileNow(ours, file, int64(len(content)), 100); n != 0 || errno != 0 {
		t.Errorf("at the end: %d, %v", n, errno)
	}
	sent := 0
	for {
		n, errno := h.kernel.SendFileNow(ours, file, 0, len(content))
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 || n <= 0 || sent > 1<<30 {
			t.Fatalf("after %d bytes: %d, %v", sent, n, errno)
		}
		sent += n
	}
	if sent == 0 {
		t.Error("nothing was sent before the socket's buffer was full")
	}
}

// TestBrokenPipeIsAnErrno: SIGPIPE must not end the process.
func TestBrokenPipeIsAnErrno(t *testing.T) {
	h := kernelHarness(t)
	file, _ := h.file("content")
	ours, _ := h.socketPair()
	unix.Shutdown(ours, unix.SHUT_WR)
	h.kernel.SetNonblock(ours, true)
	for range 3 {
		if _, errno := h.kernel.SendFileNow(ours, file, 0, 7); errno != unix.EPIPE {
			t.Errorf("SendFileNow: %v, want EPIPE", errno)
		}
		if _, errno := h.kernel.SendNow(ours, iovecs(h.memory(64), h.text("x")), false); errno != unix.EPIPE {
			t.Errorf("SendNow: %v, want EPIPE", errno)
		}
	}
}

func TestWriteNowReadNow(t *testing.T) {
	h := kernelHarness(t)
	fd, _ := h.file("")
	if n, errno := h.kernel.WriteNow(fd, iovecs(h.memory(64), h.text("one "), h.text("two")), 3); n != 7 || errno != 0 {
		t.Fatalf("%d, %v", n, errno)
	}
	p := make([]byte, 20)
	if n, errno := h.kernel.ReadNow(fd, p, 3); string(p[:n]) != "one two" || errno != 0 {
		t.Errorf("%q, %v", p[:n], errno)
	}
	if n, errno := h.kernel.ReadNow(fd, p, 100); n != 0 || errno != 0 {
		t.Errorf("past the end: %d, %v", n, errno)
	}
	if errno := h.kernel.CloseNow(-1); errno != unix.EBADF {
		t.Errorf("closing nothing: %v", errno)
	}
	if errno := h.kernel.SetNonblock(-1, true); errno != unix.EBADF {
		t.Errorf("no descriptor: %v", errno)
	}
	if n, errno := h.kernel.WriteNow(-1, nil, 0); n != 0 || errno != unix.EBADF {
		t.Errorf("no descriptor: %d, %v", n, errno)
	}
}

func TestNowDoesNotAllocate(t *testing.T) {
	h := kernelHarness(t)
	fd, _ := h.file(strings.Repeat("x", 1000))
	ours, peer := h.socketPair()
	h.kernel.SetNonblock(ours, true)
	h.kernel.SetNonblock(peer, true)
	iovs := iovecs(h.memory(64), h.text("y"))
	p, sink := h.memory(64), h.memory(256)
	k := h.kernel
	if n := testing.AllocsPerRun(100, func() {
		k.WriteNow(fd, iovs, 0)
		k.ReadNow(fd, p, 0)
		k.SendNow(ours, iovs, true)
		k.SendFileNow(ours, fd, 0, 100)
		k.PeerAddress(ours)
		k.SetNoDelay(ours)
		k.SetNonblock(ours, true)
		k.Monotonic()
		k.Wall()
		unix.Read(peer, sink)
	}); n > 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestListen(t *testing.T) {
	h := kernelHarness(t)
	any4 := netip.MustParseAddrPort("127.0.0.1:0")
	fd, at, err := h.kernel.Listen(any4, 16, true)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if at.Port() == 0 || at.Addr() != any4.Addr() {
		t.Errorf("bound to %s", at)
	}
	if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); flags&unix.O_NONBLOCK != 0 {
		t.Error("the listener does not block: a ring's accept on it would fail with EAGAIN")
	}
	if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
		t.Error("the listener is not close-on-exec")
	}
	second, _, err := h.kernel.Listen(at, 16, true)
	if err != nil {
		t.Fatalf("a shared port: %v", err)
	}
	unix.Close(second)
	if _, _, err := h.kernel.Listen(at, 16, false); err == nil || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("a port in use: %v", err)
	} else {
		mustBe(t, err, unix.EADDRINUSE)
	}
	if _, _, err := h.kernel.Listen(netip.AddrPort{}, 16, false); err == nil {
		t.Error("no address was accepted")
	}
	six, at, err := h.kernel.Listen(netip.MustParseAddrPort("[::]:0"), 16, false)
	if err != nil {
		t.Skipf("needs IPv6: %v", err)
	}
	defer unix.Close(six)
	h.dial(netip.AddrPortFrom(any4.Addr(), at.Port())) // [::] takes IPv4 as well
	conn, _, err := unix.Accept(six)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(conn)
	if got := h.kernel.PeerAddress(conn); !got.Addr().Is4() {
		t.Errorf("peer %s, want an IPv4 address", got)
	}
}

func TestClocksAndRandom(t *testing.T) {
	k := testKernel(t)
	const slack = int64(50 * time.Millisecond)
	for range 3 {
		if d := clockMonotonic() - k.Monotonic(); d < -slack || d > slack {
			t.Errorf("CLOCK_MONOTONIC is %d ns off", d)
		}
		if d := time.Now().UnixNano() - k.Wall(); d < -slack || d > slack {
			t.Errorf("the wall clock is %d ns off", d)
		}
	}
	last := k.Monotonic()
	for range 1000 {
		now := k.Monotonic()
		if now < last {
			t.Fatal("time went back")
		}
		last = now
	}
	a, b := make([]byte, 32), make([]byte, 32)
	k.Random(a)
	k.Random(b)
	if bytes.Equal(a, b) {
		t.Error("the same bytes twice")
	}
}

func TestFiles(t *testing.T) {
	k := testKernel(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "b")
	if err := k.Mkdir(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := k.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
		t.Error("the file is not close-on-exec")
	}
	if n, err := k.WriteAt(fd, []byte("hello world"), 5); n != 11 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := k.Allocate(fd, 0, 1<<20); err != nil {
		mustBe(t, err, unix.EOPNOTSUPP)
	}
	if size, err := k.Size(fd); size != 16 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	p := make([]byte, 20)
	if n, err := k.ReadAt(fd, p[:11], 5); n != 11 || err != nil || string(p[:11]) != "hello world" {
		t.Errorf("%d %q, %v", n, p, err)
	}
	if n, err := k.ReadAt(fd, p, 5); n != 11 || err != io.EOF {
		t.Errorf("across the end: %d, %v", n, err)
	}
	if err := k.Truncate(fd, 10); err != nil {
		t.Error(err)
	}
	if err := k.Sync(fd); err != nil {
		t.Error(err)
	}
	if err := k.SyncDir(dir); err != nil {
		t.Error(err)
	}
	info, err := k.Stat(path)
	if age := time.Now().UnixNano() - info.ModifiedNanos; err != nil || info.Size != 10 || info.Dir || info.Blocks == 0 || age < -int64(time.Minute) || age > int64(time.Hour) {
		t.Errorf("%+v, %v", info, err)
	}
	names, err := k.ReadDir(dir)
	if err != nil || len(names) != 2 || names[0] != (DirEntry{"a", true}) || names[1] != (DirEntry{"b", false}) {
		t.Errorf("%+v, %v", names, err)
	}
	if err := k.Rename(path, filepath.Join(dir, "c")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"a", "c"} {
		if err := k.Remove(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if err := k.Close(fd); err != nil {
		t.Error(err)
	}
	if name, err := k.FileSystem(dir); err != nil || name == "" {
		t.Errorf("%q, %v", name, err)
	} else {
		t.Log("the temporary directory is on " + name)
	}
	if name, err := k.FileSystem("/proc"); err != nil || name != "0x9fa0" {
		t.Errorf("/proc is %q, %v", name, err)
	}
}

func TestFileErrors(t *testing.T) {
	k := testKernel(t)
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	fd, err := k.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close(fd)

	_, openErr := k.Open(missing, unix.O_RDONLY, 0)
	_, statErr := k.Stat(missing)
	_, dirErr := k.ReadDir(missing)
	_, fsErr := k.FileSystem(missing)
	for _, err := range []error{openErr, statErr, dirErr, fsErr, k.SyncDir(missing), k.Remove(missing), k.Rename(missing, path), k.Mkdir(filepath.Join(missing, "x"), 0o755)} {
		mustBe(t, err, fs.ErrNotExist)
		if err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("error %v does not name %s", err, missing)
		}
	}
	mustBe(t, k.Mkdir(dir, 0o755), fs.ErrExist)

	_, writeErr := k.WriteAt(fd, []byte("x"), 0)
	for _, err := range []error{writeErr, k.Allocate(fd, 0, 4096)} {
		mustBe(t, err, unix.EBADF)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v does not name the file behind the descriptor", err)
		}
	}
	_, sizeErr := k.Size(-1)
	_, readErr := k.ReadAt(-1, make([]byte, 1), 0)
	for _, err := range []error{sizeErr, readErr, k.Close(-1), k.Sync(-1), k.Truncate(-1, 0), k.TryLock(-1)} {
		mustBe(t, err, unix.EBADF)
		if _, ok := err.(*fs.PathError); !ok {
			t.Errorf("error %T, want *fs.PathError", err)
		}
	}
}

func TestTryLock(t *testing.T) {
	k := testKernel(t)
	path := filepath.Join(t.TempDir(), ".lock")
	open := func() int {
		fd, err := k.Open(path, unix.O_RDWR|unix.O_CREAT, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	first, second := open(), open()
	defer k.Close(second)
	if err := k.TryLock(first); err != nil {
		t.Fatal(err)
	}
	mustBe(t, k.TryLock(second), unix.EWOULDBLOCK)
	k.Close(first)
	java := open() // takes the one lock that Java's FileChannel does
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(java), unix.F_OFD_SETLK, &whole); err != nil {
		t.Fatal(err)
	}
	mustBe(t, k.TryLock(second), unix.EWOULDBLOCK)
	k.Close(java)
	if err := k.TryLock(second); err != nil {
		t.Errorf("after the first let go: %v", err)
	}
}
