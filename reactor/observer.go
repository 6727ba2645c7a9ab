package reactor

// CacheObserver is told what a core asks of the page cache, so that whoever sees
// the kernel's side of it (package ebpf) can say for whom a page was brought in
// or pushed out. There is one per core; its calls come on the core's thread.
// Begin, End, Extent and TailEvictions must neither block, allocate, lock nor
// make a system call: they are on the hot path. File, Forget and Reader are rare.
type CacheObserver interface {
	// File gives an open file of a log a number by which the other calls name it.
	// It belongs to a partition ("topic-3"); bytes is its size. 0: not observed.
	// Cores may call it for the same file; all get the same number.
	File(fd int, partition string, bytes int64) uint32
	// Forget ends the observation of a file that is about to be deleted.
	Forget(file uint32)
	// Extent says that the file's data now ends at bytes: a page that is brought
	// in from there on is one that is written, not read.
	Extent(file uint32, bytes int64)
	// Reader gives a number to what a client reads of a partition. 0 counts
	// together all those that there was no number for.
	Reader(partition, client string) uint32
	// Begin says that n bytes at off of the file are about to be read for a reader:
	// on this thread (slot 0), until End, or by the ring (slots 1 to
	// ObservedReads-1), until the read has completed.
	Begin(slot int, file, reader uint32, off int64, n int)
	// End says that the read announced in a slot is over, and that it took n bytes:
	// a full socket takes fewer than were announced, and what it did not take is
	// announced again. Those n bytes' pages are what was looked up.
	End(slot int, n int)
	// TailEvictions counts, from the start, pages near the ends of logs that went
	// while this core's cold reads (its slots but slot 0) were bringing others in,
	// and while anything else was. seen is false when evictions cannot be seen.
	TailEvictions() (cold, others uint64, seen bool)
}

// ObservedReads is the number of slots that each core has for reads announced
// and not yet over: slot 0 for those that it makes itself, the others for the
// ring's.
const ObservedReads = 16

// Unobserved observes nothing: what a core has when nobody looks.
type Unobserved struct{}

// File implements CacheObserver.
func (Unobserved) File(int, string, int64) uint32 { return 0 }

// Forget implements CacheObserver.
func (Unobserved) Forget(uint32) {}

// Extent implements CacheObserver.
func (Unobserved) Extent(uint32, int64) {}

// Reader implements CacheObserver.
func (Unobserved) Reader(string, string) uint32 { return 0 }

// Begin implements CacheObserver.
func (Unobserved) Begin(int, uint32, uint32, int64, int) {}

// End implements CacheObserver.
func (Unobserved) End(int, int) {}

// TailEvictions implements CacheObserver.
func (Unobserved) TailEvictions() (cold, others uint64, seen bool) { return 0, 0, false }
