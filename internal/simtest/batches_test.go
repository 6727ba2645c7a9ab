package simtest

import (
	"cmp"
	"fmt"
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetched is what a consumer takes out of a partition's response.
type fetched struct {
	next    int64 // where to go on
	offsets []int64
	ids     []string
}

// take reads the batches of a response from an offset on. With committed it leaves
// out what belongs to aborted transactions, as consumers do: a producer's batches
// from the first offset of its aborted transaction on, up to its marker.
func take(p *kmsg.FetchResponseTopicPartition, from int64, committed bool) (f fetched, err error) {
	f.next = from
	aborted := map[int64]bool{}
	list := slices.Clone(p.AbortedTransactions)
	slices.SortStableFunc(list, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return cmp.Compare(a.FirstOffset, b.FirstOffset)
	})
	for b := p.RecordBatches; len(b) >= protocol.HeaderBytes; {
		n := protocol.LogOverhead + int(protocol.Batch(b).Length())
		if n < protocol.HeaderBytes || n > len(b) {
			break // a part of one
		}
		batch := protocol.Batch(b[:n:n])
		b = b[n:]
		if !batch.ValidCRC() {
			return f, fmt.Errorf("the batch at offset %d is damaged", batch.BaseOffset())
		}
		for committed && len(list) > 0 && list[0].FirstOffset <= batch.LastOffset() {
			aborted[list[0].ProducerID] = true
			list = list[1:]
		}
		switch {
		case batch.LastOffset() < f.next: // a batch that was dealt with
			continue
		case batch.IsControl():
			delete(aborted, batch.ProducerID()) // its transaction ends here, one way or the other
		case committed && batch.IsTransactional() && aborted[batch.ProducerID()]:
		default:
			if err := f.records(batch); err != nil {
				return f, err
			}
		}
		f.next = batch.NextOffset()
	}
	return f, nil
}

func (f *fetched) records(batch protocol.Batch) error {
	var it protocol.Records
	var r protocol.Record
	var scratch protocol.Scratch
	for it.Open(batch, &scratch); it.Next(&r); {
		if r.Offset >= f.next {
			f.offsets, f.ids = append(f.offsets, r.Offset), append(f.ids, string(r.Key))
		}
	}
	defer it.Close()
	return it.Err()
}
