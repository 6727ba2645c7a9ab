package simtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"slipstream/internal/sim"
)

// faults is a story's plan, and what it has come to.
//
//	fault                    entitles the broker to
//	read-error               refuse reads; not to start while it lasts
//	write-error, sync-error  refuse the partition until the next start; a topic that is not synced may lose what it has
//	no-space                 refuse appends and topics while it lasts
//	slow, sockets, clock     nothing
//	rot, wrong-read, -write  serve what the file has, damaged, and cut the log there when it is recovered
//
// Everything else is a violation: above all, of a topic that syncs nothing that was
// acknowledged is lost by an error that was told.
type faults struct {
	run    *run
	plan   []sim.Fault
	seen   int
	jumped bool            // the wall clock
	hit    map[string]bool // kinds, in this life
	disk   bool            // a fault of the disk has happened, ever
	lost   bool            // one that takes what was not synced, in this life
	fired  map[string]int
}

// newFaulty is a story of logs under a plan: with a compacted topic, and one of which the
// beginning goes.
func newFaulty(t *testing.T, o outline) *run {
	seed := o.seed
	r := &run{t: t, seed: seed, size: drawSize(seed), rand: rand.New(rand.NewPCG(seed, 66)), ids: map[int64]bool{}, crashes: map[string]int{}}
	options := sim.Options{Level: levels[seed%3], TraceLines: traceLines, LooseNames: seed%2 == 0}
	if seed%2 == 0 {
		options.Evictions = sim.EvictionsOften
	}
	r.node = &node{
		world: sim.New(seed, options), cores: 1 + r.rand.IntN(4), segment: r.size.segment + r.rand.IntN(30_000),
		sets: []string{
			"slipstream.writer=" + []string{"ring", "inline"}[r.rand.IntN(2)],
			"slipstream.fetch.rung=" + []string{"auto", "auto", "relay", "hot", "bulk", "cold"}[r.rand.IntN(6)],
			fmt.Sprint("slipstream.writeback.horizon.ms=", 5+r.rand.IntN(100)),
			"log.cleaner.backoff.ms=2", "log.retention.check.interval.ms=3",
		},
	}
	r.node.after = r.step
	r.faults = &faults{run: r, plan: o.plan, hit: map[string]bool{}, fired: map[string]int{}}
	if !o.planned {
		r.plan = drawPlan(seed, r.size.storyNanos())
	}
	r.node.world.Plan(r.plan)
	r.node.log.told = r.faults.explains
	table, window := newTopic("table", 1, true), newTopic("window", 1, true)
	table.keyed, table.configs = true, map[string]string{
		"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": strconv.Itoa(r.rand.IntN(60)), "file.delete.delay.ms": "5",
	}
	window.trimmed, window.configs = true, map[string]string{
		"retention.bytes": strconv.Itoa(60_000 + r.rand.IntN(100_000)), "retention.ms": strconv.Itoa(30 + r.rand.IntN(300)), "file.delete.delay.ms": "5",
	}
	window.parts[0].deleted = math.MaxInt64
	r.topics = []*topic{newTopic("durable", 2, true), newTopic("lazy", 1, false), table, window}
	r.admin = &admin{run: r, wanted: append([]*topic(nil), r.topics...)}
	for _, p := range []*producer{
		r.newProducer("i0", r.topics[0], 0), r.newProducer("i1", r.topics[1], 0), r.newProducer("i2", table, 0), r.newProducer("i3", window, 0),
		r.newProducer("p4", r.topics[0], 0), r.newProducer("p5", table, 0), r.newProducer("i6", r.topics[0], 1),
	} {
		if p.parts[0].topic.keyed {
			p.depth = 1 // compaction leaves a producer's last batch, as Kafka's does: of one before it nobody knows after a crash that it was there
		}
		if p.name == "i0" || r.size.takesPart(r.rand) {
			r.producers = append(r.producers, p)
		}
	}
	for range 2 {
		if r.size.takesPart(r.rand) {
			r.consumers = append(r.consumers, r.newConsumer())
		}
	}
	r.abridge(&o)
	return r
}

// faulty tells whether a fault of the disk has happened.
func (r *run) faulty() bool { return r.faults != nil && r.faults.disk }

// step takes in what has gone wrong.
func (f *faults) step() {
	for all := f.run.node.world.Fired(); f.seen < len(all); f.seen++ {
		one := all[f.seen]
		f.fired[string(one.Fault.Kind)]++
		f.hit[string(one.Fault.Kind)] = true
		f.run.tell("fault", "%s of %s", one.Fault.Kind, one.Path)
		switch one.Fault.Kind {
		case sim.FaultClock:
			f.jumped = true
		case sim.FaultReadError, sim.FaultNoSpace:
			f.disk = true
		case sim.FaultWriteError, sim.FaultSyncError:
			f.disk = true
			if h := f.run.partitionOf(one.Path); h != nil && !h.durable {
				h.sick, f.lost = true, true
			}
		case sim.FaultRot, sim.FaultWrongRead, sim.FaultWrongWrite:
			f.disk = true
			if h := f.run.partitionOf(one.Path); h != nil {
				h.rotten = true
			}
		}
	}
}

// partitionOf is whose file it is.
func (r *run) partitionOf(path string) *history {
	for _, t := range r.topics {
		for _, h := range t.parts {
			if strings.Contains(path, "/"+h.name+"/") {
				return h
			}
		}
	}
	return nil
}

// explains tells whether a line of the log is what the plan's faults lead to.
func (f *faults) explains(line string) bool {
	f.step()
	if f.jumped && strings.Contains(line, "timestamps in the future") {
		return true
	}
	if !f.disk {
		return false
	}
	for _, part := range []string{"input/output error", "no space left on device", "fsync", "KAFKA_STORAGE_ERROR", "cannot be read at position"} {
		if strings.Contains(line, part) {
			return true
		}
	}
	return f.fired[string(sim.FaultRot)]+f.fired[string(sim.FaultWrongRead)]+f.fired[string(sim.FaultWrongWrite)] > 0
}

// ended: a life of the broker is over. It returns whether what was not synced is lost.
func (f *faults) ended() (lost bool) {
	if f == nil {
		return false
	}
	f.step()
	lost, f.lost = f.lost, false
	clear(f.hit)
	for _, t := range f.run.topics {
		for _, h := range t.parts {
			h.sick = false
		}
	}
	return lost
}

// diskFailed tells whether an error of the disk may have kept something from its end in
// this life.
func (f *faults) diskFailed() bool {
	for _, kind := range []sim.FaultKind{sim.FaultReadError, sim.FaultWriteError, sim.FaultSyncError, sim.FaultNoSpace, sim.FaultRot, sim.FaultWrongRead, sim.FaultWrongWrite} {
		if f.hit[string(kind)] {
			return true
		}
	}
	return false
}

// mayKeepFromStarting tells whether a start may fail because of the plan; if so, it lets
// some time pass, for somebody to look at the machine.
func (f *faults) mayKeepFromStarting() bool {
	if f == nil {
		return false
	}
	f.step()
	if !f.diskFailed() {
		return false
	}
	f.run.crashes["a start that a fault ends"]++
	w := f.run.node.world
	if !w.Down() {
		w.Kill()
	}
	w.Advance(w.Now() + 20e6)
	return true
}

// end is when the last fault is over, on the world's clock.
func (f *faults) end(start int64) (at int64) {
	for _, one := range f.plan {
		at = max(at, start+one.From+one.For)
	}
	return at
}

// faultyRound is one life of the broker and its end.
func (r *run) faultyRound() error {
	if err := r.live(1 + r.rand.Int64N(2*r.size.lifeNanos)); err != nil {
		return err
	}
	w := r.node.world
	switch r.rand.IntN(7) {
	case 0, 1:
		return r.ended("kill", false, func() error { w.Kill(); return nil })
	case 2:
		return r.ended("power cut", true, func() error { w.PowerCut(sim.CutDrawn); return nil })
	case 3:
		kill := r.rand.IntN(2) == 0
		w.CrashAfter(1+r.rand.IntN(3000), kill, sim.CutDrawn)
		return r.ended(fmt.Sprint("crash in a call, kill ", kill), !kill, func() error { return r.live(10e9) })
	case 4:
		return r.ended("power cut that drops", true, func() error { w.PowerCut(sim.CutDrop); return nil })
	case 5:
		return r.endedInOrder(true)
	}
	return r.endedInOrder(false)
}

// endedInOrder stops the broker. If it could not put everything in order because of the
// plan, a power cut may take what is not synced.
func (r *run) endedInOrder(cut bool) error {
	err := r.node.stop()
	if r.failure != nil {
		return r.failure
	}
	r.faults.step()
	if err != nil && !r.diskFailed() {
		return err
	}
	how := fmt.Sprintf("stop, power cut %v, failed %v", cut, err != nil)
	return r.ended(how, cut && err != nil, func() error {
		if cut {
			r.node.world.PowerCut(sim.CutDrawn)
		} else {
			r.node.world.Kill()
		}
		return nil
	})
}

// faultyStory lives through the plan, and then, on a sound disk, compares.
func (r *run) faultyStory(rounds int) error {
	began := r.node.world.Now()
	if err := r.restartFirst(); err != nil {
		return err
	}
	for range rounds {
		if err := r.faultyRound(); err != nil {
			return err
		}
	}
	if over := r.faults.end(began); over > r.now() {
		if err := r.live(over - r.now()); err != nil {
			return err
		}
	}
	// What has failed is out of service until the next start.
	// An error of writeback that nobody has asked about outlives the program, not the boot.
	cut := r.rand.IntN(2) == 0 || r.faults.fired[string(sim.FaultSyncError)] > 0
	err := r.ended(fmt.Sprint("the last end, power cut ", cut), cut, func() error {
		if cut {
			r.node.world.PowerCut(sim.CutDrawn)
		} else {
			r.node.world.Kill()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.live(20e6); err != nil {
		return err
	}
	if err := r.verify(); err != nil {
		return err
	}
	return r.stop(false)
}

// restartFirst is the first start, which a fault may end too.
func (r *run) restartFirst() error {
	err := r.node.start()
	if err != nil && r.failure == nil && r.faults.mayKeepFromStarting() {
		return r.restart(false)
	}
	return err
}

// oneFaulty runs a seed's story of logs under a plan.
func oneFaulty(t *testing.T, seed uint64) (r *run, err error) {
	return playFaulty(t, outlineOf(t, seed))
}

func playFaulty(t *testing.T, o outline) (r *run, err error) {
	r = newFaulty(t, o)
	if err = r.told(r.faultyStory(r.size.rounds), "TestFaultSeeds"); err != nil {
		err = fmt.Errorf("%w\nplan: PLAN='%s'", err, planText(r.plan))
	}
	return r, err
}

func TestFaultSeeds(t *testing.T) {
	first, n := seedsWanted(100)
	crashes, fired := map[string]int{}, map[string]int{}
	acked, read, compacted := 0, 0, 0
	for seed := first; seed < first+n; seed++ {
		r, err := oneFaulty(t, seed)
		if err != nil {
			t.Fatal(err)
		}
		acked, read, compacted = acked+r.acked, read+r.read, compacted+r.node.log.compacted
		addCounts(crashes, r.crashes)
		addCounts(fired, r.faults.fired)
	}
	t.Logf("%d seeds: %d records acknowledged, %d read, %d logs compacted; faults %v; ends %v", n, acked, read, compacted, fired, crashes)
	if n < 300 {
		return
	}
	for _, kind := range sim.FaultKinds {
		if fired[string(kind)] == 0 {
			t.Errorf("no seed had a %s", kind)
		}
	}
	if compacted == 0 {
		t.Error("nothing was compacted")
	}
}

func TestSameFaultsSameTrace(t *testing.T) {
	for seed := range uint64(5) {
		a, errA := oneFaulty(t, seed)
		b, errB := oneFaulty(t, seed)
		if x, y := a.node.world.TraceHash(), b.node.world.TraceHash(); x != y || errA != nil || errB != nil {
			t.Errorf("seed %d: two runs have the trace hashes %x and %x; %v, %v", seed, x, y, errA, errB)
		}
	}
}
