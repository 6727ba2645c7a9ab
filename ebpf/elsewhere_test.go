package ebpf

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOverlay: the inodes of an overlay are not those that the page cache knows,
// and containers' data directories may lie on one.
func TestOverlay(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	base, at := t.TempDir(), t.TempDir()
	for _, d := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	logFile(t, filepath.Join(base, "lower", "below"), segmentBytes).Close()
	options := "lowerdir=" + base + "/lower,upperdir=" + base + "/upper,workdir=" + base + "/work"
	if err := unix.Mount("overlay", at, "overlay", 0, options); err != nil {
		t.Skip("no overlays here: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	logFile(t, filepath.Join(at, "above"), segmentBytes).Close()
	for _, name := range []string{"above", "below"} {
		f, err := os.Open(filepath.Join(at, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r := look(t, "", Options{})
		if r.a.identity == nil {
			t.Fatal("the program that knows inodes is not there")
		}
		file, reader := r.o.File(int(f.Fd()), "log-0", segmentBytes), r.o.Reader("log-0", "client")
		drop(t, f)
		r.read(f, file, reader, 0, 0, segmentBytes, 1<<20)
		if c, pages := r.cell("log-0", "client"), uint64((segmentBytes+pageBytes-1)/pageBytes); c.DemandMisses+c.Readahead != pages {
			t.Errorf("%s: %d pages were read: %+v", name, pages, c)
		}
	}
}

// inNamespace says, in a process that TestInContainer started, that it is that.
const inNamespace = "SLIPSTREAM_TEST_NAMESPACE"

// TestInContainer: in a namespace of processes of its own, where the broker is
// process 1 and its threads have other ids than the kernel's.
func TestInContainer(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		if os.Getuid() != 0 {
			t.Skip("a namespace of processes needs root")
		}
		_, err := load(1, Options{}, attach)
		need(t, err)
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "-test.run=^TestInContainer$", "-test.v")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		t.Logf("in it:\n%s", out)
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestInContainer")) {
			t.Fatal(err)
		}
		return
	}
	if os.Getpid() != 1 {
		t.Fatalf("this is process %d", os.Getpid())
	}
	r := look(t, "", Options{})
	f := logFile(t, filepath.Join(t.TempDir(), "0.log"), segmentBytes)
	pages := uint64((segmentBytes + pageBytes - 1) / pageBytes)
	file, reader := r.o.File(int(f.Fd()), "log-0", segmentBytes), r.o.Reader("log-0", "client")
	drop(t, f)
	r.read(f, file, reader, 0, 0, segmentBytes, 1<<20)
	drop(t, f)
	cat(r, f)
	c, own := r.cell("log-0", "client"), r.cell("log-0", "")
	if c.DemandMisses+c.Readahead != pages || own.ForeignInserts != pages || own.Drops < pages {
		t.Errorf("%d pages were read, dropped, and read by cat: %+v, %+v", pages, c, own)
	}
	if core, err := threadCore(r); err != nil || core != 0 {
		t.Errorf("the thread is not known as core 0's: %d, %v", core, err)
	}
}

// threadCore is the core that the programs take this thread for.
func threadCore(r *rig) (core uint32, err error) {
	err = r.a.maps.Maps[pagecacheMapThreads].Lookup(r.a.whoAmI(-1).Tid, &core)
	return core, err
}

// TestWithTwoCapabilities: CAP_BPF and CAP_PERFMON are enough, and no memory needs
// to be locked.
func TestWithTwoCapabilities(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("running as another user needs root")
	}
	a, err := load(1, Options{}, attach)
	need(t, err)
	a.Close()
	const nobody, capPerfmon, capBPF = 65534, 38, 39
	dir := t.TempDir()
	program := filepath.Join(dir, "ebpf.test")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", self, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	work := filepath.Join(dir, "of-nobody")
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755), os.Mkdir(work, 0o700), os.Chown(work, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		has  []uintptr
		want string
	}{
		"both":        {[]uintptr{capPerfmon, capBPF}, "--- PASS: TestColdThenHot"},
		"CAP_BPF":     {[]uintptr{capBPF}, "without CAP_PERFMON"},
		"CAP_PERFMON": {[]uintptr{capPerfmon}, "without CAP_BPF"},
		"none":        {nil, "without CAP_BPF and CAP_PERFMON"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("/bin/sh", "-c", `ulimit -l 0 && exec "$@"`, "sh", program, "-test.v", "-test.run=^TestColdThenHot$/./^tmp$")
			cmd.Env = append(os.Environ(), "TMPDIR="+work)
			cmd.Dir = work
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, AmbientCaps: c.has}
			out, err := cmd.CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte(c.want)) {
				t.Errorf("%v, no %q in\n%s", err, c.want, out)
			}
		})
	}
}
