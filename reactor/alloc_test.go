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
	one := ask(0, 65536)
	var several []byte // more steps than there is memory for: they are read again and again
	for i := range 4 {
		several = append(several, ask(i<<20+5000, 100_000)...)
	}
	cold := newTestFile(t, 5<<20)
	coldLimits := Limits{ColdBytes: 2 << 20}
	levels(t, func(t *testing.T, level ring.Level) {
		for _, c := range []struct {
			name     string
			svc      Service
			out      []byte
			in       int
			pipeline int
			rung     Rung
			limits   Limits
		}{
			{"small, quiet", newEcho(echoAtOnce), frame(1, 1000), 1004, 1, RungAuto, Limits{}},
			{"small, pipelined", newEcho(echoEndTurn), frame(1, 1000), 1004, 16, RungAuto, Limits{}},
			{"16 KiB, direct", newEcho(echoEndTurn), frame(1, 16<<10+100), 16<<10 + 104, 8, RungAuto, Limits{}},
			{"held by a timer", newEcho(echoHeld), frame(1, 1000), 1004, 2, RungAuto, Limits{}},
			{"a file", newFileServer(file), one, 4 + 1 + 65536 + 1, 2, RungAuto, Limits{}},
			{"a file by splice", newFileServer(file), one, 4 + 1 + 65536 + 1, 2, RungBulk, Limits{}},
			{"a file by the cold lane", newFileServer(cold), several, 4 * (4 + 1 + 100_000 + 1), 1, RungCold, coldLimits},
		} {
			t.Run(c.name, func(t *testing.T) {
				s := serve(t, Config{Level: level, Rung: c.rung, Limits: c.limits}, c.svc)
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
