package protocol

import "encoding/binary"

// Filter makes batches of the records of others that are kept: what compaction is made of. Offsets, the producer's sequence
// numbers, the leader epoch and the codec stay as they are; records that are kept stay as they are in their bytes, unless the
// batch gets a delete horizon, which their timestamps then count from. The zero Filter is ready. It is for helpers: it takes time,
// and keeps memory for the largest batch that it has made.
type Filter struct {
	scratch Scratch
	kept    []uint64 // a bit for each record
	out     boundedBuffer
	record  []byte
}

// RecordShape is what a filter's rule sees of a record.
type RecordShape struct {
	Offset   int64
	Key      []byte // nil: null. Good until the rule returns.
	HasValue bool   // without one the record is a tombstone
}

// FilterRules say what becomes of a batch.
type FilterRules struct {
	// Keep is asked of each record.
	Keep func(r *RecordShape) bool
	// KeepEmpty leaves a header where no record is kept.
	KeepEmpty bool
	// DeleteHorizonMillis is from when on tombstones may go; it is written into a batch that keeps some and has no horizon yet.
	DeleteHorizonMillis int64
	// NeedsHorizon has the horizon written into a batch that keeps no tombstone too: a marker.
	NeedsHorizon bool
}

// Apply returns what is left of b: b itself if nothing changes, memory that is good until the next Apply, or nil if nothing is
// left. records and kept are how many there were and are. An error means that the records cannot be read.
func (f *Filter) Apply(b Batch, rules *FilterRules) (left Batch, records, kept int, err error) {
	survey, err := f.survey(b, rules)
	if err != nil {
		return nil, 0, 0, err
	}
	records, kept = int(b.Count()), survey.kept
	setHorizon := (survey.tombstones || rules.NeedsHorizon) && !b.HasDeleteHorizon()
	switch {
	case kept == 0 && !rules.KeepEmpty:
		return nil, records, kept, nil
	case kept == 0:
		return f.empty(b), records, kept, nil
	case kept == records && !setHorizon:
		return b, records, kept, nil
	}
	left, err = f.rebuild(b, &survey, setHorizon, rules.DeleteHorizonMillis)
	return left, records, kept, err
}

// survey is what the first pass over a batch finds.
type survey struct {
	kept         int
	tombstones   bool // among those kept
	maxTimestamp int64
}

// survey asks the rule of each record, and notes the answers.
func (f *Filter) survey(b Batch, rules *FilterRules) (v survey, err error) {
	v.maxTimestamp = NoTimestamp
	f.kept = f.kept[:0]
	err = f.each(b, func(i int, head *recordHead, _ []byte) error {
		if i%64 == 0 {
			f.kept = append(f.kept, 0)
		}
		shape := RecordShape{Offset: b.BaseOffset() + int64(head.offsetDelta), Key: head.key, HasValue: head.hasValue}
		if !rules.Keep(&shape) {
			return nil
		}
		f.kept[i/64] |= 1 << (i % 64)
		v.kept++
		v.tombstones = v.tombstones || !head.hasValue
		v.maxTimestamp = max(v.maxTimestamp, b.timestampOf(head.timestampDelta))
		return nil
	})
	return v, err
}

// each calls see with the head and the bytes (without the length) of each record.
func (f *Filter) each(b Batch, see func(i int, head *recordHead, body []byte) error) error {
	var w walker
	if b.Count() < 0 {
		return errRecordStructure
	}
	err := w.open(b, &f.scratch)
	if b.Codec() != None {
		defer f.scratch.release()
	}
	for i := 0; i < int(b.Count()) && err == nil; i++ {
		var body []byte
		if body, err = w.body(); err != nil {
			return err
		}
		var head recordHead
		if head, err = parseRecordHead(body); err == nil {
			err = see(i, &head, body)
		}
	}
	return err
}

// recordHead is a record as far as to whether it has a value.
type recordHead struct {
	timestampDelta int64
	offsetDelta    int32
	afterTimestamp int // where the offset delta is
	key            []byte
	hasValue       bool
}

func parseRecordHead(body []byte) (h recordHead, err error) {
	in := NewReader(body)
	in.Int8()
	h.timestampDelta = in.Varlong()
	h.afterTimestamp = len(body) - in.Len()
	h.offsetDelta = in.Varint()
	if h.key = in.varintBytes(); h.key == nil && in.err != nil {
		return h, errRecordStructure
	}
	h.hasValue = in.Varint() >= 0
	if in.err != nil {
		return h, errRecordStructure
	}
	return h, nil
}

// empty is a batch's header without its records, as Kafka's cleaner leaves it.
func (f *Filter) empty(b Batch) Batch {
	if len(b) == HeaderBytes {
		return b
	}
	c := Batch(append(f.out.b[:0], b[:HeaderBytes]...))
	f.out.b = c
	c[21], c[22] = 0, c[22]&(AttrLogAppendTime|AttrTransactional|AttrControl)
	binary.BigEndian.PutUint32(c[8:], HeaderBytes-LogOverhead)
	noTimestamp := NoTimestamp
	binary.BigEndian.PutUint64(c[27:], uint64(noTimestamp))
	binary.BigEndian.PutUint32(c[57:], 0)
	c.setCRC()
	return c
}

// rebuild makes a batch of the records that are kept.
func (f *Filter) rebuild(b Batch, v *survey, setHorizon bool, horizon int64) (Batch, error) {
	f.out = boundedBuffer{b: f.out.b[:0], limit: 1<<31 - 1}
	f.out.Write(b[:HeaderBytes])
	w, err := compressor(&f.out, b.Codec())
	if err != nil {
		return nil, err
	}
	err = f.each(b, func(i int, head *recordHead, body []byte) error {
		if f.kept[i/64]&(1<<(i%64)) == 0 {
			return nil
		}
		r := f.record[:0]
		if setHorizon {
			delta := b.timestampOf(head.timestampDelta) - horizon
			rest := body[head.afterTimestamp:]
			r = AppendVarint(r, int32(1+varlongBytes(delta)+len(rest)))
			r = AppendVarlong(append(r, body[0]), delta)
			r = append(r, rest...)
		} else {
			r = append(AppendVarint(r, int32(len(body))), body...)
		}
		f.record = r
		_, err := w.Write(r)
		return err
	})
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	c := Batch(f.out.b)
	binary.BigEndian.PutUint32(c[8:], uint32(len(c)-LogOverhead))
	if setHorizon {
		c[22] |= AttrDeleteHorizon
		binary.BigEndian.PutUint64(c[27:], uint64(horizon))
	}
	if b.TimestampType() == CreateTime {
		binary.BigEndian.PutUint64(c[35:], uint64(v.maxTimestamp))
	}
	binary.BigEndian.PutUint32(c[57:], uint32(v.kept))
	c.setCRC()
	return c, nil
}

// EachKey calls see with the shape of each record of a batch until it returns false.
func (f *Filter) EachKey(b Batch, see func(r *RecordShape) bool) error {
	err := f.each(b, func(_ int, head *recordHead, _ []byte) error {
		if !see(&RecordShape{Offset: b.BaseOffset() + int64(head.offsetDelta), Key: head.key, HasValue: head.hasValue}) {
			return errEnough
		}
		return nil
	})
	if err == errEnough {
		return nil
	}
	return err
}
