package ring

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Residency is asked of cachestat(2), which is in Linux from 6.5: one walk over
// the file's page cache, some 0.3 us for 256 KiB. Where it is not to be had,
// mincore(2) on a mapping made for the question answers, in some 4 us.
//
// cachestat counts a page whose read is still under way; who copies it waits. So
// what it finds is asked for once more at its last byte, with RWF_NOWAIT, which
// takes no page that is not whole. mincore tells such pages apart by itself.

// noCachestat is set once cachestat(2) was refused: ENOSYS before 6.5, EPERM
// where a filter forbids it.
var noCachestat atomic.Bool

const (
	cachePage   = 4096
	mincoreStep = 1 << 20 // bytes of a file asked about in one call
)

// cacheStat is struct cachestat.
type cacheStat struct {
	Cached, Dirty, Writeback, Evicted, RecentlyEvicted uint64
}

type cacheRange struct{ Off, Len uint64 }

// Resident is [Now.Resident].
func (Linux) Resident(fd int, off int64, n int) int {
	if noCachestat.Load() {
		return residentByMincore(fd, off, n)
	}
	if n <= 0 || off < 0 {
		return 0
	}
	first := off &^ (cachePage - 1)
	pages := int((off+int64(n)-first-1)/cachePage) + 1
	have, errno := cachedPrefix(fd, first, pages)
	switch {
	case errno == unix.ENOSYS || errno == unix.EPERM:
		if errno == unix.ENOSYS || mayWrite(fd) {
			noCachestat.Store(true)
		}
		return residentByMincore(fd, off, n)
	case errno != 0:
		return 0
	case have == 0 && onOverlay(fd): // whose own page cache is always empty
		return residentByMincore(fd, off, n)
	case have == 0:
		return 0
	}
	got := min(int(first+int64(have)*cachePage-off), n)
	var last [1]byte
	if one, errno := readNowait(fd, last[:], off+int64(got)-1); one == 1 || errno == unix.EOPNOTSUPP {
		return got
	}
	return residentByMincore(fd, off, n)
}

// Absent is [Now.Absent].
func (Linux) Absent(fd int, off int64, n int) int {
	if n <= 0 || off < 0 {
		return 0
	}
	first := off &^ (cachePage - 1)
	pages := int((off+int64(n)-first-1)/cachePage) + 1
	if !noCachestat.Load() {
		have, errno := uncachedPrefix(fd, first, pages)
		if errno == 0 && (have == 0 || !onOverlay(fd)) {
			return max(min(int(first+int64(have)*cachePage-off), n), 0)
		}
	}
	return absentByMincore(fd, off, n)
}

// uncachedPrefix is how many of some pages are not cached, from the first on.
func uncachedPrefix(fd int, first int64, pages int) (int, syscall.Errno) {
	cached, errno := cachedPages(fd, first, pages)
	if errno != 0 || cached == 0 {
		return pages, errno
	}
	low, high := 0, pages // none of those before low is cached, some before high are
	for high-low > 1 {
		middle := (low + high) / 2
		cached, errno = cachedPages(fd, first+int64(low)*cachePage, middle-low)
		if errno != 0 {
			return low, 0
		}
		if cached == 0 {
			low = middle
		} else {
			high = middle
		}
	}
	return low, 0
}

// cachedPrefix is how many of some pages are cached, from the first on without a
// gap.
func cachedPrefix(fd int, first int64, pages int) (int, syscall.Errno) {
	cached, errno := cachedPages(fd, first, pages)
	if errno != 0 || cached == 0 || cached >= pages {
		return min(cached, pages), errno
	}
	// Somewhere there is a hole. Halve what is left until it is found: the pages
	// before low are cached, those before high are not all.
	low, high := 0, pages
	for high-low > 1 {
		middle := (low + high) / 2
		cached, errno = cachedPages(fd, first+int64(low)*cachePage, middle-low)
		if errno != 0 {
			return low, 0
		}
		if cached >= middle-low {
			low = middle
		} else {
			high = middle
		}
	}
	return low, 0
}

func cachedPages(fd int, first int64, pages int) (int, syscall.Errno) {
	asked := cacheRange{uint64(first), uint64(pages) * cachePage}
	var stat cacheStat
	for {
		_, _, errno := unix.Syscall6(unix.SYS_CACHESTAT, uintptr(fd), uintptr(unsafe.Pointer(&asked)), uintptr(unsafe.Pointer(&stat)), 0, 0, 0)
		if errno != unix.EINTR {
			return int(stat.Cached), errno
		}
	}
}

// Dirty is how many bytes of a file's n from off on are in the page cache and not yet on the disk: dirty ones, and
// ones being written. ENOSYS before Linux 6.5; EPERM of a file that is neither ours nor to be written. Only reports ask
// for it, so it is none of [Now]'s.
func (Linux) Dirty(fd int, off, n int64) (int64, syscall.Errno) {
	asked := cacheRange{uint64(off), uint64(n)}
	var stat cacheStat
	if n <= 0 {
		return 0, 0
	}
	_, _, errno := unix.Syscall6(unix.SYS_CACHESTAT, uintptr(fd), uintptr(unsafe.Pointer(&asked)), uintptr(unsafe.Pointer(&stat)), 0, 0, 0)
	return int64(stat.Dirty+stat.Writeback) * cachePage, errno
}

// mayWrite tells whether a descriptor was opened to write, so that EPERM from
// cachestat cannot be for want of that.
func mayWrite(fd int) bool {
	flags, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0)
	return errno == 0 && flags&unix.O_ACCMODE != unix.O_RDONLY
}

func onOverlay(fd int) bool {
	var st unix.Statfs_t
	_, _, errno := unix.RawSyscall(unix.SYS_FSTATFS, uintptr(fd), uintptr(unsafe.Pointer(&st)), 0)
	return errno == 0 && st.Type == unix.OVERLAYFS_SUPER_MAGIC
}

func (Linux) residentWithoutCachestat(fd int, off int64, n int) int {
	return residentByMincore(fd, off, n)
}

func (Linux) absentWithoutCachestat(fd int, off int64, n int) int { return absentByMincore(fd, off, n) }

// residentByMincore is Resident by mincore. Of a file that is neither ours nor to
// be written the kernel says, by design, that all of it is resident.
func residentByMincore(fd int, off int64, n int) int { return runByMincore(fd, off, n, 1) }

func absentByMincore(fd int, off int64, n int) int { return runByMincore(fd, off, n, 0) }

// runByMincore is how many bytes from off on lie in pages of one kind, resident (1)
// or not (0). It maps the range to ask about it; nothing is touched, so no page
// table is filled and unmapping flushes nothing.
func runByMincore(fd int, off int64, n int, kind byte) int {
	if n <= 0 || off < 0 {
		return 0
	}
	first := off &^ (cachePage - 1)
	end := off + int64(n)
	at := first
	for at < end {
		step := min(end-at, mincoreStep)
		pages := int((step + cachePage - 1) / cachePage)
		have, errno := mincoreRun(fd, at, pages, kind)
		if errno != 0 {
			break
		}
		at += int64(have) * cachePage
		if have < pages {
			break
		}
	}
	return max(int(min(at, end)-off), 0)
}

func mincoreRun(fd int, first int64, pages int, kind byte) (int, syscall.Errno) {
	n := uintptr(pages) * cachePage
	mem, _, errno := unix.Syscall6(unix.SYS_MMAP, 0, n, unix.PROT_READ, unix.MAP_SHARED, uintptr(fd), uintptr(first))
	if errno != 0 {
		return 0, errno
	}
	var vector [mincoreStep / cachePage]byte
	_, _, errno = unix.Syscall(unix.SYS_MINCORE, mem, n, uintptr(unsafe.Pointer(&vector)))
	unix.Syscall(unix.SYS_MUNMAP, mem, n, 0)
	if errno != 0 {
		return 0, errno
	}
	for i := range pages {
		if vector[i]&1 != kind {
			return i, 0
		}
	}
	return pages, 0
}

// ReadNowait is preadv2(2) with RWF_NOWAIT; where a file system has no such read
// (tmpfs, of some kernels), residency is asked for first.
func (k Linux) ReadNowait(fd int, p []byte, off int64) (int, syscall.Errno) {
	n, errno := readNowait(fd, p, off)
	if errno != unix.EOPNOTSUPP || len(p) == 0 {
		return n, errno
	}
	if n = k.Resident(fd, off, len(p)); n == 0 {
		return 0, unix.EAGAIN
	}
	return k.ReadNow(fd, p[:n], off)
}

func readNowait(fd int, p []byte, off int64) (int, syscall.Errno) {
	iov := unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, uintptr(off), 0, unix.RWF_NOWAIT)
		if errno != unix.EINTR {
			return count(n, errno)
		}
	}
}

// Advise is posix_fadvise(2).
func (Linux) Advise(fd int, off, n int64, advice int) error {
	return fdError("advise", fd, "", restart(func() error { return unix.Fadvise(fd, off, n, advice) }))
}
