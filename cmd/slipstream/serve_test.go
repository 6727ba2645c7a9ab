package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestScreen: what a start shows, line by line.
func TestScreen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	b := start(t, "--data-dir", dir, "--cores", "2")
	for _, want := range []string{
		`(?m)^slipstream \S+, listening on 127\.0\.0\.1:\d+$`,
		`(?m)^  node +1 of cluster [\w-]{22}$`,
		`(?m)^  data +` + regexp.QuoteMeta(dir) + ` \(new\); 0 topics, 0 partitions; ready in \d+ ms$`,
		`(?m)^  cores +2, io_uring level (5\.15|6\.1|native)$`,
		`(?m)^  writer +(inline|ring)`,
		`(?m)^  ebpf +(page cache attribution on \((tp_btf|raw_tp)\)|no .*: BPF was refused: .*)$`,
		`(?m)^try it +echo hello \| kcat -b ` + regexp.QuoteMeta(b.address) + ` -t \S+ -P && kcat -b ` + regexp.QuoteMeta(b.address),
	} {
		if !regexp.MustCompile(want).MatchString(b.screen) {
			t.Errorf("the screen has no line like %s:\n%s", want, b.screen)
		}
	}
	b.signal(t, syscall.SIGTERM)
	if state := b.wait(t, 10*time.Second); state.ExitCode() != 0 {
		t.Errorf("SIGTERM: %v\n%s", state, b.printed())
	}
}

// TestInUse: a second broker is told that the port or the directory is taken, and
// the first does not notice.
func TestInUse(t *testing.T) {
	dir := t.TempDir()
	first := filepath.Join(dir, "first")
	b := start(t, "--data-dir", first)
	if s := refused(t, "serve", "--data-dir", filepath.Join(dir, "second"), "--listen", b.address); !strings.Contains(s, b.address+" is in use") {
		t.Errorf("port in use: %q", s)
	}
	if s := refused(t, "serve", "--data-dir", first, "--listen", "127.0.0.1:0"); !strings.Contains(s, first+" is in use by another process") {
		t.Errorf("directory in use: %q", s)
	}
	if r := slipstream(t, "topic", "list", "--bootstrap", b.address); r.status != 0 {
		t.Errorf("the first broker: %s", r.errors)
	}
	b.signal(t, syscall.SIGINT)
	if state := b.wait(t, 10*time.Second); state.ExitCode() != 0 {
		t.Errorf("SIGINT: %v\n%s", state, b.printed())
	}
}

// TestNotWritable: a data directory that may not be written is refused. Root may
// write anywhere but into a file system that is read-only, so /sys stands for one.
func TestNotWritable(t *testing.T) {
	dir := "/sys/kernel"
	if os.Getuid() != 0 {
		dir = filepath.Join(t.TempDir(), "sealed")
		if err := os.Mkdir(dir, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	if s := refused(t, "serve", "--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"); !strings.Contains(s, "data directory "+dir) {
		t.Errorf("not writable: %q", s)
	}
}

// TestPrecedence: a flag wins over --set, --set over the file, the file over the
// default; and log.dirs is where the data go when no flag says otherwise.
func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "server.properties")
	text := "log.dirs = " + data + "\nnum.partitions = 3\nslipstream.cores = 3\nnode.id = 7\nnum.network.threads = 2\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	b := start(t, "--config", file, "--set", "num.partitions=5", "--set", "slipstream.cores=4", "--cores", "2")
	for _, want := range []string{data, "node      7 ", "cores     2,"} {
		if !strings.Contains(b.screen, want) {
			t.Errorf("the screen does not say %q:\n%s", want, b.screen)
		}
	}
	if !strings.Contains(b.screen, "change nothing here") || !strings.Contains(b.screen, "num.network.threads") {
		t.Errorf("num.network.threads draws no warning:\n%s", b.screen)
	}
	if r := slipstream(t, "topic", "create", "five", "--bootstrap", b.address); r.out != "created five with 5 partitions\n" {
		t.Errorf("num.partitions from --set: %+v", r)
	}
}

// TestSecondSignal: while a client keeps a stopping broker waiting, a second
// signal ends it at once, but not one that is an echo of the first.
func TestSecondSignal(t *testing.T) {
	b := start(t, "--data-dir", filepath.Join(t.TempDir(), "data"), "--set", "slipstream.drain.ms=60000")
	conn := stubborn(t, b.address)
	defer conn.Close()
	for range 3 {
		b.signal(t, syscall.SIGTERM)
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case <-b.ended:
		t.Fatalf("the broker did not wait for its client:\n%s", b.printed())
	case <-time.After(2 * sameSignal):
	}
	b.signal(t, syscall.SIGTERM)
	if state := b.wait(t, 5*time.Second); state.ExitCode() == 0 {
		t.Errorf("a forced end looks like a clean one: %v", state)
	}
}

// stubborn is a client that a draining broker waits for: it asks for far more
// than its socket takes and does not read.
func stubborn(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).SetReadBuffer(4096)
	var frames []byte
	for i := range 3000 {
		req := kmsg.NewPtrDescribeConfigsRequest()
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
		req.Resources = append(req.Resources, r)
		req.Version = 1
		body := kmsg.NewRequestFormatter().AppendRequest(nil, req, int32(i))
		frames = append(frames, body...)
	}
	conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	if n, err := conn.Write(frames); err != nil && n == 0 {
		t.Fatal(err)
	}
	var size [4]byte
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(conn, size[:]); err != nil || binary.BigEndian.Uint32(size[:]) == 0 {
		t.Fatal(fmt.Errorf("no answer at all: %w", err))
	}
	time.Sleep(300 * time.Millisecond) // until the answers fill what the sockets take: a drain does not begin new requests
	return conn
}
