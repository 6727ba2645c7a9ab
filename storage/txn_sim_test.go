package storage

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"slipstream/internal/sim"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/ring"
)

// simRig is a partition on a simulated machine that loses its power.
type simRig struct {
	t       *testing.T
	w       *sim.World
	rng     *rand.Rand
	cfg     Config
	core    *reactor.Core
	store   *Store
	driver  *sim.Driver
	p       *Partition
	acked   int64 // offsets below it were acknowledged
	blocks  []*reactor.Block
	started bool

	cleanedTo int64 // as cleaner-offset-checkpoint has it
}

type simService struct{ x *simRig }

func (s simService) Opened(*reactor.Conn)                         {}
func (s simService) Request(*reactor.Request) reactor.Disposition { panic("no requests here") }
func (s simService) Closed(*reactor.Conn)                         {}
func (s simService) EndTurn(*reactor.Core)                        { s.x.store.Flush() }

// turnTask is something to be done on the core.
type turnTask struct {
	do   func()
	done bool
}

func (m *turnTask) Deliver(*reactor.Core) { m.do(); m.done = true }

const simDir = "/data/events-0"

// boot opens the partition on the machine as it is now, or makes it the first time.
func (x *simRig) boot(k ring.Kernel, recoveryPoint int64) error {
	helpers := x.w.NewHelpers(0)
	x.core = reactor.NewCore(reactor.Config{Kernel: k, Helpers: helpers, Limits: reactor.Limits{ArenaBytes: 16 << 20}}, simService{x})
	x.store = NewStore(x.core, StoreOptions{Writer: []Writer{WriterInline, WriterRing}[x.rng.IntN(2)]})
	x.driver = x.w.NewDriver([]*reactor.Core{x.core}, helpers)
	if err := x.driver.Start(); err != nil {
		return err
	}
	var err error
	if x.started {
		x.p, _, err = Open(k, simDir, x.cfg, OpenOptions{RecoveryPoint: recoveryPoint, CleanedTo: x.cleanedTo})
	} else {
		if err = errors.Join(k.Mkdir("/data", 0o755), k.SyncDir("/")); err == nil {
			x.p, err = Create(k, simDir, TopicPartition{Topic: "events"}, x.cfg, 0)
		}
	}
	if err != nil {
		return err
	}
	x.started = true
	return x.onCore(func() { x.store.Adopt(x.p) })
}

// onCore has something done in a turn.
func (x *simRig) onCore(do func()) error {
	m := &turnTask{do: do}
	x.core.Inject(m)
	return x.driver.Run(60e9, func() bool { return m.done })
}

// write appends some batches in one turn and waits for the answers.
func (x *simRig) write() error {
	var all []*appending
	err := x.onCore(func() {
		for range 1 + x.rng.IntN(4) {
			id := int64(1 + x.rng.IntN(3))
			epoch := int16(0)
			open := false
			if q := x.p.producers.get(id); q != nil {
				epoch, open = q.epoch, q.txnFirstOffset >= 0
			}
			a := &appending{}
			a.Owner = a
			var b []byte
			if open && x.rng.IntN(2) == 0 {
				b = marker(id, epoch+1, 1, x.rng.IntN(2) == 0)
				a.Origin, a.TransactionVersion = FromCoordinator, 2
			} else {
				seq := int32(0)
				if q := x.p.producers.get(id); q != nil {
					seq = q.lastSeq() + 1
				}
				b = spec{producer: id, epoch: epoch, sequence: seq, value: 60, timestamp: 1, attrs: protocol.AttrTransactional}.batch()
				a.Verified, _ = x.p.Verify(id, epoch, seq, true)
			}
			block := x.core.Arena.Alloc(len(b))
			copy(block.Bytes(), b)
			x.blocks = append(x.blocks, block)
			a.Batch = protocol.Batch(block.Bytes())
			x.p.Append(&a.Append)
			all = append(all, a)
		}
	})
	if err != nil {
		return err
	}
	err = x.driver.Run(60e9, func() bool {
		for _, a := range all {
			if a.answered == 0 {
				return false
			}
		}
		return true
	})
	for _, a := range all {
		if a.answered > 0 && a.Err == protocol.NONE {
			x.acked = max(x.acked, a.end)
		}
	}
	if err == nil && len(x.blocks) > 200 {
		for _, b := range x.blocks {
			b.Release()
		}
		x.blocks = nil
	}
	return err
}

// survey waits until all closed segments are known.
func (x *simRig) survey() {
	x.t.Helper()
	surveyed := false
	err := x.onCore(func() { x.p.Survey(func() { surveyed = true }) })
	if err == nil {
		err = x.driver.Run(60e9, func() bool { return surveyed })
	}
	if err != nil || x.p.unknown > 0 {
		x.t.Fatalf("the log is not surveyed: %d segments are not known, %v", x.p.unknown, err)
	}
}

// check compares what was opened with what the log's batches say.
func (x *simRig) check(k ring.Kernel, what string) {
	x.t.Helper()
	open := map[int64]int64{}
	var want []AbortedTransaction
	end := int64(0)
	if x.rng.IntN(2) == 0 {
		x.survey() // else it is while the lookup below is under way
	}
	var got []AbortedTransaction
	var l *AbortedLookup
	var lookErr error
	ask := func() { got, l, lookErr = x.p.AbortedTransactions(0, x.p.offsets.LogEnd, nil, l) }
	err := x.onCore(ask)
	for err == nil && l != nil {
		if err = x.driver.Run(60e9, l.Done); err == nil {
			err = x.onCore(ask)
		}
	}
	x.survey()
	for _, s := range x.p.segments {
		b, err := ReadFile(k, x.p.path(s.base, logSuffix), 1<<30)
		if err != nil {
			x.t.Fatal(err)
		}
		for _, b := range batchesOf(x.t, b[:s.size]) {
			end = b.NextOffset()
			first, ongoing := open[b.ProducerID()]
			m, marker := protocol.ParseMarker(b)
			switch {
			case marker && ongoing:
				delete(open, m.ProducerID)
				if !m.Commit {
					want = append(want, AbortedTransaction{ProducerID: m.ProducerID, FirstOffset: first})
				}
			case !marker && !ongoing:
				open[b.ProducerID()] = b.BaseOffset()
			}
		}
	}
	stable := end
	for _, first := range open {
		stable = min(stable, first)
	}
	if o := x.p.Offsets(); o.LogEnd != end || o.LastStable != stable {
		x.t.Fatalf("%s: %+v, the log ends at %d and is stable below %d", what, o, end, stable)
	}
	if x.cfg.FlushMessages == 1 && end < x.acked {
		x.t.Fatalf("%s: the log ends at %d, %d was acknowledged and synced", what, end, x.acked)
	}
	x.acked = min(x.acked, end)
	slices.SortFunc(want, func(a, b AbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	if err != nil || lookErr != nil || !slices.Equal(inOrder(got), want) {
		x.t.Fatalf("%s: aborted are %v, the log says %v (%v, %v)", what, got, want, err, lookErr)
	}
}

// TestTransactionsSurvivePowerCuts: on a machine whose power goes at any call, where what was not synced is kept, dropped or
// torn: the last stable offset and the aborted transactions are those of the batches that are left. The recovery point that the log is
// opened with is as far as it can be, so that what lies below it is believed.
func TestTransactionsSurvivePowerCuts(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 60
	}
	crashes, aborted := 0, 0
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			x := &simRig{t: t, w: sim.New(seed, sim.Options{LooseNames: seed%2 == 0}), rng: rand.New(rand.NewPCG(seed, 3)), cfg: txnConfig()}
			if seed%3 != 0 {
				x.cfg.FlushMessages = 1
			}
			if err := x.boot(x.w.Kernel(), 0); err != nil {
				t.Fatal(err)
			}
			// Until something was synced the directory itself may go.
			err := errors.Join(x.write(), x.onCore(func() { x.p.sync(x.p.offsets.LogEnd) }), x.driver.Run(60e9, func() bool { return !x.p.fresh }))
			if err != nil {
				t.Fatal(err)
			}
			for range 6 {
				x.w.CrashAfter(50+x.rng.IntN(400), x.rng.IntN(4) == 0, sim.CutDrawn)
				var err error
				recovery := x.p.Checkpoint().RecoveryPoint
				for err == nil {
					if err = x.write(); x.rng.IntN(3) == 0 {
						recovery = x.p.Checkpoint().RecoveryPoint // as of then, or of the last moment
					}
				}
				if !errors.Is(err, sim.ErrCrashed) {
					t.Fatal(err)
				}
				crashes++
				k := x.w.Restart()
				x.blocks = nil
				if err := x.boot(k, recovery); err != nil {
					t.Fatalf("after a crash with recovery point %d: %v", recovery, err)
				}
				x.check(k, fmt.Sprintf("opened with recovery point %d", recovery))
				for _, s := range x.p.txns.aborting {
					aborted += int(s.aborts.count)
				}
			}
		})
	}
	t.Logf("%d crashes, %d aborted transactions", crashes, aborted)
	if aborted < crashes {
		t.Errorf("%d aborted transactions in %d crashes: the histories say too little", aborted, crashes)
	}
}
