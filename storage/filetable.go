package storage

import (
	"errors"
	"io/fs"
	"strconv"
	"sync/atomic"
	"syscall"

	"slipstream/reactor"
	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// File is an open file of a segment. It stays open, and its bytes stay where they are, while anyone holds a
// reference: deletion only takes its name away.
type File struct {
	fd     int
	refs   atomic.Int32 // the table's and those of writes, responses and helpers
	kernel ring.Kernel
	// readable is how far readers may go, as of the last plan.
	readable atomic.Int64
	// observed is the file's number with the core's CacheObserver, 0 if it has none.
	observed uint32
	// short is set when the file was found to be shorter than the log.
	short atomic.Bool
	// stream is what StreamFD returns, plus 1; 0: it has not been asked for.
	stream atomic.Int32

	owner      *segment // whose files[kind] this is, while the table holds it
	kind       fileKind
	next, prev *File // the table's list, last used first
}

// FD is the descriptor. It implements reactor.File.
func (f *File) FD() int { return f.fd }

// Observed is the file's number with the core's CacheObserver. It implements reactor.File.
func (f *File) Observed() uint32 { return f.observed }

// Readable is how much of the file, from its beginning, will not change any more: what lay below the high
// watermark when a range of it was planned last. It implements reactor.File.
func (f *File) Readable() int64 { return f.readable.Load() }

// EndedEarly notes that the file is shorter than the log: the next append to it would leave a hole that reads as zeros.
// It implements reactor.File.
func (f *File) EndedEarly() { f.short.Store(true) }

// StreamFD is a descriptor of the same file for reads that go on one behind the other, opened when it is first wanted. It
// implements reactor.File.
func (f *File) StreamFD() int {
	if fd := f.stream.Load(); fd != 0 {
		return int(fd) - 1
	}
	fd, err := f.kernel.Open("/proc/self/fd/"+strconv.Itoa(f.fd), readOnly, 0)
	if err != nil {
		fd = f.fd
	}
	if !f.stream.CompareAndSwap(0, int32(fd)+1) {
		if fd != f.fd {
			f.kernel.CloseNow(fd) // another core was faster
		}
		return int(f.stream.Load()) - 1
	}
	return fd
}

// Retain adds a reference to one that the caller has.
func (f *File) Retain() { f.refs.Add(1) }

// Release gives a reference back; the last closes the file. It may be called on any core: a response
// that another core sends holds one.
func (f *File) Release() {
	if f.refs.Add(-1) > 0 {
		return
	}
	if fd := int(f.stream.Load()) - 1; fd >= 0 && fd != f.fd {
		f.kernel.CloseNow(fd)
	}
	f.kernel.CloseNow(f.fd)
}

// fileTable keeps a core's segment files open, those used last, up to a limit. Files in use beyond that
// stay open until their users are done.
//
// Writers open files in place, on the core: 2 to 4 us when the name is cached, as that of a file being written is. A
// ring OPENAT would take a round trip through a worker and make every path asynchronous for that. Readers use getNow,
// and leave to a helper what is not cached.
type fileTable struct {
	kernel     ring.Kernel
	observer   reactor.CacheObserver
	limit      int
	open       int
	head, tail *File
	opens      uint64
}

// get returns the file, open, without a reference for the caller: it is good until the next get, unless
// retained.
func (t *fileTable) get(p *Partition, s *segment, kind fileKind) (*File, error) {
	f, err := t.find(p, s, kind, func(path string) (int, error) { return t.kernel.Open(path, readWrite, 0) })
	return f, err
}

// getNow is get for a reader: cold means that opening the file would wait for the disk.
func (t *fileTable) getNow(p *Partition, s *segment, kind fileKind) (*File, outcome) {
	f, err := t.find(p, s, kind, func(path string) (int, error) {
		fd, errno := t.kernel.OpenNowait(path, readWrite)
		if errno != 0 {
			return -1, errno
		}
		return fd, nil
	})
	switch {
	case err == nil:
		return f, present
	case errors.Is(err, syscall.EAGAIN):
		return nil, cold
	}
	return nil, broken
}

// find returns a file that is in the table, or opens it. When the process has no descriptors left, the table gives
// up half of its own first.
func (t *fileTable) find(p *Partition, s *segment, kind fileKind, open func(path string) (int, error)) (*File, error) {
	if f := s.files[kind]; f != nil {
		if t.head != f {
			t.unlink(f)
			t.link(f)
		}
		return f, nil
	}
	path, other := p.segmentPath(s, fileSuffixes[kind])
	fd, err := open(path)
	if other != "" && errors.Is(err, fs.ErrNotExist) {
		path = other
		fd, err = open(path)
	}
	if t.open > 0 && (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) {
		for n := (t.open + 1) / 2; n > 0; n-- {
			t.drop(t.tail)
		}
		fd, err = open(path)
	}
	if err != nil {
		return nil, err
	}
	return t.add(p, s, kind, fd), nil
}

// add takes a file in that was just opened.
func (t *fileTable) add(p *Partition, s *segment, kind fileKind, fd int) *File {
	for t.open >= t.limit {
		t.drop(t.tail)
	}
	f := &File{fd: fd, kernel: t.kernel, owner: s, kind: kind}
	if kind == logFile {
		// A few heads here and there, and a sendfile behind them, are to the kernel the beginning of more: it read
		// ahead up to three quarters of a log that a cold reader went through, in nobody's name and into the cache that
		// such a reader is to leave as it was. The cold lane, which reads all of it, has StreamFD.
		_ = t.kernel.Advise(fd, 0, 0, unix.FADV_RANDOM)
		s.observed = t.observer.File(fd, p.id.String(), s.size)
		f.observed = s.observed
		if s == p.activeSegment() {
			p.observeExtent(s)
		}
	}
	f.refs.Store(1)
	s.files[kind] = f
	t.link(f)
	t.open++
	t.opens++
	return f
}

// drop gives up the table's reference.
func (t *fileTable) drop(f *File) {
	t.unlink(f)
	f.owner.files[f.kind] = nil
	f.owner = nil
	t.open--
	f.Release()
}

// dropSegment gives up the files of a segment.
func (t *fileTable) dropSegment(s *segment) {
	for _, f := range s.files {
		if f != nil {
			t.drop(f)
		}
	}
}

func (t *fileTable) link(f *File) {
	f.prev, f.next = nil, t.head
	if t.head != nil {
		t.head.prev = f
	} else {
		t.tail = f
	}
	t.head = f
}

func (t *fileTable) unlink(f *File) {
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		t.head = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		t.tail = f.prev
	}
	f.next, f.prev = nil, nil
}
