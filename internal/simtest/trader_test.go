package simtest

import (
	"fmt"

	"slipstream/internal/guarantees"
)

// trader is a transactional producer of the ledger's records: it commits, aborts,
// stalls, dies in the middle, and is replaced while it lives.
type trader struct {
	run    *run
	coord  link
	data   link
	t      *transactor
	asleep int64
	next   int64
}

// desk is all traders with one transactional id.
type desk struct {
	run     *run
	id      string
	traders []*trader
	born    int
	eventAt int64
	events  map[string]int
}

func (d *desk) step() error {
	for _, one := range d.traders {
		if err := one.step(); err != nil {
			return err
		}
	}
	kept := d.traders[:0]
	for _, one := range d.traders {
		if one.t.dead {
			one.coord.drop()
			one.data.drop()
			continue
		}
		kept = append(kept, one)
	}
	d.traders = kept
	if d.run.quiet || d.run.now() < d.eventAt {
		return nil
	}
	d.eventAt = d.run.now() + 50e6 + d.run.rand.Int64N(2*eventNanos)
	d.event()
	return nil
}

func (d *desk) event() {
	if len(d.traders) == 0 {
		d.hire()
		return
	}
	one := d.traders[d.run.rand.IntN(len(d.traders))]
	switch d.run.rand.IntN(10) {
	case 0, 1:
		d.events["producer dies"]++
		one.t.dead = true // where it is; its successor, or its timeout, ends what it has begun
	case 2:
		d.events["twin"]++
		d.hire()
	case 3, 4:
		d.events["stall"]++
		one.asleep = d.run.now() + d.run.rand.Int64N(2*int64(one.t.millis)*1e6)
	case 5:
		d.events["connection of a producer"]++
		one.data.drop()
	}
}

func (d *desk) hire() {
	d.born++
	one := &trader{run: d.run, coord: link{run: d.run, kind: lookForTransaction, key: d.id}, data: link{run: d.run, kind: lookForNothing}}
	one.t = newTransactor(d.run, fmt.Sprintf("t:%s:%d", d.id, d.born), d.id, &one.coord, &one.data)
	d.traders = append(d.traders, one)
}

// finished: nobody is in a transaction.
func (d *desk) finished() bool {
	for _, one := range d.traders {
		if !one.t.quietNow() {
			return false
		}
	}
	return true
}

func (one *trader) step() error {
	if one.run.quiet {
		one.asleep = 0
	}
	if one.t.dead || one.run.now() < one.asleep {
		return nil
	}
	coord, err := one.coord.step()
	if err != nil {
		return fmt.Errorf("%s: %w", one.t.name, err)
	}
	data, err := one.data.step()
	if err != nil {
		return fmt.Errorf("%s: %w", one.t.name, err)
	}
	if one.t.free() && !one.run.quiet && one.run.now() >= one.next {
		one.next = one.run.now() + one.run.rand.Int64N(60e6)
		one.t.begin(one.batches(), one.run.rand.IntN(4) > 0)
	}
	one.t.step(coord && one.coord.conn != nil && one.coord.found, data && one.data.conn != nil)
	return nil
}

// batches is what it writes in its next transaction.
func (one *trader) batches() (list []*txnBatch) {
	ledger := one.run.truth.topics["ledger"]
	n := 0
	for range 1 + one.run.rand.IntN(3) {
		b := &txnBatch{part: guarantees.Partition{Topic: ledger.name, Number: int32(one.run.rand.IntN(len(ledger.parts)))}}
		for range 1 + one.run.rand.IntN(3) {
			b.ids = append(b.ids, fmt.Sprintf("%s:%d:%d", one.t.name, one.t.number+1, n))
			n++
		}
		list = append(list, b)
	}
	return list
}
