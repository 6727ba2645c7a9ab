package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

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
	opened    *storage.Partition
	report    storage.RecoveryReport
	err       error
}

// openPartitions opens every partition of the image, several at once, and gives
// each to its core.
func (b *Broker) openPartitions() error {
	work := b.partitionsToOpen()
	points, notes := storage.ReadCheckpoints(b.kernel, b.dir)
	for _, note := range notes {
		b.log.Warn("checkpoint files", "note", note)
	}
	var err error
	b.report.Clean, _, err = storage.TakeCleanShutdown(b.kernel, b.dir)
	if err != nil {
		return err
	}
	if err := storage.RemoveDeleted(b.kernel, b.dir); err != nil {
		return err
	}
	strays, err := storage.SetAsideStrays(b.kernel, b.dir, b.wanted)
	if err != nil {
		return err
	}
	for _, name := range strays {
		b.log.Warn("set aside a directory that belongs to no topic", "directory", name)
	}
	b.openAll(work, points)
	for _, o := range work {
		if o.err != nil {
			return fmt.Errorf("partition %s-%d cannot be opened: %w", o.topic.name, o.partition, o.err)
		}
		b.give(o)
	}
	b.report.Topics, b.report.Partitions = len(b.shards[0].topics), len(work)
	return nil
}

// wanted says whether a partition directory belongs to a topic of the image. id
// is zero where the directory does not say.
func (b *Broker) wanted(topic string, partition int32, id protocol.UUID) bool {
	if topic == metadata.MetadataTopic {
		return true
	}
	t := b.shards[controllerCore].image.TopicByName(topic)
	return t != nil && t.Partition(partition) != nil && (id == protocol.UUID{} || id == protocol.UUID(t.ID))
}

func (b *Broker) partitionsToOpen() (work []*opening) {
	for _, t := range b.shards[0].image.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			work = append(work, &opening{topic: b.shards[0].topics[protocol.UUID(t.ID)], partition: p.Index, epoch: p.LeaderEpoch})
		}
	}
	return work
}

// openAll opens partitions on several goroutines and logs progress once it has
// taken a second.
func (b *Broker) openAll(work []*opening, points storage.Checkpoints) {
	var next, done atomic.Int64
	var wait sync.WaitGroup
	finished := make(chan struct{})
	threads := min(max(b.recoveryThreads(), 1), max(len(work), 1))
	open := func() {
		for i := next.Add(1) - 1; i < int64(len(work)); i = next.Add(1) - 1 {
			b.openOne(work[i], points)
			done.Add(1)
		}
	}
	if threads == 1 {
		open() // in order, as the simulator needs it
		return
	}
	for range threads {
		wait.Go(open)
	}
	go func() { wait.Wait(); close(finished) }()
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-finished:
			tick.Stop()
			return
		case <-tick.C:
			b.log.Info("opening partitions", "done", done.Load(), "of", len(work))
		}
	}
}

func (b *Broker) openOne(o *opening, points storage.Checkpoints) {
	name := storage.DirName(o.topic.name, o.partition)
	dir := b.dir + "/" + name
	id := storage.TopicPartition{Topic: o.topic.name, TopicID: o.topic.id, Partition: o.partition}
	if _, err := b.kernel.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		// Committed, but the crash came before the directory was made.
		o.opened, o.err = storage.Create(b.kernel, dir, id, o.topic.settings, o.epoch)
		return
	}
	o.opened, o.report, o.err = storage.Open(b.kernel, dir, o.topic.settings, storage.OpenOptions{
		RecoveryPoint: points.RecoveryPoint[name], LogStart: points.LogStart[name],
		CleanedTo: points.CleanedTo[name],
		Clean:     b.report.Clean, ID: id,
	})
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
	h := &hosted{key: key, topic: s.topics[key.topic], leaderEpoch: o.epoch, log: o.opened}
	s.hosted[key] = h
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
