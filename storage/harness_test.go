package storage

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// faults is a kernel that fails on demand. Its switches may be set from any goroutine.
type faults struct {
	ring.Kernel
	mu sync.Mutex
	// failWrite is asked before each WriteNow: how many bytes to take, and with what error. Nil: all.
	failWrite func(fd int, n int, off int64) (int, syscall.Errno)
	failFiles func(op, path string) error // nil: nothing fails
	// resident is asked before each ReadNowait how many of n bytes are in the page cache. Nil: the kernel is.
	resident func(fd int, n int, off int64) int
	paths    map[int]string
	wall     int64 // nanoseconds; 0: the real clock
}

func newFaults() *faults { return &faults{Kernel: ring.NewLinux(), paths: map[int]string{}} }

func (f *faults) set(change func(f *faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faults) fail(op, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failFiles == nil {
		return nil
	}
	return f.failFiles(op, path)
}

func (f *faults) pathOf(fd int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.paths[fd]
}

func (f *faults) Wall() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wall != 0 {
		return f.wall
	}
	return f.Kernel.Wall()
}

func (f *faults) Open(path string, flags int, mode uint32) (int, error) {
	if err := f.fail("open", path); err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	fd, err := f.Kernel.Open(path, flags, mode)
	f.set(func(f *faults) { f.paths[fd] = path })
	return fd, err
}

func (f *faults) Sync(fd int) error {
	if err := f.fail("sync", f.pathOf(fd)); err != nil {
		return err
	}
	return f.Kernel.Sync(fd)
}

func (f *faults) WriteBack(fd int, off, n int64, wait bool) error {
	if err := f.fail("write back", f.pathOf(fd)); err != nil {
		return err
	}
	return f.Kernel.WriteBack(fd, off, n, wait)
}

func (f *faults) Rename(from, to string) error {
	if err := f.fail("rename", from); err != nil {
		return err
	}
	return f.Kernel.Rename(from, to)
}

func (f *faults) SyncDir(path string) error {
	if err := f.fail("syncdir", path); err != nil {
		return err
	}
	return f.Kernel.SyncDir(path)
}

func (f *faults) Truncate(fd int, size int64) error {
	if err := f.fail("truncate", f.pathOf(fd)); err != nil {
		return err
	}
	return f.Kernel.Truncate(fd, size)
}

func (f *faults) Allocate(fd int, off, n int64) error {
	if err := f.fail("allocate", f.pathOf(fd)); err != nil {
		return err
	}
	return f.Kernel.Allocate(fd, off, n)
}

func (f *faults) WriteNow(fd int, iovs []unix.Iovec, off int64) (int, syscall.Errno) {
	f.mu.Lock()
	fail := f.failWrite
	f.mu.Unlock()
	if fail == nil {
		return f.Kernel.WriteNow(fd, iovs, off)
	}
	total := 0
	for _, v := range iovs {
		total += int(v.Len)
	}
	n, errno := fail(fd, total, off)
	if n >= total {
		return f.Kernel.WriteNow(fd, iovs, off)
	}
	var some []unix.Iovec
	for _, v := range iovs {
		take := min(n, int(v.Len))
		if take == 0 {
			break
		}
		v.SetLen(take)
		some = append(some, v)
		n -= take
	}
	if len(some) == 0 {
		return 0, errno
	}
	done, _ := f.Kernel.WriteNow(fd, some, off)
	if errno != 0 {
		return 0, errno
	}
	return done, 0
}

func (f *faults) ReadNowait(fd int, p []byte, off int64) (int, syscall.Errno) {
	f.mu.Lock()
	resident := f.resident
	f.mu.Unlock()
	if resident == nil {
		return f.Kernel.ReadNowait(fd, p, off)
	}
	n := resident(fd, len(p), off)
	if n == 0 {
		return 0, syscall.EAGAIN
	}
	return f.Kernel.ReadNow(fd, p[:n], off)
}

// rig is a core with a store, turned by the test.
type rig struct {
	t      testing.TB
	kernel *faults
	core   *reactor.Core
	store  *Store
	blocks []*reactor.Block
	notes  []string

	helpers holder
}

// holder works in place, but keeps lookups until the test lets them go.
type holder struct {
	hold bool
	held []func()
}

// Submit implements reactor.Helpers.
func (h *holder) Submit(c *reactor.Core, j reactor.Job) bool {
	work := func() { c.CompleteJob(j.Work(c.Kernel)) }
	if _, lookup := j.(*Lookup); lookup && h.hold {
		h.held = append(h.held, work)
	} else {
		work()
	}
	return true
}

// letGo does what was kept.
func (h *holder) letGo() {
	for _, work := range h.held {
		work()
	}
	h.hold, h.held = false, nil
}

type storeService struct{ r *rig }

func (s storeService) Opened(*reactor.Conn)                         {}
func (s storeService) Request(*reactor.Request) reactor.Disposition { panic("no requests here") }
func (s storeService) Closed(*reactor.Conn)                         {}
func (s storeService) EndTurn(*reactor.Core)                        { s.r.store.Flush() }

// newRig starts a core on the test's thread.
func newRig(t testing.TB, o StoreOptions) *rig {
	t.Helper()
	return newRigOn(t, newFaults(), o)
}

func newRigOn(t testing.TB, k *faults, o StoreOptions) *rig {
	t.Helper()
	return newRigWith(t, k, o, nil)
}

func newRigWith(t testing.TB, k *faults, o StoreOptions, observer reactor.CacheObserver) *rig {
	t.Helper()
	return newRigOver(t, k, k, o, observer)
}

// newRigOver starts a core over a kernel that hands on to k.
func newRigOver(t testing.TB, over ring.Kernel, k *faults, o StoreOptions, observer reactor.CacheObserver) *rig {
	t.Helper()
	runtime.LockOSThread()
	r := &rig{t: t, kernel: k}
	r.core = reactor.NewCore(reactor.Config{Kernel: over, Helpers: &r.helpers, Observer: observer, Limits: reactor.Limits{ArenaBytes: 256 << 20}}, storeService{r})
	o.Note = func(m string) { r.notes = append(r.notes, m) }
	r.store = NewStore(r.core, o)
	if err := r.core.Start(); err != nil {
		t.Skipf("io_uring is missing: %v", err)
	}
	t.Cleanup(func() {
		r.core.Ring.Close()
		runtime.UnlockOSThread()
	})
	return r
}

// writers runs a test with each writer.
func writers(t *testing.T, f func(t *testing.T, o StoreOptions)) {
	for _, w := range []Writer{WriterInline, WriterRing} {
		t.Run(w.String(), func(t *testing.T) { f(t, StoreOptions{Writer: w}) })
	}
}

// until turns the core until cond holds.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	began := time.Now()
	for i := 0; !cond(); i++ {
		if i > 100 {
			time.Sleep(20 * time.Microsecond)
		}
		if time.Since(began) > 20*time.Second {
			r.t.Fatalf("it did not happen: %s (notes: %q)", what, r.notes)
		}
		r.core.Turn(false)
	}
}

func (r *rig) turns(n int) {
	for range n {
		r.core.Turn(false)
	}
}

// memory puts b where the kernel may read it.
func (r *rig) memory(b []byte) protocol.Batch {
	block := r.core.Arena.Alloc(len(b))
	if block == nil {
		r.t.Fatal("the arena is full")
	}
	copy(block.Bytes(), b)
	r.blocks = append(r.blocks, block)
	return protocol.Batch(block.Bytes())
}

// appending is an append of a test.
type appending struct {
	Append
	answered int
	log      *[]*appending
}

func (a *appending) Appended(*Append) {
	a.answered++
	if a.log != nil {
		*a.log = append(*a.log, a)
	}
}

// begin queues a batch.
func (r *rig) begin(p *Partition, b []byte) *appending {
	a := &appending{}
	a.Batch, a.Owner = r.memory(b), a
	p.Append(&a.Append)
	return a
}

// append appends a batch and waits for the answer.
func (r *rig) append(p *Partition, b []byte) *appending {
	r.t.Helper()
	a := r.begin(p, b)
	r.until("the append is answered", func() bool { return a.answered > 0 })
	return a
}

// must appends and expects it to go well.
func (r *rig) must(p *Partition, b []byte) int64 {
	r.t.Helper()
	a := r.append(p, b)
	if a.Err != protocol.NONE {
		r.t.Fatalf("append: %v %s (notes: %q)", a.Err, a.Message, r.notes)
	}
	return a.BaseOffset
}

// create makes a partition and adopts it.
func (r *rig) create(dir string, cfg Config) *Partition {
	r.t.Helper()
	p, err := Create(r.kernel, dir, TopicPartition{Topic: "events", TopicID: protocol.UUID{1, 2, 3}}, cfg, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.store.Adopt(p)
	return p
}

// open opens a partition and adopts it.
func (r *rig) open(dir string, cfg Config, o OpenOptions) (*Partition, RecoveryReport) {
	r.t.Helper()
	p, report, err := Open(r.kernel, dir, cfg, o)
	if err != nil {
		r.t.Fatalf("open: %v", err)
	}
	r.store.Adopt(p)
	return p, report
}

// survey waits until all closed segments are known.
func (r *rig) survey(p *Partition) {
	r.t.Helper()
	surveyed := false
	p.Survey(func() { surveyed = true })
	r.until("the log is surveyed", func() bool { return surveyed })
}

// plan is Plan and, where that takes one, the lookup.
func (r *rig) plan(p *Partition, offset int64, limit int, atLeastOne bool) (Range, protocol.ErrorCode) {
	r.t.Helper()
	q := Query{Offset: offset, MaxBytes: limit, AtLeastOne: atLeastOne}
	got, l, code := p.Plan(q, nil)
	for l != nil {
		r.until("a lookup is done", l.Done)
		got, l, code = p.Plan(q, l)
	}
	return got, code
}

// close closes the store and returns what went wrong.
func (r *rig) close() (errs []error) {
	r.t.Helper()
	closed := false
	r.store.Close(func(e []error) { closed, errs = true, e })
	r.until("the store is closed", func() bool { return closed })
	return errs
}

// spec describes a batch for a test.
type spec struct {
	records   int
	value     int // bytes of each
	timestamp int64
	producer  int64 // 0: none
	epoch     int16
	sequence  int32
	attrs     int16
	key       string // of each record; empty: null
}

func (s spec) batch() []byte {
	info := protocol.NewBatchInfo(0, 0)
	info.Attributes = s.attrs
	if s.producer != 0 {
		info.ProducerID, info.ProducerEpoch, info.BaseSequence = s.producer, s.epoch, s.sequence
	}
	var b protocol.Builder
	b.Begin(nil, info)
	value := []byte(strings.Repeat("v", s.value))
	for range max(s.records, 1) {
		r := protocol.Record{Timestamp: s.timestamp, Value: value}
		if s.key != "" {
			r.Key = []byte(s.key)
		}
		b.Append(&r)
	}
	buf, _ := b.Finish()
	return buf
}

// listDir is names and sizes of a directory.
func listDir(t testing.TB, dir string) map[string]int64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]int64{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		m[e.Name()] = info.Size()
	}
	return m
}

func names(m map[string]int64) []string {
	var n []string
	for name := range m {
		n = append(n, name)
	}
	sort.Strings(n)
	return n
}

func mustRead(t testing.TB, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustWrite(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// copyDir copies a directory of files.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for name := range listDir(t, from) {
		mustWrite(t, filepath.Join(to, name), mustRead(t, from, name))
	}
}

// batchesOf splits a log's bytes.
func batchesOf(t testing.TB, b []byte) (all []protocol.Batch) {
	t.Helper()
	for len(b) > 0 {
		batch, rest, err := protocol.NextBatch(b)
		if err != nil {
			t.Fatalf("after %d batches: %v", len(all), err)
		}
		all, b = append(all, batch), rest
	}
	return all
}

// sealOld sets the CRC of a message of an old format.
func sealOld(m []byte) []byte {
	binary.BigEndian.PutUint32(m[12:], crc32.ChecksumIEEE(m[16:]))
	return m
}
