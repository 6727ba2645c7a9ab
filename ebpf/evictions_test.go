package ebpf

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inCgroup says, in a process that inSmallMemory started, that it is that.
const inCgroup = "SLIPSTREAM_TEST_CGROUP"

const memoryLimit = 96 << 20

// staleReclaim is pagecache.c's STALE.
const staleReclaim = 100 * time.Millisecond

// inSmallMemory runs the calling test once more, in a process of a memory cgroup
// of its own. It returns true in that process, false after it has ended.
func inSmallMemory(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inCgroup) != "" {
		return true
	}
	dir, file := memoryCgroup(t)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("memory cgroups cannot be made here: ", err)
	}
	t.Cleanup(func() {
		for range 100 { // what is charged to it goes with it, by and by
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, file), fmt.Append(nil, memoryLimit), 0); err != nil {
		t.Skip("memory cgroups have no limit here: ", err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, dir, program, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), inCgroup+"="+dir)
	out, err := cmd.CombinedOutput()
	t.Logf("in %s:\n%s", dir, out)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skip("skipped in there")
	}
	return false
}

// memoryCgroup is a name for a cgroup, and the name of the file with its limit.
func memoryCgroup(t *testing.T) (dir, limit string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a memory cgroup needs root")
	}
	name := fmt.Sprintf("slipstream-test-%d", os.Getpid())
	if text, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil && strings.Contains(string(text), "memory") {
		os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0)
		return filepath.Join("/sys/fs/cgroup", name), "memory.max"
	}
	if exists("/sys/fs/cgroup/memory/memory.limit_in_bytes") {
		return filepath.Join("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes"
	}
	t.Skip("no memory cgroups here")
	return "", ""
}

// TestCulprits: in a memory cgroup that is too small for two logs, what pushes the
// pages of one out is what brings in the other's: reads of a client, appends,
// another process, or memory of the broker's own.
func TestCulprits(t *testing.T) {
	if !inSmallMemory(t) {
		return
	}
	t.Run("tmp", func(t *testing.T) { culprits(t, t.TempDir()) })
	if !ownMachine() {
		t.Run("xfs", func(t *testing.T) { culprits(t, loopMount(t, "xfs")) })
	}
}

func culprits(t *testing.T, dir string) {
	const hotBytes, coldBytes = 24 << 20, 128 << 20
	hot := logFile(t, filepath.Join(dir, "hot"), hotBytes)
	cold := logFile(t, filepath.Join(dir, "cold"), coldBytes)
	for _, c := range []struct {
		name, culprit string
		run           func(r *rig, file uint32)
		cold          bool // the tail's pages go for cold reads
	}{
		{"a client's cold reads", "cold-0 lag", func(r *rig, file uint32) {
			r.read(cold, file, r.o.Reader("cold-0", "lag"), 1, 0, coldBytes, 1<<20)
		}, true},
		{"a client's reads on the core", "cold-0 lag", func(r *rig, file uint32) {
			r.read(cold, file, r.o.Reader("cold-0", "lag"), 0, 0, coldBytes, 1<<20)
		}, false},
		{"appends", "log-0", func(r *rig, _ uint32) { appendAll(r, filepath.Join(dir, "log"), coldBytes) }, false},
		{"another process", "cat", func(r *rig, _ uint32) { cat(r, cold) }, false},
		{"the broker's own memory", "ebpf.test", func(r *rig, _ uint32) {
			for all := resident(r, hot); resident(r, hot) > all/2; {
				memory, err := unix.Mmap(-1, 0, 2<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
				if err != nil {
					r.Fatal(err)
				}
				defer unix.Munmap(memory)
			}
			time.Sleep(2 * staleReclaim)
			other := logFile(r, filepath.Join(dir, "no-log"), 4<<20) // an insert follows it
			other.Close()
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := look(t, "", Options{TailBytes: 2 * hotBytes})
			drop(t, cold)
			drop(t, hot)
			file := r.o.File(int(hot.Fd()), "hot-0", hotBytes)
			r.o.Extent(file, hotBytes)
			other := r.o.File(int(cold.Fd()), "cold-0", coldBytes)
			r.read(hot, file, r.o.Reader("hot-0", "tail"), 0, 0, hotBytes, 1<<20)
			before := uint64(resident(t, hot)) + r.cell("hot-0", "").Evictions
			c.run(r, other)
			went := before - uint64(resident(t, hot))
			by := r.evictions("hot-0")
			sum := uint64(0)
			for n := range maps.Values(by) {
				sum += n
			}
			cell := r.cell("hot-0", "")
			t.Logf("%d pages of %d went, by culprit %v", went, hotBytes/pageBytes, by)
			if went < 1000 {
				t.Errorf("only %d pages went: this test shows nothing", went)
			}
			if !within(cell.Evictions, went) || sum != cell.Evictions {
				t.Errorf("%d pages went, %d evictions were counted, %d of them with a culprit", went, cell.Evictions, sum)
			}
			if by[c.culprit] < sum*9/10 {
				t.Errorf("of %d evictions only %d are blamed on %q: %v", sum, by[c.culprit], c.culprit, by)
			}
			byCold, others, seen := r.o.TailEvictions()
			// Appends push out some of their own log's end too.
			if rest := sum - by[""]; !seen || byCold+others < rest || c.culprit != "log-0" && byCold+others != rest || c.cold && byCold < sum*9/10 || !c.cold && byCold > sum/10 {
				t.Errorf("of %d pages near the log's end %d went for cold reads, %d for others", rest, byCold, others)
			}
		})
	}
}

// appendAll appends to a log, as a broker does.
func appendAll(r *rig, path string, bytes int) {
	f := logFile(r, path, 0)
	defer os.Remove(path)
	file := r.o.File(int(f.Fd()), "log-0", 0)
	batch := make([]byte, 1<<20)
	for n := 0; n < bytes; n += len(batch) {
		if _, err := f.Write(batch); err != nil {
			r.Fatal(err)
		}
		r.o.Extent(file, int64(n+len(batch)))
	}
}
