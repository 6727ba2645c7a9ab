package reactor

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// fetch asks for one range of a fileServer's file and checks what comes.
func (f *testFile) fetch(c *net.TCPConn, off, n int) error {
	if _, err := c.Write(ask(off, n)); err != nil {
		return err
	}
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	got := make([]byte, 4+1+n+1)
	if _, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("%d bytes at %d: %w", n, off, err)
	}
	if string(got[5:5+n]) != string(f.data[off:off+n]) {
		return fmt.Errorf("%d bytes at %d differ", n, off)
	}
	return nil
}

// ask is a request for a range of a fileServer's file.
func ask(off, n int) []byte {
	b := binary.BigEndian.AppendUint32(nil, 16)
	b = binary.BigEndian.AppendUint64(b, uint64(off))
	return binary.BigEndian.AppendUint64(b, uint64(n))
}

// residentBytes is how much of a range is in the page cache.
func (f *testFile) residentBytes(off, n int) (sum int) {
	k := ring.NewLinux()
	for at := off; at < off+n; at += pageBytes {
		sum += k.Resident(f.FD(), int64(at), min(pageBytes, off+n-at))
	}
	return sum
}

// kernels are the running kernel at its level, and held to what one without
// RWF_DONTCACHE and cachestat has.
func kernels(t *testing.T, test func(t *testing.T, cfg Config)) {
	t.Run("native", func(t *testing.T) { test(t, Config{Kernel: ring.NewLinux()}) })
	t.Run("older", func(t *testing.T) {
		test(t, Config{Kernel: ring.NewOld(ring.NewLinux(), ring.Level61), Level: ring.Level61})
	})
	t.Run("oldest", func(t *testing.T) {
		test(t, Config{Kernel: ring.NewOld(ring.NewLinux(), ring.Level515), Level: ring.Level515})
	})
}

// TestColdLeavesNoTrace: a consumer that reads a file which is not in the page cache
// gets it in large steps, each read once, and leaves the cache as it found it: what
// was in it stays, what was not does not come into it.
func TestColdLeavesNoTrace(t *testing.T) {
	const mib = 1 << 20
	f := newTestFile(t, 24*mib+100)
	kernels(t, func(t *testing.T, cfg Config) {
		f.drop(t)
		if err := ring.NewLinux().Advise(f.FD(), 10*mib+8192, 3*mib, unix.FADV_WILLNEED); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); f.residentBytes(10*mib+8192, 3*mib) < 3*mib && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		there := f.residentBytes(0, len(f.data))
		s := serve(t, cfg, newFileServer(f))
		c := s.dial()
		for off := 0; off < len(f.data); off += 900_000 {
			if err := f.fetch(c, off, min(900_000, len(f.data)-off)); err != nil {
				t.Fatal(err)
			}
		}
		s.eventually(0, "idle", func(c *Core) bool { return c.cold.reading == 0 && c.ops.inFlight <= 3 })
		stats := s.stats(0)
		t.Logf("%d steps, %d bytes, %d wasted, %d waits, %d dropped, rungs %+v", stats.ColdSteps, stats.ColdBytes, stats.ColdStepsWasted, stats.ColdWaits, stats.ColdDropped, stats.Rungs)
		if left := f.residentBytes(0, len(f.data)); left < there || left > there+mib {
			t.Errorf("%d bytes were in the page cache before, %d after", there, left)
		}
		if got := f.residentBytes(10*mib+8192, 3*mib); got != 3*mib {
			t.Errorf("of what was in the page cache before %d bytes are left", got)
		}
		if stats.ColdBytes > uint64(len(f.data))+mib || stats.ColdSteps > 60 {
			t.Errorf("read %d bytes in %d steps of a file of %d", stats.ColdBytes, stats.ColdSteps, len(f.data))
		}
		if stats.Rungs[RungHot].Bytes == 0 {
			t.Error("what was in the page cache was read all the same")
		}
	})
}

// TestColdStepsAreShared: consumers at one place read it once.
func TestColdStepsAreShared(t *testing.T) {
	f := newTestFile(t, 16<<20)
	f.drop(t)
	s := serve(t, Config{}, newFileServer(f))
	conns := []*net.TCPConn{s.dial(), s.dial(), s.dial()}
	for off := 0; off < len(f.data); off += 1 << 20 {
		var wait sync.WaitGroup
		for _, c := range conns {
			wait.Go(func() {
				if err := f.fetch(c, off, 1<<20); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	}
	stats := s.stats(0)
	if stats.ColdBytes > uint64(len(f.data))*5/4 || stats.ColdStepsShared < 16 {
		t.Errorf("three consumers read %d bytes of a file of %d, %d steps shared", stats.ColdBytes, len(f.data), stats.ColdStepsShared)
	}
}

// TestColdRate: the lane keeps to its pace, and changes it at once.
func TestColdRate(t *testing.T) {
	f := newTestFile(t, 12<<20)
	f.drop(t)
	s := serve(t, Config{}, newFileServer(f))
	c := s.dial()
	s.on(0, func(c *Core) { c.SetColdRate(20 << 20) })
	start := time.Now()
	for off := 0; off < 6<<20; off += 1 << 20 {
		if err := f.fetch(c, off, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("6 MiB at 20 MiB/s took %s", took)
	}
	s.on(0, func(c *Core) { c.SetColdRate(1) }) // as good as never
	done := make(chan error)
	go func() {
		c := s.dial()
		for off := 8 << 20; off < 12<<20; off += 1 << 20 {
			if err := f.fetch(c, off, 1<<20); err != nil {
				done <- err
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		t.Fatalf("4 MiB at a byte a second arrived: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	s.on(0, func(c *Core) { c.SetColdRate(0) })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestColdWithoutMemory: one step serves any number of consumers, also when the
// arena has nothing left.
func TestColdWithoutMemory(t *testing.T) {
	const ranges = 24
	f := newTestFile(t, ranges<<20)
	f.drop(t)
	s := serve(t, Config{Limits: Limits{ColdBytes: 1, ArenaBytes: 16 << 20}}, newFileServer(f))
	conns := make([]*net.TCPConn, ranges)
	for i := range conns {
		conns[i] = s.dial()
	}
	var held []*Block
	s.on(0, func(c *Core) {
		for b := c.Arena.allocReceive(1 << 20); b != nil; b = c.Arena.allocReceive(1 << 20) {
			held = append(held, b)
		}
	})
	var wait sync.WaitGroup
	for i, c := range conns {
		wait.Go(func() {
			for off := i << 20; off < (i+1)<<20; off += 1 << 18 {
				if err := f.fetch(c, off, 1<<18); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	s.on(0, func(c *Core) {
		if len(c.cold.steps) != 1 || !c.cold.lent {
			t.Errorf("%d steps, the reserve lent: %t", len(c.cold.steps), c.cold.lent)
		}
		for _, b := range held {
			b.Release()
		}
	})
}

// TestColdMemoryIsGivenBack: what was read ahead and what was kept to be shared
// does not stay for ever.
func TestColdMemoryIsGivenBack(t *testing.T) {
	f := newTestFile(t, 8<<20)
	f.drop(t)
	s := serve(t, Config{Limits: Limits{ColdIdleNanos: int64(300 * time.Millisecond)}}, newFileServer(f))
	c := s.dial()
	for off := range 3 {
		if err := f.fetch(c, off<<20, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	s.eventually(0, "read ahead", func(c *Core) bool { return c.Stats.ColdBytes > 3<<20 })
	s.eventually(0, "given back", func(c *Core) bool { return c.Arena.InUse() == 0 && c.cold.held == 0 && f.refs.Load() == 0 })
	if err := f.fetch(c, 3<<20, 1<<20); err != nil { // and on from there
		t.Fatal(err)
	}
	// Who goes away takes what was read ahead for it along.
	for off := 4; off < 6; off++ {
		if err := f.fetch(c, off<<20, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	before := s.stats(0).ColdStepsWasted
	c.Close()
	s.eventually(0, "closed", func(c *Core) bool { return len(c.conns) == 0 && c.cold.live == 0 && c.cold.reading == 0 })
	t.Logf("%d steps wasted", s.stats(0).ColdStepsWasted-before)
}

// TestColdBytesAreThere: a plan finds what was read ahead in the lane.
func TestColdBytesAreThere(t *testing.T) {
	f := newTestFile(t, 8<<20)
	f.drop(t)
	s := serve(t, Config{}, newFileServer(f))
	c := s.dial()
	for off := range 2 {
		if err := f.fetch(c, off<<20, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	s.eventually(0, "read ahead", func(c *Core) bool {
		b := c.ColdBytes(f, 2<<20+12345)
		if len(b) > 0 && string(b) != string(f.data[2<<20+12345:][:len(b)]) {
			t.Error("other bytes")
		}
		return len(b) > 0
	})
	s.on(0, func(c *Core) {
		if b := c.ColdBytes(f, 7<<20); b != nil {
			t.Errorf("%d bytes of what was not read", len(b))
		}
		if b := c.ColdBytes(newTestFile(t, 10), 2<<20); b != nil {
			t.Errorf("%d bytes of another file", len(b))
		}
	})
}

// failingReads is a kernel whose disk fails: ring reads of files longer than a page
// end with EIO, as do those of a process's memory where nothing is mapped.
type failingReads struct {
	ring.Kernel
	memory  int
	mapping *ring.Mapping
}

func (k *failingReads) Setup(entries uint32, p *ring.Params) (*ring.Mapping, error) {
	m, err := k.Kernel.Setup(entries, p)
	k.mapping = m
	return m, err
}

func (k *failingReads) Enter(fd int, submit, minComplete, flags uint32, arg *ring.GetEventsArg) (int, syscall.Errno) {
	m := k.mapping
	for i := range submit {
		s := &m.SQEs[(*m.SQHead+i)&m.SQMask]
		if s.Opcode == ring.OpRead && s.Len >= pageBytes {
			s.FD, s.Off, s.OpFlags = int32(k.memory), 0, 0
		}
		if s.Opcode == ring.OpSplice && s.Addr != ring.CurrentPosition { // from a file: memory cannot be spliced from
			s.SpliceFD = int32(k.memory)
		}
	}
	return k.Kernel.Enter(fd, submit, minComplete, flags, arg)
}

// TestBulkReadErrors: a file that a splice cannot read is no fault of the socket, and is counted as what it is.
func TestBulkReadErrors(t *testing.T) {
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	f := newTestFile(t, 4<<20)
	s := serve(t, Config{Kernel: &failingReads{Kernel: ring.NewLinux(), memory: int(memory.Fd())}, Level: ring.Level61, Rung: RungBulk}, newFileServer(f))
	c := s.dial()
	if _, err := c.Write(ask(100, 3<<20)); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(c); len(got) > 5 {
		t.Errorf("%d bytes came (%v)", len(got), err)
	}
	if stats := s.stats(0); stats.FileReadErrors != 1 || stats.LastFileError == 0 || stats.UnexpectedErrors != 0 {
		t.Errorf("counted %d errors, the last %v; %d unexpected", stats.FileReadErrors, stats.LastFileError, stats.UnexpectedErrors)
	}
	s.stop()
	if n := f.refs.Load(); n != 0 {
		t.Errorf("%d references to the file are left", n)
	}
}

// TestColdReadErrors: a consumer whose bytes cannot be read is closed, not kept
// waiting and not sent anything else, and the core goes on.
func TestColdReadErrors(t *testing.T) {
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	var one [1]byte
	if _, err := unix.Pread(int(memory.Fd()), one[:], 0); err != unix.EIO {
		t.Skipf("needs /proc/self/mem to answer EIO: %v", err)
	}
	f := newTestFile(t, 4<<20)
	f.drop(t)
	s := serve(t, Config{Kernel: &failingReads{Kernel: ring.NewLinux(), memory: int(memory.Fd())}, Level: ring.Level61}, newFileServer(f))
	for range 3 {
		c := s.dial()
		if _, err := c.Write(ask(100, 3<<20)); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if got, err := io.ReadAll(c); len(got) > 5 {
			t.Errorf("%d bytes came (%v)", len(got), err)
		}
	}
	stats := s.stats(0)
	if stats.ColdReadErrors < 3 || stats.LastColdError != unix.EIO {
		t.Errorf("counted %d errors, the last %v", stats.ColdReadErrors, stats.LastColdError)
	}
	c := s.dial()
	if _, err := c.Write([]byte{0, 0, 0, 0}); err != nil { // no file at all
		t.Fatal(err)
	}
	if got, err := readFrame(c, make([]byte, 4)); err != nil || string(got[4:]) != "e" {
		t.Errorf("%q, %v", got, err)
	}
	s.stop()
	if n := f.refs.Load(); n != 0 {
		t.Errorf("%d references to the file are left", n)
	}
}
