package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"

	"slipstream/internal/sim"
	"slipstream/ring"
)

// closedFiles reads the indexes of the closed segments; nil: there is none.
func (x *simRig) closedIndexes(k ring.Kernel) map[string][]byte {
	x.t.Helper()
	all := map[string][]byte{}
	for _, s := range x.p.segments[:len(x.p.segments)-1] {
		for _, suffix := range []string{indexSuffix, timeIndexSuffix, txnIndexSuffix} {
			name := fileName(s.base, suffix)
			b, err := ReadFile(k, simDir+"/"+name, 1<<20)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				x.t.Fatal(err)
			}
			all[name] = b
		}
	}
	return all
}

// damageIndexes takes away or spoils indexes of closed segments, so that each segment shows it.
func (x *simRig) damageIndexes(k ring.Kernel) {
	x.t.Helper()
	for _, s := range x.p.segments[:len(x.p.segments)-1] {
		path := func(suffix string) string { return simDir + "/" + fileName(s.base, suffix) }
		var err error
		switch x.rng.IntN(4) {
		case 0:
			err = removeFile(k, path(indexSuffix))
		case 1:
			err = errors.Join(removeFile(k, path(timeIndexSuffix)), removeFile(k, path(txnIndexSuffix)))
		case 2:
			err = replaceFile(k, path(txnIndexSuffix), []byte("no index"))
		case 3:
			err = errors.Join(replaceFile(k, path(indexSuffix), []byte{1, 2, 3}), removeFile(k, path(txnIndexSuffix)))
		}
		if err != nil {
			x.t.Fatal(err)
		}
	}
	if err := k.SyncDir(simDir); err != nil {
		x.t.Fatal(err)
	}
}

// TestRebuildSurvivesPowerCuts: the power goes at any call while the indexes of closed segments are made anew, again and again; in the end
// all are as they were.
func TestRebuildSurvivesPowerCuts(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 20
	}
	crashes := 0
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			x := &simRig{t: t, w: sim.New(seed, sim.Options{LooseNames: seed%2 == 0}), rng: rand.New(rand.NewPCG(seed, 7)), cfg: txnConfig()}
			k := x.w.Kernel()
			err := x.boot(k, 0)
			for err == nil && (len(x.p.segments) < 5 || len(x.p.txns.aborting) < 2) {
				err = x.write()
			}
			closed := false
			if err == nil {
				err = x.onCore(func() { x.store.Close(func(errs []error) { closed, err = true, errors.Join(errs...) }) })
			}
			if err = errors.Join(err, x.driver.Run(60e9, func() bool { return closed })); err != nil {
				t.Fatal(err)
			}
			want, recovery := x.closedIndexes(k), x.p.Offsets().RecoveryPoint
			x.damageIndexes(k)
			for i := 0; ; i++ {
				surveyed := false
				err := x.boot(k, recovery)
				if err == nil {
					x.w.CrashAfter(1+x.rng.IntN(30*(i+1)), x.rng.IntN(4) == 0, sim.CutDrawn)
					err = x.onCore(func() { x.p.Survey(func() { surveyed = true }) })
				}
				if err == nil {
					err = x.driver.Run(60e9, func() bool { return surveyed })
				}
				if err == nil {
					break
				}
				if !errors.Is(err, sim.ErrCrashed) {
					t.Fatal(err)
				}
				crashes++
				k, x.blocks = x.w.Restart(), nil
			}
			x.w.CrashAfter(1<<30, true, sim.CutDrawn)
			if x.p.unknown != 0 {
				t.Fatalf("%d segments are not known", x.p.unknown)
			}
			for name, b := range x.closedIndexes(k) {
				if !bytes.Equal(b, want[name]) {
					t.Errorf("%s is %x, was %x", name, b, want[name])
				}
			}
			x.check(k, "after the rebuild")
		})
	}
	t.Logf("%d crashes", crashes)
	if crashes < seeds {
		t.Errorf("%d crashes in %d histories", crashes, seeds)
	}
}
