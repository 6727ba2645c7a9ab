package logtool

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"syscall"

	"slipstream/ring"
	"slipstream/storage"
)

// Names in a data directory, Kafka's.
const (
	epochFile     = "leader-epoch-checkpoint"
	topicIDFile   = "partition.metadata"
	recoveryFile  = "recovery-point-offset-checkpoint"
	startFile     = "log-start-offset-checkpoint"
	highFile      = "replication-offset-checkpoint"
	cleanerFile   = "cleaner-offset-checkpoint"
	readersFile   = "slipstream-readers-checkpoint"
	cleanShutdown = ".kafka_cleanshutdown"
	propertyFile  = "meta.properties"
	quorumFile    = "quorum-state"
	lockFile      = ".lock"
)

var offsetFiles = []string{recoveryFile, startFile, highFile, cleanerFile, readersFile}

// maxSmallFile is how large a file may be that is read whole: an .index of Kafka has at most 2^31 bytes by its format, and
// 10 MiB by its default.
const maxSmallFile = 512 << 20

// readWhole reads a file that is not to be large.
func readWhole(k ring.Files, path string) ([]byte, error) {
	fd, err := k.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer k.Close(fd)
	size, err := k.Size(fd)
	if err != nil {
		return nil, err
	}
	if size > maxSmallFile {
		return nil, fmt.Errorf("%d bytes are too many for such a file", size)
	}
	b := make([]byte, size)
	n, err := k.ReadAt(fd, b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

// dataDir is a data directory, or as much of one as was asked for.
type dataDir struct {
	path       string
	partitions []string // paths
	whole      bool     // not only one of its partitions
}

// findDir says what a path is: a data directory, or a partition's directory in one.
func findDir(k ring.Files, path string) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	entries, err := k.ReadDir(path)
	if err != nil {
		return nil, err
	}
	if _, _, kind := storage.ParseDirName(filepath.Base(path)); kind == storage.DirPartition && holdsLog(entries) {
		return &dataDir{path: filepath.Dir(path), partitions: []string{path}}, nil
	}
	d := &dataDir{path: path, whole: true}
	known := false
	for _, e := range entries {
		known = known || e.Name == propertyFile || slices.Contains(offsetFiles, e.Name)
		if _, _, kind := storage.ParseDirName(e.Name); e.Dir && kind == storage.DirPartition {
			d.partitions = append(d.partitions, filepath.Join(path, e.Name))
		}
	}
	if !known {
		// Many directories of others are named like partitions (/etc/polkit-1): without a data directory's own files, it is their files that tell.
		d.partitions = slices.DeleteFunc(d.partitions, func(p string) bool { return !isPartition(k, p) })
		if len(d.partitions) == 0 {
			return nil, fmt.Errorf("%s is neither a data directory nor a partition's", path)
		}
	}
	return d, nil
}

// isPartition says whether there is a partition's log in a directory. One that cannot be read counts: that is to be told.
func isPartition(k ring.Files, path string) bool {
	entries, err := k.ReadDir(path)
	return err != nil || holdsLog(entries)
}

func holdsLog(entries []ring.DirEntry) bool {
	return slices.ContainsFunc(entries, func(e ring.DirEntry) bool {
		_, suffix, ok := storage.ParseFileName(e.Name)
		return ok && !e.Dir && suffix == ".log" || e.Name == topicIDFile
	})
}
