package broker

import (
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// A fetch goes around like this:
//
//	plan ----> decide ----> respond     (enough, an error, or no wait asked)
//	             |  ^
//	             v  |
//	            wait: woken or expired, planned anew
//
// The connection's core (home) owns the fetchOp. Its partitions may belong to
// other cores: each such core gets one fetchVisit, a message that carries its
// share of the partitions there and comes back, always with a fresh plan. While a
// visit is away, its parts belong to the other core. Home decides when every visit
// is back. Parts whose core is home are planned by a plain call: with one core
// there are no messages.
//
// A part waits for its partition to grow or, if its place in the log is not in
// memory, for the helper that looks it up. What is ready does not wait for what is
// not: when there are bytes enough without it, the rest is left to the next fetch.

// fetchOp is one Fetch request. It is pooled; its slices keep their capacity.
type fetchOp struct {
	home    *Shard
	req     *reactor.Request
	version int16
	corrID  int32
	// clientID aliases the request's frame.
	clientID []byte

	maxWaitMillis int32
	minBytes      int32
	maxBytes      int32

	session     *fetchSession // nil: sessionless, or a session error
	sessionID   int32         // of the response
	sessionCode protocol.ErrorCode
	full        bool // every partition is answered, not only those with news

	readCommitted bool
	follower      bool

	asked  []fetchPartition // of a fetch without session
	parts  []fetchPart
	missed int          // parts that are missing
	visits []fetchVisit // by core

	chosen         bool  // limit, throttle and choose have run
	throttleMillis int32 // told with an empty response
	topicGroups    int
	headerBytes    int

	away    int  // visits and cancels on other cores, plus one while a loop is sending
	waits   bool // visits may be waiting on their cores
	woken   bool // and were called back
	expired bool
	timer   reactor.Timer
	next    *fetchOp

	before, after *fetchOp // the core's list of fetches under way
}

// fetchPart is one partition of a fetch: what was asked and what was found.
type fetchPart struct {
	visit *fetchVisit
	asked *fetchPartition // home's
	want  fetchWant
	key   partitionKey
	topic *topicState

	code          protocol.ErrorCode
	at            storage.Range
	behind        int64           // bytes from the beginning of at to the end of the log
	lookup        *storage.Lookup // nil unless the plan needs, or needed, the disk
	aborted       abortedPart
	highWatermark int64
	lastStable    int64
	logStart      int64
	leaderEpoch   int32
	diverging     bool
	divergeEpoch  int32
	divergeEnd    int64

	missing  bool // there is no such partition: it has no visit
	included bool // in the response
	sent     bool // with records

	waiter storage.Waiter
	parked *storage.Partition
}

// fetchVisit is one core's share of a fetch.
type fetchVisit struct {
	op       *fetchOp
	owner    *Shard
	parts    []int32 // indexes into op.parts
	away     bool    // home's: it was sent and has not returned
	errand   errand
	minBytes int32 // with planOrWait: what is worth returning for
	atHome   bool  // which way Deliver goes
	sleeps   bool  // waits on the owner; owner's to read and write
	queued   bool  // on the owner's list of woken visits
	cancel   fetchCancel
	times    visitTimes
	next     *fetchVisit
}

// visitTimes are a visit's way, on the clock of the cores: when its owner began,
// when it fell asleep there and was woken (0: it was not asleep), when the owner
// ended.
type visitTimes struct {
	began, slept, woke, ended int64
	looking                   bool // it slept for want of its place in a log
}

// errand is what a visit is sent for.
type errand uint8

const (
	planNow    errand = iota // plan and come home
	wait                     // wait until there is news
	planOrWait               // plan, and wait there if that finds too little
)

// fetchCancel asks an owner to give a parked visit back. It always comes back
// itself, so that the op is not reused while one is on its way.
type fetchCancel struct {
	visit *fetchVisit
	back  bool
	sent  bool
}

// addPart appends a part for a partition owned by core owner.
func (op *fetchOp) addPart(asked *fetchPartition) *fetchPart {
	if len(op.parts) < cap(op.parts) {
		op.parts = op.parts[:len(op.parts)+1]
	} else {
		op.parts = append(op.parts, fetchPart{})
	}
	p := &op.parts[len(op.parts)-1]
	list := p.aborted.list[:0]
	*p = fetchPart{asked: asked, want: asked.want, highWatermark: -1, lastStable: -1, logStart: -1, leaderEpoch: -1}
	p.aborted.list = list
	p.lookup, asked.lookup = asked.lookup, nil
	return p
}

// assign gives each answerable part to the visit of the core that owns it. It
// runs after the last addPart: parts must not move once visits point at them.
func (op *fetchOp) assign() {
	for i := range op.parts {
		p := &op.parts[i]
		if p.code != protocol.NONE {
			continue
		}
		v := &op.visits[op.home.broker.ownerOf(p.key)]
		p.visit = v
		v.parts = append(v.parts, int32(i))
	}
}

// start plans every part, then decides. A fetch that has business with one other
// core only, as most have, waits there if it has to: one trip instead of two.
func (op *fetchOp) start() {
	var only *fetchVisit
	visits := 0
	for i := range op.visits {
		if v := &op.visits[i]; len(v.parts) > 0 {
			only = v
			visits++
		}
	}
	if visits == 1 && only.owner != op.home && len(only.parts) == len(op.parts) && !op.hurried() {
		only.minBytes = op.minBytes
		op.armTimer()
		op.send(planOrWait)
		return
	}
	op.send(planNow)
}

// send takes every visit to its owner.
func (op *fetchOp) send(e errand) {
	if op.waits, op.woken = e != planNow, false; op.waits {
		op.home.parkedFetches++
	}
	op.away = 1
	for i := range op.visits {
		v := &op.visits[i]
		if len(v.parts) == 0 {
			continue
		}
		op.away++
		v.away, v.errand, v.atHome = true, e, false
		v.cancel.sent = false
		if v.owner == op.home {
			v.arrive()
		} else {
			op.home.core.Send(v.owner.core, v)
		}
	}
	op.back()
}

// Deliver runs on the core that the visit was sent to.
func (v *fetchVisit) Deliver(*reactor.Core) {
	if v.atHome {
		v.op.returned(v)
	} else {
		v.arrive()
	}
}

// arrive does the visit's work on the core that owns its partitions.
func (v *fetchVisit) arrive() {
	v.times = visitTimes{began: v.owner.core.Clock}
	if v.errand != wait {
		v.plan()
	}
	if v.errand == planNow || v.errand == planOrWait && v.worthReturning() {
		v.goHome()
		return
	}
	v.sleeps, v.times.slept = true, v.owner.core.ReadClock()
	for _, i := range v.parts {
		p := &v.op.parts[i]
		p.at.Release()
		v.times.looking = v.times.looking || p.looking()
		if !v.owner.parkPart(p) {
			v.wake()
			return
		}
	}
}

func (v *fetchVisit) plan() {
	for _, i := range v.parts {
		p := &v.op.parts[i]
		p.at.Release()
		v.owner.planPart(p)
	}
}

// worthReturning says whether a plan has found enough to be decided on.
func (v *fetchVisit) worthReturning() bool {
	bytes, cold := 0, false
	for _, i := range v.parts {
		p := &v.op.parts[i]
		bytes += p.at.Len
		if p.settles() {
			return true
		}
		cold = cold || p.looking()
	}
	return bytes >= int(v.minBytes) && (bytes > 0 || !cold)
}

// settles says whether a part has an answer that its client should not wait for. That
// there is no such partition is not one: the fetch waits for the others, as in Kafka,
// or who goes on asking for a deleted topic beside another would ask without a pause.
func (p *fetchPart) settles() bool { return p.code != protocol.NONE && !p.missing || p.diverging }

// wake queues a waiting visit to go home at the end of the owner's turn: not at
// once, since storage is walking the partition's waiters.
func (v *fetchVisit) wake() {
	if v.sleeps && !v.queued {
		v.queued = true
		v.owner.wokenVisits.push(v)
	}
}

// Woken implements storage.WaiterOwner for a part.
func (p *fetchPart) Woken(*storage.Waiter) {
	p.parked = nil // storage has taken the waiter off its list
	p.visit.wake()
}

// LookedUp implements storage.LookupWaiter for a part.
func (p *fetchPart) LookedUp(*storage.Lookup) { p.visit.wake() }

// unpark ends a visit's waiting.
func (v *fetchVisit) unpark() {
	v.sleeps = false
	for _, i := range v.parts {
		p := &v.op.parts[i]
		if p.parked != nil {
			p.parked.Unwait(&p.waiter)
			p.parked = nil
		}
		if p.lookup != nil {
			p.lookup.Wait(nil)
		}
		if p.aborted.lookup != nil {
			p.aborted.lookup.Wait(nil)
		}
	}
}

func (v *fetchVisit) goHome() {
	v.atHome = true
	if v.owner == v.op.home {
		v.op.returned(v)
	} else {
		v.times.ended = v.owner.core.ReadClock()
		v.owner.core.Send(v.op.home.core, v)
	}
}

// returned counts a visit that came home. The first one back from waiting means
// that there is news: the others are called back.
func (op *fetchOp) returned(v *fetchVisit) {
	op.account(v)
	v.away = false
	op.callBack()
	op.back()
}

// account says what the request's time went to until a visit came home: planning
// is local, the wait for the disk that it may take is reading, the way to another
// core and back is queueing, what it was parked for is remote. Of several that waited, the first counts.
func (op *fetchOp) account(v *fetchVisit) {
	r, t := op.req, &v.times
	if op.woken {
		r.Spent(reactor.StageQueue, op.home.core.Clock) // it was called back
		return
	}
	away := v.owner != op.home
	if away {
		r.Spent(reactor.StageQueue, t.began)
	}
	if t.slept > 0 {
		r.Spent(reactor.StageLocal, t.slept)
		if t.looking {
			r.Spent(reactor.StageRead, t.woke)
		} else {
			r.Spent(reactor.StageRemote, t.woke)
		}
	}
	if away {
		r.Spent(reactor.StageLocal, t.ended)
		r.Spent(reactor.StageQueue, op.home.core.Clock)
	}
}

// callBack asks the owners of the visits still waiting to send them home.
func (op *fetchOp) callBack() {
	if !op.waits || op.woken {
		return
	}
	op.woken = true
	for i := range op.visits {
		v := &op.visits[i]
		if !v.away || v.cancel.sent {
			continue
		}
		if v.owner == op.home {
			v.wake()
			continue
		}
		v.cancel.sent, v.cancel.back = true, false
		op.away++
		op.home.core.Send(v.owner.core, &v.cancel)
	}
}

// Deliver runs first on the owner, then at home.
func (c *fetchCancel) Deliver(*reactor.Core) {
	v := c.visit
	if c.back {
		v.op.back()
		return
	}
	v.wake()
	c.back = true
	v.owner.core.Send(v.op.home.core, c)
}

// back counts one thing that returned; when all have, the op goes on.
func (op *fetchOp) back() {
	op.away--
	if op.away > 0 {
		return
	}
	if op.waits {
		op.home.parkedFetches--
	}
	op.waits = false
	op.decide()
}

// decide answers the fetch, or has it wait until one of its partitions has more to
// give. One that may not wait for records waits all the same for a helper when
// there is nothing else to answer with: its records are there.
func (op *fetchOp) decide() {
	bytes, settled, cold := 0, op.pointless(), false
	for i := range op.parts {
		p := &op.parts[i]
		bytes += p.at.Len
		settled = settled || p.settles()
		cold = cold || p.looking()
	}
	enough := op.hurried() || bytes >= int(op.minBytes)
	if settled || enough && (bytes > 0 || !cold) {
		op.respond()
		return
	}
	op.armTimer()
	op.send(wait)
}

// hurried says whether the fetch must not wait for records.
func (op *fetchOp) hurried() bool {
	return op.expired || op.maxWaitMillis <= 0 || op.missed == len(op.parts) || op.pointless()
}

// pointless says whether nobody waits for the answer any more.
func (op *fetchOp) pointless() bool { return op.req.Conn.Closing() || op.home.core.Draining() }

// armTimer has the fetch expire. The timer runs on from round to round:
// max.wait.ms is for the whole fetch.
func (op *fetchOp) armTimer() {
	if !op.timer.Armed() && !op.hurried() {
		op.home.core.After(int64(op.maxWaitMillis)*1e6, &op.timer, op)
	}
}

// Fire implements reactor.TimerHandler: max.wait.ms has passed.
func (op *fetchOp) Fire(*reactor.Timer) {
	op.expired = true
	if op.waits && !op.woken {
		op.req.Spent(reactor.StageRemote, op.home.core.Clock)
	}
	op.callBack()
}

// sendVisitsHome empties the queue of woken visits; new ones may join while it runs.
func (s *Shard) sendVisitsHome() {
	for s.wokenVisits.head != nil {
		v := s.wokenVisits.pop()
		v.queued = false
		v.times.woke = v.owner.core.Clock
		v.unpark()
		v.plan()
		v.goHome()
	}
}
