package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"slipstream/protocol"
	"slipstream/ring"
)

// Create makes a partition's directory and files. dir must be called as [DirName] says. A directory that is
// there already is taken if no log is in it yet (what a crash left); otherwise the error is fs.ErrExist. Blocking.
//
// Nothing is synced: that is done with the first sync of the log, or when it is closed.
func Create(k ring.Kernel, dir string, id TopicPartition, cfg Config, leaderEpoch int32) (*Partition, error) {
	if err := makeDir(k, dir); err != nil {
		return nil, err
	}
	p := newPartition(dir, id, cfg)
	p.fresh = true
	p.epoch = leaderEpoch
	p.epochs.assign(leaderEpoch, 0)
	err := errors.Join(
		putFile(k, dir+"/"+partitionMetadataName, encodePartitionMetadata(id.TopicID)),
		putFile(k, dir+"/"+epochCheckpointName, p.epochs.encode()))
	if err == nil {
		err = makeSegment(k, dir, 0)
	}
	if err != nil {
		_ = removeTree(k, dir) // the error that matters is the first
		return nil, err
	}
	p.begin(&segment{unnamed: true}, k.Wall()/1e6)
	return p, nil
}

// makeDir makes the directory, or takes one without a log.
func makeDir(k ring.Files, dir string) error {
	err := k.Mkdir(dir, dirMode)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, readErr := k.ReadDir(dir)
	if readErr != nil {
		return readErr
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name, logSuffix) {
			return err
		}
	}
	return nil
}

func newPartition(dir string, id TopicPartition, cfg Config) *Partition {
	return &Partition{id: id, dir: dir, config: cfg, epoch: -1, readers: readers{lowest: nobody, before: nobody}}
}

// begin makes s the only, empty segment.
func (p *Partition) begin(s *segment, nowMillis int64) {
	s.known.Store(true)
	p.segments = []*segment{s}
	p.active = active{indexBuilder: newIndexBuilder(), firstTimestamp: -1, createdMillis: nowMillis, jitterMillis: p.jitter(s.base)}
	p.next = s.base
	p.offsets.set(Offsets{s.base, s.base, s.base, s.base, s.base})
	p.visible = place{s, 0, s.base}
	p.previous = p.visible
}

// identify finds out whose log a directory holds: from its name and partition.metadata. want is what the
// caller takes it for, if its Topic is not empty; a partition.metadata that is missing or torn is then written anew.
func identify(k ring.Kernel, dir string, want TopicPartition) (TopicPartition, error) {
	_, name := splitPath(dir)
	topic, partition, kind := ParseDirName(name)
	if kind != DirPartition {
		return TopicPartition{}, fmt.Errorf("%s is not called as a partition's directory is", dir)
	}
	id := TopicPartition{Topic: topic, Partition: partition}
	path := dir + "/" + partitionMetadataName
	b, err := ReadFile(k, path, 1<<16)
	none := protocol.UUID{}
	known := want.Topic != "" && want.TopicID != none
	if err == nil && len(b) > 0 {
		id.TopicID, err = decodePartitionMetadata(b)
		if err != nil && known {
			// A power cut leaves zeros, or a part. The cluster's metadata says whose it is.
			id.TopicID, err = none, nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return id, fmt.Errorf("%s: %w", path, err)
	}
	if !known || want.TopicID == id.TopicID {
		return id, nil
	}
	if id.TopicID != none {
		return id, fmt.Errorf("%s belongs to the topic with id %s, not to %s with id %s: is it left over from a deleted topic?",
			dir, id.TopicID, want.Topic, want.TopicID)
	}
	id.TopicID = want.TopicID
	return id, putFile(k, path, encodePartitionMetadata(id.TopicID))
}
