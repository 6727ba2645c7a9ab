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

// largeBatchBytes is from where on a batch is encoded in one turn and written in
// the next: each takes some 100 us for every 256 KiB.
const largeBatchBytes = 128 << 10

// place appends the batches that wait, in order, as far as there is memory.
func (c *coordinated) place() {
	for len(c.unplaced) > 0 {
		if c.encoded == nil {
			if c.encoded = c.encode(&c.unplaced[0]); c.encoded == nil {
				c.shard.core.Arena.Await(&c.room, c)
				return
			}
			if len(c.encoded.append.Batch) > largeBatchBytes {
				c.shard.coordinating.later(c)
				return
			}
		}
		a := c.encoded
		c.encoded = nil
		c.unplaced = c.unplaced[1:]
		c.flying++
		c.hosted.log.Append(&a.append)
	}
	c.unplaced = nil
}

// abandonBatches gives up what has not reached the log.
func (c *coordinated) abandonBatches() {
	c.unplaced = nil
	if a := c.encoded; a != nil {
		c.encoded = nil
		a.release()
	}
	c.shard.core.Arena.Unwait(&c.room)
}

// MemoryFreed implements reactor.MemoryHandler.
func (c *coordinated) MemoryFreed(*reactor.MemoryWaiter) { c.mark() }

// encode puts a batch into memory that the kernel may read; nil: there is no room.
func (c *coordinated) encode(b *machineBatch) *coordinatedAppend {
	size := protocol.HeaderBytes
	for i := range b.records {
		size += len(b.records[i].Key) + len(b.records[i].Value) + recordRoom
	}
	block := c.shard.core.Arena.Alloc(size)
	if block == nil {
		return nil
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
	return a
}

// release gives a's memory back and makes it free for another.
func (a *coordinatedAppend) release() {
	a.block.Release()
	a.block, a.append = nil, storage.Append{}
	a.next, a.of.free = a.of.free, a
}

// Appended implements storage.AppendOwner.
func (a *coordinatedAppend) Appended(*storage.Append) {
	c, code, seq := a.of, a.append.Err, a.seq
	a.release()
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
	c.counts().FailedAppends++
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
