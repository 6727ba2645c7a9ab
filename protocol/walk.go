package protocol

import (
	"errors"
	"io"
	"math"
)

// Why walking over a batch's records stopped.
var (
	errRecordShort     = errors.New("protocol: the batch ends inside a record")
	errRecordStructure = errors.New("protocol: a record is not made as a record")
	errRecordLength    = errors.New("protocol: the length of a record is not a varint")
	errRecordsLeft     = errors.New("protocol: the batch has more than its records")
	errExpanded        = errors.New("protocol: the batch expands to more than is looked at")
)

// MaxExpandedBytes is how far a compressed batch is expanded before it is refused. (Kafka has no such
// limit: a batch of 1 MiB of zstd can keep it busy with 30 GiB.)
const MaxExpandedBytes = 1 << 30

// windowBytes is how much of an expanded batch is in memory at a time.
const windowBytes = 64 << 10

// walker passes over records without keeping them. An uncompressed batch is its own window, and walking
// over it allocates nothing; a compressed one is read from src into the window piece by piece.
type walker struct {
	window []byte // window[pos:] is not read yet
	pos    int
	passed int64     // bytes of the stream before window[0]
	src    io.Reader // nil: the window is all there is
	err    error     // why src gave no more; never nil once it is at its end
}

// inMemory makes the walker pass over b.
func (w *walker) inMemory(b []byte) { *w = walker{window: b, err: io.EOF} }

// stream makes the walker pass over what src gives, reading into room.
func (w *walker) stream(src io.Reader, room []byte) { *w = walker{window: room[:0], src: src} }

// position is the number of bytes walked over.
func (w *walker) position() int64 { return w.passed + int64(w.pos) }

// more reads on, keeping what is not read yet, and reports whether anything came.
func (w *walker) more() bool {
	if w.err != nil {
		return false
	}
	w.passed += int64(w.pos)
	kept := copy(w.window[:cap(w.window)], w.window[w.pos:])
	w.pos = 0
	w.window = w.window[:kept]
	if w.passed+int64(kept) > MaxExpandedBytes {
		w.err = errExpanded
		return false
	}
	for range 100 { // a reader may give nothing now and then, but not forever
		n, err := w.src.Read(w.window[kept:cap(w.window)])
		w.window = w.window[:kept+n]
		w.err = err
		if n > 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
	w.err = io.ErrNoProgress
	return false
}

// shortErr is what it means that more brought nothing.
func (w *walker) shortErr() error {
	if w.err == io.EOF {
		return errRecordShort
	}
	return w.err
}

// end is nil if everything has been walked over and a compressed stream ended as it should.
func (w *walker) end() error {
	switch {
	case w.pos < len(w.window) || w.more():
		return errRecordsLeft
	case w.err != io.EOF:
		return w.err
	}
	return nil
}

func (w *walker) uvarlong() (uint64, error) {
	for {
		v, n := Uvarlong(w.window[w.pos:])
		if n > 0 {
			w.pos += n
			return v, nil
		}
		if n < 0 {
			return 0, errRecordStructure
		}
		if !w.more() {
			return 0, w.shortErr()
		}
	}
}

func (w *walker) varlong() (int64, error) {
	v, err := w.uvarlong()
	return unzigzag64(v), err
}

func (w *walker) varint() (int32, error) {
	for {
		v, n := Varint(w.window[w.pos:])
		if n > 0 {
			w.pos += n
			return v, nil
		}
		if n < 0 {
			return 0, errRecordStructure
		}
		if !w.more() {
			return 0, w.shortErr()
		}
	}
}

// skip passes over n bytes; none if n is negative, which is how null is written.
func (w *walker) skip(n int32) error {
	for {
		have := len(w.window) - w.pos
		if int(n) <= have {
			w.pos += max(int(n), 0)
			return nil
		}
		w.pos = len(w.window)
		n -= int32(have)
		if !w.more() {
			return w.shortErr()
		}
	}
}

// recordShape is what validation needs to know of a record.
type recordShape struct {
	timestampDelta int64
	offsetDelta    int32
	keyLength      int32 // negative: null
	valueLength    int32
}

// record passes over one record.
func (w *walker) record(s *recordShape) error {
	if end := wholeRecord(w.window, w.pos, s); end > 0 {
		w.pos = end
		return nil
	}
	return w.recordInPieces(s)
}

// wholeRecord reads the record at p[at:] if it is sound and all there, and returns where it ends; otherwise 0, and
// recordInPieces finds out why. (It takes about 20 ns, a third of what pieces take.)
func wholeRecord(p []byte, at int, s *recordShape) int {
	length, at := nextVarint(p, at)
	end := at + int(length)
	if at < 0 || length <= 0 || end > len(p) {
		return 0
	}
	p = p[:end]
	delta, n := Varlong(p[at+1:])
	if n <= 0 {
		return 0
	}
	s.timestampDelta = delta
	s.offsetDelta, at = nextVarint(p, at+1+n)
	s.keyLength, at = nextVarint(p, at)
	if at < 0 || int(s.keyLength) > end-at {
		return 0
	}
	s.valueLength, at = nextVarint(p, at+max(int(s.keyLength), 0))
	if at < 0 || int(s.valueLength) > end-at {
		return 0
	}
	count, at := nextVarint(p, at+max(int(s.valueLength), 0))
	if at == end && count == 0 {
		return end
	}
	return wholeHeaders(p, at, count)
}

// wholeHeaders reads count headers from at, which must end where p does, and returns that place; otherwise 0.
func wholeHeaders(p []byte, at int, count int32) int {
	if at < 0 || count < 0 {
		return 0
	}
	var length int32
	for ; count > 0; count-- {
		if length, at = nextVarint(p, at); at < 0 || length < 0 || int(length) > len(p)-at {
			return 0
		}
		if length, at = nextVarint(p, at+int(length)); at < 0 || int(length) > len(p)-at {
			return 0
		}
		at += max(int(length), 0)
	}
	if at != len(p) {
		return 0
	}
	return at
}

// nextVarint decodes the varint at p[at:] and returns where it ends: -1 if it does not, or if at is -1 already.
func nextVarint(p []byte, at int) (int32, int) {
	if uint(at) < uint(len(p)) && p[at] < 0x80 {
		return unzigzag32(uint32(p[at])), at + 1
	}
	return longVarint(p, at)
}

func longVarint(p []byte, at int) (int32, int) {
	if at < 0 {
		return 0, -1
	}
	v, n := Varint(p[at:])
	if n <= 0 {
		return 0, -1
	}
	return v, at + n
}

// recordInPieces is record for one that is not all in the window, or not sound.
func (w *walker) recordInPieces(s *recordShape) error {
	length, err := w.varint()
	if err != nil {
		if err == errRecordStructure {
			err = errRecordLength
		}
		return err
	}
	start := w.position()
	if err = w.skip(1); err != nil { // attributes: none yet
		return err
	}
	if s.timestampDelta, err = w.varlong(); err != nil {
		return err
	}
	if s.offsetDelta, err = w.varint(); err != nil {
		return err
	}
	if s.keyLength, err = w.skipSized(math.MinInt32); err != nil {
		return err
	}
	if s.valueLength, err = w.skipSized(math.MinInt32); err != nil {
		return err
	}
	if err = w.headers(); err != nil {
		return err
	}
	if w.position()-start != int64(length) {
		return errRecordStructure
	}
	return nil
}

// skipSized passes over a length, which must be at least least, and that many bytes.
func (w *walker) skipSized(least int32) (length int32, err error) {
	if length, err = w.varint(); err != nil {
		return 0, err
	}
	if length < least {
		return 0, errRecordStructure
	}
	return length, w.skip(length)
}

func (w *walker) headers() error {
	count, err := w.varint()
	if err != nil {
		return err
	}
	if count < 0 {
		return errRecordStructure
	}
	for ; count > 0; count-- {
		if _, err = w.skipSized(0); err != nil {
			return err
		}
		if _, err = w.skipSized(math.MinInt32); err != nil {
			return err
		}
	}
	return nil
}
