package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nobody is the user that the tests of capabilities run the broker as.
const nobody = 65534

// ofNobody is a copy of the program, and a directory for data, that nobody may use.
func ofNobody(t *testing.T) (program, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("running as another user needs root")
	}
	dir = t.TempDir()
	program = filepath.Join(dir, "slipstream")
	if out, err := exec.Command("cp", command(t).Path, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "of-nobody")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	return program, data
}

// asNobody serves as nobody until the start is over, and returns what it printed
// and whether it was ready.
func asNobody(t *testing.T, program, dir, mode string) (printed string, ready bool) {
	t.Helper()
	cmd := exec.Command(program, "serve", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data"), "--set", "slipstream.ebpf="+mode)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Dir = dir
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		printed = string(text)
		if ready = strings.Contains(printed, "try it"); ready || time.Now().After(deadline) {
			cmd.Process.Kill()
			<-ended
			return printed, ready
		}
		select {
		case <-ended:
			text, _ = os.ReadFile(out.Name())
			return string(text), false
		default:
		}
	}
}

// TestGrantingCommand: without capabilities the broker runs and says what is
// missing and which command grants it; that command does.
func TestGrantingCommand(t *testing.T) {
	program, dir := ofNobody(t)
	printed, ready := asNobody(t, program, dir, "auto")
	if !ready {
		t.Fatalf("the broker does not run without BPF:\n%s", printed)
	}
	line := regexp.MustCompile(`(?m)^  ebpf +no hits, .*: BPF was refused: EPERM.*without CAP_BPF and CAP_PERFMON\); grant it with: sudo (setcap \S+ (\S+))$`).FindStringSubmatch(printed)
	if line == nil {
		t.Fatalf("it does not say how to grant it:\n%s", printed)
	}
	if line[2] != program {
		t.Errorf("the command is for %s, not for %s", line[2], program)
	}
	if !regexp.MustCompile(`(?m)level=WARN .*page cache.*setcap`).MatchString(printed) {
		t.Errorf("the log does not say it:\n%s", printed)
	}
	if printed, ready := asNobody(t, program, dir, "on"); ready || !strings.Contains(printed, "slipstream: slipstream.ebpf is on") || !strings.Contains(printed, line[1]) {
		t.Errorf("on, and without BPF:\n%s", printed)
	}
	if printed, ready := asNobody(t, program, dir, "off"); !ready || strings.Contains(printed, "WARN") {
		t.Errorf("off:\n%s", printed)
	}
	setcap, err := exec.LookPath("setcap")
	if err != nil {
		if setcap = "/sbin/setcap"; exec.Command("test", "-x", setcap).Run() != nil {
			t.Skip("no setcap (apt-get install libcap2-bin)")
		}
	}
	if out, err := exec.Command(setcap, strings.Fields(line[1])[1:]...).CombinedOutput(); err != nil {
		t.Skipf("this file system has no capabilities: %v: %s", err, out)
	}
	var mount unix.Statfs_t
	if err := unix.Statfs(dir, &mount); err != nil || mount.Flags&unix.ST_NOSUID != 0 {
		t.Skip("this file system is mounted nosuid: capabilities of files do not count there")
	}
	if r := slipstream(t, "serve", "--set", "slipstream.ebpf=on", "--data-dir", "/proc/none"); strings.Contains(r.errors, "BPF was refused") {
		t.Skip("root is refused BPF too: ", r.errors)
	}
	if printed, ready := asNobody(t, program, dir, "on"); !ready || !strings.Contains(printed, "page cache attribution on") {
		t.Errorf("after %s:\n%s", line[1], printed)
	}
}
