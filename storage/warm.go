package storage

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// Warm start: what tail readers will ask for first is read into the page cache before they come. For start-up,
// before the partitions' cores turn: blocking, and on several threads at once.

// WarmStep is a piece of a .log to be brought into the page cache.
type WarmStep struct {
	path string
	off  int64
	n    int
}

// Bytes is how much a step is about.
func (s *WarmStep) Bytes() int64 { return int64(s.n) }

// WarmStepBytes is the most that one step reads.
const WarmStepBytes = 1 << 20

// WarmTail is the end of a log, from a reader's place on.
type WarmTail struct {
	p       *Partition
	segment int   // the first
	from    int64 // position in it
	// What is left to be handed out: below this position of this segment.
	at   int
	left int64
}

// ErrStale is for a reader's place that does not fit its log.
var ErrStale = errors.New("the offset is outside the log")

// TailFrom finds what a reader at an offset will read. A reader at the log's end gives nil.
func (p *Partition) TailFrom(k ring.Kernel, offset int64) (*WarmTail, error) {
	o := p.offsets
	switch {
	case offset < o.LogStart || offset > o.LogEnd:
		return nil, ErrStale
	case offset >= o.HighWatermark:
		return nil, nil
	}
	t := &WarmTail{p: p, segment: p.segmentFor(offset), at: len(p.segments) - 1}
	for _, s := range p.segments[t.segment:] {
		if s.known.Load() {
			continue
		}
		if _, _, err := p.examineNow(k, s); err != nil {
			return nil, err
		}
	}
	t.left = p.segments[t.at].size
	s := p.segments[t.segment]
	f := finder{
		segment: s, base: s.base, size: s.size, end: visibleEnd(s, p.visible), endOffset: p.endOfVisible(s, p.visible),
		entries: int(s.entries), scratch: make([]byte, indexWindow*indexEntryBytes), brokeAt: -1,
	}
	if s == p.activeSegment() {
		f.recent = p.active.index
	}
	src := &diskSource{k: k, size: s.size, log: -1, index: -1}
	for _, x := range []struct {
		fd     *int
		suffix string
	}{{&src.log, logSuffix}, {&src.index, indexSuffix}} {
		fd, err := k.Open(p.path(s.base, x.suffix), readOnly, 0)
		if err != nil {
			return nil, err
		}
		defer closeQuietly(k, fd)
		*x.fd = fd
	}
	at, found := f.search(src, offset)
	if found != present {
		return nil, errNoBatch
	}
	t.from = at.position
	return t, nil
}

// next hands out the piece before the last one; ok is false when there is none.
func (t *WarmTail) next() (s WarmStep, ok bool) {
	for t.left == 0 {
		if t.at <= t.segment {
			return s, false
		}
		t.at--
		t.left = t.p.segments[t.at].size
	}
	low := int64(0)
	if t.at == t.segment {
		low = t.from
	}
	if t.left <= low {
		return s, false
	}
	begin := max((t.left-1)&^(WarmStepBytes-1), low)
	s = WarmStep{path: t.p.path(t.p.segments[t.at].base, logSuffix), off: begin, n: int(t.left - begin)}
	t.left = begin
	return s, true
}

// rest is how many bytes are not handed out.
func (t *WarmTail) rest() int64 {
	n := -t.from
	for i := t.segment; i < t.at; i++ {
		n += t.p.segments[i].size
	}
	return n + t.left
}

// WarmSteps puts the tails' pieces in the order in which they are worth most, newest first, all tails in turn, up to a
// number of bytes. leftOut is what did not fit.
func WarmSteps(tails []*WarmTail, limit int64) (steps []WarmStep, total, leftOut int64) {
	for len(tails) > 0 {
		rest := tails[:0]
		for _, t := range tails {
			before := t.rest()
			s, ok := t.next()
			switch {
			case !ok:
			case total+s.Bytes() > limit:
				leftOut += before
			default:
				total += s.Bytes()
				steps = append(steps, s)
				rest = append(rest, t)
			}
		}
		tails = rest
	}
	return steps, total, leftOut
}

// Read brings a step into the page cache, in large reads, as far as it is not there. buffer is scratch of WarmStepBytes. It
// returns how much of it was read from the disk, as far as the kernel tells.
func (s *WarmStep) Read(k ring.Kernel, buffer []byte) (read int64, err error) {
	fd, err := k.Open(s.path, readOnly, 0)
	if err != nil {
		return 0, err
	}
	defer closeQuietly(k, fd)
	there := k.Resident(fd, s.off, s.n)
	if there >= s.n {
		return 0, nil
	}
	off, n := s.off+int64(there), s.n-there
	// One request for all of it: read(2) alone goes by the device's read_ahead_kb. That the file system
	// takes no advice is no reason not to read.
	_ = k.Advise(fd, off, int64(n), unix.FADV_WILLNEED)
	got, err := k.ReadAt(fd, buffer[:n], off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return int64(got), err
}

// AvailableMemory is what the kernel could give without swapping, in bytes (MemAvailable); 0 if it does not say.
func AvailableMemory(k ring.Files) int64 {
	fd, err := k.Open("/proc/meminfo", readOnly, 0)
	if err != nil {
		return 0
	}
	defer closeQuietly(k, fd)
	b := make([]byte, 4096) // a file of /proc has no size
	got, err := k.ReadAt(fd, b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	_, rest, _ := bytes.Cut(b[:got], []byte("MemAvailable:"))
	fields := bytes.Fields(rest[:min(len(rest), 64)])
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	return n << 10
}
