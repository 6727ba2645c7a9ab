package ebpf

import (
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// inodes are the log files that are observed, by the inode that the page cache
// knows them by. A file's number is its place in the array of log files, from 1.
type inodes struct {
	numbers map[pagecacheInodeKey]uint32
	keys    []pagecacheInodeKey // by number
	unused  []uint32
	next    uint32
	limit   int
	// forgotten files are kept for a while: their pages go after them.
	forgotten []uint32
	refused   uint64
}

// forgottenFiles is how many files are remembered after they were forgotten, and
// with it how long a number stays out of use.
const forgottenFiles = 1024

func (t *inodes) init(o Options) {
	t.numbers = map[pagecacheInodeKey]uint32{}
	t.keys = make([]pagecacheInodeKey, 1)
	t.next, t.limit = 1, o.Files
}

// observe gives an open file its number, or 0 when there is none to be had.
func (a *Attribution) observe(fd int, partition string, bytes int64) uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	key, ok := a.inodeOf(fd)
	if !ok {
		a.inodes.refused++
		return 0
	}
	n := a.inodes.numbers[key]
	if n != 0 && a.logFiles[n].Flags&fileForgotten != 0 {
		a.discard(n) // another file, which got the inode of a deleted one
		n = 0
	}
	p := a.partition(partition)
	if n != 0 {
		if f := &a.logFiles[n]; f.Cell != p.cell { // its name was another's
			atomic.StoreUint32(&f.Cell, p.cell)
		}
		return n
	}
	if n = a.inodes.take(); n == 0 {
		return 0
	}
	f := &a.logFiles[n]
	atomic.StoreUint64(&f.Extent, a.pages(bytes))
	atomic.StoreUint32(&f.Cell, p.cell)
	atomic.StoreUint32(&f.Flags, 0)
	if err := a.maps.Maps[pagecacheMapInodes].Update(key, n, ebpf.UpdateAny); err != nil {
		a.inodes.refused++
		a.inodes.unused = append(a.inodes.unused, n)
		return 0
	}
	a.inodes.numbers[key], a.inodes.keys[n] = n, key
	p.files++
	return n
}

// take finds a number that is not in use.
func (t *inodes) take() uint32 {
	if last := len(t.unused) - 1; last >= 0 {
		n := t.unused[last]
		t.unused = t.unused[:last]
		return n
	}
	if int(t.next) >= t.limit {
		t.refused++
		return 0
	}
	t.keys = append(t.keys, pagecacheInodeKey{})
	t.next++
	return t.next - 1
}

// forget ends a file's observation but for the departure of its pages.
func (a *Attribution) forget(file uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.logFile(file)
	if f == nil || file >= a.inodes.next || f.Flags&fileForgotten != 0 || a.inodes.numbers[a.inodes.keys[file]] != file {
		return
	}
	atomic.StoreUint32(&f.Flags, fileForgotten)
	a.growing[f.Cell].CompareAndSwap(file, 0)
	if name := a.names[f.Cell].Load(); name != nil {
		a.registry.partitions[name.partition].files--
	}
	t := &a.inodes
	t.forgotten = append(t.forgotten, file)
	if len(t.forgotten) > min(forgottenFiles, t.limit/2) {
		a.discard(t.forgotten[0])
	}
}

// discard gives a forgotten file's number free.
func (a *Attribution) discard(n uint32) {
	t := &a.inodes
	for i, f := range t.forgotten {
		if f == n {
			t.forgotten = append(t.forgotten[:i], t.forgotten[i+1:]...)
			break
		}
	}
	key := t.keys[n]
	delete(t.numbers, key)
	t.keys[n] = pagecacheInodeKey{}
	a.maps.Maps[pagecacheMapInodes].Delete(key)
	t.unused = append(t.unused, n)
}

// introduce tells the programs which core a thread is.
func (o *observer) introduce() {
	if o.known {
		return
	}
	o.known = true
	o.a.mu.Lock()
	defer o.a.mu.Unlock()
	thread := o.a.whoAmI(-1).Tid
	// Without it, this core's own reads are found among all cores' instead.
	o.a.maps.Maps[pagecacheMapThreads].Update(thread, uint32(o.core), ebpf.UpdateAny)
}

// inodeOf is the inode that the page cache keeps an open file's pages under.
func (a *Attribution) inodeOf(fd int) (key pagecacheInodeKey, ok bool) {
	if who := a.whoAmI(fd); who.Found != 0 {
		return pagecacheInodeKey{Ino: who.Ino, Dev: who.Dev}, true
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return key, false
	}
	return pagecacheInodeKey{Ino: st.Ino, Dev: unix.Major(st.Dev)<<20 | unix.Minor(st.Dev)}, true
}

// whoAmI is what the kernel calls this process, this thread and the file behind a
// descriptor (-1: none). Where the program that knows cannot run, it is what system
// calls say, which is the same outside of containers, overlays and btrfs.
func (a *Attribution) whoAmI(fd int) pagecacheIdentity {
	if a.identity != nil {
		arguments := [1]uint64{uint64(uint32(fd))}
		*a.found = pagecacheIdentity{}
		if _, err := a.identity.Run(&ebpf.RunOptions{Context: arguments}); err == nil && a.found.Tgid != 0 {
			return *a.found
		}
	}
	return pagecacheIdentity{Tgid: uint32(unix.Getpid()), Tid: uint32(unix.Gettid())}
}
