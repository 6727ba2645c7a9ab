package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// The conformance test runs the same operations against the running Linux and
// against the simulation, writes down what each answered, and compares. What Linux
// leaves open is not written down.

// machine is where a scenario runs.
type machine struct {
	*testing.T
	kernel ring.Kernel
	ring   *ring.Ring
	level  ring.Level
	dir    string
	world  *World // nil: Linux
	log    []string
	peers  []*peer
	fds    []int
}

func (m *machine) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

// errno is how an error is written down.
func errno(err error) string {
	var e syscall.Errno
	var pe *fs.PathError
	var le *os.LinkError
	kind := "error"
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &le):
		kind = "LinkError"
	case errors.As(err, &pe):
		kind = "PathError"
	}
	if errors.As(err, &e) {
		if e == 0 {
			return "ok"
		}
		return kind + " " + unix.ErrnoName(e)
	}
	return err.Error()
}

func result(c ring.CQE) string {
	s := fmt.Sprint(c.Res)
	if e := c.Errno(); e != 0 {
		s = unix.ErrnoName(e)
	}
	if c.More() {
		s += " more"
	}
	if _, ok := c.Buffer(); ok {
		s += " buffer"
	}
	if c.Notif() {
		s += " notif"
	}
	return s
}

// memory is n bytes off the Go heap.
func (m *machine) memory(n int) []byte {
	p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		m.Fatal(err)
	}
	return p
}

func (m *machine) text(s string) []byte {
	p := m.memory(len(s) + 1)
	copy(p, s)
	return p[:len(s)]
}

func ptr(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

// get is an entry with user data.
func (m *machine) get(userData uint64, prep func(s *ring.SQE)) *ring.SQE {
	s := m.ring.Get()
	prep(s)
	s.UserData = userData
	return s
}

// tick submits, and lets a little time pass.
func (m *machine) tick() {
	if m.world == nil {
		if err := m.ring.Enter(1, int64(10*time.Millisecond)); err != nil {
			m.Fatal(err)
		}
		return
	}
	if err := m.ring.Enter(0, 0); err != nil {
		m.Fatal(err)
	}
	m.world.Advance(min(m.world.NextEvent(), m.world.Now()+1_000_000))
	if err := m.ring.Enter(0, 0); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) reap() []ring.CQE {
	buf := make([]ring.CQE, 256)
	return buf[:m.ring.Reap(buf)]
}

// await is the next n completions, in the order of their user data, those of one
// user data in the order they came.
func (m *machine) await(n int) []ring.CQE {
	m.Helper()
	var got []ring.CQE
	for tries := 0; len(got) < n; tries++ {
		if tries == 200 {
			m.Fatalf("%d of %d completions: %+v; simulated: %v; so far:\n%s", len(got), n, got, m.world != nil, strings.Join(m.log, "\n"))
		}
		m.tick()
		got = append(got, m.reap()...)
	}
	slices.SortStableFunc(got, func(a, b ring.CQE) int { return int(a.UserData) - int(b.UserData) })
	return got
}

// told awaits n completions and writes them down.
func (m *machine) told(what string, n int) []ring.CQE {
	m.Helper()
	got := m.await(n)
	var parts []string
	for _, c := range got {
		parts = append(parts, fmt.Sprintf("%d: %s", c.UserData, result(c)))
	}
	m.note("%s: %s", what, strings.Join(parts, ", "))
	return got
}

func (m *machine) one(what string, prep func(s *ring.SQE)) ring.CQE {
	m.Helper()
	m.get(1, prep)
	return m.told(what, 1)[0]
}

// fdOf is one for an entry that makes a descriptor, which is not written down.
func (m *machine) fdOf(prep func(s *ring.SQE)) int {
	m.Helper()
	m.get(1, prep)
	c := m.await(1)[0]
	if c.Res < 0 {
		m.Fatalf("no descriptor: %v", c.Errno())
	}
	m.fds = append(m.fds, int(c.Res))
	return int(c.Res)
}

// quiet waits until everything has arrived and writes down what completed.
func (m *machine) quiet(what string) {
	m.Helper()
	var got []string
	for range 2 {
		m.settle()
		m.tick()
		for _, c := range m.reap() {
			got = append(got, fmt.Sprintf("%d: %s", c.UserData, result(c)))
		}
	}
	m.note("%s: %s", what, strings.Join(got, ", "))
}

// settle waits until what was sent has arrived.
func (m *machine) settle() {
	if m.world == nil {
		time.Sleep(5 * time.Millisecond)
		return
	}
	m.world.Advance(m.world.Now() + 20_000_000)
}

// peer is the far end of a connection.
type peer struct {
	m      *machine
	fd     int
	client *Client
}

func (m *machine) listen() (int, netip.AddrPort) {
	m.Helper()
	fd, at, err := m.kernel.Listen(netip.MustParseAddrPort("127.0.0.1:0"), 128, false)
	if err != nil {
		m.Fatal(err)
	}
	m.fds = append(m.fds, fd)
	return fd, at
}

func (m *machine) dial(at netip.AddrPort) *peer {
	m.Helper()
	p := &peer{m: m}
	if m.world != nil {
		p.client = m.world.Dial(at)
		m.settle()
		return p
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		m.Fatal(err)
	}
	p.fd = fd
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		m.Fatal(err)
	}
	m.peers = append(m.peers, p)
	return p
}

func (m *machine) pair() (int, *peer) {
	m.Helper()
	l, at := m.listen()
	p := m.dial(at)
	return m.fdOf(func(s *ring.SQE) { s.PrepAccept(l, nil, nil, unix.SOCK_CLOEXEC) }), p
}

func (p *peer) send(s string) {
	if p.client != nil {
		p.client.Send([]byte(s))
	} else if _, err := unix.Write(p.fd, []byte(s)); err != nil {
		p.m.Fatal(err)
	}
	p.m.settle()
}

// read is n bytes that arrived.
func (p *peer) read(n int) string {
	p.m.Helper()
	if p.client != nil {
		for range 1000 {
			if len(p.client.Received()) >= n {
				break
			}
			p.m.tick()
		}
		s := string(p.client.Received()[:n])
		p.client.Take(n)
		return s
	}
	unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	b := make([]byte, n)
	for done := 0; done < n; {
		got, err := unix.Read(p.fd, b[done:])
		if got <= 0 {
			p.m.Fatalf("read %d of %d: %v", done, n, err)
		}
		done += got
	}
	return string(b)
}

// end is how the connection looks to the peer: open, ended or reset.
func (p *peer) end() string {
	p.m.settle()
	if p.client != nil {
		switch {
		case p.client.reset:
			return "reset"
		case p.client.Ended():
			return "ended"
		}
		return "open"
	}
	var b [1]byte
	n, _, err := unix.Recvfrom(p.fd, b[:], unix.MSG_DONTWAIT)
	switch {
	case err == unix.EAGAIN:
		return "open"
	case err == unix.ECONNRESET:
		return "reset"
	case n == 0 && err == nil:
		return "ended"
	}
	return fmt.Sprint(n, err)
}

func (p *peer) closeWrite() {
	if p.client != nil {
		p.client.CloseWrite()
	} else {
		unix.Shutdown(p.fd, unix.SHUT_WR)
	}
	p.m.settle()
}

func (p *peer) reset() {
	if p.client != nil {
		p.client.Reset()
	} else {
		unix.SetsockoptLinger(p.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(p.fd)
		p.fd = -1
	}
	p.m.settle()
}

// pause stops reading; on Linux a peer reads only when told.
func (p *peer) pause() {
	if p.client != nil {
		p.client.Pause()
	}
}

// drain reads everything.
func (p *peer) drain() {
	if p.client != nil {
		p.client.Resume()
		p.m.settle()
		return
	}
	b := make([]byte, 1<<20)
	for {
		n, _, _ := unix.Recvfrom(p.fd, b, unix.MSG_DONTWAIT)
		if n <= 0 {
			return
		}
		p.m.settle()
	}
}

func (m *machine) file(name, content string) int {
	m.Helper()
	fd, err := m.kernel.Open(m.dir+"/"+name, unix.O_RDWR|unix.O_CREAT, 0o644)
	if err != nil {
		m.Fatal(err)
	}
	if _, err := m.kernel.WriteAt(fd, []byte(content), 0); err != nil {
		m.Fatal(err)
	}
	m.fds = append(m.fds, fd)
	return fd
}

func (m *machine) pipe() (int, int) {
	if m.world != nil {
		reader, writer, _ := m.world.kernel.pipe(pipeBytes)
		return reader, writer
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		m.Fatal(err)
	}
	m.fds = append(m.fds, p[0], p[1])
	return p[0], p[1]
}

// scenario is one piece of the comparison. Levels below lowest do not run it.
type scenario struct {
	name   string
	lowest ring.Level
	run    func(m *machine)
}

func (s *scenario) on(t *testing.T, kernel ring.Kernel, w *World, level ring.Level, dir string) []string {
	t.Helper()
	m := &machine{T: t, kernel: kernel, world: w, level: level, dir: dir}
	r, err := ring.New(kernel, ring.Options{Entries: 32, Level: level})
	if err != nil {
		t.Fatal(err)
	}
	m.ring = r
	s.run(m)
	if w == nil {
		for _, fd := range m.fds {
			unix.Close(fd)
		}
		for _, p := range m.peers {
			if p.fd >= 0 {
				unix.Close(p.fd)
			}
		}
		r.Close()
	}
	return m.log
}

const conformSeeds = 10

func TestConformsToLinux(t *testing.T) {
	linux := ring.NewLinux()
	have, err := ring.Probe(linux, ring.LevelAuto)
	if err != nil {
		t.Skipf("needs io_uring: %v", err)
	}
	for _, s := range scenarios {
		for level := max(s.lowest, ring.Level515); level <= ring.LevelNative; level++ {
			if level > have.Highest {
				continue
			}
			t.Run(s.name+"/"+level.String(), func(t *testing.T) {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				want := s.on(t, ring.NewOld(linux, level), nil, level, t.TempDir())
				if len(want) == 0 {
					t.Fatal("the scenario wrote nothing down")
				}
				for seed := range uint64(conformSeeds) {
					w := New(seed, Options{Level: level, Evictions: EvictionsNever})
					if err := w.Kernel().Mkdir("/d", 0o755); err != nil {
						t.Fatal(err)
					}
					compare(t, seed, want, s.on(t, w.Kernel(), w, level, "/d"))
					for _, v := range w.Violations() {
						t.Errorf("seed %d: %s", seed, v)
					}
				}
			})
		}
	}
}

func compare(t *testing.T, seed uint64, want, got []string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		var l, s string
		if i < len(want) {
			l = want[i]
		}
		if i < len(got) {
			s = got[i]
		}
		if l != s {
			t.Fatalf("seed %d, line %d:\nLinux      %s\nsimulation %s", seed, i+1, l, s)
		}
	}
}
