package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FaultKind is what goes wrong.
type FaultKind string

// Faults of a disk last for a while and hit operations on files that their Path is a
// part of; some happen once, at their time.
const (
	FaultReadError   FaultKind = "read-error"  // EIO for what is not in the page cache
	FaultWriteError  FaultKind = "write-error" // EIO from write(2), perhaps after a part
	FaultSyncError   FaultKind = "sync-error"  // writeback fails: pages are clean and not on the disk; told once per open file
	FaultNoSpace     FaultKind = "no-space"    // ENOSPC for what needs room
	FaultSlow        FaultKind = "slow"        // each operation takes By longer
	FaultWrongRead   FaultKind = "wrong-read"  // what comes into the page cache is another page, or has a wrong bit
	FaultWrongWrite  FaultKind = "wrong-write" // a power cut puts a page at another one's place
	FaultRot         FaultKind = "rot"         // once: a bit changes on the medium
	FaultClock       FaultKind = "clock"       // once: CLOCK_REALTIME jumps by By
	FaultReset       FaultKind = "reset"       // once: a connection is reset
	FaultHalfClose   FaultKind = "half-close"  // once: a client says that it will send no more
	FaultStall       FaultKind = "stall"       // a client stops reading
	FaultTiny        FaultKind = "tiny"        // sockets give and take a few bytes at a time
	FaultStorm       FaultKind = "storm"       // Count connections at once, which send little or nonsense
	FaultDescriptors FaultKind = "descriptors" // accept fails with EMFILE
)

// FaultKinds are all of them.
var FaultKinds = []FaultKind{
	FaultReadError, FaultWriteError, FaultSyncError, FaultNoSpace, FaultSlow, FaultWrongRead, FaultWrongWrite, FaultRot,
	FaultClock, FaultReset, FaultHalfClose, FaultStall, FaultTiny, FaultStorm, FaultDescriptors,
}

// Fault is one entry of a plan. Times are nanoseconds, counted from the world's start.
type Fault struct {
	ID    int // names it, and seeds what it draws: taking out another entry does not change it
	Kind  FaultKind
	Path  string // a part of the path of the files that it is about; "": any
	From  int64
	For   int64
	Skip  int   // of the operations that it would hit, how many it lets pass first
	Count int   // how many it hits; 0: all, or, of what happens once, one
	By    int64 // slow, clock: how much
}

// String is what ParseFault reads.
func (f Fault) String() string {
	s := fmt.Sprintf("%s,id=%d,from=%v", f.Kind, f.ID, time.Duration(f.From))
	if f.For != 0 {
		s += fmt.Sprintf(",for=%v", time.Duration(f.For))
	}
	if f.Path != "" {
		s += ",path=" + f.Path
	}
	if f.Skip != 0 {
		s += fmt.Sprint(",skip=", f.Skip)
	}
	if f.Count != 0 {
		s += fmt.Sprint(",count=", f.Count)
	}
	if f.By != 0 {
		s += fmt.Sprintf(",by=%v", time.Duration(f.By))
	}
	return s
}

// ParseFault reads a fault as String writes it.
func ParseFault(text string) (f Fault, err error) {
	fields := strings.Split(text, ",")
	f.Kind = FaultKind(fields[0])
	if !slices.Contains(FaultKinds, f.Kind) {
		return f, fmt.Errorf("%q is no kind of fault: there are %v", fields[0], FaultKinds)
	}
	for _, field := range fields[1:] {
		key, value, _ := strings.Cut(field, "=")
		var d time.Duration
		switch key {
		case "id":
			f.ID, err = strconv.Atoi(value)
		case "path":
			f.Path = value
		case "skip":
			f.Skip, err = strconv.Atoi(value)
		case "count":
			f.Count, err = strconv.Atoi(value)
		case "from", "for", "by":
			d, err = time.ParseDuration(value)
			*map[string]*int64{"from": &f.From, "for": &f.For, "by": &f.By}[key] = int64(d)
		default:
			err = fmt.Errorf("%q is not known", key)
		}
		if err != nil {
			return f, fmt.Errorf("fault %q: %w", text, err)
		}
	}
	return f, nil
}

// once tells whether the fault is an event, not a time in which operations are hit.
func (f *Fault) once() bool {
	switch f.Kind {
	case FaultRot, FaultClock, FaultReset, FaultHalfClose, FaultStall, FaultStorm:
		return true
	}
	return false
}

// FiredFault is a fault that has happened, to a file if it is one of the disk.
type FiredFault struct {
	Fault Fault
	Path  string
	At    int64 // CLOCK_MONOTONIC
}

// plannedFault is an entry of the plan in force.
type plannedFault struct {
	Fault
	rand    *rand.Rand
	matched int
	told    map[string]int // by path: in which boot it was told last
}

// Plan sets what will go wrong. It is called once, before time passes.
func (w *World) Plan(plan []Fault) {
	for _, f := range plan {
		p := &plannedFault{Fault: f, rand: rand.New(rand.NewPCG(w.seed, 1000+uint64(f.ID))), told: map[string]int{}}
		w.faults = append(w.faults, p)
		if f.once() {
			w.clock.add(bootNanos+f.From, func() { w.happen(p) })
		}
	}
}

// Fired are the faults that have happened so far, in order: one that hits a file more
// than once is told once for each life of the machine.
func (w *World) Fired() []FiredFault { return w.fired }

func (w *World) fire(p *plannedFault, path string) {
	w.note(traceWorld, "fault "+string(p.Kind)+" "+path, int64(p.ID))
	if p.told[path] != w.boots {
		p.told[path] = w.boots
		w.fired = append(w.fired, FiredFault{p.Fault, path, w.clock.now})
	}
}

// inForce tells whether the fault's time is now.
func (p *plannedFault) inForce(w *World) bool {
	t := w.clock.now - bootNanos
	return t >= p.From && t < p.From+p.For
}

// hits looks for a fault of a kind that hits an operation on path.
func (w *World) hits(kind FaultKind, path string) *plannedFault {
	for _, p := range w.faults {
		if p.Kind != kind || !p.inForce(w) || !strings.Contains(path, p.Path) {
			continue
		}
		p.matched++
		if p.matched <= p.Skip || p.Count > 0 && p.matched > p.Skip+p.Count {
			continue
		}
		w.fire(p, path)
		return p
	}
	return nil
}

// slowness is how much longer an operation on path takes.
func (w *World) slowness(path string) int64 {
	if p := w.hits(FaultSlow, path); p != nil {
		return p.By
	}
	return 0
}

// owe makes whoever is inside a blocking call wait: the driver sees to it.
func (w *World) owe(path string) { w.owed += w.slowness(path) }

// TakeOwed is how long the calls made since it was last asked for have blocked.
func (w *World) TakeOwed() int64 {
	owed := w.owed
	w.owed = 0
	return owed
}

// happen carries out a fault that happens once.
func (w *World) happen(p *plannedFault) {
	switch p.Kind {
	case FaultRot:
		w.disk.rot(p)
	case FaultClock:
		w.clock.wallAhead += p.By
		w.fire(p, "")
	case FaultStorm:
		w.net.storm(p)
	default:
		w.net.trouble(p)
	}
}

// rot changes a bit on the medium. Who has the page in the cache does not see it yet.
func (d *disk) rot(p *plannedFault) {
	var files []*inode
	for _, ino := range d.files {
		if len(ino.durable) > 0 && strings.Contains(ino.path, p.Path) {
			files = append(files, ino)
		}
	}
	if len(files) == 0 {
		return
	}
	ino := files[p.rand.IntN(len(files))]
	i := p.rand.IntN(len(ino.durable))
	old := ino.durablePage(i)
	if old == nil {
		return
	}
	room := min(int64(pageBytes), ino.durableSize-int64(i)*pageBytes)
	if room <= 0 {
		return
	}
	rotten := *old
	rotten[p.rand.Int64N(room)] ^= 1 << p.rand.IntN(8)
	if ino.page(i) == old && !ino.cached.has(i) {
		ino.pages[i] = &rotten
	}
	ino.durable[i] = &rotten
	d.w.fire(p, ino.path)
}

// fetchIn reads into the cache what is not there yet of n bytes at off.
func (ino *inode) fetchIn(off int64, n int) syscall.Errno {
	w := ino.disk.w
	end := min(off+int64(n), ino.size)
	if len(w.faults) > 0 && off >= 0 {
		for i := int(off / pageBytes); int64(i)*pageBytes < end; i++ {
			if ino.cached.has(i) {
				continue
			}
			if w.hits(FaultReadError, ino.path) != nil {
				return unix.EIO
			}
			if p := w.hits(FaultWrongRead, ino.path); p != nil {
				ino.misread(p, i)
			}
		}
	}
	ino.bringIn(off, n)
	return 0
}

// misread makes page i in the cache what it is not: another page of the file, or the
// page with a wrong bit.
func (ino *inode) misread(p *plannedFault, i int) {
	wrong := new(page)
	if pg := ino.page(i); pg != nil {
		*wrong = *pg
	}
	if other := ino.page(p.rand.IntN(len(ino.pages) + 1)); other != nil && p.rand.IntN(2) == 0 {
		*wrong = *other
	} else {
		wrong[p.rand.IntN(pageBytes)] ^= 1 << p.rand.IntN(8)
	}
	if i < len(ino.pages) && !ino.dirty[i] {
		ino.pages[i] = wrong
	}
}

// forgetPage: page i left the cache, and with it what only the cache had: a page whose
// writeback failed, or that was read wrong.
func (ino *inode) forgetPage(i int) {
	if i < len(ino.pages) && ino.pages[i] != ino.durablePage(i) {
		ino.pages[i] = ino.durablePage(i)
	}
}

// writebackFails tells whether writeback of the file fails now, and keeps the error for
// the fsyncs of all who have the file open.
func (ino *inode) writebackFails() bool {
	w := ino.disk.w
	if len(w.faults) == 0 || w.hits(FaultSyncError, ino.path) == nil {
		return false
	}
	ino.failures++
	ino.failureSeen = false
	return true
}

// losePages is what a failed writeback does: the pages are clean, and some of them are
// not on the disk.
func (ino *inode) losePages(list []int) {
	r := ino.disk.w.draws.disk
	for k, i := range list {
		if k > 0 && r.IntN(2) == 0 {
			ino.clean(i)
			continue
		}
		delete(ino.dirty, i)
	}
}

// reported is the error that an fsync of f has to tell, once.
func (f *file) reported(ino *inode) syscall.Errno {
	if f.failures == ino.failures {
		return 0
	}
	f.failures = ino.failures
	ino.failureSeen = true
	return unix.EIO
}

// misdirected tells where a page goes that a power cut puts at another one's place.
func (ino *inode) misdirected(pages []*page) (at int, ok bool) {
	w := ino.disk.w
	if len(w.faults) == 0 || len(pages) == 0 {
		return 0, false
	}
	p := w.hits(FaultWrongWrite, ino.path)
	if p == nil {
		return 0, false
	}
	return p.rand.IntN(len(pages)), true
}
