package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"syscall"

	"slipstream/internal/metadata"
	"slipstream/protocol"
	"slipstream/storage"
)

// The metadata log: formatted, folded into every core's image, and led by this node.

// metadataDir is where the metadata log is, in the data directory.
const metadataDir = "__cluster_metadata-0"

// openMetadata opens the metadata log and folds it into every core's image.
func (b *Broker) openMetadata() error {
	k, dir := b.kernel, b.dir+"/"+metadataDir
	id := storage.TopicPartition{Topic: "__cluster_metadata", TopicID: protocol.UUID(metadata.MetadataTopicID)}
	if err := makeDirs(k, dir); err != nil {
		return err
	}
	cfg := storage.DefaultConfig()
	cfg.Deletable = false // only a snapshot could stand for what were gone
	cfg.FlushMessages = 1
	cfg.MaxMessageBytes = 64 << 20
	var log *storage.Partition
	_, err := k.Stat(dir + "/partition.metadata")
	if errors.Is(err, fs.ErrNotExist) {
		if err := b.format(dir); err != nil {
			return fmt.Errorf("the metadata directory cannot be made: %w", err)
		}
		if log, err = storage.Create(k, dir, id, cfg, 1); err != nil {
			return fmt.Errorf("the metadata log cannot be made: %w", err)
		}
	} else {
		log, _, err = storage.Open(k, dir, cfg, storage.OpenOptions{})
		if err != nil {
			return fmt.Errorf("the metadata log cannot be opened: %w", err)
		}
	}
	logEpoch, err := b.foldMetadata(dir)
	if err != nil {
		return err
	}
	if b.epoch, err = b.electSelf(dir, logEpoch); err != nil {
		return err
	}
	log.SetLeaderEpoch(b.epoch)
	first := b.shards[controllerCore]
	first.controller = &controller{shard: first, log: log, rules: &metadata.Controller{
		Image: first.image, NodeID: b.nodeID, Configs: b.settings.Topics,
		RandomID:      func() metadata.UUID { return metadata.UUID(b.randomID()) },
		NumPartitions: b.settings.NumPartitions, ReplicationFactor: b.settings.ReplicationFactor,
	}}
	if k, ok := b.settings.Topics.(kafkaSettings); ok {
		k.cluster = first.brokerConfigs // only the controller describes, on core 0
		first.controller.rules.Configs = k
	}
	for _, s := range b.shards {
		s.telemetry.subscribe(s.image)
		for _, t := range s.image.Topics() {
			s.addTopic(protocol.UUID(t.ID), t.Name).grow(len(t.Partitions))
		}
		s.loadQuotas()
	}
	return nil
}

// format writes what Kafka's own format leaves in a new directory, so that a
// Kafka controller can open it: the bootstrap records and the voters.
func (b *Broker) format(dir string) error {
	now := b.kernel.Wall() / 1e6
	bootstrap := metadata.AppendSnapshot(nil, metadata.Snapshot{TimestampMillis: now}, metadata.BootstrapFeatures())
	if err := storage.ReplaceFile(b.kernel, b.dir+"/bootstrap.checkpoint", bootstrap); err != nil {
		return err
	}
	voters := metadata.AppendSnapshot(nil, metadata.Snapshot{
		TimestampMillis: now, KRaftVersion: &metadata.KRaftVersion{KRaftVersion: 1}, Voters: b.voters(),
	}, nil)
	return storage.ReplaceFile(b.kernel, dir+"/00000000000000000000-0000000000.checkpoint", voters)
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

// foldMetadata replays the newest snapshot and the log behind it, and returns
// the last epoch in the log.
func (b *Broker) foldMetadata(dir string) (epoch int32, err error) {
	entries, err := b.kernel.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var segments, snapshots []string
	for _, e := range entries {
		switch {
		case strings.HasSuffix(e.Name, ".log"):
			segments = append(segments, e.Name)
		case strings.HasSuffix(e.Name, ".checkpoint"):
			snapshots = append(snapshots, e.Name)
		}
	}
	sort.Strings(segments)
	sort.Strings(snapshots)
	from := int64(0)
	if n := len(snapshots); n > 0 {
		if from, err = b.foldSnapshot(dir, snapshots[n-1]); err != nil {
			return 0, err
		}
	}
	for _, name := range segments {
		bytes, err := readFile(b.kernel, dir+"/"+name)
		if err != nil {
			return 0, err
		}
		next := from
		for _, s := range b.shards {
			var last int32
			if _, next, last, err = s.image.Replay(bytes, from); err != nil {
				return 0, fmt.Errorf("metadata log %s: %w", name, err)
			}
			epoch = max(epoch, last)
			s.metadataOffset = next - 1
		}
		from = max(from, next)
	}
	return epoch, nil
}

// foldSnapshot replays a snapshot and returns the offset of the log that follows.
func (b *Broker) foldSnapshot(dir, name string) (from int64, err error) {
	bytes, err := readFile(b.kernel, dir+"/"+name)
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(name, "%d-", &from); err != nil {
		return 0, fmt.Errorf("metadata snapshot %s: not a snapshot's name", name)
	}
	for _, s := range b.shards {
		if _, err := s.image.ReadSnapshot(bytes); err != nil {
			return 0, fmt.Errorf("metadata snapshot %s: %w", name, err)
		}
	}
	return from, nil
}

// electSelf makes this node the leader of the metadata log in a new epoch, which
// is durable before anything is written in it.
func (b *Broker) electSelf(dir string, logEpoch int32) (int32, error) {
	path := dir + "/quorum-state"
	q := metadata.QuorumState{LeaderID: -1}
	bytes, err := readFile(b.kernel, path)
	if err == nil {
		q, err = metadata.ParseQuorumState(bytes)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	q = metadata.QuorumState{LeaderID: b.nodeID, LeaderEpoch: max(q.LeaderEpoch, logEpoch, 0) + 1, VotedID: -1}
	return q.LeaderEpoch, storage.ReplaceFile(b.kernel, path, q.Append(nil))
}

// readFile reads a whole file.
func readFile(k kernel, path string) ([]byte, error) {
	fd, err := k.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer k.Close(fd)
	size, err := k.Size(fd)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	_, err = k.ReadAt(fd, b, 0)
	return b, err
}
