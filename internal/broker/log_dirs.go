package broker

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/storage"
)

// The data directories (log.dirs) and which of them has the metadata log. A partition is in the directory where its files
// are; a directory that fails takes its partitions out of service and no others (failing_dirs.go).

// logDir is a data directory. It does not change once the cores run; what is out of service since is Shard.offline.
type logDir struct {
	path       string // as it was named
	abs        string // what clients are told
	index      int    // in Broker.dirs; -1: it has the metadata log and nothing else
	lock       int    // descriptor that holds .lock; -1: none
	found      bool   // it was there
	fresh      bool   // it has no meta.properties yet
	device     uint64
	inode      uint64
	meta       storage.MetaProperties
	partitions []string // names of partitions' directories in it
	failed     error    // why this start goes on without it
	clean      bool     // the last run has closed all its partitions
	points     storage.Checkpoints
	writer     storage.WriterProbe
}

// id is its directory.id.
func (d *logDir) id() metadata.UUID { return metadata.UUID(d.meta.DirectoryID) }

// usable are the directories that partitions are served from, as the start found them.
func (b *Broker) usable() (dirs []*logDir) {
	for _, d := range b.dirs {
		if d.failed == nil {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// everyDir is those of log.dirs and, if it is none of them, metadata.log.dir; the one with the metadata log comes first.
func (b *Broker) everyDir() []*logDir {
	all := []*logDir{b.metaDir}
	for _, d := range b.dirs {
		if d != b.metaDir {
			all = append(all, d)
		}
	}
	return all
}

// dirWithID finds a directory that is served from, or nil.
func (b *Broker) dirWithID(id metadata.UUID) *logDir {
	for _, d := range b.dirs {
		if d.failed == nil && d.id() == id {
			return d
		}
	}
	return nil
}

// dirAt finds a directory by the path that it was named with, or nil.
func (b *Broker) dirAt(path string) *logDir {
	for _, d := range b.everyDir() {
		if d.path == path {
			return d
		}
	}
	return nil
}

// nameDirectories makes the list of what was named.
func (b *Broker) nameDirectories() error {
	for i, path := range b.settings.DataDirs {
		b.dirs = append(b.dirs, newLogDir(path, i))
	}
	if len(b.dirs) == 0 {
		return errors.New("no data directory is named: give --data-dir DIR, or log.dirs in the --config file")
	}
	b.metaDir = b.dirs[0]
	if path := b.settings.MetadataDir; path != "" {
		b.metaDir = newLogDir(path, -1)
		for _, d := range b.dirs {
			if d.abs == b.metaDir.abs {
				b.metaDir = d
			}
		}
	}
	all := b.everyDir()
	for i, d := range all {
		for _, other := range all[:i] {
			if d.abs == other.abs {
				return fmt.Errorf("data directory %s is named twice in log.dirs", d.abs)
			}
			for _, pair := range [][2]*logDir{{d, other}, {other, d}} {
				if inside(pair[0].abs, pair[1].abs) {
					return fmt.Errorf("data directory %s lies inside data directory %s: each of log.dirs needs a directory of its own", pair[0].abs, pair[1].abs)
				}
			}
		}
	}
	return nil
}

func newLogDir(path string, index int) *logDir {
	d := &logDir{path: filepath.Clean(path), index: index, lock: -1}
	d.abs = d.path
	if abs, err := filepath.Abs(d.path); err == nil {
		d.abs = abs
	}
	return d
}

// inside is whether a path lies in a directory.
func inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != "." && rel != ".." && !(len(rel) > 2 && rel[:3] == "../")
}

// diskFailed is whether an error means that a disk, or the file system on it, does not work: a start can go on without that
// directory if there are others. What a person has to put right (a wrong owner, a wrong path) is none of these.
func diskFailed(err error) bool {
	for _, errno := range [...]syscall.Errno{
		syscall.EIO, syscall.EROFS, syscall.ENXIO, syscall.ENODEV, syscall.EUCLEAN, syscall.EBADMSG, syscall.ESTALE,
		syscall.ESHUTDOWN, syscall.EREMOTEIO, syscall.ENOTCONN,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// without goes on without a directory whose disk has failed, where there are others; else the error, in one sentence,
// ends the start.
func (b *Broker) without(d *logDir, err error) error {
	others := 0
	for _, other := range b.dirs {
		if other != d && other.failed == nil {
			others++
		}
	}
	if d == b.metaDir || others == 0 || !diskFailed(err) {
		return err
	}
	d.failed = err
	b.log.Error("a data directory has failed; the broker starts without it", "directory", d.abs, "error", err)
	return nil
}

// whereIs is the directory id of a partition that this start has opened or made.
func (b *Broker) whereIs(topic metadata.UUID, partition int32) (metadata.UUID, bool) {
	d := b.opened[partitionKey{protocol.UUID(topic), partition}]
	if d == nil {
		return metadata.UUID{}, false
	}
	return d.id(), true
}
