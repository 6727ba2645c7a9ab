package group

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// world is what is around a coordinator in the tests: a cluster's topics, a log,
// a clock and clients' answers. It drives the coordinator as the broker does.
type world struct {
	t        testing.TB
	c        *Coordinator
	topics   *fakeTopics
	settings Settings
	now      int64
	ids      uint64

	log     []logged
	hold    bool
	flying  []Batch
	refuse  protocol.ErrorCode // what the next transactional batch is refused with
	answers map[uint64]kmsg.Response
	token   uint64

	errands []ShareErrand // not yet done
	left    []ShareMember
}

// logged is a record or a marker of the log.
type logged struct {
	key, value []byte
	producerID int64
	marker     bool
	commit     bool
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, topics: newFakeTopics(), settings: DefaultSettings(), now: 1_000_000, answers: map[uint64]kmsg.Response{}}
	w.c = w.load()
	return w
}

// load makes a coordinator of what is in the log.
func (w *world) load() *Coordinator {
	c := New(Options{Settings: w.settings, Topics: w.topics, RandomID: w.randomID})
	for i, l := range w.log {
		if l.marker {
			c.ReplayMarker(int64(i), l.producerID, l.commit)
		} else if err := c.Replay(int64(i), l.producerID, l.key, l.value); err != nil {
			w.t.Fatal(err)
		}
	}
	c.Loaded(w.now)
	return c
}

func (w *world) randomID() (id protocol.UUID) {
	w.ids++
	binary.BigEndian.PutUint64(id[8:], w.ids)
	return id
}

// send gives the coordinator a request and settles what follows from it at once.
func (w *world) send(client string, req kmsg.Request) uint64 {
	w.token++
	w.c.Step(w.now, Request{Token: w.token, ClientID: client, ClientHost: "/127.0.0.1", Body: req})
	w.settle()
	return w.token
}

// settle does what Ready says until there is nothing left.
func (w *world) settle() {
	for range 100_000 {
		r := w.c.Ready(7)
		for _, a := range r.Responses {
			if w.answers[a.Token] != nil {
				w.t.Fatalf("request %d is answered twice", a.Token)
			}
			w.answers[a.Token] = a.Body
		}
		w.flying = append(w.flying, r.Batches...)
		w.errands, w.left = append(w.errands, r.Errands...), append(w.left, r.Left...)
		if !w.hold && len(w.flying) > 0 {
			w.land()
			continue
		}
		if r.More {
			w.c.Work(w.now)
			continue
		}
		if r.DeadlineMillis != 0 && r.DeadlineMillis <= w.now {
			w.c.Tick(w.now)
			continue
		}
		return
	}
	w.t.Fatal("the coordinator does not settle")
}

// land puts the batches in flight into the log.
func (w *world) land() {
	flying := w.flying
	w.flying = nil
	for _, b := range flying {
		if b.ProducerID >= 0 && w.refuse != protocol.NONE {
			code := w.refuse
			w.refuse = protocol.NONE
			w.c.Failed(w.now, b.Seq, code)
			continue
		}
		for _, r := range b.Records {
			w.log = append(w.log, logged{key: r.Key, value: r.Value, producerID: b.ProducerID})
		}
		w.c.Committed(w.now, b.Seq)
	}
}

// pass lets time pass, in steps in which timers are due.
func (w *world) pass(millis int64) {
	end := w.now + millis
	for {
		d := w.c.Ready(0).DeadlineMillis
		if d == 0 || d > end {
			break
		}
		w.now = max(w.now, d)
		w.c.Tick(w.now)
		w.settle()
	}
	w.now = end
	w.settle()
}

// restart has another coordinator take over from the log.
func (w *world) restart() {
	w.c = w.load()
	w.settle()
}

func (w *world) endTransaction(producerID int64, commit bool) {
	w.log = append(w.log, logged{producerID: producerID, marker: true, commit: commit})
	w.c.EndTransaction(w.now, producerID, commit)
	w.settle()
}

// fakeTopics is a cluster's topics.
type fakeTopics struct {
	names   []string
	byName  map[string]Topic
	byID    map[protocol.UUID]Topic // if indexed
	version int64
	made    uint64
}

func newFakeTopics() *fakeTopics { return &fakeTopics{byName: map[string]Topic{}, version: 1} }

func (f *fakeTopics) TopicByName(name string) (Topic, bool) {
	t, ok := f.byName[name]
	return t, ok
}

// index makes TopicByID fast; the topics must not change after it.
func (f *fakeTopics) index() {
	f.byID = map[protocol.UUID]Topic{}
	for _, t := range f.byName {
		f.byID[t.ID] = t
	}
}

func (f *fakeTopics) TopicByID(id protocol.UUID) (Topic, bool) {
	if f.byID != nil {
		t, ok := f.byID[id]
		return t, ok
	}
	for _, t := range f.byName {
		if t.ID == id {
			return t, true
		}
	}
	return Topic{}, false
}

func (f *fakeTopics) NamesAfter(dst []string, after string, n int) []string {
	at, found := slices.BinarySearch(f.names, after)
	if found {
		at++
	}
	return append(dst, f.names[at:min(at+n, len(f.names))]...)
}

func (f *fakeTopics) Version() int64 { return f.version }

func (f *fakeTopics) set(name string, partitions int32) (created bool) {
	f.version++
	t, ok := f.byName[name]
	if !ok {
		f.made++
		t = Topic{Name: name, ID: protocol.UUID{0: byte(f.made), 1: byte(f.made >> 8), 15: 1}}
		at, _ := slices.BinarySearch(f.names, name)
		f.names = slices.Insert(f.names, at, name)
	}
	t.Partitions = partitions
	f.byName[name] = t
	return !ok
}

func (f *fakeTopics) remove(name string) Topic {
	f.version++
	t := f.byName[name]
	delete(f.byName, name)
	at, _ := slices.BinarySearch(f.names, name)
	f.names = slices.Delete(f.names, at, at+1)
	return t
}

func (w *world) setTopic(name string, partitions int32) {
	if w.topics.set(name, partitions) {
		w.c.TopicsChanged(w.now, []string{name}, nil, nil)
	} else {
		w.c.TopicsChanged(w.now, nil, []string{name}, nil)
	}
	w.settle()
}

func (w *world) removeTopic(name string) {
	t := w.topics.remove(name)
	w.c.TopicsChanged(w.now, nil, nil, []Topic{t})
	w.settle()
}

// dump is everything that a coordinator must know after a restart, and what it
// works out from that.
func dump(c *Coordinator) string {
	var b strings.Builder
	for _, g := range c.sorted {
		if cg := g.classic; cg != nil {
			dumpClassic(&b, g, cg)
		}
		if cg := g.consumer; cg != nil {
			dumpConsumer(&b, g, cg)
		}
		dumpOffsets(&b, g, "offset", g.offsets.table)
		for _, p := range g.offsets.pending {
			dumpOffsets(&b, g, fmt.Sprintf("pending of %d:", p.producerID), p.table)
		}
	}
	return b.String()
}

func dumpClassic(b *strings.Builder, g *group, cg *classicGroup) {
	if cg.state != classicStable && cg.state != classicEmpty || !cg.recorded && len(cg.pending.byID) > 0 {
		fmt.Fprintf(b, "%q rebalances\n", g.id) // the log has its last generation
		return
	}
	fmt.Fprintf(b, "%q %s generation %d type %q protocol %q leader %q recorded %v\n",
		g.id, cg.state, cg.generation, cg.protocolType, orEmpty(cg.protocol), cg.leader, cg.recorded)
	for m := range cg.members.all() {
		fmt.Fprintf(b, "  %q instance %q client %q %q rebalance %d session %d metadata %x assignment %x\n",
			m.id, orEmpty(m.instance), m.clientID, m.clientHost, m.rebalanceMillis, m.sessionMillis, m.metadata(orEmpty(cg.protocol)), m.assignment)
	}
}

func dumpConsumer(b *strings.Builder, g *group, cg *consumerGroup) {
	fmt.Fprintf(b, "%q epoch %d assignment %d at %d hash %x recorded %x state %s\n", g.id, cg.epoch, cg.assignmentEpoch, cg.assignedAt, cg.hash, uint64(cg.recordedHash), cg.state())
	for _, m := range cg.sorted {
		fmt.Fprintf(b, "  %q epoch %d/%d state %d has %v gives up %v is to have %v\n", m.id, m.epoch, m.previous, m.state, m.assigned, m.revoking, cg.target[m.id])
		fmt.Fprintf(b, "    instance %q rack %q client %q %q topics %q regex %q rebalance %d assignor %q classic %v\n", orEmpty(m.instance), orEmpty(m.rack),
			m.clientID, m.clientHost, m.topics, m.regex, m.memberFacts.rebalance, orEmpty(m.assignor), m.classic)
	}
	for _, name := range cg.regexNames() {
		r := cg.regexes[name]
		fmt.Fprintf(b, "  regex %q members %d resolved %v topics %q version %d at %d\n", name, r.members, r.resolved, r.topics, r.version, r.at)
	}
	fmt.Fprintf(b, "  topics %v assignors %v stable %v classics %d protocols %v targets %d static %v owners %d\n",
		cg.subscribed, cg.assignors, cg.stable, cg.classics, cg.protocols, len(cg.target), cg.static, cg.owners.count+len(cg.owners.odd))
}

func dumpOffsets(b *strings.Builder, g *group, what string, t offsetTable) {
	for _, topic := range t.names() {
		for _, o := range t[topic].list {
			fmt.Fprintf(b, "%q %s %s-%d %d epoch %d %q at %d expires %d id %s\n",
				g.id, what, topic, o.partition, o.offset, o.leaderEpoch, o.metadata, o.at, o.expires, o.topicID)
		}
	}
}

// checkReplay holds the live state against one that is made of the log.
func (w *world) checkReplay() {
	w.t.Helper()
	if live, loaded := liveView(w.c, w.load()); live != loaded {
		w.t.Fatal(difference(live, loaded))
	}
}

// liveView dumps both, leaving out what classic groups that rebalance have not
// written yet.
func liveView(live, loaded *Coordinator) (string, string) {
	a, b := strings.Split(dump(live), "\n"), strings.Split(dump(loaded), "\n")
	skip := map[string]bool{}
	for _, line := range a {
		if id, ok := strings.CutSuffix(line, " rebalances"); ok {
			skip[id] = true
		}
	}
	strip := func(lines []string) string {
		var out []string
		skipping := false
		for _, line := range lines {
			if !strings.HasPrefix(line, " ") {
				skipping = false
				for id := range skip {
					skipping = skipping || strings.HasPrefix(line, id+" ") && !strings.HasPrefix(line, id+" offset") && !strings.HasPrefix(line, id+" pending")
				}
			}
			if !skipping {
				out = append(out, line)
			}
		}
		return strings.Join(out, "\n")
	}
	return strip(a), strip(b)
}

// difference tells the lines that only one side has.
func difference(live, loaded string) string {
	var out strings.Builder
	only := func(who, a, b string) {
		have := strings.Split(b, "\n")
		for _, line := range strings.Split(a, "\n") {
			if !slices.Contains(have, line) {
				fmt.Fprintf(&out, "only %s: %s\n", who, line)
			}
		}
	}
	only("live", live, loaded)
	only("loaded", loaded, live)
	return out.String()
}
