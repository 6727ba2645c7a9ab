package broker

import (
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// coordinatedAppend is a machine's batch on its way into the log.
type coordinatedAppend struct {
	append storage.Append
	of     *coordinated
	block  *reactor.Block
	seq    uint64
	next   *coordinatedAppend // of those that are free
}

// recordRoom is the most that a record of a batch adds to its key and value:
// length 5, attributes 1, timestamp delta 10, offset delta 5, two lengths of 5,
// header count 1.
const recordRoom = 32

// place appends the batches that wait, in order, as far as there is memory.
func (c *coordinated) place() {
	n := 0
	for n < len(c.unplaced) && c.appendBatch(&c.unplaced[n]) {
		n++
	}
	if n == len(c.unplaced) {
		c.unplaced = c.unplaced[:0]
		return
	}
	c.unplaced = c.unplaced[n:]
	c.shard.core.Arena.Await(&c.room, c)
}

// MemoryFreed implements reactor.MemoryHandler.
func (c *coordinated) MemoryFreed(*reactor.MemoryWaiter) { c.mark() }

// appendBatch encodes a batch into memory that the kernel may read, and gives it
// to the log. It is false, and nothing has happened, while there is no room.
func (c *coordinated) appendBatch(b *machineBatch) bool {
	size := protocol.HeaderBytes
	for i := range b.records {
		size += len(b.records[i].Key) + len(b.records[i].Value) + recordRoom
	}
	block := c.shard.core.Arena.Alloc(size)
	if block == nil {
		return false
	}
	info := protocol.NewBatchInfo(0, c.hosted.leaderEpoch)
	if b.producerID >= 0 {
		info.Attributes, info.ProducerID, info.ProducerEpoch = protocol.AttrTransactional, b.producerID, b.producerEpoch
	}
	var bl protocol.Builder
	bl.Begin(block.Bytes()[:0], info)
	for i := range b.records {
		bl.Append(&b.records[i])
	}
	_, batch := bl.Finish()
	a := c.takeAppend()
	a.block, a.seq = block, b.seq
	a.append = storage.Append{Batch: batch, Owner: a, Origin: storage.FromCoordinator, Verified: b.verified}
	c.flying++
	c.hosted.log.Append(&a.append)
	return true
}

// Appended implements storage.AppendOwner.
func (a *coordinatedAppend) Appended(*storage.Append) {
	c, code, seq := a.of, a.append.Err, a.seq
	a.block.Release()
	a.block, a.append = nil, storage.Append{}
	a.next, c.free = c.free, a
	c.flying--
	c.mark()
	if c.machine == nil {
		return
	}
	now := c.shard.coordinating.millis()
	if code == protocol.NONE {
		c.failing = 0
		c.machine.committed(now, seq)
		return
	}
	c.shard.broker.log.Error("a coordinator's records could not be written",
		"topic", c.of.name, "partition", c.hosted.key.partition, "error", code)
	c.machine.failed(now, seq, code)
}

func (c *coordinated) takeAppend() *coordinatedAppend {
	a := c.free
	if a == nil {
		return &coordinatedAppend{of: c}
	}
	c.free, a.next = a.next, nil
	return a
}
