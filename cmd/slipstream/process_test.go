package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipstream/internal/clients/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.Cleanup()
	os.Exit(code)
}

// result is what a command that ended by itself left.
type result struct {
	status      int
	out, errors string
}

// slipstream runs the built binary to its end.
func slipstream(t *testing.T, args ...string) result {
	t.Helper()
	cmd := command(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer limit.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	bin, err := harness.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(bin, args...)
}

// refused runs a command that must fail with exit status 1 and one sentence on
// standard error, which it returns without the name before it.
func refused(t *testing.T, args ...string) string {
	t.Helper()
	r := slipstream(t, args...)
	sentence, ok := strings.CutPrefix(strings.TrimSuffix(r.errors, "\n"), "slipstream: ")
	if r.status != 1 || r.out != "" || !ok || strings.Contains(sentence, "\n") {
		t.Errorf("slipstream %q: status %d, output %q, want status 1 and one sentence; it says\n%s", args, r.status, r.out, r.errors)
	}
	return sentence
}

// process is a running serve.
type process struct {
	cmd     *exec.Cmd
	address string
	screen  string // what it printed until it was ready
	ended   chan error

	mu   sync.Mutex
	text bytes.Buffer // all that it printed
}

var addressOnScreen = regexp.MustCompile(`listening on (\S+:\d+)`)

// start serves on a free port until the test ends.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	b := &process{cmd: command(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...), ended: make(chan error, 1)}
	ready := make(chan struct{})
	var once sync.Once
	b.cmd.Stderr = writer(func(p []byte) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.text.Write(p)
		if strings.Contains(b.text.String(), "try it") { // the last line of the screen
			once.Do(func() { close(ready) })
		}
	})
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.cmd.Process.Kill() })
	go func() { b.ended <- b.cmd.Wait() }()
	select {
	case <-ready:
	case err := <-b.ended:
		t.Fatalf("serve ended: %v\n%s", err, b.printed())
	case <-time.After(20 * time.Second):
		t.Fatalf("serve is not ready after 20 s:\n%s", b.printed())
	}
	b.screen = b.printed()
	m := addressOnScreen.FindStringSubmatch(b.screen)
	if m == nil {
		t.Fatalf("no address on the screen:\n%s", b.screen)
	}
	b.address = m[1]
	return b
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

var _ io.Writer = writer(nil)

func (b *process) printed() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// signal sends a signal.
func (b *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// wait waits for the process to end.
func (b *process) wait(t *testing.T, limit time.Duration) *os.ProcessState {
	t.Helper()
	select {
	case <-b.ended:
		return b.cmd.ProcessState
	case <-time.After(limit):
		t.Fatalf("serve has not ended within %v:\n%s", limit, b.printed())
		return nil
	}
}
