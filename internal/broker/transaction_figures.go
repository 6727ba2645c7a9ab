package broker

import (
	"slipstream/internal/txn"
	"slipstream/protocol"
)

// TransactionFigures are a core's transactions, in a snapshot.
type TransactionFigures struct {
	IDs int // transactional ids that are known here
	txn.Stats
	// Verifications are questions of partitions to coordinators whether they are in a transaction (produces and
	// TxnOffsetCommits, each request once), FailedVerifications those that were refused.
	Verifications, FailedVerifications uint64
}

// countVerification counts an answer of a coordinator about a partition.
func (s *Shard) countVerification(code protocol.ErrorCode) {
	s.verifications++
	if code != protocol.NONE {
		s.failedVerifications++
	}
}

// copyTransactions adds up what the core's coordinators have done.
func (s *CoreSnapshot) copyTransactions() {
	f := TransactionFigures{Verifications: s.shard.verifications, FailedVerifications: s.shard.failedVerifications}
	for _, c := range s.shard.coordinating.all {
		if m, ok := c.machine.(*txnMachine); ok {
			f.IDs += m.coordinator.Count()
			f.Stats.Add(&m.coordinator.Stats)
		}
	}
	s.Transactions = f
}
