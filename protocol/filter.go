package protocol

import (
	"encoding/binary"
	"io"
)

// Filter makes batches of the records of others that are kept: what compaction is made of. Offsets, the producer's sequence
// numbers, the leader epoch and the codec stay as they are; records that are kept stay as they are in their bytes, unless the
// batch gets a delete horizon, which their timestamps then count from. The zero Filter is ready. It is for helpers: it takes time,
// and keeps memory for the largest batch that it has made.
type Filter struct {
	scratch Scratch
	walk    walker
	head    recordHead
	shapes  [filterRun]RecordShape
	stamps  [filterRun]int64 // timestamps of shapes
	kept    []uint64         // a bit for each record
	out     boundedBuffer
	record  []byte
}

// filterRun is how many records a rule sees at a time: as many as a word has bits. More than one, so that a rule that looks
// keys up in a large table waits for the memory of all of them at once.
const filterRun = 64

// KeyDigest stands for a record's key.
type KeyDigest struct{ High, Low uint64 }

// RecordShape is what a filter's rule sees of a record.
type RecordShape struct {
	Offset   int64
	Key      KeyDigest // of its key, if the rules say how
	HasKey   bool      // without one it is null
	HasValue bool      // without one the record is a tombstone
	Keep     bool      // false when the rule gets it, and for the rule to set
}

// FilterRules say what becomes of a batch.
type FilterRules struct {
	// Digest makes the digest of a key, which is good until it returns. Nil: no rule asks for keys.
	Digest func(key []byte) KeyDigest
	// Keep sets Keep of those records that are kept. It is called with at most 64 at a time, in order.
	Keep func(records []RecordShape)
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

// survey asks the rule of all records, and notes the answers.
func (f *Filter) survey(b Batch, rules *FilterRules) (v survey, err error) {
	v.maxTimestamp = NoTimestamp
	f.kept = f.kept[:0]
	err = f.EachRun(b, rules.Digest, func(run []RecordShape) bool {
		rules.Keep(run)
		word := uint64(0)
		for i := range run {
			if r := &run[i]; r.Keep {
				word |= 1 << i
				v.kept++
				v.tombstones = v.tombstones || !r.HasValue
				v.maxTimestamp = max(v.maxTimestamp, f.stamps[i])
			}
		}
		f.kept = append(f.kept, word)
		return true
	})
	return v, err
}

// EachRun calls see with the shapes of a batch's records, at most 64 at a time and in order, until it returns false. digest
// is as in [FilterRules].
func (f *Filter) EachRun(b Batch, digest func(key []byte) KeyDigest, see func(run []RecordShape) bool) error {
	if err := f.open(b); err != nil {
		return err
	}
	defer f.close(b)
	for left := int(b.Count()); left > 0; left -= filterRun {
		run := f.shapes[:min(left, filterRun)]
		for i := range run {
			if _, err := f.next(); err != nil {
				return err
			}
			h := &f.head
			run[i] = RecordShape{Offset: b.BaseOffset() + int64(h.offsetDelta), HasKey: h.key != nil, HasValue: h.hasValue}
			if h.key != nil && digest != nil {
				run[i].Key = digest(h.key)
			}
			f.stamps[i] = b.timestampOf(h.timestampDelta)
		}
		if !see(run) {
			return nil
		}
	}
	return nil
}

// open begins to walk over a batch.
func (f *Filter) open(b Batch) error {
	if b.Count() < 0 {
		return errRecordStructure
	}
	err := f.walk.open(b, &f.scratch)
	if err != nil {
		f.close(b)
	}
	return err
}

func (f *Filter) close(b Batch) {
	if f.walk = (walker{}); b.Codec() != None {
		f.scratch.release()
	}
}

// next reads the next record's head, and returns the bytes of the record without their length.
func (f *Filter) next() ([]byte, error) {
	body, err := f.walk.body()
	if err == nil {
		err = f.head.parse(body)
	}
	return body, err
}

// recordHead is a record as far as to whether it has a value.
type recordHead struct {
	timestampDelta int64
	offsetDelta    int32
	afterTimestamp int // where the offset delta is
	key            []byte
	hasValue       bool
}

func (h *recordHead) parse(body []byte) error {
	if len(body) == 0 {
		return errRecordStructure
	}
	delta, n := Varlong(body[1:])
	if n <= 0 {
		return errRecordStructure
	}
	h.timestampDelta, h.afterTimestamp = delta, 1+n
	offset, at := nextVarint(body, h.afterTimestamp)
	length, at := nextVarint(body, at)
	if at < 0 || int(length) > len(body)-at {
		return errRecordStructure
	}
	h.offsetDelta, h.key = offset, nil
	if length >= 0 {
		h.key = body[at : at+int(length) : at+int(length)]
	}
	value, at := nextVarint(body, at+max(int(length), 0))
	if at < 0 {
		return errRecordStructure
	}
	h.hasValue = value >= 0
	return nil
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
func (f *Filter) rebuild(b Batch, v *survey, setHorizon bool, horizon int64) (c Batch, err error) {
	f.out = boundedBuffer{b: f.out.b[:0], limit: 1<<31 - 1}
	f.out.Write(b[:HeaderBytes])
	if b.Codec() == None && !setHorizon {
		err = f.copyRuns(b)
	} else {
		err = f.copyEach(b, setHorizon, horizon)
	}
	if err != nil {
		return nil, err
	}
	c = Batch(f.out.b)
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

func (f *Filter) keeps(i int) bool { return f.kept[i/64]&(1<<(i%64)) != 0 }

// copyRuns copies the records that are kept as they are: of an uncompressed batch neighbours together.
func (f *Filter) copyRuns(b Batch) error {
	if err := f.open(b); err != nil {
		return err
	}
	defer f.close(b)
	records := b[HeaderBytes:]
	from, at := int64(0), int64(0)
	for i := range int(b.Count()) {
		if _, err := f.walk.body(); err != nil {
			return err
		}
		end := f.walk.position()
		if !f.keeps(i) {
			f.out.b = append(f.out.b, records[from:at]...)
			from = end
		}
		at = end
	}
	f.out.b = append(f.out.b, records[from:at]...)
	return nil
}

// copyEach compresses the records that are kept, or gives them timestamps that count from the delete horizon.
func (f *Filter) copyEach(b Batch, setHorizon bool, horizon int64) error {
	w, err := compressor(&f.out, b.Codec(), DefaultLevel)
	if err != nil {
		return err
	}
	err = f.writeEach(w, b, setHorizon, horizon)
	if closed := w.Close(); err == nil {
		err = closed
	}
	return err
}

func (f *Filter) writeEach(w io.Writer, b Batch, setHorizon bool, horizon int64) error {
	if err := f.open(b); err != nil {
		return err
	}
	defer f.close(b)
	for i := range int(b.Count()) {
		body, err := f.next()
		if err != nil {
			return err
		}
		if !f.keeps(i) {
			continue
		}
		r := f.record[:0]
		if setHorizon {
			delta := b.timestampOf(f.head.timestampDelta) - horizon
			rest := body[f.head.afterTimestamp:]
			r = AppendVarint(r, int32(1+varlongBytes(delta)+len(rest)))
			r = AppendVarlong(append(r, body[0]), delta)
			r = append(r, rest...)
		} else {
			r = append(AppendVarint(r, int32(len(body))), body...)
		}
		f.record = r
		if _, err := w.Write(r); err != nil {
			return err
		}
	}
	return nil
}
