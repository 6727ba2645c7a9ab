package storage

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"slipstream/protocol"
	"slipstream/ring"
)

// timed is a record of a log that a test knows.
type timed struct {
	offset, timestamp int64
	epoch             int32
}

// recordsOf reads all records of batches.
func recordsOf(t *testing.T, batches []protocol.Batch) (all []timed) {
	t.Helper()
	var scratch protocol.Scratch
	for _, b := range batches {
		var it protocol.Records
		var r protocol.Record
		for it.Open(b, &scratch); it.Next(&r); {
			all = append(all, timed{r.Offset, r.Timestamp, b.LeaderEpoch()})
		}
		it.Close()
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
	}
	return all
}

// checkSearches compares searches with brute force over the records.
func checkSearches(t *testing.T, p *Partition, records []timed, targets []int64) {
	t.Helper()
	k := ring.NewLinux()
	q := p.Searcher()
	largest := nothing
	for _, r := range records {
		if r.offset >= p.offsets.LogStart && r.timestamp > largest.Timestamp {
			largest = Found{r.offset, r.timestamp, r.epoch}
		}
	}
	if got, err := q.MaxTimestamp(k); err != nil || got != largest {
		t.Errorf("the largest timestamp: %+v, %v; want %+v", got, err, largest)
	}
	for _, target := range targets {
		want := nothing
		for _, r := range records {
			if r.timestamp >= target && r.offset >= p.offsets.LogStart {
				want = Found{r.offset, r.timestamp, r.epoch}
				break
			}
		}
		if got, err := q.OffsetForTimestamp(k, target); err != nil || got != want {
			t.Fatalf("at %d: %+v, %v; want %+v", target, got, err, want)
		}
	}
}

// TestSearchKafkasLog searches the golden log, compressed batches and timestamps out of order included.
func TestSearchKafkasLog(t *testing.T) {
	records := recordsOf(t, goldenBatches(t))
	var targets []int64
	for _, r := range records {
		targets = append(targets, r.timestamp-1, r.timestamp, r.timestamp+1)
	}
	targets = append(targets, 0, -5, 1<<62)
	for _, start := range []int64{0, 70, 200} {
		dir := filepath.Join(t.TempDir(), "golden-0")
		copyDir(t, "testdata/kafka/golden-0", dir)
		r := newRig(t, StoreOptions{})
		p, _ := r.open(dir, goldenConfig(), OpenOptions{Clean: true, LogStart: start})
		if start == 0 {
			checkSearches(t, p, records, targets)
			continue
		}
		k, q := ring.NewLinux(), p.Searcher()
		for _, target := range targets {
			if got, err := q.OffsetForTimestamp(k, target); err != nil || got.Offset >= 0 && got.Offset < start {
				t.Fatalf("log start %d, time %d: %+v, %v", start, target, got, err)
			}
		}
	}
}

// TestSearchWhileWriting searches a log that is being appended to: index entries are partly in memory.
func TestSearchWhileWriting(t *testing.T) {
	r := newRig(t, StoreOptions{})
	cfg := smallConfig()
	cfg.SegmentBytes = 60_000
	dir := filepath.Join(t.TempDir(), "events-0")
	p := r.create(dir, cfg)
	checkSearches(t, p, nil, []int64{0, 5})
	random := rand.New(rand.NewPCG(9, 9))
	now := int64(1_000_000)
	for round := range 600 {
		now += random.Int64N(300)
		r.must(p, spec{records: 1 + random.IntN(3), value: random.IntN(300), timestamp: now - random.Int64N(2000)}.batch())
		if round%60 != 59 {
			continue
		}
		var batches []protocol.Batch
		for name := range logsOf(t, dir) {
			batches = append(batches, batchesOf(t, mustRead(t, dir, name))...)
		}
		var targets []int64
		for range 50 {
			targets = append(targets, 1_000_000+random.Int64N(now-1_000_000+500)-1000)
		}
		checkSearches(t, p, recordsOf(t, batches), targets)
	}
	q := p.Searcher() // a snapshot does not see what comes later
	before, err := q.MaxTimestamp(r.kernel)
	r.must(p, spec{timestamp: now + 1e6}.batch())
	if after, err2 := q.MaxTimestamp(r.kernel); err != nil || err2 != nil || after != before {
		t.Errorf("%+v became %+v (%v, %v)", before, after, err, err2)
	}
}
