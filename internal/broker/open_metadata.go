package broker

import (
	"fmt"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/ring"
	"slipstream/storage"
)

// The metadata log: formatted, folded into every core's image, and led by this node.

// metadataDir is where the metadata log is, in the data directory.
const metadataDir = "__cluster_metadata-0"

// bootstrapName is the file, in the data directory, of the records that a new metadata log begins with.
const bootstrapName = "bootstrap.checkpoint"

// openMetadata opens the metadata log and folds it into every core's image. All that may keep the broker from
// starting is decided before anything is written.
func (b *Broker) openMetadata() error {
	k, dir := b.kernel, b.metaDir.path+"/"+metadataDir
	found, err := readMetadataOf(k, b.metaDir.path, len(b.shards))
	if err == nil {
		err = found.refused(b.metaDir.path, b.nodeID, b.where)
	}
	if err != nil {
		return err
	}
	for _, p := range found.passed {
		b.log.Warn("a metadata snapshot is damaged and an older one was read instead", "snapshot", p.name, "error", p.why)
	}
	for i, s := range b.shards {
		s.image = found.images[i]
		s.metadataOffset = found.end - 1
	}
	log, err := b.openMetadataLog(dir, found)
	if err != nil {
		return err
	}
	if b.epoch, err = b.electSelf(dir, found); err != nil {
		return err
	}
	log.SetLeaderEpoch(b.epoch)
	b.makeController(log, found)
	for _, s := range b.shards {
		s.telemetry.subscribe(s.image)
		for _, t := range s.image.Topics() {
			s.addTopic(protocol.UUID(t.ID), t.Name).grow(len(t.Partitions))
		}
		s.loadQuotas()
	}
	return nil
}

// openMetadataLog opens the log that was read, or makes one in a new directory.
func (b *Broker) openMetadataLog(dir string, found *metadataRead) (*storage.Partition, error) {
	k := b.kernel
	id := storage.TopicPartition{Topic: metadata.MetadataTopic, TopicID: protocol.UUID(metadata.MetadataTopicID)}
	cfg := b.settings.Metadata.log()
	if found.empty {
		err := makeDirs(k, dir)
		if err == nil {
			err = b.format(dir, found)
		}
		if err != nil {
			return nil, fmt.Errorf("the metadata directory cannot be made: %w", err)
		}
		log, err := storage.Create(k, dir, id, cfg, 1)
		if err != nil {
			return nil, fmt.Errorf("the metadata log cannot be made: %w", err)
		}
		return log, nil
	}
	if err := removeSnapshotLeftovers(k, dir); err != nil {
		return nil, err
	}
	log, _, err := storage.Open(k, dir, cfg, storage.OpenOptions{ID: id, RecoveryPoint: found.from.Offset})
	if err != nil {
		return nil, fmt.Errorf("the metadata log cannot be opened: %w", err)
	}
	if end := log.Offsets().LogEnd; end != found.end {
		return nil, fmt.Errorf("the metadata log in %s was read up to offset %d, and opened it ends at %d: something else changes it", dir, found.end, end)
	}
	return log, nil
}

func (b *Broker) makeController(log *storage.Partition, found *metadataRead) {
	first := b.shards[controllerCore]
	first.controller = &controller{shard: first, log: log, rules: &metadata.Controller{
		Image: first.image, NodeID: b.nodeID, Configs: b.settings.Topics,
		RandomID:      func() metadata.UUID { return metadata.UUID(b.randomID()) },
		NumPartitions: b.settings.NumPartitions, ReplicationFactor: b.settings.ReplicationFactor,
		Bootstrap: found.bootstrap,
	}}
	first.controller.snapshots = newMetadataSnapshots(first.controller, b.settings.Metadata, found)
	if k, ok := b.settings.Topics.(kafkaSettings); ok {
		k.cluster = first.brokerConfigs // only the controller describes, on core 0
		first.controller.rules.Configs = k
	}
}

// format writes what Kafka's own format leaves in a new directory, so that a
// Kafka controller can open it: the bootstrap records and the voters. In a directory that Kafka has formatted and never
// started in, both are there, or the voters are in its settings.
func (b *Broker) format(dir string, found *metadataRead) error {
	now := b.kernel.Wall() / 1e6
	if found.bootstrap != nil {
		return nil
	}
	voters := metadata.AppendSnapshot(nil, metadata.Snapshot{
		TimestampMillis: now, KRaftVersion: &metadata.KRaftVersion{KRaftVersion: 1}, Voters: b.voters(),
	}, nil)
	if err := storage.ReplaceFile(b.kernel, dir+"/"+metadata.SnapshotID{}.FileName(), voters); err != nil {
		return err
	}
	// Last: where it is, Kafka's format, or ours, has come to its end.
	bootstrap := metadata.AppendSnapshot(nil, metadata.Snapshot{TimestampMillis: now}, metadata.BootstrapFeatures())
	return storage.ReplaceFile(b.kernel, b.metaDir.path+"/"+bootstrapName, bootstrap)
}

// kafkaControllerPort is where Kafka's examples have the controller listen. The
// set of voters must name an endpoint; a Kafka that opens the directory corrects it.
const kafkaControllerPort = 9093

// voters is the set of voters of the metadata log: this node alone.
func (b *Broker) voters() *metadata.Voters {
	return metadata.VotersAlone(b.nodeID, metadata.UUID(b.directoryID), []metadata.VoterEndpoint{
		{Name: "CONTROLLER", Host: b.advertisedHost, Port: kafkaControllerPort},
	})
}

// electSelf makes this node the leader of the metadata log in a new epoch, which
// is durable before anything is written in it.
func (b *Broker) electSelf(dir string, found *metadataRead) (int32, error) {
	q := metadata.QuorumState{LeaderID: b.nodeID, LeaderEpoch: max(found.quorum.LeaderEpoch, found.epoch, 0) + 1, VotedID: -1}
	return q.LeaderEpoch, storage.ReplaceFile(b.kernel, dir+"/quorum-state", q.Append(nil))
}

// readFile reads a file of the metadata whole.
func readFile(k ring.Files, path string) ([]byte, error) {
	return storage.ReadFile(k, path, maxMetadataFileBytes)
}

// maxMetadataFileBytes: a segment has 31 bits for a position.
const maxMetadataFileBytes = 1<<31 - 1
