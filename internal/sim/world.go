package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"syscall"

	"slipstream/ring"
)

// Options shape a world. The zero value is a native kernel with everything drawn
// from the seed.
type Options struct {
	// Level is the kernel simulated: what a Linux 5.15 or 6.1 does not have is
	// refused as that kernel refuses it. LevelAuto is a recent one.
	Level ring.Level

	// MaxDelayNanos is the longest ordinary delay of a worker or of the network;
	// one in a hundred is up to 20 times as long. 0: 200 microseconds.
	MaxDelayNanos int64

	// SlowSyncNanos is how much longer an fsync may take, on a slow disk; 0: as long
	// as other work.
	SlowSyncNanos int64

	// SocketBufferBytes is the room of each direction of a connection. 0: drawn
	// for each connection, from 4 KiB to 256 KiB.
	SocketBufferBytes int

	// TinyReads makes sockets give and take as little as one byte at a time.
	TinyReads bool

	// Writes says how the ring writes files: WritesDrawn, WritesInline (XFS) or
	// WritesPunted (ext4: every buffered write is a worker's).
	Writes WritePolicy

	// Evictions says how much the page cache is pressed.
	Evictions EvictionPolicy

	// ReadErrors is how many of 10,000 ring reads of what is not in the page cache
	// fail with EIO.
	ReadErrors int

	// DiskBytes is the disk's capacity; 0: 1 TiB.
	DiskBytes int64

	// LooseNames makes fsync of a file keep the file's own name too, as ext4 and
	// XFS do in practice. Without it a name survives a power cut for certain only
	// after SyncDir, which is all that POSIX promises.
	LooseNames bool

	// MaxOpenFiles is RLIMIT_NOFILE; 0: 1 Mi.
	MaxOpenFiles int

	// WallNanos is CLOCK_REALTIME at the start; 0: 2026-01-01T00:00:00Z.
	WallNanos int64

	// TraceLines keeps that many of the latest events in readable form.
	TraceLines int
}

// WritePolicy is how the ring writes files.
type WritePolicy int

const (
	WritesDrawn  WritePolicy = iota // one of the others, or a mixture, by the seed
	WritesInline                    // while submitting
	WritesPunted                    // later, by a worker
)

const (
	defaultMaxDelayNanos = 200_000
	defaultDiskBytes     = 1 << 40
	defaultMaxOpenFiles  = 1 << 20
	defaultWallNanos     = 1_767_225_600_000_000_000
	bootNanos            = 10_000_000_000 // CLOCK_MONOTONIC at the start: programs must not take 0 for granted
)

// World is a simulated machine and what surrounds it. Its methods are called by
// one goroutine, the driver's.
type World struct {
	mu    sync.Mutex // the door may be called by another goroutine than the driver's; then runs do not repeat, but stay sound
	seed  uint64
	opts  Options
	draws draws
	clock clock
	trace trace
	disk  *disk
	net   *network

	kernel     *kernel
	boots      int
	puntWrites int  // of 100 ring writes, those that a worker does
	evictions  int  // of how many steps of the clock one evicts; 0: none
	dontCache  bool // the file system takes RWF_DONTCACHE
	fuse       int  // door calls until the machine stops; 0: none set
	fuseMode   CutMode
	fuseKills  bool
	violations []string

	faults []*plannedFault
	fired  []FiredFault
	owed   int64 // nanoseconds that blocking calls took because of them
}

// draws are independent generators, so that one more draw of one kind leaves the
// others as they were.
type draws struct {
	work, net, disk, random, schedule, cache *rand.Rand
}

// New makes a world with an empty disk and a running machine.
func New(seed uint64, o Options) *World {
	if o.MaxDelayNanos == 0 {
		o.MaxDelayNanos = defaultMaxDelayNanos
	}
	if o.DiskBytes == 0 {
		o.DiskBytes = defaultDiskBytes
	}
	if o.MaxOpenFiles == 0 {
		o.MaxOpenFiles = defaultMaxOpenFiles
	}
	if o.WallNanos == 0 {
		o.WallNanos = defaultWallNanos
	}
	if o.Level == ring.LevelAuto {
		o.Level = ring.LevelNative
	}
	generator := func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }
	w := &World{
		seed:  seed,
		opts:  o,
		draws: draws{work: generator(1), net: generator(2), disk: generator(3), random: generator(4), schedule: generator(5), cache: generator(6)},
		clock: clock{now: bootNanos, wallAhead: o.WallNanos - bootNanos},
		trace: newTrace(o.TraceLines),
	}
	switch o.Writes {
	case WritesInline:
		w.puntWrites = 0
	case WritesPunted:
		w.puntWrites = 100
	default:
		w.puntWrites = [...]int{0, 20, 100}[w.draws.work.IntN(3)]
	}
	policy := o.Evictions
	if policy == EvictionsDrawn {
		policy = 1 + EvictionPolicy(w.draws.cache.IntN(int(EvictionsOften)))
	}
	w.evictions = evictions[policy]
	w.dontCache = o.Level == ring.LevelNative && w.draws.cache.IntN(2) == 0
	w.disk = newDisk(w)
	w.net = newNetwork(w)
	w.boot()
	return w
}

// Seed is the seed that the world was made with.
func (w *World) Seed() uint64 { return w.seed }

// Kernel is the door of the running machine. After PowerCut or Kill it answers
// everything with an error, until Restart makes another.
func (w *World) Kernel() ring.Kernel { return w.kernel }

func (w *World) boot() {
	w.boots++
	w.kernel = newKernel(w)
}

// Restart starts the machine again over what is on its disk, and returns its
// kernel. Clients of the time before find their connections reset.
func (w *World) Restart() ring.Kernel {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.kernel.dead {
		panic("sim: Restart of a running machine: Kill or PowerCut it first")
	}
	w.note(traceWorld, "restart", int64(w.boots))
	w.boot()
	return w.kernel
}

// Kill ends the program at once (kill -9): files keep what was written, sockets
// are closed, what workers were doing is done, half done or not done.
func (w *World) Kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kill()
}

func (w *World) kill() {
	w.note(traceWorld, "kill", 0)
	w.kernel.stop()
	w.net.programGone()
	w.kernel.closeAll()
}

// PowerCut ends the machine at once: what was not made durable is kept, dropped or
// torn, as mode and the seed say.
func (w *World) PowerCut(mode CutMode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.powerCut(mode)
}

func (w *World) powerCut(mode CutMode) {
	w.note(traceWorld, "power cut", int64(mode))
	w.kernel.stop()
	w.net.machineGone()
	w.kernel.closeAll()
	w.disk.powerCut(mode)
}

// Crash is the panic with which the machine stops inside a call (see CrashAfter).
// A Driver recovers it.
type Crash struct{}

// CrashAfter stops the machine inside the calls-th call from now that reaches it
// (Enter, Now or Files), by Kill, or by PowerCut with mode. The call panics with
// [Crash]; if it writes, a part of it may have been written.
func (w *World) CrashAfter(calls int, kill bool, mode CutMode) {
	w.fuse, w.fuseKills, w.fuseMode = calls, kill, mode
}

// Down reports whether the machine was stopped and not restarted.
func (w *World) Down() bool { return w.kernel.dead }

// burn counts a call down and tells whether it is the one that the machine does
// not survive.
func (w *World) burn() bool {
	if w.fuse == 0 || w.kernel.dead {
		return false
	}
	w.fuse--
	return w.fuse == 0
}

// crash stops the machine and unwinds the program that runs on it.
func (w *World) crash() {
	if w.fuseKills {
		w.kill()
	} else {
		w.powerCut(w.fuseMode)
	}
	panic(Crash{})
}

// NextEvent is when the world next changes by itself, in CLOCK_MONOTONIC
// nanoseconds, or math.MaxInt64.
func (w *World) NextEvent() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock.next()
}

// Now is CLOCK_MONOTONIC.
func (w *World) Now() int64 { return w.clock.now }

// Elapsed is how long the world has been there, in nanoseconds.
func (w *World) Elapsed() int64 { return w.clock.now - bootNanos }

// ClientNews counts what clients have got to see: bytes, connections made, refused,
// ended and reset. While it stands still, looking at a Client again shows nothing new.
func (w *World) ClientNews() uint64 { return w.net.news }

// Advance moves the clock to a time and makes everything happen that is due by
// then. A time that has passed changes nothing but makes what is due happen.
func (w *World) Advance(to int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		e := w.clock.pop(to)
		if e == nil {
			break
		}
		w.clock.now = max(w.clock.now, e.at)
		e.run()
	}
	if to != math.MaxInt64 {
		w.clock.now = max(w.clock.now, to)
	}
	w.press()
	w.note(traceWorld, "advance", w.clock.now)
}

// Pending reports whether the machine has something for its program right away:
// completions to reap, deferred work or entries not yet submitted.
func (w *World) Pending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.kernel.pending()
}

// Violations are breaches of the kernel's rules that Linux would punish with a
// hang or a corruption instead of an error, each told once.
func (w *World) Violations() []string { return w.violations }

func (w *World) violate(format string, args ...any) {
	if len(w.violations) < 100 {
		w.violations = append(w.violations, fmt.Sprintf(format, args...))
	}
}

// delay draws how long something takes.
func (w *World) delay(r *rand.Rand) int64 {
	limit := w.opts.MaxDelayNanos
	if r.IntN(100) == 0 {
		limit *= 20
	}
	return 1 + r.Int64N(limit)
}

func (w *World) later(nanos int64, run func()) *event {
	return w.clock.add(w.clock.now+nanos, run)
}

// errnoOf is a result as the kernel returns it: a count, or minus an errno.
func errnoOf(e syscall.Errno) int32 { return -int32(e) }
