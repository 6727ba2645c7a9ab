package storage

import (
	"errors"
	"syscall"

	"slipstream/protocol"
	"slipstream/ring"
)

// Directory is what a store goes by in one data directory: each may be on a file system of its own.
type Directory struct {
	Path string // what the partitions' directories lie in
	// Writer is WriterRing or WriterInline.
	Writer Writer
	// ZerosAhead has the logs whose appends wait for an fsync filled ahead with zeros, which makes the fsyncs shorter
	// where the file system has a journal.
	ZerosAhead bool
}

// directoryOf is what the partition's writer goes by.
func (s *Store) directoryOf(p *Partition) *Directory {
	parent, _ := splitPath(p.dir)
	for i := range s.directories {
		if s.directories[i].Path == parent {
			return &s.directories[i]
		}
	}
	return &s.elsewhere
}

// DataDir is the data directory that the partition lies in.
func (p *Partition) DataDir() string {
	parent, _ := splitPath(p.dir)
	return parent
}

// Full says of an error that the disk, or a quota, is full: nothing is broken, and with room the same works again.
func Full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// suspect tells who runs the store that something the partition needs of its directory has failed, for another reason
// than that the disk is full.
func (p *Partition) suspect(err error) {
	if err != nil && !Full(err) && p.store.suspecting != nil && p.state != gone && p.abandoned == nil {
		p.store.suspecting(p, err)
	}
}

// abandoned is a partition whose directory has failed.
type abandoned struct{ done func() }

// Abandon takes a partition out of service whose data directory has failed: what is queued or waits for an fsync is
// refused with KAFKA_STORAGE_ERROR, waiters are woken. Its files stay as they are. done is called on the core once nothing
// of it is under way any more; the partition may not be used from now on.
func (s *Store) Abandon(p *Partition, done func()) {
	if p.state == gone || p.abandoned != nil || p.removal != nil {
		done() // it is leaving already
		return
	}
	p.closed = true
	p.stopCleaning()
	p.abandoned = &abandoned{done: done}
	s.jobs++ // the store is not closed before it is gone
	if p.trouble != unsyncable {
		p.trouble = unsyncable
		s.writeback.forget(p)
	}
	p.refuseUnsynced()
	if p.state == idle {
		p.refuseQueued(protocol.KAFKA_STORAGE_ERROR)
	}
	p.wake()
	p.quieted()
}

// leave ends a partition that was abandoned and is quiet.
func (p *Partition) leave() {
	s := p.store
	p.state = gone
	s.release(p)
	p.abandoned.done()
	s.jobEnded()
}

// directoryProbe is the file that TryDirectory writes.
const directoryProbe = ".slipstream-alive" + tmpSuffix

// TryDirectory says whether a data directory works: it makes, writes, syncs and removes a small file. A full disk works.
// Blocking.
func TryDirectory(k ring.Files, dataDir string) error {
	path := dataDir + "/" + directoryProbe
	fd, err := k.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC, fileMode)
	if err != nil {
		return ofTheDisk(err)
	}
	_, err = k.WriteAt(fd, make([]byte, pageBytes), 0)
	if err == nil {
		err = k.Sync(fd)
	}
	if err == nil {
		err = k.SyncDir(dataDir)
	}
	return ofTheDisk(errors.Join(err, k.Close(fd), k.Remove(path)))
}

// ofTheDisk leaves out errors that say nothing about the disk: it is full, or the process or machine is short of something.
func ofTheDisk(err error) error {
	for _, other := range [...]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN} {
		if errors.Is(err, other) {
			return nil
		}
	}
	if Full(err) {
		return nil
	}
	return err
}
