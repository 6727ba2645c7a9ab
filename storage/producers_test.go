package storage

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"slipstream/protocol"
)

// testdata/producers_oracle.json holds what Apache Kafka 4.3.1 answered to each batch of some idempotent producers'.

type oracleStep struct {
	Producer                  int64
	Epoch                     int16
	Sequence                  int32
	Records                   int
	Code                      protocol.ErrorCode
	BaseOffset, LogAppendTime int64
}

type oracleScenario struct {
	Name  string
	Steps []oracleStep
}

func oracle(t *testing.T) (all []oracleScenario) {
	t.Helper()
	if err := json.Unmarshal(mustRead(t, "testdata/producers_oracle.json"), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func (s *oracleStep) batch() []byte {
	info := protocol.NewBatchInfo(0, 0)
	info.ProducerID, info.ProducerEpoch, info.BaseSequence = s.Producer, s.Epoch, s.Sequence
	var b protocol.Builder
	b.Begin(nil, info)
	for range s.Records {
		b.Append(&protocol.Record{Timestamp: 1795265500_000, Value: []byte("x")})
	}
	buf, _ := b.Finish()
	return buf
}

// TestProducersAnswerAsKafkas sends what Kafka was sent, one batch after the other and all in one turn, and
// once more with a restart before every step.
func TestProducersAnswerAsKafkas(t *testing.T) {
	check := func(t *testing.T, s *oracleScenario, i int, a *appending) {
		t.Helper()
		if q := &s.Steps[i]; a.Err != q.Code || a.answered != 1 || a.Err == protocol.NONE && (a.BaseOffset != q.BaseOffset || a.LogAppendTime != q.LogAppendTime) {
			t.Errorf("step %d: %v at %d, time %d, answered %d times; Kafka: %v at %d, time %d",
				i, a.Err, a.BaseOffset, a.LogAppendTime, a.answered, q.Code, q.BaseOffset, q.LogAppendTime)
		}
	}
	for _, s := range oracle(t) {
		t.Run(s.Name, func(t *testing.T) {
			writers(t, func(t *testing.T, o StoreOptions) {
				r := newRig(t, o)
				one := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
				together := r.create(filepath.Join(t.TempDir(), "events-0"), DefaultConfig())
				var queued []*appending
				for i := range s.Steps {
					check(t, &s, i, r.append(one, s.Steps[i].batch()))
					queued = append(queued, r.begin(together, s.Steps[i].batch()))
				}
				for i, a := range queued {
					r.until("all are answered", func() bool { return a.answered > 0 })
					check(t, &s, i, a)
				}
			})
		})
	}
}

// TestProducersSurvive stops the broker, cleanly or by a crash, before each step of a producer: the five batches sent
// last are known as duplicates afterwards, as before.
func TestProducersSurvive(t *testing.T) {
	for _, clean := range []bool{true, false} {
		dir := filepath.Join(t.TempDir(), "events-0")
		r := newRig(t, StoreOptions{})
		p := r.create(dir, DefaultConfig())
		p.config.ProducerIDMillis = 1 << 50
		restart := func() {
			if clean {
				if errs := r.close(); errs != nil {
					t.Fatal(errs)
				}
			}
			r = newRig(t, StoreOptions{})
			cfg := DefaultConfig()
			cfg.ProducerIDMillis = 1 << 50
			p, _ = r.open(dir, cfg, OpenOptions{Clean: clean})
		}
		for seq := int32(0); seq < 24; seq += 3 {
			restart()
			b := spec{records: 3, producer: 7, sequence: seq, timestamp: 1}.batch()
			if got := r.must(p, b); got != int64(seq) {
				t.Fatalf("clean %v: sequence %d is at %d", clean, seq, got)
			}
			restart()
			for again := max(seq-12, 0); again <= seq; again += 3 {
				b := spec{records: 3, producer: 7, sequence: again, timestamp: 1}.batch()
				if a := r.append(p, b); a.Err != protocol.NONE || a.BaseOffset != int64(again) {
					t.Fatalf("clean %v: repeated sequence %d: %v at %d", clean, again, a.Err, a.BaseOffset)
				}
			}
			if a := r.append(p, spec{records: 1, producer: 7, sequence: seq + 4, timestamp: 1}.batch()); a.Err != protocol.OUT_OF_ORDER_SEQUENCE_NUMBER {
				t.Fatalf("clean %v: a gap after %d: %v", clean, seq, a.Err)
			}
		}
		if end := p.Offsets().LogEnd; end != 24 {
			t.Errorf("the log ends at %d", end)
		}
	}
}

func TestProducersExpire(t *testing.T) {
	k := newFaults()
	k.wall = 1e18
	r := newRigOn(t, k, StoreOptions{})
	dir := filepath.Join(t.TempDir(), "events-0")
	p := r.create(dir, DefaultConfig())
	now := int64(1e12)
	day := int64(24 * 3600_000)
	r.must(p, spec{producer: 1, timestamp: now - day}.batch())
	r.must(p, spec{producer: 2, timestamp: now - day + 1}.batch())
	if p.Producers() != 2 {
		t.Fatalf("%d producers", p.Producers())
	}
	r.turns(1)
	r.store.Fire(nil)
	if p.Producers() != 1 || p.producers.get(2) == nil {
		t.Errorf("%d producers", p.Producers())
	}
	r.must(p, spec{producer: 1, sequence: 77, timestamp: now - day}.batch()) // unknown again: any sequence will do
	if errs := r.close(); errs != nil {
		t.Fatal(errs)
	}
	q, _, err := Open(k, dir, DefaultConfig(), OpenOptions{Clean: true})
	if err != nil || q.Producers() != 1 {
		t.Errorf("opened with %d producers, %v", q.Producers(), err)
	}
}

func TestSequencesWrap(t *testing.T) {
	for _, c := range []struct {
		last, next int32
		want       bool
	}{{0, 1, true}, {0, 0, false}, {1<<31 - 1, 0, true}, {1<<31 - 1, 1, false}, {1<<31 - 2, 1<<31 - 1, true}, {-1, 0, true}, {5, 7, false}} {
		if got := follows(c.last, c.next); got != c.want {
			t.Errorf("follows(%d, %d) is %v", c.last, c.next, got)
		}
	}
	if got := decrementSequence(2, 4); got != 1<<31-2 {
		t.Errorf("2 less 4 is %d", got)
	}
}

// TestMarkersReplay opens a log with transaction markers, as Kafka writes them.
func TestMarkersReplay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events-0")
	r := newRig(t, StoreOptions{})
	r.store.SetVerification(false)
	p := r.create(dir, DefaultConfig())
	r.must(p, spec{producer: 7, timestamp: 1e12, attrs: protocol.AttrTransactional}.batch())
	r.must(p, spec{producer: 8, timestamp: 1e12, attrs: protocol.AttrTransactional}.batch())
	info := protocol.NewBatchInfo(0, 0)
	info.Attributes, info.ProducerID, info.ProducerEpoch = protocol.AttrTransactional|protocol.AttrControl, 7, 0
	var b protocol.Builder
	b.Begin(nil, info)
	b.Append(&protocol.Record{Timestamp: 1e12, Key: protocol.AppendControlKey(nil, protocol.CommitMarker), Value: protocol.AppendTransactionMarker(nil, 42)})
	marker, _ := b.Finish()
	log := mustRead(t, dir, fileName(0, logSuffix))
	m := protocol.Batch(marker)
	m.SetBaseOffset(2)
	m.SetLeaderEpoch(0)
	mustWrite(t, filepath.Join(dir, fileName(0, logSuffix)), append(log, marker...))
	k := newFaults()
	k.wall = 1e18
	q, _, err := Open(k, dir, DefaultConfig(), OpenOptions{})
	if err != nil || q.Offsets().LogEnd != 3 {
		t.Fatalf("%+v, %v", q.Offsets(), err)
	}
	seven, eight := q.producers.get(7), q.producers.get(8)
	if seven.txnFirstOffset != -1 || seven.coordinatorEpoch != 42 || seven.lastSeq() != 0 || eight.txnFirstOffset != 1 {
		t.Errorf("producers: %+v, %+v", seven, eight)
	}
}
