package ebpf

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Refusal is why the programs could not be loaded or attached.
type Refusal struct {
	Err          error
	Kernel       string   // release
	Lockdown     string   // "integrity", "confidentiality", or "" when there is none
	Unprivileged string   // kernel.unprivileged_bpf_disabled, "" when the kernel has no BPF
	Seccomp      bool     // a filter is in force, as in most containers
	TypesMissing bool     // the kernel has no BTF
	Capabilities []string // that the process has not: "CAP_BPF", "CAP_PERFMON"
	// Grant is the command that gives them, "" when that is not what is missing.
	Grant string
}

// The capabilities' numbers: include/uapi/linux/capability.h. CAP_SYS_ADMIN stands
// for both.
const (
	capSysAdmin = 21
	capPerfmon  = 38
	capBPF      = 39
)

// vmlinuxTypes is the kernel's description of its types.
const vmlinuxTypes = "/sys/kernel/btf/vmlinux"

// explain finds out what stands in the way.
func explain(err error) *Refusal {
	var already *Refusal
	if errors.As(err, &already) {
		return already
	}
	r := &Refusal{Err: err}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		r.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	r.Lockdown = lockdown(read("/sys/kernel/security/lockdown"))
	r.Unprivileged = read("/proc/sys/kernel/unprivileged_bpf_disabled")
	if _, err := os.Stat(vmlinuxTypes); err != nil {
		r.TypesMissing = true
	}
	r.Seccomp, r.Capabilities = status(read("/proc/self/status"))
	if len(r.Capabilities) > 0 {
		program, err := os.Executable()
		if err != nil {
			program = "bin/slipstream"
		}
		r.Grant = "sudo setcap cap_bpf,cap_perfmon+ep " + program
	}
	return r
}

func read(name string) string {
	text, _ := os.ReadFile(name)
	return strings.TrimSpace(string(text))
}

// lockdown finds the mode in force: "none [integrity] confidentiality".
func lockdown(text string) string {
	_, rest, _ := strings.Cut(text, "[")
	mode, _, _ := strings.Cut(rest, "]")
	if mode == "none" {
		return ""
	}
	return mode
}

// status finds in /proc/self/status whether system calls are filtered, and which
// capabilities are not effective.
func status(text string) (seccomp bool, missing []string) {
	var effective uint64
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "Seccomp":
			seccomp = value == "2"
		case "CapEff":
			effective, _ = strconv.ParseUint(value, 16, 64)
		}
	}
	has := func(n uint) bool { return effective>>n&1 == 1 || effective>>capSysAdmin&1 == 1 }
	if !has(capBPF) {
		missing = append(missing, "CAP_BPF")
	}
	if !has(capPerfmon) {
		missing = append(missing, "CAP_PERFMON")
	}
	return seccomp, missing
}

// Unwrap gives the kernel's answer.
func (r *Refusal) Unwrap() error { return r.Err }

// Error is one line.
func (r *Refusal) Error() string {
	why := []string{"kernel " + r.Kernel}
	if r.TypesMissing {
		why = append(why, "it does not describe its types (no "+vmlinuxTypes+")")
	}
	if r.Unprivileged == "" {
		why = append(why, "it may have no BPF")
	} else if len(r.Capabilities) > 0 {
		why = append(why, "kernel.unprivileged_bpf_disabled "+r.Unprivileged)
	}
	if r.Lockdown != "" {
		why = append(why, "lockdown "+r.Lockdown)
	}
	if r.Seccomp {
		why = append(why, "system calls are filtered (seccomp)")
	}
	if len(r.Capabilities) > 0 {
		why = append(why, "without "+strings.Join(r.Capabilities, " and "))
	}
	return fmt.Sprintf("BPF was refused: %s (%s)", cause(r.Err), strings.Join(why, ", "))
}

// cause is an error's errno with its name, or all of its first line.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fmt.Sprintf("%s: %s", unix.ErrnoName(errno), errno.Error())
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}
