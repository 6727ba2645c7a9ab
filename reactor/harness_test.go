package reactor

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"slipstream/ring"

	"golang.org/x/sys/unix"
)

var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

// service is a Service of functions; nil ones do nothing.
type service struct {
	opened  func(c *Conn)
	request func(r *Request) Disposition
	closed  func(c *Conn)
	endTurn func(c *Core)
	started func(c *Core)
	drained func(c *Core) bool
	opens   atomic.Int64
	closes  atomic.Int64
}

func (s *service) Opened(c *Conn) {
	s.opens.Add(1)
	if s.opened != nil {
		s.opened(c)
	}
}
func (s *service) Request(r *Request) Disposition { return s.request(r) }
func (s *service) Closed(c *Conn) {
	s.closes.Add(1)
	if s.closed != nil {
		s.closed(c)
	}
}
func (s *service) EndTurn(c *Core) {
	if s.endTurn != nil {
		s.endTurn(c)
	}
}
func (s *service) DrainStarted(c *Core) {
	if s.started != nil {
		s.started(c)
	}
}
func (s *service) Drained(c *Core) bool { return s.drained == nil || s.drained(c) }

// call is a Message that is a function.
type call func(c *Core)

func (f call) Deliver(c *Core) { f(c) }

// fire is a TimerHandler that is a function.
type fire func(t *Timer)

func (f fire) Fire(t *Timer) { f(t) }

// server is running cores with a listener each.
type server struct {
	t     *testing.T
	cores []*Core
	addr  netip.AddrPort
	done  chan error
	ended bool
}

// serve runs cores, one for each service, until the test ends; then it drains
// them and checks that nothing is left.
func serve(t *testing.T, cfg Config, services ...Service) *server {
	t.Helper()
	s := &server{t: t, done: make(chan error, len(services))}
	if cfg.Kernel == nil {
		cfg.Kernel = ring.NewLinux()
	}
	addr := anyPort
	for i, svc := range services {
		cfg.ID = i
		core := NewCore(cfg, svc)
		fd, bound, err := cfg.Kernel.Listen(addr, 512, len(services) > 1)
		if err != nil {
			t.Fatalf("listen: %v", err)
		}
		core.Listen(fd)
		addr = bound
		s.cores = append(s.cores, core)
	}
	s.addr = addr
	Join(s.cores)
	for _, core := range s.cores {
		go func() { s.done <- core.Run() }()
	}
	t.Cleanup(s.stop)
	return s
}

func (s *server) stop() {
	if s.ended {
		return
	}
	s.ended = true
	for _, c := range s.cores {
		for !c.Inject(call(func(c *Core) { c.Drain(c.Now + int64(500*time.Millisecond)) })) {
			time.Sleep(time.Millisecond)
		}
	}
	for range s.cores {
		select {
		case err := <-s.done:
			if err != nil {
				s.t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			s.t.Fatal("a core did not drain")
		}
	}
	for _, c := range s.cores {
		s.checkNothingLeft(c)
	}
}

func (s *server) checkNothingLeft(c *Core) {
	s.t.Helper()
	checkStages(s.t, c)
	if c.Arena.InUse() != 0 {
		s.t.Errorf("core %d: %d bytes of the arena are still in use", c.ID, c.Arena.InUse())
	}
	if c.provided != nil && c.provided.home != len(c.provided.blocks) {
		s.t.Errorf("core %d: %d of %d provided buffers are home", c.ID, c.provided.home, len(c.provided.blocks))
	}
	if c.ops.inFlight != 0 || len(c.conns) != 0 || c.Stats.ConnectionsOpen != 0 || c.Stats.RequestsOpen != 0 {
		s.t.Errorf("core %d: left: %d requests in flight, %d connections, %d service requests", c.ID, c.ops.inFlight, len(c.conns), c.Stats.RequestsOpen)
	}
	if svc, ok := c.service.(*service); ok && svc.opens.Load() != svc.closes.Load() {
		s.t.Errorf("core %d: %d connections opened, %d closed", c.ID, svc.opens.Load(), svc.closes.Load())
	}
	if c.Stats.UnexpectedErrors != 0 || c.Stats.StaleCompletions != 0 {
		s.t.Errorf("core %d: %d unexpected errors (%s), %d stale completions", c.ID, c.Stats.UnexpectedErrors, c.Stats.LastUnexpected, c.Stats.StaleCompletions)
	}
}

// stats reads a core's counters on the core.
func (s *server) stats(core int) (stats Counters) {
	s.t.Helper()
	s.on(core, func(c *Core) { stats = c.Stats })
	return stats
}

// on runs f on a core and waits for it.
func (s *server) on(core int, f func(c *Core)) {
	s.t.Helper()
	done := make(chan struct{})
	if !s.cores[core].Inject(call(func(c *Core) { f(c); close(done) })) {
		s.t.Fatal("Inject refused")
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		s.t.Fatal("the core did not take a message")
	}
}

// eventually waits until ok, looked at on a core, is true.
func (s *server) eventually(core int, what string, ok func(c *Core) bool) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		var is bool
		s.on(core, func(c *Core) { is = ok(c) })
		if is {
			return
		}
		if time.Now().After(end) {
			s.on(core, func(c *Core) { s.t.Log(dump(c)) })
			s.t.Fatalf("not after 10 s: %s", what)
		}
	}
}

func (s *server) dial() *net.TCPConn {
	s.t.Helper()
	c, err := net.DialTimeout("tcp", s.addr.String(), 5*time.Second)
	if err != nil {
		s.t.Fatalf("dial: %v", err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// dialSlow connects with a receive buffer of n bytes. It is set before: Linux
// stalls a connection whose buffer shrinks below the window it has announced.
func (s *server) dialSlow(n int) *net.TCPConn {
	s.t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, n) })
		return err
	}}
	c, err := d.Dial("tcp", s.addr.String())
	if err != nil {
		s.t.Fatalf("dial: %v", err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// levels runs a test at every level that the machine has.
func levels(t *testing.T, f func(t *testing.T, level ring.Level)) {
	t.Helper()
	have, err := ring.Probe(ring.NewLinux(), ring.LevelAuto)
	if err != nil {
		t.Fatalf("io_uring: %v", err)
	}
	for l := ring.Level515; l <= ring.LevelNative; l++ {
		if l > have.Highest {
			t.Logf("level %s needs a newer kernel", l)
			continue
		}
		t.Run(l.String(), func(t *testing.T) { f(t, l) })
	}
}

// frame is a frame of n payload bytes that tell i apart.
func frame(i, n int) []byte {
	b := make([]byte, 4+n)
	binary.BigEndian.PutUint32(b, uint32(n))
	x := uint32(i)*2654435761 + 12345
	for j := 4; j < len(b); j++ {
		x = x*1664525 + 1013904223
		b[j] = byte(x >> 24)
	}
	return b
}

// readFrame reads a frame, prefix included, into buf.
func readFrame(r io.Reader, buf []byte) ([]byte, error) {
	buf = buf[:4]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(buf))
	if cap(buf) < 4+n {
		buf = append(make([]byte, 0, 4+n), buf...)
	}
	buf = buf[:4+n]
	if _, err := io.ReadFull(r, buf[4:]); err != nil {
		return nil, err
	}
	return buf, nil
}

// writeFragmented writes b in random pieces.
func writeFragmented(w io.Writer, b []byte, r *rand.Rand) error {
	for len(b) > 0 {
		n := len(b)
		switch r.IntN(4) {
		case 0:
			n = min(n, 1+r.IntN(8))
		case 1:
			n = min(n, 1+r.IntN(20_000))
		case 2:
			n = min(n, 1+r.IntN(300_000))
		}
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		if r.IntN(8) == 0 {
			time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
		}
	}
	return nil
}

// echo answers each request with its own frame. How and when is the test's
// choice; waiting for memory is not.
type echo struct {
	service
	how     echoHow
	random  *rand.Rand
	waiting []*Request // for the arena, in order
	held    []*Request // to be finished later
	memory  MemoryWaiter
	timer   Timer
	core    *Core
}

type echoHow int

const (
	echoAtOnce  echoHow = iota // finished inside Request, Next
	echoHold                   // finished inside Request, Hold
	echoEndTurn                // finished in EndTurn, Next
	echoLate                   // finished by a timer, in random order, Next
	echoHeld                   // finished by a timer, Hold
	echoPassed                 // Hold, passed by a timer, finished by a later one
	echoKinds
)

func (h echoHow) String() string {
	return [...]string{"at once", "hold", "end of turn", "late in random order", "held", "passed"}[h]
}

func newEcho(how echoHow) *echo {
	e := &echo{how: how, random: rand.New(rand.NewPCG(1, uint64(how)))}
	e.service.request = e.take
	e.service.endTurn = e.end
	return e
}

func (e *echo) take(r *Request) Disposition {
	e.core, r.Kind = r.Conn.Core, 1
	switch e.how {
	case echoAtOnce:
		e.answer(r)
		return Next
	case echoHold:
		e.answer(r)
		return Hold
	}
	e.held = append(e.held, r)
	if e.how != echoEndTurn && !e.timer.Armed() {
		e.core.After(int64(50*time.Microsecond), &e.timer, e)
	}
	if e.how == echoHeld || e.how == echoPassed {
		return Hold
	}
	return Next
}

// Fire finishes a random half of what is held.
func (e *echo) Fire(*Timer) {
	e.random.Shuffle(len(e.held), func(i, j int) { e.held[i], e.held[j] = e.held[j], e.held[i] })
	for _, r := range e.held {
		if e.how == echoPassed {
			r.Pass()
		}
	}
	for n := (len(e.held) + 1) / 2; n > 0; n-- {
		r := e.held[len(e.held)-1]
		e.held = e.held[:len(e.held)-1]
		e.answer(r)
	}
	if len(e.held) > 0 {
		e.core.After(int64(50*time.Microsecond), &e.timer, e)
	}
}

func (e *echo) end(*Core) {
	if e.how != echoEndTurn {
		return
	}
	for _, r := range e.held {
		e.answer(r)
	}
	e.held = e.held[:0]
}

func (e *echo) answer(r *Request) {
	if len(e.waiting) > 0 || !echoFrame(r) {
		e.waiting = append(e.waiting, r)
		e.core.Arena.Await(&e.memory, e)
	}
}

// MemoryFreed answers as many as there is memory for.
func (e *echo) MemoryFreed(*MemoryWaiter) {
	for len(e.waiting) > 0 && echoFrame(e.waiting[0]) {
		e.waiting = e.waiting[1:]
	}
	if len(e.waiting) > 0 {
		e.core.Arena.Await(&e.memory, e)
	}
}

// echoFrame finishes r with its own frame, or reports that there is no memory.
func echoFrame(r *Request) bool {
	b := r.Conn.Core.Arena.Alloc(4 + len(r.Payload))
	if b == nil {
		return false
	}
	binary.BigEndian.PutUint32(b.Bytes(), uint32(len(r.Payload)))
	copy(b.Bytes()[4:], r.Payload)
	r.AddBlock(b, 0, 4+len(r.Payload))
	r.Finish()
	return true
}

// exchange writes frames, fragmented and pipelined, and checks the echoes.
func exchange(c *net.TCPConn, frames [][]byte, seed uint64) error {
	written := make(chan error, 1)
	go func() {
		r := rand.New(rand.NewPCG(seed, 7))
		var batch []byte
		for i, f := range frames {
			batch = append(batch, f...)
			if r.IntN(3) > 0 && i < len(frames)-1 && len(batch) < 1<<20 {
				continue
			}
			if err := writeFragmented(c, batch, r); err != nil {
				written <- err
				return
			}
			batch = batch[:0]
		}
		written <- nil
	}()
	c.SetReadDeadline(time.Now().Add(60 * time.Second))
	buf := make([]byte, 4, 64<<10)
	for i, f := range frames {
		got, err := readFrame(c, buf)
		if err != nil {
			return errors.Join(err, errors.New("reading the echo of frame "+itoa(i)+" of "+itoa(len(frames))))
		}
		if string(got) != string(f) {
			return errors.New("the echo of frame " + itoa(i) + " differs")
		}
		buf = got
	}
	return <-written
}

func itoa(i int) string { return strconv.Itoa(i) }

// rawDial connects without Go's network poller, which would count as memory.
func rawDial(t *testing.T, s *server) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(s.addr.Port()), Addr: s.addr.Addr().As4()})
	}
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return fd
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
