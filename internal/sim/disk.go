package sim

import (
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	pageBytes   = 4096
	sectorBytes = 512
)

// page is one page of a file. A nil page is zeros.
type page [pageBytes]byte

// disk is a file system. Everything on it is in two states: what a reader sees,
// and what is durable.
//
//	reader sees | pages, size    | names (a directory's entries)
//	durable     | pages, size    | names
//	            | Sync, FSYNC    | SyncDir
//
// What was written and not made durable may be so all the same, for Linux writes
// back when it likes: an overwritten page may first have reached the disk as it
// was, and a power cut (disk_cut.go) leaves what it leaves.
type disk struct {
	w        *World
	root     *inode
	capacity int64 // pages
	used     int64
	made     uint64
	files    []*inode // that have a name or a user
	log      []nameOp // changes of names that are not durable
}

// inode is a file or a directory.
type inode struct {
	disk  *disk
	num   uint64
	dir   bool
	links int
	mtime int64

	size, durableSize int64
	pages             []*page // nil: zeros
	durable           []*page // the same pointer where nothing was written since
	dirty             map[int]bool
	blocks            bitmap // pages with room on the disk, preallocated ones included
	cached            bitmap // pages in the page cache

	names        map[string]*inode
	durableNames map[string]*inode

	path        string // when it was last opened or renamed
	failures    int    // of writeback
	failureSeen bool   // the last one was told to somebody

	lock    *file      // who has its flock
	opened  int        // files
	working []*request // hashed workers' queue; the first is at work
}

func newDisk(w *World) *disk {
	d := &disk{w: w, capacity: w.opts.DiskBytes / pageBytes}
	d.root = d.newInode(true)
	d.root.links = 1
	return d
}

func (d *disk) newInode(dir bool) *inode {
	d.made++
	ino := &inode{disk: d, num: d.made, dir: dir, mtime: d.w.clock.now + d.w.clock.wallAhead}
	if dir {
		ino.names, ino.durableNames = map[string]*inode{}, map[string]*inode{}
	} else {
		ino.dirty = map[int]bool{}
		d.files = append(d.files, ino)
	}
	return ino
}

func (ino *inode) poll() uint32 {
	return unix.POLLIN | unix.POLLOUT | pollRDNorm | pollWRNorm
}

// released: an open file of the inode was closed.
func (ino *inode) released(f *file) {
	ino.opened--
	if ino.lock == f {
		ino.lock = nil
	}
	ino.reap()
}

// reap gives the room of a file back that has neither a name nor a user.
func (ino *inode) reap() {
	if ino.links == 0 && ino.opened <= 0 && !ino.dir {
		ino.disk.used -= int64(ino.blocks.count)
		ino.blocks, ino.cached = bitmap{}, bitmap{}
		if i := slices.Index(ino.disk.files, ino); i >= 0 {
			ino.disk.files = slices.Delete(ino.disk.files, i, i+1)
		}
	}
}

func (ino *inode) touch() { ino.mtime = ino.disk.w.clock.now + ino.disk.w.clock.wallAhead }

func (ino *inode) page(i int) *page {
	if i < len(ino.pages) {
		return ino.pages[i]
	}
	return nil
}

func (ino *inode) durablePage(i int) *page {
	if i < len(ino.durable) {
		return ino.durable[i]
	}
	return nil
}

// readAt copies what is there; short at the end of the file.
func (ino *inode) readAt(p []byte, off int64) int {
	if off < 0 || off >= ino.size {
		return 0
	}
	p = p[:min(int64(len(p)), ino.size-off)]
	total := len(p)
	for len(p) > 0 {
		at := int(off % pageBytes)
		n := min(len(p), pageBytes-at)
		if pg := ino.page(int(off / pageBytes)); pg != nil {
			copy(p[:n], pg[at:])
		} else {
			clear(p[:n])
		}
		p = p[n:]
		off += int64(n)
	}
	return total
}

const maxFileBytes = 1 << 44

// write puts bytes at an offset, as far as the disk has room. With some written
// there is no error.
func (ino *inode) write(p []byte, off int64) (int, syscall.Errno) {
	if ino.dir {
		return 0, unix.EISDIR
	}
	if off < 0 {
		return 0, unix.EINVAL
	}
	if off+int64(len(p)) > maxFileBytes {
		return 0, unix.EFBIG
	}
	if ino.disk.w.hits(FaultWriteError, ino.path) != nil {
		if p = p[:ino.disk.w.draws.disk.IntN(len(p)+1)]; ino.disk.w.draws.disk.IntN(2) == 0 || len(p) == 0 {
			return 0, unix.EIO
		}
	}
	written := 0
	for written < len(p) {
		i, at := int(off/pageBytes), int(off%pageBytes)
		n := min(len(p)-written, pageBytes-at)
		if !ino.reserve(i) {
			break
		}
		copy(ino.writable(i)[at:], p[written:written+n])
		written += n
		off += int64(n)
	}
	if written > 0 {
		ino.size = max(ino.size, off)
		ino.touch()
	} else if len(p) > 0 {
		return 0, unix.ENOSPC
	}
	return written, 0
}

// writeVector writes up to n bytes of iovs.
func (ino *inode) writeVector(iovs []unix.Iovec, n int, off int64) (int, syscall.Errno) {
	data := gather(iovs, 0, n)
	written, errno := ino.write(data, off)
	ino.disk.w.note(traceCall, "written", int64(ino.num), off, int64(written), int64(contentHash(data)), -int64(errno))
	return written, errno
}

// reserve takes room on the disk for a page.
func (ino *inode) reserve(i int) bool {
	if ino.blocks.has(i) {
		return true
	}
	if ino.disk.used >= ino.disk.capacity || ino.disk.w.hits(FaultNoSpace, ino.path) != nil {
		return false
	}
	ino.blocks.set(i)
	ino.disk.used++
	return true
}

// writable is page i, to be written to: a copy, if what is there is also the
// durable one. What is there may first be written back.
func (ino *inode) writable(i int) *page {
	for len(ino.pages) <= i {
		ino.pages = append(ino.pages, nil)
	}
	pg := ino.pages[i]
	if ino.dirty[i] && ino.disk.w.draws.disk.IntN(16) == 0 {
		if ino.writebackFails() {
			ino.losePages([]int{i})
		} else {
			ino.clean(i)
		}
	}
	if pg == nil || pg == ino.durablePage(i) {
		fresh := new(page)
		if pg != nil {
			*fresh = *pg
		}
		ino.pages[i], pg = fresh, fresh
	}
	ino.dirty[i] = true
	ino.cached.set(i)
	return pg
}

// clean writes page i back.
func (ino *inode) clean(i int) {
	for len(ino.durable) <= i {
		ino.durable = append(ino.durable, nil)
	}
	ino.durable[i] = ino.page(i)
	delete(ino.dirty, i)
}

// dirtyPages are the pages that differ from the durable ones, in order.
func (ino *inode) dirtyPages() []int {
	list := make([]int, 0, len(ino.dirty))
	for i := range ino.dirty {
		list = append(list, i)
	}
	slices.Sort(list)
	return list
}

// sync is fdatasync(2): data, and the size that it takes to read it.
func (ino *inode) sync(f *file) syscall.Errno {
	w := ino.disk.w
	w.note(traceCall, "synced", int64(ino.num), ino.size, int64(len(ino.dirty)))
	if ino.dir {
		if w.hits(FaultSyncError, ino.path) != nil {
			return unix.EIO
		}
		ino.disk.syncNames(ino)
		return 0
	}
	if len(ino.dirty) > 0 && ino.writebackFails() {
		ino.losePages(ino.dirtyPages())
		return f.reported(ino)
	}
	for _, i := range ino.dirtyPages() {
		ino.clean(i)
	}
	pages := int((ino.size + pageBytes - 1) / pageBytes)
	if len(ino.durable) > pages {
		clear(ino.durable[pages:])
		ino.durable = ino.durable[:pages]
	}
	ino.durableSize = ino.size
	if w.opts.LooseNames {
		ino.disk.syncOwnNames(ino)
	}
	return f.reported(ino)
}

// writeBack writes pages of a range back, as far as the seed likes.
func (ino *inode) writeBack(off, n int64) {
	if ino.dir {
		return
	}
	last := int64(1) << 62
	if n > 0 {
		last = off + n
	}
	var list []int
	for _, i := range ino.dirtyPages() {
		at := int64(i) * pageBytes
		if at+pageBytes > off && at < last && ino.disk.w.draws.disk.IntN(8) > 0 {
			list = append(list, i)
		}
	}
	if len(list) > 0 && ino.writebackFails() {
		ino.losePages(list)
		return
	}
	for _, i := range list {
		ino.clean(i)
	}
}

// truncate sets the size. Room past the new end is given back, preallocated room
// too; what is durable stays so until the next sync.
func (ino *inode) truncate(size int64) syscall.Errno {
	if size < 0 || size > maxFileBytes {
		return unix.EINVAL
	}
	if at := size % pageBytes; size < ino.size && at != 0 && ino.page(int(size/pageBytes)) != nil {
		clear(ino.writable(int(size / pageBytes))[at:])
	}
	pages := int((size + pageBytes - 1) / pageBytes)
	if len(ino.pages) > pages {
		for i := pages; i < len(ino.pages); i++ {
			ino.pages[i] = nil
			ino.markDirty(i)
		}
		ino.pages = ino.pages[:pages]
	}
	if size <= ino.size {
		ino.disk.used -= int64(ino.blocks.clearFrom(pages))
		ino.cached.clearFrom(pages)
	}
	ino.size = size
	ino.touch()
	return 0
}

// markDirty: page i became zeros.
func (ino *inode) markDirty(i int) {
	if ino.durablePage(i) != nil {
		ino.dirty[i] = true
	} else {
		delete(ino.dirty, i)
	}
}

const fallocKeepSize = 1

// allocate is fallocate(2) with mode 0 or FALLOC_FL_KEEP_SIZE.
func (ino *inode) allocate(off, n int64, mode uint32) syscall.Errno {
	switch {
	case ino.dir:
		return unix.EISDIR
	case off < 0 || n <= 0:
		return unix.EINVAL
	case off+n > maxFileBytes:
		return unix.EFBIG
	case mode&^fallocKeepSize != 0:
		return unix.EOPNOTSUPP
	}
	first, last := int(off/pageBytes), int((off+n-1)/pageBytes)
	need := int64(0)
	for i := first; i <= last; i++ {
		if !ino.blocks.has(i) {
			need++
		}
	}
	if need > ino.disk.capacity-ino.disk.used || need > 0 && ino.disk.w.hits(FaultNoSpace, ino.path) != nil {
		return unix.ENOSPC
	}
	for i := first; i <= last; i++ {
		ino.reserve(i)
	}
	if mode == 0 {
		ino.size = max(ino.size, off+n)
	}
	ino.disk.w.note(traceCall, "allocated", int64(ino.num), off, n)
	return 0
}

// Workers that change a file do it one at a time, in the order they were asked.

func (ino *inode) busy() bool { return len(ino.working) > 0 }

// startWork queues r and tells whether it may begin at once.
func (ino *inode) startWork(r *request) bool {
	ino.working = append(ino.working, r)
	return len(ino.working) == 1
}

func (ino *inode) works(r *request) bool { return slices.Contains(ino.working, r) }

// endWork takes r out and returns who may begin now.
func (ino *inode) endWork(r *request) *request {
	i := slices.Index(ino.working, r)
	if i < 0 {
		return nil
	}
	ino.working = slices.Delete(ino.working, i, i+1)
	if i == 0 && len(ino.working) > 0 {
		return ino.working[0]
	}
	return nil
}

func (ino *inode) forgetWork(r *request) {
	if i := slices.Index(ino.working, r); i >= 0 {
		ino.working = slices.Delete(ino.working, i, i+1)
	}
}

// bitmap is a set of page numbers that knows its size.
type bitmap struct {
	words []uint64
	count int
}

func (b *bitmap) has(i int) bool {
	return i/64 < len(b.words) && b.words[i/64]&(1<<(i%64)) != 0
}

func (b *bitmap) set(i int) {
	for len(b.words) <= i/64 {
		b.words = append(b.words, 0)
	}
	if b.words[i/64]&(1<<(i%64)) == 0 {
		b.words[i/64] |= 1 << (i % 64)
		b.count++
	}
}

// clone is a copy.
func (b *bitmap) clone() bitmap { return bitmap{append([]uint64(nil), b.words...), b.count} }

// clear removes one.
func (b *bitmap) clear(i int) {
	if b.has(i) {
		b.words[i/64] &^= 1 << (i % 64)
		b.count--
	}
}

// clearFrom removes first and all above, and returns how many there were.
func (b *bitmap) clearFrom(first int) int {
	removed := 0
	for i := len(b.words)*64 - 1; i >= first; i-- {
		if b.words[i/64] == 0 {
			i = i / 64 * 64
			continue
		}
		if b.has(i) {
			b.words[i/64] &^= 1 << (i % 64)
			removed++
		}
	}
	b.count -= removed
	return removed
}

// SetDiskBytes changes the disk's capacity: below what is in use, nothing more can
// be written.
func (w *World) SetDiskBytes(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disk.capacity = n / pageBytes
	w.note(traceWorld, "disk", n)
}
