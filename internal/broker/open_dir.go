package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"slipstream/protocol"
	"slipstream/ring"
	"slipstream/storage"
)

// Whose the data directories are, and that nobody else is in them. All of them are looked at before anything is written
// to any, so that a start which is refused has changed nothing.

// takeDirectories looks at the data directories, makes those that are missing, and locks them.
func (b *Broker) takeDirectories() error {
	if err := b.nameDirectories(); err != nil {
		return err
	}
	if err := b.inspectAll(); err != nil {
		return err
	}
	for _, there := range []bool{true, false} { // one that is in use keeps the others from being made
		for _, d := range b.everyDir() {
			if d.failed != nil || d.found != there {
				continue
			}
			if err := b.take(d); err != nil {
				if err = b.without(d, err); err != nil {
					return err
				}
			}
		}
	}
	return b.inspectAll() // another broker may have been quicker
}

// take makes a directory if there is none, and locks it.
func (b *Broker) take(d *logDir) error {
	if err := makeDirs(b.kernel, d.path); err != nil {
		return fmt.Errorf("data directory %s cannot be made: %w", d.path, err)
	}
	fd, err := storage.Lock(b.kernel, d.path)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return inUse(d.path)
	} else if err != nil {
		return unwritable(d.path, err)
	}
	d.lock = fd
	return nil
}

func inUse(path string) error {
	return fmt.Errorf("data directory %s is in use by another process: stop that broker first, or choose another --data-dir", path)
}

// unwritable says that a directory cannot be written to, and what to do about it.
func unwritable(path string, err error) error {
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("data directory %s is on a file system that is mounted read-only: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("data directory %s may not be written by the user that runs the broker (has it another owner, or is it read-only?): %w", path, err)
	}
	return fmt.Errorf("data directory %s cannot be written: %w", path, err)
}

// makeDirs is mkdir -p.
func makeDirs(k kernel, dir string) error {
	info, err := k.Stat(dir)
	if err == nil {
		if !info.Dir {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDirs(k, parent); err != nil {
			return err
		}
	}
	return k.Mkdir(dir, 0o755)
}

// syncAncestors makes the name of a new data directory durable, and those of the
// directories that were made on the way to it, perhaps by a start that was killed.
// What may not be opened was not made by us; some file systems sync no directories.
func syncAncestors(k kernel, dir string) error {
	for parent := filepath.Dir(dir); parent != dir; dir, parent = parent, filepath.Dir(parent) {
		if err := k.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	return nil
}

// inspectAll reads what the directories are, and refuses those that do not belong together.
func (b *Broker) inspectAll() error {
	for _, d := range b.everyDir() {
		if d.failed != nil {
			continue
		}
		if err := b.inspect(d); err != nil {
			if err = b.without(d, err); err != nil {
				return err
			}
		}
	}
	return b.agree()
}

// inspect looks at one directory and writes nothing.
func (b *Broker) inspect(d *logDir) error {
	k := b.kernel
	info, err := k.Stat(d.path)
	d.found, d.fresh = err == nil, true
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b.inspectParent(d)
	case err != nil:
		return fmt.Errorf("data directory %s cannot be looked at: %w", d.path, err)
	case !info.Dir:
		return fmt.Errorf("data directory %s is a file: name a directory", d.path)
	}
	d.device, d.inode = info.Device, info.Inode
	entries, err := k.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("data directory %s cannot be read: %w", d.path, err)
	}
	if err := k.Writable(d.path); err != nil {
		return unwritable(d.path, err)
	}
	d.meta, err = storage.ReadMetaProperties(k, d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return b.checkEmpty(d, entries)
	}
	if err != nil {
		return fmt.Errorf("data directory %s cannot be told whose it is: %w", d.path, err)
	}
	d.fresh, d.partitions = false, d.partitions[:0]
	for _, e := range entries {
		if _, _, kind := storage.ParseDirName(e.Name); e.Dir && kind == storage.DirPartition {
			d.partitions = append(d.partitions, e.Name)
			if err := k.Writable(d.path + "/" + e.Name); err != nil {
				return unwritable(d.path, err)
			}
		}
		if e.Name == metadataDir && d != b.metaDir {
			return fmt.Errorf("data directory %s has the metadata log (%s), and %s is where it should be: name that directory first in log.dirs, or as metadata.log.dir",
				d.path, metadataDir, b.metaDir.path)
		}
	}
	return nil
}

// inspectParent looks at where a directory would be made.
func (b *Broker) inspectParent(d *logDir) error {
	for parent := filepath.Dir(d.path); ; parent = filepath.Dir(parent) {
		info, err := b.kernel.Stat(parent)
		switch {
		case errors.Is(err, fs.ErrNotExist) && parent != filepath.Dir(parent):
			continue
		case err == nil && !info.Dir:
			err = &fs.PathError{Op: "mkdir", Path: parent, Err: syscall.ENOTDIR}
		case err == nil:
			err = b.kernel.Writable(parent)
		}
		if err != nil {
			return fmt.Errorf("data directory %s cannot be made: %w", d.path, err)
		}
		return nil
	}
}

// agree refuses directories that are not this node's, or not of one cluster, or that are two names of one.
func (b *Broker) agree() error {
	var first *logDir
	all := b.everyDir()
	for i, d := range all {
		if d.failed != nil || !d.found {
			continue
		}
		for _, other := range all[:i] {
			if other.failed == nil && other.found && other.device == d.device && other.inode == d.inode {
				return fmt.Errorf("data directories %s and %s are one and the same: name it once", other.path, d.path)
			}
		}
		if d.fresh {
			continue
		}
		if err := b.checkOwner(d); err != nil {
			return err
		}
		if first == nil {
			first = d
		}
		if d.meta.ClusterID != first.meta.ClusterID {
			return fmt.Errorf("data directory %s belongs to cluster %s, and %s to cluster %s: a broker's directories are all of one cluster",
				d.path, d.meta.ClusterID, first.path, first.meta.ClusterID)
		}
		if err := b.checkIDs(d, all[:i]); err != nil {
			return err
		}
	}
	if err := b.findPartitions(); err != nil {
		return err
	}
	if first != nil && b.metaDir.fresh {
		return fmt.Errorf("data directory %s is a broker's, and %s, where its metadata log should be, is new: name the directory that has %s first in log.dirs, or as metadata.log.dir",
			first.path, b.metaDir.path, metadataDir)
	}
	return nil
}

// findPartitions says which directory each partition is in, by the name of its own directory. One that is in two was
// copied, or moved by hand: it is for a person to say which is the right one.
func (b *Broker) findPartitions() error {
	b.where = map[string]*logDir{}
	for _, d := range b.usable() {
		for _, name := range d.partitions {
			if other := b.where[name]; other != nil {
				return fmt.Errorf("partition %s is in two data directories, %s and %s: remove the one that is out of date, or move it elsewhere", name, other.path, d.path)
			}
			b.where[name] = d
		}
	}
	return nil
}

// checkOwner checks that a directory is this node's.
func (b *Broker) checkOwner(d *logDir) error {
	if d.meta.NodeID != b.nodeID {
		return fmt.Errorf("data directory %s belongs to node %d, and node.id is %d: set node.id=%d, or choose another --data-dir",
			d.path, d.meta.NodeID, b.nodeID, d.meta.NodeID)
	}
	if b.settings.ClusterID != "" && b.settings.ClusterID != d.meta.ClusterID {
		return fmt.Errorf("data directory %s belongs to cluster %s, not %s", d.path, d.meta.ClusterID, b.settings.ClusterID)
	}
	return nil
}

// checkIDs checks that no other directory has the same id.
func (b *Broker) checkIDs(d *logDir, others []*logDir) error {
	for _, other := range others {
		if other.failed == nil && !other.fresh && other.meta.DirectoryID == d.meta.DirectoryID && d.meta.DirectoryID != (protocol.UUID{}) {
			return fmt.Errorf("data directories %s and %s have the same directory.id %s: is one a copy of the other?", other.path, d.path, d.meta.DirectoryID)
		}
	}
	return nil
}

// identify writes a meta.properties into the directories that are new, and gives an id to one from before there were any. The
// one with the metadata log comes first: a start that is cut short in between is done again.
func (b *Broker) identify() error {
	cluster := b.settings.ClusterID
	for _, d := range b.everyDir() {
		if d.failed == nil && !d.fresh {
			cluster = d.meta.ClusterID
		}
	}
	if cluster == "" {
		cluster = b.randomID().String()
	}
	for _, d := range b.everyDir() {
		if d.failed != nil {
			continue
		}
		if err := b.identifyOne(d, cluster); err != nil {
			if err = b.without(d, unwritable(d.path, err)); err != nil {
				return err
			}
		}
	}
	b.clusterID, b.directoryID = cluster, b.metaDir.meta.DirectoryID
	return nil
}

func (b *Broker) identifyOne(d *logDir, cluster string) error {
	if !d.fresh && d.meta.DirectoryID != (protocol.UUID{}) {
		return nil
	}
	if d.fresh {
		d.meta = storage.MetaProperties{ClusterID: cluster, NodeID: b.nodeID}
		if d.index >= 0 {
			if err := storage.MakeDataDir(b.kernel, d.path); err != nil {
				return err
			}
		}
		if err := syncAncestors(b.kernel, d.path); err != nil {
			return err
		}
	}
	d.meta.DirectoryID = b.randomID()
	return storage.WriteMetaProperties(b.kernel, d.path, d.meta, b.kernel.Wall())
}

// checkEmpty refuses to make a data directory out of one that holds other things.
func (b *Broker) checkEmpty(d *logDir, entries []ring.DirEntry) error {
	for _, e := range entries {
		if !b.leftByFirstStart(d, e) {
			return fmt.Errorf("data directory %s has no meta.properties but is not empty (%s): it is no broker's, choose another --data-dir", d.path, e.Name)
		}
	}
	return nil
}

// leftByFirstStart says whether a first start that was cut short may have left
// this: it makes its checkpoint files, empty, before meta.properties.
func (b *Broker) leftByFirstStart(d *logDir, e ring.DirEntry) bool {
	switch {
	case e.Name == ".lock", e.Name == "lost+found", strings.HasSuffix(e.Name, ".tmp"):
		return true
	case strings.HasSuffix(e.Name, "-offset-checkpoint"):
		info, err := b.kernel.Stat(d.path + "/" + e.Name)
		return err == nil && info.Size == 0
	}
	return false
}

// randomID is a random id as Kafka draws them: never one of the reserved ones,
// never one whose text begins with a dash (tools would take it for a flag).
func (b *Broker) randomID() protocol.UUID {
	for {
		var u protocol.UUID
		b.kernel.Random(u[:])
		u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
		if !strings.HasPrefix(u.String(), "-") {
			return u
		}
	}
}
