package reactor

import (
	"io"
	"runtime"
	"testing"

	"slipstream/ring"
)

// TestNoAllocationPerRequest counts allocations of whole round trips over
// loopback, client and core together, in each way of receiving and sending.
func TestNoAllocationPerRequest(t *testing.T) {
	if invariants {
		t.Skip("invariants give each allocation a new Block")
	}
	file := newTestFile(t, 1<<20)
	ask := append([]byte{0, 0, 0, 16}, make([]byte, 16)...)
	ask[4+13] = 1 // bytes 0 to 65536 of the file
	levels(t, func(t *testing.T, level ring.Level) {
		for _, c := range []struct {
			name     string
			svc      Service
			out      []byte
			in       int
			pipeline int
		}{
			{"small, quiet", newEcho(echoAtOnce), frame(1, 1000), 1004, 1},
			{"small, pipelined", newEcho(echoEndTurn), frame(1, 1000), 1004, 16},
			{"16 KiB, direct", newEcho(echoEndTurn), frame(1, 16<<10+100), 16<<10 + 104, 8},
			{"held by a timer", newEcho(echoHeld), frame(1, 1000), 1004, 2},
			{"a file", newFileServer(file), ask, 4 + 1 + 65536 + 1, 2},
		} {
			t.Run(c.name, func(t *testing.T) {
				s := serve(t, Config{Level: level}, c.svc)
				conn := s.dial()
				out, in := make([]byte, 0, c.pipeline*len(c.out)), make([]byte, c.pipeline*c.in)
				for range c.pipeline {
					out = append(out, c.out...)
				}
				step := func() {
					if _, err := conn.Write(out); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(conn, in); err != nil {
						t.Fatal(err)
					}
				}
				for range 300 { // pools fill
					step()
				}
				const runs = 500
				n := testing.AllocsPerRun(runs, step)
				if n > 0 {
					t.Errorf("%v allocations per round trip of %d requests", n, c.pipeline)
				}
			})
		}
	})
}

// TestIdleConnectionsAreCheap opens many connections and looks at what they cost
// in Go memory and arena.
func TestIdleConnectionsAreCheap(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		s := serve(t, Config{Level: level}, newEcho(echoAtOnce))
		const n = 2000
		var before, after runtime.MemStats
		s.dial()
		s.eventually(0, "opened", func(c *Core) bool { return len(c.conns) == 1 })
		runtime.GC()
		runtime.ReadMemStats(&before)
		conns := make([]int, 0, n)
		for range n {
			conns = append(conns, rawDial(t, s))
		}
		s.eventually(0, "all are open", func(c *Core) bool { return len(c.conns) == n+1 })
		runtime.GC()
		runtime.ReadMemStats(&after)
		each := int(after.HeapAlloc-before.HeapAlloc) / n
		t.Logf("%d bytes of heap per idle connection", each)
		if each > 1024 {
			t.Errorf("an idle connection costs %d bytes of heap, want at most 1024", each)
		}
		s.on(0, func(c *Core) {
			if c.Arena.InUse() != 0 {
				t.Errorf("idle connections hold %d bytes of the arena", c.Arena.InUse())
			}
		})
		closeAll(conns)
		s.eventually(0, "all are gone", func(c *Core) bool { return len(c.conns) == 1 })
	})
}
