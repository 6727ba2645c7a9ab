package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipstream/internal/logtool"
	"slipstream/ring"

	"github.com/twmb/franz-go/pkg/kgo"
)

// badFile is a file of a data directory, by a pattern below it (the last match is meant), and what is expected of a start
// that finds it damaged: that it mends what can be made anew from the rest. The files of closed segments it does not look at.
type badFile struct {
	pattern string
	mends   bool   // whatever it contains, a start mends it
	other   string // with which it is exchanged
}

var badFiles = []badFile{
	{pattern: "orders-0/00000000000000000000.log", other: "payments-0/00000000000000000000.log"},
	{pattern: "orders-0/*.log", other: "payments-0/00000000000000000000.log"},
	{pattern: "orders-0/00000000000000000000.index", other: "orders-0/00000000000000000000.timeindex"},
	{pattern: "orders-0/*.index", mends: true, other: "orders-0/00000000000000000000.index"},
	{pattern: "orders-0/00000000000000000000.timeindex", other: "orders-0/00000000000000000000.index"},
	{pattern: "payments-0/*.txnindex", other: "orders-0/00000000000000000000.index"},
	{pattern: "orders-0/*.snapshot", mends: true, other: "payments-0/*.snapshot"},
	{pattern: "orders-0/leader-epoch-checkpoint", mends: true, other: "recovery-point-offset-checkpoint"},
	{pattern: "orders-0/partition.metadata", other: "payments-0/partition.metadata"},
	{pattern: "recovery-point-offset-checkpoint", mends: true, other: "orders-0/leader-epoch-checkpoint"},
	{pattern: "log-start-offset-checkpoint", mends: true, other: "orders-0/leader-epoch-checkpoint"},
	{pattern: "replication-offset-checkpoint", mends: true, other: "orders-0/leader-epoch-checkpoint"},
	{pattern: "cleaner-offset-checkpoint", mends: true, other: "orders-0/leader-epoch-checkpoint"},
	{pattern: ".kafka_cleanshutdown", mends: true, other: "meta.properties"},
	{pattern: "meta.properties", other: "orders-0/partition.metadata"},
	{pattern: "__cluster_metadata-0/quorum-state", other: "meta.properties"},
	{pattern: "__cluster_metadata-0/*.log", other: "orders-0/00000000000000000000.log"},
	{pattern: "__cluster_metadata-0/*.checkpoint", other: "payments-0/00000000000000000000.log"},
	{pattern: "__consumer_offsets-0/*.log", other: "__transaction_state-0/*.log"},
	{pattern: "__transaction_state-0/*.log", other: "__consumer_offsets-0/*.log"},
}

// wound is a way in which a file can be bad.
type wound struct {
	name    string
	content func(b, other []byte) []byte // what it has instead, or
	place   func(path string) error      // what is in its place
	gentle  bool                         // what is in the file is at fault, not the file
}

var elf = append([]byte("\x7fELF\x02\x01\x01\x00"), bytes.Repeat([]byte{0, 3, 0, 62, 0xff, 0xd8}, 1000)...)

func replaceBy(what func(path string) error) func(string) error {
	return func(path string) error {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		return what(path)
	}
}

var wounds = []wound{
	{name: "empty", gentle: true, content: func(b, _ []byte) []byte { return []byte{} }},
	{name: "truncated", gentle: true, content: func(b, _ []byte) []byte { return b[:len(b)*2/3] }},
	{name: "zeros", gentle: true, content: func(b, _ []byte) []byte { return make([]byte, len(b)) }},
	{name: "random", gentle: true, content: func(b, _ []byte) []byte {
		c := make([]byte, max(len(b), 100))
		r := rand.New(rand.NewPCG(1, 2))
		for i := range c {
			c[i] = byte(r.Uint32())
		}
		return c
	}},
	{name: "foreign", gentle: true, content: func(_, _ []byte) []byte { return elf }},
	{name: "exchanged", gentle: true, content: func(_, other []byte) []byte { return other }},
	{name: "of the future", gentle: true, content: func(b, _ []byte) []byte {
		switch {
		case bytes.HasPrefix(b, []byte("0\n")):
			return append([]byte("99\n"), b[2:]...)
		case bytes.HasPrefix(b, []byte("version: 0")):
			return bytes.Replace(b, []byte("version: 0"), []byte("version: 99"), 1)
		case bytes.Contains(b, []byte("version\":")), bytes.Contains(b, []byte("version=1")):
			return []byte(strings.NewReplacer(`version":0`, `version":99`, `version":1`, `version":99`, "version=1", "version=99").Replace(string(b)))
		}
		b = bytes.Clone(b)
		if len(b) > 16 {
			b[16] = 3 // the magic of a log; of the others, some field
			b[1] = 99
		}
		return b
	}},
	{name: "huge", gentle: true, place: func(path string) error { return os.Truncate(path, 1<<40) }}, // sparse
	{name: "mode 000", place: func(path string) error { return os.Chmod(path, 0) }},
	{name: "a directory", place: replaceBy(func(path string) error { return os.Mkdir(path, 0o755) })},
	{name: "a symlink to itself", place: replaceBy(func(path string) error { return os.Symlink(filepath.Base(path), path) })},
	{name: "a FIFO", place: replaceBy(func(path string) error { return syscall.Mkfifo(path, 0o644) })},
	{name: "a device", place: replaceBy(func(path string) error { return os.Symlink("/dev/zero", path) })},
}

// smallDir is a data directory that a broker has left: orders-0 has two segments, payments-0 a committed and an aborted transaction, and a
// group has committed an offset.
func smallDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	b := start(t, "--data-dir", dir, "--set", "log.segment.bytes=1048576", "--set", "log.index.interval.bytes=4000", "--set", "offsets.topic.num.partitions=1", "--set", "transaction.state.log.num.partitions=1")
	slipstream(t, "topic", "create", "orders", "payments", "--partitions", "1", "--bootstrap", b.address)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.address), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 25 {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: bytes.Repeat([]byte{byte(i)}, 50_000)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	payTwice(ctx, t, b.address)
	slipstream(t, "group", "reset-offsets", "shop", "--topic", "orders", "--to-earliest", "--execute", "--bootstrap", b.address)
	b.signal(t, syscall.SIGTERM)
	b.wait(t, 20*time.Second)
	return dir
}

// lastOf is the last file of a pattern.
func lastOf(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: no %s: %v", dir, pattern, err)
	}
	return found[len(found)-1]
}

// inflict damages a file of a copy of the directory.
func inflict(t *testing.T, sound string, f badFile, w wound) (dir, path string) {
	t.Helper()
	dir = copyTree(t, sound)
	path = lastOf(t, dir, f.pattern)
	if w.place != nil {
		if err := w.place(path); err != nil {
			t.Fatal(err)
		}
		return dir, path
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(lastOf(t, dir, f.other))
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, w.content(bytes.Clone(b), other))
	return dir, path
}

// TestBadFilesTools shows every kind of bad file to the tools: they say what is wrong with it, or have no reason to, and end soon,
// in little memory. Repair leaves what it cannot make anew, and says so; then a second repair has nothing to do.
func TestBadFilesTools(t *testing.T) {
	sound := smallDir(t)
	for i, f := range badFiles {
		for j, w := range wounds {
			if w.name == "mode 000" && os.Getuid() == 0 {
				continue // root reads it; TestBadFilesBroker looks as somebody else
			}
			if os.Getenv("SLIPSTREAM_CLIENTS") == "" && ((i+j)%4 > 0 || w.name == "huge") {
				continue
			}
			t.Run(f.pattern+" "+w.name, func(t *testing.T) { showTools(t, sound, f, w) })
		}
	}
}

func showTools(t *testing.T, sound string, f badFile, w wound) {
	dir, path := inflict(t, sound, f, w)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-done:
		case <-time.After(3 * time.Minute):
			panic("a tool hangs at " + path)
		}
	}()
	k := ring.NewLinux()
	v, err := logtool.Verify(k, dir, logtool.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !w.gentle && !slices.ContainsFunc(v.Problems, func(p logtool.Problem) bool { return p.File == path }) && filepath.Base(path) != ".kafka_cleanshutdown" {
		t.Errorf("verify says nothing of it: %v", v.Problems)
	}
	if err := logtool.Dump(k, dir, logtool.DumpOptions{Records: true}, func(logtool.Item) error { return nil }); err != nil {
		t.Errorf("dump: %v", err)
	}
	if _, err := logtool.Stat(k, dir); err != nil {
		t.Errorf("stat: %v", err)
	}
	o := logtool.RepairOptions{Yes: true, NowNanos: 1e18}
	r, err := logtool.Repair(k, []string{dir}, o)
	if err != nil && w.name == "huge" && strings.Contains(err.Error(), "there is no room") {
		return
	}
	if err != nil {
		t.Fatalf("repair: %v", err)
	}
	for _, p := range r.Left {
		if f.mends && w.gentle {
			t.Errorf("not repaired: %v", p)
		}
	}
	again, err := logtool.Repair(k, []string{dir}, o)
	if err != nil || len(again.Actions) > 0 {
		t.Errorf("a second time: %v: %v", err, again.Actions)
	}
	if v, err = logtool.Verify(k, dir, logtool.VerifyOptions{}); err != nil || len(v.Problems) > len(r.Left) {
		t.Errorf("afterwards: %v: %v; left %v", err, v.Problems, r.Left)
	}
}

// TestBadFilesBroker starts a broker on each kind of bad file, as a user who is not root: it serves, having mended what was wrong, or says in one
// sentence what it is that it will not serve, and has changed nothing. It does not hang, crash, or take much memory.
func TestBadFilesBroker(t *testing.T) {
	sound := smallDir(t)
	b, err := os.ReadFile(command(t).Path)
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "slipstream")
	if err := os.WriteFile(bin, b, 0o755); err != nil {
		t.Fatal(err)
	}
	reachable(t, filepath.Dir(bin))
	for i, f := range badFiles {
		for j, w := range wounds {
			if os.Getenv("SLIPSTREAM_CLIENTS") == "" && (i+j)%10 > 0 {
				continue
			}
			t.Run(f.pattern+" "+w.name, func(t *testing.T) { showBroker(t, bin, sound, f, w) })
		}
	}
}

// unprivileged is who the broker is, if we are root: a file's permissions mean nothing to root.
const unprivileged = 65534

// mostMemory is what a broker that has found such a file may have taken (KiB). One that is idle takes some 60 MiB.
const mostMemory = 1 << 20

func showBroker(t *testing.T, bin, sound string, f badFile, w wound) {
	dir, path := inflict(t, sound, f, w)
	reachable(t, filepath.Dir(dir))
	cmd := exec.Command(bin, "serve", "--listen", "127.0.0.1:0", "--data-dir", dir, "--set", "slipstream.cores=1")
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}}
		if err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, unprivileged, unprivileged)
		}); err != nil {
			t.Fatal(err)
		}
	}
	var said lockedBuffer
	cmd.Stderr, cmd.Stdout = &said, &said
	before := statesOf(t, dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ready := false
	limit := time.After(90 * time.Second)
	for !ready {
		select {
		case <-ended:
			refusal(t, dir, path, before, said.String(), cmd.ProcessState.ExitCode())
			enough(t, cmd)
			return
		case <-limit:
			_ = cmd.Process.Kill()
			<-ended
			t.Fatalf("it is neither ready nor has it given up:\n%s", said.String())
		case <-time.After(20 * time.Millisecond):
			ready = strings.Contains(said.String(), "try it")
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil && (w.gentle || mention(said.String(), path) == "") {
			t.Errorf("stopping: %v\n%s", err, said.String())
		}
	case <-time.After(60 * time.Second):
		_ = cmd.Process.Kill()
		t.Fatalf("it does not stop:\n%s", said.String())
	}
	enough(t, cmd)
	if strings.Contains(said.String(), "goroutine ") {
		t.Errorf("a stack:\n%s", said.String())
	}
	v, err := logtool.Verify(ring.NewLinux(), dir, logtool.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f.mends && w.gentle && v.Damaged() > 0 {
		t.Errorf("served, and did not mend it: %v\n%s", v.Problems, said.String())
	}
	t.Logf("served: %d problems left; %s", v.Damaged(), mention(said.String(), path))
}

// refusal: one sentence that names the file or its partition, and nothing changed.
func refusal(t *testing.T, dir, path string, before map[string]string, said string, status int) {
	t.Helper()
	line := mention(said, path)
	switch {
	case status == 0 || status > 125 || strings.Contains(said, "goroutine "):
		t.Errorf("status %d:\n%s", status, said)
	case line == "":
		t.Errorf("what it says does not name %s:\n%s", path, said)
	}
	after := statesOf(t, dir)
	for name, was := range before {
		if now := after[name]; now != was && !spentByStart(name) {
			t.Errorf("it refused (%s), and %s was %s and is %s", line, name, was, now)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok && !spentByStart(name) {
			t.Errorf("it refused (%s), and has made %s", line, name)
		}
	}
	t.Logf("refused: %s", line)
}

// spentByStart names what a start has used up by the time that it comes to the partitions: as in Kafka, an epoch of the metadata log, and the marker
// of a clean stop.
func spentByStart(name string) bool {
	return strings.HasPrefix(name, "__cluster_metadata-0/") || name == ".kafka_cleanshutdown"
}

// mention is the last line that has to do with a file: by its name, its directory's, or its partition's.
func mention(said, path string) (found string) {
	for line := range strings.Lines(said) {
		if strings.Contains(line, filepath.Base(path)) || strings.Contains(line, "slipstream: ") && strings.Contains(line, filepath.Base(filepath.Dir(path))) {
			found = strings.TrimSpace(line)
		}
	}
	return found
}

func enough(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && u.Maxrss > mostMemory {
		t.Errorf("it has taken %d KiB of memory", u.Maxrss)
	}
}

// lockedBuffer is written by a process and read meanwhile.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// reachable lets everybody through to a test's directory.
func reachable(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// statesOf is the size, mode and time of every file of a directory but the lock.
func statesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() == ".lock" {
			return err
		}
		info, err := e.Info()
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			all[rel] = fmt.Sprint(info.Size(), " ", info.Mode(), " ", info.ModTime())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
