package storage

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"slipstream/protocol"
)

// Names of files and suffixes, Kafka's.
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	snapshotSuffix  = ".snapshot"
	deletedSuffix   = ".deleted"
	cleanedSuffix   = ".cleaned"
	swapSuffix      = ".swap"
	tmpSuffix       = ".tmp"

	epochCheckpointName       = "leader-epoch-checkpoint"
	partitionMetadataName     = "partition.metadata"
	recoveryCheckpointName    = "recovery-point-offset-checkpoint"
	logStartCheckpointName    = "log-start-offset-checkpoint"
	replicationCheckpointName = "replication-offset-checkpoint"
	cleanerCheckpointName     = "cleaner-offset-checkpoint"
	cleanShutdownName         = ".kafka_cleanshutdown"
	metaPropertiesName        = "meta.properties"
	lockName                  = ".lock"

	deleteDirSuffix = "-delete"
	futureDirSuffix = "-future"
	strayDirSuffix  = "-stray"

	baseDigits    = 20
	maxNameLength = 255
)

// fileName is where the log keeps what belongs to a base offset: twenty digits and a suffix.
func fileName(base int64, suffix string) string {
	return fmt.Sprintf("%0*d%s", baseDigits, base, suffix)
}

// parseFileName splits such a name; ok is false for any other.
func parseFileName(name string) (base int64, suffix string, ok bool) {
	if len(name) <= baseDigits || name[baseDigits] != '.' {
		return 0, "", false
	}
	for i := range baseDigits {
		if name[i] < '0' || name[i] > '9' {
			return 0, "", false
		}
	}
	base, err := strconv.ParseInt(name[:baseDigits], 10, 64)
	if err != nil {
		return 0, "", false
	}
	return base, name[baseDigits:], true
}

// DirName is the name of a partition's directory in the data directory.
func DirName(topic string, partition int32) string {
	return topic + "-" + strconv.FormatInt(int64(partition), 10)
}

// DirKind is what a directory in the data directory is for.
type DirKind uint8

const (
	// DirOther is none of storage's.
	DirOther DirKind = iota
	// DirPartition holds a partition.
	DirPartition
	// DirDeleted holds a partition that was being deleted: remove it.
	DirDeleted
	// DirSetAside holds what Kafka is moving between directories, or found without a topic.
	DirSetAside
)

// ParseDirName says what a directory is for and, for DirPartition, of which topic and partition.
func ParseDirName(name string) (topic string, partition int32, kind DirKind) {
	switch {
	case strings.HasSuffix(name, deleteDirSuffix):
		return "", 0, DirDeleted
	case strings.HasSuffix(name, futureDirSuffix), strings.HasSuffix(name, strayDirSuffix):
		return "", 0, DirSetAside
	}
	i := strings.LastIndexByte(name, '-')
	if i <= 0 || i == len(name)-1 || name[i+1] == '+' {
		return "", 0, DirOther
	}
	n, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != name[i+1:] {
		return "", 0, DirOther
	}
	return name[:i], int32(n), DirPartition
}

// ParseFutureDirName is the partition that a directory <topic>-<partition>.<32 hex digits>-future is a copy of: Kafka makes one to
// move a partition between data directories. ok is false for every other name.
func ParseFutureDirName(name string) (topic string, partition int32, ok bool) {
	rest, ok := strings.CutSuffix(name, futureDirSuffix)
	i := strings.LastIndexByte(rest, '.')
	if !ok || i < 0 {
		return "", 0, false
	}
	if id, err := hex.DecodeString(rest[i+1:]); err != nil || len(id) != len(protocol.UUID{}) {
		return "", 0, false
	}
	topic, partition, kind := ParseDirName(rest[:i])
	return topic, partition, kind == DirPartition
}

// deletedDirName is what a partition's directory is called from its deletion to its removal.
func deletedDirName(id TopicPartition, unique protocol.UUID) string {
	return uniqueDirName(id, unique, deleteDirSuffix)
}

// uniqueDirName is <topic>-<partition>.<32 hex digits><suffix>, the topic shortened so that it stays a file name.
func uniqueDirName(id TopicPartition, unique protocol.UUID, suffix string) string {
	tail := fmt.Sprintf("-%d.%s%s", id.Partition, hex.EncodeToString(unique[:]), suffix)
	topic := id.Topic
	if len(topic)+len(tail) > maxNameLength {
		topic = topic[:maxNameLength-len(tail)]
	}
	return topic + tail
}

// splitPath splits the last element off a path.
func splitPath(path string) (dir, name string) {
	path = strings.TrimRight(path, "/")
	i := strings.LastIndexByte(path, '/')
	switch {
	case i < 0:
		return ".", path
	case i == 0:
		return "/", path[1:]
	}
	return path[:i], path[i+1:]
}
