package sim

import (
	"syscall"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

// The page cache: which pages of a file can be had without waiting for the disk.
// What is written is in it, and what is read comes into it, RWF_DONTCACHE apart.
// As time passes the seed pushes clean pages out, as other programs' memory would;
// never inside a call, so that what a core was told holds until it turns again.

// EvictionPolicy is how much the page cache is pressed.
type EvictionPolicy int

// How often pages go.
const (
	EvictionsDrawn EvictionPolicy = iota // one of the others, by the seed
	EvictionsNever                       // what came in stays
	EvictionsRare                        // now and then pages go
	EvictionsOften                       // pages go all the time
)

// evictions is of how many steps of the clock one pushes pages out; 0: none.
var evictions = map[EvictionPolicy]int{EvictionsNever: 0, EvictionsRare: 500, EvictionsOften: 20}

// cachedBytes is how many of the n bytes at off are in the cache, from off on.
func (ino *inode) cachedBytes(off int64, n int) int {
	if off < 0 || off >= ino.size {
		return 0
	}
	end := min(off+int64(n), ino.size)
	for at := off; at < end; {
		next := (at/pageBytes + 1) * pageBytes
		if !ino.cached.has(int(at / pageBytes)) {
			return int(at - off)
		}
		at = next
	}
	return int(end - off)
}

// bringIn puts the pages that n bytes at off lie in into the cache.
func (ino *inode) bringIn(off int64, n int) {
	end := min(off+int64(n), ino.size)
	for at := off / pageBytes * pageBytes; at < end; at += pageBytes {
		ino.cached.set(int(at / pageBytes))
	}
}

// pushOut drops pages [from, to) that are clean.
func (ino *inode) pushOut(from, to int) {
	for i := from; i < to; i++ {
		if ino.cached.has(i) && !ino.dirty[i] {
			ino.cached.clear(i)
			ino.forgetPage(i)
		}
	}
}

// pushOutUnless drops what a read brought in that is not to stay.
func (ino *inode) pushOutUnless(had *bitmap, off int64, n int) {
	for i := int(off / pageBytes); int64(i)*pageBytes < min(off+int64(n), ino.size); i++ {
		if !had.has(i) {
			ino.pushOut(i, i+1)
		}
	}
}

func (ino *inode) pageCount() int { return int((ino.size + pageBytes - 1) / pageBytes) }

// press pushes out some pages of some file, now and then.
func (w *World) press() {
	r := w.draws.cache
	if w.evictions == 0 || len(w.disk.files) == 0 || r.IntN(w.evictions) > 0 {
		return
	}
	ino := w.disk.files[r.IntN(len(w.disk.files))]
	n := ino.pageCount()
	if n == 0 {
		return
	}
	from := r.IntN(n)
	if r.IntN(2) == 0 {
		from = 0
	}
	ino.pushOut(from, from+1+r.IntN(n-from))
}

// readAhead brings n bytes at off in, some time later.
func (ino *inode) readAhead(off int64, n int) {
	w := ino.disk.w
	w.later(w.delay(w.draws.cache), func() { ino.fetchIn(off, n) })
}

// Resident is how many bytes a core may count on.
func (k *kernel) Resident(fd int, off int64, n int) int {
	defer k.end()
	if !k.begin() {
		return 0
	}
	_, ino, errno := k.inodeOf(fd, false)
	have := 0
	if errno == 0 && n > 0 {
		have = ino.cachedBytes(off, n)
	}
	k.w.note(traceCall, "resident", int64(fd), off, int64(n), int64(have))
	return have
}

// OpenNowait is openat2(2) with RESOLVE_CACHED; now and then a name is not cached.
func (k *kernel) OpenNowait(path string, flags int) (int, syscall.Errno) {
	defer k.end()
	if !k.begin() {
		return -1, unix.EIO
	}
	k.mayCrash()
	fd, errno := -1, syscall.Errno(unix.EAGAIN)
	if k.w.evictions == 0 || k.w.draws.cache.IntN(8) > 0 {
		var f *file
		if f, errno = k.open(path, flags&^(unix.O_CREAT|unix.O_TRUNC)); errno == 0 {
			if fd, errno = k.install(f); errno != 0 {
				f.unref()
				fd = -1
			}
		}
	}
	k.noteFiles("open nowait", path, int64(fd), errno)
	return fd, errno
}

// Absent is how many bytes are not in the cache, until the first that is.
func (k *kernel) Absent(fd int, off int64, n int) int {
	defer k.end()
	if !k.begin() {
		return 0
	}
	_, ino, errno := k.inodeOf(fd, false)
	have := 0
	if errno == 0 && n > 0 && off >= 0 {
		for end := off + int64(n); off+int64(have) < end && !ino.cached.has(int((off+int64(have))/pageBytes)); {
			have = int(min((off+int64(have))/pageBytes*pageBytes+pageBytes, end) - off)
		}
	}
	k.w.note(traceCall, "absent", int64(fd), off, int64(n), int64(have))
	return have
}

// ReadNowait is preadv2(2) with RWF_NOWAIT.
func (k *kernel) ReadNowait(fd int, p []byte, off int64) (int, syscall.Errno) {
	defer k.end()
	if !k.begin() {
		return 0, unix.EIO
	}
	k.mayCrash()
	f, ino, errno := k.inodeOf(fd, false)
	n := 0
	if errno == 0 {
		n, errno = f.readNowait(ino, p, off)
	}
	k.w.note(traceCall, "read nowait", int64(fd), off, int64(n), -int64(errno))
	return n, errno
}

func (f *file) readNowait(ino *inode, p []byte, off int64) (int, syscall.Errno) {
	if off < 0 || off >= ino.size || len(p) == 0 {
		return f.read(ino, p, off)
	}
	have := ino.cachedBytes(off, len(p))
	if have < len(p) {
		ino.readAhead(off, len(p))
	}
	if have == 0 {
		return 0, unix.EAGAIN
	}
	return f.read(ino, p[:have], off)
}

// Advise is posix_fadvise(2).
func (k *kernel) Advise(fd int, off, n int64, advice int) error {
	_, err := k.onFile("advise", fd, func(f *file, ino *inode) (int64, syscall.Errno) {
		return n, ino.advise(off, n, uint32(advice))
	})
	return err
}

func issueFadvise(r *request) verdict {
	ino, ok := r.file.obj.(*inode)
	if !ok {
		return r.endErrno(unix.ESPIPE)
	}
	r.work = func() int32 {
		return errnoOf(ino.advise(int64(r.sqe.Off), int64(r.sqe.Len), r.sqe.OpFlags))
	}
	return worker
}

func (ino *inode) advise(off, n int64, advice uint32) syscall.Errno {
	if off < 0 || n < 0 || advice > unix.FADV_NOREUSE {
		return unix.EINVAL
	}
	if n == 0 {
		n = max(ino.size-off, 0)
	}
	switch advice {
	case unix.FADV_WILLNEED:
		ino.readAhead(off, int(n))
	case unix.FADV_DONTNEED:
		to := int((off + n) / pageBytes)
		if off+n >= ino.size {
			to = ino.pageCount()
		}
		ino.pushOut(int((off+pageBytes-1)/pageBytes), to)
	}
	return 0
}

// coldRead is what a worker does for a read of pages that are not in the cache:
// it may fail, or end early at a page.
func (ino *inode) coldRead(off int64, want int, flags uint32, read func(n int) int32) int32 {
	w := ino.disk.w
	if w.draws.cache.IntN(10_000) < w.opts.ReadErrors {
		return errnoOf(unix.EIO)
	}
	if pages := want / pageBytes; pages > 1 && w.draws.cache.IntN(8) == 0 {
		want = max((w.draws.cache.IntN(pages)+1)*pageBytes-int(off%pageBytes), 1)
	}
	had := ino.cached.clone()
	if errno := ino.fetchIn(off, want); errno != 0 {
		return errnoOf(errno)
	}
	n := read(want)
	if flags&unix.RWF_DONTCACHE != 0 {
		ino.pushOutUnless(&had, off, want)
	}
	return n
}

// badReadFlags tells whether the file system refuses a read's RWF_* flags.
func (w *World) badReadFlags(flags uint32) bool {
	known := uint32(unix.RWF_NOWAIT)
	if w.dontCache {
		known |= unix.RWF_DONTCACHE
	}
	return flags&^known != 0
}

// Pipe makes a pipe; now and then, as past a user's limit, a small one.
func (k *kernel) Pipe(size int) (reader, writer, room int, errno syscall.Errno) {
	defer k.end()
	if !k.begin() {
		return -1, -1, 0, unix.EIO
	}
	k.mayCrash()
	if k.w.draws.cache.IntN(8) == 0 {
		size = 2 * pageBytes
	}
	room = (max(size, 1) + pageBytes - 1) / pageBytes * pageBytes
	reader, writer, errno = k.pipe(room)
	k.w.note(traceCall, "pipe", int64(reader), int64(writer), int64(room), -int64(errno))
	if errno != 0 {
		return -1, -1, 0, errno
	}
	return reader, writer, room, 0
}

func (k *kernel) pipe(room int) (reader, writer int, errno syscall.Errno) {
	p := &pipe{room: room}
	p.reader = &file{k: k, obj: &pipeEnd{p: p}}
	p.writer = &file{k: k, obj: &pipeEnd{p: p, write: true}}
	if reader, errno = k.install(p.reader); errno != 0 {
		return -1, -1, errno
	}
	if writer, errno = k.install(p.writer); errno != 0 {
		k.close(reader)
		return -1, -1, errno
	}
	return reader, writer, 0
}

var _ ring.Kernel = (*kernel)(nil)
