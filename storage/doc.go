// Package storage is Kafka's log: partitions as directories of segments, byte for
// byte in Kafka 4.3's formats.
//
// It has two halves. Opening, recovering, rolling, closing, deleting and searching
// by time are blocking work over [ring.Files] for start-up and helpers. Appending,
// planning reads and flushing belong to the core that adopted the partition
// ([Store.Adopt]); nothing there is locked, waits, or allocates once warm.
//
//	Append --> queued --Flush--> one write --> index, offsets, Appended, Woken
//	                     |                        |
//	                     +--> roll (helper)       +--> fsync (ring) --> recovery point
//
// At most one write and one fsync are in flight per partition. Whatever cannot be
// done in place (a new segment, cutting a failed write back) is a barrier: the
// partition's appends queue until a helper has done it, nobody else notices.
//
// Transactions: Verify, and once the coordinator has agreed, Append with the guard; a marker is an Append from a
// coordinator (protocol.AppendMarkerBatch). Offsets.LastStable is what is decided; a Query that is Committed ends
// there, and AbortedTransactions says what of its range to leave out. See txn.go, txnindex.go, verification.go.
package storage
