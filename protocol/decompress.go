package protocol

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

var (
	errCodec      = errors.New("protocol: no such codec")
	errCompressed = errors.New("protocol: the compressed records cannot be expanded")
)

// zstd frames say how far back they refer. Up to usualZstdWindow a Scratch expands them with a decoder of
// its own; Java's zstd goes up to maxZstdWindow (level 22), and for those all Scratches share one decoder, so that a few
// small batches cannot ask for a gigabyte.
const (
	usualZstdWindow = 8 << 20
	maxZstdWindow   = 128 << 20
)

// Scratch is the memory and the decoders that expanding a batch takes: at most about 60 MiB, whatever the
// batch expands to, and at most about 20 MiB between batches. It is reused from batch to batch by one user at a time; the zero Scratch is ready.
type Scratch struct {
	room    []byte // the walker's window
	in      bytes.Reader
	gzip    gzipReader
	snappy  snappyReader
	lz4     lz4Reader
	zstd    *zstd.Decoder
	zstdBig bool // bigZstd is locked
}

// bigZstd is the decoder for windows that are larger than usual; made when first needed.
var bigZstd struct {
	sync.Mutex
	decoder *zstd.Decoder
}

// CheckCompressed is CheckRecords for a compressed batch. It expands the records piece by piece and
// keeps none of them. It takes as long as expanding takes, and may allocate and block: it runs on a helper.
func CheckCompressed(b Batch, r *Rules, nowMillis int64, s *Scratch) Verdict {
	var w walker
	err := w.open(b, s)
	defer s.release()
	if err != nil {
		return Verdict{Code: walkCode(err, true)}
	}
	return checkWalk(b, r, nowMillis, &w)
}

// expand returns a reader of the batch's records, expanded. It is valid until release.
func (s *Scratch) expand(b Batch) (io.Reader, error) {
	payload := b.Payload()
	s.in.Reset(payload)
	switch b.Codec() {
	case None:
		return &s.in, nil
	case Gzip:
		return s.expandGzip()
	case Snappy:
		return &s.snappy, s.snappy.reset(payload)
	case LZ4:
		return &s.lz4, s.lz4.reset(payload)
	case Zstd:
		return s.expandZstd(payload)
	default:
		return nil, errCodec
	}
}

// release gives back what expand took hold of and forgets the batch.
func (s *Scratch) release() {
	s.in.Reset(nil)
	s.snappy.release()
	s.lz4.in, s.lz4.out = nil, nil
	if s.zstdBig {
		s.zstdBig = false
		_ = bigZstd.decoder.Reset(nil)
		bigZstd.Unlock()
	}
}

func (s *Scratch) expandGzip() (io.Reader, error) {
	if s.gzip.src == nil {
		s.gzip.src = bufio.NewReader(nil)
	}
	s.gzip.src.Reset(&s.in)
	if err := s.gzip.member(); err != nil {
		return nil, errCompressed
	}
	return &s.gzip, nil
}

// gzipReader expands gzip's members one after the other. What follows a member and does not begin another is
// ignored, as Java's GZIPInputStream ignores it.
type gzipReader struct {
	src *bufio.Reader
	z   gzip.Reader
}

func (g *gzipReader) member() error {
	err := g.z.Reset(g.src)
	g.z.Multistream(false)
	return err
}

// Read hands out expanded bytes.
func (g *gzipReader) Read(p []byte) (int, error) {
	n, err := g.z.Read(p)
	if err == io.EOF && g.member() == nil {
		err = nil
	}
	return n, err
}

func (s *Scratch) expandZstd(payload []byte) (io.Reader, error) {
	if len(payload) == 0 {
		return &s.in, nil
	}
	var h zstd.Header
	if err := h.Decode(payload); err != nil {
		return nil, errCompressed
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	if window > usualZstdWindow {
		return s.expandBigZstd()
	}
	if s.zstd == nil {
		d, err := newZstdDecoder(usualZstdWindow)
		if err != nil {
			return nil, err
		}
		s.zstd = d
	}
	return s.zstd, s.zstd.Reset(&s.in)
}

func (s *Scratch) expandBigZstd() (io.Reader, error) {
	bigZstd.Lock()
	if bigZstd.decoder == nil {
		d, err := newZstdDecoder(maxZstdWindow)
		if err != nil {
			bigZstd.Unlock()
			return nil, err
		}
		bigZstd.decoder = d
	}
	s.zstdBig = true
	return bigZstd.decoder, bigZstd.decoder.Reset(&s.in)
}

// newZstdDecoder makes a decoder that works on its caller's thread and refuses larger windows.
func newZstdDecoder(window uint64) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(MaxExpandedBytes+maxZstdWindow))
}
