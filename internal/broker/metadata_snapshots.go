package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// Metadata snapshots keep the metadata log short. When the log behind the newest one is longer than
// metadata.log.max.record.bytes.between.snapshots, or has waited for metadata.log.max.snapshot.interval.ms, a helper makes
// the next: it reads the newest snapshot and the log behind it from their files, as a start does, folds them, and writes
//
//	%020d-%010d-0.checkpoint.part  --fsync, rename, fsync of the directory-->  %020d-%010d.checkpoint
//
// Reading it from the files costs the core nothing, however large the image is, needs no pause for a consistent one (what
// core 0 has in memory moves on meanwhile), and a log that a start could not read is found out while its state is still
// in memory. Then a new segment begins, and what metadata.max.retention.* do not keep goes: older snapshots, and the log
// before the oldest that stays. Nothing goes before the newer snapshot is durable, so a power cut leaves one or the other.

// snapshotCheckNanos is how often the age of the log behind the snapshot and of the snapshots is looked at, as often as
// Kafka does. What a snapshot waited for, or failed at, is tried again then.
const snapshotCheckNanos = 60e9

// metadataSnapshots belongs to core 0.
type metadataSnapshots struct {
	controller *controller
	settings   MetadataSettings

	files   []metadata.SnapshotFile // those that are whole, oldest first
	damaged []string                // names of those that are not: they go when there is a newer one
	behind  int64                   // bytes of the log behind the newest
	since   int64                   // core's clock when the first of them was written
	end     int64                   // of what is committed
	overdue bool                    // the newest is damaged
	rolling bool                    // a snapshot was made and the log has not begun a new segment yet
	working bool                    // a helper has a job
	stopped bool
	waits   int64 // core's clock before which a snapshot that failed is not tried again
	timer   reactor.Timer
}

func newMetadataSnapshots(c *controller, settings MetadataSettings, found *metadataRead) *metadataSnapshots {
	m := &metadataSnapshots{controller: c, settings: settings, behind: found.behind, end: found.end, overdue: len(found.passed) > 0}
	whole := len(found.snapshots) - len(found.passed)
	m.files = slices.Clone(found.snapshots[:whole])
	for _, f := range found.snapshots[whole:] {
		m.damaged = append(m.damaged, f.FileName())
	}
	return m
}

// begin has the log looked at from time to time. The first turn with a clock is when the doors open.
func (m *metadataSnapshots) begin() {
	m.since = m.controller.shard.core.Now
	m.between()
	m.wait()
}

func (m *metadataSnapshots) wait() {
	if !m.stopped {
		m.controller.shard.core.After(snapshotCheckNanos, &m.timer, m)
	}
}

func (m *metadataSnapshots) stop() {
	m.stopped = true
	if m.timer.Armed() {
		m.controller.shard.core.Cancel(&m.timer)
	}
}

// underWay reports whether a helper is still at it.
func (m *metadataSnapshots) underWay() bool { return m.working }

// Fire implements reactor.TimerHandler.
func (m *metadataSnapshots) Fire(*reactor.Timer) {
	m.between()
	m.clean()
	m.wait()
}

// committed counts what was written to the log: all below end is durable.
func (m *metadataSnapshots) committed(end, bytes int64) {
	if m.behind == 0 {
		m.since = m.controller.shard.core.Now
	}
	m.end = end
	m.behind += bytes
}

// between is told when nothing is being written to the log.
func (m *metadataSnapshots) between() {
	if m.stopped {
		return
	}
	if m.rolling && m.controller.log.Roll() {
		m.rolling = false
	}
	if !m.working && m.due() {
		m.take()
	}
}

func (m *metadataSnapshots) due() bool {
	switch {
	case m.behind == 0, m.controller.shard.core.Now < m.waits:
		return false
	case m.overdue, m.settings.SnapshotBytes > 0 && m.behind >= m.settings.SnapshotBytes:
		return true
	}
	return m.settings.SnapshotMillis > 0 && m.controller.shard.core.Now-m.since >= m.settings.SnapshotMillis*1e6
}

// newest is the newest whole snapshot; zero, which stands for no records, if there is none.
func (m *metadataSnapshots) newest() (f metadata.SnapshotFile, found bool) {
	if n := len(m.files); n > 0 {
		return m.files[n-1], true
	}
	return f, false
}

// take has a helper make a snapshot of what is committed.
func (m *metadataSnapshots) take() {
	from, found := m.newest()
	m.working = true
	m.controller.shard.core.Offload(&snapshotJob{
		of: m, dir: m.controller.shard.broker.metaDir.path + "/" + metadataDir, from: from.SnapshotID, found: found,
		scan: m.controller.log.Scan(from.Offset), end: m.end, covered: m.behind,
	})
}

// snapshotJob makes a snapshot.
type snapshotJob struct {
	of      *metadataSnapshots
	dir     string
	from    metadata.SnapshotID
	found   bool // there is a snapshot at from
	scan    *storage.Scan
	end     int64 // the snapshot is of all records below
	covered int64 // bytes of the log between from and end

	made metadata.SnapshotFile
	err  error
}

// Work implements reactor.Job.
func (j *snapshotJob) Work(k kernel) reactor.Message {
	j.err = j.make(k)
	return j
}

var errInTransaction = errors.New("a transaction of the metadata log is open")

func (j *snapshotJob) make(k kernel) error {
	image := metadata.NewImage()
	lastMillis := int64(0)
	if j.found {
		read, err := readSnapshot(k, j.dir+"/"+j.from.FileName(), 1)
		if err != nil {
			return err
		}
		image, lastMillis = read.images[0], read.lastMillis
	}
	j.made.SnapshotID = metadata.SnapshotID{Offset: j.from.Offset, Epoch: j.from.Epoch}
	var bad error
	_, _, err := j.scan.Read(k, func(b protocol.Batch) bool {
		if b.BaseOffset() >= j.end {
			return false
		}
		bad = metadata.EachEntry(b, func(e metadata.Entry) error {
			if e.Offset < j.from.Offset {
				return nil
			}
			lastMillis = max(lastMillis, e.TimestampMillis)
			return image.ApplyEntry(e)
		})
		j.made.Offset, j.made.Epoch = b.NextOffset(), b.LeaderEpoch()
		return bad == nil
	})
	switch {
	case bad != nil || err != nil:
		return errors.Join(bad, err)
	case j.made.Offset != j.end:
		return fmt.Errorf("the log was read up to offset %d of %d", j.made.Offset, j.end)
	case image.InTransaction():
		return errInTransaction
	}
	j.made.TimestampMillis = lastMillis
	s := metadata.Snapshot{LastContainedMillis: lastMillis, TimestampMillis: k.Wall() / 1e6}
	if level := image.KRaftVersion(); level > 0 {
		s.KRaftVersion, s.Voters = &metadata.KRaftVersion{KRaftVersion: level}, image.Voters()
	}
	contents := metadata.AppendSnapshot(nil, s, image.Records())
	j.made.Bytes = int64(len(contents))
	return j.write(k, contents)
}

// snapshotPieceBytes is how much of a snapshot is written at a time.
const snapshotPieceBytes = 1 << 20

func (j *snapshotJob) write(k kernel, contents []byte) error {
	part := j.dir + "/" + j.made.PartName()
	fd, err := k.Open(part, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	for at := 0; at < len(contents) && err == nil; at += snapshotPieceBytes {
		_, err = k.WriteAt(fd, contents[at:min(at+snapshotPieceBytes, len(contents))], int64(at))
	}
	if err == nil {
		err = k.Sync(fd)
	}
	if err = errors.Join(err, k.Close(fd)); err == nil {
		err = k.Rename(part, j.dir+"/"+j.made.FileName())
	}
	if err != nil {
		_ = k.Remove(part) // what went wrong first is what matters
		return err
	}
	return k.SyncDir(j.dir)
}

// Deliver implements reactor.Message.
func (j *snapshotJob) Deliver(*reactor.Core) {
	m := j.of
	m.working = false
	if j.err != nil {
		if !errors.Is(j.err, errInTransaction) {
			m.controller.shard.broker.log.Error("a metadata snapshot could not be made, it will be tried again", "error", j.err)
		}
		m.waits = m.controller.shard.core.Now + snapshotCheckNanos
		return
	}
	m.files = append(m.files, j.made)
	m.behind -= j.covered
	m.since = m.controller.shard.core.Now
	m.overdue, m.rolling = false, true
	m.controller.shard.broker.log.Info("metadata snapshot", "offset", j.made.Offset, "bytes", j.made.Bytes)
	if !m.controller.busy {
		m.between()
	}
	m.clean()
}

// clean lets go what is not to be kept.
func (m *metadataSnapshots) clean() {
	log := m.controller.log
	if m.stopped || m.working || len(m.files) == 0 {
		return
	}
	for i := range m.files {
		m.files[i].LogBytes = log.BytesBelow(m.files[i].Offset)
	}
	n := m.settings.Retention.Expired(m.files, log.Bytes(), m.controller.shard.core.Wall/1e6)
	c := &snapshotCleaning{of: m, dir: m.controller.shard.broker.metaDir.path + "/" + metadataDir}
	if !m.overdue {
		c.names, m.damaged = m.damaged, nil
	}
	for _, f := range m.files[:n] {
		c.names = append(c.names, f.FileName())
	}
	if n > 0 {
		m.files = slices.Delete(m.files, 0, n)
		log.DeleteRecords(m.files[0].Offset)
	}
	if len(c.names) > 0 {
		m.working = true
		m.controller.shard.core.Offload(c)
	}
}

// snapshotCleaning removes snapshots.
type snapshotCleaning struct {
	of    *metadataSnapshots
	dir   string
	names []string
	err   error
}

// Work implements reactor.Job.
func (c *snapshotCleaning) Work(k kernel) reactor.Message {
	for _, name := range c.names {
		c.err = errors.Join(c.err, removeIfThere(k, c.dir+"/"+name))
	}
	return c
}

// Deliver implements reactor.Message.
func (c *snapshotCleaning) Deliver(*reactor.Core) {
	c.of.working = false
	if c.err != nil {
		c.of.controller.shard.broker.log.Warn("old metadata snapshots could not all be removed", "error", c.err)
	}
}

// removeSnapshotLeftovers removes what writing and deleting snapshots, here or in Kafka, left behind when it was cut short.
func removeSnapshotLeftovers(k kernel, dir string) error {
	entries, err := k.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Dir && metadata.IsSnapshotLeftover(e.Name) {
			if err := removeIfThere(k, dir+"/"+e.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func removeIfThere(k kernel, path string) error {
	if err := k.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
