package ebpf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLockdown(t *testing.T) {
	for text, want := range map[string]string{
		"[none] integrity confidentiality": "", "none [integrity] confidentiality": "integrity",
		"none integrity [confidentiality]": "confidentiality", "": "",
	} {
		if got := lockdown(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		text    string
		seccomp bool
		missing []string
	}{
		{"Name:\tx\nCapEff:\t0000000000000000\nSeccomp:\t0\n", false, []string{"CAP_BPF", "CAP_PERFMON"}},
		{"CapEff:\t000001ffffffffff\nSeccomp:\t2\n", true, nil},
		{"CapEff:\t0000000000200000\n", false, nil}, // CAP_SYS_ADMIN
		{"CapEff:\t0000008000000000\n", false, []string{"CAP_PERFMON"}},
		{"CapEff:\t0000004000000000\n", false, []string{"CAP_BPF"}},
		{"CapEff:\t000000c000000000\n", false, nil},
		{"", false, []string{"CAP_BPF", "CAP_PERFMON"}},
	} {
		if seccomp, missing := status(c.text); seccomp != c.seccomp || !slices.Equal(missing, c.missing) {
			t.Errorf("%q: %t, %v", c.text, seccomp, missing)
		}
	}
}

// TestRefusalSaysWhy: one line with the kernel's answer and what stands in the way.
func TestRefusalSaysWhy(t *testing.T) {
	for _, c := range []struct {
		refusal Refusal
		want    string
	}{
		{
			Refusal{Err: fmt.Errorf("load: %w", unix.EPERM), Kernel: "6.1.0", Unprivileged: "2", Capabilities: []string{"CAP_BPF", "CAP_PERFMON"}},
			"BPF was refused: EPERM: operation not permitted (kernel 6.1.0, kernel.unprivileged_bpf_disabled 2, without CAP_BPF and CAP_PERFMON)",
		},
		{
			Refusal{Err: unix.EPERM, Kernel: "6.1.0", Unprivileged: "0", Lockdown: "confidentiality", Seccomp: true},
			"BPF was refused: EPERM: operation not permitted (kernel 6.1.0, lockdown confidentiality, system calls are filtered (seccomp))",
		},
		{
			Refusal{Err: errors.New("first\nsecond"), Kernel: "5.4.0", TypesMissing: true},
			"BPF was refused: first (kernel 5.4.0, it does not describe its types (no /sys/kernel/btf/vmlinux), it may have no BPF)",
		},
	} {
		if got := c.refusal.Error(); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
		if !errors.Is(&c.refusal, c.refusal.Err) {
			t.Error("the kernel's answer is lost")
		}
	}
	if r := explain(unix.EPERM); r.Kernel == "" || strings.Contains(r.Error(), "\n") {
		t.Errorf("%v", r)
	}
}
