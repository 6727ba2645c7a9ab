package storage

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"slipstream/protocol"
)

// TestFlushEveryMessage answers each append after an fsync that covers it, several with one.
func TestFlushEveryMessage(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		r := newRig(t, o)
		cfg := smallConfig()
		cfg.FlushMessages = 1
		p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
		var log []*appending
		n := 0
		for round := range 10 {
			for range 5 * round {
				a := &appending{log: &log}
				a.Batch, a.Owner = r.memory(spec{records: 2}.batch()), a
				p.Append(&a.Append)
				n++
			}
			r.turns(1)
			for _, a := range log {
				if o := p.Offsets(); a.BaseOffset+2 > o.RecoveryPoint || a.BaseOffset+2 > o.HighWatermark {
					t.Fatalf("answered at %d: %+v", a.BaseOffset, o)
				}
			}
			if o := p.Offsets(); o.HighWatermark > o.RecoveryPoint {
				t.Fatalf("readable but not durable: %+v", o)
			}
		}
		r.until("all are answered", func() bool { return len(log) == n })
		for i, a := range log {
			if a.BaseOffset != int64(2*i) || a.Err != protocol.NONE {
				t.Fatalf("append %d: %v at %d", i, a.Err, a.BaseOffset)
			}
		}
		if syncs := r.store.Stats.Syncs; syncs > 12 {
			t.Errorf("%d fsyncs for 10 turns", syncs)
		}
		dup := r.append(p, spec{records: 2, producer: 9}.batch())
		again, third := r.begin(p, spec{records: 2, producer: 9, sequence: 2}.batch()), r.begin(p, spec{records: 2, producer: 9, sequence: 2}.batch())
		for again.answered == 0 {
			if third.answered > 0 {
				t.Fatal("a duplicate was answered before its original")
			}
			r.core.Turn(false)
		}
		r.until("the duplicate is answered", func() bool { return third.answered > 0 })
		if third.BaseOffset != again.BaseOffset || again.BaseOffset != dup.BaseOffset+2 {
			t.Errorf("at %d, %d, %d", dup.BaseOffset, again.BaseOffset, third.BaseOffset)
		}
	})
}

// TestFlushSomeMessages has every third message wait.
func TestFlushSomeMessages(t *testing.T) {
	r := newRig(t, StoreOptions{})
	cfg := smallConfig()
	cfg.FlushMessages = 3
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	for i := range 12 {
		r.must(p, spec{}.batch())
		if got, want := p.Offsets().RecoveryPoint, int64(i+1)/3*3; got != want {
			t.Fatalf("after %d messages the recovery point is %d", i+1, got)
		}
	}
}

// TestFlushMillis flushes some time after something was written, without anyone waiting.
func TestFlushMillis(t *testing.T) {
	r := newRig(t, StoreOptions{})
	cfg := smallConfig()
	cfg.FlushMillis = 30
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	for i := range 3 {
		began := r.core.Now
		r.must(p, spec{}.batch())
		if o := p.Offsets(); o.RecoveryPoint != int64(i) {
			t.Fatalf("%+v", o)
		}
		r.until("it is flushed", func() bool { return p.Offsets().RecoveryPoint == int64(i+1) })
		if waited := r.core.Now - began; waited < 25e6 {
			t.Errorf("flushed after %d ns", waited)
		}
	}
}

// TestFlushSettingsAreLive changes flush.ms and flush.messages under a log: what is written already is flushed by the new
// flush.ms, and the next append goes by the new flush.messages.
func TestFlushSettingsAreLive(t *testing.T) {
	r := newRig(t, StoreOptions{})
	cfg := smallConfig()
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	flushed := func() bool { return p.Offsets().RecoveryPoint == p.Offsets().LogEnd }
	for _, first := range []int64{cfg.FlushMillis, 3_600_000} { // never, and much later
		cfg.FlushMillis = first
		p.SetConfig(cfg)
		r.must(p, spec{}.batch())
		r.turns(5)
		if flushed() {
			t.Fatal("it is flushed already")
		}
		cfg.FlushMillis = 20
		p.SetConfig(cfg)
		r.until("it is flushed", flushed)
	}
	cfg.FlushMillis = 3_600_000
	p.SetConfig(cfg)
	r.must(p, spec{}.batch())
	if flushed() {
		t.Fatal("flush.ms of an hour flushes at once")
	}
	cfg.FlushMessages = 1
	p.SetConfig(cfg)
	r.must(p, spec{}.batch())
	if !flushed() {
		t.Error("flush.messages=1 answers before it has flushed")
	}
	cfg.FlushMessages = neverFlush
	p.SetConfig(cfg)
	before := r.store.Stats.Syncs
	r.must(p, spec{}.batch())
	if r.store.Stats.Syncs != before {
		t.Error("flushed although nothing asks for it")
	}
}

// TestWaiters wakes each waiter once when the high watermark moves, after the append was answered.
func TestWaiters(t *testing.T) {
	r := newRig(t, StoreOptions{})
	p := r.create(filepath.Join(t.TempDir(), "events-0"), smallConfig())
	var counts [5]woken
	var ws [5]Waiter
	for i := range ws {
		ws[i].Owner = &counts[i]
		p.Wait(&ws[i])
	}
	p.Wait(&ws[2]) // once more is once
	p.Unwait(&ws[1])
	p.Unwait(&ws[1])
	again := &rewait{p: p}
	again.w.Owner = again
	p.Wait(&again.w)
	r.turns(3)
	r.must(p, spec{}.batch())
	for i, want := range []int{1, 0, 1, 1, 1} {
		if counts[i].times != want {
			t.Errorf("waiter %d was woken %d times", i, counts[i].times)
		}
	}
	if again.times != 1 || again.watermark != 1 {
		t.Errorf("one that waits again was woken %d times, at %d", again.times, again.watermark)
	}
	r.must(p, spec{}.batch())
	if again.times != 2 || counts[0].times != 1 {
		t.Errorf("woken %d and %d times", again.times, counts[0].times)
	}
	p.Unwait(&again.w)
	if p.waiters.head != nil || p.waiters.tail != nil {
		t.Error("someone still waits")
	}
}

// rewait waits again as soon as it is woken.
type rewait struct {
	w         Waiter
	p         *Partition
	times     int
	watermark int64
}

func (a *rewait) Woken(w *Waiter) {
	a.times++
	a.watermark = a.p.Offsets().HighWatermark
	a.p.Wait(w)
}

func TestOffsetsStayInOrder(t *testing.T) {
	good := Offsets{LogStart: 1, RecoveryPoint: 2, LastStable: 3, HighWatermark: 4, LogEnd: 5}
	var o Offsets
	o.set(good)
	for _, bad := range []Offsets{{6, 6, 6, 6, 5}, {1, 0, 3, 4, 5}, {1, 6, 3, 4, 5}, {1, 2, 5, 4, 5}, {1, 2, 3, 6, 5}, {-1, 2, 3, 4, 5}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was taken", bad)
				}
			}()
			o.set(bad)
		}()
	}
	if o != good {
		t.Errorf("%+v", o)
	}
}

// TestNoRoomToSettle: an fsync that finds no room for leader-epoch-checkpoint is no failed fsync: who waits for it waits for
// room.
func TestNoRoomToSettle(t *testing.T) {
	r := newRig(t, StoreOptions{})
	cfg := smallConfig()
	cfg.FlushMessages = 1
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	r.must(p, spec{value: 50}.batch())
	p.SetLeaderEpoch(7)
	tried := 0
	r.kernel.set(func(f *faults) {
		f.failFiles = func(op, path string) error {
			if op == "open" && strings.Contains(path, epochCheckpointName) {
				tried++
				return syscall.ENOSPC
			}
			return nil
		}
	})
	a := r.begin(p, spec{value: 50}.batch())
	r.until("it was tried a few times", func() bool { return tried >= 3 })
	if a.answered != 0 || p.Failed() {
		t.Fatalf("answered %d with %v, failed: %t", a.answered, a.Err, p.Failed())
	}
	r.kernel.set(func(f *faults) { f.failFiles = nil })
	r.until("the append is answered", func() bool { return a.answered > 0 })
	if a.Err != protocol.NONE || p.Offsets().RecoveryPoint != 2 {
		t.Errorf("%v, %+v", a.Err, p.Offsets())
	}
	if len(r.notes) != 1 {
		t.Errorf("notes %q", r.notes)
	}
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
}

// TestAbandon takes a log out of service with appends in every state: all are answered, and nothing of it is left in the store.
func TestAbandon(t *testing.T) {
	writers(t, func(t *testing.T, o StoreOptions) {
		r := newRig(t, o)
		cfg := smallConfig()
		cfg.FlushMessages = 1
		p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
		other := r.create(filepath.Join(t.TempDir(), "others-0"), cfg)
		r.must(p, spec{value: 50}.batch())
		waits, queued := r.begin(p, spec{value: 50}.batch()), (*appending)(nil)
		r.turns(1)
		queued = r.begin(p, spec{value: 60}.batch())
		done := false
		r.store.Abandon(p, func() { done = true })
		r.until("it is gone", func() bool { return done })
		for _, a := range []*appending{waits, queued} {
			if a.answered != 1 || a.Err != protocol.KAFKA_STORAGE_ERROR && a.Err != protocol.NONE {
				t.Errorf("answered %d times, %v", a.answered, a.Err)
			}
		}
		if queued.Err != protocol.KAFKA_STORAGE_ERROR || r.store.Partitions() != 1 {
			t.Errorf("%v, %d partitions", queued.Err, r.store.Partitions())
		}
		if a := r.append(p, spec{value: 5}.batch()); a.Err != protocol.NOT_LEADER_OR_FOLLOWER {
			t.Errorf("an append to it: %v", a.Err)
		}
		r.must(other, spec{value: 50}.batch())
		if errs := r.close(); errs != nil {
			t.Fatal(errs)
		}
	})
}
