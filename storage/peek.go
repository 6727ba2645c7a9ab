package storage

import (
	"syscall"

	"slipstream/protocol"
)

// window is a piece of a .log file, kept while batch heads are read one after the other.
type window struct {
	segment  *segment
	position int64
	n        int
	bytes    [4096]byte
}

// memorySource reads a segment's files on the core, as far as that does not wait for the disk.
type memorySource struct {
	store   *Store
	p       *Partition
	segment *segment
	reads   int
}

// planReads is how much a plan may read on the core; most need below ten. One that has to walk through a log without
// an index would keep the core from everything else, though no page be cold: that too is a helper's work.
const planReads = 64

// source is what the store's finder reads a segment from. It is good until the next call.
func (s *Store) source(p *Partition, segment *segment) *memorySource {
	s.reads = memorySource{store: s, p: p, segment: segment}
	return &s.reads
}

func (m *memorySource) readIndex(b []byte, off int64) outcome {
	f, o := m.store.files.getNow(m.p, m.segment, indexFile)
	if o != present {
		return o
	}
	n, o := m.read(f, b, off)
	if o == present && n < len(b) {
		return cold
	}
	return o
}

func (m *memorySource) head(position int64) ([]byte, outcome) {
	w := &m.store.window
	if w.segment == m.segment && position >= w.position && position+batchHeadBytes <= w.position+int64(w.n) {
		return w.bytes[position-w.position : w.n], present
	}
	n := min(int64(len(w.bytes)), m.store.finder.size-position)
	if position < 0 || n < protocol.HeaderBytes {
		return nil, broken
	}
	f, o := m.store.files.getNow(m.p, m.segment, logFile)
	if o != present {
		return nil, o
	}
	if b := m.store.core.ColdBytes(f, position); len(b) >= batchHeadBytes {
		return b, present
	}
	w.segment = nil
	got, o := m.read(f, w.bytes[:n], position)
	switch {
	case o != present:
		return nil, o
	case got < batchHeadBytes:
		return nil, cold
	}
	w.segment, w.position, w.n = m.segment, position, got
	return w.bytes[:got], present
}

// read reads what is in the page cache, at least a byte.
func (m *memorySource) read(f *File, b []byte, off int64) (int, outcome) {
	if m.reads++; m.reads > planReads {
		return 0, cold
	}
	core := m.store.core
	if f.observed != 0 {
		core.Observer.Begin(0, f.observed, 0, off, len(b))
	}
	n, errno := core.Kernel.ReadNowait(f.fd, b, off)
	missed := errno == syscall.EAGAIN || errno == syscall.EINTR
	if f.observed != 0 {
		looked := max(n, 0)
		if missed || n > 0 {
			looked = len(b) // what was not there too: the kernel has begun to read it, which is a demand miss
		}
		core.Observer.End(0, looked)
	}
	switch {
	case missed:
		return 0, cold
	case errno != 0 || n == 0:
		return 0, broken
	}
	return n, present
}
