package ring

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Unknown is a number of [Environment] that could not be read.
const Unknown = -1

// Environment is what decides whether a process may have a ring.
type Environment struct {
	Release      string // uname -r
	Disabled     int    // kernel.io_uring_disabled (6.6 and later): 0 for all, 1 for privileged only, 2 off
	Group        int    // kernel.io_uring_group: this group is privileged under Disabled 1
	Seccomp      int    // "Seccomp:" of /proc/self/status: 0 none, 1 strict, 2 filter
	MemlockBytes int64  // RLIMIT_MEMLOCK, soft; Unknown also when unlimited
}

// RefusedError is a kernel's refusal to make a ring, with its reasons.
type RefusedError struct {
	Errno       syscall.Errno
	Environment Environment
}

// Error is Explain's text.
func (e *RefusedError) Error() string { return Explain(e.Errno, e.Environment) }

// Unwrap gives the errno.
func (e *RefusedError) Unwrap() error { return e.Errno }

func refused(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return fmt.Errorf("making an io_uring: %w", err)
	}
	return &RefusedError{Errno: errno, Environment: ReadEnvironment()}
}

// ReadEnvironment gathers what can be read of the running process and kernel.
func ReadEnvironment() Environment {
	e := Environment{
		Disabled:     readInt("/proc/sys/kernel/io_uring_disabled"),
		Group:        readInt("/proc/sys/kernel/io_uring_group"),
		Seccomp:      Unknown,
		MemlockBytes: Unknown,
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		e.Release = unix.ByteSliceToString(name.Release[:])
	}
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		e.Seccomp = statusInt(string(status), "Seccomp:")
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur != unix.RLIM_INFINITY {
		e.MemlockBytes = int64(limit.Cur)
	}
	return e
}

func readInt(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return Unknown
	}
	return parseInt(string(text))
}

func parseInt(text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return Unknown
	}
	return n
}

// statusInt finds a line such as "Seccomp:\t2".
func statusInt(status, key string) int {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, key); ok {
			return parseInt(value)
		}
	}
	return Unknown
}

// Explain says in a few lines why io_uring_setup(2) failed with errno, and what
// the reader can do about it: first what happened, then what to do, then what was
// found on the machine.
func Explain(errno syscall.Errno, e Environment) string {
	what, advice := diagnose(errno, e)
	return fmt.Sprintf("the kernel refused an io_uring (%s, errno %d): %s\n  what to do: %s\n  found: %s",
		errno.Error(), int(errno), what, advice, e.found())
}

const dockerAdvice = "run the container with a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register" +
	" (Docker: --security-opt seccomp=PROFILE.json, or seccomp=unconfined to try it; Kubernetes: a Localhost seccompProfile)"

func diagnose(errno syscall.Errno, e Environment) (what, advice string) {
	switch errno {
	case unix.EPERM, unix.EACCES:
		return diagnosePermission(e)
	case unix.ENOSYS:
		if e.Seccomp == 2 {
			return "the system call does not exist here, or a seccomp filter hides it", dockerAdvice + "; or use a kernel with CONFIG_IO_URING"
		}
		return "this kernel has no io_uring", "use Linux 5.15 or later, built with CONFIG_IO_URING=y"
	case unix.ENOMEM:
		return "no memory for the ring's queues; before Linux 5.12, and for the registered buffers of any, it counts as locked memory",
			"raise the limit (ulimit -l unlimited, LimitMEMLOCK=infinity in a systemd unit, --ulimit memlock=-1 for a container), free memory, or raise the memory cgroup's limit"
	case unix.EMFILE:
		return "this process has too many descriptors open", "raise ulimit -n (LimitNOFILE= in a systemd unit)"
	case unix.ENFILE:
		return "the whole system has too many descriptors open", "raise sysctl fs.file-max"
	case unix.EINVAL:
		return "the kernel does not know a flag or a size that was asked for", "force a lower level (5.15 or 6.1); with that it is a bug worth reporting"
	}
	return "an error that is not expected here", "look it up in io_uring_setup(2)"
}

func diagnosePermission(e Environment) (what, advice string) {
	switch {
	case e.Disabled == 2:
		return "io_uring is switched off for every process", "as root: sysctl kernel.io_uring_disabled=0"
	case e.Disabled == 1:
		join := "as root: sysctl kernel.io_uring_group=GID with a group of this user"
		if e.Group >= 0 {
			join = fmt.Sprintf("run as a member of group %d", e.Group)
		}
		return "io_uring is switched off for processes without privilege", join + ", or as root: sysctl kernel.io_uring_disabled=0, or give the process CAP_SYS_ADMIN"
	case e.Seccomp == 2:
		return "a seccomp filter forbids it, as Docker's and containerd's default profiles do", dockerAdvice
	}
	return "a security module (SELinux, AppArmor) or a sandbox forbids it", "look for a denial in the audit log (journalctl -k, ausearch -m avc) and allow io_uring for this program"
}

func (e Environment) found() string {
	number := func(n int64) string {
		if n == Unknown {
			return "not readable"
		}
		return strconv.FormatInt(n, 10)
	}
	disabled, group, memlock := "absent", "absent", "unlimited"
	if e.Disabled != Unknown {
		disabled, group = strconv.Itoa(e.Disabled), strconv.Itoa(e.Group)
	}
	if e.MemlockBytes != Unknown {
		memlock = strconv.FormatInt(e.MemlockBytes, 10) + " bytes"
	}
	return fmt.Sprintf("kernel %s, kernel.io_uring_disabled %s, kernel.io_uring_group %s, Seccomp %s, RLIMIT_MEMLOCK %s",
		e.Release, disabled, group, number(int64(e.Seccomp)), memlock)
}
