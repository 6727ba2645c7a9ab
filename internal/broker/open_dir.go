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

// The data directory: whose it is, and that nobody else is in it.

// takeDirectory makes the data directory if there is none and locks it.
func (b *Broker) takeDirectory() error {
	k := b.kernel
	if err := makeDirs(k, b.dir); err != nil {
		return fmt.Errorf("data directory %s cannot be made: %w", b.dir, err)
	}
	fd, err := storage.Lock(k, b.dir)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("data directory %s is in use by another process: stop that broker first, or choose another --data-dir", b.dir)
	} else if err != nil {
		return fmt.Errorf("data directory %s cannot be locked: %w", b.dir, err)
	}
	b.lock = fd
	return nil
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

// identify reads meta.properties, or writes one into a directory that is new.
func (b *Broker) identify() error {
	m, err := storage.ReadMetaProperties(b.kernel, b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := b.checkEmpty(); err != nil {
			return err
		}
		m = storage.MetaProperties{ClusterID: b.settings.ClusterID, NodeID: b.nodeID, DirectoryID: b.randomID()}
		if m.ClusterID == "" {
			m.ClusterID = b.randomID().String()
		}
		if err = storage.MakeDataDir(b.kernel, b.dir); err == nil {
			err = syncAncestors(b.kernel, b.dir)
		}
		if err == nil {
			err = storage.WriteMetaProperties(b.kernel, b.dir, m, b.kernel.Wall())
		}
	}
	if err != nil {
		return err
	}
	if m.NodeID != b.nodeID {
		return fmt.Errorf("data directory %s belongs to node %d, and node.id is %d: set node.id=%d, or choose another --data-dir",
			b.dir, m.NodeID, b.nodeID, m.NodeID)
	}
	if b.settings.ClusterID != "" && b.settings.ClusterID != m.ClusterID {
		return fmt.Errorf("data directory %s belongs to cluster %s, not %s", b.dir, m.ClusterID, b.settings.ClusterID)
	}
	b.clusterID, b.directoryID = m.ClusterID, m.DirectoryID
	return nil
}

// checkEmpty refuses to make a data directory out of one that holds other things.
func (b *Broker) checkEmpty() error {
	entries, err := b.kernel.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !b.leftByFirstStart(e) {
			return fmt.Errorf("data directory %s has no meta.properties but is not empty (%s): it is no broker's, choose another --data-dir", b.dir, e.Name)
		}
	}
	return nil
}

// leftByFirstStart says whether a first start that was cut short may have left
// this: it makes its checkpoint files, empty, before meta.properties.
func (b *Broker) leftByFirstStart(e ring.DirEntry) bool {
	switch {
	case e.Name == ".lock", e.Name == "lost+found", strings.HasSuffix(e.Name, ".tmp"):
		return true
	case strings.HasSuffix(e.Name, "-offset-checkpoint"):
		info, err := b.kernel.Stat(b.dir + "/" + e.Name)
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
