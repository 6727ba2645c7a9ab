package harness

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Kind is which broker is under test.
type Kind int

const (
	Slipstream Kind = iota
	Apache
	External
)

func (k Kind) String() string {
	return [...]string{"slipstream", "Apache Kafka", "an external broker"}[k]
}

// DefaultKind is the broker SLIPSTREAM_TEST_BROKER asks for.
func DefaultKind() Kind {
	switch v := os.Getenv("SLIPSTREAM_TEST_BROKER"); v {
	case "", "slipstream":
		return Slipstream
	case "apache":
		return Apache
	default:
		return External
	}
}

// Options of one broker. The zero value with a DataDir is Kafka's defaults on a free port.
type Options struct {
	Kind     Kind
	DataDir  string   // created when missing
	MoreDirs []string // further data directories; the metadata log is in DataDir
	Listen   string   // host:port; empty or port 0: a free port of 127.0.0.1
	Set      []string // Kafka settings, name=value, given to either kind of broker
	SlipSet  []string // slipstream's own settings, name=value; Apache is not given these
	Env      []string
	// Ready bounds the wait for the first answer; 0 is 10 s for slipstream and 60 s for Apache.
	Ready time.Duration

	controllerPort int // of Apache; a restart keeps it
}

// Broker is one running broker process.
type Broker struct {
	Kind    Kind
	Addr    string // host:port that clients dial
	DataDir string
	Opts    Options
	Started time.Time
	ReadyIn time.Duration // from exec to the first accepted connection

	cmd    *exec.Cmd
	log    *tailBuffer
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

var buildOnce = sync.OnceValues(buildBinary)

// Binary is the slipstream binary under test: SLIPSTREAM_BIN, or one built once for this process.
func Binary() (string, error) {
	if path := os.Getenv("SLIPSTREAM_BIN"); path != "" {
		return filepath.Abs(path)
	}
	return buildOnce()
}

func buildBinary() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "slipstream-bin-")
	if err != nil {
		return "", err
	}
	atExit(func() { os.RemoveAll(dir) })
	bin := filepath.Join(dir, "slipstream")
	args := []string{"build", "-o", bin}
	if flags := os.Getenv("SLIPSTREAM_BUILD_FLAGS"); flags != "" {
		args = append(args, strings.Fields(flags)...)
	}
	cmd := exec.Command("go", append(args, "./cmd/slipstream")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/slipstream: %w\n%s", err, out)
	}
	return bin, nil
}

var (
	exitMu  sync.Mutex
	exitFns []func()
)

func atExit(f func()) { exitMu.Lock(); exitFns = append(exitFns, f); exitMu.Unlock() }

// Cleanup removes what the process built. Call it at the end of TestMain or main.
func Cleanup() {
	exitMu.Lock()
	defer exitMu.Unlock()
	for _, f := range exitFns {
		f()
	}
	exitFns = nil
}

// Start runs a broker and waits until it accepts connections.
func Start(o Options) (*Broker, error) {
	switch o.Kind {
	case External:
		return &Broker{Kind: External, Addr: os.Getenv("SLIPSTREAM_TEST_BROKER"), Opts: o}, nil
	case Apache:
		return startApache(o)
	default:
		return startSlipstream(o)
	}
}

var listening = regexp.MustCompile(`listening on +(?:[A-Z_]+://)?([0-9a-zA-Z.\[\]:]+:\d+)`)

func startSlipstream(o Options) (*Broker, error) {
	bin, err := Binary()
	if err != nil {
		return nil, err
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	args := []string{"serve", "--data-dir", o.DataDir, "--listen", o.Listen}
	for _, dir := range o.MoreDirs {
		args = append(args, "--data-dir", dir)
	}
	for _, s := range append(append([]string{}, o.Set...), o.SlipSet...) {
		args = append(args, "--set", s)
	}
	if kernel := os.Getenv("SLIPSTREAM_RING_KERNEL"); kernel != "" {
		args = append(args, "--set", "slipstream.ring.kernel="+kernel)
	}
	if level := os.Getenv("SLIPSTREAM_RING_LEVEL"); level != "" {
		args = append(args, "--set", "slipstream.ring.level="+level)
	}
	addr := make(chan string, 1)
	log := &tailBuffer{}
	log.onLine = func(line string) {
		if m := listening.FindStringSubmatch(line); m != nil {
			addr <- m[1]
			log.onLine = nil
		}
	}
	if o.Ready == 0 {
		o.Ready = 10 * time.Second
	}
	b := &Broker{Kind: Slipstream, DataDir: o.DataDir, Opts: o, log: log}
	if err := b.run(exec.Command(bin, args...)); err != nil {
		return nil, err
	}
	select {
	case b.Addr = <-addr:
	case <-b.exited:
		return nil, fmt.Errorf("slipstream ended before it listened: %v\n%s", b.err, b.Log())
	case <-time.After(o.Ready):
		b.Kill()
		return nil, fmt.Errorf("slipstream printed no \"listening on HOST:PORT\" within %v:\n%s", o.Ready, b.Log())
	}
	return b, b.awaitDial(o.Ready)
}

// run starts the process with its output going to the broker's log.
func (b *Broker) run(cmd *exec.Cmd) error {
	cmd.Env = append(os.Environ(), b.Opts.Env...)
	cmd.Stdout, cmd.Stderr = b.log, b.log
	// A test binary that is killed must not leave brokers behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	b.cmd, b.exited, b.Started = cmd, make(chan struct{}), time.Now()
	if err := onStarter(cmd.Start); err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	exited := b.exited
	go func() { b.err = cmd.Wait(); close(exited) }()
	atExit(func() { b.Kill() })
	return nil
}

// starter is the thread that starts brokers. The kernel kills them when the thread that started them ends, which for a
// thread of Go's own choosing can be at any time; this one ends with the process.
var starter = sync.OnceValue(func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func onStarter(f func() error) error {
	done := make(chan error)
	starter() <- func() { done <- f() }
	return <-done
}

func (b *Broker) awaitDial(limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", b.Addr, time.Second)
		if err == nil {
			c.Close()
			b.ReadyIn = time.Since(b.Started)
			return nil
		}
		select {
		case <-b.exited:
			return fmt.Errorf("%v ended at start-up: %v\n%s", b.Kind, b.err, b.Log())
		default:
		}
		if time.Now().After(deadline) {
			b.Kill()
			return fmt.Errorf("%v did not accept on %s within %v: %v\n%s", b.Kind, b.Addr, limit, err, b.Log())
		}
	}
}

// Log is the last part of what the broker printed.
func (b *Broker) Log() string {
	if b.log == nil {
		return ""
	}
	return b.log.String()
}

// PID of the broker process, 0 for an external one.
func (b *Broker) PID() int {
	if b.cmd == nil || b.cmd.Process == nil {
		return 0
	}
	return b.cmd.Process.Pid
}

// Exited is closed when the process has ended.
func (b *Broker) Exited() <-chan struct{} { return b.exited }

// Running says whether the process is still there.
func (b *Broker) Running() bool {
	if b.Kind == External {
		return true
	}
	select {
	case <-b.exited:
		return false
	default:
		return true
	}
}

// Stop asks with SIGTERM and requires exit status 0 (Apache's JVM answers 143, which counts as clean).
func (b *Broker) Stop(limit time.Duration) error {
	if b.Kind == External {
		return errors.New("an external broker cannot be stopped")
	}
	if !b.Running() {
		return fmt.Errorf("%v had already ended: %v\n%s", b.Kind, b.err, b.Log())
	}
	b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
	case <-time.After(limit):
		b.cmd.Process.Signal(syscall.SIGQUIT) // a Go program prints its goroutines
		time.Sleep(300 * time.Millisecond)
		b.Kill()
		return fmt.Errorf("%v did not end within %v of SIGTERM:\n%s", b.Kind, limit, b.Log())
	}
	code := b.cmd.ProcessState.ExitCode()
	if code == 0 || b.Kind == Apache && code == 143 {
		return nil
	}
	return fmt.Errorf("%v ended with %v after SIGTERM:\n%s", b.Kind, b.cmd.ProcessState, b.Log())
}

// Kill is kill -9, and returns when the process and its listening socket are gone. The kernel takes a dead process's
// rings apart later than the process; TestRestartAfterKill is about the time between. Killing a dead broker does nothing.
func (b *Broker) Kill() {
	if b.Kind == External || b.cmd == nil || b.cmd.Process == nil {
		return
	}
	running := b.Running()
	b.KillOnly()
	for deadline := time.Now().Add(5 * time.Second); running && b.Addr != "" && time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if l, err := net.Listen("tcp", b.Addr); err == nil {
			l.Close()
			return
		}
	}
}

// KillOnly is kill -9, and returns as soon as the process has been reaped.
func (b *Broker) KillOnly() {
	b.cmd.Process.Kill()
	<-b.exited
}

// Restart starts a broker again on the same address and directory. The old one must have ended.
func (b *Broker) Restart() (*Broker, error) {
	if b.Running() {
		return nil, errors.New("still running")
	}
	o := b.Opts
	o.Listen, o.Kind = b.Addr, b.Kind
	return Start(o)
}

// RunFailing runs slipstream with args expecting it to fail by itself, and returns its exit status and output.
func RunFailing(limit time.Duration, args ...string) (int, string, error) {
	bin, err := Binary()
	if err != nil {
		return 0, "", err
	}
	cmd := exec.Command(bin, args...)
	log := &tailBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return 0, "", err
	}
	timer := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	err = cmd.Wait()
	if !timer.Stop() {
		return -1, log.String(), fmt.Errorf("still running after %v", limit)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, log.String(), err
	}
	return cmd.ProcessState.ExitCode(), log.String(), nil
}

// CopyDir copies a directory tree of regular files: a stopped broker's data, to be examined or damaged.
func CopyDir(to, from string) error {
	return filepath.Walk(from, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.Create(filepath.Join(to, rel))
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			out.Close()
			return err
		}
		return out.Close()
	})
}
