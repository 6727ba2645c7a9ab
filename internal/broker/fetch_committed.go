package broker

import (
	"slipstream/protocol"
	"slipstream/storage"
)

// A fetch with isolation level read_committed: its ranges end at the last stable offset, and each comes with the
// aborted transactions that its reader must leave out. Where the list of these is on the disk, a helper reads it, and
// the range waits: planned anew it could be another one, whose list would have to be read again.

// committedBytes is the most that a range is given that may have aborted transactions in it: the list of them has at most one
// for each 147 bytes (a batch and a marker) of that, and those that were open where it begins.
const committedBytes = 8 << 20

// abortedPart is what a part knows of the aborted transactions in its range.
type abortedPart struct {
	list   []protocol.AbortedTransaction // its memory is used again
	lookup *storage.AbortedLookup
	at     storage.Range // the range that waits for lookup
}

// planCommitted finds the range and its aborted transactions.
func (p *fetchPart) planCommitted(log *storage.Partition, q storage.Query) {
	a := &p.aborted
	if a.lookup != nil {
		if !a.lookup.Done() {
			return
		}
		p.at, a.at = a.at, storage.Range{}
	} else {
		if log.AbortsFrom(q.Offset) {
			q.MaxBytes = min(q.MaxBytes, committedBytes)
		}
		p.at, p.lookup, p.code = log.Plan(q, p.lookup)
	}
	a.list = a.list[:0]
	if p.at.Len == 0 {
		a.lookup = nil
		return
	}
	p.findAborted(log, q.Offset)
}

// findAborted lists the aborted transactions of the part's range, or has it wait for a helper.
func (p *fetchPart) findAborted(log *storage.Partition, from int64) {
	a := &p.aborted
	var err error
	if a.list, a.lookup, err = log.AbortedTransactions(from, p.at.End, a.list, a.lookup); err != nil {
		p.code = protocol.KAFKA_STORAGE_ERROR
		p.at.Release()
		return
	}
	if a.lookup != nil {
		a.at, p.at = p.at, storage.Range{}
	}
}

// abortedBytes is the room that the list takes in a response.
func (p *fetchPart) abortedBytes() int { return protocol.AbortedTransactionBytes * len(p.aborted.list) }

// forgetAborted gives up what waits for a helper.
func (p *fetchPart) forgetAborted() {
	a := &p.aborted
	a.list = a.list[:0]
	a.at.Release()
	a.lookup = nil
}

// AbortedFound implements storage.AbortedWaiter for a part.
func (p *fetchPart) AbortedFound(*storage.AbortedLookup) { p.visit.wake() }

// keptAborted is the longest list whose memory a pooled op keeps.
const keptAborted = 256

// emptyAborted gives back what a part of an answered fetch still holds.
func (p *fetchPart) emptyAborted() {
	p.forgetAborted()
	if cap(p.aborted.list) > keptAborted {
		p.aborted.list = nil
	}
}
