package sim

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"slipstream/ring"
)

var errDown = syscall.EIO

func pathError(op, path string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: errno}
}

// files begins a call of the Files part: on a path, or on fd.
func (k *kernel) noteFiles(op, path string, result int64, errno syscall.Errno, values ...int64) {
	k.w.note(traceCall, op+" "+path, append(values, result, -int64(errno))...)
}

// onFile runs a call on an open file or directory.
func (k *kernel) onFile(op string, fd int, call func(f *file, ino *inode) (int64, syscall.Errno)) (int64, error) {
	defer k.end()
	if !k.begin() {
		return 0, pathError(op, "", errDown)
	}
	k.mayCrash()
	f := k.file(fd)
	if f == nil {
		return 0, pathError(op, "", unix.EBADF)
	}
	ino, ok := f.obj.(*inode)
	if !ok {
		return 0, pathError(op, "", unix.EINVAL)
	}
	k.w.owe(f.path)
	n, errno := call(f, ino)
	k.noteFiles(op, f.path, n, errno)
	return n, pathError(op, f.path, errno)
}

// onPath runs a call on a path.
func (k *kernel) onPath(op, path string, call func() syscall.Errno) error {
	defer k.end()
	if !k.begin() {
		return pathError(op, path, errDown)
	}
	k.mayCrash()
	k.w.owe(path)
	errno := call()
	k.noteFiles(op, path, 0, errno)
	return pathError(op, path, errno)
}

// Open is open(2).
func (k *kernel) Open(path string, flags int, mode uint32) (int, error) {
	fd := -1
	err := k.onPath("open", path, func() syscall.Errno {
		f, errno := k.open(path, flags)
		if errno != 0 {
			return errno
		}
		if fd, errno = k.install(f); errno != 0 {
			f.unref()
		}
		return errno
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

func (k *kernel) open(path string, flags int) (*file, syscall.Errno) {
	d := k.w.disk
	ino, errno := d.lookup(path)
	write := flags&unix.O_ACCMODE != unix.O_RDONLY
	switch {
	case errno == unix.ENOENT && flags&unix.O_CREAT != 0:
		dir, name, errno := d.parent(path)
		if errno != 0 {
			return nil, errno
		}
		if k.w.hits(FaultNoSpace, path) != nil {
			return nil, unix.ENOSPC
		}
		ino = d.link(dir, name, false)
	case errno != 0:
		return nil, errno
	case flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL:
		return nil, unix.EEXIST
	case ino.dir && (write || flags&unix.O_CREAT != 0):
		return nil, unix.EISDIR
	case !ino.dir && flags&unix.O_DIRECTORY != 0:
		return nil, unix.ENOTDIR
	case flags&unix.O_TRUNC != 0 && write:
		ino.truncate(0)
	}
	ino.opened++
	ino.path = path
	f := &file{k: k, obj: ino, path: path, flags: flags & (unix.O_ACCMODE | unix.O_APPEND | unix.O_NONBLOCK), failures: ino.failures}
	if !ino.failureSeen && ino.failures > 0 {
		f.failures-- // an error that nobody has seen is told to whoever opens the file next
	}
	return f, 0
}

// Close is close(2).
func (k *kernel) Close(fd int) error {
	defer k.end()
	if !k.begin() {
		return pathError("close", "", errDown)
	}
	k.mayCrash()
	errno := k.close(fd)
	k.noteFiles("close", "", int64(fd), errno)
	return pathError("close", "", errno)
}

// ReadAt fills p, or as much as there is, with io.EOF.
func (k *kernel) ReadAt(fd int, p []byte, off int64) (int, error) {
	n, err := k.onFile("read", fd, func(f *file, ino *inode) (int64, syscall.Errno) {
		if errno := ino.fetchIn(off, len(p)); errno != 0 {
			return 0, errno
		}
		n, errno := f.read(ino, p, off)
		return int64(n), errno
	})
	if err == nil && int(n) < len(p) {
		err = io.EOF
	}
	return int(n), err
}

func (f *file) read(ino *inode, p []byte, off int64) (int, syscall.Errno) {
	switch {
	case ino.dir:
		return 0, unix.EISDIR
	case f.flags&unix.O_ACCMODE == unix.O_WRONLY:
		return 0, unix.EBADF
	case off < 0:
		return 0, unix.EINVAL
	}
	return ino.readAt(p, off), 0
}

// WriteAt writes all of p or fails.
func (k *kernel) WriteAt(fd int, p []byte, off int64) (int, error) {
	n := 0
	_, err := k.onFileBurning("write", fd, func(f *file, ino *inode, burning bool) (int64, syscall.Errno) {
		if f.flags&unix.O_ACCMODE == unix.O_RDONLY {
			return 0, unix.EBADF
		}
		if burning {
			p = p[:k.w.draws.work.IntN(len(p)+1)]
		}
		var errno syscall.Errno
		n, errno = ino.write(p, off)
		k.w.note(traceCall, "written", int64(ino.num), off, int64(n), int64(contentHash(p)))
		if errno == 0 && n < len(p) {
			errno = unix.ENOSPC
		}
		return int64(n), errno
	})
	return n, err
}

// onFileBurning is onFile for a call of which a part may be done when the machine
// stops in it.
func (k *kernel) onFileBurning(op string, fd int, call func(f *file, ino *inode, burning bool) (int64, syscall.Errno)) (int64, error) {
	burning := !k.dead && k.w.burn()
	n, err := k.onFile(op, fd, func(f *file, ino *inode) (int64, syscall.Errno) {
		n, errno := call(f, ino, burning)
		if burning {
			k.w.crash()
		}
		return n, errno
	})
	if burning {
		defer k.end()
		k.begin()
		k.w.crash() // the descriptor was bad
	}
	return n, err
}

// Size is a file's size in bytes.
func (k *kernel) Size(fd int) (int64, error) {
	return k.onFile("stat", fd, func(f *file, ino *inode) (int64, syscall.Errno) { return ino.size, 0 })
}

// Truncate is ftruncate(2).
func (k *kernel) Truncate(fd int, size int64) error {
	_, err := k.onFile("truncate", fd, func(f *file, ino *inode) (int64, syscall.Errno) {
		if ino.dir || f.flags&unix.O_ACCMODE == unix.O_RDONLY {
			return size, unix.EINVAL
		}
		return size, ino.truncate(size)
	})
	return err
}

// Allocate is fallocate(2) with FALLOC_FL_KEEP_SIZE.
func (k *kernel) Allocate(fd int, off, n int64) error {
	_, err := k.onFile("fallocate", fd, func(f *file, ino *inode) (int64, syscall.Errno) {
		if f.flags&unix.O_ACCMODE == unix.O_RDONLY {
			return 0, unix.EBADF
		}
		return n, ino.allocate(off, n, fallocKeepSize)
	})
	return err
}

// Sync is fdatasync(2).
func (k *kernel) Sync(fd int) error {
	_, err := k.onFile("sync", fd, func(f *file, ino *inode) (int64, syscall.Errno) { return 0, ino.sync(f) })
	return err
}

// WriteBack is sync_file_range(2).
func (k *kernel) WriteBack(fd int, off, n int64, wait bool) error {
	_, err := k.onFile("write back", fd, func(f *file, ino *inode) (int64, syscall.Errno) {
		ino.writeBack(off, n)
		return 0, 0
	})
	return err
}

// SyncDir makes the names in a directory durable.
func (k *kernel) SyncDir(path string) error {
	return k.onPath("syncdir", path, func() syscall.Errno {
		ino, errno := k.w.disk.lookup(path)
		if errno != 0 {
			return errno
		}
		if !ino.dir {
			return unix.ENOTDIR
		}
		ino.path = path
		return ino.sync(nil)
	})
}

// Stat is stat(2).
func (k *kernel) Stat(path string) (ring.FileInfo, error) {
	var info ring.FileInfo
	err := k.onPath("stat", path, func() syscall.Errno {
		ino, errno := k.w.disk.lookup(path)
		if errno != 0 {
			return errno
		}
		info = ring.FileInfo{Size: ino.size, ModifiedNanos: ino.mtime, Dir: ino.dir, Blocks: int64(ino.blocks.count) * (pageBytes / sectorBytes), Inode: ino.num}
		return 0
	})
	return info, err
}

// ReadDir lists a directory by name.
func (k *kernel) ReadDir(path string) ([]ring.DirEntry, error) {
	var list []ring.DirEntry
	err := k.onPath("readdir", path, func() syscall.Errno {
		ino, errno := k.w.disk.lookup(path)
		if errno != 0 {
			return errno
		}
		if !ino.dir {
			return unix.ENOTDIR
		}
		for _, name := range sorted(ino.names) {
			list = append(list, ring.DirEntry{Name: name, Dir: ino.names[name].dir})
		}
		return 0
	})
	return list, err
}

// Mkdir is mkdir(2).
func (k *kernel) Mkdir(path string, mode uint32) error {
	return k.onPath("mkdir", path, func() syscall.Errno {
		if k.w.hits(FaultNoSpace, path) != nil {
			return unix.ENOSPC
		}
		return k.w.disk.mkdir(path)
	})
}

// Rename is rename(2).
func (k *kernel) Rename(oldPath, newPath string) error {
	err := k.onPath("rename", oldPath, func() syscall.Errno { return k.w.disk.rename(oldPath, newPath) })
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return &os.LinkError{Op: "rename", Old: oldPath, New: newPath, Err: pe.Err}
	}
	return nil
}

// Remove removes a file or an empty directory.
func (k *kernel) Remove(path string) error {
	return k.onPath("remove", path, func() syscall.Errno { return k.w.disk.remove(path) })
}

// TryLock is flock(2) with LOCK_EX|LOCK_NB.
func (k *kernel) TryLock(fd int) error {
	_, err := k.onFile("flock", fd, func(f *file, ino *inode) (int64, syscall.Errno) {
		if ino.lock != nil && ino.lock != f {
			return 0, unix.EWOULDBLOCK
		}
		ino.lock = f
		return 0, 0
	})
	return err
}

// Writable says that a directory is there: everything may be written.
func (k *kernel) Writable(path string) error {
	_, err := k.FileSystem(path)
	return err
}

// FileSystem is "sim".
func (k *kernel) FileSystem(path string) (string, error) {
	err := k.onPath("statfs", path, func() syscall.Errno {
		_, errno := k.w.disk.lookup(path)
		return errno
	})
	if err != nil {
		return "", err
	}
	return "sim", nil
}

// simulatedDiskBytes is how large the simulated disk says it is; nothing holds it to that.
const simulatedDiskBytes = 1 << 40

// Space says that the disk is large and half of it is free.
func (k *kernel) Space(path string) (total, usable int64, err error) {
	_, err = k.FileSystem(path)
	if err != nil {
		return 0, 0, err
	}
	return simulatedDiskBytes, simulatedDiskBytes / 2, nil
}
