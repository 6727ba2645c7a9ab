package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a process under measurement, listening on a loopback port.
type server struct {
	name string
	cmd  *exec.Cmd
	port int
	dir  string
}

// startRaw runs one of raw.go's servers.
func startRaw(args ...string) (*server, error) {
	cmd := exec.Command("/proc/self/exe", append([]string{"raw"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("raw server said nothing: %w", err)
	}
	port, err := strconv.Atoi(strings.TrimSpace(line))
	return &server{name: "raw", cmd: cmd, port: port}, err
}

var listening = regexp.MustCompile(`listening on \S*:(\d+)`)

// startBroker runs slipstream on a fresh (or the given) data directory.
func (r *run) startBroker(dir string, args ...string) (*server, time.Duration, error) {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp(r.dir, "data"); err != nil {
			return nil, 0, err
		}
	}
	args = append([]string{"serve", "--data-dir", dir, "--listen", "127.0.0.1:0"}, args...)
	cmd := exec.Command(r.binary, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, 0, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	s := &server{name: "slipstream", cmd: cmd, dir: dir}
	var said bytes.Buffer
	lines := bufio.NewReader(stderr)
	for s.port == 0 {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if m := listening.FindStringSubmatch(line); m != nil {
			s.port, _ = strconv.Atoi(m[1])
		}
		if err != nil {
			return nil, 0, fmt.Errorf("the broker ended before it listened: %s", said.String())
		}
	}
	took := time.Since(begun)
	go io.Copy(io.Discard, lines)
	return s, took, nil
}

func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { s.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		s.cmd.Process.Kill()
		<-done
	}
}

// cpuSeconds is the process's user and system time so far.
func (s *server) cpuSeconds() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// Fields 14 and 15, counted behind the name in parentheses.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100 // USER_HZ
}

// residentMB is the process's resident memory.
func (s *server) residentMB() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseFloat(strings.Fields(string(b))[1], 64)
	return pages * float64(os.Getpagesize()) / (1 << 20)
}

func (s *server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func describeMachine() string {
	var u syscall.Utsname
	syscall.Uname(&u)
	var release []byte
	for _, c := range u.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(b); m != nil {
			model = string(m[1])
		}
	}
	return fmt.Sprintf("%d processors (%s), Linux %s, %s", runtime.NumCPU(), model, release, runtime.Version())
}

// segmentFiles lists the .log files below a data directory.
func segmentFiles(dir, topic string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, topic+"-*", "*.log"))
	return files
}
