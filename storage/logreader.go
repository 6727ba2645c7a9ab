package storage

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"slipstream/protocol"
	"slipstream/ring"
)

// logReader reads a .log file from batch to batch, for recovery and searches: blocking.
type logReader struct {
	k         ring.Files
	fd        int
	size      int64 // of the file, or as much of it as is to be read
	fileBytes int64
	at        int64 // what buf begins with
	buf       []byte

	atATime int // how much is read at a time; 0: logReaderBytes
}

const logReaderBytes = 256 << 10

// view returns n bytes at pos, which must lie within size. They are good until the next view.
func (r *logReader) view(pos int64, n int) ([]byte, error) {
	if pos >= r.at && pos+int64(n) <= r.at+int64(len(r.buf)) {
		return r.buf[pos-r.at:][:n], nil
	}
	want := int(min(max(int64(n), int64(cmp.Or(r.atATime, logReaderBytes))), r.size-pos))
	if want < n {
		return nil, io.ErrUnexpectedEOF
	}
	if cap(r.buf) < want {
		r.buf = make([]byte, want)
	}
	r.buf, r.at = r.buf[:want], pos
	if err := readFull(r.k, r.fd, r.buf, pos); err != nil {
		r.buf = r.buf[:0]
		return nil, err
	}
	return r.buf[:n], nil
}

// errNoBatch: there is no whole batch at this place. What is there is torn, damaged or empty.
var errNoBatch = errors.New("no record batch")

// skims is told of a batch whose records nobody looks at: where the next header is far, little is read for it.
func (r *logReader) skims(batchBytes int64) {
	r.atATime = logReaderBytes
	if batchBytes >= skimFrom {
		r.atATime = protocol.HeaderBytes
	}
}

// skimFrom is from what size of batches on a read for each header is faster than reading everything.
const skimFrom = 4 << 10

// header returns the header of the batch at pos, as a batch without records, once its length is believable. It
// wraps errNoBatch if there is none.
func (r *logReader) header(pos int64) (protocol.Batch, error) {
	left := r.size - pos
	if left < oldMessageBytes {
		return nil, fmt.Errorf("%w: %d bytes are left", errNoBatch, left)
	}
	b, err := r.view(pos, int(min(left, protocol.HeaderBytes)))
	if err != nil {
		return nil, err
	}
	h := protocol.Batch(b)
	length := int64(h.Length())
	switch {
	case length < protocol.HeaderBytes-protocol.LogOverhead && h.Magic() >= protocol.CurrentMagic || length < oldMessageBytes-protocol.LogOverhead:
		return nil, fmt.Errorf("%w: its length would be %d", errNoBatch, length)
	case length > left-protocol.LogOverhead:
		return nil, fmt.Errorf("%w: its length would be %d, and %d bytes are left", errNoBatch, length, left-protocol.LogOverhead)
	case h.Magic() != protocol.CurrentMagic:
		return nil, r.oldMagic(pos, h.Magic(), int(length))
	case h.LastOffsetDelta() < 0 || h.BaseOffset() < 0 || h.LastOffset() < h.BaseOffset():
		return nil, fmt.Errorf("%w: its offsets would be %d and %d on", errNoBatch, h.BaseOffset(), h.LastOffsetDelta())
	}
	return h, nil
}

// A message of an old format has at least oldMessageBytes; one of more than maxOldMessage is not looked at.
const (
	oldMessageBytes = protocol.LogOverhead + 14
	maxOldMessage   = 128 << 20
)

// oldMagic tells a damaged batch from a message of a format that Kafka has not written since 0.11: the latter must
// not be cut off as if it were garbage.
func (r *logReader) oldMagic(pos int64, magic int8, length int) error {
	if (magic == 0 || magic == 1) && length <= maxOldMessage {
		b, err := r.view(pos, protocol.LogOverhead+length)
		if err != nil {
			return err
		}
		if crc32.ChecksumIEEE(b[16:]) == binary.BigEndian.Uint32(b[12:]) {
			return fmt.Errorf("a message of format %d at position %d: only record batches (format 2, since Kafka 0.11) are served", magic, pos)
		}
	}
	return fmt.Errorf("%w: its magic would be %d", errNoBatch, magic)
}

// batch returns the whole batch at pos, checked. It wraps errNoBatch if there is none.
func (r *logReader) batch(pos int64) (protocol.Batch, error) {
	h, err := r.header(pos)
	if err != nil {
		return nil, err
	}
	b, err := r.view(pos, len(h)-protocol.HeaderBytes+protocol.LogOverhead+int(h.Length()))
	if err != nil {
		return nil, err
	}
	if batch := protocol.Batch(b); batch.ValidCRC() {
		return batch, nil
	}
	return nil, fmt.Errorf("%w: its CRC is wrong", errNoBatch)
}

// zeroFrom says whether all from a position on are zeros: no batch was ever written there.
func (r *logReader) zeroFrom(pos int64) bool {
	for pos < r.size {
		b, err := r.view(pos, int(min(r.size-pos, logReaderBytes)))
		if err != nil || !allZero(b) {
			return false
		}
		pos += int64(len(b))
	}
	return true
}

// batchBytes is the size of the batch that has this header.
func batchBytes(h protocol.Batch) int64 { return int64(h.Length()) + protocol.LogOverhead }

// maxLogBytes is how large a .log can be: indexes have 32 bits for a position. What lies behind that in a file is no log's.
const maxLogBytes = math.MaxInt32

// openLog opens a segment's log to be read up to limit, or whole if limit is negative. The caller closes fd.
func openLog(k ring.Files, path string, limit int64) (*logReader, error) {
	fd, err := k.Open(path, readOnly, 0)
	if err != nil {
		return nil, err
	}
	size, err := k.Size(fd)
	if err != nil {
		closeQuietly(k, fd)
		return nil, err
	}
	if limit < 0 {
		limit = maxLogBytes
	}
	return &logReader{k: k, fd: fd, size: min(size, limit), fileBytes: size}, nil
}

func (r *logReader) close() { closeQuietly(r.k, r.fd) }
