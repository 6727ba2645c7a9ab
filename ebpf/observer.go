package ebpf

import (
	"sync/atomic"

	"slipstream/reactor"
)

// The slots that the programs know are those that a core has.
var _ = [1]struct{}{}[len(pagecacheCore{}.Slots)-reactor.ObservedReads]

// A reader's number is its cell, and above that the cell's generation.
const (
	cellBits = 20
	cellMask = 1<<cellBits - 1
)

// Flags of a log file, as pagecache.c has them.
const (
	fileForgotten = 1
	fileGrowing   = 2
)

// observer is one core's. What it writes is read by the programs on any CPU.
type observer struct {
	a       *Attribution
	core    int
	shared  *pagecacheCore
	known   bool // the thread has been made known
	active  uint32
	reads   [reactor.ObservedReads]announced
	lookups []uint64 // by cell; written by this core, read by Snapshot
}

// announced is a read under way.
type announced struct {
	off  int64
	cell uint32
}

// File implements reactor.CacheObserver.
func (o *observer) File(fd int, partition string, bytes int64) uint32 {
	o.introduce()
	return o.a.observe(fd, partition, bytes)
}

// Forget implements reactor.CacheObserver.
func (o *observer) Forget(file uint32) { o.a.forget(file) }

// Reader implements reactor.CacheObserver.
func (o *observer) Reader(partition, client string) uint32 {
	o.introduce()
	return o.a.reader(partition, client)
}

// Extent implements reactor.CacheObserver. The first call for a file makes it the
// one of its partition that tail readers read.
func (o *observer) Extent(file uint32, bytes int64) {
	f := o.a.logFile(file)
	if f == nil {
		return
	}
	atomic.StoreUint64(&f.Extent, o.a.pages(bytes))
	if atomic.LoadUint32(&f.Flags)&(fileGrowing|fileForgotten) != 0 {
		return
	}
	cell := atomic.LoadUint32(&f.Cell)
	if cell == 0 {
		return // of no partition in particular
	}
	before := o.a.growing[cell].Swap(file)
	if last := o.a.logFile(before); last != nil {
		atomic.AndUint32(&last.Flags, ^uint32(fileGrowing))
	}
	atomic.OrUint32(&f.Flags, fileGrowing)
}

// Begin implements reactor.CacheObserver.
func (o *observer) Begin(slot int, file, reader uint32, off int64, n int) {
	f := o.a.logFile(file)
	if f == nil || n <= 0 || off < 0 {
		return
	}
	cell := reader & cellMask
	if cell == 0 || int(cell) >= len(o.lookups) || o.a.generations[cell].Load() != reader>>cellBits {
		cell = atomic.LoadUint32(&f.Cell) // of nobody in particular
	}
	o.reads[slot] = announced{off, cell}
	// Odd while it is being written: a program on another CPU passes over it.
	s := &o.shared.Slots[slot]
	atomic.StoreUint32(&s.Generation, s.Generation|1)
	s.File, s.Reader = file, cell
	s.First, s.Last = uint64(off)>>o.a.pageBits, uint64(off+int64(n)-1)>>o.a.pageBits
	atomic.StoreUint32(&s.Generation, s.Generation+1)
	if o.active&(1<<slot) == 0 {
		o.active |= 1 << slot
		atomic.StoreUint32(&o.shared.Active, o.active)
	}
}

// End implements reactor.CacheObserver.
func (o *observer) End(slot, n int) {
	if o.active&(1<<slot) == 0 {
		return
	}
	o.active &^= 1 << slot
	atomic.StoreUint32(&o.shared.Active, o.active)
	if n > 0 {
		r := &o.reads[slot]
		first, last := r.off>>o.a.pageBits, (r.off+int64(n)-1)>>o.a.pageBits
		atomic.AddUint64(&o.lookups[r.cell], uint64(last-first+1))
	}
}

// TailEvictions implements reactor.CacheObserver.
func (o *observer) TailEvictions() (cold, others uint64, seen bool) {
	return atomic.LoadUint64(&o.shared.TailEvictions), atomic.LoadUint64(&o.a.state.TailEvictions), o.a.seesEvictions
}

// logFile is what the programs know of a file, or nil.
func (a *Attribution) logFile(file uint32) *pagecacheLogFile {
	if file == 0 || int(file) >= len(a.logFiles) {
		return nil
	}
	return &a.logFiles[file]
}

// pages is how many pages so many bytes have a part in.
func (a *Attribution) pages(bytes int64) uint64 {
	return (uint64(max(bytes, 0)) + 1<<a.pageBits - 1) >> a.pageBits
}
