package reactor

import "math/bits"

// observedReads are the observer's slots of a core's ring reads: bit i is set while
// slot i is in use, slot 0 always, which is for what the core reads itself.
type observedReads struct {
	core *Core
	used uint32
}

// begin announces a read by the ring and returns its slot; 0: the file is not
// observed, or no slot is free, and the read goes unannounced.
func (o *observedReads) begin(f File, reader uint32, off int64, n int) (slot int) {
	observed := f.Observed()
	slot = bits.TrailingZeros32(^(o.used | 1))
	if observed == 0 || slot >= ObservedReads {
		return 0
	}
	o.used |= 1 << slot
	o.core.Observer.Begin(slot, observed, reader, off, n)
	return slot
}

// end says that the read of a slot is over, and that it took n bytes.
func (o *observedReads) end(slot *int, n int) {
	if *slot == 0 {
		return
	}
	o.core.Observer.End(*slot, n)
	o.used &^= 1 << *slot
	*slot = 0
}
