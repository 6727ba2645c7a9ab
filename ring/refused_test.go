package ring

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExplain(t *testing.T) {
	plain := Environment{Release: "6.8.0", Disabled: Unknown, Group: Unknown, Seccomp: 0, MemlockBytes: Unknown}
	with := func(change func(e *Environment)) Environment {
		e := plain
		change(&e)
		return e
	}
	for _, c := range []struct {
		name  string
		errno syscall.Errno
		env   Environment
		want  []string
	}{
		{"switched off", unix.EPERM, with(func(e *Environment) { e.Disabled = 2; e.Seccomp = 2 }),
			[]string{"EPERM|errno 1", "switched off for every process", "sysctl kernel.io_uring_disabled=0", "io_uring_disabled 2"}},
		{"privileged only, no group", unix.EPERM, with(func(e *Environment) { e.Disabled = 1 }),
			[]string{"without privilege", "io_uring_group=GID", "CAP_SYS_ADMIN", "io_uring_group -1"}},
		{"privileged only, a group", unix.EPERM, with(func(e *Environment) { e.Disabled = 1; e.Group = 998 }),
			[]string{"member of group 998", "io_uring_group 998"}},
		{"container", unix.EPERM, with(func(e *Environment) { e.Disabled = 0; e.Seccomp = 2 }),
			[]string{"seccomp filter", "io_uring_setup, io_uring_enter and io_uring_register", "Seccomp 2"}},
		{"security module", unix.EACCES, with(func(e *Environment) { e.Disabled = 0 }),
			[]string{"SELinux", "audit log"}},
		{"hidden", unix.ENOSYS, with(func(e *Environment) { e.Seccomp = 2 }), []string{"hides it", "profile"}},
		{"not built in", unix.ENOSYS, plain, []string{"no io_uring", "CONFIG_IO_URING=y", "kernel 6.8.0", "io_uring_disabled absent"}},
		{"locked memory", unix.ENOMEM, with(func(e *Environment) { e.MemlockBytes = 65536 }),
			[]string{"locked memory", "ulimit -l", "RLIMIT_MEMLOCK 65536 bytes"}},
		{"descriptors", unix.EMFILE, plain, []string{"ulimit -n", "RLIMIT_MEMLOCK unlimited"}},
		{"system descriptors", unix.ENFILE, plain, []string{"fs.file-max"}},
		{"flags", unix.EINVAL, plain, []string{"flag", "5.15 or 6.1"}},
		{"anything else", unix.EIO, with(func(e *Environment) { e.Seccomp = Unknown }), []string{"errno 5", "Seccomp not readable"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Explain(c.errno, c.env)
			for _, want := range c.want {
				if alternatives := strings.Split(want, "|"); !strings.Contains(got, alternatives[len(alternatives)-1]) {
					t.Errorf("no %q in:\n%s", want, got)
				}
			}
			if !strings.Contains(got, "what to do: ") || strings.Contains(got, "%!") {
				t.Errorf("malformed:\n%s", got)
			}
		})
	}
}

func TestRefusedError(t *testing.T) {
	err := refused(unix.EPERM)
	if !errors.Is(err, unix.EPERM) || !strings.HasPrefix(err.Error(), "the kernel refused an io_uring") {
		t.Errorf("%v", err)
	}
	if err := refused(errors.New("other")); !strings.Contains(err.Error(), "other") {
		t.Errorf("%v", err)
	}
}

func TestEnvironment(t *testing.T) {
	e := ReadEnvironment()
	if e.Release == "" {
		t.Error("no kernel release")
	}
	if e.Seccomp < Unknown || e.Seccomp > 2 || e.Disabled < Unknown || e.Disabled > 2 {
		t.Errorf("%+v", e)
	}
	status := "Name:\tx\nNoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n"
	if got := statusInt(status, "Seccomp:"); got != 2 {
		t.Errorf("Seccomp %d, want 2", got)
	}
	if got := statusInt(status, "Nothing:"); got != Unknown {
		t.Errorf("a missing line gives %d", got)
	}
	if parseInt("junk") != Unknown || parseInt(" 7\n") != 7 {
		t.Error("numbers are misread")
	}
}
