// Package harness starts brokers and the standard Kafka clients against them: kcat, Kafka's own Java programs and
// franz-go. The tests of internal/clients, `make demo` and the kernel tests are written on it.
//
// The broker is the real binary, built once per process from cmd/slipstream. Three environment variables change that:
//
//	SLIPSTREAM_BIN=PATH              use this binary instead of building one
//	SLIPSTREAM_TEST_BROKER=apache    start Apache Kafka (from internal/clients/java/pom.xml) instead of slipstream
//	SLIPSTREAM_TEST_BROKER=HOST:PORT use a broker that is already running; tests that must stop or kill it are skipped
//	SLIPSTREAM_RING_LEVEL=5.15|6.1   force the ring level of every slipstream that is started
//
// Running the tests against Apache is how the tests themselves are known to be right.
package harness

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Missing says that a program the caller needs is not installed. Tests turn it into a skip (see Need).
type Missing struct{ What, Install string }

func (m *Missing) Error() string {
	return fmt.Sprintf("%s is not installed (%s)", m.What, m.Install)
}

// Root is the directory that holds the module's go.mod, found upwards from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(text, []byte("module slipstream\n")) {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod of slipstream above the working directory: run from inside the repository")
		}
		dir = up
	}
}

// FreePort is a TCP port of 127.0.0.1 that nobody listened on a moment ago.
func FreePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// tailBuffer keeps the last part of a child's output: enough to explain a failure, bounded however chatty the child is.
type tailBuffer struct {
	mu     sync.Mutex
	text   []byte
	onLine func(line string) // called under mu for each whole line; nil once nobody listens any more
	line   []byte
}

const tailBytes = 1 << 20

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > 2*tailBytes {
		t.text = append(t.text[:0], t.text[len(t.text)-tailBytes:]...)
	}
	if t.onLine == nil {
		return len(p), nil
	}
	t.line = append(t.line, p...)
	for t.onLine != nil {
		i := bytes.IndexByte(t.line, '\n')
		if i < 0 {
			break
		}
		t.onLine(strings.TrimRight(string(t.line[:i]), "\r"))
		t.line = t.line[i+1:]
	}
	return len(p), nil
}

func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
