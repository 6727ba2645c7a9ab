package ebpf

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// sqeAsync makes a worker of io_uring's take a request at once.
const sqeAsync = 1 << 4

// lane reads like a core's cold lane: through the ring, several steps at a time.
type lane struct {
	*rig
	ring   *ring.Ring
	blocks []byte
	flags  uint8  // of the SQE
	rw     uint32 // RWF_
}

const (
	stepBytes = 1 << 20
	laneDepth = 4
)

func newLane(r *rig) *lane {
	r.Helper()
	l, err := ring.New(ring.Linux{}, ring.Options{})
	if err != nil {
		r.Fatal(err)
	}
	blocks, err := unix.Mmap(-1, 0, laneDepth*stepBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if err := l.Close(); err != nil {
			r.Error(err)
		}
		unix.Munmap(blocks)
	})
	return &lane{rig: r, ring: l, blocks: blocks}
}

// step is a read of a lane: n bytes of a file for a reader.
type step struct {
	f            *os.File
	file, reader uint32
	off          int64
	n            int
}

// read makes all steps, laneDepth at a time, each in a slot of its own.
func (l *lane) read(steps []step) {
	l.Helper()
	var busy [laneDepth]bool
	inFlight, next := 0, 0
	cqes := make([]ring.CQE, laneDepth)
	for next < len(steps) || inFlight > 0 {
		for i := range busy {
			if busy[i] || next == len(steps) {
				continue
			}
			s := &steps[next]
			l.o.Begin(1+i, s.file, s.reader, s.off, s.n)
			e := l.ring.Get()
			e.PrepRead2(int(s.f.Fd()), unsafe.Pointer(&l.blocks[i*stepBytes]), uint32(s.n), uint64(s.off), l.rw)
			e.Flags |= l.flags
			e.UserData = uint64(next)<<8 | uint64(i)
			busy[i] = true
			inFlight++
			next++
		}
		if err := l.ring.Enter(1, 0); err != nil {
			l.Fatal(err)
		}
		for _, c := range cqes[:l.ring.Reap(cqes)] {
			i, s := int(c.UserData&0xff), &steps[c.UserData>>8]
			l.o.End(1+i, int(c.Res))
			if int(c.Res) != s.n {
				l.Fatalf("read %d of %d bytes at %d", c.Res, s.n, s.off)
			}
			busy[i] = false
			inFlight--
		}
	}
}

// steps cuts a file into steps.
func steps(f *os.File, file, reader uint32, bytes int) (all []step) {
	for off := 0; off < bytes; off += stepBytes {
		all = append(all, step{f, file, reader, int64(off), min(stepBytes, bytes-off)})
	}
	return all
}

// TestRingReads: what the ring's reads bring in is theirs, on whatever thread the
// kernel makes them, and with two readers of two files each has its own.
func TestRingReads(t *testing.T) {
	for name, flags := range map[string]uint8{"inline": 0, "on workers": sqeAsync} {
		t.Run(name, func(t *testing.T) {
			disks(t, func(t *testing.T, dir string) {
				r := look(t, "", Options{})
				l := newLane(r)
				l.flags = flags
				pages := uint64((segmentBytes + pageBytes - 1) / pageBytes)
				var all [2][]step
				for i, partition := range []string{"log-0", "log-1"} {
					f := logFile(t, filepath.Join(dir, partition), segmentBytes)
					drop(t, f)
					file, reader := r.o.File(int(f.Fd()), partition, segmentBytes), r.o.Reader(partition, "lag")
					all[i] = steps(f, file, reader, segmentBytes)
				}
				var both []step
				for i := range all[0] {
					both = append(both, all[0][i], all[1][i])
				}
				for round := range 2 {
					l.read(both)
					for _, partition := range []string{"log-0", "log-1"} {
						c := r.cell(partition, "lag")
						if c.DemandMisses+c.Readahead != pages || c.DemandMisses == 0 {
							t.Errorf("round %d of %s: %d pages: %+v", round, partition, pages, c)
						}
						if c.Lookups != uint64(round+1)*pages {
							t.Errorf("round %d of %s: %d lookups of %d pages", round, partition, c.Lookups, pages)
						}
						if own := r.cell(partition, ""); own != (Cell{Partition: partition, Drops: own.Drops}) {
							t.Errorf("round %d: and beside it %+v", round, own)
						}
					}
				}
			})
		})
	}
}

// TestTwoReadersOfOneFile: readers at two places of one file each have the pages
// of their own place, and what is read ahead belongs to the one behind it.
func TestTwoReadersOfOneFile(t *testing.T) {
	r := look(t, "", Options{})
	l := newLane(r)
	l.flags = sqeAsync
	const half = 32 << 20
	f := logFile(t, filepath.Join(t.TempDir(), "0.log"), 2*half)
	file := r.o.File(int(f.Fd()), "log-0", 2*half)
	first, second := r.o.Reader("log-0", "first"), r.o.Reader("log-0", "second")
	drop(t, f)
	var all []step
	for off := int64(0); off < half; off += stepBytes {
		all = append(all, step{f, file, first, off, stepBytes}, step{f, file, second, half + off, stepBytes})
	}
	l.read(all)
	pages := uint64(half / pageBytes)
	for _, client := range []string{"first", "second"} {
		c := r.cell("log-0", client)
		// Where the first ends and the second began, either may have brought pages in.
		if got := c.DemandMisses + c.Readahead; got < pages*9/10 || got > pages*11/10 || c.Lookups != pages {
			t.Errorf("%s read %d pages: %+v", client, pages, c)
		}
	}
	a, b := r.cell("log-0", "first"), r.cell("log-0", "second")
	if sum := a.DemandMisses + a.Readahead + b.DemandMisses + b.Readahead; sum != 2*pages {
		t.Errorf("%d pages were brought in, %d are counted", 2*pages, sum)
	}
}
