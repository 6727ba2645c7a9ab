package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// tracer counts how often a process passes a tracepoint of the kernel, by perf
// events: unlike strace that slows nobody down. It needs CAP_PERFMON (root), and
// says why it is not there otherwise.
type tracer struct {
	id  uint64
	fds []int
}

// newTracer finds the first of the tracepoints ("ext4/ext4_sync_file_enter") that
// this kernel has.
func newTracer(names ...string) (*tracer, error) {
	var all []error
	for _, name := range names {
		id, err := tracepointID(name)
		if err == nil {
			return &tracer{id: id}, nil
		}
		all = append(all, err)
	}
	return nil, errors.Join(all...)
}

// tracepointID is a tracepoint's number, from tracefs where it is mounted, and
// otherwise from one mounted for a moment where nobody else sees it.
func tracepointID(name string) (uint64, error) {
	file := filepath.Join("events", name, "id")
	for _, root := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		if b, err := os.ReadFile(filepath.Join(root, file)); err == nil {
			return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		}
	}
	cmd := exec.Command("/proc/self/exe", "raw", "-kind", "tracepoint", "-file", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("tracepoint %s: %w (needs root)", name, err)
	}
	return strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
}

// printTracepoint is the child's part: it has a mount namespace of its own.
func printTracepoint(file string) error {
	const at = "/sys/kernel/tracing"
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tracefs", at, "tracefs", 0, ""); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(at, file))
	if err == nil {
		_, err = os.Stdout.Write(b)
	}
	return err
}

// begin counts from now on what the threads of a process do, and those that they
// start.
func (tr *tracer) begin(pid int) error {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, _ := strconv.Atoi(task.Name())
		attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Size: uint32(unix.PERF_ATTR_SIZE_VER1), Config: tr.id, Bits: unix.PerfBitInherit}
		fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err == unix.ESRCH {
			continue // it has just ended
		}
		if err != nil {
			tr.end()
			return fmt.Errorf("perf_event_open: %w", err)
		}
		tr.fds = append(tr.fds, fd)
	}
	return nil
}

// end stops counting and returns the count.
func (tr *tracer) end() (count uint64) {
	for _, fd := range tr.fds {
		var b [8]byte
		if n, err := unix.Read(fd, b[:]); err == nil && n == 8 {
			count += binary.NativeEndian.Uint64(b[:])
		}
		unix.Close(fd)
	}
	tr.fds = nil
	return count
}

// counter counts one kind of event beside measurements; the zero one counts
// nothing.
type counter struct {
	tr   *tracer
	name string
}

// count makes a counter, or notes why there is none.
func (s *scene) count(name string, tracepoints ...string) *counter {
	tr, err := newTracer(tracepoints...)
	if err == nil {
		if err = tr.begin(os.Getpid()); err == nil {
			tr.end()
		}
	}
	if err != nil {
		s.note("%s are not counted: %v", name, err)
		return &counter{}
	}
	return &counter{tr, name}
}

// during counts what a contender does while it is measured.
func (n *counter) during(c *contender, measured func() (*measurement, error)) (*measurement, error) {
	if n.tr == nil || c.server == nil {
		return measured()
	}
	if err := n.tr.begin(c.server.pid()); err != nil {
		return nil, err
	}
	m, err := measured()
	count := n.tr.end()
	if m != nil {
		m.extra = map[string]float64{n.name: float64(count)}
	}
	return m, err
}

// perOp is the count of each operation; ok is false where nothing was counted.
func (n *counter) perOp(t *trial) (v series, ok bool) {
	if n.tr == nil {
		return v, false
	}
	return t.per(func(m *measurement) float64 { return m.extra[n.name] }, operations), true
}
