package reactor

import (
	"math/bits"

	"golang.org/x/sys/unix"
)

// Arena is a core's memory outside the Go heap, from which everything comes that
// the kernel is told about. It is a slab allocator:
//
//	mmap'd chunk, 8 MiB:  | super 1 MiB | super 1 MiB | ...
//	super of class 4 KiB: | block | block | ... 256 of them
//
// A super belongs to one size class (512 B to 1 MiB, powers of two) while any of
// its blocks is in use; an empty one goes back to the pool that all classes
// share, so that a burst of one size does not keep memory from another. Larger
// blocks have a mapping of their own, and a few freed ones are kept.
//
// The budget counts what is mapped for use, the kept blocks included: supers in
// classes or pool, and large blocks. Alloc returns nil where it would be passed.
// Pages are touched, and so cost memory, only when used.
type Arena struct {
	core      *Core
	limit     int
	reserve   int // the part of limit that receiving may not take
	mapped    int
	inUse     int
	peak      int
	classes   [classCount]class
	warm      *super // empty supers that were touched: counted
	warmBytes int
	cold      *super // empty supers that were not, or were given back: not counted
	chunks    [][]byte
	large     [largeKept][]byte
	largeSize int // bytes in large
	largeMax  int

	spareBlocks *Block

	grown uint64 // times that an empty super or a large block was taken
	seen  uint64 // grown when trim last looked
	trim  Timer

	waiters waiterList
	freed   bool // memory was freed since the waiters were last served
	failed  bool // an allocation failed since it was last cleared
	serving bool
	fixed   [][]byte // memory set aside for the arena's life
}

const (
	minBlockShift = 9
	maxBlockShift = 20
	classCount    = maxBlockShift - minBlockShift + 1
	superBytes    = 1 << maxBlockShift
	chunkBytes    = 8 * superBytes
	largeRound    = 64 << 10
	largeKept     = 64
	blockBatch    = 64
)

// class is a size class: the supers with room, the first used first.
type class struct {
	partial *super
}

// super is one mebibyte of blocks of one class.
type super struct {
	mem    []byte
	class  int8
	carved int // blocks that have been made of mem
	used   int
	free   *Block
	next   *super
	prev   *super
	listed bool // in its class's partial list
}

// newArena makes an arena that maps at most limit bytes.
func newArena(core *Core, limit int) *Arena {
	return &Arena{core: core, limit: limit, reserve: limit / 8, largeMax: limit / 4}
}

// InUse is the number of bytes in blocks not yet released, Mapped what counts
// against the budget.
func (a *Arena) InUse() int  { return a.inUse }
func (a *Arena) Mapped() int { return a.mapped }

// Peak is the most that was in use at once.
func (a *Arena) Peak() int { return a.peak }

// Limit is the budget in bytes.
func (a *Arena) Limit() int { return a.limit }

// Alloc returns a block of at least n bytes with one reference, the caller's, or
// nil if that would pass the arena's budget: back-pressure, to be answered by
// waiting ([Arena.Await]) or refusing.
func (a *Arena) Alloc(n int) *Block { return a.alloc(n, a.limit) }

// allocReceive is Alloc for bytes coming in. It leaves a reserve, so that the
// requests that hold the rest can still be answered.
func (a *Arena) allocReceive(n int) *Block { return a.alloc(n, a.limit-a.reserve) }

func (a *Arena) alloc(n, limit int) *Block {
	if invariants {
		a.mustOwn()
	}
	if n < 0 {
		panic("reactor: Alloc of a negative size")
	}
	var b *Block
	if n > superBytes {
		b = a.allocLarge(n, limit)
	} else {
		b = a.allocSmall(classOf(n), limit)
	}
	if b == nil {
		a.failed = true
		a.core.Stats.AllocationsRefused++
		return nil
	}
	b.n, b.refs = n, 1
	a.inUse += len(b.mem)
	a.peak = max(a.peak, a.inUse)
	return b
}

func classOf(n int) int {
	if n <= 1<<minBlockShift {
		return 0
	}
	return bits.Len(uint(n-1)) - minBlockShift
}

// classBytes is the real size of a block for n bytes.
func classBytes(n int) int {
	if n > superBytes {
		return (n + largeRound - 1) &^ (largeRound - 1)
	}
	return 1 << (classOf(n) + minBlockShift)
}

func (a *Arena) allocSmall(k, limit int) *Block {
	s := a.classes[k].partial
	if s == nil {
		if s = a.takeSuper(limit); s == nil {
			return nil
		}
		s.class, s.carved = int8(k), 0
		a.list(s)
	}
	b := s.free
	if b != nil {
		s.free, b.next = b.next, nil
	} else {
		b = a.carve(s)
	}
	s.used++
	if s.free == nil && s.carved == superBytes>>(minBlockShift+k) {
		a.unlist(s)
	}
	return b
}

// carve makes the next block of a super that has had none so far; memory is
// touched in order and only as far as it is needed.
func (a *Arena) carve(s *super) *Block {
	b := a.takeBlock()
	size := 1 << (minBlockShift + int(s.class))
	at := s.carved * size
	*b = Block{mem: s.mem[at : at+size : at+size], class: s.class, arena: a, super: s}
	s.carved++
	return b
}

// takeBlock returns a Block without memory, putBlock keeps one for the next.
func (a *Arena) takeBlock() *Block {
	if a.spareBlocks == nil {
		batch := make([]Block, blockBatch)
		for i := range batch {
			a.putBlock(&batch[i])
		}
	}
	b := a.spareBlocks
	a.spareBlocks = b.next
	return b
}

func (a *Arena) putBlock(b *Block) {
	*b = Block{next: a.spareBlocks}
	a.spareBlocks = b
}

func (a *Arena) list(s *super) {
	head := &a.classes[s.class].partial
	s.prev, s.next = nil, *head
	if *head != nil {
		(*head).prev = s
	}
	*head, s.listed = s, true
}

func (a *Arena) unlist(s *super) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		a.classes[s.class].partial = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.next, s.prev, s.listed = nil, nil, false
}

// committed is what is mapped and not just kept for reuse.
func (a *Arena) committed() int { return a.mapped - a.warmBytes - a.largeSize }

// takeSuper finds an empty super: a warm one, then a cold one while the budget
// lasts, then one that a class keeps.
func (a *Arena) takeSuper(limit int) *super {
	if a.committed()+superBytes > limit {
		a.emptyClasses()
		if a.committed()+superBytes > limit {
			return nil
		}
	}
	a.grown++
	if s := a.warm; s != nil {
		a.warm, s.next = s.next, nil
		a.warmBytes -= superBytes
		return s
	}
	if a.mapped+superBytes > a.limit {
		a.reclaim(superBytes)
	}
	if a.cold == nil && !a.mapChunk() {
		return nil
	}
	s := a.cold
	a.cold, s.next = s.next, nil
	a.mapped += superBytes
	return s
}

func (a *Arena) mapChunk() bool {
	mem, err := mapMemory(chunkBytes)
	if err != nil {
		a.core.Stats.MapFailures++
		return false
	}
	a.chunks = append(a.chunks, mem)
	for at := chunkBytes - superBytes; at >= 0; at -= superBytes {
		a.cold = &super{mem: mem[at : at+superBytes : at+superBytes], next: a.cold}
	}
	return true
}

func mapMemory(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
}

func (a *Arena) allocLarge(n, limit int) *Block {
	size := classBytes(n)
	best := -1
	for i, m := range a.large {
		if len(m) >= size && len(m) <= size+size/2 && (best < 0 || len(m) < len(a.large[best])) {
			best = i
		}
	}
	if a.committed()+size > limit {
		a.emptyClasses()
		if a.committed()+size > limit {
			return nil
		}
	}
	if best >= 0 {
		mem := a.large[best]
		a.large[best] = nil
		a.largeSize -= len(mem)
		return a.largeBlock(mem)
	}
	if a.mapped+size > a.limit {
		a.reclaim(size)
	}
	mem, err := mapMemory(size)
	if err != nil {
		a.core.Stats.MapFailures++
		return nil
	}
	a.mapped += size
	return a.largeBlock(mem)
}

func (a *Arena) largeBlock(mem []byte) *Block {
	a.grown++
	b := a.takeBlock()
	*b = Block{mem: mem, class: classLarge, arena: a}
	return b
}

// free takes the memory of a block without references back.
func (a *Arena) free(b *Block) {
	a.inUse -= len(b.mem)
	a.freed = true
	if invariants {
		b = b.bury()
	}
	if b.class == classLarge {
		a.freeLarge(b)
		return
	}
	s := b.super
	b.next, s.free = s.free, b
	s.used--
	if !s.listed {
		a.list(s)
	}
	// The last super of a class stays with it: a size in steady use must not
	// move a super back and forth.
	if s.used == 0 && (s.next != nil || s.prev != nil) {
		a.unlist(s)
		a.empty(s)
	}
}

// empty puts a super without used blocks into the pool.
func (a *Arena) empty(s *super) {
	for s.free != nil {
		b := s.free
		s.free = b.next
		a.putBlock(b)
	}
	s.carved = 0
	s.next, a.warm = a.warm, s
	a.warmBytes += superBytes
	a.trimLater()
}

// emptyClasses takes the empty supers that classes keep.
func (a *Arena) emptyClasses() {
	for k := range a.classes {
		if s := a.classes[k].partial; s != nil && s.used == 0 && s.next == nil {
			a.unlist(s)
			a.empty(s)
		}
	}
}

func (a *Arena) freeLarge(b *Block) {
	mem := b.mem
	a.putBlock(b)
	if a.largeSize+len(mem) <= a.largeMax {
		for i := range a.large {
			if a.large[i] == nil {
				a.large[i] = mem
				a.largeSize += len(mem)
				a.trimLater()
				return
			}
		}
	}
	a.unmapLarge(mem)
}

func (a *Arena) unmapLarge(mem []byte) {
	a.mapped -= len(mem)
	if err := unix.Munmap(mem); err != nil {
		a.core.Stats.MapFailures++
	}
}

// reclaim gives back what is kept for reuse until n more bytes fit the budget.
func (a *Arena) reclaim(n int) {
	for i := range a.large {
		if a.mapped+n > a.limit {
			a.dropLarge(i)
		}
	}
	for a.warm != nil && a.mapped+n > a.limit {
		a.coolOne()
	}
}

// dropLarge unmaps a kept large block, if there is one in place i.
func (a *Arena) dropLarge(i int) bool {
	mem := a.large[i]
	if mem == nil {
		return false
	}
	a.large[i] = nil
	a.largeSize -= len(mem)
	a.unmapLarge(mem)
	return true
}

// coolOne gives the pages of a warm super back and keeps its addresses.
func (a *Arena) coolOne() {
	s := a.warm
	a.warm = s.next
	if err := unix.Madvise(s.mem, unix.MADV_DONTNEED); err != nil {
		a.core.Stats.MapFailures++
	}
	s.next, a.cold = a.cold, s
	a.warmBytes -= superBytes
	a.mapped -= superBytes
}

const (
	// trimNanos is how long memory kept for reuse must go unused before any of it
	// is given back, trimStep how much is given back at a time: unmapping takes
	// some 10 us a mebibyte, and a core must not stall for it.
	trimNanos = 1_000_000_000
	trimStep  = 16 << 20
)

func (a *Arena) trimLater() {
	if !a.trim.Armed() && a.core.drain.phase == drainNone {
		a.seen = a.grown
		a.core.After(trimNanos, &a.trim, (*arenaTimer)(a))
	}
}

// arenaTimer is the Arena as the handler of its timer.
type arenaTimer Arena

// Fire gives memory back that nobody has asked for since the timer was armed.
func (t *arenaTimer) Fire(*Timer) {
	a := (*Arena)(t)
	if a.grown == a.seen {
		end := a.mapped - trimStep
		for i := range a.large {
			if a.mapped > end {
				a.dropLarge(i)
			}
		}
		for a.warm != nil && a.mapped > end {
			a.coolOne()
		}
	}
	if a.warm != nil || a.largeSize > 0 {
		a.trimLater()
	}
}

// setAside maps n bytes, page-aligned, that stay until the arena is closed.
func (a *Arena) setAside(n int) ([]byte, error) {
	mem, err := mapMemory(n)
	if err != nil {
		return nil, err
	}
	a.mapped += n
	a.fixed = append(a.fixed, mem)
	return mem, nil
}

// close unmaps everything. No block may be in use, or known to the kernel.
func (a *Arena) close() {
	for i, m := range a.large {
		if m != nil {
			a.unmapLarge(m)
			a.large[i] = nil
		}
	}
	for _, m := range append(a.chunks, a.fixed...) {
		if err := unix.Munmap(m); err != nil {
			a.core.Stats.MapFailures++
		}
	}
	*a = Arena{core: a.core, limit: 0}
}

func (a *Arena) mustOwn() {
	if t := a.core.thread; t != 0 && t != unix.Gettid() {
		panic("reactor: an Arena was touched by another thread than its core's")
	}
}
