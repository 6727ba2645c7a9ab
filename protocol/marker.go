package protocol

// MarkerBytes is the size of the batch that AppendMarkerBatch makes: a header and one record of 17 bytes.
const MarkerBytes = HeaderBytes + 17

// Marker is the end of a transaction in one partition.
type Marker struct {
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	Commit           bool
}

// AppendMarkerBatch appends the control batch that ends a producer's transaction, as Kafka's coordinator has it
// written. It does not allocate if dst has room for MarkerBytes.
func AppendMarkerBatch(dst []byte, m *Marker, timestampMillis int64) (buf []byte, batch Batch) {
	info := BatchInfo{
		Attributes: AttrTransactional | AttrControl, LeaderEpoch: -1,
		ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, BaseSequence: NoSequence,
	}
	var key, value [6]byte
	kind := AbortMarker
	if m.Commit {
		kind = CommitMarker
	}
	var bl Builder
	bl.Begin(dst, info)
	bl.Append(&Record{Timestamp: timestampMillis, Key: AppendControlKey(key[:0], kind), Value: AppendTransactionMarker(value[:0], m.CoordinatorEpoch)})
	return bl.Finish()
}

// ParseMarker reads a control batch that ends a transaction; ok is false for every other batch. It looks at the
// first record only, and does not check the CRC.
func ParseMarker(b Batch) (m Marker, ok bool) {
	if !b.IsControl() || b.Codec() != None {
		return m, false
	}
	var it Records
	var r Record
	it.Open(b, nil)
	defer it.Close()
	if !it.Next(&r) {
		return m, false
	}
	kind, ok := ParseControlKey(r.Key)
	if !ok || kind != AbortMarker && kind != CommitMarker || len(r.Value) < 6 {
		return m, false
	}
	v := NewReader(r.Value)
	v.Int16()
	return Marker{ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), CoordinatorEpoch: v.Int32(), Commit: kind == CommitMarker}, true
}
