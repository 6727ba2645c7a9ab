package storage

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"slipstream/protocol"
)

// cleanRig drives a compacted log and knows what must be in it.
type cleanRig struct {
	*rig
	t       *testing.T
	p       *Partition
	dir     string
	cfg     Config
	rng     *rand.Rand
	keys    int
	all     map[int64]cleanRecord // every record ever written, by offset
	open    map[int64][]int64     // producers in a transaction, and its offsets
	aborted map[int64]bool        // offsets
	seq     map[int64]int32
	cleaner Cleaner
}

// cleanRecord is a record as consumers see it.
type cleanRecord struct {
	key, value string
	tombstone  bool
	timestamp  int64
	headers    int
}

func newCleanRig(t *testing.T, seed uint64) *cleanRig {
	cfg := smallConfig()
	cfg.SegmentBytes, cfg.Compacted, cfg.Deletable, cfg.MinDirtyRatio = 2000, true, false, 0
	k := newFaults()
	k.wall = 1795265500e9
	x := &cleanRig{
		rig: newRigOn(t, k, StoreOptions{Writer: []Writer{WriterInline, WriterRing}[seed%2]}), t: t, dir: filepath.Join(t.TempDir(), "events-0"),
		cfg: cfg, rng: rand.New(rand.NewPCG(seed, 11)), keys: 4 + int(seed%5)*6,
		all: map[int64]cleanRecord{}, open: map[int64][]int64{}, aborted: map[int64]bool{}, seq: map[int64]int32{},
	}
	x.p = x.create(x.dir, cfg)
	return x
}

// write appends a batch of some records, of a producer or of none, in a transaction or not, or ends one.
func (x *cleanRig) write() {
	id := int64(x.rng.IntN(5)) // 0: none; 1 and 2: transactional; 3 and 4: idempotent
	if offsets, open := x.open[id]; open && x.rng.IntN(3) == 0 {
		commit := x.rng.IntN(2) == 0
		a := x.mark(x.p, marker(id, 0, 0, commit), 1)
		x.until("the marker is written", func() bool { return a.answered > 0 })
		if a.Err != protocol.NONE {
			x.t.Fatal(a.Err)
		}
		for _, o := range offsets {
			if !commit {
				x.aborted[o] = true
			}
		}
		delete(x.open, id)
		return
	}
	info := protocol.NewBatchInfo(0, 0)
	if id > 0 {
		info.ProducerID, info.ProducerEpoch, info.BaseSequence = id, 0, x.seq[id]
	}
	if id == 1 || id == 2 {
		info.Attributes = protocol.AttrTransactional
	}
	base := x.p.Offsets().LogEnd
	now := x.kernel.Wall() / 1e6
	var b protocol.Builder
	b.Begin(nil, info)
	n := 1 + x.rng.IntN(4)
	for i := range n {
		r := cleanRecord{key: fmt.Sprintf("key-%d", x.rng.IntN(x.keys)), timestamp: now + int64(x.rng.IntN(100))}
		record := protocol.Record{Timestamp: r.timestamp, Key: []byte(r.key)}
		if r.tombstone = x.rng.IntN(5) == 0; !r.tombstone {
			r.value = fmt.Sprintf("value-%d-of-%s", base+int64(i), r.key)
			record.Value = []byte(r.value)
		}
		for r.headers = range x.rng.IntN(3) {
			record.Headers = append(record.Headers, protocol.RecordHeader{Key: []byte("h"), Value: nil})
		}
		r.headers = len(record.Headers)
		b.Append(&record)
		x.all[base+int64(i)] = r
		if info.Attributes != 0 {
			x.open[id] = append(x.open[id], base+int64(i))
		}
	}
	_, batch := b.Finish()
	if codec := protocol.Codec(x.rng.IntN(5)); codec != protocol.None {
		batch, _ = protocol.Recompress(batch, codec, 1<<20, nil)
	}
	a := &appending{}
	a.Batch, a.Owner = x.memory(batch), a
	if info.Attributes != 0 {
		a.Verified, _ = x.p.Verify(id, 0, x.seq[id], false)
	}
	x.p.Append(&a.Append)
	x.until("the append is answered", func() bool { return a.answered > 0 })
	if a.Err != protocol.NONE || a.BaseOffset != base {
		x.t.Fatal(a.Err, a.BaseOffset)
	}
	x.seq[id] += int32(n)
}

// clean compacts the log once, if there is anything to be done.
func (x *cleanRig) clean(o CleanOptions) (result CleanResult, ok bool) {
	x.t.Helper()
	x.until("the log is in order", func() bool { return x.p.finishing == 0 && !x.p.syncing.running && !x.p.deleting })
	c, ok := x.p.Cleanable(x.kernel.Wall() / 1e6)
	if !ok || !c.Due() {
		return result, false
	}
	ended := false
	x.p.Clean(&c, &x.cleaner, o, func(r CleanResult) { result, ended = r, true })
	x.until("the log is clean", func() bool { return ended })
	if result.Err != nil {
		x.t.Fatalf("clean: %v (%q)", result.Err, x.notes)
	}
	return result, true
}

var noLimits = CleanOptions{MapBytes: 1 << 20, BytesPerSecond: math.MaxFloat64}

// records reads the log as a consumer does.
func (x *cleanRig) records(r *rig, p *Partition, committed bool) map[int64]cleanRecord {
	x.t.Helper()
	got := map[int64]cleanRecord{}
	o := p.Offsets()
	end := o.HighWatermark
	if committed {
		end = o.LastStable
	}
	aborting := map[int64]bool{}
	aborted := inOrder(r.ask(p, o.LogStart, end))
	last := int64(-1)
	var it protocol.Records
	var scratch protocol.Scratch
	var rec protocol.Record
	for _, b := range x.batches(r, p, end) {
		if b.BaseOffset() <= last {
			x.t.Fatalf("a batch of %d to %d behind offset %d", b.BaseOffset(), b.LastOffset(), last)
		}
		last = b.LastOffset()
		for len(aborted) > 0 && aborted[0].FirstOffset <= b.LastOffset() { // as Kafka's consumer does it
			aborting[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		if m, ok := protocol.ParseMarker(b); ok {
			if !m.Commit {
				delete(aborting, m.ProducerID)
			}
			continue
		}
		if b.IsControl() || committed && b.IsTransactional() && aborting[b.ProducerID()] {
			continue
		}
		it.Open(b, &scratch)
		for it.Next(&rec) {
			got[rec.Offset] = cleanRecord{string(rec.Key), string(rec.Value), rec.Value == nil, rec.Timestamp, len(rec.Headers)}
		}
		it.Close()
		if it.Err() != nil {
			x.t.Fatal(it.Err())
		}
	}
	return got
}

// batches are those of the log up to an offset.
func (x *cleanRig) batches(r *rig, p *Partition, end int64) (all []protocol.Batch) {
	x.t.Helper()
	for next := p.Offsets().LogStart; next < end; {
		got, code := r.plan(p, next, 700, true)
		if code != protocol.NONE || got.Len == 0 {
			x.t.Fatalf("plan at %d of %d: %v, %+v", next, end, code, got)
		}
		b := make([]byte, got.Len)
		if n, errno := r.kernel.ReadNow(got.File.FD(), b, got.Pos); n != len(b) || errno != 0 {
			x.t.Fatal(n, errno)
		}
		got.File.Release()
		for _, batch := range batchesOf(x.t, b) {
			if !batch.ValidCRC() {
				x.t.Fatal("a batch's CRC is wrong")
			}
			if batch.BaseOffset() >= end {
				return all
			}
			all = append(all, batch)
			next = batch.NextOffset()
		}
	}
	return all
}

// check holds the log against everything that was ever written: what is there is as it was, and the last record of each key is
// there, unless it is a tombstone.
func (x *cleanRig) check(r *rig, p *Partition, what string) {
	x.t.Helper()
	got := x.records(r, p, true)
	last := map[string]int64{}
	for _, offset := range slices.Sorted(maps.Keys(x.all)) {
		if offset < p.Offsets().LastStable && !x.aborted[offset] {
			last[x.all[offset].key] = offset
		}
	}
	for offset, record := range got {
		if record != x.all[offset] {
			x.t.Fatalf("%s: offset %d is %+v, was written as %+v", what, offset, record, x.all[offset])
		}
		if x.aborted[offset] {
			x.t.Fatalf("%s: offset %d was aborted", what, offset)
		}
	}
	for key, offset := range last {
		if _, there := got[offset]; !there && !x.all[offset].tombstone {
			x.t.Fatalf("%s: the last value of %s, at %d, is not there", what, key, offset)
		}
		if _, there := got[offset]; !there { // then no older one may have come back
			for older, record := range got {
				if record.key == key {
					x.t.Fatalf("%s: %s was deleted at %d, and is there at %d", what, key, offset, older)
				}
			}
		}
	}
	all := x.batches(r, p, p.Offsets().HighWatermark)
	checkSearches(x.t, p, recordsOf(x.t, all), []int64{0, x.kernel.Wall()/1e6 - 3600e3, x.kernel.Wall() / 1e6, math.MaxInt64})
	checkTimes(x.t, p, all)
	for i, s := range p.segments[:len(p.segments)-1] {
		if s.phase != segmentClosed || p.segments[i+1].base <= s.base {
			x.t.Fatalf("%s: segment %d is %v", what, s.base, s.phase)
		}
	}
}

// checkTimes: the .timeindex of a segment that has records points to batches with records.
func checkTimes(t *testing.T, p *Partition, all []protocol.Batch) {
	t.Helper()
	for i, s := range p.segments[:len(p.segments)-1] {
		records, counts := int32(0), map[int64]int32{}
		for _, b := range all {
			if b.BaseOffset() >= s.base && b.LastOffset() < p.segments[i+1].base {
				records += b.Count()
				counts[b.LastOffset()] = b.Count()
			}
		}
		b := mustRead(t, p.dir, fileName(s.base, timeIndexSuffix))
		for at := 0; at < len(b) && records > 0; at += timeIndexEntryBytes {
			e := decodeTimeEntry(b[at:])
			if count, ok := counts[s.base+int64(e.relative)]; ok && count == 0 {
				t.Fatalf("segment %d: timestamp %d points to offset %d, whose batch has no records", s.base, e.timestamp, s.base+int64(e.relative))
			}
		}
	}
}

// reopened checks a copy of the directory, as a kill or a clean stop leaves it.
func (x *cleanRig) reopened(clean bool) {
	x.t.Helper()
	dir := filepath.Join(x.t.TempDir(), "events-0")
	copyDir(x.t, x.dir, dir)
	r := newRigOn(x.t, x.kernel, StoreOptions{})
	o := x.p.Offsets()
	p, report := r.open(dir, x.cfg, OpenOptions{RecoveryPoint: o.RecoveryPoint, LogStart: o.LogStart, CleanedTo: x.p.cleanedTo})
	if report.IndexesRebuilt > 0 || report.SegmentsRemoved > 0 || p.Offsets().LogEnd != o.LogEnd {
		x.t.Fatalf("opened again: %+v, %+v", report, p.Offsets())
	}
	x.check(r, p, "opened again")
	if got, want := p.firstDirty(), x.p.firstDirty(); got != want {
		x.t.Fatalf("dirty from %d on, was from %d", got, want)
	}
	for id, q := range x.p.producers.byID {
		if was := p.producers.get(id); was == nil || was.lastSeq() != q.lastSeq() || was.epoch != q.epoch || was.txnFirstOffset != q.txnFirstOffset {
			x.t.Fatalf("producer %d is %+v, was %+v", id, was, q)
		}
	}
	checkIndexes(x.t, dir)
}

// TestCleanAgainstAModel writes at random, compacts now and then, with maps of all sizes, while time goes on, and checks after each
// that consumers find what they must.
func TestCleanAgainstAModel(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			x := newCleanRig(t, seed)
			cleaned, gone := 0, 0
			for range 12 {
				for range 5 + x.rng.IntN(40) {
					x.write()
				}
				o := noLimits
				if x.rng.IntN(2) == 0 {
					o.MapBytes = int64(x.rng.IntN(5000))
				}
				if r, ok := x.clean(o); ok {
					cleaned++
					gone += int(r.ReadRecords - r.KeptRecords)
					if r.To <= r.From {
						t.Fatalf("no progress: %+v", r)
					}
				}
				x.check(x.rig, x.p, "cleaned")
				x.kernel.set(func(f *faults) { f.wall += int64(x.rng.IntN(30)) * 3600e9 })
				x.turns(1)
			}
			if cleaned < 3 || gone == 0 {
				t.Errorf("only %d cleanings, of %d records", cleaned, gone)
			}
			x.reopened(false)
			if errs := x.close(); errs != nil {
				t.Fatal(errs)
			}
			checkIndexes(t, x.dir)
			for name := range listDir(t, x.dir) {
				if isLeftover(name) && filepath.Ext(name) != deletedSuffix {
					t.Errorf("%s was left", name)
				}
			}
		})
	}
}

// TestCleanLeavesLastDurableBatch cuts the power behind a cleaning, which takes what was not synced of the active segment: what is left
// of each producer is the last batch that is there, as it was before its older ones were compacted away.
func TestCleanLeavesLastDurableBatch(t *testing.T) {
	for seed := range uint64(4) {
		x := newCleanRig(t, seed)
		ends := map[int64][][2]int64{} // of idempotent producers: an offset behind a batch, and its last sequence number
		for x.p.Segments() < 4 || x.p.activeSegment().size == 0 {
			x.write()
			for id := int64(3); id <= 4; id++ {
				if n := len(ends[id]); x.seq[id] > 0 && (n == 0 || ends[id][n-1][1] != int64(x.seq[id]-1)) {
					ends[id] = append(ends[id], [2]int64{x.p.Offsets().LogEnd, int64(x.seq[id] - 1)})
				}
			}
		}
		for x.p.SyncForCleaning() {
			x.until("what was rolled is durable", func() bool { return !x.p.syncing.running && x.p.finishing == 0 })
		}
		if _, ok := x.clean(noLimits); !ok {
			t.Fatalf("seed %d: nothing is to be cleaned", seed)
		}
		dir := filepath.Join(t.TempDir(), "events-0")
		copyDir(t, x.dir, dir)
		o, base := x.p.Offsets(), x.p.activeSegment().base
		if o.RecoveryPoint < o.LogEnd { // nothing else of the active segment is synced
			o.RecoveryPoint = base
			if err := os.Truncate(filepath.Join(dir, fileName(base, logSuffix)), 0); err != nil {
				t.Fatal(err)
			}
		}
		p, _ := newRigOn(t, x.kernel, StoreOptions{}).open(dir, x.cfg, OpenOptions{CleanedTo: x.p.cleanedTo})
		for id, list := range ends {
			want := int64(-1)
			for _, e := range list {
				if e[0] <= o.RecoveryPoint {
					want = e[1]
				}
			}
			if q := p.producers.get(id); want >= 0 && (q == nil || int64(q.lastSeq()) != want) {
				t.Errorf("seed %d: producer %d is %+v, and sequence number %d is durable", seed, id, q, want)
			}
		}
	}
}
