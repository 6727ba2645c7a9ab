package protocol

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// xerialChunk is how much snappy-java compresses at a time.
const xerialChunk = 32 << 10

// Recompress returns a copy of b whose records are compressed with another codec, for topics whose compression.type is not
// "producer". It is for batches that have passed validation, and runs on a helper: it takes time, and allocates the copy. A copy larger than
// limit bytes is MESSAGE_TOO_LARGE, found out before more than that has been allocated; records that cannot be
// expanded are UNKNOWN_SERVER_ERROR. The scratch may be nil if b is not compressed.
func Recompress(b Batch, to Codec, limit int, s *Scratch) (Batch, ErrorCode) {
	return RecompressAt(b, to, DefaultLevel, limit, s)
}

// RecompressAt is Recompress at one of the codec's levels, in Kafka's scale (compression.gzip.level, compression.lz4.level,
// compression.zstd.level). A level that a codec does not have is the nearest that it has.
func RecompressAt(b Batch, to Codec, level int, limit int, s *Scratch) (Batch, ErrorCode) {
	var src io.Reader = bytes.NewReader(b.Payload())
	if b.Codec() != None {
		expanded, err := s.expand(b)
		defer s.release()
		if err != nil {
			return nil, UNKNOWN_SERVER_ERROR
		}
		src = expanded
	}
	out := boundedBuffer{limit: limit}
	out.Write(b[:HeaderBytes])
	if err := recompressTo(&out, src, to, level); err != nil {
		if out.full {
			return nil, MESSAGE_TOO_LARGE
		}
		return nil, UNKNOWN_SERVER_ERROR
	}
	c := Batch(out.b)
	binary.BigEndian.PutUint32(c[8:], uint32(len(c)-LogOverhead))
	c[22] = c[22]&^AttrCodec | byte(to)
	c.setCRC()
	return c, NONE
}

// recompressTo copies src into out through a codec's writer.
func recompressTo(out io.Writer, src io.Reader, to Codec, level int) error {
	w, err := compressor(out, to, level)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, src)
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	return err
}

// DefaultLevel is a codec's own level.
const DefaultLevel = math.MinInt

// compressor is a codec's writer into out. Closing it completes what is written.
func compressor(out io.Writer, to Codec, level int) (io.WriteCloser, error) {
	switch to {
	case None:
		return plainWriter{out}, nil
	case Gzip:
		if level == DefaultLevel {
			level = gzip.DefaultCompression
		}
		return gzip.NewWriterLevel(out, min(max(level, gzip.DefaultCompression), gzip.BestCompression))
	case Snappy:
		return &xerialWriter{out: out}, nil
	case LZ4:
		w := lz4.NewWriter(out)
		return w, w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.CompressionLevelOption(lz4Level(level)))
	case Zstd:
		return zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(zstdLevel(level)))
	}
	return nil, errCodec
}

// lz4Level is what stands for one of lz4's levels. In Kafka 9 is the default, and means the fast compressor, which has no
// levels; every other is one of the slow compressor's, of which there are nine here and 17 there.
func lz4Level(level int) lz4.CompressionLevel {
	levels := [...]lz4.CompressionLevel{lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5, lz4.Level6, lz4.Level7, lz4.Level8, lz4.Level9}
	if level == DefaultLevel || level == 9 {
		return lz4.Fast
	}
	return levels[min(max(level, 1), len(levels))-1]
}

// zstdLevel is what stands for one of zstd's levels, of which there are four here.
func zstdLevel(level int) zstd.EncoderLevel {
	if level == DefaultLevel {
		return zstd.SpeedDefault
	}
	return zstd.EncoderLevelFromZstd(level)
}

// plainWriter compresses nothing.
type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }

// boundedBuffer grows up to a limit and fails then.
type boundedBuffer struct {
	b     []byte
	limit int
	full  bool
}

func (o *boundedBuffer) Write(p []byte) (int, error) {
	if len(p) > o.limit-len(o.b) {
		o.full = true
		return 0, io.ErrShortWrite
	}
	o.b = append(o.b, p...)
	return len(p), nil
}

// xerialWriter writes snappy as snappy-java frames it.
type xerialWriter struct {
	out   io.Writer
	chunk []byte
	block []byte
	begun bool
}

func (x *xerialWriter) Write(p []byte) (int, error) {
	taken := len(p)
	for len(p) > 0 {
		n := min(len(p), xerialChunk-len(x.chunk))
		x.chunk = append(x.chunk, p[:n]...)
		p = p[n:]
		if len(x.chunk) == xerialChunk {
			if err := x.flush(); err != nil {
				return 0, err
			}
		}
	}
	return taken, nil
}

func (x *xerialWriter) flush() error {
	if !x.begun {
		x.begun = true
		header := append(xerialMagic[:len(xerialMagic):len(xerialMagic)], 0, 0, 0, 1, 0, 0, 0, 1)
		if _, err := x.out.Write(header); err != nil {
			return err
		}
	}
	if len(x.chunk) == 0 {
		return nil
	}
	x.block = snappy.Encode(x.block[:cap(x.block)], x.chunk)
	x.chunk = x.chunk[:0]
	if _, err := x.out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(x.block)))); err != nil {
		return err
	}
	_, err := x.out.Write(x.block)
	return err
}

// Close writes what is left.
func (x *xerialWriter) Close() error { return x.flush() }
