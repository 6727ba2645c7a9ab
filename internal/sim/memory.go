package sim

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Memory that the program names to the kernel. In an SQE it is a bare number: the
// program keeps it outside the Go heap, or alive and in place until the enter.

func pointer(addr uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

func memory(addr uint64, n int) []byte {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(pointer(addr)), n)
}

// badMemory is what the kernel answers with EFAULT: the null page.
func badMemory(addr uint64, n int) bool { return n > 0 && addr < 4096 }

const maxIovecs = 1024 // UIO_MAXIOV

func copyIovecs(addr uint64, n int) []unix.Iovec {
	return append([]unix.Iovec(nil), unsafe.Slice((*unix.Iovec)(pointer(addr)), n)...)
}

func iovecBytes(iovs []unix.Iovec) int {
	n := 0
	for i := range iovs {
		n += int(iovs[i].Len)
	}
	return n
}

func iovecMemory(v *unix.Iovec) []byte {
	if v.Len == 0 || v.Base == nil {
		return nil
	}
	return unsafe.Slice(v.Base, int(v.Len))
}

func badIovecs(iovs []unix.Iovec) bool {
	for i := range iovs {
		if iovs[i].Len > 0 && uintptr(unsafe.Pointer(iovs[i].Base)) < 4096 {
			return true
		}
	}
	return false
}

// eachChunk gives the memory of iovs, after skip bytes and up to n, piece by piece,
// until f uses less than it was given. It returns the bytes used.
func eachChunk(iovs []unix.Iovec, skip, n int, f func(p []byte) int) int {
	total := 0
	for i := range iovs {
		p := iovecMemory(&iovs[i])
		if skip >= len(p) {
			skip -= len(p)
			continue
		}
		p = p[skip:]
		skip = 0
		if len(p) > n-total {
			p = p[:n-total]
		}
		if len(p) == 0 {
			break
		}
		used := f(p)
		total += used
		if used < len(p) {
			break
		}
	}
	return total
}

// gather copies n bytes of iovs after skip.
func gather(iovs []unix.Iovec, skip, n int) []byte {
	out := make([]byte, 0, n)
	eachChunk(iovs, skip, n, func(p []byte) int { out = append(out, p...); return len(p) })
	return out
}

// scatter copies p into iovs after skip.
func scatter(iovs []unix.Iovec, skip int, p []byte) int {
	return eachChunk(iovs, skip, len(p), func(dst []byte) int {
		n := copy(dst, p)
		p = p[n:]
		return n
	})
}

func load(p *uint32) uint32     { return atomic.LoadUint32(p) }
func store(p *uint32, v uint32) { atomic.StoreUint32(p, v) }

// setBits and clearBits change a word of flags that only the kernel writes.
func setBits(p *uint32, bits uint32)   { store(p, load(p)|bits) }
func clearBits(p *uint32, bits uint32) { store(p, load(p)&^bits) }

func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
