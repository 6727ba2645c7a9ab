package broker

import (
	"slipstream/internal/txn"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// Markers on their way from a transaction's coordinator to the cores of its
// partitions:
//
//	coordinator's core   send: the marker is noted
//	                     leave: an item for each partition, in the lane to its core, some hundred a turn;
//	                     what is in the lanes goes, a trip of some dozens each
//	partition's core     a control batch is appended; __consumer_offsets: and the group's machine is told
//	                     the last one is in its log, or refused: the trip goes home
//	coordinator's core   MarkerDone, MarkerFailed
//
// A trip is appended within one turn, so that is how much a turn takes of a
// transaction with ten thousand partitions.

const (
	// markersPerTrip is the most markers that are appended in a turn for a trip.
	markersPerTrip = 64
	// markersPerTurn is the most partitions that are looked up in a turn.
	markersPerTurn = 512
	// tripsAway is the most trips that a core has under way to another.
	tripsAway = 2
)

// markerItem is a marker for one partition.
type markerItem struct {
	trip    *markerTrip
	key     partitionKey
	marker  protocol.Marker
	version int16 // transaction.version of the transaction
	append  storage.Append
	code    protocol.ErrorCode

	// for whom: the coordinator's, or a place in a WriteTxnMarkers
	machine   *txnMachine
	of        *txn.Marker
	partition txn.TopicPartition
	place     *int16
}

// markerTrip carries markers to a core and back.
type markerTrip struct {
	home, owner *Shard
	items       []markerItem
	left        int // items not answered, plus one while they are being appended
	block       *reactor.Block
	room        reactor.MemoryWaiter
	back        bool
	done        func(t *markerTrip) // at home
}

// markerLanes are a core's ways to all cores.
type markerLanes struct {
	shard  *Shard
	noted  []notedMarker
	lanes  []markerLane // by core
	waking bool         // a message to this core is under way, so that there is a next turn
}

// notedMarker is a marker whose partitions from next on are not in a lane yet.
type notedMarker struct {
	machine *txnMachine
	of      *txn.Marker
	next    int
}

type markerLane struct {
	waiting []*markerTrip
	away    int
}

// send has a transaction's markers written; leave lets them go.
func (l *markerLanes) send(m *txnMachine, marker *txn.Marker) {
	kept := *marker // the coordinator's are used again
	l.noted = append(l.noted, notedMarker{machine: m, of: &kept})
}

// leave takes the next markers to their lanes, and sends the trips that may go.
func (l *markerLanes) leave() {
	now := l.shard.coordinating.millis()
	for left := markersPerTurn; len(l.noted) > 0 && left > 0; {
		n := &l.noted[0]
		for ; n.next < len(n.of.Partitions) && left > 0; left-- {
			l.address(n, n.of.Partitions[n.next], now)
			n.next++
		}
		if n.next < len(n.of.Partitions) {
			break
		}
		l.noted[0] = notedMarker{}
		l.noted = l.noted[1:]
	}
	for i := range l.lanes {
		l.lanes[i].leave()
	}
	if len(l.noted) > 0 && !l.waking {
		l.waking = true
		l.shard.core.Send(l.shard.core, l)
	}
}

// Deliver implements reactor.Message: the next turn has come.
func (l *markerLanes) Deliver(*reactor.Core) {
	l.waking = false
	l.leave()
}

// address puts a marker for a partition into the lane to its core.
func (l *markerLanes) address(n *notedMarker, p txn.TopicPartition, nowMillis int64) {
	t, of := l.shard.topicsByName[p.Topic], n.of
	if t == nil || p.Partition < 0 || int(p.Partition) >= t.partitions {
		n.machine.coordinator.MarkerDone(nowMillis, of, p) // it was deleted
		n.machine.of.mark()
		return
	}
	l.add(markerItem{
		key: partitionKey{t.id, p.Partition}, machine: n.machine, of: of, partition: p, version: of.Version,
		marker: protocol.Marker{
			ProducerID: of.ProducerID, ProducerEpoch: of.ProducerEpoch, CoordinatorEpoch: of.CoordinatorEpoch, Commit: of.Commit,
		},
	})
}

// add puts an item into its lane.
func (l *markerLanes) add(item markerItem) {
	if l.lanes == nil {
		l.lanes = make([]markerLane, len(l.shard.broker.shards))
	}
	core := l.shard.broker.ownerOf(item.key)
	lane := &l.lanes[core]
	n := len(lane.waiting)
	if n == 0 || len(lane.waiting[n-1].items) == markersPerTrip {
		lane.waiting = append(lane.waiting, &markerTrip{home: l.shard, owner: l.shard.broker.shards[core], done: l.returned})
		n++
	}
	t := lane.waiting[n-1]
	t.items = append(t.items, item)
}

// leave sends the trips that may go.
func (l *markerLane) leave() {
	for l.away < tripsAway && len(l.waiting) > 0 {
		t := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.away++
		t.start()
	}
}

// returned takes in what became of a trip's markers.
func (l *markerLanes) returned(t *markerTrip) {
	now := l.shard.coordinating.millis()
	for i := range t.items {
		item := &t.items[i]
		m := item.machine
		switch item.code {
		case protocol.NONE, protocol.UNKNOWN_TOPIC_OR_PARTITION:
			m.coordinator.MarkerDone(now, item.of, item.partition)
		default:
			m.coordinator.MarkerFailed(now, item.of, item.partition, item.code)
		}
		m.of.mark()
	}
	lane := &l.lanes[t.owner.core.ID]
	lane.away--
	lane.leave()
}

// start takes the trip to its core, always by a message: markers that a coordinator sends while it is being
// looked at must not come back to it before it has been.
func (t *markerTrip) start() {
	for i := range t.items {
		t.items[i].trip = t
	}
	t.home.core.Send(t.owner.core, t)
}

// Deliver implements reactor.Message, both ways.
func (t *markerTrip) Deliver(*reactor.Core) {
	if t.back {
		t.done(t)
		return
	}
	t.arrive()
}

// MemoryFreed implements reactor.MemoryHandler: the trip goes on in a turn of its own, whose end writes what it has appended.
func (t *markerTrip) MemoryFreed(*reactor.MemoryWaiter) { t.owner.core.Send(t.owner.core, t) }

// arrive appends the markers.
func (t *markerTrip) arrive() {
	s := t.owner
	if t.block = s.core.Arena.Alloc(len(t.items) * protocol.MarkerBytes); t.block == nil {
		s.core.Arena.Await(&t.room, t)
		return
	}
	t.left = len(t.items) + 1
	for i := range t.items {
		at := i * protocol.MarkerBytes
		t.items[i].write(s, t.block.Bytes()[at:at:at+protocol.MarkerBytes])
	}
	t.answered()
}

// write appends one marker, in memory that has room for it.
func (m *markerItem) write(s *Shard, room []byte) {
	h := s.hosted[m.key]
	switch {
	case s.topics[m.key.topic] == nil:
		m.code = protocol.UNKNOWN_TOPIC_OR_PARTITION
	case h == nil || h.log == nil:
		m.code = hostless(h)
	default:
		_, batch := protocol.AppendMarkerBatch(room, &m.marker, s.core.Wall/1e6)
		m.append = storage.Append{Batch: batch, Owner: m, Origin: storage.FromCoordinator, TransactionVersion: m.version}
		h.log.Append(&m.append)
		return
	}
	m.trip.answered()
}

// Appended implements storage.AppendOwner.
func (m *markerItem) Appended(a *storage.Append) {
	m.code = a.Err
	if s := m.trip.owner; a.Err == protocol.NONE && s.hosted[m.key] != nil {
		s.endGroupTransaction(s.hosted[m.key], a.BaseOffset, m.marker.ProducerID, m.marker.Commit)
	}
	m.trip.answered()
}

// answered counts a marker that is in its log, or will not be; the last one sends the trip home.
func (t *markerTrip) answered() {
	if t.left--; t.left > 0 {
		return
	}
	t.block.Release()
	t.block, t.back = nil, true
	t.owner.core.Send(t.home.core, t)
}
