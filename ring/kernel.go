// Package ring is io_uring in pure Go: the door to the kernel, submission and
// completion queues, provided-buffer rings, and the levels of kernel features
// that the rest of slipstream is written against.
//
// It imports only the standard library and golang.org/x/sys/unix, and knows
// nothing of Kafka.
package ring

import (
	"io/fs"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kernel is the one door to Linux. Everything a core asks of the kernel goes
// through it, so that a simulated kernel behind the same door can run the whole
// broker from a seed. There are three: [Linux], the giouring one (build tag
// giouring), and internal/sim's.
//
// It has three parts. Rings carry everything that may wait. Now carries the few
// calls that a core answers itself because the ring would be slower (measured;
// see ARCHITECTURE.md "Inline calls"): they never wait for a socket. Files is
// blocking file work, for start-up and for helpers, never for a core.
type Kernel interface {
	Rings
	Now
	Files
}

// Rings is io_uring proper, plus the clock and the sockets that cannot be had
// through every supported kernel's ring.
type Rings interface {
	// Setup creates a ring of at least entries submission entries and maps it.
	// p is as in io_uring_setup(2): flags and cq_entries in, features and
	// offsets out. It must be called on the thread that will enter the ring.
	Setup(entries uint32, p *Params) (*Mapping, error)

	// Enter is io_uring_enter(2). With minComplete 0 it must not block and may
	// be made without telling the Go scheduler. arg may be nil; it is passed
	// with IORING_ENTER_EXT_ARG.
	Enter(fd int, submit, minComplete, flags uint32, arg *GetEventsArg) (int, syscall.Errno)

	// Register is io_uring_register(2).
	Register(fd int, opcode uint32, arg unsafe.Pointer, n uint32) (int, syscall.Errno)

	// Teardown unmaps and closes a ring. No request may be in flight.
	Teardown(m *Mapping)

	// Listen opens a TCP listener with SO_REUSEADDR and, if shared, SO_REUSEPORT
	// (several cores listening on one port). Port 0 lets the kernel choose; the
	// address in force is returned. The socket is close-on-exec and blocking, as
	// every socket here: up to some kernel (6.18 waits all the same) a ring request
	// on an O_NONBLOCK socket fails with EAGAIN instead of waiting.
	Listen(addr netip.AddrPort, backlog int, shared bool) (fd int, bound netip.AddrPort, err error)

	// PeerAddress is getpeername(2) on a connected TCP socket.
	PeerAddress(fd int) netip.AddrPort

	// SetNoDelay sets TCP_NODELAY.
	SetNoDelay(fd int) syscall.Errno

	// Eventfd makes an eventfd counter (0, close-on-exec) that a core reads
	// through its ring; Signal adds 1 to it, from any thread.
	Eventfd() (int, error)
	Signal(fd int)

	// Monotonic is CLOCK_MONOTONIC and Wall CLOCK_REALTIME, in nanoseconds.
	Monotonic() int64
	Wall() int64

	// Random fills p from the kernel's generator (the seed's, when simulated).
	Random(p []byte)
}

// Now is the set of calls answered at once on the calling thread. None waits for
// a socket; a file call may wait for the file system, exactly as long as the
// same call made by any program.
type Now interface {
	// WriteNow is pwritev(2). The iovecs must point at memory outside the Go
	// heap or be pinned. A short count is possible (a full disk).
	WriteNow(fd int, iovs []unix.Iovec, off int64) (int, syscall.Errno)

	// ReadNow is pread(2) into p; short at the end of the file.
	ReadNow(fd int, p []byte, off int64) (int, syscall.Errno)

	// OpenNowait is openat2(2) with RESOLVE_CACHED, of a file that there is: EAGAIN
	// means that its name, or the file's inode, would have to be read from the disk.
	// Where the kernel cannot do that it is open(2), which reads.
	OpenNowait(path string, flags int) (fd int, errno syscall.Errno)

	// ReadNowait is preadv2(2) with RWF_NOWAIT: only what is in the page cache. EAGAIN
	// means that the first byte is not; a short count that what follows is not, or
	// the end of the file. A page that is missing may be read ahead by it.
	ReadNowait(fd int, p []byte, off int64) (int, syscall.Errno)

	// Resident is how many of the n bytes at off are in the page cache, from off on
	// without a gap, ready to be copied. It reads nothing ahead. 0 also when the
	// kernel would not say; then who wants the bytes reads them as if they were not.
	// It holds no state and may be called on any thread.
	Resident(fd int, off int64, n int) int

	// Absent is the opposite: how many of the n bytes at off are not in the page
	// cache, from off on until the first that is. 0 also when the kernel would not
	// say.
	Absent(fd int, off int64, n int) int

	// Pipe makes a pipe, both ends close-on-exec and blocking, with room for size
	// bytes or for as many as the kernel gives: room.
	Pipe(size int) (reader, writer, room int, errno syscall.Errno)

	// SendNow is sendmsg(2) with MSG_DONTWAIT|MSG_NOSIGNAL and, if more,
	// MSG_MORE. EAGAIN means the socket's buffer is full.
	SendNow(fd int, iovs []unix.Iovec, more bool) (int, syscall.Errno)

	// SendFileNow moves up to n bytes at off of file into socket out without a
	// copy in user space and without waiting for the socket; out must have been
	// set non-blocking with SetNonblock. EAGAIN means the socket's buffer is full,
	// 0 with no error the end of the file.
	SendFileNow(out, file int, off int64, n int) (int, syscall.Errno)

	// SetNonblock sets or clears O_NONBLOCK. A socket with it set must not be
	// given to the ring (see Listen).
	SetNonblock(fd int, on bool) syscall.Errno

	// CloseNow is close(2).
	CloseNow(fd int) syscall.Errno
}

// Files is blocking file work on paths, for start-up, recovery and helpers.
// Errors are *fs.PathError or *os.LinkError around a syscall.Errno, so that
// errors.Is(err, syscall.ENOSPC) and errors.Is(err, fs.ErrNotExist) work.
type Files interface {
	// Open is open(2) with O_CLOEXEC added.
	Open(path string, flags int, mode uint32) (fd int, err error)
	Close(fd int) error
	// ReadAt fills p from off; a short count comes with io.EOF.
	ReadAt(fd int, p []byte, off int64) (int, error)
	// WriteAt writes all of p at off or returns an error.
	WriteAt(fd int, p []byte, off int64) (int, error)
	Size(fd int) (int64, error)
	Truncate(fd int, size int64) error
	// Allocate reserves blocks for [off, off+n) without changing the file's size
	// (FALLOC_FL_KEEP_SIZE). EOPNOTSUPP where the file system cannot.
	Allocate(fd int, off, n int64) error
	// Advise is posix_fadvise(2): unix.FADV_WILLNEED reads n bytes at off ahead (0: to
	// the end of the file), FADV_DONTNEED drops those of its pages that are clean and
	// whole inside the range.
	Advise(fd int, off, n int64, advice int) error
	// Sync is fdatasync(2).
	Sync(fd int) error
	// WriteBack has n bytes at off written to the disk, if they are dirty (sync_file_range(2)). Without wait it begins
	// that; with wait it also waits for the end of it, and then reports, and takes, an error of the file that nobody has
	// been told: who waits must treat an error as one of Sync. Nothing of it makes a file durable: its size and where
	// it lies on the disk may not be there after a power cut. An error of ENOSYS or ESPIPE means that nothing was done.
	WriteBack(fd int, off, n int64, wait bool) error
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
	Stat(path string) (FileInfo, error)
	// ReadDir lists a directory, sorted by name.
	ReadDir(path string) ([]DirEntry, error)
	Mkdir(path string, mode uint32) error
	Rename(oldPath, newPath string) error
	// Remove removes a file or an empty directory.
	Remove(path string) error
	// TryLock takes an exclusive flock(2) and an exclusive fcntl(2) lock on fd, which must
	// be open for writing; EWOULDBLOCK if another has either.
	TryLock(fd int) error
	// Writable is nil if this process may make and remove names in a directory, without trying: faccessat(2). EACCES
	// and EROFS say why not.
	Writable(path string) error
	// FileSystem names the file system under path: "ext4", "xfs", "btrfs",
	// "overlay", "tmpfs", "sim", or its magic number in hexadecimal.
	FileSystem(path string) (string, error)
	// Space is the size of the file system under path, and how much of it this
	// process can still write, in bytes.
	Space(path string) (total, usable int64, err error)
}

// FileInfo is the part of stat(2) that slipstream uses.
type FileInfo struct {
	Size          int64
	ModifiedNanos int64
	Dir           bool
	Blocks        int64  // 512-byte blocks in use, preallocated ones included
	Device, Inode uint64 // the same for two paths only if they lead to the same file
}

// DirEntry is one name in a directory.
type DirEntry struct {
	Name string
	Dir  bool
}

var _ = fs.ErrNotExist
