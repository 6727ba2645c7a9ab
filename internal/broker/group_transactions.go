package broker

import (
	"slipstream/internal/txn"
	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Where groups and transactions meet: an offset that is committed in a transaction
// is one more partition of it.

// verifyGroupTransaction says, on the core of a partition of __consumer_offsets,
// whether the producer of a TxnOffsetCommit has a transaction that the partition
// is in. then is called on that core, once, at once or later, with the guard for the
// append.
func (s *Shard) verifyGroupTransaction(h *hosted, req *kmsg.TxnOffsetCommitRequest, then func(guard uint64, code protocol.ErrorCode)) {
	guard, code := h.log.Verify(req.ProducerID, req.ProducerEpoch, protocol.NoSequence, req.Version >= 5)
	if code != protocol.NONE || guard == 0 {
		then(guard, code)
		return
	}
	r := txn.AddPartitions{
		TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch, VerifyOnly: req.Version < 5,
		Partitions: []txn.TopicPartition{{Topic: h.topic.name, Partition: h.key.partition}},
	}
	if req.Version >= 5 {
		r.Version = 2
	}
	s.addPartitions(r, func(r txn.Response) {
		code := r.Worst()
		s.countVerification(code)
		switch {
		case code == protocol.PRODUCER_FENCED:
			code = protocol.INVALID_PRODUCER_EPOCH
		case code == protocol.TRANSACTION_ABORTABLE && req.Version < 4:
			code = protocol.INVALID_TXN_STATE
		}
		then(guard, code)
	})
}

// endGroupTransaction tells the group coordinator of a partition of
// __consumer_offsets, on its core, that the marker of a producer's transaction is in
// the log at an offset: what was committed in it counts from now on, or never.
func (s *Shard) endGroupTransaction(h *hosted, offset, producerID int64, commit bool) {
	if h.coordinated != nil {
		h.coordinated.endTransaction(offset, producerID, commit)
	}
}
