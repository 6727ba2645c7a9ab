package sim

import (
	"strings"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

var fileScenarios = []scenario{
	{"the page cache", 0, func(m *machine) {
		const pages = 8
		mem := m.memory(pages * pageBytes)
		fd := m.file("f", strings.Repeat("page cache ", pages*pageBytes/11))
		size, _ := m.kernel.Size(fd)
		m.note("written: %t", m.kernel.Resident(fd, 0, pages*pageBytes) >= int(size))
		n, e := m.kernel.ReadNowait(fd, mem[:100], 5000)
		m.note("read nowait: %d %s %q", n, errno(e), mem[:5])
		n, e = m.kernel.ReadNowait(fd, mem[:100], 1<<30)
		m.note("past the end: %d %s", n, errno(e))
		n, e = m.kernel.ReadNowait(fd, mem[:0], 0)
		m.note("of nothing: %d %s", n, errno(e))
		m.note("sync: %s", errno(m.kernel.Sync(fd)))
		m.note("drop: %s", errno(m.kernel.Advise(fd, 0, 0, unix.FADV_DONTNEED)))
		m.note("dropped: %d", m.kernel.Resident(fd, 0, pages*pageBytes))
		m.note("absent: %d", m.kernel.Absent(fd, 10, 3*pageBytes))
		m.note("unaligned: %d", m.kernel.Resident(fd, 5000, 100))
		m.note("nothing: %d", m.kernel.Resident(fd, 0, 0))
		m.note("no advice: %s", errno(m.kernel.Advise(fd, 0, 0, 77)))
		n, e = m.kernel.ReadNowait(fd, mem[:100], 0)
		m.note("read nowait what is not there: %t", e == unix.EAGAIN || e == 0 && n == 100) // a fast disk is done with it at once
		m.one("bad flags", func(s *ring.SQE) { s.PrepRead2(fd, ptr(mem), 4096, 0, 1<<20) })
		m.one("read one page", func(s *ring.SQE) { s.PrepRead(fd, ptr(mem), 4096, 0) })
		m.note("there again: %d", m.kernel.Resident(fd, 10, 100))
		m.note("not absent: %d", m.kernel.Absent(fd, 10, 100))
		m.one("drop by the ring", func(s *ring.SQE) { s.PrepFadvise(fd, 0, 0, unix.FADV_DONTNEED) })
		m.note("dropped: %d", m.kernel.Resident(fd, 0, 4096))
		n = m.kernel.Resident(-1, 0, 4096)
		m.note("no file: %d", n)
	}},
	{"a pipe of a size", 0, func(m *machine) {
		if m.world == nil {
			r, w, room, e := m.kernel.Pipe(1 << 20)
			m.note("%t %s", room >= 2*pageBytes && room%pageBytes == 0, errno(e))
			m.fds = append(m.fds, r, w)
			return
		}
		_, _, room, e := m.kernel.Pipe(1 << 20)
		m.note("%t %s", room >= 2*pageBytes && room%pageBytes == 0, errno(e))
	}},
	{"read and write", 0, func(m *machine) {
		mem := m.memory(1 << 16)
		out := m.text("0123456789")
		fd := m.file("f", "")
		m.one("write", func(s *ring.SQE) { s.PrepWrite(fd, ptr(out), 10, 0) })
		m.one("write past the end", func(s *ring.SQE) { s.PrepWrite(fd, ptr(out), 10, 5000) })
		size, err := m.kernel.Size(fd)
		m.note("size %d %s", size, errno(err))
		m.one("read across", func(s *ring.SQE) { s.PrepRead(fd, ptr(mem), 20, 4995) })
		m.note("%q", mem[:15])
		m.one("read at the end", func(s *ring.SQE) { s.PrepRead(fd, ptr(mem), 20, 5010) })
		m.one("read past it", func(s *ring.SQE) { s.PrepRead(fd, ptr(mem), 20, 1<<40) })
		m.one("overwrite", func(s *ring.SQE) { s.PrepWrite(fd, ptr(out), 3, 1) })
		iovs := (*[3]unix.Iovec)(ptr(m.memory(256)))
		iovs[0] = unix.Iovec{Base: &out[0], Len: 4}
		iovs[1] = unix.Iovec{}
		iovs[2] = unix.Iovec{Base: &out[5], Len: 5}
		m.one("writev", func(s *ring.SQE) { s.PrepWritev(fd, &iovs[0], 3, 20) })
		n, e := m.kernel.WriteNow(fd, iovs[:], 40)
		m.note("write now: %d %s", n, errno(e))
		iovs[0] = unix.Iovec{Base: &mem[0], Len: 25}
		iovs[2] = unix.Iovec{Base: &mem[25], Len: 30}
		m.one("readv", func(s *ring.SQE) { s.PrepReadv(fd, &iovs[0], 3, 0) })
		m.note("%q", mem[:55])
		n, e = m.kernel.ReadNow(fd, mem[:4], 1)
		m.note("read now: %d %s %q", n, errno(e), mem[:4])
		n, e = m.kernel.ReadNow(fd, mem[:4], 1<<30)
		m.note("read now past the end: %d %s", n, errno(e))
		m.one("too many iovecs", func(s *ring.SQE) { s.PrepReadv(fd, &iovs[0], 2000, 0) })
		m.one("read at the position", func(s *ring.SQE) { s.PrepRead(fd, ptr(mem), 4, ring.CurrentPosition) })
		m.one("and on", func(s *ring.SQE) { s.PrepRead(fd, ptr(mem), 4, ring.CurrentPosition) })
		m.note("%q", mem[:4])
		m.one("to a bad address", func(s *ring.SQE) { s.PrepRead(fd, nil, 4, 0) })
		m.one("fsync", func(s *ring.SQE) { s.PrepFsync(fd, 0) })
		m.one("fdatasync", func(s *ring.SQE) { s.PrepFsync(fd, ring.FsyncDatasync) })
		m.one("sync_file_range", func(s *ring.SQE) { s.PrepSyncFileRange(fd, 4096, 0, unix.SYNC_FILE_RANGE_WRITE) })

		ro, err := m.kernel.Open(m.dir+"/f", unix.O_RDONLY, 0)
		m.note("open to read: %s", errno(err))
		m.one("write to it", func(s *ring.SQE) { s.PrepWrite(ro, ptr(out), 3, 1) })
		_, e = m.kernel.WriteNow(ro, iovs[:1], 0)
		m.note("write now to it: %s", errno(e))
		wo, _ := m.kernel.Open(m.dir+"/f", unix.O_WRONLY, 0)
		m.one("read of one opened to write", func(s *ring.SQE) { s.PrepRead(wo, ptr(mem), 4, 0) })
		dir, err := m.kernel.Open(m.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		m.note("open a directory: %s", errno(err))
		m.one("read of a directory", func(s *ring.SQE) { s.PrepRead(dir, ptr(mem), 4, 0) })
		m.one("fsync of it", func(s *ring.SQE) { s.PrepFsync(dir, 0) })
		ap, _ := m.kernel.Open(m.dir+"/f", unix.O_WRONLY|unix.O_APPEND, 0)
		m.one("append", func(s *ring.SQE) { s.PrepWrite(ap, ptr(out), 3, 1) })
		size, _ = m.kernel.Size(fd)
		m.note("size %d", size)
		for _, f := range []int{ro, wo, dir, ap} {
			m.note("close: %s", errno(m.kernel.Close(f)))
		}
		m.note("close again: %s", errno(m.kernel.Close(ap)))
	}},
	{"sizes", 0, func(m *machine) {
		fd := m.file("f", strings.Repeat("x", 10000))
		mem := m.memory(1 << 16)
		for _, size := range []int64{9000, 4096, 5, 20000, 0, -1} {
			m.note("truncate to %d: %s", size, errno(m.kernel.Truncate(fd, size)))
			got, err := m.kernel.Size(fd)
			m.note("size %d %s", got, errno(err))
			n, err := m.kernel.ReadAt(fd, mem[:16], 0)
			m.note("read %d %s %q", n, errno(err), mem[:n])
		}
		m.note("allocate: %s", errno(m.kernel.Allocate(fd, 0, 1<<20)))
		size, _ := m.kernel.Size(fd)
		info, err := m.kernel.Stat(m.dir + "/f")
		m.note("size %d, stat %d %s, a mebibyte in blocks: %v", size, info.Size, errno(err), info.Blocks >= 2048)
		m.note("allocate nothing: %s", errno(m.kernel.Allocate(fd, 0, 0)))
		m.note("allocate before the start: %s", errno(m.kernel.Allocate(fd, -5, 10)))
		m.one("ring allocate", func(s *ring.SQE) { s.PrepFallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 2<<20) })
		m.one("ring allocate nothing", func(s *ring.SQE) { s.PrepFallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 0) })
		m.one("ring allocate, growing", func(s *ring.SQE) { s.PrepFallocate(fd, 0, 0, 100) })
		size, _ = m.kernel.Size(fd)
		m.note("size %d", size)
		n, err := m.kernel.ReadAt(fd, mem[:200], 0)
		m.note("read %d %s", n, errno(err))
		n, err = m.kernel.WriteAt(fd, []byte("end"), 99)
		m.note("write %d %s", n, errno(err))
		n, err = m.kernel.ReadAt(fd, mem[:10], 97)
		m.note("read %d %s %q", n, errno(err), mem[:n])
		m.note("sync: %s", errno(m.kernel.Sync(fd)))
		ro, _ := m.kernel.Open(m.dir+"/f", unix.O_RDONLY, 0)
		_, err = m.kernel.WriteAt(ro, []byte("x"), 0)
		m.note("write to one opened to read: %s", errno(err))
		m.note("truncate it: %s", errno(m.kernel.Truncate(ro, 1)))
		m.note("allocate in it: %s", errno(m.kernel.Allocate(ro, 0, 1)))
		m.note("sync it: %s", errno(m.kernel.Sync(ro)))
		m.kernel.Close(ro)
	}},
	{"names", 0, func(m *machine) {
		k := m.kernel
		at := func(name string) string { return m.dir + "/" + name }
		open := func(name string, flags int) {
			fd, err := k.Open(at(name), flags, 0o644)
			m.note("open %.20s %#x: %s", name, flags, errno(err))
			if err == nil {
				k.Close(fd)
			}
		}
		list := func(name string) {
			entries, err := k.ReadDir(at(name))
			m.note("list %s: %v %s", name, entries, errno(err))
		}
		open("a", unix.O_RDWR)
		open("a", unix.O_RDWR|unix.O_CREAT)
		open("a", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
		open("a/b", unix.O_RDONLY)
		open("no/b", unix.O_RDWR|unix.O_CREAT)
		open(strings.Repeat("n", 256), unix.O_RDWR|unix.O_CREAT)
		m.note("mkdir: %s", errno(k.Mkdir(at("dir"), 0o755)))
		m.note("mkdir again: %s", errno(k.Mkdir(at("dir"), 0o755)))
		m.note("mkdir in nothing: %s", errno(k.Mkdir(at("no/dir"), 0o755)))
		m.note("mkdir in a file: %s", errno(k.Mkdir(at("a/dir"), 0o755)))
		open("dir", unix.O_RDWR)
		open("dir", unix.O_RDONLY)
		open("dir", unix.O_RDONLY|unix.O_CREAT)
		open("a", unix.O_RDONLY|unix.O_DIRECTORY)
		open("dir/z", unix.O_RDWR|unix.O_CREAT)
		open("dir/y", unix.O_RDWR|unix.O_CREAT)
		list("dir")
		list("a")
		list("no")
		m.note("remove a full directory: %s", errno(k.Remove(at("dir"))))
		m.note("remove nothing: %s", errno(k.Remove(at("no"))))
		m.note("rename nothing: %s", errno(k.Rename(at("no"), at("b"))))
		m.note("rename: %s", errno(k.Rename(at("a"), at("dir/z"))))
		m.note("rename a file over a directory: %s", errno(k.Rename(at("dir/z"), at("dir"))))
		m.note("mkdir: %s", errno(k.Mkdir(at("empty"), 0o755)))
		m.note("rename a file over an empty directory: %s", errno(k.Rename(at("dir/z"), at("empty"))))
		m.note("rename a directory over a file: %s", errno(k.Rename(at("empty"), at("dir/z"))))
		m.note("rename a directory over an empty one: %s", errno(k.Rename(at("dir"), at("empty"))))
		m.note("into itself: %s", errno(k.Rename(at("empty"), at("empty/sub"))))
		m.note("to itself: %s", errno(k.Rename(at("empty"), at("empty"))))
		list("empty")
		list("")
		info, err := k.Stat(at("empty"))
		m.note("stat: directory %v %s", info.Dir, errno(err))
		info, err = k.Stat(at("empty/z"))
		m.note("stat: directory %v size %d blocks %d %s", info.Dir, info.Size, info.Blocks, errno(err))
		_, err = k.Stat(at("no"))
		m.note("stat of nothing: %s", errno(err))
		m.note("syncdir: %s", errno(k.SyncDir(at("empty"))))
		m.note("syncdir of nothing: %s", errno(k.SyncDir(at("no"))))
		_, err = k.FileSystem(at("no"))
		m.note("file system of nothing: %s", errno(err))

		fd := m.file("gone", "still readable")
		m.note("remove an open file: %s", errno(k.Remove(at("gone"))))
		b := make([]byte, 5)
		n, err := k.ReadAt(fd, b, 6)
		m.note("read it: %d %s %q", n, errno(err), b)
		open("gone", unix.O_RDONLY)
		m.file("t", "to be truncated")
		open("t", unix.O_RDWR|unix.O_TRUNC)
		info, _ = k.Stat(at("t"))
		m.note("size %d", info.Size)
	}},
	{"locks", 0, func(m *machine) {
		k := m.kernel
		a := m.file("lock", "")
		b := m.file("lock", "")
		m.note("lock: %s", errno(k.TryLock(a)))
		m.note("again: %s", errno(k.TryLock(a)))
		m.note("by another: %s", errno(k.TryLock(b)))
		m.note("close: %s", errno(k.Close(a)))
		m.note("by another: %s", errno(k.TryLock(b)))
		m.note("of nothing: %s", errno(k.TryLock(9999)))
	}},
}
