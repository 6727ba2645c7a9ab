package protocol

// Records reads the records of a batch one by one, expanding them if they are compressed:
//
//	var it Records
//	it.Open(batch, &scratch)
//	for it.Next(&r) { ... }
//	it.Close()
//	err := it.Err()
//
// A record's byte slices alias the batch or, if it is compressed, memory that the next Next reuses. It is for
// searches, tools and the metadata log, and takes batches from disk that nobody has validated.
type Records struct {
	w       walker
	batch   Batch
	scratch *Scratch
	left    int32
	err     error
}

// Open starts reading b. The scratch is the reader's until Close; it may be nil if b is not compressed.
func (it *Records) Open(b Batch, s *Scratch) {
	*it = Records{batch: b, scratch: s, left: b.Count()}
	it.err = it.w.open(b, s)
}

// open starts walking over b's records; the scratch is taken until its release.
func (w *walker) open(b Batch, s *Scratch) error {
	if b.Codec() == None {
		w.inMemory(b.Payload())
		return nil
	}
	src, err := s.expand(b)
	if err != nil {
		return err
	}
	if s.room == nil {
		s.room = make([]byte, windowBytes)
	}
	w.stream(src, s.room)
	return nil
}

// Close ends the use of the scratch.
func (it *Records) Close() {
	if it.batch != nil && it.batch.Codec() != None {
		it.scratch.release()
	}
	it.batch = nil
}

// Err returns why Next stopped early, or nil.
func (it *Records) Err() error { return it.err }

// Next reads the next record into r, whose Headers' memory is reused. False: there is none, or
// an error.
func (it *Records) Next(r *Record) bool {
	if it.err != nil || it.left <= 0 {
		return false
	}
	it.left--
	var body []byte
	if body, it.err = it.w.body(); it.err != nil {
		return false
	}
	it.err = it.decode(body, r)
	return it.err == nil
}

func (it *Records) decode(body []byte, r *Record) error {
	in := NewReader(body)
	in.Int8()
	r.Timestamp = it.batch.timestampOf(in.Varlong())
	r.Offset = it.batch.BaseOffset() + int64(in.Varint())
	r.Key = in.varintBytes()
	r.Value = in.varintBytes()
	r.Headers = r.Headers[:0]
	for n := in.Varint(); n != 0 && in.err == nil; n-- {
		if n < 0 {
			return errRecordStructure
		}
		key := in.Take(int(in.Varint()))
		r.Headers = append(r.Headers, RecordHeader{Key: key, Value: in.varintBytes()})
	}
	if in.err != nil || in.Len() > 0 {
		return errRecordStructure
	}
	return nil
}

// varintBytes reads a zigzag length, negative for null, and that many bytes.
func (r *Reader) varintBytes() []byte {
	n := r.Varint()
	if n < 0 {
		return nil
	}
	return r.Take(int(n))
}

// timestampOf is the timestamp of a record with this delta.
func (b Batch) timestampOf(delta int64) int64 {
	if b.TimestampType() == LogAppendTime {
		return b.MaxTimestamp()
	}
	return b.BaseTimestamp() + delta
}

// body returns the next record without its length, in one piece. A record larger than the window makes the window
// grow, but only as its bytes come in: a length that lies costs nothing.
func (w *walker) body() ([]byte, error) {
	length, err := w.varint()
	if err != nil {
		return nil, err
	}
	if length < 0 {
		return nil, errRecordStructure
	}
	for len(w.window)-w.pos < int(length) {
		if len(w.window)-w.pos == cap(w.window) && w.err == nil {
			w.window = append(make([]byte, 0, 2*cap(w.window)), w.window...)
		}
		if !w.more() {
			return nil, w.shortErr()
		}
	}
	body := w.window[w.pos : w.pos+int(length)]
	w.pos += int(length)
	return body, nil
}

// FindTimestamp returns offset and timestamp of the first record at or after an offset whose timestamp is at least
// target (ms), as ListOffsets by time asks; found is false if there is none. The scratch may be nil if b is
// not compressed.
func (b Batch) FindTimestamp(target, from int64, s *Scratch) (offset, timestamp int64, found bool, err error) {
	err = b.eachShape(s, func(at, ts int64) bool {
		if ts >= target && at >= from {
			offset, timestamp, found = at, ts, true
		}
		return !found
	})
	return offset, timestamp, found, err
}

// OffsetOfMaxTimestamp returns the offset of the first record that has the batch's largest timestamp, and that timestamp.
func (b Batch) OffsetOfMaxTimestamp(s *Scratch) (offset, timestamp int64, err error) {
	offset, timestamp = NoOffset, NoTimestamp
	err = b.eachShape(s, func(at, ts int64) bool {
		if ts > timestamp {
			offset, timestamp = at, ts
		}
		return true
	})
	return offset, timestamp, err
}

// eachShape calls see with offset and timestamp of each record until it returns false.
func (b Batch) eachShape(s *Scratch, see func(offset, timestamp int64) bool) error {
	var w walker
	err := w.open(b, s)
	if b.Codec() != None {
		defer s.release()
	}
	var shape recordShape
	for n := b.Count(); n > 0 && err == nil; n-- {
		if err = w.record(&shape); err == nil && !see(b.BaseOffset()+int64(shape.offsetDelta), b.timestampOf(shape.timestampDelta)) {
			break
		}
	}
	return err
}
