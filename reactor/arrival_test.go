package reactor

import (
	"net/netip"
	"testing"
	"time"

	"slipstream/ring"
)

// keeper is a service that thinks about everybody who arrives.
type keeper struct {
	*echo
	waiting []*Arrival
}

func (k *keeper) Arrived(*Core, netip.AddrPort) Verdict { return Undecided }
func (k *keeper) Decide(a *Arrival)                     { k.waiting = append(k.waiting, a) }

// TestArrivals: sockets wait for a verdict, no more than so many at a time, the others in the backlog; who is admitted
// is served, who is refused is closed, at once or later; draining closes the rest.
func TestArrivals(t *testing.T) {
	levels(t, func(t *testing.T, level ring.Level) {
		k := &keeper{echo: newEcho(echoAtOnce)}
		s := serve(t, Config{Level: level, Limits: Limits{MaxArrivals: 2}}, k)
		a, b := s.dial(), s.dial()
		s.eventually(0, "two wait", func(c *Core) bool { return len(c.arrivals) == 2 && len(k.waiting) == 2 && c.listeners[0].op == 0 })
		c := s.dial()
		time.Sleep(20 * time.Millisecond)
		s.on(0, func(core *Core) {
			if len(k.waiting) != 2 || core.Connections() != 0 {
				t.Errorf("%d wait, %d are connections", len(k.waiting), core.Connections())
			}
			if k.waiting[0].Admit() == nil {
				t.Error("not admitted")
			}
			k.waiting[1].RefuseAfter(int64(50 * time.Millisecond))
			k.waiting = nil
		})
		begun := time.Now()
		if err := exchange(a, [][]byte{frame(1, 100)}, 1); err != nil {
			t.Error(err)
		}
		wantClosed(t, b)
		if took := time.Since(begun); took < 30*time.Millisecond {
			t.Errorf("refused after %v, want 50 ms", took)
		}
		s.eventually(0, "the third arrives", func(*Core) bool { return len(k.waiting) == 1 })
		s.on(0, func(*Core) { k.waiting[0].Refuse() })
		wantClosed(t, c)
		last := s.dial()
		s.eventually(0, "another arrives", func(*Core) bool { return len(k.waiting) == 2 })
		a.Close()
		s.stop()
		wantClosed(t, last)
		if k.waiting[1].Admit() != nil {
			t.Error("admitted by a core that has stopped")
		}
	})
}
