package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"slipstream/ring"
)

const readOnly = syscall.O_RDONLY
const readWrite = syscall.O_RDWR
const fileMode = 0o644
const dirMode = 0o755

// ReadFile reads a small file whole. A file larger than limit bytes is an error: none of those
// read this way should be, and a sparse one may claim any size. The bytes are the caller's.
func ReadFile(k ring.Files, path string, limit int64) ([]byte, error) {
	fd, err := k.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer closeQuietly(k, fd)
	size, err := k.Size(fd)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s has %d bytes, which is more than such a file can have", path, size)
	}
	b := make([]byte, size)
	n, err := k.ReadAt(fd, b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}

// writeFile makes a file with these contents, not synced. A file of that name is replaced.
func writeFile(k ring.Files, path string, contents []byte) error {
	return writeFileWith(k, path, contents, false)
}

func writeFileWith(k ring.Files, path string, contents []byte, sync bool) error {
	fd, err := k.Open(path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	if len(contents) > 0 {
		_, err = k.WriteAt(fd, contents, 0)
	}
	if err == nil && sync {
		err = k.Sync(fd)
	}
	return errors.Join(err, k.Close(fd))
}

// putFile makes a file that is whole after a kill, though not after a power cut: nothing is synced.
func putFile(k ring.Files, path string, contents []byte) error {
	tmp := path + tmpSuffix
	if err := writeFile(k, tmp, contents); err != nil {
		_ = k.Remove(tmp) // what went wrong first is what matters
		return err
	}
	return k.Rename(tmp, path)
}

// replaceFile gives a file new contents so that after a crash it has either the old ones or the
// new ones, whole: temporary file, sync, rename, sync of the directory.
func replaceFile(k ring.Files, path string, contents []byte) error {
	tmp := path + tmpSuffix
	if err := writeFileWith(k, tmp, contents, true); err != nil {
		_ = k.Remove(tmp) // what went wrong first is what matters
		return err
	}
	if err := k.Rename(tmp, path); err != nil {
		return err
	}
	dir, _ := splitPath(path)
	return k.SyncDir(dir)
}

// syncFile makes what a file holds durable; one that is not there any more needs nothing.
func syncFile(k ring.Files, path string) error {
	fd, err := k.Open(path, syscall.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(k.Sync(fd), k.Close(fd))
}

// removeFile removes a file that may not be there.
func removeFile(k ring.Files, path string) error {
	if err := k.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeTree removes a directory and the files in it. Partitions have no directories inside.
func removeTree(k ring.Files, dir string) error {
	entries, err := k.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := dir + "/" + e.Name
		if e.Dir {
			err = removeTree(k, path)
		} else {
			err = removeFile(k, path)
		}
		if err != nil {
			return err
		}
	}
	return removeFile(k, dir)
}

// closeQuietly closes a descriptor that nothing was written through.
func closeQuietly(k ring.Files, fd int) { _ = k.Close(fd) }

// readFull reads len(p) bytes at off, or returns an error; the end of the file is io.ErrUnexpectedEOF.
func readFull(k ring.Files, fd int, p []byte, off int64) error {
	n, err := k.ReadAt(fd, p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
