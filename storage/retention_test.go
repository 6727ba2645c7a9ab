package storage

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"slipstream/protocol"
	"slipstream/ring"
)

// retentionRig makes a log of five segments of ten records (the last: one), a second apart; the first record's time is 1000 s.
func retentionRig(t *testing.T, change func(c *Config)) (*rig, *Partition) {
	t.Helper()
	cfg := smallConfig()
	cfg.RetentionMillis = never
	change(&cfg)
	r := newRig(t, StoreOptions{})
	cfg.SegmentBytes = int32(10 * len(spec{value: 30, timestamp: 1e6}.batch()))
	p := r.create(filepath.Join(t.TempDir(), "events-0"), cfg)
	for i := range 41 {
		r.must(p, spec{value: 30, timestamp: 1e6 + int64(i)*1000}.batch())
	}
	r.until("it is at rest", func() bool { return p.finishing == 0 && !p.syncing.running })
	if len(p.segments) != 5 {
		t.Fatalf("%d segments", len(p.segments))
	}
	return r, p
}

// TestRetention: which segments are kept, by size, time and the log's start, together and alone.
func TestRetention(t *testing.T) {
	size := int64(len(spec{value: 30, timestamp: 1e6}.batch()))
	for _, c := range []struct {
		name   string
		change func(c *Config)
		now    int64 // s
		start  int64
	}{
		{"nothing", func(c *Config) {}, 1e9, 0},
		{"young", func(c *Config) { c.RetentionMillis = 60_000 }, 1050, 0},
		{"one is exactly as old as may be", func(c *Config) { c.RetentionMillis = 60_000 }, 1069, 0},
		{"one is older", func(c *Config) { c.RetentionMillis = 60_000 }, 1070, 10},
		{"three are older", func(c *Config) { c.RetentionMillis = 60_000 }, 1099, 30},
		{"all are older", func(c *Config) { c.RetentionMillis = 60_000 }, 1e9, 41},
		{"no age at all", func(c *Config) { c.RetentionMillis = 0 }, 1039, 30},
		{"small enough", func(c *Config) { c.RetentionBytes = 41 * size }, 0, 0},
		{"not a whole segment too large", func(c *Config) { c.RetentionBytes = 31*size + 1 }, 0, 0},
		{"a segment too large", func(c *Config) { c.RetentionBytes = 31 * size }, 0, 10},
		{"only the last fits", func(c *Config) { c.RetentionBytes = size }, 0, 40},
		{"no size at all", func(c *Config) { c.RetentionBytes = 0 }, 0, 41},
		{"by size, then by time", func(c *Config) { c.RetentionBytes, c.RetentionMillis = 31*size, 60_000 }, 1080, 20},
		{"compacted only", func(c *Config) {
			c.RetentionBytes, c.RetentionMillis, c.Deletable, c.Compacted = 0, 0, false, true
		}, 1e9, 0},
		{"compacted and deleted", func(c *Config) { c.RetentionMillis, c.Compacted = 60_000, true }, 1070, 10},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			r, p := retentionRig(t, c.change)
			p.retain(c.now * 1000)
			r.until("it is done", func() bool { return p.quiet() && !p.rollThenRetain })
			if o := p.Offsets(); o.LogStart != c.start || o.LogEnd != 41 || p.segments[0].base != c.start {
				t.Errorf("%+v, the first segment is %d", o, p.segments[0].base)
			}
			if got := r.must(p, spec{}.batch()); got != 41 {
				t.Errorf("the next append is at %d", got)
			}
			readAll(t, r, p)
		})
	}
}

// TestRetentionRounds lets the store's own rounds do it, over more partitions than are looked at in one turn, with a setting
// that changes while they run.
func TestRetentionRounds(t *testing.T) {
	k := newFaults()
	k.wall = 2000e9
	r := newRigOn(t, k, StoreOptions{RetentionCheckMillis: 1})
	cfg := smallConfig()
	cfg.RetentionMillis = never
	dir := t.TempDir()
	var all []*Partition
	for i := range 2*retentionLooks/retentionPartition + 3 {
		p, err := Create(k, fmt.Sprintf("%s/events-%d", dir, i), TopicPartition{Topic: "events", Partition: int32(i)}, cfg, 0)
		if err != nil {
			t.Fatal(err)
		}
		r.store.Adopt(p)
		r.must(p, spec{timestamp: 1000e3}.batch())
		all = append(all, p)
	}
	r.turns(50)
	for _, p := range all {
		if o := p.Offsets(); o.LogStart != 0 {
			t.Fatalf("%s: %+v before retention.ms was set", &p.id, o)
		}
		cfg.RetentionMillis = 1000
		p.SetConfig(cfg)
	}
	r.until("every log is empty", func() bool {
		for _, p := range all {
			if p.offsets.LogStart != 1 || len(p.segments) != 1 {
				return false
			}
		}
		return true
	})
}

// TestRetentionWithoutTimestamps goes by when a segment was written, and says once that time will not come to one.
func TestRetentionWithoutTimestamps(t *testing.T) {
	k := newFaults()
	k.wall = 5000e9
	r := newRigOn(t, k, StoreOptions{})
	cfg := smallConfig()
	cfg.SegmentBytes, cfg.RetentionMillis = 200, 1000
	dir := filepath.Join(t.TempDir(), "events-0")
	p := r.create(dir, cfg)
	for range 4 {
		r.must(p, spec{value: 60, timestamp: protocol.NoTimestamp}.batch())
	}
	k.set(func(f *faults) { f.wall = 7000e9 })
	r.turns(2)
	for range 2 {
		r.must(p, spec{value: 60, timestamp: 8000e3}.batch())
	}
	r.until("it is at rest", func() bool { return p.quiet() })
	for range 3 {
		p.retain(7002e3)
		r.until("it is done", func() bool { return p.quiet() })
	}
	if start := p.Offsets().LogStart; start != 4 {
		t.Errorf("the log begins at %d", start)
	}
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "future") {
		t.Errorf("%q", r.notes)
	}
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
	// What a start finds out of the files is what was known before.
	q, _, err := Open(ring.NewLinux(), dir, cfg, OpenOptions{Clean: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range q.segments[:len(q.segments)-1] {
		if rebuilt, notes, err := q.examineNow(ring.NewLinux(), s); err != nil || len(notes) > 0 || rebuilt != nil {
			t.Error(rebuilt, notes, err)
		}
		if was := p.segments[i]; s.largest != was.largest || s.phase != segmentClosed {
			t.Errorf("segment %d: largest %d, was %d; %v", s.base, s.largest, was.largest, s.phase)
		}
	}
}
