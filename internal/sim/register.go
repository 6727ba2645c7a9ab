package sim

import (
	"math/bits"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// Register opcodes that ring has no name for.
const (
	registerEnableRings   = 12
	registerIOWQAff       = 17
	unregisterIOWQAff     = 18
	registerPbufStatus    = 26
	maxRegisteredRings    = 1 << 10
	maxProbeOps           = 256
	probeOpSupported      = 1
	maxPbufEntries        = 1 << 15
	registeredAnyIndex    = 1<<32 - 1
	pbufRingMmap          = 1
	bufferGroupEntryBytes = 16
)

func (u *uring) register(opcode uint32, arg unsafe.Pointer, n uint32) (int, syscall.Errno) {
	modern := u.k.has(ring.Level61)
	switch {
	case opcode == ring.RegisterProbe:
		return u.probe(arg, n)
	case opcode == registerEnableRings:
		if u.enabled {
			return 0, unix.EBADFD
		}
		u.enabled = true
		return 0, 0
	case opcode == ring.RegisterIOWQMaxWorkers, opcode == registerIOWQAff, opcode == unregisterIOWQAff:
		return 0, 0
	case opcode == ring.RegisterRingFDs && modern:
		return u.registerRings(arg, n)
	case opcode == ring.UnregisterRingFDs && modern:
		return u.unregisterRings(arg, n)
	case opcode == ring.RegisterPbufRing && modern:
		return u.registerBuffers((*bufReg)(arg), n)
	case opcode == ring.UnregisterPbufRing && modern:
		return u.unregisterBuffers((*bufReg)(arg), n)
	}
	return 0, unix.EINVAL
}

// probe fills struct io_uring_probe: u8 last_op, u8 ops_len, u16, u32[3], then per
// opcode u8 op, u8, u16 flags, u32. It tells what a kernel of the level has; of that,
// the simulation does without a few (see operations), and tells of their use.
func (u *uring) probe(arg unsafe.Pointer, n uint32) (int, syscall.Errno) {
	if n > maxProbeOps {
		return 0, unix.EINVAL
	}
	last := u.k.lastOpcode()
	b := unsafe.Slice((*byte)(arg), 16+8*int(n))
	clear(b)
	count := min(int(n), int(last)+1)
	b[0], b[1] = last, byte(count)
	for i := range count {
		b[16+8*i] = byte(i)
		b[16+8*i+2] = probeOpSupported
	}
	return 0, 0
}

// ringUpdate is struct io_uring_rsrc_update.
type ringUpdate struct {
	offset uint32
	_      uint32
	data   uint64
}

// registerRings gives rings indexes. Linux counts them per thread; here all cores
// share the driver's, so an index is the machine's.
func (u *uring) registerRings(arg unsafe.Pointer, n uint32) (int, syscall.Errno) {
	k := u.k
	updates := unsafe.Slice((*ringUpdate)(arg), n)
	for i := range updates {
		up := &updates[i]
		f := k.file(int(up.data))
		if f == nil {
			return i, 0
		}
		target, ok := f.obj.(*uring)
		if !ok || up.offset != registeredAnyIndex {
			return 0, unix.EINVAL
		}
		index := 0
		for index < len(k.registered) && k.registered[index] != nil {
			index++
		}
		if index == maxRegisteredRings {
			return 0, unix.EBUSY
		}
		if index == len(k.registered) {
			k.registered = append(k.registered, nil)
		}
		k.registered[index] = target
		up.offset = uint32(index)
	}
	return int(n), 0
}

func (u *uring) unregisterRings(arg unsafe.Pointer, n uint32) (int, syscall.Errno) {
	updates := unsafe.Slice((*ringUpdate)(arg), n)
	for i := range updates {
		if o := int(updates[i].offset); o < len(u.k.registered) {
			u.k.registered[o] = nil
		}
	}
	return int(n), 0
}

// bufReg is struct io_uring_buf_reg.
type bufReg struct {
	addr    uint64
	entries uint32
	group   uint16
	flags   uint16
	_       [3]uint64
}

// bufferGroup is a provided-buffer ring as the kernel sees it: entries in shared
// memory, the tail over the last two bytes of the first, the head its own.
type bufferGroup struct {
	entries []bufEntry
	head    uint16
}

type bufEntry struct {
	Addr uint64
	Len  uint32
	ID   uint16
	_    uint16
}

func (u *uring) registerBuffers(reg *bufReg, n uint32) (int, syscall.Errno) {
	switch {
	case n != 1, reg.entries == 0, bits.OnesCount32(reg.entries) != 1, reg.entries > maxPbufEntries,
		reg.addr%uint64(unix.Getpagesize()) != 0:
		return 0, unix.EINVAL
	case reg.flags != 0:
		if reg.flags&pbufRingMmap == 0 {
			u.k.w.violate("the simulation does not have provided-buffer rings with flags %#x", reg.flags)
		}
		return 0, unix.EINVAL
	case badMemory(reg.addr, 1):
		return 0, unix.EFAULT
	case u.groups[reg.group] != nil:
		return 0, unix.EEXIST
	}
	u.groups[reg.group] = &bufferGroup{entries: unsafe.Slice((*bufEntry)(pointer(reg.addr)), int(reg.entries))}
	return 0, 0
}

func (u *uring) unregisterBuffers(reg *bufReg, n uint32) (int, syscall.Errno) {
	if n != 1 {
		return 0, unix.EINVAL
	}
	if u.groups[reg.group] == nil {
		return 0, unix.ENOENT
	}
	delete(u.groups, reg.group)
	return 0, 0
}

// next is the buffer that a receive would use.
func (g *bufferGroup) next() (bufEntry, bool) {
	word := (*uint32)(unsafe.Pointer(&g.entries[0].ID)) // id, and above it the tail
	tail := uint16(atomic.LoadUint32(word) >> 16)
	if tail == g.head {
		return bufEntry{}, false
	}
	return g.entries[int(g.head)&(len(g.entries)-1)], true
}

// take: the buffer of next was used.
func (g *bufferGroup) take() { g.head++ }
