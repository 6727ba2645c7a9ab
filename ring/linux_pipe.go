package ring

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Pipe is pipe2(2) and F_SETPIPE_SZ. Past /proc/sys/fs/pipe-user-pages-soft the
// kernel gives unprivileged users pipes of two pages and refuses more: so the size
// is read back.
func (Linux) Pipe(size int) (reader, writer, room int, errno syscall.Errno) {
	var fds [2]int32
	if _, _, errno = unix.RawSyscall(unix.SYS_PIPE2, uintptr(unsafe.Pointer(&fds)), unix.O_CLOEXEC, 0); errno != 0 {
		return -1, -1, 0, errno
	}
	reader, writer = int(fds[0]), int(fds[1])
	unix.RawSyscall(unix.SYS_FCNTL, uintptr(writer), unix.F_SETPIPE_SZ, uintptr(size))
	got, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(writer), unix.F_GETPIPE_SZ, 0)
	if errno != 0 {
		unix.RawSyscall(unix.SYS_CLOSE, uintptr(reader), 0, 0)
		unix.RawSyscall(unix.SYS_CLOSE, uintptr(writer), 0, 0)
		return -1, -1, 0, errno
	}
	return reader, writer, int(got), 0
}
