package broker

import (
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// A fetch goes around like this:
//
//	plan ----> decide ----> respond                 (enough, an error, or no wait asked)
//	 ^           |
//	 |           v
//	 +-- woken  park -- expired --> plan, respond
//
// The connection's core (home) owns the fetchOp. Its partitions may belong to
// other cores: each such core gets one fetchVisit, a message that carries its
// share of the partitions there and comes back. While a visit is away, its parts
// belong to the other core. Home answers when every visit is back. Parts whose
// core is home are planned by a plain call: with one core there are no messages.

// fetchOp is one Fetch request. It is pooled; its slices keep their capacity.
type fetchOp struct {
	home    *Shard
	req     *reactor.Request
	version int16
	corrID  int32

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
	visits []fetchVisit // by core

	chosen      bool // limit and choose have run
	topicGroups int
	headerBytes int

	away    int // visits and cancels on other cores, plus one while a loop is sending
	parking bool
	woken   bool
	expired bool
	timer   reactor.Timer
	next    *fetchOp

	before, after *fetchOp // the core's list of fetches under way
}

// fetchPart is one partition of a fetch: what was asked and what was found.
type fetchPart struct {
	visit *fetchVisit
	asked *fetchPartition
	key   partitionKey
	topic *topicState

	code          protocol.ErrorCode
	at            storage.Range
	behind        int64 // bytes from the beginning of at to the end of the log
	highWatermark int64
	logStart      int64
	leaderEpoch   int32
	diverging     bool
	divergeEpoch  int32
	divergeEnd    int64

	included bool // in the response
	sent     bool // with records

	waiter storage.Waiter
	parked *storage.Partition
}

// fetchVisit is one core's share of a fetch.
type fetchVisit struct {
	op     *fetchOp
	owner  *Shard
	parts  []int32 // indexes into op.parts
	atHome bool    // which way Deliver goes
	sleeps bool    // parked on the owner; owner's to read and write
	queued bool    // on the owner's list of woken visits
	cancel fetchCancel
	began  int64 // when the owner began, and ended, on the clock of the cores
	ended  int64
	next   *fetchVisit
}

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
	*p = fetchPart{asked: asked, highWatermark: -1, logStart: -1, leaderEpoch: -1}
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

// start plans every part, then decides.
func (op *fetchOp) start() { op.send(false) }

// send takes every visit to its owner, to plan or, if park, to wait there.
func (op *fetchOp) send(park bool) {
	if op.parking, op.woken = park, false; park {
		op.home.parkedFetches++
	}
	op.away = 1
	for i := range op.visits {
		v := &op.visits[i]
		if len(v.parts) == 0 {
			continue
		}
		op.away++
		v.atHome = false
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
	v.began = v.owner.core.Clock
	if !v.op.parking {
		for _, i := range v.parts {
			v.owner.planPart(&v.op.parts[i])
		}
		v.goHome()
		return
	}
	v.sleeps = true
	for _, i := range v.parts {
		if !v.owner.parkPart(&v.op.parts[i]) {
			v.wake()
			return
		}
	}
}

// wake queues a parked visit to go home at the end of the owner's turn: not at
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

// unpark takes a visit's waiters off their partitions.
func (v *fetchVisit) unpark() {
	v.sleeps = false
	for _, i := range v.parts {
		p := &v.op.parts[i]
		if p.parked != nil {
			p.parked.Unwait(&p.waiter)
			p.parked = nil
		}
	}
}

func (v *fetchVisit) goHome() {
	v.atHome = true
	if v.owner == v.op.home {
		v.ended = v.owner.core.Clock
		v.op.returned(v)
	} else {
		v.ended = v.owner.core.ReadClock()
		v.owner.core.Send(v.op.home.core, v)
	}
}

// returned counts a visit that came home. The first one back from parking means
// that there is news: the others are called back.
func (op *fetchOp) returned(v *fetchVisit) {
	op.account(v)
	if op.parking && !op.woken {
		op.woken = true
		op.callBack()
	}
	op.back()
}

// account says what the request's time went to until a visit came home: planning
// is local, the way to another core and back is queueing, what it was parked for
// is remote.
func (op *fetchOp) account(v *fetchVisit) {
	switch {
	case !op.parking && v.owner != op.home:
		op.req.Spent(reactor.StageQueue, v.began)
		op.req.Spent(reactor.StageLocal, v.ended)
		op.req.Spent(reactor.StageQueue, op.home.core.Clock)
	case op.parking:
		if !op.woken {
			op.req.Spent(reactor.StageRemote, v.ended)
		}
		op.req.Spent(reactor.StageQueue, op.home.core.Clock)
	}
}

// callBack asks the owners of the visits still parked to send them home.
func (op *fetchOp) callBack() {
	for i := range op.visits {
		v := &op.visits[i]
		if len(v.parts) == 0 || v.atHome || v.cancel.sent {
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
	if op.parking {
		op.home.parkedFetches--
		op.send(false) // the timer runs on: max.wait.ms is for the whole fetch
		return
	}
	op.decide()
}

// decide answers the fetch, or parks it until one of its partitions grows.
func (op *fetchOp) decide() {
	bytes, settled := 0, op.expired || op.maxWaitMillis <= 0 || len(op.parts) == 0 || op.req.Conn.Closing()
	for i := range op.parts {
		p := &op.parts[i]
		bytes += p.at.Len
		if p.code != protocol.NONE || p.diverging {
			settled = true
		}
	}
	if settled || bytes >= int(op.minBytes) {
		op.respond()
		return
	}
	op.releaseRanges()
	op.req.Spent(reactor.StageLocal, op.home.core.ReadClock())
	if !op.timer.Armed() {
		op.home.core.After(int64(op.maxWaitMillis)*1e6, &op.timer, op)
	}
	op.send(true)
}

// Fire implements reactor.TimerHandler: max.wait.ms has passed.
func (op *fetchOp) Fire(*reactor.Timer) {
	op.expired = true
	if op.parking && !op.woken {
		op.req.Spent(reactor.StageRemote, op.home.core.Clock)
		op.woken = true
		op.callBack()
	}
}

func (op *fetchOp) releaseRanges() {
	for i := range op.parts {
		if f := op.parts[i].at.File; f != nil {
			f.Release()
		}
		op.parts[i].at = storage.Range{}
	}
}

// visitQueue is an intrusive queue of woken visits.
type visitQueue struct{ head, tail *fetchVisit }

func (q *visitQueue) push(v *fetchVisit) {
	v.next = nil
	if q.tail == nil {
		q.head = v
	} else {
		q.tail.next = v
	}
	q.tail = v
}

// sendHome empties the queue of woken visits; new ones may join while it runs.
func (q *visitQueue) sendHome() {
	for q.head != nil {
		v := q.head
		q.head = v.next
		if q.head == nil {
			q.tail = nil
		}
		v.queued = false
		v.unpark()
		v.goHome()
	}
}
