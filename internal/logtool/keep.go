package logtool

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"

	"slipstream/ring"
)

// keeper keeps a copy of whatever a repair changes or removes, durably, before it does: in a directory of its own,
// outside of the data directory, because Kafka does not start where one of its directories has a name that it does not know.
//
//	BACKUP/orders-0/00000000000000000000.log     as it was
//	BACKUP/recovery-point-offset-checkpoint
type keeper struct {
	k    ring.Files
	root string
	from string                        // the data directory
	own  func(path, like string) error // nil: whoever runs this owns what it makes
	mu   sync.Mutex
	made map[string]bool
}

// place is where the copy of a file goes: one that is changed twice has two, the second with -2 behind its name. Its directory is made.
func (p *keeper) place(path string) (string, error) {
	rel, err := filepath.Rel(p.from, path)
	if err != nil {
		return "", err
	}
	to := filepath.Join(p.root, rel)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.makeDir(filepath.Dir(to)); err != nil {
		return "", err
	}
	return unusedName(p.k, to), nil
}

// makeDir is mkdir -p, durably.
func (p *keeper) makeDir(dir string) error {
	if p.made[dir] {
		return nil
	}
	if _, err := p.k.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		parent := filepath.Dir(dir)
		if err := p.makeDir(parent); err != nil {
			return err
		}
		if err := p.k.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := p.k.SyncDir(parent); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	p.made[dir] = true
	return nil
}

// copy keeps a copy of a file.
func (p *keeper) copy(path string) error {
	to, err := p.place(path)
	if err != nil {
		return err
	}
	if err := copyFile(p.k, path, to); err != nil {
		return err
	}
	return p.k.SyncDir(filepath.Dir(to))
}

// move takes a file away, into the copies. One that is not there needs nothing.
func (p *keeper) move(path string) error {
	to, err := p.place(path)
	if err != nil {
		return err
	}
	err = p.k.Rename(path, to)
	if errors.Is(err, syscall.EXDEV) {
		if err = copyFile(p.k, path, to); err == nil {
			err = p.k.SyncDir(filepath.Dir(to))
		}
		if err == nil {
			err = p.k.Remove(path)
		}
	}
	if err = ignoreMissing(err); err != nil {
		return err
	}
	return errors.Join(p.k.SyncDir(filepath.Dir(to)), p.k.SyncDir(filepath.Dir(path)))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// replace keeps a copy of a file and gives it new contents: after a crash it has the old ones or the new ones. A
// file that cannot be read is moved away.
func (p *keeper) replace(path string, write func(fd int) error) error {
	switch err := p.copy(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		if err := p.move(path); err != nil {
			return err
		}
	}
	tmp := path + ".tmp"
	if _, err := p.k.Stat(tmp); err == nil {
		if err := p.move(tmp); err != nil {
			return err
		}
	}
	fd, err := p.k.Open(tmp, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = write(fd)
	if err == nil {
		err = p.k.Sync(fd)
	}
	if err = errors.Join(err, p.k.Close(fd)); err == nil && p.own != nil {
		err = p.own(tmp, filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(err, p.k.Remove(tmp))
	}
	if err := p.k.Rename(tmp, path); err != nil {
		return err
	}
	return p.k.SyncDir(filepath.Dir(path))
}

const copyBytes = 1 << 20

// copyFile copies a file, and makes what it holds durable.
func copyFile(k ring.Files, from, to string) error {
	in, err := k.Open(from, syscall.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer k.Close(in)
	size, err := k.Size(in)
	if err != nil {
		return err
	}
	out, err := k.Open(to, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if err = copyRange(k, in, 0, size, out, 0); err == nil {
		err = k.Sync(out)
	}
	if err = errors.Join(err, k.Close(out)); err != nil {
		return errors.Join(err, k.Remove(to)) // half a copy is none
	}
	return nil
}

func copyRange(k ring.Files, in int, from, to int64, out int, at int64) error {
	buf := make([]byte, min(copyBytes, max(to-from, 0)))
	for from < to {
		b := buf[:min(int64(len(buf)), to-from)]
		n, err := k.ReadAt(in, b, from)
		if n < len(b) {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
		if _, err := k.WriteAt(out, b, at); err != nil {
			return err
		}
		from, at = from+int64(n), at+int64(n)
	}
	return nil
}
