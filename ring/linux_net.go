package ring

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Listen opens a TCP listener; an unspecified IPv6 address takes IPv4 too.
func (Linux) Listen(addr netip.AddrPort, backlog int, shared bool) (int, netip.AddrPort, error) {
	fd, bound, err := listen(addr, backlog, shared)
	if err != nil {
		return -1, netip.AddrPort{}, fmt.Errorf("listening on %s: %w", addr, err)
	}
	return fd, bound, nil
}

func listen(addr netip.AddrPort, backlog int, shared bool) (fd int, bound netip.AddrPort, err error) {
	if !addr.IsValid() {
		return -1, bound, unix.EINVAL
	}
	fd, err = unix.Socket(family(addr), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, bound, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err = listenOptions(fd, addr, shared); err != nil {
		return -1, bound, os.NewSyscallError("setsockopt", err)
	}
	if err = unix.Bind(fd, sockaddr(addr)); err != nil {
		return -1, bound, os.NewSyscallError("bind", err)
	}
	if err = unix.Listen(fd, backlog); err != nil {
		return -1, bound, os.NewSyscallError("listen", err)
	}
	bound, errno := socketName(unix.SYS_GETSOCKNAME, fd)
	if errno != 0 {
		return -1, bound, os.NewSyscallError("getsockname", errno)
	}
	return fd, bound, nil
}

func family(addr netip.AddrPort) int {
	if addr.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func listenOptions(fd int, addr netip.AddrPort, shared bool) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if family(addr) == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return err
		}
	}
	if shared {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	return nil
}

func sockaddr(addr netip.AddrPort) unix.Sockaddr {
	if addr.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: zone(addr)}
}

func zone(addr netip.AddrPort) uint32 {
	var n uint32
	fmt.Sscanf(addr.Addr().Zone(), "%d", &n) // a number; names are not resolved
	return n
}

// socketName is getsockname(2) or getpeername(2), without allocating.
func socketName(call uintptr, fd int) (netip.AddrPort, syscall.Errno) {
	var sa unix.RawSockaddrAny
	n := uint32(unix.SizeofSockaddrAny)
	if _, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&n))); errno != 0 {
		return netip.AddrPort{}, errno
	}
	switch sa.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), networkOrder(in.Port)), 0
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(&sa))
		return netip.AddrPortFrom(netip.AddrFrom16(in.Addr).Unmap(), networkOrder(in.Port)), 0
	}
	return netip.AddrPort{}, unix.EAFNOSUPPORT
}

func networkOrder(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

// PeerAddress is the other end of a connection; the zero AddrPort when it is gone.
func (Linux) PeerAddress(fd int) netip.AddrPort {
	addr, _ := socketName(unix.SYS_GETPEERNAME, fd)
	return addr
}

// SetNoDelay turns Nagle's algorithm off.
func (Linux) SetNoDelay(fd int) syscall.Errno {
	one := uint32(1)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one), 0)
	return errno
}

// WriteNow is pwritev(2): at most 1024 iovecs (EINVAL above).
func (Linux) WriteNow(fd int, iovs []unix.Iovec, off int64) (int, syscall.Errno) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_PWRITEV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(iovs))), uintptr(len(iovs)), uintptr(off), 0, 0)
		if errno != unix.EINTR {
			return count(n, errno)
		}
	}
}

// ReadNow is pread(2).
func (Linux) ReadNow(fd int, p []byte, off int64) (int, syscall.Errno) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(off), 0, 0)
		if errno != unix.EINTR {
			return count(n, errno)
		}
	}
}

// SendNow is sendmsg(2), raw: with MSG_DONTWAIT it cannot block.
func (Linux) SendNow(fd int, iovs []unix.Iovec, more bool) (int, syscall.Errno) {
	msg := unix.Msghdr{Iov: unsafe.SliceData(iovs)}
	msg.SetIovlen(len(iovs))
	flags := unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	if more {
		flags |= unix.MSG_MORE
	}
	n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), uintptr(flags))
	return count(n, errno)
}

// SendFileNow is sendfile(2). On a socket whose peer is gone the call raises
// SIGPIPE on this thread, which Go's runtime takes and drops for all descriptors
// but 1 and 2; the caller sees EPIPE.
func (Linux) SendFileNow(out, file int, off int64, n int) (int, syscall.Errno) {
	for {
		at := off // sendfile moves it, also when it fails in the middle
		sent, _, errno := unix.Syscall6(unix.SYS_SENDFILE, uintptr(out), uintptr(file), uintptr(unsafe.Pointer(&at)), uintptr(n), 0, 0)
		if errno != unix.EINTR {
			return count(sent, errno)
		}
	}
}

// SetNonblock sets or clears O_NONBLOCK.
func (Linux) SetNonblock(fd int, on bool) syscall.Errno {
	flags, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0)
	if errno != 0 {
		return errno
	}
	want := flags &^ unix.O_NONBLOCK
	if on {
		want |= unix.O_NONBLOCK
	}
	if want == flags {
		return 0
	}
	_, _, errno = unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFL, want)
	return errno
}

// CloseNow is close(2). After EINTR the descriptor is closed all the same.
func (Linux) CloseNow(fd int) syscall.Errno {
	_, _, errno := unix.Syscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	if errno == unix.EINTR {
		return 0
	}
	return errno
}
