package broker

import (
	"testing"
	"time"

	"slipstream/internal/regret"
	"slipstream/reactor"
	"slipstream/ring"
)

// pushing is an observer whose evictions the test makes up.
type pushing struct {
	reactor.Unobserved
	cold, others uint64
	seen         bool
}

func (p *pushing) TailEvictions() (cold, others uint64, seen bool) { return p.cold, p.others, p.seen }

// regretTest is a core that nobody turns but the test.
type regretTest struct {
	core *reactor.Core
	g    *regretting
	o    *pushing
}

type noService struct{}

func (noService) Opened(*reactor.Conn)                         {}
func (noService) Request(*reactor.Request) reactor.Disposition { return reactor.Next }
func (noService) Closed(*reactor.Conn)                         {}
func (noService) EndTurn(*reactor.Core)                        {}

func newRegretTest(t *testing.T) *regretTest {
	t.Helper()
	k, err := ring.Open("linux")
	if err != nil {
		t.Fatal(err)
	}
	r := &regretTest{o: &pushing{seen: true}}
	r.core = reactor.NewCore(reactor.Config{Kernel: k, Observer: r.o, Limits: reactor.Limits{ArenaBytes: 64 << 20}}, noService{})
	s := &Shard{core: r.core}
	r.g = &regretting{shard: s, limits: regret.Defaults()}
	return r
}

// step lets a tenth of a second pass in which so much was read and pushed out.
func (r *regretTest) step(coldBytes, pushed, misses uint64) {
	r.core.Stats.ColdBytes += coldBytes
	r.core.Stats.TailMisses += misses
	r.o.cold += pushed
	r.core.Now += int64(100 * time.Millisecond)
	if r.g.timer.Armed() {
		r.core.Cancel(&r.g.timer)
		r.g.Fire(&r.g.timer)
	} else {
		r.g.watch()
	}
}

// TestRegretSlowsTheColdLane: what the controller decides reaches the lane, for
// the evictions of its own readers only, and is gone when they are.
func TestRegretSlowsTheColdLane(t *testing.T) {
	r := newRegretTest(t)
	if r.step(0, 0, 0); r.g.timer.Armed() {
		t.Fatal("it watches a core that reads nothing cold")
	}
	r.step(1<<20, 0, 0)
	if !r.g.timer.Armed() {
		t.Fatal("it does not watch a core that reads cold")
	}
	r.o.others = 500
	if r.step(100<<20, 0, 7); r.core.ColdRate() != 0 {
		t.Fatalf("slowed down to %d for what others did", r.core.ColdRate())
	}
	if r.step(100<<20, 12, 0); r.core.ColdRate() != 500<<20 {
		t.Fatalf("rate %d after evictions at 1000 MiB/s, want half", r.core.ColdRate())
	}
	r.o.seen = false
	if r.step(50<<20, 12, 0); r.core.ColdRate() != 500<<20 {
		t.Fatalf("rate %d: evictions count that nobody can see", r.core.ColdRate())
	}
	if r.step(50<<20, 0, 1); r.core.ColdRate() != 250<<20 {
		t.Fatalf("rate %d after a tail miss that nobody can attribute", r.core.ColdRate())
	}
	for range 40 {
		r.step(0, 0, 0)
	}
	if r.core.ColdRate() != 0 || r.g.timer.Armed() {
		t.Fatalf("rate %d, still watching: %v, long after the last cold read", r.core.ColdRate(), r.g.timer.Armed())
	}
	if r.g.state.Slowed != 2 {
		t.Errorf("slowed %d times, want 2", r.g.state.Slowed)
	}
}
