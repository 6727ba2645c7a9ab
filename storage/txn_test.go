package storage

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"slipstream/protocol"
)

// txnRig drives a partition with transactions, and knows what must come of it.
type txnRig struct {
	*rig
	p      *Partition
	dir    string
	cfg    Config
	rng    *rand.Rand
	writes []txnWrite // all that is in the log, by offset
	state  map[int64]*txnProducer
}

// txnWrite is a batch in the log.
type txnWrite struct {
	first, last int64
	producer    int64 // 0: a batch without one
	txn         int   // of the producer; 0: none
	marker      bool
	commit      bool
}

type txnProducer struct {
	epoch    int16
	sequence int32
	txn      int // counts them; open says whether the last one is
	open     bool
	first    int64
}

func txnConfig() Config {
	c := smallConfig()
	c.SegmentBytes = 900
	return c
}

func newTxnRig(t *testing.T, seed uint64) *txnRig {
	x := &txnRig{
		rig: newRig(t, StoreOptions{Writer: []Writer{WriterInline, WriterRing}[seed%2]}), dir: filepath.Join(t.TempDir(), "events-0"),
		cfg: txnConfig(), rng: rand.New(rand.NewPCG(seed, 7)), state: map[int64]*txnProducer{},
	}
	if seed%3 == 0 {
		x.cfg.FlushMessages = 1
	}
	x.p = x.create(x.dir, x.cfg)
	for id := int64(1); id <= 4; id++ {
		x.state[id] = &txnProducer{}
	}
	return x
}

// marker makes a transaction's end.
func marker(producer int64, epoch int16, coordinator int32, commit bool) []byte {
	buf, _ := protocol.AppendMarkerBatch(nil, &protocol.Marker{ProducerID: producer, ProducerEpoch: epoch, CoordinatorEpoch: coordinator, Commit: commit}, 1795265500_000)
	return buf
}

// transactional begins the append of a transactional batch, having had it verified.
func (r *rig) transactional(p *Partition, s spec) *appending {
	s.attrs |= protocol.AttrTransactional
	guard, code := p.Verify(s.producer, s.epoch, s.sequence, true)
	if code != protocol.NONE {
		r.t.Fatalf("verify %+v: %v", s, code)
	}
	a := &appending{}
	a.Batch, a.Owner, a.Verified = r.memory(s.batch()), a, guard
	p.Append(&a.Append)
	return a
}

// mark begins the append of a marker.
func (r *rig) mark(p *Partition, b []byte, version int16) *appending {
	a := &appending{}
	a.Batch, a.Owner, a.Origin, a.TransactionVersion = r.memory(b), a, FromCoordinator, version
	p.Append(&a.Append)
	return a
}

// write does one or more writes in one turn; some of them fail.
func (x *txnRig) write() {
	fails := x.rng.IntN(12) == 0 && x.store.writer == WriterInline
	before := map[int64]txnProducer{}
	for id, s := range x.state {
		before[id] = *s
	}
	had := len(x.writes)
	var all []*appending
	if fails {
		left := x.rng.IntN(3)
		x.kernel.set(func(f *faults) {
			f.failWrite = func(_, n int, _ int64) (int, syscall.Errno) {
				if left--; left < 0 {
					return n / 2, syscall.ENOSPC
				}
				return n, 0
			}
		})
	}
	for range 1 + x.rng.IntN(4) {
		all = append(all, x.begin1())
	}
	for _, a := range all {
		x.until("it is answered", func() bool { return a.answered > 0 })
	}
	x.kernel.set(func(f *faults) { f.failWrite = nil })
	x.until("the log is in order", func() bool { return x.p.state == idle && x.p.finishing == 0 && x.p.trouble == sound })
	for i, a := range all {
		w := x.writes[had+i]
		if a.Err == protocol.NONE && a.BaseOffset != w.first {
			x.t.Fatalf("%+v is at %d", w, a.BaseOffset)
		}
		if a.Err != protocol.NONE && (a.Err != protocol.KAFKA_STORAGE_ERROR || !fails) {
			x.t.Fatalf("%+v: %v", w, a.Err)
		}
		if a.Err != protocol.NONE { // nor is anything behind it
			x.writes = x.writes[:had]
			for id, s := range before {
				*x.state[id] = s
			}
			for _, w := range slices.Clone(x.writes[had : had+i][:i:i]) {
				x.writes = append(x.writes, w)
				x.replay(w)
			}
			break
		}
	}
}

// begin1 begins one append.
func (x *txnRig) begin1() *appending {
	end := int64(0)
	if n := len(x.writes); n > 0 {
		end = x.writes[n-1].last + 1
	}
	records := 1 + x.rng.IntN(3)
	w := txnWrite{first: end, last: end + int64(records) - 1}
	id := int64(1 + x.rng.IntN(5))
	s := x.state[id]
	var a *appending
	switch {
	case s == nil:
		a = x.begin(x.p, spec{records: records, value: 20, timestamp: 1795265500_000}.batch())
	case s.open && x.rng.IntN(2) == 0 || !s.open && x.rng.IntN(8) == 0:
		w.last = w.first
		w.producer, w.txn, w.marker, w.commit = id, s.txn, true, x.rng.IntN(2) == 0
		epoch := s.epoch + 1
		if !s.open && x.rng.IntN(2) == 0 {
			epoch = s.epoch // the same marker again
			w.txn = 0
		}
		a = x.mark(x.p, marker(id, epoch, 3, w.commit), 2)
	default:
		w.producer, w.txn = id, s.txn
		if !s.open {
			w.txn++
		}
		a = x.transactional(x.p, spec{records: records, value: 20, producer: id, epoch: s.epoch, sequence: s.sequence, timestamp: 1795265500_000})
	}
	x.writes = append(x.writes, w)
	x.replay(w)
	return a
}

// replay takes a write into the model's producers.
func (x *txnRig) replay(w txnWrite) {
	s := x.state[w.producer]
	switch {
	case s == nil:
	case w.marker:
		if w.txn != 0 {
			s.epoch++
			s.sequence = 0
		}
		s.open = false
	default:
		if !s.open {
			s.txn, s.open, s.first = w.txn, true, w.first
		}
		s.sequence += int32(w.last-w.first) + 1
	}
}

// stable is the last stable offset that the log must have.
func (x *txnRig) stable() int64 {
	at := int64(0)
	if n := len(x.writes); n > 0 {
		at = x.writes[n-1].last + 1
	}
	for _, s := range x.state {
		if s.open {
			at = min(at, s.first)
		}
	}
	return at
}

type txnKey struct {
	producer int64
	txn      int
}

// outcomes are the transactions of the log: where each began, and its marker.
func (x *txnRig) outcomes() (first map[txnKey]int64, end map[txnKey]txnWrite) {
	first, end = map[txnKey]int64{}, map[txnKey]txnWrite{}
	for _, w := range x.writes {
		k := txnKey{w.producer, w.txn}
		if w.txn == 0 {
			continue
		}
		if _, ok := first[k]; !ok && !w.marker {
			first[k] = w.first
		}
		if _, ok := end[k]; w.marker && !ok {
			end[k] = w
		}
	}
	return first, end
}

// aborted are the aborted transactions of [from, upTo), in order.
func (x *txnRig) aborted(from, upTo int64) []AbortedTransaction {
	var out []AbortedTransaction
	if from >= upTo {
		return nil
	}
	first, end := x.outcomes()
	for k, m := range end {
		if at, ok := first[k]; ok && !m.commit && m.first >= from && at < upTo {
			out = append(out, AbortedTransaction{ProducerID: k.producer, FirstOffset: at})
		}
	}
	return inOrder(out)
}

func inOrder(list []AbortedTransaction) []AbortedTransaction {
	slices.SortFunc(list, func(a, b AbortedTransaction) int {
		return cmp.Or(cmp.Compare(a.FirstOffset, b.FirstOffset), cmp.Compare(a.ProducerID, b.ProducerID))
	})
	return list
}

// ask asks for aborted transactions, with lookups where those are needed.
func (r *rig) ask(p *Partition, from, upTo int64) []AbortedTransaction {
	r.t.Helper()
	got, l, err := p.AbortedTransactions(from, upTo, nil, nil)
	for l != nil {
		r.until("the lookup is done", l.Done)
		got, l, err = p.AbortedTransactions(from, upTo, nil, l)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return inOrder(got)
}

// check compares a partition with the model.
func (x *txnRig) check(r *rig, p *Partition, what string) {
	x.t.Helper()
	o := p.Offsets()
	if want := x.stable(); o.LastStable != want {
		x.t.Fatalf("%s: the last stable offset is %d, want %d (%+v)", what, o.LastStable, want, o)
	}
	for range 4 {
		from := x.rng.Int64N(o.LogEnd + 1)
		upTo := from + x.rng.Int64N(o.LogEnd-from+1)
		if got, want := r.ask(p, from, upTo), x.aborted(from, upTo); !slices.Equal(got, want) {
			x.t.Fatalf("%s: aborted in [%d, %d) are %v, want %v", what, from, upTo, got, want)
		}
	}
	open := 0
	for id, s := range x.state {
		q := p.producers.get(id)
		if s.open {
			open++
		}
		if q != nil && (q.txnFirstOffset >= 0) != s.open {
			x.t.Fatalf("%s: producer %d: %+v, want %+v", what, id, q, s)
		}
	}
	if p.OpenTransactions() != open {
		x.t.Fatalf("%s: %d transactions are open, want %d", what, p.OpenTransactions(), open)
	}
}

// consume reads a partition as a consumer that reads committed records does, from an offset on.
func (x *txnRig) consume(r *rig, p *Partition, from int64) (offsets []int64) {
	x.t.Helper()
	for from < p.Offsets().LastStable {
		q := Query{Offset: from, MaxBytes: 1 + x.rng.IntN(600), AtLeastOne: true, Committed: true}
		got, l, code := p.Plan(q, nil)
		for l != nil {
			r.until("a lookup is done", l.Done)
			got, l, code = p.Plan(q, l)
		}
		if code != protocol.NONE || got.Len == 0 || got.End > p.Offsets().LastStable {
			x.t.Fatalf("plan %+v: %v, %+v", q, code, got)
		}
		b := make([]byte, got.Len)
		if n, errno := r.kernel.ReadNow(got.File.FD(), b, got.Pos); n != len(b) || errno != 0 {
			x.t.Fatal(n, errno)
		}
		aborted := r.ask(p, from, got.End)
		leaveOut := map[int64]bool{}
		for _, batch := range batchesOf(x.t, b) {
			for len(aborted) > 0 && aborted[0].FirstOffset <= batch.LastOffset() {
				leaveOut[aborted[0].ProducerID] = true
				aborted = aborted[1:]
			}
			if m, ok := protocol.ParseMarker(batch); ok {
				if !m.Commit {
					delete(leaveOut, m.ProducerID)
				}
				continue
			}
			if batch.IsTransactional() && leaveOut[batch.ProducerID()] {
				continue
			}
			for o := max(batch.BaseOffset(), from); o <= batch.LastOffset(); o++ {
				offsets = append(offsets, o)
			}
		}
		if last := batchesOf(x.t, b); last[len(last)-1].NextOffset() != got.End {
			x.t.Fatalf("%+v ends at %d", got, last[len(last)-1].NextOffset())
		}
		from = got.End
		got.Release()
	}
	return offsets
}

// committed are the offsets that such a consumer must get.
func (x *txnRig) committed(from int64) (offsets []int64) {
	_, end := x.outcomes()
	for _, w := range x.writes {
		m, ended := end[txnKey{w.producer, w.txn}]
		if w.marker || w.last < from || w.first >= x.stable() || w.txn != 0 && (!ended || !m.commit) {
			continue
		}
		for o := max(w.first, from); o <= w.last; o++ {
			offsets = append(offsets, o)
		}
	}
	return offsets
}

// reopened opens a copy of the directory as it is now, as after a kill, and with its clean stop.
func (x *txnRig) reopened() {
	x.t.Helper()
	dir := filepath.Join(x.t.TempDir(), "events-0")
	copyDir(x.t, x.dir, dir)
	defer os.RemoveAll(dir)
	r := newRig(x.t, StoreOptions{})
	o := x.p.Offsets()
	p, report := r.open(dir, x.cfg, OpenOptions{RecoveryPoint: x.rng.Int64N(x.p.Checkpoint().RecoveryPoint + 1)})
	x.check(r, p, fmt.Sprintf("after a kill at %d (%+v)", o.LogEnd, report))
	if errs := r.close(); errs != nil {
		x.t.Fatal(errs)
	}
	r = newRig(x.t, StoreOptions{})
	p, report = r.open(dir, x.cfg, OpenOptions{Clean: true, RecoveryPoint: o.LogEnd})
	if report.SegmentsScanned > 0 {
		x.t.Fatalf("after a clean stop: %+v", report)
	}
	x.check(r, p, "after a kill and a clean stop")
	if got, want := x.consume(r, p, 0), x.committed(0); !slices.Equal(got, want) {
		x.t.Fatalf("after both: read %v, want %v", got, want)
	}
}

// restart goes on with the partition after a kill or a clean stop.
func (x *txnRig) restart(clean bool) {
	o := x.p.Offsets()
	if clean {
		if errs := x.close(); errs != nil {
			x.t.Fatal(errs)
		}
		o = x.p.Offsets()
	} else {
		x.until("syncs end", func() bool { return !x.p.syncing.running })
	}
	x.rig = newRig(x.t, StoreOptions{Writer: x.store.writer})
	x.p, _ = x.open(x.dir, x.cfg, OpenOptions{Clean: clean, RecoveryPoint: o.RecoveryPoint})
	x.check(x.rig, x.p, fmt.Sprintf("restarted, clean %v", clean))
}

// TestTransactionsAgainstAModel lives through random histories: transactions of several producers that commit and abort,
// writes that fail, segments that roll, kills and clean stops; after each step the last stable offset and the aborted transactions are what
// they must be, after a kill at that step too, and a consumer gets what was committed and nothing else.
func TestTransactionsAgainstAModel(t *testing.T) {
	seeds, steps := 6, 60
	if testing.Short() {
		seeds, steps = 2, 40
	}
	aborted := 0
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			x := newTxnRig(t, uint64(seed))
			for range steps {
				x.write()
				x.check(x.rig, x.p, "live")
				if x.rng.IntN(5) == 0 {
					x.store.aborts.drop(x.p.segments[x.rng.IntN(len(x.p.segments))])
				}
				if x.rng.IntN(5) == 0 {
					x.reopened()
				}
				from := x.rng.Int64N(x.p.Offsets().LogEnd + 1)
				if got, want := x.consume(x.rig, x.p, from), x.committed(from); !slices.Equal(got, want) {
					t.Fatalf("from %d read %v, want %v", from, got, want)
				}
				if x.rng.IntN(25) == 0 {
					x.restart(x.rng.IntN(2) == 0)
				}
			}
			if len(x.p.segments) < 5 {
				t.Errorf("only %d segments", len(x.p.segments))
			}
			aborted += len(x.aborted(0, 1<<60))
		})
	}
	if aborted < seeds*2 {
		t.Errorf("only %d transactions were aborted", aborted)
	}
}

// TestTxnIndexFiles: files that do not fit, or are missing, and what is done about it.
func TestTxnIndexFiles(t *testing.T) {
	x := newTxnRig(t, 1)
	for len(x.p.txns.aborting) < 3 || len(x.p.segments) < 6 {
		x.write()
	}
	if errs := x.close(); errs != nil {
		t.Fatal(errs)
	}
	end := x.p.Offsets().LogEnd
	var indexes []string
	for name := range listDir(t, x.dir) {
		if base, suffix, ok := parseFileName(name); ok && suffix == txnIndexSuffix {
			indexes = append(indexes, name)
			b := mustRead(t, x.dir, name)
			if list, err := decodeAborted(b, base, end); err != nil || len(list) == 0 || !reflect.DeepEqual(encodeAborted(list), b) {
				t.Errorf("%s: %d entries, %v", name, len(list), err)
			}
		}
	}
	if len(indexes) != len(x.p.txns.aborting) {
		t.Errorf("%d indexes of %d segments", len(indexes), len(x.p.txns.aborting))
	}
	for what, damage := range map[string]func(path string){
		"odd size":    func(path string) { mustWrite(t, path, append(mustRead(t, path), 1)) },
		"version":     func(path string) { b := mustRead(t, path); b[1] = 9; mustWrite(t, path, b) },
		"zeros":       func(path string) { mustWrite(t, path, make([]byte, 34)) },
		"twice":       func(path string) { b := mustRead(t, path); mustWrite(t, path, append(b, b...)) },
		"of the next": func(path string) { b := mustRead(t, path); b[18] = 0x7f; mustWrite(t, path, b) },
	} {
		for _, name := range indexes {
			dir := filepath.Join(t.TempDir(), "events-0")
			copyDir(t, x.dir, dir)
			damage(filepath.Join(dir, name))
			r := newRig(t, StoreOptions{})
			p, _ := r.open(dir, x.cfg, OpenOptions{Clean: true, RecoveryPoint: end})
			x.check(r, p, what+" of "+name)
			r.survey(p)
			if s := r.store.Stats; s.IndexesRebuilt != 1 || p.unknown != 0 {
				t.Errorf("%s of %s: %+v", what, name, s)
			}
			if !bytes.Equal(mustRead(t, dir, name), mustRead(t, x.dir, name)) {
				t.Errorf("%s of %s: it was made differently", what, name)
			}
		}
	}
	// One that goes while the log is open is an error, not an empty answer.
	r := newRig(t, StoreOptions{})
	p, _ := r.open(x.dir, x.cfg, OpenOptions{Clean: true, RecoveryPoint: end})
	r.survey(p)
	for _, name := range indexes {
		os.Remove(filepath.Join(x.dir, name))
	}
	_, l, err := p.AbortedTransactions(0, end, nil, nil)
	if l == nil || err != nil {
		t.Fatalf("%v, %v", l, err)
	}
	r.until("the lookup is done", l.Done)
	if _, again, err := p.AbortedTransactions(0, end, nil, l); again != nil || err == nil {
		t.Errorf("%v, %v", again, err)
	}
}

// TestAbortedAreLookedUpInTrips: more segments than one trip looks through, and a cache that does not hold them.
func TestAbortedAreLookedUpInTrips(t *testing.T) {
	r := newRig(t, StoreOptions{})
	cfg := txnConfig()
	cfg.SegmentBytes = 200
	dir := filepath.Join(t.TempDir(), "events-0")
	p := r.create(dir, cfg)
	const n = abortedParts + 30
	for i := range int16(n) {
		a := r.transactional(p, spec{producer: 9, epoch: i, timestamp: 1})
		m := r.mark(p, marker(9, i+1, 1, false), 2)
		r.until("both are answered", func() bool { return a.answered+m.answered == 2 })
	}
	r.until("the log is in order", func() bool { return p.finishing == 0 && !p.syncing.running })
	if len(p.txns.aborting) <= abortedParts {
		t.Fatalf("only %d segments", len(p.txns.aborting))
	}
	if got := r.ask(p, 0, 1<<40); len(got) != n || r.store.Stats.AbortedLookups != 0 {
		t.Fatalf("%d transactions, %d lookups", len(got), r.store.Stats.AbortedLookups)
	}
	for _, s := range p.segments {
		r.store.aborts.drop(s)
	}
	if got := r.ask(p, 0, 1<<40); len(got) != n || r.store.Stats.AbortedLookups != 2 {
		t.Errorf("%d transactions, %d lookups", len(got), r.store.Stats.AbortedLookups)
	}
	before := r.store.Stats.AbortedLookups
	if got := r.ask(p, 0, 1<<40); len(got) != n || r.store.Stats.AbortedLookups != before {
		t.Errorf("%d transactions, %d lookups when all is in memory", len(got), r.store.Stats.AbortedLookups)
	}
	p.DeleteRecords(HighWatermark)
	r.until("the segments are gone", func() bool { return p.Segments() == 1 })
	if got := r.ask(p, 0, 1<<40); len(got) != int(p.activeSegment().aborts.count) || r.store.aborts.newest != nil {
		t.Errorf("%d transactions of segments that are gone", len(got))
	}
}

// TestMarkers: which markers a partition takes.
func TestMarkers(t *testing.T) {
	for _, c := range []struct {
		name    string
		open    bool // a transaction of epoch 5, whose last marker was of coordinator epoch 2
		epoch   int16
		coord   int32
		version int16
		want    protocol.ErrorCode
	}{
		{"version 2, the next epoch", true, 6, 2, 2, protocol.NONE},
		{"version 2, a later epoch", true, 9, 2, 2, protocol.NONE},
		{"version 2, late: of the transaction before", true, 5, 2, 2, protocol.INVALID_PRODUCER_EPOCH},
		{"version 2, an older epoch", true, 4, 2, 2, protocol.INVALID_PRODUCER_EPOCH},
		{"version 2, again", false, 5, 2, 2, protocol.NONE},
		{"version 2, again, by a new coordinator", false, 5, 3, 2, protocol.NONE},
		{"version 2, again, by an old coordinator", false, 5, 1, 2, protocol.TRANSACTION_COORDINATOR_FENCED},
		{"version 0, the same epoch", true, 5, 2, 0, protocol.NONE},
		{"version 0, fenced", true, 6, 2, 0, protocol.NONE},
		{"version 0, an older epoch", true, 4, 2, 0, protocol.INVALID_PRODUCER_EPOCH},
		{"version 0, an old coordinator", true, 5, 1, 0, protocol.TRANSACTION_COORDINATOR_FENCED},
		{"version 0, nothing open", false, 5, 2, 0, protocol.NONE},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, StoreOptions{})
			p := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
			do := func(a *appending, want protocol.ErrorCode) {
				t.Helper()
				r.until("it is answered", func() bool { return a.answered > 0 })
				if a.Err != want {
					t.Fatalf("%v, want %v", a.Err, want)
				}
			}
			do(r.transactional(p, spec{producer: 9, epoch: 4, timestamp: 1}), protocol.NONE)
			do(r.mark(p, marker(9, 5, 2, true), 2), protocol.NONE)
			if c.open {
				do(r.transactional(p, spec{producer: 9, epoch: 5, timestamp: 1}), protocol.NONE)
			}
			end := p.Offsets().LogEnd
			do(r.mark(p, marker(9, c.epoch, c.coord, false), c.version), c.want)
			o := p.Offsets()
			switch {
			case c.want != protocol.NONE && (o.LogEnd != end || c.open && o.LastStable != 2):
				t.Errorf("refused, and yet %+v", o)
			case c.want == protocol.NONE && o.LastStable != end+1:
				t.Errorf("%+v", o)
			}
		})
	}
	r := newRig(t, StoreOptions{})
	p := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
	if a := r.append(p, marker(9, 1, 1, true)); a.Err != protocol.INVALID_RECORD {
		t.Errorf("a marker of a client: %v", a.Err)
	}
}

// TestVerification: a transactional batch is only taken when its transaction was verified and has not ended since.
func TestVerification(t *testing.T) {
	r := newRig(t, StoreOptions{})
	p := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
	send := func(guard uint64, s spec, want protocol.ErrorCode) {
		t.Helper()
		s.attrs |= protocol.AttrTransactional
		s.timestamp = 1
		a := &appending{}
		a.Batch, a.Owner, a.Verified = r.memory(s.batch()), a, guard
		p.Append(&a.Append)
		r.until("it is answered", func() bool { return a.answered > 0 })
		if a.Err != want {
			t.Fatalf("%+v with guard %d: %v, want %v", s, guard, a.Err, want)
		}
	}
	verify := func(epoch int16, sequence int32, next bool, want protocol.ErrorCode) uint64 {
		t.Helper()
		guard, code := p.Verify(9, epoch, sequence, next)
		if code != want {
			t.Fatalf("epoch %d: %v, want %v", epoch, code, want)
		}
		return guard
	}
	end := func(epoch int16) {
		t.Helper()
		a := r.mark(p, marker(9, epoch, 1, true), 2)
		r.until("it is answered", func() bool { return a.answered > 0 })
		if a.Err != protocol.NONE {
			t.Fatal(a.Err)
		}
	}
	send(0, spec{producer: 9}, protocol.INVALID_TXN_STATE)
	send(7, spec{producer: 9}, protocol.INVALID_TXN_STATE)
	guard := verify(0, 0, true, protocol.NONE)
	if again := verify(0, 2, true, protocol.NONE); again != guard || guard == 0 {
		t.Errorf("guards %d and %d for one transaction", guard, again)
	}
	send(guard+1, spec{producer: 9}, protocol.INVALID_TXN_STATE)
	send(guard, spec{producer: 9, sequence: 2}, protocol.OUT_OF_ORDER_SEQUENCE_NUMBER) // 0 was refused, or is still to come
	send(guard, spec{producer: 9, records: 2}, protocol.NONE)
	if verify(0, 2, true, protocol.NONE) != 0 {
		t.Error("an ongoing transaction is verified again")
	}
	send(0, spec{producer: 9, sequence: 2}, protocol.NONE)
	end(1)
	send(guard, spec{producer: 9, epoch: 1}, protocol.INVALID_TXN_STATE)
	send(guard, spec{producer: 9, epoch: 0, sequence: 3}, protocol.INVALID_PRODUCER_EPOCH)
	verify(0, 3, true, protocol.INVALID_PRODUCER_EPOCH)
	// A batch whose transaction ends while it is being verified is too late.
	late := verify(1, 0, false, protocol.NONE)
	end(2)
	send(late, spec{producer: 9, epoch: 1}, protocol.INVALID_PRODUCER_EPOCH)
	send(late, spec{producer: 9, epoch: 2}, protocol.INVALID_TXN_STATE)
	// With transaction.version 2 the next transaction may be verified before the marker of the last is here.
	early := verify(3, 0, true, protocol.NONE)
	end(3)
	send(early, spec{producer: 9, epoch: 3}, protocol.NONE)
	// A batch outside a transaction, while one is open.
	s := spec{producer: 9, epoch: 3, sequence: 1, timestamp: 1}
	if a := r.append(p, s.batch()); a.Err != protocol.INVALID_TXN_STATE {
		t.Errorf("not transactional: %v", a.Err)
	}
	// Nobody comes back: it is forgotten.
	end(4)
	verify(4, 0, true, protocol.NONE)
	p.txns.expireVerifications(r.core.Wall+25*3600e9, p.config.ProducerIDMillis)
	if len(p.txns.verifying) != 0 {
		t.Error("a verification is kept for good")
	}
	r.store.SetVerification(false)
	if verify(4, 0, false, protocol.NONE) != 0 {
		t.Error("verified, though that is off")
	}
	if verify(4, 0, true, protocol.NONE) == 0 {
		t.Error("a partition that has to be added to the transaction is not verified")
	}
	send(0, spec{producer: 9, epoch: 4}, protocol.NONE)
}

// TestOffsetsWithinATransaction: a group's offsets have a producer and no sequence.
func TestOffsetsWithinATransaction(t *testing.T) {
	r := newRig(t, StoreOptions{})
	p := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
	for i := range 3 {
		s := spec{producer: 9, epoch: 3, sequence: protocol.NoSequence, timestamp: 1, attrs: protocol.AttrTransactional}
		guard, code := p.Verify(9, 3, protocol.NoSequence, false)
		a := &appending{}
		a.Batch, a.Owner, a.Verified, a.Origin = r.memory(s.batch()), a, guard, FromCoordinator
		p.Append(&a.Append)
		r.until("it is answered", func() bool { return a.answered > 0 })
		if code != protocol.NONE || a.Err != protocol.NONE || a.BaseOffset != int64(i) {
			t.Fatalf("%v, %v at %d", code, a.Err, a.BaseOffset)
		}
	}
	if o := p.Offsets(); o.LastStable != 0 || o.HighWatermark != 3 {
		t.Errorf("%+v", o)
	}
	if got := p.ActiveProducers(nil); !reflect.DeepEqual(got, []ProducerState{{9, 3, -1, 1, -1, 0}}) {
		t.Errorf("%+v", got)
	}
	if id, first, at, ok := p.OldestTransaction(); id != 9 || first != 0 || at != 1 || !ok {
		t.Errorf("producer %d since %d at %d, %v", id, first, at, ok)
	}
	a := r.mark(p, marker(9, 4, 17, true), 2)
	r.until("it is answered", func() bool { return a.answered > 0 })
	if got := p.ActiveProducers(nil); !reflect.DeepEqual(got, []ProducerState{{9, 4, -1, 1795265500_000, 17, -1}}) {
		t.Errorf("%+v", got)
	}
	if _, _, _, ok := p.OldestTransaction(); ok || p.Offsets().LastStable != 4 {
		t.Errorf("%+v", p.Offsets())
	}
}

// TestTransactionsDoNotAllocate: a transaction, once warm.
func TestTransactionsDoNotAllocate(t *testing.T) {
	r := newRig(t, StoreOptions{})
	p := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
	data, end := &appending{}, &appending{}
	data.Batch, data.Owner = r.memory(spec{producer: 9, timestamp: 1, attrs: protocol.AttrTransactional}.batch()), data
	end.Batch, end.Owner, end.Origin = r.memory(marker(9, 0, 1, true)), end, FromCoordinator
	epoch := int16(0)
	once := func() {
		data.Batch[51], data.Batch[52] = byte(epoch>>8), byte(epoch)
		end.Batch[51], end.Batch[52] = byte((epoch+1)>>8), byte(epoch+1)
		data.Verified, _ = p.Verify(9, epoch, 0, true)
		end.TransactionVersion = 2
		data.answered, end.answered = 0, 0
		p.Append(&data.Append)
		p.Append(&end.Append)
		for data.answered+end.answered < 2 {
			r.core.Turn(false)
		}
		if data.Err != protocol.NONE || end.Err != protocol.NONE {
			t.Fatal(data.Err, end.Err)
		}
		epoch++
	}
	for range 50 {
		once()
	}
	if n := testing.AllocsPerRun(100, once); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if o := p.Offsets(); o.LastStable != o.LogEnd {
		t.Errorf("%+v", o)
	}
}
