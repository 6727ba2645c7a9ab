package storage

import (
	"errors"
	"io/fs"
	"syscall"

	"slipstream/ring"
)

// What can be asked of a data directory without changing it.

// HasCleanShutdown reports whether the marker of a clean shutdown is there; see [TakeCleanShutdown].
func HasCleanShutdown(k ring.Files, dataDir string) (clean bool, brokerEpoch int64, err error) {
	b, err := ReadFile(k, dataDir+"/"+cleanShutdownName, 1<<16)
	if errors.Is(err, fs.ErrNotExist) {
		return false, -1, nil
	}
	if err != nil {
		return false, -1, err
	}
	return true, decodeCleanShutdown(b), nil
}

// InUse reports whether a broker, ours or Kafka's, has the data directory. Should one want it at this very moment, that one
// is told that it is in use.
func InUse(k ring.Files, dataDir string) (bool, error) {
	fd, err := k.Open(dataDir+"/"+lockName, syscall.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = k.TryLock(fd)
	closeQuietly(k, fd)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
