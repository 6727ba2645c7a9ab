package ring

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BufferRing is a ring of provided buffers: memory lent to the kernel, which takes
// a buffer only when bytes have arrived, so that a quiet connection costs none.
// It belongs to its ring's thread.
//
// Shared with the kernel, count entries of struct io_uring_buf; the tail lies over
// the last field of the first:
//
//	0              8          12          14      16
//	+--------------+----------+-----------+-------+
//	| addr         | len      | bid       | tail  |  entry 0
//	+--------------+----------+-----------+-------+
//	| addr         | len      | bid       | 0     |  entry 1 ...
//	+--------------+----------+-----------+-------+
type BufferRing struct {
	ring    *Ring
	group   uint16
	count   int
	size    int
	mem     []byte
	entries []bufEntry
	tail    uint16 // counts on past count; the kernel masks it
	shown   uint16 // the tail that the kernel knows
}

type bufEntry struct {
	Addr uint64
	Len  uint32
	ID   uint16
	Tail uint16 // in entry 0
}

// bufReg is struct io_uring_buf_reg.
type bufReg struct {
	Addr    uint64
	Entries uint32
	Group   uint16
	Flags   uint16
	_       [3]uint64
}

var (
	_ [16]byte = [unsafe.Sizeof(bufEntry{})]byte{}
	_ [40]byte = [unsafe.Sizeof(bufReg{})]byte{}
)

const maxBuffers = 1 << 15

// NewBufferRing lends count buffers of size bytes, cut from mem, to the kernel as
// buffer group group of r. count is a power of two up to 32768. mem must not be
// Go heap memory and must stay mapped until Close; its owner unmaps it.
func NewBufferRing(r *Ring, group uint16, count, size int, mem []byte) (*BufferRing, error) {
	switch {
	case !r.features.BufferRings:
		return nil, fmt.Errorf("provided-buffer ring: %w (%s)", ErrUnsupported, r.features.Level)
	case count <= 0 || count > maxBuffers || count&(count-1) != 0:
		return nil, fmt.Errorf("provided-buffer ring: %d buffers: want a power of two up to %d", count, maxBuffers)
	case size <= 0 || size > len(mem)/count:
		return nil, fmt.Errorf("provided-buffer ring: %d buffers of %d bytes do not fit in %d bytes", count, size, len(mem))
	}
	shared, err := unix.MmapPtr(-1, 0, nil, bufRingBytes(count), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mapping a provided-buffer ring of %d entries: %w", count, err)
	}
	b := &BufferRing{ring: r, group: group, count: count, size: size, mem: mem, entries: unsafe.Slice((*bufEntry)(shared), count)}
	reg := bufReg{Addr: address(shared), Entries: uint32(count), Group: group}
	if _, errno := r.kernel.Register(r.mapping.FD, RegisterPbufRing, unsafe.Pointer(&reg), 1); errno != 0 {
		unix.MunmapPtr(shared, bufRingBytes(count))
		return nil, fmt.Errorf("registering a provided-buffer ring of %d entries: %w", count, errno)
	}
	for id := range count {
		b.Recycle(uint16(id))
	}
	b.Publish()
	return b, nil
}

func bufRingBytes(count int) uintptr { return uintptr(count) * unsafe.Sizeof(bufEntry{}) }

// Group is the buffer group, for PrepRecvMultishot and PrepRecvSelect.
func (b *BufferRing) Group() uint16 { return b.group }

// Count and Size are the number of buffers and the bytes in each.
func (b *BufferRing) Count() int { return b.count }

// Size is the number of bytes in each buffer.
func (b *BufferRing) Size() int { return b.size }

// Buffer is the whole memory of a buffer; the completion's Res tells how much of
// it was written. It is the caller's from that completion until Recycle.
func (b *BufferRing) Buffer(id uint16) []byte {
	from := int(id) * b.size
	return b.mem[from : from+b.size : from+b.size]
}

// Recycle gives a buffer back; the kernel sees it after the next Publish. Giving
// one back twice would let two connections write to it.
func (b *BufferRing) Recycle(id uint16) {
	e := &b.entries[int(b.tail)&(b.count-1)]
	e.Addr = address(unsafe.Pointer(&b.mem[int(id)*b.size]))
	e.Len = uint32(b.size)
	e.ID = id
	b.tail++
}

// Publish shows the kernel all buffers recycled since the last time, at once.
func (b *BufferRing) Publish() {
	if b.tail == b.shown {
		return
	}
	// The tail is 16 bits and Go's atomics are 32: store it with its neighbour,
	// entry 0's ID, which only this thread writes. The store is what makes the
	// entries before it visible. (Little-endian, as all of slipstream's targets.)
	word := (*uint32)(unsafe.Pointer(&b.entries[0].ID))
	atomic.StoreUint32(word, uint32(b.entries[0].ID)|uint32(b.tail)<<16)
	b.shown = b.tail
}

// Close takes the group back from the kernel. No receive may be armed on it.
func (b *BufferRing) Close() error {
	if b.entries == nil {
		return nil
	}
	reg := bufReg{Group: b.group}
	_, errno := b.ring.kernel.Register(b.ring.mapping.FD, UnregisterPbufRing, unsafe.Pointer(&reg), 1)
	unix.MunmapPtr(unsafe.Pointer(&b.entries[0]), bufRingBytes(b.count))
	b.entries = nil
	if errno != 0 {
		return fmt.Errorf("unregistering provided-buffer group %d: %w", b.group, errno)
	}
	return nil
}
