package txn

import (
	"slices"

	"slipstream/protocol"
)

// complete goes on from a Prepare state whose record is committed: markers for every partition, then the record
// of the Complete state. t.pending is that state all the while.
func (c *Coordinator) complete(nowMillis int64, t *transaction) {
	t.failedFence = false
	s := CompleteAbort
	if t.state == PrepareCommit {
		s = CompleteCommit
	}
	to := t.next(s, nowMillis)
	to.partitions = nil
	if t.clientVersion >= 2 && t.nextProducerID != -1 {
		to.producerID, to.producerEpoch = t.nextProducerID, 0
	}
	to.nextProducerID = -1
	t.to, t.pending = to, s
	if len(t.partitions) == 0 {
		c.write(nowMillis, t, t.to, answer{})
		return
	}
	c.sendMarkers(t, t.partitions)
}

func (c *Coordinator) sendMarkers(t *transaction, partitions []TopicPartition) {
	o := c.output()
	o.Markers = append(o.Markers, Marker{
		TransactionalID: t.id, ProducerID: t.producerID, ProducerEpoch: t.producerEpoch, CoordinatorEpoch: c.epoch,
		Version: t.clientVersion, Commit: t.state == PrepareCommit, Partitions: slices.Clone(partitions),
	})
}

// MarkerDone says that a partition has m's marker, or that it needs none because it has been deleted. Notices
// of markers that nobody waits for any more are passed over.
func (c *Coordinator) MarkerDone(nowMillis int64, m *Marker, p TopicPartition) {
	t := c.awaiting(m, p)
	if t == nil {
		return
	}
	t.partitions = without(t.partitions, p)
	if len(t.partitions) == 0 {
		t.retrying, t.retry = nil, 0
		c.write(nowMillis, t, t.to, answer{})
	}
}

// MarkerFailed says that m's marker could not be written into a partition. It is asked for again a little
// later, for as long as it takes, unless the partition has no use for it. It must be certain that it will not be
// written after all: a marker that comes late could end the producer's next transaction.
func (c *Coordinator) MarkerFailed(nowMillis int64, m *Marker, p TopicPartition, code protocol.ErrorCode) {
	t := c.awaiting(m, p)
	if t == nil {
		return
	}
	switch code {
	case protocol.INVALID_PRODUCER_EPOCH, protocol.UNSUPPORTED_FOR_MESSAGE_FORMAT, protocol.UNSUPPORTED_VERSION:
		c.MarkerDone(nowMillis, m, p)
		return
	}
	c.Stats.MarkerRetries++
	t.retrying = union(t.retrying, []TopicPartition{p})
	t.retry = nowMillis + retryMillis
	c.schedule(t)
}

// awaiting finds the transaction that waits for a marker in p.
func (c *Coordinator) awaiting(m *Marker, p TopicPartition) *transaction {
	t := c.byID[m.TransactionalID]
	if t == nil || !t.state.ending() || t.producerID != m.ProducerID || t.producerEpoch != m.ProducerEpoch ||
		c.epoch != m.CoordinatorEpoch || !contains(t.partitions, []TopicPartition{p}) {
		return nil
	}
	return t
}

// tryAgain asks once more for what has failed while t was ending.
func (c *Coordinator) tryAgain(nowMillis int64, t *transaction) {
	t.retry = 0
	if len(t.partitions) == 0 {
		c.write(nowMillis, t, t.to, answer{})
		return
	}
	missing := slices.DeleteFunc(t.retrying, func(p TopicPartition) bool { return !contains(t.partitions, []TopicPartition{p}) })
	t.retrying = nil
	if len(missing) > 0 {
		c.sendMarkers(t, missing)
	}
}
