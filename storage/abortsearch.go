package storage

import (
	"slipstream/protocol"
	"slipstream/ring"
)

// AbortSearch finds the records of aborted transactions in a range of a log: the list of those transactions says from
// where on a producer's batches are void, only the batches' heads say which these are. It reads the range's file, on a
// helper; the range must be kept meanwhile.
type AbortSearch struct {
	at      Range
	aborted []AbortedTransaction

	// Found are the batches of aborted transactions, in order.
	Found []OffsetRange
}

// batchLengthBytes is what comes before the bytes that a batch's length counts: its base offset and the length.
const batchLengthBytes = 12

// OffsetRange is the offsets from First up to Last.
type OffsetRange struct{ First, Last int64 }

// NewAbortSearch looks through a range with what AbortedTransactions has said of it.
func NewAbortSearch(at Range, aborted []AbortedTransaction) *AbortSearch {
	return &AbortSearch{at: at, aborted: aborted}
}

// Run looks, blocking.
func (s *AbortSearch) Run(k ring.Kernel) error {
	var head [protocol.HeaderBytes]byte
	open := make(map[int64]bool) // producers in an aborted transaction
	for pos, end := s.at.Pos, s.at.Pos+int64(s.at.Len); pos < end; {
		if _, err := k.ReadAt(s.at.File.FD(), head[:], pos); err != nil {
			return err
		}
		b := protocol.Batch(head[:])
		for i := range s.aborted {
			if a := &s.aborted[i]; a.ProducerID >= 0 && a.FirstOffset <= b.LastOffset() {
				open[a.ProducerID] = true
				a.ProducerID = -1
			}
		}
		switch id := b.ProducerID(); {
		case b.IsControl():
			delete(open, id)
		case b.IsTransactional() && open[id]:
			s.add(b.BaseOffset(), b.LastOffset())
		}
		size := int64(b.Length()) + batchLengthBytes
		if size < protocol.HeaderBytes {
			return errNoBatch
		}
		pos += size
	}
	return nil
}

func (s *AbortSearch) add(first, last int64) {
	if n := len(s.Found); n > 0 && s.Found[n-1].Last == first-1 {
		s.Found[n-1].Last = last
		return
	}
	s.Found = append(s.Found, OffsetRange{first, last})
}
