package broker

import (
	"fmt"
	"slices"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/ring"
	"slipstream/storage"
)

// kernel is the door to the kernel, as helpers get it.
type kernel = ring.Kernel

// partitionKey names a partition inside the broker.
type partitionKey struct {
	topic     protocol.UUID
	partition int32
}

// topicState is what a core knows of a topic beyond the image: the settings that
// its partitions run with. Every core has one for every topic.
type topicState struct {
	id             protocol.UUID
	name           string
	nameBytes      []byte
	partitions     int
	partitionNames []string // as messages about records name them
	settings       storage.Config
	rules          protocol.Rules // what a produced batch is checked against

	minInsyncReplicas int

	codec      protocol.Codec // compression.type, if it is not the producer's
	recompress bool           // it is not
	level      int            // of codec
	internal   bool

	counters TopicCounters
	listed   int // place in the shard's list
}

// grow notes that the topic has n partitions.
func (t *topicState) grow(n int) {
	for i := len(t.partitionNames); i < n; i++ {
		t.partitionNames = append(t.partitionNames, storage.DirName(t.name, int32(i)))
	}
	t.partitions = len(t.partitionNames)
}

// hosted is a partition on the core that owns it.
type hosted struct {
	key         partitionKey
	topic       *topicState
	leaderEpoch int32
	log         *storage.Partition // nil while its files are being made
	gone        bool               // deleted while its files were being made
	dir         *logDir            // that it is in; nil: in none that is here
	failed      bool               // its files could not be made, or its directory has failed or is not here
	coordinated *coordinated       // nil: no coordinator's
}

// logStart is the partition's first offset, -1 if it is gone.
func (h *hosted) logStart() int64 {
	if h == nil || h.log == nil {
		return -1
	}
	return h.log.Offsets().LogStart
}

// hostless is the error for a partition that this core should have and cannot
// serve: one whose files could not be made, or one whose turn has not come.
func hostless(h *hosted) protocol.ErrorCode {
	if h != nil && h.failed {
		return protocol.KAFKA_STORAGE_ERROR
	}
	return protocol.NOT_LEADER_OR_FOLLOWER
}

// ownerOf says which core owns a partition. Partitions of one topic go to
// neighbouring cores; topics start at different ones.
func (b *Broker) ownerOf(k partitionKey) int {
	start := uint32(k.topic[0]) | uint32(k.topic[1])<<8 | uint32(k.topic[2])<<16 | uint32(k.topic[3])<<24
	return int((start + uint32(k.partition)) % uint32(len(b.shards)))
}

// apply folds committed records into this core's image and follows them with
// its partitions.
func (s *Shard) apply(m *commit) {
	for _, r := range m.controls {
		s.image.ApplyControl(r)
	}
	for _, r := range m.records {
		if err := s.image.Apply(r); err != nil {
			// The log is durable and every core folds the same records: a record
			// that does not fold is a bug, and going on would let cores disagree.
			s.broker.fatal(fmt.Errorf("metadata record %s does not apply: %w", metadata.RecordName(r), err))
			return
		}
	}
	s.metadataOffset = m.last
	for _, r := range m.records {
		s.follow(m, r)
	}
	s.coordinating.tellTopics()
}

// follow does what one committed record asks of this core.
func (s *Shard) follow(m *commit, r metadata.Record) {
	switch r := r.(type) {
	case *metadata.TopicRecord:
		s.addTopic(protocol.UUID(r.TopicID), r.Name)
		s.coordinating.changes.add(r.Name)
	case *metadata.PartitionRecord:
		t := s.topics[protocol.UUID(r.TopicID)]
		if t == nil {
			return
		}
		t.grow(int(r.PartitionID) + 1)
		s.coordinating.changes.grow(t.name)
		s.host(m, t, r)
	case *metadata.PartitionChangeRecord:
		h := s.hosted[partitionKey{protocol.UUID(r.TopicID), r.PartitionID}]
		t := s.image.TopicByID(r.TopicID)
		if h == nil || t == nil {
			return
		}
		if p := t.Partition(r.PartitionID); p != nil {
			h.leaderEpoch = p.LeaderEpoch
			if h.log != nil {
				h.log.SetLeaderEpoch(p.LeaderEpoch)
			}
		}
	case *metadata.RemoveTopicRecord:
		s.removeTopic(m, protocol.UUID(r.TopicID))
	case *metadata.ConfigRecord:
		s.followConfig(m, r)
	case *metadata.ClientQuotaRecord:
		s.followQuota(r)
	case *metadata.FeatureLevelRecord:
		s.configureTransactions()
		s.shares.configure()
		s.coordinating.configure()
	}
}

func (s *Shard) addTopic(id protocol.UUID, name string) *topicState {
	t := &topicState{id: id, name: name, nameBytes: []byte(name), internal: isInternal(name), listed: len(s.topicList)}
	s.topicList = append(s.topicList, t)
	s.topics[id] = t
	s.topicsByName[name] = t
	s.configure(t)
	return t
}

// host makes the files of a new partition that this core owns, on a helper.
func (s *Shard) host(m *commit, t *topicState, r *metadata.PartitionRecord) {
	key := partitionKey{t.id, r.PartitionID}
	if s.broker.ownerOf(key) != s.core.ID || s.hosted[key] != nil {
		return
	}
	h := &hosted{key: key, topic: t, leaderEpoch: r.LeaderEpoch}
	s.hosted[key] = h
	if at := slices.Index(r.Replicas, s.broker.nodeID); at >= 0 && at < len(r.Directories) {
		h.dir = s.broker.dirWithID(r.Directories[at])
	}
	if h.dir == nil || s.offline[h.dir.index] { // it has failed since the controller chose it
		h.failed = true
		s.outOfService++
		return
	}
	m.work++
	s.core.Offload(&makePartition{shard: s, hosted: h, commit: m, settings: t.settings})
}

// makePartition creates a partition's directory and files on a helper.
type makePartition struct {
	shard    *Shard
	hosted   *hosted
	commit   *commit // nil once it was told
	settings storage.Config
	made     *storage.Partition
	err      error
	timer    reactor.Timer
}

// Work implements reactor.Job.
func (j *makePartition) Work(k kernel) reactor.Message {
	h := j.hosted
	id := storage.TopicPartition{Topic: h.topic.name, TopicID: h.key.topic, Partition: h.key.partition}
	j.made, j.err = storage.Create(k, h.dir.path+"/"+storage.DirName(h.topic.name, h.key.partition), id, j.settings, h.leaderEpoch)
	return j
}

// Deliver implements reactor.Message.
func (j *makePartition) Deliver(*reactor.Core) {
	s, h := j.shard, j.hosted
	switch {
	case j.err != nil && !h.gone:
		j.failed()
	case j.err != nil:
	case h.gone:
		s.store.Adopt(j.made)
		s.discard(j.commit, j.made)
	default:
		if h.failed {
			h.failed = false
			s.outOfService--
		}
		h.log = j.made
		s.store.Adopt(j.made)
		s.coordinate(h)
	}
	if j.commit != nil {
		j.commit.progressed()
		j.commit = nil
	}
}

// makeAgainNanos is how long a partition waits for room for its files.
const makeAgainNanos = 1e9

// failed leaves the partition without a log: clients get KAFKA_STORAGE_ERROR. Where there was no room, it is tried again.
func (j *makePartition) failed() {
	s, h := j.shard, j.hosted
	first := !h.failed
	if first {
		h.failed = true
		s.outOfService++
		s.broker.log.Error("a new partition's files could not be made",
			"topic", h.topic.name, "partition", h.key.partition, "error", j.err)
	}
	if storage.Full(j.err) {
		s.core.After(makeAgainNanos, &j.timer, j)
		return
	}
	s.suspectDir(h.dir, j.err)
}

// Fire implements reactor.TimerHandler.
func (j *makePartition) Fire(*reactor.Timer) {
	if j.hosted.gone || j.shard.core.Draining() {
		return
	}
	j.settings = j.hosted.topic.settings // they may have changed meanwhile
	j.shard.core.Offload(j)
}

// removeTopic forgets a topic and discards its partitions on this core.
func (s *Shard) removeTopic(m *commit, id protocol.UUID) {
	t := s.topics[id]
	if t == nil {
		return
	}
	s.coordinating.changes.remove(t)
	delete(s.topics, id)
	s.shares.forgetTopic(id)
	delete(s.topicsByName, t.name)
	last := len(s.topicList) - 1
	s.topicList[t.listed], s.topicList[last].listed = s.topicList[last], t.listed
	s.topicList[last] = nil
	s.topicList = s.topicList[:last]
	for i := 0; i < t.partitions; i++ {
		key := partitionKey{id, int32(i)}
		h := s.hosted[key]
		if h == nil {
			continue
		}
		delete(s.hosted, key)
		h.gone = true
		if h.failed {
			s.outOfService--
		}
		if h.coordinated != nil {
			s.coordinating.forget(h.coordinated)
		}
		if h.log != nil {
			s.discard(m, h.log)
		}
	}
}

// discard takes a partition out of service: its waiters are woken, its directory
// is renamed, and removed after file.delete.delay.ms. The commit is not done before
// the rename is: a topic of the same name may come next.
func (s *Shard) discard(m *commit, p *storage.Partition) {
	if m != nil {
		m.work++
	}
	id := p.ID()
	s.store.Delete(p, func(err error) {
		if err != nil {
			s.broker.log.Error("the directory of a deleted partition could not be renamed",
				"topic", id.Topic, "partition", id.Partition, "error", err)
		}
		if m != nil {
			m.progressed()
		}
	})
}

// followConfig applies a changed setting of a topic, of the broker, which is every
// topic's default, or of client metrics. Groups' are looked up when they are needed.
func (s *Shard) followConfig(m *commit, r *metadata.ConfigRecord) {
	switch metadata.ResourceType(r.ResourceType) {
	case metadata.ResourceTopic:
		if t := s.topicsByName[r.ResourceName]; t != nil {
			s.reconfigure(t)
		}
	case metadata.ResourceBroker:
		if !m.reconfigures {
			m.reconfigures = true
			s.reconfigureAll(m)
		}
	case metadata.ResourceClientMetrics:
		if !m.resubscribes {
			m.resubscribes = true
			s.telemetry.subscribe(s.image)
		}
	}
}

// reconfigureAll follows a change of the broker's settings. Topics take it over a
// few at a time, and the commit is done when all have.
func (s *Shard) reconfigureAll(m *commit) {
	s.configureTransactions()
	s.shares.configure()
	s.coordinating.configure()
	s.door.configure()
	m.work++
	(&reconfiguring{shard: s, commit: m, topics: slices.Clone(s.topicList)}).Deliver(s.core)
}

// topicsPerTurn bounds how many topics take a setting over in one turn: about 10 us each.
const topicsPerTurn = 32

// reconfiguring is the topics that are still to take the broker's settings over.
type reconfiguring struct {
	shard  *Shard
	commit *commit
	topics []*topicState
}

// Deliver implements reactor.Message.
func (r *reconfiguring) Deliver(c *reactor.Core) {
	n := min(len(r.topics), topicsPerTurn)
	for _, t := range r.topics[:n] {
		if r.shard.topics[t.id] == t { // it may have been deleted since
			r.shard.reconfigure(t)
		}
	}
	if r.topics = r.topics[n:]; len(r.topics) > 0 {
		c.Send(c, r)
		return
	}
	r.commit.progressed()
}

func (s *Shard) reconfigure(t *topicState) {
	s.configure(t)
	for i := 0; i < t.partitions; i++ {
		if h := s.hosted[partitionKey{t.id, int32(i)}]; h != nil && h.log != nil {
			h.log.SetConfig(t.settings)
			if h.coordinated != nil && h.coordinated.machine != nil {
				h.coordinated.machine.configure() // max.message.bytes is what one batch may weigh
			}
		}
	}
}
