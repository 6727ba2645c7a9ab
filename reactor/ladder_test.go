package reactor

import (
	"sync"
	"testing"
	"time"

	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// drop writes a file out and takes it out of the page cache.
func (f *testFile) drop(t testing.TB) {
	t.Helper()
	k := ring.NewLinux()
	if err := k.Sync(f.FD()); err != nil {
		t.Fatal(err)
	}
	// A page that another processor is still busy with stays.
	for try := 0; k.Absent(f.FD(), 0, len(f.data)) < len(f.data); try++ {
		if err := k.Advise(f.FD(), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if try == 1000 {
			t.Skip("needs a file system whose pages can be dropped")
		}
		time.Sleep(time.Millisecond)
	}
}

// warm brings a file into the page cache.
func (f *testFile) warm(t testing.TB) {
	t.Helper()
	if _, err := ring.NewLinux().ReadAt(f.FD(), make([]byte, len(f.data)), 0); err != nil {
		t.Fatal(err)
	}
}

// TestEachRung sends the same ranges by each rung, forced and chosen, from a file
// that is in the page cache and from one that is not.
func TestEachRung(t *testing.T) {
	f := newTestFile(t, 5<<20+777)
	levels(t, func(t *testing.T, level ring.Level) {
		for rung := range RungCount {
			t.Run(rung.String(), func(t *testing.T) {
				s := serve(t, Config{Level: level, Rung: rung, Limits: Limits{BulkBytes: 200 << 10, DirectIdleNanos: int64(3 * time.Millisecond)}}, newFileServer(f))
				for _, cold := range []bool{false, true} {
					if cold {
						f.drop(t)
					} else {
						f.warm(t)
					}
					var wait sync.WaitGroup
					for i := range 4 {
						c := s.dial()
						wait.Go(func() {
							for round := range 3 {
								if err := fileExchange(c, f, 8, uint64(i*100+round), time.Duration(i%2)*time.Millisecond); err != nil {
									t.Errorf("connection %d, round %d: %v", i, round, err)
									return
								}
							}
						})
					}
					wait.Wait()
				}
				stats := s.stats(0)
				t.Logf("%+v; cold: %d steps, %d bytes, %d shared, %d wasted, %d waits; %d residency checks, %d turned cold",
					stats.Rungs, stats.ColdSteps, stats.ColdBytes, stats.ColdStepsShared, stats.ColdStepsWasted, stats.ColdWaits, stats.ResidencyChecks, stats.HotTurnedCold)
				switch rung {
				case RungHot, RungBulk, RungCold:
					if stats.Rungs[rung].Bytes == 0 {
						t.Errorf("no bytes by the rung %s", rung)
					}
				}
				if rung == RungCold && stats.Rungs[RungHot].Bytes+stats.Rungs[RungBulk].Bytes > 0 {
					t.Errorf("bytes by another rung than cold: %+v", stats.Rungs)
				}
				s.stop()
				if f.refs.Load() != 0 {
					t.Errorf("%d references to the file are left", f.refs.Load())
				}
			})
		}
	})
}
