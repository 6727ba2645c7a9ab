package broker

import (
	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// The controller runs on core 0. A change to the cluster's state goes around
// like this:
//
//	handler --proposal--> core 0: decide -> append to __cluster_metadata-0 (fsync)
//	                                             |
//	     every core <--commit-- the records, once they are durable
//	     every core: fold them into its own image, open or close its partitions
//	     every core --commit back--> core 0; when all are back, the proposal goes home
//
// One proposal is decided at a time: the next sees the image with the last one's
// records in it. Decisions are pure (internal/metadata); this file only carries
// them about.

// controllerCore is the core that decides.
const controllerCore = 0

// proposal is a change asked for by a handler. decide runs on core 0 and returns
// the records to commit, or none; done runs on the core that proposed, after
// every core has taken the change in.
type proposal struct {
	home     *Shard
	decide   func(c *metadata.Controller) []metadata.Record
	controls []metadata.Control // written instead of records, by lead
	done     func(err protocol.ErrorCode)

	code    protocol.ErrorCode
	decided bool
	next    *proposal
}

// propose sends a change to the controller.
func (s *Shard) propose(decide func(c *metadata.Controller) []metadata.Record, done func(protocol.ErrorCode)) {
	p := &proposal{home: s, decide: decide, done: done}
	to := s.broker.shards[controllerCore]
	if to == s {
		s.controller.enqueue(p)
		return
	}
	s.core.Send(to.core, p)
}

// uncommitted gives the error that kept a decision from being committed to every
// item of its response that was decided well.
func uncommitted(code protocol.ErrorCode, n int, errorCode func(i int) *int16) {
	for i := 0; i < n && code != protocol.NONE; i++ {
		if at := errorCode(i); *at == int16(protocol.NONE) {
			*at = int16(code)
		}
	}
}

// Deliver runs on core 0 on the way there and at home on the way back.
func (p *proposal) Deliver(*reactor.Core) {
	if p.decided {
		p.done(p.code)
		return
	}
	p.home.broker.shards[controllerCore].controller.enqueue(p)
}

// controller holds the queue of proposals and the metadata log, on core 0.
type controller struct {
	shard *Shard
	rules *metadata.Controller
	log   *storage.Partition

	head, tail *proposal
	busy       bool
	current    *proposal
	records    []metadata.Record
	controls   []metadata.Control
	append     storage.Append
	block      *reactor.Block
	missing    int // cores that have not yet taken the commit in
	snapshots  *metadataSnapshots
}

func (c *controller) enqueue(p *proposal) {
	if c.tail == nil {
		c.head = p
	} else {
		c.tail.next = p
	}
	c.tail = p
	c.advance()
}

// advance takes the next proposals, until one has records to commit.
func (c *controller) advance() {
	for !c.busy && c.head != nil {
		p := c.head
		c.head = p.next
		if c.head == nil {
			c.tail = nil
		}
		c.current = p
		if p.controls != nil {
			c.busy = true
			c.controls = p.controls
			c.write(metadata.AppendControlBatch(nil, c.batchInfo(), p.controls...))
			return
		}
		c.records = p.decide(c.rules)
		if len(c.records) == 0 {
			c.answer(protocol.NONE)
			continue
		}
		c.busy = true
		c.write(metadata.AppendBatch(nil, c.batchInfo(), c.records))
	}
}

// lead begins this node's epoch of the metadata log.
func (c *controller) lead(voters *metadata.Voters, done func(protocol.ErrorCode)) {
	c.enqueue(&proposal{home: c.shard, controls: metadata.Elect(c.rules.NodeID, voters), done: done})
}

func (c *controller) batchInfo() metadata.BatchInfo {
	return metadata.BatchInfo{
		Offset: c.log.Offsets().LogEnd, LeaderEpoch: c.shard.broker.epoch, TimestampMillis: c.shard.core.Wall / 1e6,
	}
}

// write appends one batch. The log's settings make the append wait for its fsync.
func (c *controller) write(batch []byte) {
	c.block = c.shard.core.Arena.Alloc(len(batch))
	if c.block == nil {
		c.busy = false
		c.answer(protocol.THROTTLING_QUOTA_EXCEEDED)
		return
	}
	copy(c.block.Bytes(), batch)
	c.append = storage.Append{Batch: protocol.Batch(c.block.Bytes()[:len(batch)]), Owner: c}
	c.log.Append(&c.append)
}

// Appended implements storage.AppendOwner for the metadata log.
func (c *controller) Appended(a *storage.Append) {
	bytes := int64(len(a.Batch))
	c.block.Release()
	c.block = nil
	if a.Err != protocol.NONE {
		c.shard.broker.log.Error("a change to the cluster's metadata could not be written", "error", a.Err)
		c.finish(a.Err)
		return
	}
	c.snapshots.committed(c.log.Offsets().LogEnd, bytes)
	c.missing = len(c.shard.broker.shards)
	for _, s := range c.shard.broker.shards {
		m := &commit{shard: s, records: c.records, controls: c.controls, controller: c, last: c.log.Offsets().LogEnd - 1}
		if s == c.shard {
			m.Deliver(s.core)
		} else {
			c.shard.core.Send(s.core, m)
		}
	}
}

// applied counts a core that has taken the commit in.
func (c *controller) applied() {
	c.missing--
	if c.missing == 0 {
		c.finish(protocol.NONE)
	}
}

func (c *controller) finish(code protocol.ErrorCode) {
	c.busy = false
	c.answer(code)
	c.snapshots.between()
	c.advance()
}

// answer sends the current proposal home.
func (c *controller) answer(code protocol.ErrorCode) {
	p := c.current
	c.current, c.records, c.controls = nil, nil, nil
	p.code, p.decided = code, true
	if p.home == c.shard {
		p.done(code)
		return
	}
	c.shard.core.Send(p.home.core, p)
}

// commit carries committed records to one core and comes back when that core's
// partitions have followed.
type commit struct {
	shard      *Shard
	records    []metadata.Record
	controls   []metadata.Control
	controller *controller
	last       int64 // offset of the last record
	work       int   // partitions being opened, plus one while applying
	back       bool

	// What several records may ask for is done once.
	reconfigures, resubscribes bool
}

// Deliver runs on the core that the commit is for, then on core 0.
func (m *commit) Deliver(*reactor.Core) {
	if m.back {
		m.controller.applied()
		return
	}
	m.work = 1
	m.shard.apply(m)
	m.progressed()
}

// progressed counts one piece of work as finished.
func (m *commit) progressed() {
	m.work--
	if m.work > 0 {
		return
	}
	m.back = true
	if m.shard == m.controller.shard {
		m.controller.applied()
		return
	}
	m.shard.core.Send(m.controller.shard.core, m)
}
