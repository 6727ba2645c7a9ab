package simtest

import (
	"math/rand/v2"
	"strings"
	"testing"

	"slipstream/internal/sim"
)

// What a plan's faults may be about: files, by a part of their paths.
var (
	dataPaths  = []string{"/durable-0/", "/lazy-0/", "/table-0/", "/window-0/", "/durable-", "-0/", ".log"}
	otherPaths = []string{"__cluster_metadata", "checkpoint", ".snapshot", ".index", ".timeindex"}
	rotPaths   = []string{"/durable-", "/lazy-0/", "/table-0/", "/window-0/", "index", ".snapshot"}
)

// drawPlan draws what will go wrong in a story of about so many nanoseconds.
func drawPlan(seed uint64, nanos int64) (plan []sim.Fault) {
	r := rand.New(rand.NewPCG(seed, 55))
	for id := range r.IntN(7) {
		f := sim.Fault{ID: id, Kind: sim.FaultKinds[r.IntN(len(sim.FaultKinds))], From: r.Int64N(nanos), For: 1e6 + r.Int64N(nanos/2)}
		if r.IntN(3) == 0 {
			f.Skip = r.IntN(12)
		}
		switch f.Kind {
		case sim.FaultReadError, sim.FaultWriteError, sim.FaultSyncError:
			f.Count = 1 + r.IntN(3)
			f.Path = drawPath(r, true)
			f.For += nanos
			if f.Kind == sim.FaultReadError {
				f.Skip, f.Count = r.IntN(8), 1+r.IntN(6) // what is not in the page cache is read by starts above all, and each reads several files
				f.Path = []string{".log", f.Path}[r.IntN(2)]
			}
		case sim.FaultNoSpace:
			f.Skip = 0
			f.Path = []string{"", drawPath(r, true)}[r.IntN(2)]
		case sim.FaultSlow:
			f.Path, f.Count, f.By = drawPath(r, true), 1+r.IntN(20), 1e6+r.Int64N(1<<r.IntN(32)+1)
		case sim.FaultWrongRead, sim.FaultWrongWrite, sim.FaultRot:
			f.Path, f.Count = rotPaths[r.IntN(len(rotPaths))], 1
			f.For += nanos / 2
		case sim.FaultClock:
			f.By = (r.Int64N(2<<r.IntN(47)) + 1) * int64(1-2*r.IntN(2)) // up to some 39 hours, either way
			f.By = min(max(f.By, -20*3600e9), 20*3600e9)
			f.Skip, f.For = 0, 0
		case sim.FaultReset, sim.FaultHalfClose, sim.FaultStall:
			f.Skip, f.Count = 0, 1+r.IntN(4)
		case sim.FaultStorm:
			f.Skip, f.Count = 0, 1+r.IntN(90)
		}
		plan = append(plan, f)
	}
	return plan
}

func drawPath(r *rand.Rand, other bool) string {
	if other && r.IntN(3) == 0 {
		return otherPaths[r.IntN(len(otherPaths))]
	}
	return dataPaths[r.IntN(len(dataPaths))]
}

// planText is a plan as PLAN takes it.
func planText(plan []sim.Fault) string {
	var b strings.Builder
	for i, f := range plan {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(f.String())
	}
	return b.String()
}

func TestPlansAreReadAsWritten(t *testing.T) {
	for seed := range uint64(200) {
		for _, f := range drawPlan(seed, 300e6) {
			got, err := sim.ParseFault(f.String())
			if err != nil || got != f {
				t.Errorf("%s is read as %s, %v", f, got, err)
			}
		}
	}
	for _, bad := range []string{"", "sync", "rot,from", "rot,from=1", "rot,size=3", "rot,count=x"} {
		if f, err := sim.ParseFault(bad); err == nil {
			t.Errorf("%q is read as %s", bad, f)
		}
	}
}
