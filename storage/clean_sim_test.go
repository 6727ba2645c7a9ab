package storage

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"slipstream/internal/sim"
	"slipstream/protocol"
	"slipstream/ring"
)

// cleanSim is a compacted log on a machine that loses its power, and what was written to it.
type cleanSim struct {
	*simRig
	writes  []simWrite // by offset, as far as the log may have them
	cleaner Cleaner
	cleaned int
}

// simWrite is a batch of one record, or a marker.
type simWrite struct {
	offset   int64
	producer int64
	key      string
	value    int // its length says which it is
	marker   bool
	commit   bool
}

// write appends one batch and waits for the answer.
func (x *cleanSim) write() error {
	var a *appending
	err := x.onCore(func() {
		id := int64(1 + x.rng.IntN(3))
		w := simWrite{offset: x.p.next, producer: id, key: fmt.Sprintf("k%d", x.rng.IntN(6)), value: int(x.p.next%997) + 1}
		a = &appending{}
		a.Owner = a
		q := x.p.producers.get(id)
		epoch, seq := int16(0), int32(0)
		if q != nil {
			epoch, seq = q.epoch, q.lastSeq()+1
		}
		var b []byte
		if q != nil && q.txnFirstOffset >= 0 && x.rng.IntN(2) == 0 {
			w.marker, w.commit = true, x.rng.IntN(2) == 0
			b = marker(id, epoch+1, 1, w.commit)
			a.Origin, a.TransactionVersion = FromCoordinator, 2
		} else {
			b = spec{producer: id, epoch: epoch, sequence: seq, value: w.value, key: w.key, timestamp: x.core.Wall / 1e6, attrs: protocol.AttrTransactional}.batch()
			a.Verified, _ = x.p.Verify(id, epoch, seq, true)
		}
		block := x.core.Arena.Alloc(len(b))
		copy(block.Bytes(), b)
		x.blocks = append(x.blocks, block)
		a.Batch = protocol.Batch(block.Bytes())
		x.p.Append(&a.Append)
		if a.Err == protocol.NONE {
			x.writes = append(x.writes, w)
		}
	})
	if err == nil {
		err = x.driver.Run(60e9, func() bool { return a.answered > 0 })
	}
	if a != nil && a.answered > 0 && a.Err == protocol.NONE {
		x.acked = max(x.acked, a.end)
	}
	return err
}

// clean compacts the log, if there is anything to be done.
func (x *cleanSim) clean() error {
	ended, begun := false, false
	err := x.onCore(func() {
		c, ok := x.p.Cleanable(x.core.Wall / 1e6)
		if begun = ok && c.Due(); begun {
			x.p.Clean(&c, &x.cleaner, CleanOptions{MapBytes: 1 << 16, BytesPerSecond: math.MaxFloat64}, func(r CleanResult) {
				if ended = true; r.Err != nil {
					x.t.Errorf("clean: %v", r.Err)
				}
				x.cleaned++
			})
		}
	})
	if err != nil || !begun {
		return err
	}
	return x.driver.Run(60e9, func() bool { return ended })
}

// aborted asks the log for its aborted transactions.
func (x *cleanSim) aborted(end int64) (got []AbortedTransaction) {
	var l *AbortedLookup
	var lookErr error
	ask := func() { got, l, lookErr = x.p.AbortedTransactions(0, end, nil, l) }
	err := x.onCore(ask)
	for err == nil && l != nil {
		if err = x.driver.Run(60e9, l.Done); err == nil {
			err = x.onCore(ask)
		}
	}
	if err != nil || lookErr != nil {
		x.t.Fatal(err, lookErr)
	}
	return inOrder(got)
}

// check holds what was opened against what was written: all that was acknowledged is within the log, and of the records that are
// decided, the last of each key is there, and no aborted one is told to consumers.
func (x *cleanSim) check(k ring.Kernel, what string) {
	x.t.Helper()
	o := x.p.Offsets()
	if o.LogEnd < x.acked || o.LogStart != 0 {
		x.t.Fatalf("%s: %+v, %d was acknowledged and synced", what, o, x.acked)
	}
	x.acked = min(x.acked, o.LogEnd)
	last, written := map[string]int64{}, map[int64]simWrite{}
	open := map[int64][]simWrite{}
	for i, w := range x.writes {
		if w.offset >= o.LogEnd {
			x.writes = x.writes[:i]
			break
		}
		written[w.offset] = w
		if !w.marker {
			open[w.producer] = append(open[w.producer], w)
			continue
		}
		for _, r := range open[w.producer] {
			if w.commit && r.offset < o.LastStable {
				last[r.key] = max(last[r.key], r.offset)
			}
		}
		delete(open, w.producer)
	}
	seen := x.committed(k, o, written, what)
	for key, offset := range last {
		if !seen[offset] {
			x.t.Fatalf("%s: the last value of %s, at %d, is not there (%d of %d records are)", what, key, offset, len(seen), len(written))
		}
	}
}

// committed reads the files as a consumer of committed records does.
func (x *cleanSim) committed(k ring.Kernel, o Offsets, written map[int64]simWrite, what string) map[int64]bool {
	seen, aborting := map[int64]bool{}, map[int64]bool{}
	aborted := x.aborted(o.LogEnd)
	x.survey()
	next := int64(0)
	var it protocol.Records
	var r protocol.Record
	for _, s := range x.p.segments {
		b, err := ReadFile(k, x.p.path(s.base, logSuffix), 1<<30)
		if err != nil {
			x.t.Fatal(err)
		}
		for _, b := range batchesOf(x.t, b[:s.size]) {
			if b.BaseOffset() < next || !b.ValidCRC() {
				x.t.Fatalf("%s: a batch of %d to %d where %d is next", what, b.BaseOffset(), b.LastOffset(), next)
			}
			next = b.NextOffset()
			for len(aborted) > 0 && aborted[0].FirstOffset <= b.LastOffset() {
				aborting[aborted[0].ProducerID] = true
				aborted = aborted[1:]
			}
			if m, ok := protocol.ParseMarker(b); ok && !m.Commit {
				delete(aborting, m.ProducerID)
			}
			if b.IsControl() || aborting[b.ProducerID()] || b.LastOffset() >= o.LastStable {
				continue
			}
			for it.Open(b, nil); it.Next(&r); {
				if w := written[r.Offset]; w.key != string(r.Key) || w.value != len(r.Value) || w.producer != b.ProducerID() {
					x.t.Fatalf("%s: offset %d is %q of %d bytes, was written as %+v", what, r.Offset, r.Key, len(r.Value), w)
				}
				seen[r.Offset] = true
			}
		}
	}
	return seen
}

// TestCleaningSurvivesPowerCuts: the power goes at any call of appends, rolls and compactions, in every step of a swap; what was not synced is kept,
// dropped or torn, names with it.
func TestCleaningSurvivesPowerCuts(t *testing.T) {
	seeds := 300
	if testing.Short() {
		seeds = 60
	}
	crashes, within, cleaned := 0, 0, 0
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			cfg := txnConfig()
			cfg.SegmentBytes, cfg.Compacted, cfg.Deletable, cfg.MinDirtyRatio, cfg.FlushMessages = 3000, true, false, 0.2, 1
			cfg.DeleteRetentionMillis = 1000
			x := &cleanSim{simRig: &simRig{t: t, w: sim.New(seed, sim.Options{LooseNames: seed%2 == 0}), rng: rand.New(rand.NewPCG(seed, 5)), cfg: cfg}}
			if err := x.boot(x.w.Kernel(), 0); err != nil {
				t.Fatal(err)
			}
			err := errors.Join(x.write(), x.onCore(func() { x.p.sync(x.p.offsets.LogEnd) }), x.driver.Run(60e9, func() bool { return !x.p.fresh }))
			if err != nil {
				t.Fatal(err)
			}
			for range 6 {
				x.w.CrashAfter(100+x.rng.IntN(1500), x.rng.IntN(4) == 0, sim.CutDrawn)
				var err error
				recovery := x.p.Checkpoint().RecoveryPoint
				for err == nil {
					if err = x.write(); err == nil && x.rng.IntN(6) == 0 {
						err = x.clean()
					}
					if x.rng.IntN(3) == 0 {
						recovery, x.cleanedTo = x.p.Checkpoint().RecoveryPoint, x.p.cleanedTo
					}
				}
				if !errors.Is(err, sim.ErrCrashed) {
					t.Fatal(err)
				}
				crashes++
				if x.p.cleaning != nil {
					within++
				}
				k := x.w.Restart()
				x.blocks = nil
				if err := x.boot(k, recovery); err != nil {
					t.Fatalf("after a crash with recovery point %d: %v", recovery, err)
				}
				x.check(k, fmt.Sprintf("opened with recovery point %d, clean below %d", recovery, x.cleanedTo))
			}
			cleaned += x.cleaned
		})
	}
	t.Logf("%d crashes, %d of them while a log was cleaned, %d cleanings", crashes, within, cleaned)
	if within < crashes/20 || cleaned < crashes {
		t.Errorf("the histories say too little")
	}
}
