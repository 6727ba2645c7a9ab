package reactor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// wantClosed waits for the server to close c.
func wantClosed(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
		t.Fatalf("after %d bytes: %v, want the connection closed", n, err)
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// TestBadLengths closes only the connection that sent them, and counts why.
func TestBadLengths(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level, Limits: Limits{MaxFrameBytes: 1 << 20}}, newEcho(echoAtOnce))
		good := s.dial()
		for _, length := range []int32{-1, -2147483648, 1<<20 + 1, 2147483647} {
			for _, before := range [][]byte{nil, frame(1, 100), frame(2, 100_000)} {
				c := s.dial()
				b := binary.BigEndian.AppendUint32(append([]byte{}, before...), uint32(length))
				if _, err := c.Write(append(b, "rest"...)); err != nil {
					t.Fatal(err)
				}
				wantClosed(t, c)
			}
		}
		for _, n := range []int{0, 1, 1 << 20} { // the largest and the smallest are served
			if err := exchange(good, [][]byte{frame(3, n)}, 1); err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
		if stats := s.stats(0); stats.FramesNegative != 6 || stats.FramesTooLarge != 6 {
			t.Errorf("counted %d negative and %d too large, want 6 and 6", stats.FramesNegative, stats.FramesTooLarge)
		}
	})
}

// TestSlowReader: a peer that does not read is held back, not buffered for, and
// gets everything once it reads; others do not notice.
func TestSlowReader(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		for _, size := range []int{100, 50_000} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				limits := Limits{MaxPendingBytesPerConn: 128 << 10, MaxPendingRequestsPerConn: 64, ArenaBytes: 64 << 20, MaxFrameBytes: 1 << 20}
				svc := newEcho(echoAtOnce)
				// Little room in the socket, too: Linux lets a peer without room for
				// small packets acknowledge only as fast as its window is probed.
				svc.service.opened = func(c *Conn) {
					if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10); err != nil {
						t.Error(err)
					}
				}
				s := serve(t, Config{Level: level, Limits: limits}, svc)
				slow, good := s.dialSlow(64<<10), s.dial()
				n := min(24<<20/size, 50_000)
				written := make(chan error, 1)
				go func() {
					for i := range n {
						if _, err := slow.Write(frame(i, size)); err != nil {
							written <- err
							return
						}
					}
					written <- nil
				}()
				s.eventually(0, "back-pressure", func(c *Core) bool { return c.Stats.DispatchPaused > 0 })
				for i := range 20 {
					if err := exchange(good, [][]byte{frame(i, 1000)}, 1); err != nil {
						t.Fatal(err)
					}
				}
				s.on(0, func(c *Core) {
					if c.Arena.InUse() > 1<<20 {
						t.Errorf("%d bytes in use for one slow reader", c.Arena.InUse())
					}
				})
				buf := make([]byte, 4)
				slow.SetReadDeadline(time.Now().Add(60 * time.Second))
				for i := range n {
					got, err := readFrame(slow, buf)
					if err != nil || string(got) != string(frame(i, size)) {
						t.Fatalf("echo %d of %d: %v", i, n, err)
					}
					buf = got
				}
				if err := <-written; err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// TestManyConnections serves hundreds at once from few provided buffers.
func TestManyConnections(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		limits := Limits{ProvidedBuffers: 16, ProvidedBufferBytes: 4096, SQEntries: 64}
		s := serve(t, Config{Level: level, Limits: limits}, newEcho(echoEndTurn), newEcho(echoLate))
		var wait sync.WaitGroup
		for i := range 400 {
			c := s.dial()
			wait.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 1))
				var frames [][]byte
				for j := range 10 {
					frames = append(frames, frame(i<<8|j, r.IntN(9000)))
				}
				if err := exchange(c, frames, uint64(i)); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			})
		}
		wait.Wait()
	})
}

// TestBuffersExhausted holds every provided buffer under a parked request: others
// are served from the arena.
func TestBuffersExhausted(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		var parked []*Request
		svc := &service{}
		svc.request = func(r *Request) Disposition {
			if r.Payload[0] == 'p' {
				parked = append(parked, r)
				return Hold
			}
			echoFrame(r)
			return Next
		}
		svc.started = func(*Core) {
			for _, r := range parked {
				echoFrame(r)
			}
		}
		limits := Limits{ProvidedBuffers: 4, CopyOutBytes: 1}
		s := serve(t, Config{Level: level, Limits: limits}, svc)
		park := frame(1, 5000)
		park[4] = 'p'
		for range 20 {
			if _, err := s.dial().Write(park); err != nil {
				t.Fatal(err)
			}
		}
		s.eventually(0, "all are parked", func(*Core) bool { return len(parked) == 20 })
		other := frame(2, 5000)
		other[4] = 'o'
		for range 8 {
			if err := exchange(s.dial(), [][]byte{other, other}, 1); err != nil {
				t.Fatal(err)
			}
		}
		s.on(0, func(c *Core) {
			if c.provided != nil && c.Stats.BuffersExhausted == 0 {
				t.Error("the buffers were not exhausted")
			}
		})
	})
}

// TestCopyOut: small parked requests do not hold whole buffers.
func TestCopyOut(t *testing.T) {
	var parked []*Request
	svc := &service{request: func(r *Request) Disposition { parked = append(parked, r); return Hold }}
	svc.started = func(*Core) {
		for _, r := range parked {
			echoFrame(r)
		}
	}
	s := serve(t, Config{Limits: Limits{ProvidedBuffers: 8}}, svc)
	for i := range 50 {
		if _, err := s.dial().Write(frame(i, 100)); err != nil {
			t.Fatal(err)
		}
	}
	s.eventually(0, "all are parked", func(*Core) bool { return len(parked) == 50 })
	s.on(0, func(c *Core) {
		if c.provided != nil && c.provided.home < 3 {
			t.Errorf("50 small parked requests left %d of 8 buffers", c.provided.home)
		}
	})
}

// TestArenaExhausted: with hardly any memory connections take turns; all are
// served in the end.
func TestArenaExhausted(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		limits := Limits{ArenaBytes: 24 << 20, ProvidedBuffers: 16, MaxFrameBytes: 2 << 20}
		s := serve(t, Config{Level: level, Limits: limits}, newEcho(echoEndTurn))
		var wait sync.WaitGroup
		for i := range 24 {
			c := s.dial()
			wait.Go(func() {
				var frames [][]byte
				for j := range 6 {
					frames = append(frames, frame(i<<8|j, 1<<20+j*100))
				}
				if err := exchange(c, frames, uint64(i)); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			})
		}
		wait.Wait()
		stats := s.stats(0)
		t.Logf("allocations refused %d, receives without memory %d", stats.AllocationsRefused, stats.ReceiveNoMemory)
	})
}

// TestResets aborts connections in every state: nothing leaks, others are served.
func TestResets(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		for how := range echoKinds {
			t.Run(how.String(), func(t *testing.T) {
				s := serve(t, Config{Level: level, Limits: Limits{ArenaBytes: 64 << 20, MaxFrameBytes: 8 << 20}}, newEcho(how))
				good := s.dial()
				r := rand.New(rand.NewPCG(11, uint64(how)))
				for i := range 36 {
					c := s.dialSlow(4096 << (i % 5))
					c.SetLinger(0) // Close resets
					switch i % 6 {
					case 1: // inside a prefix
						c.Write([]byte{0, 0})
					case 2: // inside a small frame
						c.Write(frame(i, 1000)[:500])
					case 3: // inside a large one
						c.Write(frame(i, 3<<20)[:1+r.IntN(2<<20)])
					case 4: // with responses on the way
						for range 20 {
							c.Write(frame(i, r.IntN(20_000)))
						}
					case 5: // with responses stuck
						c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
						for range 100 {
							if _, err := c.Write(frame(i, 100_000)); err != nil {
								break
							}
						}
					}
					if r.IntN(2) == 0 {
						time.Sleep(time.Duration(r.IntN(2000)) * time.Microsecond)
					}
					if i%7 == 0 {
						c.SetLinger(-1)
					}
					c.Close()
				}
				if err := exchange(good, mixedFrames(1, 20), 1); err != nil {
					t.Error(err)
				}
				s.eventually(0, "the others are gone", func(c *Core) bool { return len(c.conns) == 1 })
			})
		}
	})
}

// TestHalfClose: a peer that has sent its last still gets its answers, and then
// the end.
func TestHalfClose(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		for how := range echoKinds {
			s := serve(t, Config{Level: level}, newEcho(how))
			c := s.dial()
			var sent []byte
			for i := range 50 {
				sent = append(sent, frame(i, 3000)...)
			}
			sent = append(sent, frame(99, 40_000)...)
			if _, err := c.Write(append(sent, 0, 0, 1)); err != nil { // and a piece of a frame
				t.Fatal(err)
			}
			c.CloseWrite()
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			got, err := io.ReadAll(c)
			if err != nil || string(got) != string(sent) {
				t.Fatalf("%s: got %d bytes of %d, %v", how, len(got), len(sent), err)
			}
			s.eventually(0, "closed", func(c *Core) bool { return len(c.conns) == 0 && c.Stats.FramesCutShort == 1 })
			s.stop()
		}
	})
}

// TestMaxConnections closes those over the limit at once and counts them.
func TestMaxConnections(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level, Limits: Limits{MaxConnections: 3}}, newEcho(echoAtOnce))
		var in []*net.TCPConn
		for i := range 3 {
			c := s.dial()
			if err := exchange(c, [][]byte{frame(i, 10)}, 1); err != nil {
				t.Fatal(err)
			}
			in = append(in, c)
		}
		wantClosed(t, s.dial())
		wantClosed(t, s.dial())
		in[0].Close()
		s.eventually(0, "one left", func(c *Core) bool { return len(c.conns) == 2 })
		if err := exchange(s.dial(), [][]byte{frame(9, 10)}, 1); err != nil {
			t.Fatal(err)
		}
		if stats := s.stats(0); stats.ConnectionsRefused != 2 {
			t.Errorf("refused %d, want 2", stats.ConnectionsRefused)
		}
	})
}

// TestNoDescriptors: out of descriptors the core pauses accepting and goes on
// when there are some.
func TestNoDescriptors(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	// The kernel notes the limit when an accept is armed: lower it before.
	tight := before
	tight.Cur = 500
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &tight); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level}, newEcho(echoAtOnce))
		s.on(0, func(*Core) {}) // it has started
		client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(client)
		var fill []int
		for fd, err := unix.Dup(client); err == nil; fd, err = unix.Dup(client) {
			fill = append(fill, fd)
		}
		addr := &unix.SockaddrInet4{Port: int(s.addr.Port()), Addr: s.addr.Addr().As4()}
		err = unix.Connect(client, addr)
		if err == nil {
			s.eventually(0, "accepts pause", func(c *Core) bool { return c.Stats.AcceptPauses >= 2 })
		}
		for _, fd := range fill {
			unix.Close(fd)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.eventually(0, "accepted after all", func(c *Core) bool { return len(c.conns) == 1 })
	})
}

// TestIdle closes idle connections, and not those that wait for the service.
func TestIdle(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		var parked *Request
		svc := &service{}
		svc.request = func(r *Request) Disposition { parked = r; return Hold }
		s := serve(t, Config{Level: level, Limits: Limits{IdleNanos: int64(30 * time.Millisecond)}}, svc)
		idle, waits := s.dial(), s.dial()
		if _, err := waits.Write(frame(1, 10)); err != nil {
			t.Fatal(err)
		}
		wantClosed(t, idle)
		time.Sleep(100 * time.Millisecond)
		s.on(0, func(*Core) { echoFrame(parked) })
		if got, err := readFrame(waits, make([]byte, 4)); err != nil || string(got) != string(frame(1, 10)) {
			t.Fatalf("the answer of a parked request: %v", err)
		}
		wantClosed(t, waits)
		if stats := s.stats(0); stats.ConnectionsIdle != 2 {
			t.Errorf("%d closed for idleness, want 2", stats.ConnectionsIdle)
		}
	})
}

// TestBackToQuiet: a direct connection that idles, or whose frames become small,
// gives its memory back.
func TestBackToQuiet(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level, Limits: Limits{DirectIdleNanos: int64(20 * time.Millisecond)}}, newEcho(echoAtOnce))
		c := s.dial()
		for round := range 3 {
			if err := exchange(c, [][]byte{frame(round, 1<<20)}, 1); err != nil {
				t.Fatal(err)
			}
			s.eventually(0, "quiet", func(c *Core) bool {
				return c.Arena.InUse() == 0 && !c.conns[0].receive.direct && c.conns[0].receive.op != 0
			})
		}
	})
	s := serve(t, Config{}, newEcho(echoAtOnce))
	c := s.dial()
	for i := range 40 {
		size := 100
		if i == 0 {
			size = 100_000
		}
		if err := exchange(c, [][]byte{frame(i, size)}, 1); err != nil {
			t.Fatal(err)
		}
	}
	s.on(0, func(c *Core) {
		if c.provided != nil && c.conns[0].receive.direct {
			t.Error("still direct after many small frames")
		}
	})
}

// TestStarved: a connection that holds memory for a frame that never comes is
// closed when others wait for memory.
func TestStarved(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		limits := Limits{ArenaBytes: 16 << 20, ProvidedBuffers: 16, MaxFrameBytes: 7 << 20, StarvedNanos: int64(30 * time.Millisecond), DirectIdleNanos: int64(10 * time.Millisecond)}
		s := serve(t, Config{Level: level, Limits: limits}, newEcho(echoAtOnce))
		var stuck []*net.TCPConn
		for i := range 3 {
			c := s.dial()
			if _, err := c.Write(frame(i, 6<<20)[:100_000]); err != nil {
				t.Fatal(err)
			}
			stuck = append(stuck, c)
		}
		if err := exchange(s.dial(), [][]byte{frame(9, 6<<20)}, 1); err != nil {
			t.Fatal(err)
		}
		if stats := s.stats(0); stats.ConnectionsStarved == 0 {
			t.Error("nobody was closed")
		}
		_ = stuck
	})
}
