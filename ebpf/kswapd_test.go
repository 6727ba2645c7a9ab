package ebpf

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestKswapd: what the kernel's own thread takes is put down to whoever inserts at
// the time. It makes the whole machine short of memory, so it runs only where the
// machine is the test's own.
func TestKswapd(t *testing.T) {
	if !ownMachine() {
		t.Skip("needs a machine of its own (SLIPSTREAM_TEST_GUEST=1)")
	}
	const hotBytes, coldBytes = 24 << 20, 200 << 20
	dir := t.TempDir()
	hot, cold := logFile(t, filepath.Join(dir, "hot"), hotBytes), logFile(t, filepath.Join(dir, "cold"), coldBytes)
	drop(t, cold)
	drop(t, hot)
	memory, err := unix.Mmap(-1, 0, int(kib(t, "/proc/meminfo", "MemAvailable:")<<10-160<<20), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	r := look(t, "", Options{})
	file := r.o.File(int(hot.Fd()), "hot-0", hotBytes)
	other := r.o.File(int(cold.Fd()), "cold-0", coldBytes)
	r.read(hot, file, r.o.Reader("hot-0", "tail"), 0, 0, hotBytes, 1<<20)
	before, stolen := uint64(resident(t, hot))+r.cell("hot-0", "").Evictions, kib(t, "/proc/vmstat", "pgsteal_kswapd ")
	for i := 0; i < 3 && resident(t, hot) > 1000; i++ {
		r.read(cold, other, r.o.Reader("cold-0", "lag"), 1, 0, coldBytes, 1<<20)
	}
	stolen = kib(t, "/proc/vmstat", "pgsteal_kswapd ") - stolen
	went := before - uint64(resident(t, hot))
	by, cell := r.evictions("hot-0"), r.cell("hot-0", "")
	t.Logf("%d pages went, by culprit %v; kswapd took %d in all", went, by, stolen)
	if went < 1000 || stolen < 1000 {
		t.Errorf("%d pages went, kswapd took %d: this test shows nothing", went, stolen)
	}
	if !within(cell.Evictions, went) || by["cold-0 lag"] < went*9/10 {
		t.Errorf("%d pages went, %d evictions were counted, by culprit %v", went, cell.Evictions, by)
	}
}

// kib is a figure of a file of names and figures.
func kib(t *testing.T, file, name string) (n int64) {
	t.Helper()
	_, after, _ := strings.Cut("\n"+string(readFile(t, file)), "\n"+name)
	if _, err := fmt.Sscan(after, &n); err != nil {
		t.Fatalf("%s of %s: %v", name, file, err)
	}
	return n
}
