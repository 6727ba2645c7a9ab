package ebpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

var pageBytes = os.Getpagesize()

// rig is one attribution, looked at from core 0 on the test's own thread.
type rig struct {
	*testing.T
	a *Attribution
	o *observer
}

// look attaches the programs, in one of the modes ("" is the best there is).
func look(t *testing.T, mode string, options Options) *rig {
	t.Helper()
	a, err := load(2, options, only(mode))
	need(t, err)
	if missing, err := a.Missing(); err != nil {
		t.Fatalf("without %v: %v", missing, err)
	}
	if mode != "" && a.Mode() != mode {
		t.Fatalf("attached by %s, wanted %s", a.Mode(), mode)
	}
	runtime.LockOSThread()
	t.Cleanup(func() {
		runtime.UnlockOSThread()
		a.Close()
	})
	return &rig{t, a, a.observers[0]}
}

// only attaches in one mode.
func only(mode string) attacher {
	return func(p *ebpf.Program, m, tracepoint string) (link.Link, error) {
		if mode != "" && m != mode {
			return nil, errors.New("not this time")
		}
		return attach(p, m, tracepoint)
	}
}

// need ends the test when there is no BPF to be had: with a skip where a process
// may not have it (no capability, a container's filter, a kernel without types),
// with a failure where it must work.
func need(t testing.TB, err error) {
	t.Helper()
	var r *Refusal
	switch {
	case err == nil:
	case errors.As(err, &r) && (len(r.Capabilities) > 0 || r.Seccomp || r.TypesMissing || r.Unprivileged == ""):
		t.Skip(err)
	default:
		var v *ebpf.VerifierError
		if errors.As(err, &v) {
			t.Logf("%-40v", v)
		}
		t.Fatal(err)
	}
}

// cell is what was counted for a client's reads of a partition so far.
func (r *rig) cell(partition, client string) Cell {
	r.Helper()
	for _, c := range r.a.Snapshot().Cells {
		if c.Partition == partition && c.Client == client {
			return c
		}
	}
	r.Fatalf("nothing is counted for %q of %q", client, partition)
	return Cell{}
}

// logFile makes a file of so many bytes and opens it. Its pages are in the cache
// and clean.
func logFile(t testing.TB, path string, bytes int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	chunk := make([]byte, 1<<20)
	for done := 0; done < bytes; done += len(chunk) {
		if _, err := f.Write(chunk[:min(len(chunk), bytes-done)]); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return f
}

// drop takes a file out of the page cache and makes sure that it is.
func drop(t testing.TB, f *os.File) {
	t.Helper()
	for range 100 { // pages on their way to a CPU's list stay
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			t.Fatal(err)
		}
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if resident(t, f) == 0 {
			return
		}
	}
	t.Fatalf("%d pages of %s stay in the cache", resident(t, f), f.Name())
}

// resident is how many of a file's pages are in the cache, as mincore(2) says.
func resident(t testing.TB, f *os.File) (pages int) {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() == 0 {
		return 0
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	vec := make([]byte, (len(memory)+pageBytes-1)/pageBytes)
	if _, _, errno := syscall.Syscall(unix.SYS_MINCORE, uintptr(addressOf(memory)), uintptr(len(memory)), uintptr(addressOf(vec))); errno != 0 {
		t.Fatal(errno)
	}
	for _, b := range vec {
		pages += int(b & 1)
	}
	return pages
}

// read reads a file for a reader, in chunks, as a core does on its own thread.
func (r *rig) read(f *os.File, file, reader uint32, slot, from, to, chunk int) {
	r.Helper()
	buf := make([]byte, chunk)
	for off := from; off < to; off += chunk {
		n := min(chunk, to-off)
		r.o.Begin(slot, file, reader, int64(off), n)
		got, err := unix.Pread(int(f.Fd()), buf[:n], int64(off))
		r.o.End(slot, got)
		if err != nil || got != n {
			r.Fatalf("read %d of %d bytes at %d: %v", got, n, off, err)
		}
	}
}

// ownMachine says whether the machine is the tests' own, as internal/kernels' are.
func ownMachine() bool { return os.Getenv("SLIPSTREAM_TEST_GUEST") != "" }

// disks are the file systems that the proofs are made on.
func disks(t *testing.T, each func(t *testing.T, dir string)) {
	t.Run("tmp", func(t *testing.T) { each(t, t.TempDir()) })
	if ownMachine() {
		return // internal/kernels/run.sh gives it one file system after the other
	}
	for _, fs := range []string{"ext4", "xfs"} {
		t.Run(fs, func(t *testing.T) { each(t, loopMount(t, fs)) })
	}
}

// mounts are file systems in files, by type, made once. They are not in the tree
// any more: what holds them is this process, and nothing of them outlives it.
var mounts = map[string]*os.File{}

// loopMount is an empty directory of a file system of its own.
func loopMount(t *testing.T, fs string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a loop file system needs root")
	}
	if !exists("/dev/loop-control") {
		t.Skip("no loop devices")
	}
	if mounts[fs] == nil {
		mounts[fs] = mount(t, fs)
	}
	// By the process: a child has other descriptors.
	dir, err := os.MkdirTemp(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), mounts[fs].Fd()), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func mount(t *testing.T, fs string) *os.File {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs." + fs)
	if err != nil {
		if mkfs = "/sbin/mkfs." + fs; !exists(mkfs) {
			t.Skip("no mkfs." + fs)
		}
	}
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "at")
	if err := errors.Join(os.Mkdir(at, 0o755), os.WriteFile(image, nil, 0o600), os.Truncate(image, 512<<20)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{mkfs, "-q", image}, {"mount", "-o", "loop", image, at}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	held, err := os.Open(at)
	if detached := unix.Unmount(at, unix.MNT_DETACH); err != nil || detached != nil {
		t.Fatal(err, detached)
	}
	return held
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// readBytes is what this process has had read from devices.
func readBytes(t testing.TB) (bytes int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\nread_bytes: ")
	if _, err := fmt.Sscan(after, &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes
}

// within says whether two figures differ by at most one in a hundred.
func within(x, y uint64) bool {
	return max(x, y)-min(x, y) <= max(x, y)/100
}

// evictions are a victim's, by culprit: "partition client" or "process".
func (r *rig) evictions(victim string) map[string]uint64 {
	all := map[string]uint64{}
	for _, e := range r.a.Snapshot().Evictions {
		if e.Victim == victim {
			process, _, _ := strings.Cut(e.CulpritProcess, "/")
			all[strings.TrimSpace(strings.Join(slices.DeleteFunc([]string{e.CulpritPartition, e.CulpritClient, process}, func(s string) bool { return s == "" }), " "))] += e.Pages
		}
	}
	return all
}

// detach takes the programs off their tracepoints; reattach puts them back.
func (r *rig) detach() {
	r.Helper()
	for _, l := range r.a.links {
		if err := l.Close(); err != nil {
			r.Fatal(err)
		}
	}
	r.a.links = nil
}

func (r *rig) reattach() {
	r.Helper()
	for i, probe := range probes {
		program := probe.programs[slices.Index(modes[:], r.a.mode)]
		l, err := attach(r.a.programs[program], r.a.mode, probes[i].tracepoint)
		if err != nil {
			r.Fatal(err)
		}
		r.a.links = append(r.a.links, l)
	}
}
