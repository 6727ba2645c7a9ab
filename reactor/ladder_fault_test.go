package reactor

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"slipstream/ring"
)

// rungs runs a test for each rung that sends from a file, forced, at each level.
func rungs(t *testing.T, test func(t *testing.T, cfg Config)) {
	levels(t, func(t *testing.T, level ring.Level) {
		for rung := RungHot; rung < RungCount; rung++ {
			t.Run(rung.String(), func(t *testing.T) { test(t, Config{Level: level, Rung: rung}) })
		}
	})
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestConsumersThatDoNotRead hold no step, no more pipes than there may be, and
// nobody up; when they go, everything comes back.
func TestConsumersThatDoNotRead(t *testing.T) {
	f := newTestFile(t, 16<<20)
	rungs(t, func(t *testing.T, cfg Config) {
		before := openDescriptors(t)
		cfg.Limits = Limits{BulkPipes: 3, ColdBytes: 2 << 20, ColdIdleNanos: int64(50 * time.Millisecond)}
		s := serve(t, cfg, newFileServer(f))
		var stuck []*net.TCPConn
		for range 12 {
			c := s.dialSlow(4096)
			if _, err := c.Write(append(ask(0, 8<<20), ask(8<<20, 8<<20)...)); err != nil {
				t.Fatal(err)
			}
			stuck = append(stuck, c)
		}
		s.eventually(0, "their sockets are full", func(c *Core) bool {
			for _, conn := range c.conns {
				if conn.send.op == 0 {
					return false
				}
			}
			return len(c.conns) == len(stuck) && c.cold.hungry.head == nil
		})
		c := s.dial()
		for off := 0; off < len(f.data); off += 2 << 20 {
			if err := f.fetch(c, off, 2<<20); err != nil {
				t.Fatal(err)
			}
		}
		s.on(0, func(c *Core) {
			if c.bulk.pipes > 3 || c.cold.held > 2 || c.Arena.InUse() > 4<<20 {
				t.Errorf("%d pipes, %d steps, %d bytes of the arena", c.bulk.pipes, c.cold.held, c.Arena.InUse())
			}
		})
		for _, c := range stuck {
			c.SetLinger(0)
			c.Close()
		}
		c.Close()
		s.eventually(0, "all are gone", func(c *Core) bool { return len(c.conns) == 0 && c.cold.held == 0 && c.cold.live == 0 })
		s.stop()
		if n := f.refs.Load(); n != 0 {
			t.Errorf("%d references to the file are left", n)
		}
		if after := openDescriptors(t); after > before+2 { // the runtime may have opened its own
			t.Errorf("%d descriptors were open before, %d are after", before, after)
		}
	})
}

// TestConsumersThatLeave close while their bytes are under way, a thousand at once:
// in mid-sendfile, in mid-splice, while a cold read is in flight.
func TestConsumersThatLeave(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 100
	}
	f := newTestFile(t, 8<<20)
	rungs(t, func(t *testing.T, cfg Config) {
		if cfg.Rung == RungCold {
			f.drop(t)
		} else {
			f.warm(t)
		}
		before := openDescriptors(t)
		cfg.Limits = Limits{ColdIdleNanos: int64(50 * time.Millisecond)}
		s := serve(t, cfg, newFileServer(f))
		var wait sync.WaitGroup
		for w := range 10 {
			wait.Go(func() {
				conns := make([]*net.TCPConn, 0, n/10)
				for i := range n / 10 {
					c := s.dial()
					if _, err := c.Write(ask(i%7<<20, 1<<20+i)); err != nil {
						t.Error(err)
					}
					conns = append(conns, c)
				}
				for i, c := range conns {
					if i%3 == 0 {
						io.ReadFull(c, make([]byte, 1+i*1000))
					}
					if (i+w)%2 == 0 {
						c.SetLinger(0)
					}
					c.Close()
				}
			})
		}
		wait.Wait()
		s.eventually(0, "all are gone", func(c *Core) bool { return len(c.conns) == 0 && c.cold.held == 0 && c.cold.live == 0 })
		c := s.dial()
		if err := f.fetch(c, 1000, 3<<20); err != nil {
			t.Error(err)
		}
		stats := s.stats(0)
		t.Logf("rungs %+v, %d steps (%d wasted), %d pipes closed, %d stolen", stats.Rungs, stats.ColdSteps, stats.ColdStepsWasted, stats.BulkPipesClosed, stats.BulkStolen)
		if stats.BulkPipes > s.cores[0].limits.BulkPipes {
			t.Errorf("%d pipes", stats.BulkPipes)
		}
		s.stop()
		if n := f.refs.Load(); n != 0 {
			t.Errorf("%d references to the file are left", n)
		}
		if after := openDescriptors(t); after > before+2 {
			t.Errorf("%d descriptors were open before, %d are after", before, after)
		}
	})
}

// TestPipesWithBytesAreNotReused: a consumer that goes away in mid-splice leaves
// bytes in its pipe, and the next one must not be sent them.
func TestPipesWithBytesAreNotReused(t *testing.T) {
	f := newTestFile(t, 8<<20)
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level, Rung: RungBulk, Limits: Limits{BulkPipes: 1}}, newFileServer(f))
		for i := range 10 {
			stuck := s.dialSlow(4096)
			if _, err := stuck.Write(ask(i*100, 7<<20)); err != nil {
				t.Fatal(err)
			}
			s.eventually(0, "the socket is full", func(c *Core) bool {
				return len(c.conns) == 1 && c.conns[0].send.bulk != nil && c.conns[0].send.bulk.parked
			})
			if i%2 == 0 { // its pipe goes with it; otherwise it is taken from it
				stuck.SetLinger(0)
				stuck.Close()
				s.eventually(0, "gone", func(c *Core) bool { return len(c.conns) == 0 })
			} else {
				time.Sleep(2 * stealNanos)
			}
			c := s.dial()
			if err := f.fetch(c, 12345*i, 3<<20+i); err != nil {
				t.Fatal(err)
			}
			c.Close()
			if i%2 == 1 { // it gets the rest from the file
				got := make([]byte, 7<<20)
				stuck.SetReadDeadline(time.Now().Add(30 * time.Second))
				if _, err := io.ReadFull(stuck, got[:5]); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(stuck, got); err != nil || string(got) != string(f.data[i*100:i*100+len(got)]) {
					t.Fatalf("the one whose pipe was taken: %v", err)
				}
				stuck.Close()
				s.eventually(0, "gone", func(c *Core) bool { return len(c.conns) == 0 })
			}
		}
		stats := s.stats(0)
		if stats.BulkPipesClosed < 10 || stats.BulkStolen != 5 {
			t.Errorf("%d pipes were closed, %d stolen", stats.BulkPipesClosed, stats.BulkStolen)
		}
	})
}

// TestFileCutDuringFetch truncates a file that is being sent: the connection is
// closed, and what had come was right.
func TestFileCutDuringFetch(t *testing.T) {
	rungs(t, func(t *testing.T, cfg Config) {
		f := newTestFile(t, 16<<20)
		s := serve(t, cfg, newFileServer(f))
		c := s.dialSlow(64 << 10)
		if _, err := c.Write(ask(0, 16<<20)); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 5)
		if _, err := io.ReadFull(c, head); err != nil {
			t.Fatal(err)
		}
		s.eventually(0, "the socket is full", func(c *Core) bool { return len(c.conns) == 1 && c.conns[0].send.op != 0 })
		if err := f.file.Truncate(12 << 20); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		got, err := io.ReadAll(c)
		if len(got) > 12<<20 || string(got) != string(f.data[:len(got)]) {
			t.Errorf("%d bytes came, and not the right ones (%v)", len(got), err)
		}
		s.eventually(0, "closed", func(c *Core) bool { return len(c.conns) == 0 })
		if stats := s.stats(0); stats.FilesCutShort != 1 {
			t.Errorf("%d files were cut short", stats.FilesCutShort)
		}
		s.stop()
		if n := f.refs.Load(); n != 0 {
			t.Errorf("%d references to the file are left", n)
		}
	})
}

// TestFileRemovedDuringFetch: a file without a name is sent to its end.
func TestFileRemovedDuringFetch(t *testing.T) {
	for rung := RungHot; rung < RungCount; rung++ {
		f := newTestFile(t, 8<<20)
		s := serve(t, Config{Rung: rung}, newFileServer(f))
		c := s.dialSlow(64 << 10)
		if _, err := c.Write(ask(0, 8<<20)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(f.file.Name()); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 8<<20)
		c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != string(f.data) {
			t.Errorf("%s: %v", rung, err)
		}
	}
}

// TestBulkBesideManyRequests: a connection that has sent more requests than a
// block holds gets the next receive only once those have been dispatched, also
// when it is a splice that ends.
func TestBulkBesideManyRequests(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		f := newTestFile(t, 2<<20)
		s := serve(t, Config{Level: level, Rung: RungBulk}, newFileServer(f))
		c := s.dial()
		const requests = 20_000 // 400 kB: blocks of 64 KiB are full of them
		go func() {
			var all []byte
			for range requests {
				all = append(all, ask(0, 1<<20)...)
			}
			c.Write(all) // fails when the test has seen enough and closes
		}()
		got := make([]byte, 1<<20+6)
		for i := range 64 {
			if _, err := io.ReadFull(c, got); err != nil || string(got[5:5+(1<<20)]) != string(f.data[:1<<20]) {
				t.Fatalf("response %d: other bytes, or %v", i, err)
			}
		}
	})
}
