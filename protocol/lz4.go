package protocol

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"github.com/pierrec/lz4/v4"
)

// LZ4 records are one frame of the LZ4 frame format, of which Kafka reads the part with independent blocks and
// no dictionary. All little-endian:
//
//	0          4       5       6                    6 or 14
//	+----------+-------+-------+--------------------+--------+---------------------+----------+----------+
//	| 184D2204 | flags | block | content size,      | header | n x length, block,  | 00000000 | content  |
//	|          |       | size  | 8 bytes, if flagged| sum    | sum (4), if flagged | end mark | sum (4)  |
//	+----------+-------+-------+--------------------+--------+---------------------+----------+----------+
//
// flags: bits 7..6 version, 01; 5 blocks independent; 4 block sums; 3 content size; 2 content sum; 1 reserved; 0
// dictionary. Block size: bits 6..4, 4 to 7 for 64 KiB, 256 KiB, 1 MiB, 4 MiB; the rest is reserved. The top bit of a
// block's length says that it is not compressed. Sums are xxHash-32. What follows the end mark is not looked at,
// as Kafka does not look at it.
const (
	lz4Magic          = 0x184D2204
	lz4Version        = 0x40
	lz4Independent    = 0x20
	lz4BlockSums      = 0x10
	lz4ContentSize    = 0x08
	lz4ContentSum     = 0x04
	lz4ReservedFlags  = 0x03
	lz4ReservedBlock  = 0x8f
	lz4Stored         = 1 << 31
	lz4ShortestHeader = 7
)

var errLZ4 = errors.New("protocol: not an LZ4 frame as Kafka has it")

// lz4Reader expands one frame, a block at a time.
type lz4Reader struct {
	in        []byte // not read yet
	blockSums bool
	endSum    bool
	ended     bool
	blockSize int
	buffer    []byte // room for an expanded block
	out       []byte // expanded, not handed out yet
}

func (l *lz4Reader) reset(in []byte) error {
	*l = lz4Reader{buffer: l.buffer}
	if len(in) < lz4ShortestHeader || binary.LittleEndian.Uint32(in) != lz4Magic {
		return errLZ4
	}
	flags, block := in[4], in[5]
	if flags&0xc0 != lz4Version || flags&lz4Independent == 0 || flags&lz4ReservedFlags != 0 {
		return errLZ4
	}
	if block&lz4ReservedBlock != 0 || block>>4 < 4 {
		return errLZ4
	}
	end := 6
	if flags&lz4ContentSize != 0 {
		end += 8
	}
	if len(in) <= end || in[end] != byte(xxHash32(in[4:end])>>8) {
		return errLZ4
	}
	l.in = in[end+1:]
	l.blockSums, l.endSum = flags&lz4BlockSums != 0, flags&lz4ContentSum != 0
	l.blockSize = 1 << (2*(block>>4) + 8)
	if cap(l.buffer) < l.blockSize {
		l.buffer = make([]byte, l.blockSize)
	}
	return nil
}

// Read hands out expanded bytes.
func (l *lz4Reader) Read(p []byte) (int, error) {
	for len(l.out) == 0 {
		if l.ended {
			return 0, io.EOF
		}
		if err := l.nextBlock(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.out)
	l.out = l.out[n:]
	return n, nil
}

func (l *lz4Reader) nextBlock() error {
	word, err := l.uint32()
	if err != nil {
		return err
	}
	if word == 0 {
		l.ended = true
		if l.endSum { // has to be there; Kafka does not compare it, the batch has its CRC
			_, err = l.uint32()
		}
		return err
	}
	size := int64(word &^ lz4Stored)
	if size > int64(l.blockSize) || size > int64(len(l.in)) {
		return errLZ4
	}
	block := l.in[:size]
	l.in = l.in[size:]
	if l.blockSums {
		if sum, err := l.uint32(); err != nil || sum != xxHash32(block) {
			return errLZ4
		}
	}
	if word&lz4Stored != 0 {
		l.out = block
		return nil
	}
	n, err := lz4.UncompressBlock(block, l.buffer[:l.blockSize])
	if err != nil {
		return errLZ4
	}
	l.out = l.buffer[:n]
	return nil
}

func (l *lz4Reader) uint32() (uint32, error) {
	if len(l.in) < 4 {
		return 0, errLZ4
	}
	v := binary.LittleEndian.Uint32(l.in)
	l.in = l.in[4:]
	return v, nil
}

// The constants of xxHash-32.
const (
	xxPrime1 uint32 = 2654435761
	xxPrime2 uint32 = 2246822519
	xxPrime3 uint32 = 3266489917
	xxPrime4 uint32 = 668265263
	xxPrime5 uint32 = 374761393
)

// xxHash32 is xxHash-32 with seed 0.
func xxHash32(b []byte) uint32 {
	n := uint32(len(b))
	h := xxPrime5
	if len(b) >= 16 {
		lanes := [4]uint32{0, xxPrime2, 0, 0}
		lanes[0] = lanes[1] + xxPrime1
		lanes[3] -= xxPrime1
		for ; len(b) >= 16; b = b[16:] {
			for i := range lanes {
				lanes[i] = bits.RotateLeft32(lanes[i]+binary.LittleEndian.Uint32(b[4*i:])*xxPrime2, 13) * xxPrime1
			}
		}
		h = bits.RotateLeft32(lanes[0], 1) + bits.RotateLeft32(lanes[1], 7) + bits.RotateLeft32(lanes[2], 12) + bits.RotateLeft32(lanes[3], 18)
	}
	h += n
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(b)*xxPrime3, 17) * xxPrime4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*xxPrime5, 11) * xxPrime1
	}
	h = (h ^ h>>15) * xxPrime2
	h = (h ^ h>>13) * xxPrime3
	return h ^ h>>16
}
