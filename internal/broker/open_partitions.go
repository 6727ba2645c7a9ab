package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/storage"
)

// Opening the partitions of the image, before any core turns.

// opening is one partition to open.
type opening struct {
	topic     *topicState
	partition int32
	epoch     int32
	dir       *logDir // nil: it is in none that is here
	opened    *storage.Partition
	report    storage.RecoveryReport
	err       error
}

// openPartitions opens every partition of the image, several at once, and gives
// each to its core.
func (b *Broker) openPartitions() error {
	b.shards[controllerCore].controller.rules.Directories = b.measure(b.usable())
	work := b.partitionsToOpen()
	for _, d := range b.usable() {
		if err := b.prepare(d); err != nil {
			return err
		}
	}
	b.report.Clean = b.metaDir.clean || b.metaDir.index < 0
	for _, d := range b.where { // the order does not show
		b.report.Clean = b.report.Clean && d.clean
	}
	b.openAll(work)
	b.opened = make(map[partitionKey]*logDir, len(work))
	for _, o := range work {
		if o.err != nil {
			return fmt.Errorf("partition %s-%d cannot be opened: %w", o.topic.name, o.partition, o.err)
		}
		b.give(o)
	}
	b.where = nil
	b.report.Topics, b.report.Partitions = len(b.shards[0].topics), len(work)
	return nil
}

// prepare reads a directory's checkpoints, takes its clean marker, and tidies up what earlier runs have left.
func (b *Broker) prepare(d *logDir) (err error) {
	var notes []string
	d.points, notes = storage.ReadCheckpoints(b.kernel, d.path)
	for _, note := range notes {
		b.log.Warn("checkpoint files", "directory", d.path, "note", note)
	}
	if d.clean, _, err = storage.TakeCleanShutdown(b.kernel, d.path); err != nil {
		return err
	}
	if err := storage.RemoveDeleted(b.kernel, d.path); err != nil {
		return err
	}
	taken, err := storage.TakeFutures(b.kernel, d.path, func(topic string, partition int32, id protocol.UUID) bool {
		return b.isNow(b.shards[controllerCore].image, d, topic, partition, id)
	})
	if err != nil {
		return err
	}
	for _, name := range taken {
		b.log.Warn("a copy that was being moved here is the partition: the metadata says so, and there is no other", "data directory", d.path, "directory", name)
	}
	strays, err := storage.SetAsideStrays(b.kernel, d.path, b.wanted)
	if err != nil {
		return err
	}
	for _, name := range strays {
		b.log.Warn("set aside a directory that belongs to no topic", "data directory", d.path, "directory", name)
	}
	return nil
}

// wanted says whether a partition directory belongs to a topic of the image. id
// is zero where the directory does not say.
func (b *Broker) wanted(topic string, partition int32, id protocol.UUID) bool {
	if topic == metadata.MetadataTopic {
		return true
	}
	return wantedBy(b.shards[controllerCore].image, topic, partition, id)
}

// isNow says whether a copy that Kafka was moving into d has become the partition: the metadata has it in d, which Kafka writes when the copy
// has caught up, and the log that it was copied from is gone. Kafka recovers such a copy too, as an abandoned future log.
func (b *Broker) isNow(im *metadata.Image, d *logDir, topic string, partition int32, id protocol.UUID) bool {
	if b.where[storage.DirName(topic, partition)] != nil || id == (protocol.UUID{}) || !wantedBy(im, topic, partition, id) {
		return false
	}
	return b.dirIDOf(im.TopicByName(topic).Partition(partition)) == d.id()
}

func wantedBy(im *metadata.Image, topic string, partition int32, id protocol.UUID) bool {
	t := im.TopicByName(topic)
	return t != nil && t.Partition(partition) != nil && (id == protocol.UUID{} || id == protocol.UUID(t.ID))
}

// partitionsToOpen lists the partitions of the image with the directory that each is in, or is to be made in.
func (b *Broker) partitionsToOpen() (work []*opening) {
	missing := map[metadata.UUID]int{}
	for _, t := range b.shards[0].image.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			o := &opening{topic: b.shards[0].topics[protocol.UUID(t.ID)], partition: p.Index, epoch: p.LeaderEpoch}
			if o.dir = b.where[storage.DirName(t.Name, p.Index)]; o.dir == nil {
				var id metadata.UUID
				if o.dir, id = b.dirFor(p); o.dir == nil {
					missing[id]++
				}
			}
			work = append(work, o)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(missing), func(x, y metadata.UUID) int { return bytes.Compare(x[:], y[:]) }) {
		b.log.Error("partitions are out of service: the data directory that they are in is none of log.dirs, or has failed",
			"directory.id", id, "partitions", missing[id])
	}
	return work
}

// dirFor is where the files of a partition are to be made that has none: it was committed, but the crash came before. Where its
// directory is not here, that is no reason to begin an empty log: dir is nil, and id the directory's.
func (b *Broker) dirFor(p *metadata.Partition) (dir *logDir, id metadata.UUID) {
	switch id = b.dirIDOf(p); id {
	case metadata.DirectoryMigrating, metadata.DirectoryUnassigned:
		return b.dirWithID(b.shards[controllerCore].controller.rules.Place()), id
	}
	return b.dirWithID(id), id
}

// madeAnew says whether a start makes the files of a partition that has none.
func (b *Broker) madeAnew(p *metadata.Partition) bool {
	id := b.dirIDOf(p)
	return id == metadata.DirectoryMigrating || id == metadata.DirectoryUnassigned || b.dirWithID(id) != nil
}

// dirIDOf is the directory that the metadata has a partition in, DirectoryMigrating where it does not say.
func (b *Broker) dirIDOf(p *metadata.Partition) (id metadata.UUID) {
	if at := slices.Index(p.Replicas, b.nodeID); at >= 0 && at < len(p.Directories) {
		id = p.Directories[at]
	}
	return id
}

// openOne opens a partition. r, which may be nil, is told how far it has come and has threads to spare.
func (b *Broker) openOne(o *opening, r *recovery) {
	if o.dir == nil {
		return
	}
	name := storage.DirName(o.topic.name, o.partition)
	dir, points := o.dir.path+"/"+name, &o.dir.points
	id := storage.TopicPartition{Topic: o.topic.name, TopicID: o.topic.id, Partition: o.partition}
	if _, err := b.kernel.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		// Committed, but the crash came before the directory was made.
		o.opened, o.err = storage.Create(b.kernel, dir, id, o.topic.settings, o.epoch)
		return
	}
	options := storage.OpenOptions{
		RecoveryPoint: points.RecoveryPoint[name], LogStart: points.LogStart[name],
		CleanedTo: points.CleanedTo[name],
		Clean:     o.dir.clean, ID: id,
	}
	if r != nil {
		options.Parallel, options.Told = r.parallel, r.told
	}
	o.opened, o.report, o.err = storage.Open(b.kernel, dir, o.topic.settings, options)
	if o.err == nil && o.opened.ID().TopicID != o.topic.id {
		o.err = fmt.Errorf("directory %s belongs to a topic of id %s, the metadata says %s", dir, o.opened.ID().TopicID, o.topic.id)
	}
	if o.err == nil {
		o.opened.SetLeaderEpoch(o.epoch)
	}
}

// give hands an opened partition to the core that owns it.
func (b *Broker) give(o *opening) {
	key := partitionKey{o.topic.id, o.partition}
	s := b.shards[b.ownerOf(key)]
	h := &hosted{key: key, topic: s.topics[key.topic], leaderEpoch: o.epoch, log: o.opened, dir: o.dir, failed: o.dir == nil}
	s.hosted[key] = h
	if h.failed {
		s.outOfService++
		return
	}
	b.opened[key] = o.dir
	s.store.Adopt(o.opened)
	s.coordinate(h)
	r := &b.report.Recovered
	r.Segments += o.report.Segments
	r.SegmentsScanned += o.report.SegmentsScanned
	r.BytesScanned += o.report.BytesScanned
	r.BytesCut += o.report.BytesCut
	r.IndexesRebuilt += o.report.IndexesRebuilt
	for _, note := range o.report.Notes {
		b.log.Warn("recovered", "topic", o.topic.name, "partition", o.partition, "note", note)
	}
}
