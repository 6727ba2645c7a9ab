package txn

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"slipstream/protocol"
)

// world is a driver that does things late, in any order, or not at all, and checks what must be true of every
// history. All it does is drawn from one source.
type world struct {
	t      *testing.T
	pick   func(n int) int // 0..n-1
	c      *Coordinator
	config Config
	now    int64
	epoch  int32
	nextID int64

	log     []Record
	appends []held
	markers []*Marker
	asked   map[int]string // requests without an answer
	tag     int

	ids     []string
	handed  map[string]given  // by transactional id: what its last client was told to use
	epochs  map[int64]int16   // the highest seen of each producer id
	endings map[string]ending // how the transaction that is ending ends
	open    map[string]int64  // ongoing in the log, since when
}

type held struct {
	append  uint64
	records []Record
}

type given struct {
	id    int64
	epoch int16
}

func newWorld(t *testing.T, pick func(int) int) *world {
	w := &world{
		t: t, pick: pick, config: DefaultConfig(), now: 1_700_000_000_000, nextID: 1,
		asked: map[int]string{}, ids: []string{"a", "b", "c"}, handed: map[string]given{},
		epochs: map[int64]int16{}, endings: map[string]ending{}, open: map[string]int64{},
	}
	w.config.ExpirationMillis = 100_000
	w.config.SettleMillis = int64(pick(3)) * 10
	w.start()
	return w
}

func (w *world) start() {
	w.epoch++
	w.c = New(w.config, w.epoch)
	w.appends, w.markers, w.asked = nil, nil, map[int]string{}
	for _, r := range w.log {
		if err := w.c.Load(r.Key, r.Value); err != nil {
			w.t.Fatal(err)
		}
	}
	w.c.Loaded(w.now)
}

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf(format, args...)
}

// step does one thing.
func (w *world) step() {
	switch w.pick(12) {
	case 0, 1, 2, 3, 4:
		w.request()
	case 5, 6:
		w.finishAppend(w.pick(8) == 0)
	case 7, 8:
		w.finishMarker()
	case 9:
		w.now += int64(w.pick(2000))
		w.c.Tick(w.now)
	case 10:
		if w.pick(20) == 0 {
			w.start()
		}
	case 11:
		w.now += int64(w.pick(20))
	}
	w.take()
	if err := w.c.Check(); err != nil {
		w.fatal("%v", err)
	}
}

func (w *world) request() {
	id := w.ids[w.pick(len(w.ids))]
	g, ok := w.handed[id]
	if !ok {
		g = given{-1, -1}
	}
	if w.pick(10) == 0 {
		g.epoch -= int16(w.pick(3)) - 1 // an old client, or one that makes things up
	}
	version := int16(2 * w.pick(2))
	w.tag++
	tag := w.tag
	switch w.pick(7) {
	case 0:
		r := InitProducerID{TransactionalID: id, TimeoutMillis: int32(1 + w.pick(5000)), ProducerID: -1, ProducerEpoch: -1}
		if w.pick(2) == 0 && g.id != -1 && g.epoch != -1 {
			r.ProducerID, r.ProducerEpoch = g.id, g.epoch
		}
		w.asked[tag] = "init " + id
		w.c.InitProducerID(w.now, tag, r)
	case 1, 2, 3:
		p := []TopicPartition{{"t", int32(w.pick(4))}, {"t", int32(w.pick(4))}}
		w.asked[tag] = "add " + id
		w.c.AddPartitions(w.now, tag, AddPartitions{
			TransactionalID: id, ProducerID: g.id, ProducerEpoch: g.epoch, Partitions: p, VerifyOnly: w.pick(5) == 0, Version: version,
		})
	default:
		w.asked[tag] = "end " + id
		w.c.EndTxn(w.now, tag, EndTxn{TransactionalID: id, ProducerID: g.id, ProducerEpoch: g.epoch, Commit: w.pick(2) == 0, Version: version})
	}
}

// take takes what the coordinator wants done, and checks it.
func (w *world) take() {
	for w.c.HasReady() {
		r := w.c.Ready()
		for _, a := range r.Responses {
			what, ok := w.asked[a.Tag.(int)]
			if !ok {
				w.fatal("request %v is answered twice", a.Tag)
			}
			delete(w.asked, a.Tag.(int))
			if a.Code == protocol.NONE && a.ProducerID != -1 {
				var kind, id string
				fmt.Sscan(what, &kind, &id)
				w.handed[id] = given{a.ProducerID, a.ProducerEpoch}
			}
		}
		if r.ProducerIDs > 0 && w.pick(4) == 0 {
			w.c.RefuseProducerIDs(w.now, protocol.COORDINATOR_LOAD_IN_PROGRESS)
		} else if r.ProducerIDs > 0 {
			w.c.AddProducerIDs(w.now, w.nextID, r.ProducerIDs)
			w.nextID += int64(r.ProducerIDs)
		}
		for i := range r.Markers {
			w.sent(&r.Markers[i])
		}
		if len(r.Records) > 0 {
			h := held{append: r.Append}
			for _, rec := range r.Records {
				rec.Key, rec.Value = append([]byte{}, rec.Key...), append([]byte(nil), rec.Value...)
				h.records = append(h.records, rec)
			}
			w.appends = append(w.appends, h)
		}
	}
}

// sent: a marker is only for a transaction whose outcome is in the log, and of that outcome.
func (w *world) sent(m *Marker) {
	e, ok := w.endings[m.TransactionalID]
	if !ok || (e.state == PrepareCommit) != m.Commit {
		w.fatal("a marker %+v, where the log says %v", m, e)
	}
	if m.CoordinatorEpoch != w.epoch {
		w.fatal("a marker of coordinator epoch %d in %d", m.CoordinatorEpoch, w.epoch)
	}
	w.markers = append(w.markers, m)
}

// finishAppend commits or fails one of the appends in flight, in any order.
func (w *world) finishAppend(fails bool) {
	if len(w.appends) == 0 {
		return
	}
	i := w.pick(len(w.appends))
	h := w.appends[i]
	w.appends = append(w.appends[:i], w.appends[i+1:]...)
	if fails {
		w.c.Failed(w.now, h.append, []protocol.ErrorCode{protocol.KAFKA_STORAGE_ERROR, protocol.NOT_ENOUGH_REPLICAS}[w.pick(2)])
		return
	}
	for _, r := range h.records {
		w.logged(r)
	}
	w.log = append(w.log, h.records...)
	w.c.Committed(w.now, h.append)
}

// logged: the log never goes back on a decision, and epochs only rise.
func (w *world) logged(r Record) {
	id, _ := decodeKey(r.Key)
	before, was := w.endings[id]
	if len(r.Value) == 0 {
		if _, ongoing := w.open[id]; ongoing || was {
			w.fatal("%s is forgotten in the middle of a transaction", id)
		}
		delete(w.handed, id)
		return
	}
	m, err := decodeValue(r.Value)
	if err != nil {
		w.fatal("%v", err)
	}
	if m.producerEpoch < w.epochs[m.producerID] {
		w.fatal("%s goes back from epoch %d to %d of %d", id, w.epochs[m.producerID], m.producerEpoch, m.producerID)
	}
	w.epochs[m.producerID] = m.producerEpoch
	switch {
	case was && !(m.state == CompleteCommit && before.state == PrepareCommit || m.state == CompleteAbort && before.state == PrepareAbort):
		w.fatal("%s is %v after %v", id, m.state, before.state)
	case m.state == Ongoing && w.open[id] == 0:
		w.open[id] = m.startMillis
	case m.state == Ongoing && w.open[id] != m.startMillis:
		w.fatal("%s: a transaction begins while one is ongoing", id)
	case m.state == Empty && w.open[id] != 0:
		w.fatal("%s: a new producer while a transaction is ongoing", id)
	}
	delete(w.endings, id)
	if m.state.ending() {
		w.endings[id] = ending{state: m.state}
		delete(w.open, id)
	}
}

// finishMarker writes a marker into a partition, or reports that it cannot be.
func (w *world) finishMarker() {
	if len(w.markers) == 0 {
		return
	}
	m := w.markers[w.pick(len(w.markers))]
	p := m.Partitions[w.pick(len(m.Partitions))]
	if w.pick(4) == 0 {
		w.c.MarkerFailed(w.now, m, p, []protocol.ErrorCode{protocol.KAFKA_STORAGE_ERROR, protocol.NOT_LEADER_OR_FOLLOWER}[w.pick(2)])
		return
	}
	w.c.MarkerDone(w.now, m, p)
}

// settle lets everything come to its end, and every timeout pass.
func (w *world) settle() {
	for round := 0; ; round++ {
		for len(w.appends) > 0 {
			w.finishAppend(false)
			w.take()
		}
		for _, m := range w.markers {
			for _, p := range m.Partitions {
				w.c.MarkerDone(w.now, m, p)
			}
		}
		w.markers = nil
		w.take()
		if len(w.appends) > 0 {
			continue
		}
		if w.c.Deadline() > w.now+10_000 {
			break
		}
		if round > 10_000 {
			w.fatal("it does not come to an end")
		}
		w.now = max(w.now, w.c.Deadline())
		w.c.Tick(w.now)
		w.take()
	}
	if len(w.asked) > 0 {
		w.fatal("never answered: %v", w.asked)
	}
	if len(w.open) > 0 || len(w.endings) > 0 {
		w.fatal("never ended: %v %v", w.open, w.endings)
	}
}

// same: what a replay gives is what is there.
func (w *world) same() {
	replayed := New(w.config, w.epoch)
	for _, r := range w.log {
		if err := replayed.Load(r.Key, r.Value); err != nil {
			w.fatal("%v", err)
		}
	}
	if replayed.Count() != w.c.Count() {
		w.fatal("%d ids, %d after a replay", w.c.Count(), replayed.Count())
	}
	for id, t := range w.c.byID {
		live, again := t.meta, replayed.byID[id].meta
		live.lastProducerEpoch = -1
		if len(live.partitions) == 0 {
			live.partitions = again.partitions[:len(again.partitions):len(again.partitions)]
		}
		if !reflect.DeepEqual(live, again) {
			w.fatal("%s is %+v, after a replay %+v", id, live, again)
		}
	}
}

func live(w *world, steps int) {
	for range steps {
		w.step()
	}
	w.settle()
	w.same()
}

// TestRandomHistories: 1,000 histories of 600 steps, each from its seed.
func TestRandomHistories(t *testing.T) {
	seeds := 1000
	if testing.Short() {
		seeds = 100
	}
	var begun, committed, aborted uint64
	for seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		w := newWorld(t, r.IntN)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w.t = t
			live(w, 600)
		})
		begun += w.c.Stats.Begun
		committed += w.c.Stats.Committed
		aborted += w.c.Stats.Aborted
	}
	if committed < uint64(seeds) || aborted < uint64(seeds) {
		t.Errorf("%d begun, %d committed, %d aborted: the histories say too little", begun, committed, aborted)
	}
	t.Logf("%d begun, %d committed, %d aborted", begun, committed, aborted)
}

// FuzzHistories has the fuzzer choose.
func FuzzHistories(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x05\x00\x00\x00\x01\x00\x02"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		pick := func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			b := int(choices[0])
			choices = choices[1:]
			if n > 256 && len(choices) > 0 {
				b = b<<8 | int(choices[0])
				choices = choices[1:]
			}
			return b % n
		}
		w := newWorld(t, pick)
		for n := 0; len(choices) > 0 && n < 5000; n++ {
			w.step()
		}
		w.settle()
		w.same()
	})
}

// FuzzRecords: what is read is written back the same, and nothing read does harm.
func FuzzRecords(f *testing.F) {
	m := meta{state: Ongoing, producerID: 7, previousProducerID: 7, nextProducerID: -1, lastProducerEpoch: -1, producerEpoch: 3, timeoutMillis: 60000, clientVersion: 2, partitions: []TopicPartition{{"a", 1}, {"b", 0}}, startMillis: 1, updateMillis: 2}
	f.Add(appendKey(nil, "id"), m.appendValue(nil, 1))
	f.Add(appendKey(nil, ""), m.appendValue(nil, 0))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		c := New(DefaultConfig(), 1)
		if c.Load(key, value) != nil {
			return
		}
		c.Loaded(5)
		c.Tick(1 << 60)
		c.Ready()
		m, err := decodeValue(value)
		if err != nil {
			return
		}
		again, err := decodeValue(m.appendValue(nil, 1))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v\nis read back as\n%+v, %v", m, again, err)
		}
	})
}
