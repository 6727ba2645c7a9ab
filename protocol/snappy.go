package protocol

import (
	"encoding/binary"
	"errors"
	"io"
)

// Snappy records come in two forms. Java (snappy-java, "xerial") and most others write a header and chunks, each of
// them a snappy block; librdkafka may write one raw block, without header or chunk length.
//
//	0                    8         12        16
//	+--------------------+---------+---------+--------------+-------+--------------+-------+ ...
//	| 82 'S NAPPY' 00    | version | lowest  | chunk length | block | chunk length | block |
//	|                    | int32   | version | int32        |       |              |       |
//	+--------------------+---------+---------+--------------+-------+--------------+-------+ ...
//
// A block is its expanded length, a varint, and elements. The low two bits of an element's first byte, the tag:
//
//	00  literal: length-1 in the upper six bits, or 60..63: in the next 1..4 bytes; then the literal
//	01  copy: length-4 in bits 2..4, offset in bits 5..7 and the next byte
//	10  copy: length-1 in the upper six bits, offset in the next 2 bytes
//	11  copy: length-1 in the upper six bits, offset in the next 4 bytes
//
// All little-endian. Snappy's own encoder works in pieces of 64 KiB, and copies reach back less than that; Go's s2, which
// kgo uses, refers to anything before in the block, and the block is the whole batch. The snappyHistory
// last bytes are kept for that (a batch of 1 MiB cannot expand to more than 22 MiB); a copy that reaches back further is
// refused. The memory grows with what really comes out, not with what a block says of itself.
const (
	snappyHistory = 32 << 20
	snappyBuffer  = snappyHistory + 8<<20
	snappyStep    = 64 << 10 // expanded at a time
	snappyKept    = 4 << 20  // larger buffers are not kept from batch to batch
)

var xerialMagic = [8]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderBytes = 16

var errSnappy = errors.New("protocol: not snappy")

// snappyReader expands snappy records with a window of what it has written last.
type snappyReader struct {
	in      []byte // chunks not read yet
	chunk   []byte // of the current block, not read yet
	left    int64  // bytes the current block still expands to
	written int64  // bytes of the current block in out, so copies do not reach before it

	out  []byte // of the current block, expanded; out[read:] has not been handed out
	read int
	stop int // how long out may become in this step

	literal   int64 // bytes of the current literal still to be moved
	copyBytes int   // bytes of the current copy still to be made
	copyBack  int
}

func (s *snappyReader) reset(in []byte) error {
	*s = snappyReader{in: in, out: s.out[:0]}
	if !hasXerialHeader(in) {
		s.in = nil
		return s.beginBlock(in)
	}
	return nil
}

func hasXerialHeader(b []byte) bool {
	return len(b) >= xerialHeaderBytes && [8]byte(b[:8]) == xerialMagic
}

// nextChunk begins the next chunk's block; io.EOF if there is none. A header may come again between chunks, and
// less than a length may follow the last, as snappy-java has it.
func (s *snappyReader) nextChunk() error {
	if hasXerialHeader(s.in) {
		s.in = s.in[xerialHeaderBytes:]
	}
	if len(s.in) < 4 {
		return io.EOF
	}
	n := int64(binary.BigEndian.Uint32(s.in))
	if n > int64(len(s.in)-4) {
		return errSnappy
	}
	block := s.in[4 : 4+n]
	s.in = s.in[4+n:]
	return s.beginBlock(block)
}

func (s *snappyReader) beginBlock(block []byte) error {
	length, n := Uvarint(block)
	if n <= 0 {
		return errSnappy
	}
	s.chunk, s.left, s.written = block[n:], int64(length), 0
	s.out, s.read = s.out[:0], 0
	return nil
}

// Read hands out expanded bytes.
func (s *snappyReader) Read(p []byte) (int, error) {
	for s.read == len(s.out) {
		if err := s.expandMore(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.out[s.read:])
	s.read += n
	return n, nil
}

// expandMore expands another step, or to the end of the block. All of the buffer has been handed out; what is kept of
// it is there for copies to refer to.
func (s *snappyReader) expandMore() error {
	if s.left == 0 {
		if len(s.chunk) > 0 {
			return errSnappy
		}
		return s.nextChunk()
	}
	if len(s.out) > snappyBuffer-snappyStep {
		kept := copy(s.out, s.out[len(s.out)-snappyHistory:])
		s.out = s.out[:kept]
	}
	s.read = len(s.out)
	s.stop = len(s.out) + int(min(s.left, snappyStep))
	s.grow()
	for len(s.out) < s.stop {
		switch {
		case s.literal > 0:
			s.moveLiteral()
		case s.copyBytes > 0:
			s.makeCopy()
		default:
			if err := s.element(); err != nil {
				return err
			}
		}
	}
	return nil
}

// grow makes room for the step.
func (s *snappyReader) grow() {
	if s.stop > cap(s.out) {
		room := min(max(2*cap(s.out), s.stop), snappyBuffer)
		s.out = append(make([]byte, 0, room), s.out...)
	}
}

// release forgets the input, and a buffer that is too large to keep.
func (s *snappyReader) release() {
	s.in, s.chunk = nil, nil
	if cap(s.out) > snappyKept {
		s.out = nil
	}
}

// element reads one tag with its length and offset.
func (s *snappyReader) element() error {
	if len(s.chunk) == 0 {
		return errSnappy
	}
	tag := s.chunk[0]
	extra := int([4]byte{0, 1, 2, 4}[tag&3])
	if tag&3 == 0 && tag>>2 >= 60 {
		extra = int(tag>>2) - 59
	}
	if len(s.chunk) < 1+extra {
		return errSnappy
	}
	var operand uint32
	for i := extra; i > 0; i-- {
		operand = operand<<8 | uint32(s.chunk[i])
	}
	s.chunk = s.chunk[1+extra:]
	if tag&3 == 0 {
		return s.beginLiteral(tag, operand)
	}
	length, back := int(tag>>2)+1, int64(operand)
	if tag&3 == 1 {
		length, back = int(tag>>2&7)+4, int64(tag>>5)<<8|int64(operand)
	}
	if back == 0 || back > s.written || back > snappyHistory || int64(length) > s.left {
		return errSnappy
	}
	s.copyBytes, s.copyBack = length, int(back)
	return nil
}

func (s *snappyReader) beginLiteral(tag byte, operand uint32) error {
	s.literal = int64(tag>>2) + 1
	if tag>>2 >= 60 {
		s.literal = int64(operand) + 1
	}
	if s.literal > s.left || s.literal > int64(len(s.chunk)) {
		return errSnappy
	}
	return nil
}

func (s *snappyReader) moveLiteral() {
	n := int(min(s.literal, int64(s.stop-len(s.out))))
	s.out = append(s.out, s.chunk[:n]...)
	s.chunk = s.chunk[n:]
	s.literal -= int64(n)
	s.wrote(n)
}

// makeCopy copies byte by byte where source and destination overlap: that is how snappy writes runs.
func (s *snappyReader) makeCopy() {
	n := min(s.copyBytes, s.stop-len(s.out))
	at := len(s.out)
	s.out = s.out[:at+n]
	if s.copyBack >= n {
		copy(s.out[at:], s.out[at-s.copyBack:at-s.copyBack+n])
	} else {
		for i := at; i < at+n; i++ {
			s.out[i] = s.out[i-s.copyBack]
		}
	}
	s.copyBytes -= n
	s.wrote(n)
}

func (s *snappyReader) wrote(n int) {
	s.left -= int64(n)
	s.written += int64(n)
}
