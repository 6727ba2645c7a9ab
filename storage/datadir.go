package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"slipstream/protocol"
	"slipstream/ring"
)

// What a data directory holds beside its partitions. Blocking: for start-up,
// shutdown and helpers.

// Checkpoint is what the checkpoint files keep of one partition.
type Checkpoint struct {
	DataDir       string // that it lies in, as the partition was opened
	Topic         string
	Partition     int32
	RecoveryPoint int64
	HighWatermark int64
	LogStart      int64
	FirstSegment  int64 // base offset of the first segment; LogStart is only written where it is larger
	CleanedTo     int64 // compacted up to here; 0: it never was
	Readers       int64 // the lowest place of tail readers, -1 if there are none
}

// Checkpoints is what the checkpoint files of a data directory say, by directory name ([DirName]).
// A partition that is not in a map has 0.
type Checkpoints struct {
	RecoveryPoint map[string]int64
	LogStart      map[string]int64
	HighWatermark map[string]int64
	CleanedTo     map[string]int64
}

// ReadCheckpoints reads the checkpoint files of a data directory. A file that cannot be read
// counts as empty, which costs time (a recovery from the beginning) but nothing else; the notes
// say which and why.
func ReadCheckpoints(k ring.Files, dataDir string) (c Checkpoints, notes []string) {
	read := func(name string) map[string]int64 {
		entries, err := readOffsets(k, dataDir+"/"+name)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s is taken as empty: %v", name, err))
		}
		m := make(map[string]int64, len(entries))
		for _, e := range entries {
			m[DirName(e.Topic, e.Partition)] = e.Offset
		}
		return m
	}
	c.RecoveryPoint = read(recoveryCheckpointName)
	c.LogStart = read(logStartCheckpointName)
	c.HighWatermark = read(replicationCheckpointName)
	c.CleanedTo = read(cleanerCheckpointName)
	return c, notes
}

// WriteCheckpoints replaces recovery-point-, log-start-, replication- and cleaner-offset-checkpoint, and our own
// slipstream-readers-checkpoint, each durably. all is every partition of the data directory; it is put in order here.
func WriteCheckpoints(k ring.Files, dataDir string, all []Checkpoint) error {
	slices.SortFunc(all, func(a, b Checkpoint) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	recovery := make([]OffsetEntry, 0, len(all))
	high := make([]OffsetEntry, 0, len(all))
	var start, readers, cleaned []OffsetEntry
	for i := range all {
		p := &all[i]
		recovery = append(recovery, OffsetEntry{p.Topic, p.Partition, p.RecoveryPoint})
		high = append(high, OffsetEntry{p.Topic, p.Partition, p.HighWatermark})
		if p.LogStart > p.FirstSegment {
			start = append(start, OffsetEntry{p.Topic, p.Partition, p.LogStart})
		}
		if p.CleanedTo > 0 {
			cleaned = append(cleaned, OffsetEntry{p.Topic, p.Partition, p.CleanedTo})
		}
		if p.Readers >= 0 {
			readers = append(readers, OffsetEntry{p.Topic, p.Partition, p.Readers})
		}
	}
	return errors.Join(
		writeOffsets(k, dataDir, recoveryCheckpointName, recovery),
		writeOffsets(k, dataDir, logStartCheckpointName, start),
		writeOffsets(k, dataDir, replicationCheckpointName, high),
		writeOffsets(k, dataDir, cleanerCheckpointName, cleaned),
		writeReaders(k, dataDir, readers),
	)
}

func writeOffsets(k ring.Files, dataDir, name string, entries []OffsetEntry) error {
	return replaceFile(k, dataDir+"/"+name, AppendOffsets(nil, entries))
}

// MakeDataDir makes the files that Kafka makes in an empty data directory, where they are missing.
func MakeDataDir(k ring.Files, dataDir string) error {
	for _, name := range []string{recoveryCheckpointName, logStartCheckpointName, replicationCheckpointName, cleanerCheckpointName} {
		fd, err := k.Open(dataDir+"/"+name, syscall.O_RDWR|syscall.O_CREAT, fileMode)
		if err != nil {
			return err
		}
		closeQuietly(k, fd)
	}
	return k.SyncDir(dataDir)
}

// Lock keeps other brokers out of a data directory. The descriptor returned holds it and is closed to
// give it back. An error that is EWOULDBLOCK means that another has it.
func Lock(k ring.Files, dataDir string) (fd int, err error) {
	fd, err = k.Open(dataDir+"/"+lockName, syscall.O_RDWR|syscall.O_CREAT, fileMode)
	if err != nil {
		return -1, err
	}
	if err = k.TryLock(fd); err != nil {
		closeQuietly(k, fd)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return -1, fmt.Errorf("data directory %s is in use by another broker: %w", dataDir, err)
		}
		return -1, err
	}
	return fd, nil
}

// .kafka_cleanshutdown is JSON in one line, without an end: {"version":0,"brokerEpoch":13}.
type cleanShutdown struct {
	Version     int   `json:"version"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

// WriteCleanShutdown leaves the marker that all partitions of the directory were closed.
func WriteCleanShutdown(k ring.Files, dataDir string, brokerEpoch int64) error {
	b, err := json.Marshal(cleanShutdown{BrokerEpoch: brokerEpoch})
	if err != nil {
		return err
	}
	return replaceFile(k, dataDir+"/"+cleanShutdownName, b)
}

// TakeCleanShutdown reports whether the marker is there, and removes it, durably: from now on the
// directory counts as torn. brokerEpoch is -1 if the marker does not say.
func TakeCleanShutdown(k ring.Files, dataDir string) (clean bool, brokerEpoch int64, err error) {
	path := dataDir + "/" + cleanShutdownName
	b, err := ReadFile(k, path, 1<<16)
	if errors.Is(err, fs.ErrNotExist) {
		return false, -1, nil
	}
	if err != nil {
		return false, -1, err
	}
	brokerEpoch = decodeCleanShutdown(b)
	if err := removeFile(k, path); err != nil {
		return false, -1, err
	}
	return true, brokerEpoch, k.SyncDir(dataDir)
}

func decodeCleanShutdown(b []byte) (brokerEpoch int64) {
	m := cleanShutdown{BrokerEpoch: -1}
	if json.Unmarshal(b, &m) != nil {
		return -1 // Kafka before 3.8 wrote an empty file
	}
	return m.BrokerEpoch
}

// RemoveDeleted removes the partitions whose deletion was under way when the broker stopped, and
// temporary files of replaced checkpoints.
func RemoveDeleted(k ring.Files, dataDir string) error {
	entries, err := k.ReadDir(dataDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		_, _, kind := ParseDirName(e.Name)
		switch {
		case e.Dir && kind == DirDeleted:
			err = removeTree(k, dataDir+"/"+e.Name)
		case !e.Dir && strings.HasSuffix(e.Name, tmpSuffix):
			err = removeFile(k, dataDir+"/"+e.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// SetAsideStrays renames partition directories that keep does not want, as Kafka does at its start with what
// belongs to no topic (any more): <topic>-<partition>.<32 hex digits>-stray. Nothing is lost, and the names are free. id is
// zero if the directory does not say. It returns the names as they were, and must run before partitions are opened.
func SetAsideStrays(k ring.Kernel, dataDir string, keep func(topic string, partition int32, id protocol.UUID) bool) ([]string, error) {
	entries, err := k.ReadDir(dataDir)
	if err != nil {
		return nil, err
	}
	var moved []string
	for _, e := range entries {
		topic, partition, kind := ParseDirName(e.Name)
		if !e.Dir || kind != DirPartition {
			continue
		}
		if keep(topic, partition, TopicIDOf(k, dataDir+"/"+e.Name)) {
			continue
		}
		to := uniqueDirName(TopicPartition{Topic: topic, Partition: partition}, randomUUID(k), strayDirSuffix)
		if err := k.Rename(dataDir+"/"+e.Name, dataDir+"/"+to); err != nil {
			return moved, err
		}
		moved = append(moved, e.Name)
	}
	if moved == nil {
		return nil, nil
	}
	return moved, k.SyncDir(dataDir)
}

// TakeFutures gives the copies that Kafka was moving into a data directory, and that wanted says are the partition by now, its name. It
// returns the names that they have now, and must run before partitions are opened. id is zero if the directory does not say.
func TakeFutures(k ring.Files, dataDir string, wanted func(topic string, partition int32, id protocol.UUID) bool) (taken []string, err error) {
	entries, err := k.ReadDir(dataDir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		topic, partition, ok := ParseFutureDirName(e.Name)
		if !ok || !e.Dir || !wanted(topic, partition, TopicIDOf(k, dataDir+"/"+e.Name)) {
			continue
		}
		to := DirName(topic, partition)
		if err := k.Rename(dataDir+"/"+e.Name, dataDir+"/"+to); err != nil {
			return taken, err
		}
		taken = append(taken, to)
	}
	if taken == nil {
		return nil, nil
	}
	return taken, k.SyncDir(dataDir)
}

// randomUUID is a random id, version 4.
func randomUUID(k ring.Kernel) (u protocol.UUID) {
	k.Random(u[:])
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}
