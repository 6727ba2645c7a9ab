package storage

import (
	"math"

	"slipstream/protocol"
)

// Rebuilder makes anew what is derived from a log's batches, for a tool that repairs a directory while no broker has it
// open: it is shown the log's batches in order, and has the files' contents whenever they are asked for. The rules are those
// of appending and of recovery. It does no I/O.
type Rebuilder struct {
	interval  int32
	base      int64
	index     indexBuilder
	size      int64
	producers producers
	txns      transactions
	aborted   []abortedTxn // of the segment
	epochs    epochs
}

// NewRebuilder begins before a log's first segment. indexIntervalBytes is the topic's index.interval.bytes; any is valid.
func NewRebuilder(indexIntervalBytes int32) *Rebuilder {
	return &Rebuilder{interval: indexIntervalBytes, index: newIndexBuilder()}
}

// Begin begins the segment of a base offset.
func (r *Rebuilder) Begin(base int64) {
	r.base, r.size, r.index, r.aborted = base, 0, newIndexBuilder(), nil
}

// Add takes the segment's next batch in. Only of a control batch the records are looked at; of any other the header will do.
func (r *Rebuilder) Add(b protocol.Batch) {
	size := batchBytes(b)
	r.index.addBatch(r.size, int(size), b, r.base, r.interval)
	r.size += size
	r.epochs.assignSeen(b.LeaderEpoch(), b.BaseOffset())
	first := int64(-1)
	if q := r.producers.get(b.ProducerID()); q != nil {
		first = q.txnFirstOffset
	}
	marker, ended := r.producers.replay(b)
	switch {
	case ended && first >= 0:
		stable := r.txns.end(marker.ProducerID, first, b.BaseOffset())
		r.txns.decided(math.MaxInt64)
		if !marker.Commit {
			r.aborted = append(r.aborted, abortedTxn{marker.ProducerID, first, b.BaseOffset(), stable})
		}
	case b.ProducerID() >= 0 && !b.IsControl() && b.IsTransactional() && first < 0:
		r.txns.begin(b.ProducerID(), b.BaseOffset())
	}
}

// Load makes the producers those of a .snapshot file whose place in the log has been reached.
func (r *Rebuilder) Load(snapshot []byte) error {
	ps, err := decodeProducers(snapshot)
	if err != nil {
		return err
	}
	r.producers = ps
	r.txns.openFromSnapshot(&r.producers)
	return nil
}

// Index is the segment's .index.
func (r *Rebuilder) Index() []byte { return encodeIndex(r.index.index) }

// TimeIndex is the segment's .timeindex, as it is when a segment is closed: it ends with the largest timestamp.
func (r *Rebuilder) TimeIndex() []byte {
	r.index.complete()
	return encodeTimeIndex(r.index.time)
}

// Aborted is the segment's .txnindex, nil if it has none.
func (r *Rebuilder) Aborted() []byte { return encodeAborted(r.aborted) }

// Snapshot is the .snapshot of the place that has been reached.
func (r *Rebuilder) Snapshot() []byte { return r.producers.encode() }

// Epochs is a leader-epoch-checkpoint of the batches seen.
func (r *Rebuilder) Epochs() []byte { return r.epochs.encode() }

// EncodeEpochs is a leader-epoch-checkpoint.
func EncodeEpochs(entries []EpochEntry) []byte {
	var e epochs
	for _, x := range entries {
		e.entries = append(e.entries, epochEntry{x.Epoch, x.StartOffset})
	}
	return e.encode()
}

// EncodePartitionMetadata is a partition.metadata.
func EncodePartitionMetadata(id protocol.UUID) []byte { return encodePartitionMetadata(id) }
