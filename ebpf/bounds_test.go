package ebpf

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// TestFull: what there is no room for is counted together, and how much of that
// there was is counted too.
func TestFull(t *testing.T) {
	r := look(t, "", Options{Files: 3, Cells: 6, Clients: 2, Culprits: 1})
	const bytes = 1 << 20
	pages := uint64(bytes / pageBytes)
	dir := t.TempDir()
	for i, observed := range []bool{true, true, false, false} { // number 0 is nobody's
		f := logFile(t, filepath.Join(dir, fmt.Sprint(i)), bytes)
		drop(t, f)
		file := r.o.File(int(f.Fd()), "log-0", bytes)
		if (file != 0) != observed {
			t.Fatalf("file %d got the number %d", i, file)
		}
		r.read(f, file, r.o.Reader("log-0", fmt.Sprint("client ", i)), 0, 0, bytes, bytes)
	}
	s := r.a.Snapshot()
	if s.Counters.FilesRefused != 2 || s.Counters.ReadersRefused != 2 {
		t.Errorf("%+v", s.Counters)
	}
	for i, want := range []uint64{pages, pages} {
		if c := r.cell("log-0", fmt.Sprint("client ", i)); c.Lookups != want || c.DemandMisses+c.Readahead != want {
			t.Errorf("%d pages were read: %+v", want, c)
		}
	}
	for _, name := range []string{"log-1", "log-2", "log-3", "log-4"} { // 3 cells are taken, and one is for the rest
		r.o.Reader(name, "client")
	}
	if c := r.a.Snapshot().Counters; c.ReadersRefused <= 2 {
		t.Errorf("six cells are enough for five partitions: %+v", c)
	}
}

// TestCulpritsFull: evictions are counted when there is no room for their culprit.
func TestCulpritsFull(t *testing.T) {
	r := look(t, "", Options{Culprits: 1})
	const bytes = 1 << 20
	dir := t.TempDir()
	var went [3]uint64
	for i := range went {
		f := logFile(t, filepath.Join(dir, fmt.Sprint(i)), bytes)
		r.o.File(int(f.Fd()), fmt.Sprint("log-", i), bytes)
		before := resident(t, f)
		dropByAnother(r, f)
		went[i] = uint64(before - resident(t, f))
	}
	s := r.a.Snapshot()
	if want := went[1] + went[2]; s.Counters.CulpritsRefused != want || want == 0 {
		t.Errorf("%d pages went without room for their culprit: %+v", want, s.Counters)
	}
	if len(s.Evictions) != 3 || !strings.HasPrefix(s.Evictions[0].CulpritProcess, "dd/") || s.Evictions[1] != (Eviction{Victim: "log-1", Pages: went[1]}) {
		t.Errorf("%v went: %+v", went, s.Evictions)
	}
}

// TestOneProbeFails: without one of the probes its figures are missing, which is
// said, and the others are there.
func TestOneProbeFails(t *testing.T) {
	refuse := errors.New("refused for this test")
	for i, probe := range probes {
		t.Run(probe.tracepoint, func(t *testing.T) {
			a, err := load(1, Options{}, func(p *ebpf.Program, mode, tracepoint string) (link.Link, error) {
				if tracepoint == probe.tracepoint {
					return nil, refuse
				}
				return attach(p, mode, tracepoint)
			})
			need(t, err)
			defer a.Close()
			missing, err := a.Missing()
			if !errors.Is(err, refuse) || len(missing) != 1 || missing[0] != probe.missing || !strings.Contains(err.Error(), refuse.Error()) {
				t.Errorf("missing %q: %v", missing, err)
			}
			r := &rig{t, a, a.observers[0]}
			f := logFile(t, filepath.Join(t.TempDir(), "0.log"), 1<<20)
			pages := uint64(1 << 20 / pageBytes)
			drop(t, f)
			file, reader := r.o.File(int(f.Fd()), "log-0", 1<<20), r.o.Reader("log-0", "client")
			r.read(f, file, reader, 0, 0, 1<<20, 1<<16)
			drop(t, f)
			client, own := r.cell("log-0", "client"), r.cell("log-0", "")
			_, _, seen := r.o.TailEvictions()
			if inserts := client.DemandMisses + client.Readahead; client.Lookups != pages || inserts != pages*uint64(i) || own.Drops != pages*uint64(1-i) || seen != (i == 0) {
				t.Errorf("without %s: %+v, %+v, evictions seen: %t", probe.tracepoint, client, own, seen)
			}
		})
	}
	t.Run("both", func(t *testing.T) {
		_, err := load(1, Options{}, func(*ebpf.Program, string, string) (link.Link, error) { return nil, refuse })
		var r *Refusal
		if !errors.As(err, &r) || !errors.Is(err, refuse) && len(r.Capabilities) == 0 {
			t.Errorf("%v", err)
		}
	})
}

// TestCellsAreUsedAgain: the cells of clients that have not read for long go to
// others when there are not enough, with nothing lost from the sums.
func TestCellsAreUsedAgain(t *testing.T) {
	r := look(t, "", Options{Clients: 3})
	f := logFile(t, filepath.Join(t.TempDir(), "0.log"), 1<<20)
	pages := uint64(1 << 20 / pageBytes)
	file := r.o.File(int(f.Fd()), "log-0", 1<<20)
	numbers := map[string]uint32{}
	for _, client := range []string{"a", "b", "c"} {
		numbers[client] = r.o.Reader("log-0", client)
		r.read(f, file, numbers[client], 0, 0, 1<<20, 1<<20)
	}
	sweep := func(after time.Duration) {
		r.a.Snapshot()
		r.a.sweep.run(r.a, r.a.readCells(), nil, time.Now().Add(after))
	}
	sweep(idleCell / 2)
	if n := r.o.Reader("log-0", "d"); n != 0 {
		t.Errorf("a fourth client got the number %d", n)
	}
	r.read(f, file, numbers["b"], 0, 0, 1<<20, 1<<20)
	sweep(idleCell - time.Minute) // b has read since
	sweep(idleCell + time.Minute)
	d := r.o.Reader("log-0", "d")
	if d == 0 || d&cellMask == numbers["b"]&cellMask {
		t.Fatalf("d got the number %d, b had %d", d, numbers["b"])
	}
	r.read(f, file, numbers["a"], 0, 0, 1<<20, 1<<20) // a comes back with a number of old
	r.read(f, file, d, 0, 0, 1<<20, 1<<20)
	want := map[string]uint64{"b": 2 * pages, "d": pages, "": pages}
	sum := uint64(0)
	for _, c := range r.a.Snapshot().Cells {
		sum += c.Lookups
		if c.Partition == "log-0" && c.Lookups != want[c.Client] {
			t.Errorf("%+v, want %d", c, want[c.Client])
		}
	}
	if sum != 6*pages {
		t.Errorf("%d lookups in all, want %d", sum, 6*pages)
	}
}

// TestPartitionsGo: the cell of a partition whose files are all gone is used again.
func TestPartitionsGo(t *testing.T) {
	r := look(t, "", Options{Cells: 4})
	dir := t.TempDir()
	for i := range 40 {
		f := logFile(t, filepath.Join(dir, fmt.Sprint(i)), pageBytes)
		file := r.o.File(int(f.Fd()), fmt.Sprint("log-", i), int64(pageBytes))
		if file == 0 {
			t.Fatal("no number")
		}
		if r.a.registry.partitions[fmt.Sprint("log-", i)] == nil {
			t.Fatalf("partition %d got no cell", i)
		}
		r.o.Forget(file)
		f.Close()
		r.a.Snapshot()
		r.a.sweep.run(r.a, r.a.readCells(), nil, time.Now().Add(time.Duration(i+2)*idleCell))
	}
}

// TestAgainstAModel: files and readers come and go at random; numbers are unique
// among those in use, and stay what they are.
func TestAgainstAModel(t *testing.T) {
	r := look(t, "", Options{Files: 64, Cells: 32, Clients: 4})
	random := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	live := map[string]uint32{}
	for range 2000 {
		name := fmt.Sprint(random.IntN(40))
		if file, ok := live[name]; ok && random.IntN(3) == 0 {
			r.o.Forget(file)
			delete(live, name)
			removeFile(t, filepath.Join(dir, name))
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		file := r.o.File(int(f.Fd()), "log-"+name, 1)
		f.Close()
		if was, ok := live[name]; ok && was != file {
			t.Fatalf("%s was %d and is %d", name, was, file)
		}
		if file != 0 {
			live[name] = file
		}
		r.o.Reader("log-"+name, fmt.Sprint(random.IntN(8)))
	}
	seen := map[uint32]string{}
	for name, file := range live {
		if other, ok := seen[file]; ok {
			t.Errorf("%s and %s have the number %d", name, other, file)
		}
		seen[file] = name
	}
	if len(live) < 10 {
		t.Errorf("only %d files are observed", len(live))
	}
}

// TestSnapshotBesideCores: cores read and name files and readers while somebody
// looks at the figures, and nothing is lost.
func TestSnapshotBesideCores(t *testing.T) {
	r := look(t, "", Options{})
	const bytes, rounds = 64 << 10, 300
	dir := t.TempDir()
	var running sync.WaitGroup
	for core, o := range r.a.observers {
		f := logFile(t, filepath.Join(dir, fmt.Sprint(core)), bytes)
		running.Go(func() {
			runtime.LockOSThread() // and ends with the goroutine
			for i := range rounds {
				file := o.File(int(f.Fd()), "log-0", bytes)
				reader := o.Reader("log-0", fmt.Sprint("client ", i%10))
				o.Begin(1+i%15, file, reader, 0, bytes)
				o.End(1+i%15, bytes)
				o.Extent(file, bytes)
				o.TailEvictions()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	for looking := true; looking; {
		select {
		case <-done:
			looking = false
		default:
			r.a.Snapshot()
		}
	}
	sum := uint64(0)
	for _, c := range r.a.Snapshot().Cells {
		sum += c.Lookups
	}
	if want := uint64(2 * rounds * bytes / pageBytes); sum != want {
		t.Errorf("%d lookups, want %d", sum, want)
	}
}
