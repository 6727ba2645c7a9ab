package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipstream/internal/clients/harness"
)

// TestScenarios plays each scenario once, briefly, against the real broker, with
// consumers that check every byte. The figures mean nothing here; that they are
// there, and that no byte is wrong, does.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a broker for every scenario")
	}
	binary, err := harness.Binary()
	if err != nil {
		t.Fatal(err)
	}
	raiseDescriptors()
	dir := t.TempDir()
	r := &run{binary: binary, dir: dir, check: true, quick: true, rounds: 1, seconds: 0.2, scale: 0.02}
	defer r.cleanUp()
	for i := range scenarios {
		sc := &scenarios[i]
		t.Run(sc.name, func(t *testing.T) {
			s := r.play(sc)
			if s.Failed != "" {
				t.Fatal(s.Failed)
			}
			if s.Skipped != "" {
				t.Skip(s.Skipped)
			}
			if len(s.Figures) == 0 {
				t.Error("no figure came of it")
			}
			for _, f := range s.Figures {
				if f.Ours == 0 && f.Unit != "KiB" && f.Unit != "MB" {
					t.Errorf("%s is 0", f.Name)
				}
			}
			if entries, _ := os.ReadDir(dir); len(entries) > 0 {
				t.Errorf("%v is left behind", entries)
			}
		})
	}
}

// TestTracer: system calls that a child makes are counted, and only while asked.
func TestTracer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("counting by tracepoint needs root")
	}
	tr, err := newTracer("no_such/event", "syscalls/sys_enter_getppid")
	if err != nil {
		t.Skip(err)
	}
	if err := tr.begin(os.Getpid()); err != nil {
		t.Skip(err)
	}
	for range 100 {
		unix.Getppid()
	}
	if n := tr.end(); n != 100 {
		t.Errorf("%d of 100 calls were counted", n)
	}
	unix.Getppid()
	if n := tr.end(); n != 0 {
		t.Errorf("%d calls were counted after the end", n)
	}
}

// TestServerIsPaused: a paused server runs no instruction, and its clock tells.
func TestServerIsPaused(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{cmd: cmd}
	defer s.stop()
	for s.cpuSeconds() < 0.02 {
		sleepSeconds(0.01)
	}
	s.pause()
	for stateOf(t, s.pid()) != "T" {
		sleepSeconds(0.001)
	}
	before := s.cpuSeconds()
	sleepSeconds(0.05)
	if after := s.cpuSeconds(); after != before {
		t.Errorf("a paused server used %g s", after-before)
	}
	s.resume()
	for s.cpuSeconds() < before+0.01 {
		sleepSeconds(0.01)
	}
}

func stateOf(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))[0]
}
