package storage

import "testing"

// TestCleaningAfterACrashNeedsNoRoll: a crash leaves the recovery point behind closed segments. They are compacted all the same, without
// another append.
func TestCleaningAfterACrashNeedsNoRoll(t *testing.T) {
	for seed := range uint64(2) { // both writers
		x := newCleanRig(t, seed)
		for len(x.p.segments) < 5 {
			x.write()
		}
		x.until("the segments are in order", func() bool { return x.p.finishing == 0 && !x.p.syncing.running })
		if errs := x.close(); errs != nil {
			t.Fatal(errs)
		}
		x.rig = newRigOn(t, x.kernel, StoreOptions{Writer: []Writer{WriterInline, WriterRing}[seed]})
		x.p, _ = x.rig.open(x.dir, x.cfg, OpenOptions{})
		for producer := range x.open { // else nothing is below the last stable offset
			a := x.mark(x.p, marker(producer, 0, 0, true), 1)
			x.until("the marker is written", func() bool { return a.answered > 0 })
			delete(x.open, producer)
		}
		if c, ok := x.p.Cleanable(x.kernel.Wall() / 1e6); !ok || c.DirtyBytes > 0 || x.p.offsets.RecoveryPoint > 0 {
			t.Fatalf("before: %+v, recovery point %d", c, x.p.offsets.RecoveryPoint)
		}
		if !x.p.SyncForCleaning() {
			t.Fatal("nothing to sync")
		}
		x.until("closed segments are durable", func() bool { return x.p.offsets.RecoveryPoint >= x.p.activeSegment().base })
		if x.p.SyncForCleaning() {
			t.Error("synced again")
		}
		if r, ok := x.clean(noLimits); !ok || r.To == 0 {
			t.Errorf("not compacted: %+v", r)
		}
		x.check(x.rig, x.p, "compacted after a crash")
		if errs := x.close(); errs != nil {
			t.Fatal(errs)
		}
	}
}
