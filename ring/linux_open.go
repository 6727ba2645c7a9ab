package ring

import (
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// noCachedOpen is set once openat2(2) with RESOLVE_CACHED was refused: it is in
// Linux from 5.12, and filters of containers may know neither.
var noCachedOpen atomic.Bool

// resolveCached is RESOLVE_CACHED, which package unix does not have.
const resolveCached = 0x20

// OpenNowait is [Now.OpenNowait].
func (Linux) OpenNowait(path string, flags int) (int, syscall.Errno) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolveCached}
	for {
		if noCachedOpen.Load() {
			return openWaiting(path, flags)
		}
		fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
		switch err {
		case nil:
			return fd, 0
		case unix.EINTR:
		case unix.ENOSYS, unix.EINVAL, unix.EPERM:
			noCachedOpen.Store(true)
		default:
			return -1, errnoOf(err)
		}
	}
}

func openWaiting(path string, flags int) (int, syscall.Errno) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	for err == unix.EINTR {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return -1, errnoOf(err)
	}
	return fd, 0
}

func errnoOf(err error) syscall.Errno {
	if errno, ok := err.(syscall.Errno); ok {
		return errno
	}
	return unix.EIO
}
