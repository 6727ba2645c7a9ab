package metadata

import (
	"errors"
	"fmt"
	"io"

	"slipstream/protocol"
)

// The metadata log is an ordinary partition log: record batches of magic 2,
// uncompressed, without producer ids, stamped with the controller's epoch.
//
//	data batch:     attributes 0;    every record: null key, value as in records.go
//	control batch:  attributes 0x20; every record: key and value as in control.go
//
// Offsets count the records of both. A batch is the unit of atomicity: what one
// decision changes goes into one batch.
//
// The directory of a node that Apache Kafka 4.3.1 formatted (StorageTool format
// --standalone) and ran as broker and controller, node.id 1:
//
//	meta.properties                     node.id, directory.id, version=1, cluster.id
//	bootstrap.checkpoint                the records to bootstrap with: snapshot header | feature levels | footer
//	__cluster_metadata-0/
//	  partition.metadata                "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ"
//	  quorum-state                      one line of JSON, see QuorumState
//	  leader-epoch-checkpoint           version 0; one line an epoch: epoch, first offset
//	  00000000000000000000.log .index .timeindex
//	  %020d.snapshot                    producer snapshot, empty but for its header, made when the log is opened
//	  %020d-%010d.checkpoint            snapshots: next offset, epoch. The one at offset 0, epoch 0 is
//	                                    written by format and holds the voters: header, kraft version, voters | footer
//	(log.dirs)                          .lock and the *-checkpoint files of every log directory
//
// What its log holds, by offset:
//
//	0   control: LeaderChange, KRaftVersion 1, Voters         epoch 1
//	3   one batch: BeginTransaction "Bootstrap records", FeatureLevel (metadata.version 30 first),
//	    Config (broker "": min.insync.replicas=1), EndTransaction
//	12  RegisterController
//	13  RegisterBroker, fenced; its broker epoch is this offset
//	15  BrokerRegistrationChange: unfenced
//	16  BrokerRegistrationChange: no cordoned log directories
//	    from then on a NoOp every 500 ms in which nothing else was written
//
// A clean stop appends the controlled shutdown (see Controller.Shutdown). Every
// start appends a control batch with LeaderChange alone, in the next epoch, then
// RegisterController, and registers the broker anew.

// MetadataTopic is the name of the metadata log's topic, MetadataPartition its
// only partition.
const (
	MetadataTopic     = "__cluster_metadata"
	MetadataPartition = 0
)

// MetadataTopicID is the id of the metadata log's topic.
var MetadataTopicID = UUID{15: 1}

// Limits of one batch, as Kafka's controller and raft client have them. A longer
// list of records that need not be atomic is cut into several batches.
const (
	MaxBatchRecords = 10000
	MaxBatchBytes   = 8 << 20
)

// BatchInfo is what the records of a batch have in common.
type BatchInfo struct {
	Offset          int64 // of its first record: the log's end
	LeaderEpoch     int32 // the controller's epoch in force
	TimestampMillis int64 // wall clock, ms since 1970
}

// AppendBatch appends one data batch with all of records to dst: they become
// readable together or not at all. There must be at least one record.
func AppendBatch(dst []byte, info BatchInfo, records []Record) []byte {
	var bl protocol.Builder
	bl.Begin(dst, protocol.NewBatchInfo(info.Offset, info.LeaderEpoch))
	var value []byte
	for _, r := range records {
		value = AppendRecord(value[:0], r)
		bl.Append(&protocol.Record{Timestamp: info.TimestampMillis, Value: value})
	}
	dst, _ = bl.Finish()
	return dst
}

// AppendBatches is AppendBatch for records that need not be atomic (a start, a
// shutdown, a snapshot): each batch stays within Kafka's limits. It returns the
// offset after the last record.
func AppendBatches(dst []byte, info BatchInfo, records []Record) (_ []byte, next int64) {
	for len(records) > 0 {
		n := batchable(records)
		dst = AppendBatch(dst, info, records[:n])
		info.Offset += int64(n)
		records = records[n:]
	}
	return dst, info.Offset
}

// batchable is how many of the first records fit one batch, at least 1.
func batchable(records []Record) int {
	var value []byte
	size := protocol.HeaderBytes
	for i, r := range records {
		value = AppendRecord(value[:0], r)
		size += len(value) + recordOverheadBytes
		if i > 0 && (i >= MaxBatchRecords || size > MaxBatchBytes) {
			return i
		}
	}
	return len(records)
}

// recordOverheadBytes is the most that a record of a batch adds to its value:
// length 5, attributes 1, timestamp delta 10, offset delta 5, key length 1,
// value length 5, header count 1.
const recordOverheadBytes = 28

// fitsBatch reports whether records can be one batch.
func fitsBatch(records []Record) bool {
	return len(records) == 0 || batchable(records) == len(records)
}

// Entry is one record of a metadata log or snapshot: either Record or Control.
type Entry struct {
	Offset          int64
	TimestampMillis int64
	LeaderEpoch     int32
	Record          Record  // nil for a control record
	Control         Control // nil for a data record
}

var errBatchCRC = errors.New("the checksum does not match")

// EachEntry calls fn for every record of a batch, control records included, and
// stops at the first error. The checksum is checked before fn sees any of it, and
// what fn gets does not alias the batch. Control records of a type that is not known are
// passed over, as Kafka does.
func EachEntry(b protocol.Batch, fn func(Entry) error) error {
	if err := eachEntry(b, fn); err != nil {
		return fmt.Errorf("metadata batch at offset %d: %w", b.BaseOffset(), err)
	}
	return nil
}

func eachEntry(b protocol.Batch, fn func(Entry) error) error {
	if !b.ValidCRC() {
		return errBatchCRC
	}
	if b.Codec() != protocol.None {
		return fmt.Errorf("it is compressed with %s, and metadata never is", b.Codec())
	}
	if b.Count() < 1 || b.LastOffsetDelta() != b.Count()-1 {
		return fmt.Errorf("it says that it has %d records and spans %d offsets", b.Count(), int64(b.LastOffsetDelta())+1)
	}
	var it protocol.Records
	it.Open(b, nil)
	defer it.Close()
	var r protocol.Record
	next := b.BaseOffset()
	for ; it.Next(&r); next++ {
		if r.Offset != next {
			return fmt.Errorf("a record at offset %d follows offset %d", r.Offset, next-1)
		}
		e := Entry{Offset: r.Offset, TimestampMillis: r.Timestamp, LeaderEpoch: b.LeaderEpoch()}
		var err error
		if b.IsControl() {
			e.Control, err = DecodeControl(r.Key, r.Value)
		} else {
			e.Record, err = DecodeRecord(r.Value)
		}
		if err != nil {
			return fmt.Errorf("offset %d: %w", e.Offset, err)
		}
		if e.Record == nil && e.Control == nil {
			continue
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return it.Err()
}

// Replay folds the whole batches at the start of b into the image, from the
// record at offset from on: a snapshot that ends at from has what lies before.
// It returns the number of bytes read, the offset after them and the epoch of the last batch (-1
// if there was none). Bytes that end inside a batch are not an error: n tells
// where, and the caller cuts the log there or reads on. Anything else that is
// wrong is, and n, next and epoch tell how far the log is good.
func (im *Image) Replay(b []byte, from int64) (n int, next int64, epoch int32, err error) {
	next, epoch = from, -1
	for rest := b; ; {
		batch, after, err := protocol.NextBatch(rest)
		if errors.Is(err, protocol.ErrIncomplete) {
			return n, next, epoch, nil
		}
		if err == nil {
			err = EachEntry(batch, func(e Entry) error {
				switch {
				case e.Offset < from:
					return nil
				case e.Control != nil:
					im.ApplyControl(e.Control)
					return nil
				}
				return im.Apply(e.Record)
			})
		}
		if err != nil {
			return n, next, epoch, fmt.Errorf("metadata log at byte %d: %w", n, err)
		}
		n += len(rest) - len(after)
		next, epoch = max(next, batch.NextOffset()), batch.LeaderEpoch()
		rest = after
	}
}

// ReadSnapshot folds a snapshot (a .checkpoint file, whole) into an empty image
// and returns the control records that it carries. A snapshot that does not
// begin with its header and end with its footer is io.ErrUnexpectedEOF.
func (im *Image) ReadSnapshot(b []byte) (controls []Control, err error) {
	err = EachSnapshotEntry(b, func(e Entry) error {
		if e.Control != nil {
			controls = append(controls, e.Control)
		}
		return im.ApplyEntry(e)
	})
	return controls, err
}

// ApplyEntry folds a record of either kind.
func (im *Image) ApplyEntry(e Entry) error {
	if e.Control != nil {
		im.ApplyControl(e.Control)
		return nil
	}
	return im.Apply(e.Record)
}

// EachSnapshotEntry calls fn for every record of a snapshot, and checks that it is whole: see ReadSnapshot.
func EachSnapshotEntry(b []byte, fn func(Entry) error) error {
	controls := 0
	var first, last Control
	for len(b) > 0 {
		batch, rest, err := protocol.NextBatch(b)
		if err != nil {
			return fmt.Errorf("metadata snapshot: %w", err)
		}
		b = rest
		err = EachEntry(batch, func(e Entry) error {
			if e.Control != nil {
				if controls++; first == nil {
					first = e.Control
				}
				last = e.Control
			}
			return fn(e)
		})
		if err != nil {
			return fmt.Errorf("metadata snapshot: %w", err)
		}
	}
	_, begins := first.(*SnapshotHeader)
	_, ends := last.(*SnapshotFooter)
	if controls < 2 || !begins || !ends {
		return fmt.Errorf("metadata snapshot: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// SnapshotTimestamp is the timestamp (ms) of the last record that a snapshot stands for, from its header.
func SnapshotTimestamp(b []byte) (millis int64, err error) {
	batch, _, err := protocol.NextBatch(b)
	if err != nil {
		return 0, fmt.Errorf("metadata snapshot: %w", err)
	}
	err = EachEntry(batch, func(e Entry) error {
		if h, ok := e.Control.(*SnapshotHeader); ok {
			millis = h.LastContainedLogTimestamp
		}
		return nil
	})
	return millis, err
}

// Snapshot says what a snapshot is of.
type Snapshot struct {
	LastContainedMillis int64         // timestamp of the last record that it stands for
	TimestampMillis     int64         // now
	LeaderEpoch         int32         // epoch of the batches inside: Kafka writes 0
	KRaftVersion        *KRaftVersion // nil and Voters nil: none, as in bootstrap.checkpoint
	Voters              *Voters
}

// AppendSnapshot appends a whole snapshot file to dst: header (with the voters,
// where it has them), records, footer. Its offsets count from 0, as in Kafka's.
func AppendSnapshot(dst []byte, s Snapshot, records []Record) []byte {
	head := []Control{&SnapshotHeader{LastContainedLogTimestamp: s.LastContainedMillis}}
	if s.KRaftVersion != nil {
		head = append(head, s.KRaftVersion)
	}
	if s.Voters != nil {
		head = append(head, s.Voters)
	}
	info := BatchInfo{LeaderEpoch: s.LeaderEpoch, TimestampMillis: s.TimestampMillis}
	dst = AppendControlBatch(dst, info, head...)
	info.Offset = int64(len(head))
	dst, info.Offset = AppendBatches(dst, info, records)
	return AppendControlBatch(dst, info, &SnapshotFooter{})
}
