package storage

import (
	"reflect"
	"testing"
)

// All batches that are remembered survive, so that a producer that had five in
// flight when the broker was killed finds each of them to be a duplicate.
func TestSnapshotKeepsAllRememberedBatches(t *testing.T) {
	var ps producers
	for id := range int64(3) {
		q := &producer{id: id, epoch: noProducerEpoch, txnFirstOffset: -1, coordinatorEpoch: -1}
		ps.put(q)
		for i := range int32(2 + 4*id) { // 2, 6 and 10, of which 5 are remembered
			q.add(3, batchMeta{lastOffset: int64(10*i + 9), timestamp: int64(1000 + i), lastSeq: 10*i + 9, offsetDelta: 9})
		}
	}
	ps.put(&producer{id: 9, epoch: 1, lastTimestamp: 5, txnFirstOffset: -1, coordinatorEpoch: -1}) // no batch
	got, err := decodeProducers(ps.encode())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, ps) {
		t.Errorf("got %+v, want %+v", got.byID, ps.byID)
	}
}
