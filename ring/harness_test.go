package ring

import (
	"cmp"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// levelVariable forces one level for the whole suite.
const levelVariable = "SLIPSTREAM_RING_LEVEL"

func testKernel(t testing.TB) Kernel {
	t.Helper()
	k, err := Open(testKernelName)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// atLevels runs a test at each level that the machine has from lowest up, on a
// locked thread. Each runs behind [Old], which holds it to what a kernel of that
// level has: so 5.15 is tested without a 5.15 kernel.
func atLevels(t *testing.T, lowest Level, test func(h *harness)) {
	t.Helper()
	k := testKernel(t)
	f, err := Probe(k, LevelAuto)
	if err != nil {
		t.Fatal(err)
	}
	forced, err := ParseLevel(cmp.Or(os.Getenv(levelVariable), "auto"))
	if err != nil {
		t.Fatal(err)
	}
	for level := lowest; level <= LevelNative; level++ {
		if forced != LevelAuto && level != forced {
			continue
		}
		t.Run(level.String(), func(t *testing.T) {
			if level > f.Highest {
				t.Skipf("needs io_uring level %s; this kernel has %s%s", level, f.Highest, f.missing())
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			h := &harness{T: t, kernel: NewOld(k, level), level: level}
			h.ring = h.newRing(Options{Entries: 64})
			test(h)
		})
	}
}

// harness is a ring at one level with memory for the kernel.
type harness struct {
	*testing.T
	kernel Kernel
	level  Level
	ring   *Ring
}

func (h *harness) newRing(o Options) *Ring {
	h.Helper()
	o.Level = h.level
	r, err := New(h.kernel, o)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { r.Close() })
	return r
}

// mmapMemory is n bytes off the Go heap, never unmapped: a request that a failed
// test left in flight may still write there.
func mmapMemory(t testing.TB, n int) []byte {
	t.Helper()
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	return unsafe.Slice((*byte)(p), n)
}

// memory is a copy of text off the Go heap, or n zero bytes.
func (h *harness) memory(n int) []byte { return mmapMemory(h, n) }

func (h *harness) text(s string) []byte {
	m := h.memory(len(s) + 1)
	copy(m, s)
	return m[:len(s)]
}

func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// get is an entry with user data.
func (h *harness) get(userData uint64, prep func(s *SQE)) *SQE {
	s := h.ring.Get()
	prep(s)
	s.UserData = userData
	return s
}

const patience = 5 * time.Second

// await enters and reaps until n completions are there.
func (h *harness) await(n int) []CQE {
	h.Helper()
	return h.awaitOn(h.ring, n)
}

func (h *harness) awaitOn(r *Ring, n int) []CQE {
	h.Helper()
	deadline := time.Now().Add(patience)
	var got []CQE
	buf := make([]CQE, 16)
	for len(got) < n {
		if time.Now().After(deadline) {
			h.Fatalf("%d of %d completions within %s: %+v", len(got), n, patience, got)
		}
		if err := r.Enter(1, int64(200*time.Millisecond)); err != nil {
			h.Fatal(err)
		}
		got = append(got, buf[:r.Reap(buf)]...)
	}
	return got
}

// one is the only completion of the only entry in flight.
func (h *harness) one(prep func(s *SQE)) CQE {
	h.Helper()
	const mark = 0x0123456789abcdef
	h.get(mark, prep)
	got := h.await(1)
	if len(got) != 1 || got[0].UserData != mark {
		h.Fatalf("completions %+v, want one with user data %#x", got, uint64(mark))
	}
	return got[0]
}

// ok is one that must not fail.
func (h *harness) ok(prep func(s *SQE)) int {
	h.Helper()
	c := h.one(prep)
	if c.Res < 0 {
		h.Fatalf("failed: %v", c.Errno())
	}
	return int(c.Res)
}

// quiet asserts that nothing completes for a moment.
func (h *harness) quiet() {
	h.Helper()
	var buf [4]CQE
	if err := h.ring.Enter(1, int64(20*time.Millisecond)); err != nil {
		h.Fatal(err)
	}
	if n := h.ring.Reap(buf[:]); n != 0 {
		h.Fatalf("unexpected completions %+v", buf[:n])
	}
}

func (h *harness) want(c CQE, userData uint64, res int32) {
	h.Helper()
	if c.UserData != userData || c.Res != res {
		h.Errorf("completion {user data %d, result %d (%v)}, want {%d, %d}", c.UserData, c.Res, c.Errno(), userData, res)
	}
}

func (h *harness) wantErrno(c CQE, userData uint64, errno syscall.Errno) {
	h.Helper()
	if c.UserData != userData || c.Errno() != errno {
		h.Errorf("completion {user data %d, result %d (%v)}, want {%d, %v}", c.UserData, c.Res, c.Errno(), userData, errno)
	}
}

// byData finds the completion with a user data.
func (h *harness) byData(cs []CQE, userData uint64) CQE {
	h.Helper()
	for _, c := range cs {
		if c.UserData == userData {
			return c
		}
	}
	h.Fatalf("no completion with user data %d in %+v", userData, cs)
	return CQE{}
}

func (h *harness) listen() (fd int, at netip.AddrPort) {
	h.Helper()
	fd, at, err := h.kernel.Listen(netip.MustParseAddrPort("127.0.0.1:0"), 128, false)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { unix.Close(fd) })
	return fd, at
}

func (h *harness) dial(at netip.AddrPort) int {
	h.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, sockaddr(at)); err != nil {
		h.Fatal(err)
	}
	return fd
}

// pair is two ends of a TCP connection over loopback.
func (h *harness) pair() (ours, peer int) {
	h.Helper()
	listener, at := h.listen()
	peer = h.dial(at)
	ours = h.ok(func(s *SQE) { s.PrepAccept(listener, nil, nil, unix.SOCK_CLOEXEC) })
	h.Cleanup(func() { unix.Close(ours) })
	return ours, peer
}

func (h *harness) pipe() (r, w int) {
	h.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

func (h *harness) file(content string) (fd int, path string) {
	h.Helper()
	path = filepath.Join(h.TempDir(), "file")
	fd, err := h.kernel.Open(path, unix.O_RDWR|unix.O_CREAT, 0o644)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { unix.Close(fd) })
	if _, err := h.kernel.WriteAt(fd, []byte(content), 0); err != nil {
		h.Fatal(err)
	}
	return fd, path
}

func (h *harness) write(fd int, s string) {
	h.Helper()
	if n, err := unix.Write(fd, []byte(s)); n != len(s) {
		h.Fatalf("wrote %d of %d: %v", n, len(s), err)
	}
}

func (h *harness) read(fd, n int) string {
	h.Helper()
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	p := make([]byte, n)
	for done := 0; done < n; {
		got, err := unix.Read(fd, p[done:])
		if got <= 0 {
			h.Fatalf("read %d of %d: %v", done, n, err)
		}
		done += got
	}
	return string(p)
}

func mustBe(t testing.TB, err error, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error %v, want %v", err, target)
	}
}
