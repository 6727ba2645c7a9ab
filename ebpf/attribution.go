package ebpf

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"slipstream/reactor"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Options bound what is kept. Zero fields take their defaults.
type Options struct {
	Files    int // log files observed at a time; 65536, of 40 bytes each
	Cells    int // pairs of a partition and a client (each partition has one of its own too); 16384, of 64 bytes
	Clients  int // clients counted by name per partition; 64
	Culprits int // pairs of a victim and its culprit; 8192, of 100 bytes
	// TailBytes is how far from the end of a log its pages are taken to be wanted
	// by tail readers; 8 MiB.
	TailBytes int64
}

func (o Options) withDefaults() Options {
	set := func(field *int, value int) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&o.Files, 1<<16)
	set(&o.Cells, 1<<14)
	set(&o.Clients, 64)
	set(&o.Culprits, 1<<13)
	o.Cells = min(o.Cells, cellMask)
	if o.TailBytes <= 0 {
		o.TailBytes = 8 << 20
	}
	return o
}

// Attribution is the programs, attached, and what they share with the cores. One
// is enough for a machine: each counts its own process's logs only.
type Attribution struct {
	options  Options
	pageBits uint // of the page size

	maps          *ebpf.Collection
	programs      map[string]*ebpf.Program // those loaded
	links         []link.Link
	identity      *ebpf.Program // nil: descriptors are looked up with fstat
	mode          string
	types         *btf.Spec // a test's; nil: the running kernel's
	missing       []string
	refused       error // of the probe that is missing
	seesEvictions bool

	// Memory shared with the programs. Cores write theirs; the rest is atomic.
	cores    []pagecacheCore
	logFiles []pagecacheLogFile
	cells    []pagecacheCell
	state    *pagecacheShared
	found    *pagecacheIdentity
	mapped   [][]byte

	// generations tell a reader's number from that of the cell's next owner.
	generations []atomic.Uint32
	names       []atomic.Pointer[cellName] // nil: the cell is free
	growing     []atomic.Uint32            // by a partition's cell: the file that is appended to
	observers   []*observer

	mu       sync.Mutex // of what follows, and of found
	registry registry
	inodes   inodes

	snapshots sync.Mutex // one at a time
	sweep     sweep
}

// probes are the tracepoints, with their programs in order of preference: one that
// the verifier knows the arguments of, and one that it does not.
var probes = []struct {
	tracepoint string
	programs   [2]string
	missing    string // without it
}{
	{"mm_filemap_add_to_page_cache", [2]string{pagecacheProgAddedTyped, pagecacheProgAddedRaw}, "demand misses, readahead, write inserts, foreign inserts"},
	{"mm_filemap_delete_from_page_cache", [2]string{pagecacheProgDeletedTyped, pagecacheProgDeletedRaw}, "evictions, drops"},
}

// modes are how programs are attached, as probes has them.
var modes = [2]string{"tp_btf", "raw_tp"}

// New loads and attaches the programs for a broker of so many cores. When only one
// of the two probes can be had, Missing says what is not counted. An error is a
// *Refusal, which explains what to do.
func New(cores int, options Options) (*Attribution, error) {
	return load(cores, options, attach)
}

// load is New with a way to attach, which tests make fail.
func load(cores int, options Options, attach attacher) (*Attribution, error) {
	return loadFor(nil, cores, options, attach)
}

// loadFor is load for a kernel with other types.
func loadFor(types *btf.Spec, cores int, options Options, attach attacher) (*Attribution, error) {
	a := &Attribution{options: options.withDefaults(), types: types}
	for 1<<a.pageBits < os.Getpagesize() {
		a.pageBits++
	}
	a.registry.init(a.options)
	a.inodes.init(a.options)
	if err := a.open(cores, attach); err != nil {
		a.Close()
		return nil, explain(err)
	}
	debug.FreeOSMemory() // the kernel's types, read: megabytes that are never needed again
	return a, nil
}

func (a *Attribution) open(cores int, attach attacher) error {
	spec, err := loadPagecache()
	if err != nil {
		return err
	}
	for name, n := range map[string]int{
		pagecacheMapCores: cores, pagecacheMapThreads: 2 * cores, pagecacheMapInodes: a.options.Files,
		pagecacheMapLogFiles: a.options.Files, pagecacheMapCells: a.options.Cells, pagecacheMapEvictions: a.options.Culprits,
	} {
		spec.Maps[name].MaxEntries = uint32(n)
	}
	maps := spec.Copy()
	maps.Programs = nil
	if a.maps, err = ebpf.NewCollection(maps); err != nil {
		return err
	}
	if err := a.share(cores); err != nil {
		return err
	}
	// Together they load in a third of the time, which goes to reading the kernel's
	// types; one by one when the kernel refuses any.
	a.programs = map[string]*ebpf.Program{}
	_ = a.load(spec, pagecacheProgIdentify, pagecacheProgAddedTyped, pagecacheProgDeletedTyped)
	_ = a.load(spec, pagecacheProgIdentify)
	a.identity = a.programs[pagecacheProgIdentify]
	who := a.whoAmI(-1)
	a.state.Tgid, a.state.TailPages = who.Tgid, uint64(a.options.TailBytes)>>a.pageBits
	var refusals []error
	for _, p := range probes {
		if err := a.attach(spec, p.programs, p.tracepoint, attach); err != nil {
			a.missing = append(a.missing, p.missing)
			refusals = append(refusals, fmt.Errorf("%s: %w", p.tracepoint, err))
		}
	}
	a.refused = errors.Join(refusals...)
	if len(refusals) == len(probes) {
		return refusals[0]
	}
	a.seesEvictions = len(a.missing) == 0 || a.missing[0] != probes[1].missing
	return nil
}

// share maps the arrays.
func (a *Attribution) share(cores int) (err error) {
	get := func(name string, bytes uintptr) unsafe.Pointer {
		if err != nil {
			return nil
		}
		page := uintptr(os.Getpagesize())
		var memory []byte
		memory, err = unix.Mmap(a.maps.Maps[name].FD(), 0, int((bytes+page-1)&^(page-1)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			err = fmt.Errorf("map the array %s: %w", name, err)
			return nil
		}
		a.mapped = append(a.mapped, memory)
		return unsafe.Pointer(&memory[0])
	}
	a.cores = unsafe.Slice((*pagecacheCore)(get(pagecacheMapCores, uintptr(cores)*unsafe.Sizeof(pagecacheCore{}))), cores)
	a.logFiles = unsafe.Slice((*pagecacheLogFile)(get(pagecacheMapLogFiles, uintptr(a.options.Files)*unsafe.Sizeof(pagecacheLogFile{}))), a.options.Files)
	a.cells = unsafe.Slice((*pagecacheCell)(get(pagecacheMapCells, uintptr(a.options.Cells)*unsafe.Sizeof(pagecacheCell{}))), a.options.Cells)
	a.state = (*pagecacheShared)(get(pagecacheMapState, unsafe.Sizeof(pagecacheShared{})))
	a.found = (*pagecacheIdentity)(get(pagecacheMapIdentities, unsafe.Sizeof(pagecacheIdentity{})))
	if err != nil {
		return err
	}
	a.generations = make([]atomic.Uint32, a.options.Cells)
	a.names = make([]atomic.Pointer[cellName], a.options.Cells)
	a.growing = make([]atomic.Uint32, a.options.Cells)
	for i := range cores {
		a.observers = append(a.observers, &observer{a: a, core: i, shared: &a.cores[i], lookups: make([]uint64, a.options.Cells)})
	}
	return nil
}

// load loads programs onto the maps that there are, all or none.
func (a *Attribution) load(spec *ebpf.CollectionSpec, names ...string) error {
	some := spec.Copy()
	options := ebpf.CollectionOptions{MapReplacements: a.maps.Maps}
	options.Programs.KernelTypes = a.types
	for name := range some.Programs {
		if a.programs[name] != nil || !slices.Contains(names, name) {
			delete(some.Programs, name)
		}
	}
	if len(some.Programs) == 0 {
		return nil
	}
	c, err := ebpf.NewCollectionWithOptions(some, options)
	if err != nil {
		return err
	}
	defer c.Close()
	for name := range some.Programs {
		a.programs[name] = c.DetachProgram(name)
	}
	return nil
}

// attacher attaches a program to a tracepoint.
type attacher func(p *ebpf.Program, mode, tracepoint string) (link.Link, error)

func attach(p *ebpf.Program, mode, tracepoint string) (link.Link, error) {
	if mode == "tp_btf" {
		return link.AttachTracing(link.TracingOptions{Program: p})
	}
	return link.AttachRawTracepoint(link.RawTracepointOptions{Name: tracepoint, Program: p})
}

// attach attaches the first of the programs that the kernel takes.
func (a *Attribution) attach(spec *ebpf.CollectionSpec, programs [2]string, tracepoint string, attach attacher) error {
	var errs []error
	for i, name := range programs {
		err := a.load(spec, name)
		if err == nil {
			var l link.Link
			if l, err = attach(a.programs[name], modes[i], tracepoint); err == nil {
				a.links = append(a.links, l)
				a.mode = modes[i]
				return nil
			}
		}
		errs = append(errs, fmt.Errorf("%s: %w", modes[i], err))
	}
	return errors.Join(errs...)
}

// Observer is the observer of a core, from 0. All calls come on one thread.
func (a *Attribution) Observer(core int) reactor.CacheObserver {
	return a.observers[core]
}

// Missing names the figures that are not counted because a probe could not be
// attached, and why; nothing is missing when err is nil.
func (a *Attribution) Missing() (figures []string, err error) {
	if a.refused == nil {
		return nil, nil
	}
	return a.missing, explain(a.refused)
}

// Mode is how the programs are attached: "tp_btf" or "raw_tp".
func (a *Attribution) Mode() string { return a.mode }

// Close takes the programs away. No core may use its observer any more.
func (a *Attribution) Close() {
	for _, l := range a.links {
		l.Close()
	}
	for _, p := range a.programs {
		p.Close()
	}
	if a.maps != nil {
		a.maps.Close()
	}
	for _, m := range a.mapped {
		unix.Munmap(m)
	}
	*a = Attribution{}
}
