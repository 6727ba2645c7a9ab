package protocol

import "encoding/binary"

// BatchInfo is what a batch says of itself beside its records. NewBatchInfo has the
// values of a batch that no idempotent producer made.
type BatchInfo struct {
	BaseOffset    int64
	LeaderEpoch   int32
	Attributes    int16 // Attr bits; the codec must be None
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
}

// NewBatchInfo returns the info of a plain batch at an offset: no producer, no attributes.
func NewBatchInfo(baseOffset int64, leaderEpoch int32) BatchInfo {
	return BatchInfo{
		BaseOffset: baseOffset, LeaderEpoch: leaderEpoch,
		ProducerID: NoProducerID, ProducerEpoch: -1, BaseSequence: NoSequence,
	}
}

// Builder makes an uncompressed batch at the end of a caller's buffer:
//
//	var bl Builder
//	bl.Begin(buf, NewBatchInfo(offset, epoch))
//	bl.Append(&Record{Timestamp: ms, Value: v})
//	buf, batch := bl.Finish()
//
// It allocates only when the buffer's capacity does not suffice. One batch must stay below 2 GiB.
type Builder struct {
	b             []byte
	start         int
	count         int32
	baseTimestamp int64
	maxTimestamp  int64
}

// Begin starts a batch at the end of dst.
func (bl *Builder) Begin(dst []byte, info BatchInfo) {
	*bl = Builder{b: dst, start: len(dst), baseTimestamp: NoTimestamp, maxTimestamp: NoTimestamp}
	b := AppendInt64(dst, info.BaseOffset)
	b = AppendInt32(b, 0)
	b = AppendInt32(b, info.LeaderEpoch)
	b = AppendInt8(b, CurrentMagic)
	b = AppendInt32(b, 0)
	b = AppendInt16(b, info.Attributes)
	b = append(b, make([]byte, 4+8+8)...) // last offset delta and timestamps: see Finish
	b = AppendInt64(b, info.ProducerID)
	b = AppendInt16(b, info.ProducerEpoch)
	b = AppendInt32(b, info.BaseSequence)
	bl.b = AppendInt32(b, 0)
}

// Append adds a record at the next offset; r.Offset is not looked at. The first record's timestamp
// becomes the batch's base timestamp.
func (bl *Builder) Append(r *Record) {
	if bl.count == 0 {
		bl.baseTimestamp, bl.maxTimestamp = r.Timestamp, r.Timestamp
	}
	bl.maxTimestamp = max(bl.maxTimestamp, r.Timestamp)
	bl.b = appendRecord(bl.b, r.Timestamp-bl.baseTimestamp, bl.count, r)
	bl.count++
}

// Count returns the number of records appended.
func (bl *Builder) Count() int { return int(bl.count) }

// Bytes returns the size of the batch so far.
func (bl *Builder) Bytes() int { return len(bl.b) - bl.start }

// Finish fills in the header and returns the whole buffer and the batch, which is the buffer's end.
func (bl *Builder) Finish() (buf []byte, batch Batch) {
	batch = Batch(bl.b[bl.start:])
	binary.BigEndian.PutUint32(batch[8:], uint32(len(batch)-LogOverhead))
	binary.BigEndian.PutUint32(batch[23:], uint32(bl.count-1))
	binary.BigEndian.PutUint64(batch[27:], uint64(bl.baseTimestamp))
	binary.BigEndian.PutUint64(batch[35:], uint64(bl.maxTimestamp))
	binary.BigEndian.PutUint32(batch[57:], uint32(bl.count))
	batch.setCRC()
	return bl.b, batch
}

// AppendEmptyBatch appends a batch without records that stands for the offsets from first to last, as compaction leaves one
// where nothing is left of a batch: who reads the log goes on behind it. last-first must be at most MaxInt32.
func AppendEmptyBatch(dst []byte, first, last int64, leaderEpoch int32) (buf []byte, batch Batch) {
	var bl Builder
	bl.Begin(dst, NewBatchInfo(first, leaderEpoch))
	buf, batch = bl.Finish()
	binary.BigEndian.PutUint32(batch[23:], uint32(last-first))
	binary.BigEndian.PutUint32(batch[17:], batch.ComputeCRC())
	return buf, batch
}
