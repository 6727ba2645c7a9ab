package broker

import (
	"slipstream/internal/share"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// A ShareFetch goes around like this:
//
//	session ---> acknowledge (answered when it is written) ----------------+
//	   |                                                                   v
//	   +-------> acquire, core by core ---> something, or no wait asked: respond
//	                 ^                        |
//	                 +---- woken, expired <-- park on every core
//
// The connection's core (home) owns the op. Its partitions may belong to other cores:
// each such core gets a visit. Acquiring goes from core to core, because what one has
// given counts against the limit of the others; waiting is on all of them at once.

// shareFetchOp is one ShareFetch or ShareAcknowledge.
type shareFetchOp struct {
	home    *Shard
	c       *call
	member  share.SessionKey
	version int16
	every   bool // a new session: every partition is answered
	code    protocol.ErrorCode
	message string
	exact   bool // share acquire mode: record limit

	maxWaitMillis int32
	maxRecords    int64 // still to be had
	maxBytes      int
	fetching      bool // there is something to be acquired, not only acknowledged

	parts  []sharePart
	visits []*shareVisit

	at       int  // the visit that acquires now
	acquired bool // something was
	acks     int  // visits whose acknowledgements are not written yet
	ready    bool // the fetch is done: only acks are waited for
	parked   int  // visits that wait
	expired  bool
	timer    reactor.Timer
	then     func(op *shareFetchOp) // how it is answered

	next          *shareFetchOp // of those that found no memory
	before, after *shareFetchOp // the core's list of those under way
}

// sharePart is one partition of a ShareFetch or ShareAcknowledge.
type sharePart struct {
	visit   *shareVisit
	key     partitionKey
	topic   *topicState
	fetched bool // it is of the session
	acked   bool // the request says something of it
	batches []share.AcknowledgementBatch
	// malformed: they were refused before their share-partition has seen them, whose
	// window ends at end.
	malformed bool
	end       int64
	noRenewal bool // they were refused because the group may not renew locks

	code        protocol.ErrorCode
	ackCode     protocol.ErrorCode
	leaderEpoch int32
	at          storage.Range
	behind      int64
	got         []share.AcquiredRecords
	lookup      *storage.Lookup
	aborts      shareAborts

	waitsAt *sharePartition // while it waits there
	waiter  *shareWaiter
}

// shareVisit is one core's share of an op.
type shareVisit struct {
	op     *shareFetchOp
	owner  *Shard
	parts  []*sharePart
	at     int    // the part that is tried next
	back   func() // set while it waits on its core
	called bool   // it has been woken since it last acquired
}

// shareWaiters are the parts that wait for a share-partition's records, the first come
// first.
type shareWaiters struct{ head, tail *shareWaiter }

type shareWaiter struct {
	part       *sharePart
	next, prev *shareWaiter
}

func (l *shareWaiters) push(p *sharePart) *shareWaiter {
	w := &shareWaiter{part: p, prev: l.tail}
	if l.tail == nil {
		l.head = w
	} else {
		l.tail.next = w
	}
	l.tail = w
	return w
}

func (l *shareWaiters) remove(w *shareWaiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
}

// assign gives each part that can be served to the visit of the core that owns it. It
// runs after the last part is added: they must not move from then on.
func (op *shareFetchOp) assign() {
	op.group()
	byOwner := make([]*shareVisit, len(op.home.broker.shards))
	for i := range op.parts {
		p := &op.parts[i]
		if p.code != protocol.NONE || p.ackCode != protocol.NONE && !p.fetched {
			continue
		}
		owner := op.home.broker.ownerOf(p.key)
		v := byOwner[owner]
		if v == nil {
			v = &shareVisit{op: op, owner: op.home.broker.shards[owner]}
			byOwner[owner] = v
			op.visits = append(op.visits, v)
		}
		p.visit = v
		v.parts = append(v.parts, p)
		op.fetching = op.fetching || p.fetched
	}
}

// start sends the acknowledgements off, then acquires.
func (op *shareFetchOp) start() {
	op.home.shares.fetching.add(op)
	op.acks++
	for _, v := range op.visits {
		if v.acknowledges() {
			op.acks++
			op.home.askCore(v.owner, v.acknowledge, op.acknowledged)
		}
	}
	if op.fetching {
		op.round()
	} else {
		op.ready = true
	}
	op.acknowledged()
}

func (v *shareVisit) acknowledges() bool {
	for _, p := range v.parts {
		if p.acked && p.ackCode == protocol.NONE {
			return true
		}
	}
	return false
}

// acknowledge runs on the owner's core.
func (v *shareVisit) acknowledge(back func()) {
	left := 1
	ended := func() {
		if left--; left == 0 {
			back()
		}
	}
	for _, p := range v.parts {
		if !p.acked || p.ackCode != protocol.NONE {
			continue
		}
		left++
		p.acknowledgeOn(v.owner, func(code protocol.ErrorCode) {
			p.ackCode = code
			ended()
		})
	}
	ended()
}

// acknowledgeOn gives a part's acknowledgements to its share-partition.
func (p *sharePart) acknowledgeOn(owner *Shard, done func(protocol.ErrorCode)) {
	key := sharePartitionKey{p.visit.op.member.Group, p.key}
	sp, code := owner.shares.get(key, func(code protocol.ErrorCode) {
		if code != protocol.NONE {
			done(code)
			return
		}
		p.acknowledgeOn(owner, done)
	})
	switch {
	case code != protocol.NONE:
		done(code)
	case sp != nil:
		p.end = sp.machine.End()
		sp.acknowledge(p.visit.op.member.Member, p.batches, func(code protocol.ErrorCode) {
			p.noRenewal = code == protocol.INVALID_RECORD_STATE && sp.machine.RenewalRefused()
			for i := range p.batches {
				if code == protocol.NONE {
					owner.shares.counts.add(&p.batches[i])
				}
			}
			done(code)
		})
	}
}

// acknowledged counts a visit whose acknowledgements are written.
func (op *shareFetchOp) acknowledged() {
	op.acks--
	op.end()
}

// end answers the op when nothing is waited for any more.
func (op *shareFetchOp) end() {
	if op.ready && op.acks == 0 {
		op.acks = -1
		op.home.shares.fetching.remove(op)
		if op.timer.Armed() {
			op.home.core.Cancel(&op.timer)
		}
		op.count()
		op.then(op)
	}
}

// round acquires on each core in turn, those first that have called.
func (op *shareFetchOp) round() {
	op.at = 0
	n := 0
	for i, v := range op.visits {
		if v.called {
			op.visits[n], op.visits[i] = v, op.visits[n]
			n++
		}
	}
	op.acquireNext()
}

func (op *shareFetchOp) acquireNext() {
	for op.at < len(op.visits) && op.maxRecords > 0 && op.maxBytes > 0 {
		v := op.visits[op.at]
		op.at++
		v.at, v.called = 0, false
		if v.owner != op.home {
			op.home.askCore(v.owner, v.acquire, op.acquireNext)
			return
		}
		away := true
		v.acquire(func() {
			if away {
				away = false
				return
			}
			op.acquireNext()
		})
		if away {
			away = false
			return // it waits for a share-partition to be loaded
		}
	}
	op.decide()
}

// decide ends the fetch, or has it wait until there may be something.
func (op *shareFetchOp) decide() {
	if op.acquired || op.settled() || op.expired || op.maxWaitMillis <= 0 || op.pointless() {
		op.wakeOthers()
		op.ready = true
		op.end()
		return
	}
	if !op.timer.Armed() {
		op.home.core.After(int64(op.maxWaitMillis)*1e6, &op.timer, op)
	}
	op.parked = len(op.visits)
	for _, v := range op.visits {
		op.home.askCore(v.owner, v.park, func() { op.woken(v) })
	}
}

// pointless says whether nobody waits for the answer any more.
func (op *shareFetchOp) pointless() bool {
	return op.c.req.Conn.Closing() || op.home.core.Draining()
}

// settled says whether a partition has an error that its member should not wait for.
func (op *shareFetchOp) settled() bool {
	for i := range op.parts {
		if op.parts[i].code != protocol.NONE {
			return true
		}
	}
	return false
}

// wakeOthers has those look who wait behind this op for what it has been called for and
// has not taken.
func (op *shareFetchOp) wakeOthers() {
	for _, v := range op.visits {
		if v.called {
			op.home.tellCore(v.owner, v.notify)
		}
	}
}

func (v *shareVisit) notify() {
	for _, p := range v.parts {
		if sp := v.owner.shares.partitions[sharePartitionKey{v.op.member.Group, p.key}]; sp != nil && sp.machine != nil {
			sp.notify()
		}
	}
}

// woken counts a visit that does not wait any more. The first one calls the others.
func (op *shareFetchOp) woken(v *shareVisit) {
	if op.parked == len(op.visits) {
		op.callBack(v)
	}
	if op.parked--; op.parked == 0 {
		op.round()
	}
}

// callBack ends the waiting of all visits but one.
func (op *shareFetchOp) callBack(but *shareVisit) {
	for _, v := range op.visits {
		if v != but {
			op.home.tellCore(v.owner, v.unpark)
		}
	}
}

// Fire implements reactor.TimerHandler: max.wait.ms has passed.
func (op *shareFetchOp) Fire(*reactor.Timer) {
	op.expired = true
	op.callBack(nil)
}

// park has a visit wait on its core.
func (v *shareVisit) park(back func()) {
	v.back = back
	for _, p := range v.parts {
		if !p.fetched || p.code != protocol.NONE {
			continue
		}
		if p.lookup != nil && !p.lookup.Done() {
			p.lookup.Wait(p)
			continue
		}
		if p.aborts.waits(p) {
			continue
		}
		sp := v.owner.shares.partitions[sharePartitionKey{v.op.member.Group, p.key}]
		if p.lookup != nil || p.aborts.changed() || sp == nil || sp.machine == nil {
			v.wake()
			return
		}
		p.waitsAt, p.waiter = sp, sp.waiters.push(p)
	}
	for _, p := range v.parts {
		if p.waitsAt != nil {
			p.waitsAt.notify()
		}
		if v.back == nil {
			return
		}
	}
}

// wake calls a waiting visit home.
func (v *shareVisit) wake() {
	if v.back != nil {
		v.called = true
		v.unpark()
	}
}

// unpark ends a visit's waiting.
func (v *shareVisit) unpark() {
	back := v.back
	if back == nil {
		return
	}
	v.back = nil
	for _, p := range v.parts {
		if sp := p.waitsAt; sp != nil {
			sp.waiters.remove(p.waiter)
			p.waitsAt, p.waiter = nil, nil
			if !sp.gone {
				sp.notify() // whatever this one does, who waits behind it is not forgotten
			}
		}
		if p.lookup != nil {
			p.lookup.Wait(nil)
		}
		if p.aborts.lookup != nil {
			p.aborts.lookup.Wait(nil)
		}
	}
	back()
}

// LookedUp implements storage.LookupWaiter for a part.
func (p *sharePart) LookedUp(*storage.Lookup) { p.visit.owner.shares.wokenLater(nil, p.visit) }
