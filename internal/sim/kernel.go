package sim

import (
	"math/bits"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// kernel is a running machine's: descriptors and rings. It ends with the machine;
// what outlives it is in the World.
type kernel struct {
	w          *World
	dead       bool
	table      []*file // by descriptor
	rings      []*uring
	registered []*uring // by the index that REGISTER_RING_FDS gave
}

var _ ring.Kernel = (*kernel)(nil)

// firstFD: 0 to 2 are the program's standard descriptors.
const firstFD = 3

func newKernel(w *World) *kernel { return &kernel{w: w, table: make([]*file, firstFD)} }

// enter begins a call: it takes the world, and answers whether the machine is up.
func (k *kernel) begin() bool {
	k.w.mu.Lock()
	return !k.dead
}

func (k *kernel) end() { k.w.mu.Unlock() }

// mayCrash stops the machine if this is the call that it does not survive.
func (k *kernel) mayCrash() {
	if k.w.burn() {
		k.w.crash()
	}
}

// stop makes every call from now on an error, and ends what is under way.
func (k *kernel) stop() {
	k.dead = true
	for _, u := range k.rings {
		u.die()
	}
}

// closeAll closes every descriptor, as the end of a program does.
func (k *kernel) closeAll() {
	for fd, f := range k.table {
		if f != nil {
			k.table[fd] = nil
			f.unref()
		}
	}
	k.rings = nil
}

// Setup is io_uring_setup(2). The ring is ordinary memory.
func (k *kernel) Setup(entries uint32, p *ring.Params) (*ring.Mapping, error) {
	if !k.begin() {
		defer k.end()
		return nil, syscall.EIO
	}
	defer k.end()
	if errno := k.checkSetup(&entries, p); errno != 0 {
		k.w.note(traceCall, "setup", int64(entries), int64(p.Flags), -int64(errno))
		return nil, errno
	}
	p.SQEntries = 1 << bits.Len32(entries-1)
	p.Features = k.features()
	u := newUring(k, p)
	fd, errno := k.install(&file{k: k, obj: u})
	if errno != 0 {
		return nil, errno
	}
	u.mapping.FD = fd
	k.rings = append(k.rings, u)
	k.w.note(traceCall, "setup", int64(p.SQEntries), int64(p.CQEntries), int64(p.Flags), int64(fd))
	return u.mapping, nil
}

const (
	maxSQEntries = 32768
	maxCQEntries = 2 * maxSQEntries
)

func (k *kernel) checkSetup(entries *uint32, p *ring.Params) syscall.Errno {
	known := ring.SetupCQSize | ring.SetupClamp | ring.SetupRDisabled
	if k.has(ring.Level61) {
		known |= ring.SetupSubmitAll | ring.SetupCoopTaskrun | ring.SetupTaskrunFlag | ring.SetupSingleIssuer | ring.SetupDeferTaskrun
	}
	if k.has(ring.LevelNative) {
		known |= ring.SetupNoSQArray
	}
	flags := p.Flags
	switch {
	case flags&^known != 0,
		flags&ring.SetupDeferTaskrun != 0 && flags&ring.SetupSingleIssuer == 0,
		flags&ring.SetupTaskrunFlag != 0 && flags&(ring.SetupCoopTaskrun|ring.SetupDeferTaskrun) == 0,
		*entries == 0:
		return unix.EINVAL
	}
	if *entries > maxSQEntries {
		if flags&ring.SetupClamp == 0 {
			return unix.EINVAL
		}
		*entries = maxSQEntries
	}
	sq := uint32(1) << bits.Len32(*entries-1)
	if flags&ring.SetupCQSize == 0 {
		p.CQEntries = 2 * sq
		return 0
	}
	if p.CQEntries == 0 {
		return unix.EINVAL
	}
	if p.CQEntries > maxCQEntries {
		if flags&ring.SetupClamp == 0 {
			return unix.EINVAL
		}
		p.CQEntries = maxCQEntries
	}
	p.CQEntries = 1 << bits.Len32(p.CQEntries-1)
	if p.CQEntries < sq {
		return unix.EINVAL
	}
	return 0
}

// has tells whether the simulated kernel has the features of a level.
func (k *kernel) has(l ring.Level) bool { return k.w.opts.Level >= l }

func (k *kernel) features() uint32 {
	f := ring.FeatSingleMmap | ring.FeatNoDrop | ring.FeatSubmitStable | ring.FeatRWCurPos | ring.FeatFastPoll |
		ring.FeatPoll32Bits | ring.FeatExtArg | ring.FeatNativeWorkers | ring.FeatRsrcTags
	if k.has(ring.Level61) {
		f |= ring.FeatCQESkip | ring.FeatLinkedFile
	}
	if k.has(ring.LevelNative) {
		f |= ring.FeatMinTimeout | ring.FeatNoIOWait
	}
	return f
}

// lastOpcode is the highest that a kernel of the level has.
func (k *kernel) lastOpcode() uint8 {
	switch {
	case k.has(ring.LevelNative):
		return ring.OpLast - 1
	case k.has(ring.Level61):
		return ring.OpSendmsgZC
	}
	return ring.OpLinkat
}

// Teardown unmaps and closes. What is in flight on the ring is a breach: Linux
// would go on writing to memory that is given back.
func (k *kernel) Teardown(m *ring.Mapping) {
	defer k.end()
	if !k.begin() {
		return
	}
	u := m.Owner.(*uring)
	if n := u.unfinished(); n > 0 {
		k.w.violate("ring %d torn down with %d requests in flight, the first an %s of descriptor %d", m.FD, n, opName(u.first.sqe.Opcode), u.first.sqe.FD)
	}
	k.w.note(traceCall, "teardown", int64(m.FD))
	k.close(m.FD)
}

// Eventfd is eventfd(2).
func (k *kernel) Eventfd() (int, error) {
	defer k.end()
	if !k.begin() {
		return -1, syscall.EIO
	}
	fd, errno := k.install(&file{k: k, obj: &counter{}})
	k.w.note(traceCall, "eventfd", int64(fd))
	if errno != 0 {
		return -1, errno
	}
	return fd, nil
}

// Signal adds 1 to a counter.
func (k *kernel) Signal(fd int) {
	defer k.end()
	if !k.begin() {
		return
	}
	k.w.note(traceCall, "signal", int64(fd))
	f := k.file(fd)
	if f == nil {
		k.w.violate("Signal of descriptor %d, which is not open", fd)
		return
	}
	if c, ok := f.obj.(*counter); ok {
		c.value++
		f.wake(unix.POLLIN)
		return
	}
	k.w.violate("Signal of descriptor %d, which is no eventfd", fd)
}

// Monotonic is the world's clock.
func (k *kernel) Monotonic() int64 { return k.w.clock.now }

// Wall is the world's clock as CLOCK_REALTIME.
func (k *kernel) Wall() int64 { return k.w.clock.now + k.w.clock.wallAhead }

// Random fills p from the seed.
func (k *kernel) Random(p []byte) {
	defer k.end()
	k.begin()
	for i := range p {
		p[i] = byte(k.w.draws.random.Uint32())
	}
	k.w.note(traceCall, "random", int64(len(p)))
}

// pending is World.Pending.
func (k *kernel) pending() bool {
	for _, u := range k.rings {
		if m := u.mapping; u.hasNews() || load(m.SQTail) != load(m.SQHead) {
			return true
		}
	}
	return false
}

// Listen opens a listener.
func (k *kernel) Listen(addr netip.AddrPort, backlog int, shared bool) (int, netip.AddrPort, error) {
	defer k.end()
	if !k.begin() {
		return -1, netip.AddrPort{}, syscall.EIO
	}
	l, errno := k.w.net.listen(addr, backlog, shared)
	if errno != 0 {
		k.w.note(traceCall, "listen", int64(addr.Port()), -int64(errno))
		return -1, netip.AddrPort{}, errno
	}
	fd, errno := k.install(l.file)
	if errno != 0 {
		l.file.unref()
		return -1, netip.AddrPort{}, errno
	}
	k.w.note(traceCall, "listen", int64(l.addr.Port()), int64(fd))
	return fd, l.addr, nil
}

// PeerAddress is getpeername(2).
func (k *kernel) PeerAddress(fd int) netip.AddrPort {
	defer k.end()
	if !k.begin() {
		return netip.AddrPort{}
	}
	if f := k.file(fd); f != nil {
		if s, ok := f.obj.(*socket); ok && s.connected() {
			return s.peer
		}
	}
	return netip.AddrPort{}
}

// SetNoDelay is checked and has no effect: every send leaves at once here.
func (k *kernel) SetNoDelay(fd int) syscall.Errno {
	defer k.end()
	if !k.begin() {
		return unix.EIO
	}
	f := k.file(fd)
	if f == nil {
		return unix.EBADF
	}
	switch f.obj.(type) {
	case *socket, *listener:
		return 0
	}
	return unix.ENOTSOCK
}

// Register is io_uring_register(2).
func (k *kernel) Register(fd int, opcode uint32, arg unsafe.Pointer, n uint32) (int, syscall.Errno) {
	defer k.end()
	if !k.begin() {
		return 0, unix.EIO
	}
	f := k.file(fd)
	if f == nil {
		return 0, unix.EBADF
	}
	u, ok := f.obj.(*uring)
	if !ok {
		return 0, unix.EOPNOTSUPP
	}
	result, errno := u.register(opcode, arg, n)
	k.w.note(traceCall, "register", int64(fd), int64(opcode), int64(result), -int64(errno))
	return result, errno
}
