package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// server is a process under measurement, listening on a loopback port.
type server struct {
	cmd     *exec.Cmd
	port    int
	dir     string        // its data
	ready   time.Duration // from exec to readiness
	said    *tail         // the end of what it wrote to standard error
	metrics int           // the port of its counters, 0 if it shows none
	paused  bool
}

// deathSignal makes a server end with the bench. It is bound to the thread that
// starts the server: the main goroutine, which is locked to the main thread.
var deathSignal = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

// startRaw runs one of raw.go's servers.
func startRaw(args ...string) (*server, error) {
	cmd := exec.Command("/proc/self/exe", append([]string{"raw"}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = deathSignal
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the raw server said nothing: %w", err)
	}
	port, err := strconv.Atoi(strings.TrimSpace(line))
	return &server{cmd: cmd, port: port, ready: time.Since(begun)}, err
}

var listening = regexp.MustCompile(`listening on \S*:(\d+)`)

// startCounted is startBroker with the broker's counters to be read.
func (r *run) startCounted(dir string, group *memoryCgroup, args ...string) (*server, error) {
	flags, port, err := metricsFlag()
	if err != nil {
		return nil, err
	}
	s, err := r.startBroker(dir, group, append(flags, args...)...)
	if err == nil {
		s.metrics = port
	}
	return s, err
}

// startBroker runs slipstream on a data directory, in a memory cgroup if there is one.
func (r *run) startBroker(dir string, group *memoryCgroup, args ...string) (*server, error) {
	args = append([]string{"serve", "--data-dir", dir, "--listen", "127.0.0.1:0"}, args...)
	for _, set := range r.sets {
		args = append(args, "--set", set)
	}
	cmd := exec.Command(r.binary, args...)
	cmd.SysProcAttr = deathSignal
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, dir: dir, said: &tail{}}
	r.killAtEnd(s)
	if err := group.add(cmd.Process.Pid); err != nil {
		s.stop()
		return nil, err
	}
	lines := bufio.NewReader(stderr)
	for s.port == 0 {
		line, err := lines.ReadString('\n')
		s.said.Write([]byte(line))
		if m := listening.FindStringSubmatch(line); m != nil {
			s.port, _ = strconv.Atoi(m[1])
		}
		if err != nil {
			cmd.Wait()
			return nil, fmt.Errorf("the broker ended before it listened: %s", s.said)
		}
	}
	s.ready = time.Since(begun)
	go io.Copy(s.said, lines)
	return s, nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// obituary says, if the process has ended, how, and what it said last.
func (s *server) obituary() string {
	if s == nil {
		return ""
	}
	var status unix.Siginfo
	err := unix.Waitid(unix.P_PID, s.pid(), &status, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil || status.Signo == 0 {
		return ""
	}
	return fmt.Sprintf(" (the server has ended: a cgroup that is out of memory kills it; it said %q)", s.said)
}

// pause stops the process until resume, so that it takes nothing from the one
// that is being measured.
func (s *server) pause() {
	if s == nil {
		return
	}
	s.paused = true
	s.cmd.Process.Signal(syscall.SIGSTOP)
}

func (s *server) resume() {
	if s != nil && s.paused {
		s.cmd.Process.Signal(syscall.SIGCONT)
		s.paused = false
	}
}

// stop ends the process and says how, if not cleanly.
func (s *server) stop() error {
	s.resume()
	s.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- s.cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		s.cmd.Process.Kill()
		<-done
		return errors.New("it had to be killed")
	}
}

// cpuSeconds is the process's user and system time so far, of all its threads
// that are and were: its CPU clock, in nanoseconds where /proc counts in ticks.
func (s *server) cpuSeconds() float64 {
	if s == nil || s.cmd == nil {
		return 0 // no process of ours: the generator does it itself
	}
	var ts unix.Timespec
	const perProcess = 2 // CPUCLOCK_SCHED, as clock_getcpuclockid(3) makes it
	if unix.ClockGettime(int32(^s.pid()<<3|perProcess), &ts) != nil {
		return 0
	}
	return float64(ts.Nano()) / 1e9
}

// residentMB is the process's resident memory.
func (s *server) residentMB() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.pid()))
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseFloat(strings.Fields(string(b))[1], 64)
	return pages * float64(os.Getpagesize()) / (1 << 20)
}

// threads is how many the process has.
func (s *server) threads() int {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.pid()))
	return len(tasks)
}

func (s *server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// segmentFiles lists the .log files of a topic below a data directory.
func segmentFiles(dir, topic string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, topic+"-*", "*.log"))
	return files
}

// tail keeps the last kibibytes of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > 8192 {
		t.b = bytes.Clone(t.b[len(t.b)-4096:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
