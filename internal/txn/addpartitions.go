package txn

import "slipstream/protocol"

// AddPartitions adds partitions to a producer's transaction, and begins it with the
// first; or only asks whether they are in it. AddOffsetsToTxn is this with the
// partition of __consumer_offsets that holds the group's offsets.
type AddPartitions struct {
	TransactionalID string
	ProducerID      int64
	ProducerEpoch   int16
	Partitions      []TopicPartition // in any order; not kept, their strings are
	VerifyOnly      bool             // do not add, only say whether they are there
	Version         int16            // transaction.version that the client goes by: 0 or 2
}

// AddPartitions answers once the partitions are in the log, or at once if they are already there.
func (c *Coordinator) AddPartitions(nowMillis int64, tag Tag, r AddPartitions) {
	t, code := c.lookUp(r.TransactionalID)
	switch {
	case code != protocol.NONE:
		c.refuse(tag, code)
	case r.VerifyOnly:
		c.verify(t, tag, &r)
	case t.pending != noState:
		c.refuse(tag, protocol.CONCURRENT_TRANSACTIONS)
	case r.ProducerID != t.producerID:
		c.refuse(tag, protocol.INVALID_PRODUCER_ID_MAPPING)
	case r.ProducerEpoch != t.producerEpoch:
		c.refuse(tag, protocol.PRODUCER_FENCED)
	case t.state.ending():
		c.refuse(tag, protocol.CONCURRENT_TRANSACTIONS)
	case t.state == Ongoing && contains(t.partitions, r.Partitions):
		c.refuse(tag, protocol.NONE)
	default:
		to := t.next(Ongoing, nowMillis)
		to.partitions, to.clientVersion = union(t.partitions, r.Partitions), r.Version
		if t.state != Ongoing {
			to.startMillis = nowMillis
		}
		c.write(nowMillis, t, to, answer{tag, plainly})
	}
}

// lookUp finds what is known of an id, or why it cannot be asked for.
func (c *Coordinator) lookUp(id string) (*transaction, protocol.ErrorCode) {
	switch {
	case id == "":
		return nil, protocol.INVALID_REQUEST
	case !c.loaded:
		return nil, protocol.COORDINATOR_LOAD_IN_PROGRESS
	}
	t := c.byID[id]
	if t == nil {
		return nil, protocol.INVALID_PRODUCER_ID_MAPPING
	}
	return t, protocol.NONE
}

// verify answers for each partition whether it is in the transaction. What is in flight does not count, and is
// not waited for: the partition's log checks the producer once more when it appends.
func (c *Coordinator) verify(t *transaction, tag Tag, r *AddPartitions) {
	switch {
	case r.ProducerID != t.producerID:
		c.refuse(tag, protocol.INVALID_PRODUCER_ID_MAPPING)
		return
	case r.ProducerEpoch != t.producerEpoch:
		c.refuse(tag, protocol.PRODUCER_FENCED)
		return
	case t.state.ending():
		c.refuse(tag, protocol.CONCURRENT_TRANSACTIONS)
		return
	}
	codes := make([]protocol.ErrorCode, len(r.Partitions))
	for i := range r.Partitions {
		if !contains(t.partitions, r.Partitions[i:i+1]) {
			codes[i] = protocol.TRANSACTION_ABORTABLE
		}
	}
	c.respond(Response{Tag: tag, ProducerID: -1, ProducerEpoch: -1, Codes: codes})
}
