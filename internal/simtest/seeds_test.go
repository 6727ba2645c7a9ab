package simtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"slipstream/internal/broker"
	"slipstream/internal/logtool"
	"slipstream/internal/sim"
	"slipstream/reactor"
)

// run is one seed's story.
type run struct {
	t    *testing.T
	seed uint64
	rand *rand.Rand // the clients'; the world has its own
	node *node
	size size

	outline   outline // of the story
	violation error   // that it ended with

	topics    []*topic
	producers []*producer
	consumers []*consumer
	admin     *admin
	keyed     *keyed  // nil in stories without a compacted topic
	seeker    *seeker // likewise without one
	*society          // nil in stories without groups and transactions

	durable bool // everything is synced before it is acknowledged
	quiet   bool // producers produce nothing new
	lost    bool // a power cut took what was not synced
	failure error
	ids     map[int64]bool // producer ids given out
	acked   int
	read    int
	looks   int
	crashes map[string]int
	lookups int // plans that helpers made
	refused int // batches, for want of room on the disk
	*faults     // nil in stories without a plan

	life   int    // of the broker: where logs begin is only comparable within one, or across a stop
	lookAt int64  // the clients look at the world at this time at the latest
	news   uint64 // World.ClientNews when they looked last
}

func (r *run) fail(err error) {
	if r.failure == nil {
		r.failure = err
	}
}

// gotProducerID: none is given out twice, whatever happens in between.
func (r *run) gotProducerID(id int64) {
	if r.ids[id] {
		r.fail(fmt.Errorf("producer id %d was given out twice", id))
	}
	r.ids[id] = true
}

func newRun(t *testing.T, o outline) *run {
	seed := o.seed
	r := &run{t: t, seed: seed, size: drawSize(seed), rand: rand.New(rand.NewPCG(seed, 99)), ids: map[int64]bool{}, crashes: map[string]int{}}
	options := sim.Options{Level: levels[seed%3], TinyReads: seed%5 == 0, TraceLines: traceLines, ReadErrors: int(seed % 4 * 200)}
	r.node = &node{
		world: sim.New(seed, options), several: seed%5 == 4, cores: 1 + r.rand.IntN(3), segment: r.size.segment + r.rand.IntN(50_000),
		sets: []string{
			"slipstream.writer=" + []string{"ring", "inline"}[r.rand.IntN(2)],
			"slipstream.fetch.rung=" + []string{"auto", "auto", "relay", "hot", "bulk", "cold"}[r.rand.IntN(6)],
			fmt.Sprint("slipstream.cold.bytes=", (1+r.rand.IntN(3))<<20),
		},
	}
	r.node.after = r.step
	r.topics = []*topic{newTopic("durable", 2, true), newTopic("lazy", 2, false)}
	r.admin = &admin{run: r, wanted: append([]*topic(nil), r.topics...)}
	durable, lazy := r.topics[0], r.topics[1]
	r.producers = []*producer{r.newProducer("i0", durable, 0, 1)}
	for _, p := range []*producer{r.newProducer("i1", lazy, 0), r.newProducer("i2", lazy, 1), r.newProducer("p3", durable, 0), r.newProducer("p4", lazy, 0, 1)} {
		if r.size.takesPart(r.rand) {
			r.producers = append(r.producers, p)
		}
	}
	r.drawLogs()
	r.abridge(&o)
	return r
}

// drawLogs adds what some stories have: a log that is cut by its settings and on demand, a
// compacted one, and somebody who reads here and there.
func (r *run) drawLogs() {
	r.node.sets = append(r.node.sets, "log.retention.check.interval.ms=3", "log.segment.delete.delay.ms=4")
	if r.rand.IntN(3) == 0 {
		bounded := newTopic("bounded", 1, true)
		h := bounded.parts[0]
		if r.rand.IntN(2) == 0 {
			h.retainsBytes = int64(r.node.segment) * int64(1+r.rand.IntN(3))
			bounded.configs = map[string]string{"retention.bytes": fmt.Sprint(h.retainsBytes)}
		} else {
			h.retainsNanos = int64(5+r.rand.IntN(30)) * 1e6
			bounded.configs = map[string]string{"retention.ms": fmt.Sprint(h.retainsNanos / 1e6)}
		}
		r.topics = append(r.topics, bounded)
		r.admin.cuts = bounded
		r.producers = append(r.producers, r.newProducer("i5", bounded, 0))
	}
	if r.rand.IntN(3) == 0 {
		r.keyed = r.newKeyed()
		r.topics = append(r.topics, r.keyed.topic)
		r.node.sets = append(r.node.sets, "log.cleaner.backoff.ms=2", fmt.Sprint("slipstream.writeback.horizon.ms=", 10+r.rand.IntN(30)))
	}
	r.admin.wanted = append([]*topic(nil), r.topics...)
	for range 2 {
		if r.size.takesPart(r.rand) {
			r.consumers = append(r.consumers, r.newConsumer())
		}
	}
	if r.rand.IntN(2) == 0 {
		r.seeker = &seeker{run: r}
	}
}

// look decides whether the clients look at the world after this step of the driver:
// when something has come for one of them, and else after a while. Most steps are of no
// interest to anybody.
func (r *run) look() bool {
	w := r.node.world
	if news := w.ClientNews(); news == r.news && w.Now() < r.lookAt {
		return false
	}
	r.news, r.lookAt = w.ClientNews(), w.Now()+r.rand.Int64N(lookNanos)
	return true
}

const lookNanos = 30_000

// step lets the clients look at the world, after a step of the driver.
func (r *run) step() {
	if r.failure != nil || !r.look() {
		return
	}
	if r.faults != nil {
		r.faults.step()
	}
	if err := r.admin.step(); err != nil {
		r.fail(err)
	}
	if len(r.admin.known) < len(r.topics) || r.admin.known[len(r.topics)-1].id == [16]byte{} || r.looks == 0 {
		return // nothing to produce to yet
	}
	for _, p := range r.producers {
		if r.society != nil && r.frozen {
			break
		}
		if err := p.step(); err != nil {
			r.fail(err)
		}
	}
	for _, c := range r.consumers {
		if err := c.step(); err != nil {
			r.fail(err)
		}
	}
	if r.keyed != nil {
		if err := r.keyed.step(); err != nil {
			r.fail(err)
		}
	}
	if r.seeker != nil {
		if err := r.seeker.step(); err != nil {
			r.fail(err)
		}
	}
	if r.society != nil {
		if err := r.society.step(); err != nil {
			r.fail(err)
		}
	}
}

// drive runs the world until something is so.
func (r *run) drive(nanos int64, until func() bool) error {
	err := r.node.driver.Run(nanos, func() bool { return r.failure != nil || until() })
	if r.failure != nil {
		return r.failure
	}
	if err != nil {
		return err
	}
	return r.node.healthy()
}

// live serves for a while.
func (r *run) live(nanos int64) error {
	end := r.node.world.Now() + nanos
	err := r.drive(nanos+1, func() bool { return r.node.world.Now() >= end })
	if err == sim.ErrTimeout {
		return nil
	}
	return err
}

// round is one life of the broker and its end.
func (r *run) round() error {
	if err := r.live(1 + r.rand.Int64N(r.size.lifeNanos)); err != nil {
		return err
	}
	if r.rand.IntN(3) == 0 && !slices.Contains(r.outline.without, "extras") {
		n := len(r.admin.known) + len(r.admin.wanted)
		r.admin.wanted = append(r.admin.wanted, newTopic(fmt.Sprint("extra-", n), 1+r.rand.IntN(3), false))
	}
	w := r.node.world
	switch r.rand.IntN(6) {
	case 0:
		return r.ended("kill", false, func() error { w.Kill(); return nil })
	case 1:
		return r.ended("power cut", true, func() error { w.PowerCut(sim.CutDrawn); return nil })
	case 2, 3: // in the middle of a call
		kill := r.rand.IntN(2) == 0
		w.CrashAfter(1+r.rand.IntN(3000), kill, sim.CutDrawn)
		return r.ended(fmt.Sprint("crash in a call, kill ", kill), !kill, func() error { return r.live(10e9) })
	case 4:
		return r.ended("stop", false, func() error { return r.stop(false) })
	}
	return r.ended("stop, then a power cut", false, func() error { return r.stop(true) })
}

// stop ends the broker in order. All of it is then durable, the lazy topic too.
func (r *run) stop(cut bool) error {
	if err := r.node.stop(); err != nil {
		return err
	}
	if r.failure != nil {
		return r.failure
	}
	if cut {
		r.node.world.PowerCut(sim.CutDrawn)
	} else {
		r.node.world.Kill()
	}
	return nil
}

// ended: a life ends in a way that may lose what was not synced.
func (r *run) ended(how string, loses bool, end func() error) error {
	err := end()
	if r.failure != nil {
		return r.failure
	}
	if err == nil && !r.node.world.Down() { // the call that it should have stopped in never came
		return fmt.Errorf("%s: the machine is still up", how)
	}
	if err != nil && !isCrash(err) {
		return fmt.Errorf("%s: %w", how, err)
	}
	r.crashes[how]++
	r.tell("machine", "%s", how)
	r.lookAt = 0
	r.step() // what has reached the clients was said before
	if !strings.HasPrefix(how, "stop") || strings.HasSuffix(how, "failed true") {
		r.crashed()
	}
	return r.restart(loses)
}

// crashed: where a log begins is kept now and then only, as in Kafka: deleted records
// may be back.
func (r *run) crashed() {
	r.life++
	for _, t := range r.topics {
		for _, h := range t.parts {
			h.start = 0
		}
	}
}

// restart starts the broker until it serves; it may be stopped while it starts.
func (r *run) restart(lost bool) error {
	for {
		r.node.bury()
		lost = r.faults.ended() || lost
		if lost {
			r.lost = true
			for _, t := range append(r.topics, r.admin.known...) {
				for _, h := range t.parts {
					h.powerCut()
				}
			}
			for _, c := range r.consumers {
				c.powerCut()
			}
			for _, p := range r.producers {
				p.conn = nil
			}
			r.admin.conn = nil
			if r.keyed != nil {
				r.keyed.writer.conn, r.keyed.reader.conn = nil, nil
			}
			if r.seeker != nil {
				r.seeker.conn = nil
			}
		}
		w := r.node.world
		w.Restart()
		kill := r.rand.IntN(2) == 0 || r.society != nil && !r.durable
		if r.rand.IntN(3) == 0 {
			w.CrashAfter(1+r.rand.IntN(800), kill, sim.CutDrawn)
		}
		if r.society != nil {
			r.truth.txns.Stopped()
		}
		err := r.node.start()
		if r.failure != nil {
			return r.failure
		}
		if isCrash(err) {
			r.crashes["while starting"]++
			r.crashed()
			lost = !kill
			continue
		}
		if err != nil && r.faults.mayKeepFromStarting() {
			w.CrashAfter(0, false, 0)
			lost = false
			continue
		}
		w.CrashAfter(0, false, 0)
		return err
	}
}

// verify reads everything from the start, once the producers have nothing left to
// send, and compares.
func (r *run) verify() error {
	r.quiet = true
	err := r.drive(300e9, func() bool {
		for _, p := range r.producers {
			if p.pending() {
				return false
			}
		}
		return len(r.admin.wanted) == 0
	})
	if err != nil {
		return fmt.Errorf("the producers get no answer: %w", err)
	}
	c := r.newConsumer()
	c.toTheEnd = true
	r.consumers = append(r.consumers, c)
	if err := r.drive(300e9, c.finished); err != nil {
		return fmt.Errorf("reading everything: %w", err)
	}
	looks := r.looks
	if err := r.drive(300e9, func() bool { return r.looks > looks+1 }); err != nil {
		return fmt.Errorf("asking for the topics: %w", err)
	}
	for _, part := range c.parts {
		h := part.topic.parts[part.partition]
		var err error
		switch {
		case h.doubtful():
		case part.topic.keyed:
			err = h.compacted(part.offsets, part.ids, part.end)
		default:
			err = h.complete(part.first, part.ids)
		}
		if err != nil {
			return err
		}
		if err := h.retained(part.first, part.bytes, r.now()); err != nil {
			return err
		}
	}
	if r.keyed != nil {
		return r.keyed.clean()
	}
	return nil
}

func (r *run) story(rounds int) error {
	if err := r.node.start(); err != nil {
		return err
	}
	for range rounds {
		if err := r.round(); err != nil {
			return err
		}
	}
	if err := r.live(20e6); err != nil {
		return err
	}
	if err := r.verify(); err != nil {
		return err
	}
	if err := r.countWays(); err != nil {
		return err
	}
	return r.stopForGood()
}

// stopForGood ends the broker in order. Then its files are as slipstream log verify wants them.
func (r *run) stopForGood() error {
	if err := r.stop(false); err != nil {
		return err
	}
	report, err := logtool.Verify(r.node.world.Restart(), "/data", logtool.VerifyOptions{Workers: 1})
	if err != nil {
		return fmt.Errorf("verifying the files: %w", err)
	}
	for i := range report.Problems {
		p := &report.Problems[i]
		if p.Kind == logtool.KindSnapshot && !r.durable {
			continue // after a power cut an older snapshot of producers than those that a start looks at may be empty
		}
		if !p.Note {
			return fmt.Errorf("after a stop: %v (one of %d problems)", p, report.Damaged())
		}
	}
	if report.Batches == 0 {
		return errors.New("after a stop there is nothing in the files")
	}
	return nil
}

// countWays asks the cores by which ways of the fetch path they have gone in this
// life: a story that never takes one does not test it.
func (r *run) countWays() error {
	for core := range r.node.running {
		s, answered := new(broker.CoreSnapshot), false
		if !r.node.broker.Ask(core, s, func(bool) { answered = true }) {
			return errors.New("a core does not answer")
		}
		if err := r.drive(60e9, func() bool { return answered }); err != nil {
			return err
		}
		r.lookups += int(s.Storage.Lookups)
		if n := s.Storage.BadIndexEntries; n > 0 {
			return fmt.Errorf("core %d has found %d index entries that do not fit their logs", core, n)
		}
	}
	return nil
}

var traceLines = 0

// oneSeed runs a seed's story of logs; err is the violation that it ended with.
func oneSeed(t *testing.T, seed uint64) (r *run, err error) { return playLogs(t, outlineOf(t, seed)) }

func playLogs(t *testing.T, o outline) (r *run, err error) {
	r = newRun(t, o)
	return r, r.told(r.story(r.size.rounds), "TestSeeds")
}

// told ends the story of a seed. An error is made one that says how to see it again,
// and what the broker logged last is there with it.
func (r *run) told(err error, test string) error {
	r.node.bury()
	if err == nil {
		return nil
	}
	r.violation = err
	for _, line := range r.node.world.Trace() {
		r.t.Log(line)
	}
	lines := r.node.log.lines
	return fmt.Errorf("seed %d (%s, level %s, %d cores, %v), after %v: %w\n%s\nagain: %s\nsmaller: make sim-shrink SEED=%d STORY=%s",
		r.seed, r.size.name, levels[r.seed%3], r.node.cores, r.node.sets, r.crashes, err, strings.Join(lines[max(0, len(lines)-40):], "\n"), r.outline.command(test), r.seed, test)
}

func TestSeeds(t *testing.T) {
	first, n := seedsWanted(200)
	crashes := map[string]int{}
	var ladder node
	acked, read, lookups := 0, 0, 0
	for seed := first; seed < first+n; seed++ {
		r, err := oneSeed(t, seed)
		if err != nil {
			t.Fatal(err)
		}
		acked, read = acked+r.acked, read+r.read
		lookups += r.lookups
		for how, n := range r.crashes {
			crashes[how] += n
		}
		ladder.addLadder(&r.node.ladder)
	}
	t.Logf("%d seeds: %d records acknowledged, %d read, ends %v; in the last lives %d plans by helpers", n, acked, read, crashes, lookups)
	if acked == 0 || read == 0 {
		t.Error("nothing was produced or read")
	}
	if n >= 100 && lookups == 0 {
		t.Error("no plan was made by a helper")
	}
	checkLadder(t, n, &ladder.ladder)
}

// checkLadder wants every rung of the fetch ladder, and what can go wrong on it,
// to have been tried by the seeds.
func checkLadder(t *testing.T, seeds uint64, l *reactor.Counters) {
	t.Logf("rungs %+v; %d cold steps, %d shared, %d waits, %d bytes dropped, %d read errors, %d turned cold; %d pipes closed",
		l.Rungs, l.ColdSteps, l.ColdStepsShared, l.ColdWaits, l.ColdDropped, l.ColdReadErrors, l.HotTurnedCold, l.BulkPipesClosed)
	if seeds < 200 {
		return
	}
	for rung := reactor.RungRelay; rung < reactor.RungCount; rung++ {
		if l.Rungs[rung].Bytes == 0 {
			t.Errorf("nothing was sent by the rung %s", rung)
		}
	}
	if l.ColdReadErrors == 0 || l.BulkPipesClosed == 0 || l.ColdStepsShared == 0 || l.ColdDropped == 0 {
		t.Error("the cold lane's or the bulk rung's errors were not tried")
	}
}

// Two runs of one seed are the same, event for event.
func TestSameSeedSameTrace(t *testing.T) {
	for seed := range uint64(5) {
		a, errA := oneSeed(t, seed)
		b, errB := oneSeed(t, seed)
		if x, y := a.node.world.TraceHash(), b.node.world.TraceHash(); x != y || errA != nil || errB != nil {
			t.Errorf("seed %d: two runs have the trace hashes %x and %x; %v, %v", seed, x, y, errA, errB)
		}
	}
}
