package broker

import (
	"net/netip"

	"slipstream/internal/quota"
	"slipstream/reactor"
)

// doorkeeper counts the connections of all cores, on one of them.
type doorkeeper struct {
	core   *reactor.Core
	shape  quota.Shape
	limits ConnectionLimits
	rates  addressRates

	total     int
	addresses map[netip.Addr]int
	rate      quota.Window // of the broker
	measured  map[netip.Addr]*quota.Window

	first, last *knock // those that wait, in order
	timer       reactor.Timer
	Figures     DoorFigures
}

// DoorFigures are what the doorkeeper has done.
type DoorFigures struct {
	Waited       uint64 // connections that had to wait for a slot, or for the rate
	TooMany      uint64 // closed: over the number of their address
	TooFast      uint64 // closed: over the rate of their address
	WaitedMillis uint64 // for the rate, as Kafka's connection-accept-throttle-time counts it
	Waiting      int    // now
}

// maxAddressRates is the most addresses whose rate is measured. Past it, and with
// none of them idle, the next are let in unmeasured.
const maxAddressRates = 10_000

// knock is a connection that asks to be let in, and the verdict on its way back.
type knock struct {
	shard   *Shard
	arrival *reactor.Arrival
	from    netip.Addr

	paced       bool  // it has been counted for the broker's rate
	untilMillis int64 // and has to wait so long
	waited      bool

	decided     bool
	admitted    bool
	delayMillis int32 // before it is closed
	next        *knock
}

// Deliver implements reactor.Message, both ways.
func (k *knock) Deliver(*reactor.Core) {
	if k.decided {
		k.answer()
		return
	}
	k.shard.broker.shards[doorCore].doorkeeper.knocked(k)
}

// answer does as the doorkeeper says, on the core that the connection came to.
func (k *knock) answer() {
	switch {
	case k.admitted:
		if conn := k.arrival.Admit(); conn != nil {
			stateOf(conn).counted = true
		} else {
			k.shard.tell(&departure{k.shard.broker.shards[doorCore], k.from})
		}
	case k.delayMillis > 0:
		k.arrival.RefuseAfter(int64(k.delayMillis) * 1e6)
	default:
		k.arrival.Refuse()
	}
}

func (d *doorkeeper) knocked(k *knock) {
	if d.last == nil {
		d.first = k
	} else {
		d.last.next = k
	}
	d.last = k
	d.Figures.Waiting++
	d.serve()
}

// serve lets in who may come in, in order.
func (d *doorkeeper) serve() {
	for d.first != nil && d.mayPass(d.first) {
		k := d.first
		if d.first = k.next; d.first == nil {
			d.last = nil
		}
		k.next = nil
		d.Figures.Waiting--
		d.decide(k)
	}
}

// mayPass says whether the next need not wait, for a slot or for the rate.
func (d *doorkeeper) mayPass(k *knock) bool {
	now := d.core.Now / 1e6
	if !k.paced {
		k.paced = true
		if delay := d.delay(&d.rate, d.limits.CreationRate, now); delay > 0 {
			k.untilMillis = now + int64(delay)
			d.Figures.WaitedMillis += uint64(delay)
		}
	}
	if now >= k.untilMillis && d.total < d.limits.Max {
		return true
	}
	if !k.waited {
		k.waited = true
		d.Figures.Waited++
	}
	if now < k.untilMillis {
		d.core.After((k.untilMillis-now)*1e6, &d.timer, d)
	}
	return false
}

// Fire implements reactor.TimerHandler.
func (d *doorkeeper) Fire(*reactor.Timer) { d.serve() }

// delay counts one more connection and says how long it is too early; a window is the
// most.
func (d *doorkeeper) delay(w *quota.Window, bound float64, nowMillis int64) int32 {
	w.Record(d.shape, nowMillis, 1)
	rate, span := w.Rate(d.shape, nowMillis)
	return min(quota.Delay(rate, bound, span), quota.MaxRequestDelay(d.shape))
}

// decide judges a connection by its address.
func (d *doorkeeper) decide(k *knock) {
	k.decided = true
	if k.delayMillis = d.addressDelay(k.from); k.delayMillis > 0 {
		d.Figures.TooFast++
	} else if d.addresses[k.from] >= d.most(k.from) {
		d.Figures.TooMany++
	} else {
		k.admitted = true
		d.enter(k.from)
	}
	if k.shard.core == d.core {
		k.answer()
		return
	}
	d.core.Send(k.shard.core, k)
}

// addressDelay is how long a connection is too early for the rate of its address. It
// does not count then.
func (d *doorkeeper) addressDelay(from netip.Addr) int32 {
	bound, ok := d.rates.of[from]
	if !ok {
		bound = d.rates.fallback
	}
	if d.rates.none() {
		return 0
	}
	now := d.core.Now / 1e6
	w := d.measured[from]
	if w == nil {
		if len(d.measured) >= maxAddressRates && !d.forgetIdle(now) {
			return 0
		}
		if d.measured == nil {
			d.measured = make(map[netip.Addr]*quota.Window)
		}
		w = new(quota.Window)
		d.measured[from] = w
	}
	delay := d.delay(w, bound, now)
	if delay > 0 {
		w.Record(d.shape, now, -1)
	}
	return delay
}

func (d *doorkeeper) forgetIdle(nowMillis int64) bool {
	before := len(d.measured)
	for from, w := range d.measured {
		if w.Empty(d.shape, nowMillis) {
			delete(d.measured, from)
		}
	}
	return len(d.measured) < before
}

// most is how many connections an address may have.
func (d *doorkeeper) most(from netip.Addr) int {
	if n, ok := d.limits.Overrides[from]; ok {
		return n
	}
	return d.limits.PerAddress
}

func (d *doorkeeper) enter(from netip.Addr) {
	d.total++
	if d.addresses == nil {
		d.addresses = make(map[netip.Addr]int)
	}
	d.addresses[from]++
}

func (d *doorkeeper) leave(from netip.Addr) {
	d.total--
	if d.addresses[from]--; d.addresses[from] <= 0 {
		delete(d.addresses, from)
	}
	d.serve()
}
