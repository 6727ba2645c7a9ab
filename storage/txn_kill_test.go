package storage

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"slipstream/protocol"
	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// dying is a kernel whose process is killed before one of the things that it does to files: from there on nothing is
// done any more. What was done before stays.
type dying struct {
	*faults
	left int
}

var errKilled = errors.New("the process was killed")

func (d *dying) dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left--
	return d.left < 0
}

func (d *dying) Open(path string, flags int, mode uint32) (int, error) {
	if flags&(syscall.O_CREAT|syscall.O_TRUNC) != 0 && d.dead() {
		return -1, errKilled
	}
	return d.faults.Open(path, flags, mode)
}

func (d *dying) WriteAt(fd int, b []byte, off int64) (int, error) {
	if d.dead() {
		return 0, errKilled
	}
	return d.faults.WriteAt(fd, b, off)
}

func (d *dying) Truncate(fd int, size int64) error {
	if d.dead() {
		return errKilled
	}
	return d.faults.Truncate(fd, size)
}

func (d *dying) Rename(from, to string) error {
	if d.dead() {
		return errKilled
	}
	return d.faults.Rename(from, to)
}

func (d *dying) Remove(path string) error {
	if d.dead() {
		return errKilled
	}
	return d.faults.Remove(path)
}

func (d *dying) WriteNow(fd int, iovs []unix.Iovec, off int64) (int, syscall.Errno) {
	if d.dead() {
		return 0, syscall.EIO
	}
	return d.faults.WriteNow(fd, iovs, off)
}

// historyOf is what the batches of a directory's logs say of its transactions, without any other file.
func historyOf(t *testing.T, dir string) (stable, end int64, all []abortedTxn) {
	open := map[int64]int64{}
	for name := range logsOf(t, dir) {
		for _, b := range batchesOf(t, mustRead(t, dir, name)) {
			end = b.NextOffset()
			first, ongoing := open[b.ProducerID()]
			m, marker := protocol.ParseMarker(b)
			switch {
			case marker && ongoing:
				delete(open, m.ProducerID)
				if !m.Commit {
					all = append(all, abortedTxn{producer: m.ProducerID, first: first, last: b.BaseOffset()})
				}
			case !marker && b.IsTransactional() && !ongoing:
				open[b.ProducerID()] = b.BaseOffset()
			}
		}
	}
	stable = end
	for _, first := range open {
		stable = min(stable, first)
	}
	return stable, end, all
}

// TestKilledAtEachStep kills a partition before each thing that it does to its files, and opens what is left: the log's own batches
// say what the last stable offset and the aborted transactions must be.
func TestKilledAtEachStep(t *testing.T) {
	step := 2
	if testing.Short() {
		step = 9
	}
	rng := rand.New(rand.NewPCG(2, 2))
	kills, aborted := 0, 0
	for left := 5; ; left += step {
		d := &dying{faults: newFaults(), left: 1 << 30}
		dir := filepath.Join(t.TempDir(), "events-0")
		r := newRigOver(t, d, d.faults, StoreOptions{}, nil)
		cfg := txnConfig()
		cfg.SegmentBytes = 500
		if left%4 < 2 {
			cfg.FlushMessages = 1
		}
		p := r.create(dir, cfg)
		d.left = left
		killed := liveTransactions(r, p, d)
		o, point := p.Offsets(), p.Checkpoint().RecoveryPoint
		if rng.IntN(2) == 0 {
			point = rng.Int64N(point + 1) // an older checkpoint
		}
		again := newRig(t, StoreOptions{})
		q, report := again.open(dir, cfg, OpenOptions{RecoveryPoint: point})
		what := fmt.Sprintf("killed before step %d at %+v (%+v)", left, o, report)
		stable, end, all := historyOf(t, dir)
		if got := q.Offsets(); got.LogEnd != end || got.LastStable != stable || end < o.HighWatermark {
			t.Fatalf("%s: %+v, the log ends at %d and is stable below %d", what, got, end, stable)
		}
		var want []AbortedTransaction
		for _, e := range all {
			want = append(want, AbortedTransaction{ProducerID: e.producer, FirstOffset: e.first})
		}
		slices.SortFunc(want, func(a, b AbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
		if got := again.ask(q, 0, end); !slices.Equal(got, want) {
			t.Fatalf("%s: aborted are %v, the log says %v", what, got, want)
		}
		aborted += len(want)
		if !killed {
			break
		}
		kills++
	}
	t.Logf("%d kills, %d aborted transactions", kills, aborted)
	if kills*step < 60 || aborted < kills {
		t.Errorf("%d kills, %d aborted transactions: the history is too short", kills, aborted)
	}
}

// liveTransactions has producers begin, commit and abort, and the log roll, until the process is killed or all is
// done. It tells whether it was killed.
func liveTransactions(r *rig, p *Partition, d *dying) bool {
	alive := func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.left >= 0
	}
	for round := int16(0); round < 6; round++ {
		var all []*appending
		for id := int64(1); id <= 3; id++ {
			if alive() {
				all = append(all, r.transactional(p, spec{producer: id, epoch: round, value: 40, timestamp: 1}))
			}
		}
		for id := int64(1); id <= 2; id++ {
			all = append(all, r.mark(p, marker(id, round+1, 1, id == 1), 2))
		}
		if round%2 == 1 {
			all = append(all, r.mark(p, marker(3, round+1, 1, false), 2))
		} else {
			all = append(all, r.mark(p, marker(3, round+1, 1, true), 2))
		}
		for _, a := range all {
			r.until("it is answered", func() bool { return a.answered > 0 })
		}
		if !alive() {
			return true
		}
	}
	r.until("the log is in order", func() bool { return p.finishing == 0 && !p.syncing.running || !alive() })
	return !alive()
}

var _ ring.Kernel = (*dying)(nil)
