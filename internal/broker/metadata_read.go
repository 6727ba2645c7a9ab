package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"

	"slipstream/internal/metadata"
	"slipstream/ring"
	"slipstream/storage"
)

// Reading a metadata directory, for a start and for `slipstream adopt --check`: nothing is changed, and what cannot be
// believed is an error of one sentence. An ordinary log is cut where it is damaged; this one is not, but for the batch that
// was being written when the broker ended, of which nobody was told: everything here was durable before it counted.

// metadataRead is what a metadata directory says.
type metadataRead struct {
	dir    string
	empty  bool // there is no log yet: a first start makes it
	images []*metadata.Image

	snapshots []metadata.SnapshotFile // oldest first; those that are damaged too
	from      metadata.SnapshotID     // the snapshot that the images begin with; zero: the log's beginning
	passed    []damagedSnapshot       // the newer ones, which are damaged

	end    int64 // the log's
	epoch  int32 // of its last batch, 0 if there is none
	behind int64 // bytes of the batches behind the snapshot
	torn   int64 // bytes behind the last whole batch

	quorum metadata.QuorumState

	bootstrap []metadata.Record // of an empty log: what Kafka's format left for it; nil: nothing
}

// damagedSnapshot is a snapshot that cannot be read.
type damagedSnapshot struct {
	name string
	why  error
}

// readMetadataOf reads the metadata of a data directory.
func readMetadataOf(k ring.Files, dataDir string, images int) (*metadataRead, error) {
	clean, durable, err := storage.HasCleanShutdown(k, dataDir) // the broker's epoch is an offset of its registration
	if err != nil {
		return nil, err
	}
	points, _ := storage.ReadCheckpoints(k, dataDir)
	m, err := readMetadata(k, dataDir+"/"+metadataDir, images, clean, max(durable, points.RecoveryPoint[metadataDir]))
	if err != nil || m.end > 0 {
		return m, err
	}
	return m, m.readBootstrap(k, dataDir)
}

// readBootstrap reads what a directory that was formatted and never used says of its beginning.
func (m *metadataRead) readBootstrap(k ring.Files, dataDir string) error {
	for _, s := range m.snapshots { // one at most, at offset 0: the voters
		read, err := readSnapshot(k, m.dir+"/"+s.FileName(), len(m.images))
		if err != nil {
			return fmt.Errorf("metadata snapshot %s/%s: %w", m.dir, s.FileName(), err)
		}
		m.images = read.images
	}
	b, err := readFile(k, dataDir+"/"+bootstrapName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = metadata.EachSnapshotEntry(b, func(e metadata.Entry) error {
			if e.Record != nil {
				m.bootstrap = append(m.bootstrap, e.Record)
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("%s/%s is damaged (%w): restore it, or format the directory anew", dataDir, bootstrapName, err)
	}
	return nil
}

// readMetadata reads the newest whole snapshot and the log behind it into images (as many as asked for), and
// quorum-state. clean says that the broker was stopped cleanly, durable up to which offset the log must be there.
func readMetadata(k ring.Files, dir string, images int, clean bool, durable int64) (*metadataRead, error) {
	m := &metadataRead{dir: dir, quorum: metadata.QuorumState{LeaderID: -1}}
	segments, err := m.list(k)
	if err != nil {
		return nil, err
	}
	if err := m.readQuorumState(k); err != nil {
		return nil, err
	}
	if m.empty {
		m.images = newImages(images)
		return m, nil
	}
	if err := m.begin(k, images, segments); err != nil {
		return nil, err
	}
	if err := m.readLog(k, segments, clean); err != nil {
		return nil, err
	}
	return m, m.reaches(k, durable)
}

func newImages(n int) []*metadata.Image {
	images := make([]*metadata.Image, n)
	for i := range images {
		images[i] = metadata.NewImage()
	}
	return images
}

// list finds the log's segments, by base offset, and the snapshots.
func (m *metadataRead) list(k ring.Files) (segments []int64, err error) {
	entries, err := k.ReadDir(m.dir)
	if errors.Is(err, fs.ErrNotExist) {
		m.empty = true
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the metadata directory cannot be read: %w", err)
	}
	for _, e := range entries {
		if id, ok := metadata.ParseSnapshotName(e.Name); ok {
			info, err := k.Stat(m.dir + "/" + e.Name)
			if err != nil {
				return nil, err
			}
			m.snapshots = append(m.snapshots, metadata.SnapshotFile{SnapshotID: id, Bytes: info.Size})
		} else if base, suffix, ok := storage.ParseFileName(e.Name); ok && suffix == ".log" {
			segments = append(segments, base)
		}
	}
	slices.Sort(segments)
	slices.SortFunc(m.snapshots, func(a, b metadata.SnapshotFile) int { return strings.Compare(a.FileName(), b.FileName()) })
	m.empty = len(segments) == 0 && m.newest().Offset == 0
	if !m.empty && len(segments) == 0 {
		return nil, fmt.Errorf("the metadata log in %s has no segment, and its newest snapshot ends at offset %d", m.dir, m.newest().Offset)
	}
	return segments, nil
}

// newest is the newest snapshot; zero if there is none.
func (m *metadataRead) newest() (id metadata.SnapshotID) {
	if n := len(m.snapshots); n > 0 {
		id = m.snapshots[n-1].SnapshotID
	}
	return id
}

func (m *metadataRead) readQuorumState(k ring.Files) error {
	path := m.dir + "/quorum-state"
	b, err := readFile(k, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		m.quorum, err = metadata.ParseQuorumState(b)
	}
	if err != nil {
		return fmt.Errorf("%s is damaged (%w): restore it from a copy", path, err)
	}
	return nil
}

// begin makes the images of the newest snapshot that is whole and that the log goes on from.
func (m *metadataRead) begin(k ring.Files, images int, segments []int64) error {
	for i := len(m.snapshots) - 1; i >= 0; i-- {
		s := &m.snapshots[i]
		if s.Offset < segments[0] {
			break // what is between it and the log is gone
		}
		read, err := readSnapshot(k, m.dir+"/"+s.FileName(), images)
		if newer := (*metadata.UnknownRecordError)(nil); errors.As(err, &newer) {
			return fmt.Errorf("metadata snapshot %s: %w", s.FileName(), err)
		}
		if err == nil {
			m.images, m.from, m.epoch, s.TimestampMillis = read.images, s.SnapshotID, s.Epoch, read.lastMillis
			return m.timestamps(k, i)
		}
		m.passed = append(m.passed, damagedSnapshot{s.FileName(), err})
	}
	if segments[0] == 0 {
		m.images = newImages(images) // the whole log is there
		return nil
	}
	if len(m.passed) > 0 {
		return fmt.Errorf("the metadata log in %s begins at offset %d, and no snapshot of what was before is whole (%s: %w): restore the file from a copy",
			m.dir, segments[0], m.passed[0].name, m.passed[0].why)
	}
	return fmt.Errorf("the metadata log in %s begins at offset %d, and there is no snapshot of what was before: restore the directory from a copy",
		m.dir, segments[0])
}

// timestamps reads of the older snapshots how old they are. One that cannot be read is as old as can be.
func (m *metadataRead) timestamps(k ring.Files, upTo int) error {
	for i := range m.snapshots[:upTo] {
		if b, err := readFile(k, m.dir+"/"+m.snapshots[i].FileName()); err == nil {
			m.snapshots[i].TimestampMillis, _ = metadata.SnapshotTimestamp(b)
		}
	}
	return nil
}

// snapshotRead is a snapshot in memory.
type snapshotRead struct {
	images     []*metadata.Image
	lastMillis int64 // timestamp of the last record that it stands for
}

// readSnapshot reads a snapshot into new images.
func readSnapshot(k ring.Files, path string, images int) (*snapshotRead, error) {
	b, err := readFile(k, path)
	if err != nil {
		return nil, err
	}
	r := &snapshotRead{images: newImages(images)}
	err = metadata.EachSnapshotEntry(b, func(e metadata.Entry) error { return applyAll(r.images, e) })
	if err != nil {
		return nil, err
	}
	r.lastMillis, err = metadata.SnapshotTimestamp(b)
	return r, err
}

// applyAll folds one record into all images: they share what is decoded.
func applyAll(images []*metadata.Image, e metadata.Entry) error {
	for _, im := range images {
		if err := im.ApplyEntry(e); err != nil {
			return err
		}
	}
	return nil
}

// readLog folds the log from the snapshot on.
func (m *metadataRead) readLog(k ring.Files, segments []int64, clean bool) error {
	first := 0
	for first+1 < len(segments) && segments[first+1] <= m.from.Offset {
		first++
	}
	m.end = segments[first]
	for i, base := range segments[first:] {
		name := fmt.Sprintf("%020d.log", base)
		if base != m.end {
			return fmt.Errorf("the metadata log in %s has a hole: offset %d is missing, %s begins behind it", m.dir, m.end, name)
		}
		last := first+i+1 == len(segments)
		if err := m.readSegment(k, name, last, clean); err != nil {
			return fmt.Errorf("metadata log %s/%s: %w", m.dir, name, err)
		}
	}
	if m.end < m.from.Offset {
		return fmt.Errorf("the metadata log in %s ends at offset %d, before its snapshot at %d: the end of the log is missing, restore it from a copy",
			m.dir, m.end, m.from.Offset)
	}
	return nil
}

func (m *metadataRead) readSegment(k ring.Files, name string, last, clean bool) error {
	f, err := storage.OpenLogFile(k, m.dir+"/"+name)
	if err != nil {
		return err
	}
	defer f.Close()
	// A batch that is in the page cache only, because its fsync failed, would be counted here and cut off when the log is opened.
	if err := f.Distrust(); err != nil {
		return err
	}
	position := int64(0)
	for position < f.Size() {
		h, err := f.Header(position)
		if err != nil {
			return m.endsAt(f, position, err, last, clean)
		}
		if h.BaseOffset() != m.end {
			return fmt.Errorf("a batch at byte %d begins at offset %d, and %d should follow: the file is damaged, or another log's", position, h.BaseOffset(), m.end)
		}
		size, next, epoch := storage.BatchBytes(h), h.NextOffset(), h.LeaderEpoch()
		if next > m.from.Offset {
			b, err := f.Batch(position)
			if err != nil {
				return m.endsAt(f, position, err, last, clean)
			}
			err = metadata.EachEntry(b, func(e metadata.Entry) error {
				if e.Offset < m.from.Offset {
					return nil
				}
				return applyAll(m.images, e)
			})
			if err != nil {
				return err
			}
			m.behind += size
		}
		m.end, m.epoch = next, max(m.epoch, epoch)
		position += size
	}
	return nil
}

// endsAt decides about a place in the log where no batch is: the end of it, or damage.
func (m *metadataRead) endsAt(f *storage.LogFile, position int64, why error, last, clean bool) error {
	if f.ZeroFrom(position) {
		return nil // room that was made ahead; the next segment, or what else knows of the log's end, must agree
	}
	damaged := fmt.Errorf("it is damaged at byte %d, offset %d (%w): restore it from a copy", position, m.end, why)
	switch {
	case !errors.Is(why, storage.ErrNoBatch) && !errors.Is(why, storage.ErrBatchCRC):
		return why
	case !last:
		return damaged
	case clean:
		return fmt.Errorf("%w; the broker was stopped cleanly, so this is no torn end", damaged)
	}
	const farthest = 1 << 40 // offsets ahead that a batch behind the damage may have
	if at, ok := f.FindBatch(position, m.end, m.end+farthest); ok {
		return fmt.Errorf("%w; it goes on at byte %d, so this is no torn end", damaged, at)
	}
	m.torn = f.Size() - position
	return nil
}

// reaches checks that the log is as long as other files say that it was.
func (m *metadataRead) reaches(k ring.Files, durable int64) error {
	missing := func(what string, offset int64) error {
		return fmt.Errorf("the metadata log in %s ends at offset %d, and %s at offset %d: the end of the log is missing, restore it from a copy",
			m.dir, m.end, what, offset)
	}
	if durable > m.end {
		return missing("it was durable", durable)
	}
	if newest := m.newest(); newest.Offset > m.end {
		return missing("its newest snapshot ends", newest.Offset)
	}
	b, err := readFile(k, m.dir+"/leader-epoch-checkpoint")
	if err != nil {
		return nil // it is made again from the log
	}
	epochs, err := storage.DecodeEpochs(b)
	if err != nil || len(epochs) == 0 {
		return nil
	}
	if start := epochs[len(epochs)-1].StartOffset; start > m.end {
		return missing("its last epoch begins", start)
	}
	return nil
}

// refused is the first reason not to start. where has the partitions that are there.
func (m *metadataRead) refused(dataDir string, nodeID int32, where map[string]*logDir) error {
	if why := m.refusals(nodeID); len(why) > 0 {
		return fmt.Errorf("data directory %s cannot be opened: %s", dataDir, why[0])
	}
	if !m.empty && m.images[0].Feature(metadata.MetadataVersion) > 0 {
		return nil
	}
	// A log that says nothing yet has no partitions: those that are there are another log's, and would be set aside.
	for _, name := range slices.Sorted(maps.Keys(where)) {
		if name != metadataDir {
			return fmt.Errorf("data directory %s has partitions (%s) and no metadata log that says whose they are: it was a ZooKeeper-era broker's, or metadata.log.dir is elsewhere, or the log is lost",
				where[name].path, name)
		}
	}
	return nil
}

// refusals are the reasons for which this node may not go on with this log, though it can be read.
func (m *metadataRead) refusals(nodeID int32) (why []string) {
	im := m.images[0]
	for _, f := range append([]metadata.FeatureLevel{{Name: metadata.KRaftVersionFeature, Level: im.KRaftVersion()}}, im.Features()...) {
		if known := metadata.SupportedLevel(f.Name); f.Level > known {
			why = append(why, fmt.Sprintf("%s is finalized at level %d, and up to %d is known here: a newer release of Kafka wrote the directory", f.Name, f.Level, known))
		}
	}
	if m.epoch == math.MaxInt32 || m.quorum.LeaderEpoch == math.MaxInt32 {
		why = append(why, fmt.Sprintf("the epochs of the metadata log in %s are used up: quorum-state or the log is damaged", m.dir))
	}
	voters := im.VoterIDs()
	if len(voters) == 0 {
		voters = m.quorum.VoterIDs
	}
	switch others := slices.ContainsFunc(voters, func(id int32) bool { return id != nodeID }); {
	case others && !slices.Contains(voters, nodeID):
		why = append(why, fmt.Sprintf("the metadata log is that of controllers %v, and node %d is none of them: only a node that is its own controller can be opened", voters, nodeID))
	case others:
		why = append(why, fmt.Sprintf("the metadata log has the voters %v: node %d may not decide without the others", voters, nodeID))
	case m.quorum.LeaderID >= 0 && m.quorum.LeaderID != nodeID:
		why = append(why, fmt.Sprintf("quorum-state in %s names node %d as the leader of the metadata log, and this is node %d", m.dir, m.quorum.LeaderID, nodeID))
	}
	return why
}
