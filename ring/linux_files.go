package ring

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNotRegular is the error of opening what is no file and no directory: a FIFO would have its reader wait for ever, and a
// device has no end.
var ErrNotRegular = errors.New("it is no file, but a FIFO, a socket or a device")

// Open is open(2), close-on-exec.
func (Linux) Open(path string, flags int, mode uint32) (int, error) {
	var st unix.Stat_t
	if flags&unix.O_EXCL == 0 && restart(func() error { return unix.Stat(path, &st) }) == nil {
		if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
			return -1, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
		}
	}
	var fd int
	err := restart(func() (err error) {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, mode)
		return err
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// Close is close(2).
func (Linux) Close(fd int) error {
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return fdError("close", fd, "", err)
	}
	return nil
}

// ReadAt is pread(2) until p is full or the file ends.
func (Linux) ReadAt(fd int, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(fd, p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, fdError("read", fd, "", err)
		case n == 0:
			return done, io.EOF
		default:
			done += n
		}
	}
	return done, nil
}

// WriteAt is pwrite(2) until all of p is written.
func (Linux) WriteAt(fd int, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pwrite(fd, p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, fdError("write", fd, "", err)
		case n == 0:
			return done, fdError("write", fd, "", io.ErrShortWrite)
		default:
			done += n
		}
	}
	return done, nil
}

// Size is the file's size in bytes.
func (Linux) Size(fd int) (int64, error) {
	var st unix.Stat_t
	if err := restart(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return 0, fdError("stat", fd, "", err)
	}
	return st.Size, nil
}

// Truncate is ftruncate(2).
func (Linux) Truncate(fd int, size int64) error {
	return fdError("truncate", fd, "", restart(func() error { return unix.Ftruncate(fd, size) }))
}

// Allocate is fallocate(2) with FALLOC_FL_KEEP_SIZE.
func (Linux) Allocate(fd int, off, n int64) error {
	return fdError("allocate", fd, "", restart(func() error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n) }))
}

// Sync is fdatasync(2). It is not tried again when it fails: the kernel reports a
// lost page once, and a second try would find nothing wrong.
func (Linux) Sync(fd int) error { return fdError("sync", fd, "", unix.Fdatasync(fd)) }

// WriteBack is sync_file_range(2).
func (Linux) WriteBack(fd int, off, n int64, wait bool) error {
	flags := unix.SYNC_FILE_RANGE_WRITE
	if wait {
		flags |= unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	}
	return fdError("write back", fd, "", unix.SyncFileRange(fd, off, n, flags))
}

// SyncDir opens a directory and calls fsync(2).
func (k Linux) SyncDir(path string) error {
	fd, err := k.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return fdError("sync", fd, path, unix.Fsync(fd))
}

// Stat follows symbolic links.
func (Linux) Stat(path string) (FileInfo, error) {
	var st unix.Stat_t
	if err := restart(func() error { return unix.Stat(path, &st) }); err != nil {
		return FileInfo{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return FileInfo{
		Size:          st.Size,
		ModifiedNanos: st.Mtim.Nano(),
		Dir:           st.Mode&unix.S_IFMT == unix.S_IFDIR,
		Blocks:        st.Blocks,
		Device:        st.Dev,
		Inode:         st.Ino,
	}, nil
}

// ReadDir lists a directory, sorted by name.
func (Linux) ReadDir(path string) ([]DirEntry, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	names := make([]DirEntry, len(entries))
	for i, e := range entries {
		names[i] = DirEntry{Name: e.Name(), Dir: e.IsDir()}
	}
	return names, nil
}

// Mkdir makes one directory.
func (Linux) Mkdir(path string, mode uint32) error {
	if err := restart(func() error { return unix.Mkdir(path, mode) }); err != nil {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return nil
}

// Rename is rename(2): it replaces newPath.
func (Linux) Rename(oldPath, newPath string) error {
	if err := restart(func() error { return unix.Rename(oldPath, newPath) }); err != nil {
		return &os.LinkError{Op: "rename", Old: oldPath, New: newPath, Err: err}
	}
	return nil
}

// Remove removes a file or an empty directory.
func (Linux) Remove(path string) error { return os.Remove(path) }

// TryLock is flock(2) with LOCK_EX|LOCK_NB, and fcntl(2)'s lock of the whole file, which is the one that Java's programs
// take: the kernel does not hold one kind against the other. Both go with the descriptor.
func (Linux) TryLock(fd int) error {
	if err := restart(func() error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return fdError("lock", fd, "", err)
	}
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	err := restart(func() error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &whole) })
	if err != nil {
		_ = unix.Flock(fd, unix.LOCK_UN) // what went wrong first is what matters
	}
	return fdError("lock", fd, "", err)
}

var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC:      "ext4",
	unix.XFS_SUPER_MAGIC:       "xfs",
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.RAMFS_MAGIC:           "ramfs",
	unix.NFS_SUPER_MAGIC:       "nfs",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.FUSE_SUPER_MAGIC:      "fuse",
	0x2fc12fc1:                 "zfs",
}

// FileSystem is statfs(2)'s type by name.
func (Linux) FileSystem(path string) (string, error) {
	var st unix.Statfs_t
	if err := restart(func() error { return unix.Statfs(path, &st) }); err != nil {
		return "", &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	if name, ok := fileSystems[int64(st.Type)]; ok {
		return name, nil
	}
	return fmt.Sprintf("%#x", uint64(st.Type)), nil
}

// Writable is faccessat(2) with the effective ids.
func (Linux) Writable(path string) error {
	err := restart(func() error { return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS) })
	if err != nil {
		return &fs.PathError{Op: "access", Path: path, Err: err}
	}
	return nil
}

// Space is statfs(2)'s sizes; what is kept for root does not count as usable.
func (Linux) Space(path string) (total, usable int64, err error) {
	var st unix.Statfs_t
	if err := restart(func() error { return unix.Statfs(path, &st) }); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	unit := int64(st.Frsize)
	if unit == 0 {
		unit = int64(st.Bsize)
	}
	return int64(st.Blocks) * unit, int64(st.Bavail) * unit, nil
}

// restart repeats a call that a signal interrupted.
func restart(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// fdError names the file behind a descriptor, which costs a readlink(2) and so is
// done only for an error.
func fdError(op string, fd int, path string, err error) error {
	if err == nil {
		return nil
	}
	if path == "" {
		link := "/proc/self/fd/" + strconv.Itoa(fd)
		path, _ = os.Readlink(link)
		if path == "" {
			path = "descriptor " + strconv.Itoa(fd)
		}
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
