package metadata

import (
	"fmt"
	"strconv"
	"strings"
)

// What snapshot files are called, and which of them are kept. In the metadata directory:
//
//	%020d-%010d.checkpoint            a snapshot: of all records below the offset, the last of them of the epoch
//	%020d-%010d-*.checkpoint.part     one that is being written
//	%020d-%010d.checkpoint.deleted    one that is being deleted
//
// (Kafka's Snapshots and SnapshotPath.)

// SnapshotID says which records of the log a snapshot stands for.
type SnapshotID struct {
	Offset int64 // of the record that follows
	Epoch  int32 // of the last record
}

// Suffixes of a snapshot's file: whole, being written, being deleted.
const (
	SnapshotSuffix        = ".checkpoint"
	snapshotPartSuffix    = ".checkpoint.part"
	snapshotDeletedSuffix = ".checkpoint.deleted"
)

// FileName is the name of the snapshot's file.
func (id SnapshotID) FileName() string {
	return fmt.Sprintf("%020d-%010d%s", id.Offset, id.Epoch, SnapshotSuffix)
}

// PartName is the name of the file while it is written.
func (id SnapshotID) PartName() string {
	return fmt.Sprintf("%020d-%010d-0%s", id.Offset, id.Epoch, snapshotPartSuffix)
}

// ParseSnapshotName reads the name of a whole snapshot's file; ok is false for any other.
func ParseSnapshotName(name string) (id SnapshotID, ok bool) {
	const offsetDigits, epochDigits = 20, 10
	stem, ok := strings.CutSuffix(name, SnapshotSuffix)
	if !ok || len(stem) != offsetDigits+1+epochDigits || stem[offsetDigits] != '-' {
		return id, false
	}
	offset, err := strconv.ParseUint(stem[:offsetDigits], 10, 63)
	if err != nil {
		return id, false
	}
	epoch, err := strconv.ParseUint(stem[offsetDigits+1:], 10, 31)
	return SnapshotID{int64(offset), int32(epoch)}, err == nil
}

// IsSnapshotLeftover reports whether a file is what was left of writing or deleting a snapshot.
func IsSnapshotLeftover(name string) bool {
	return strings.HasSuffix(name, snapshotPartSuffix) || strings.HasSuffix(name, snapshotDeletedSuffix)
}

// SnapshotFile is a snapshot as far as keeping it goes.
type SnapshotFile struct {
	SnapshotID
	Bytes           int64
	TimestampMillis int64 // of the last record that it stands for, from its header
	LogBytes        int64 // of the log's segments that lie wholly below it
}

// Retention is metadata.max.retention.bytes and metadata.max.retention.ms; negative: no limit.
type Retention struct{ Bytes, Millis int64 }

// Expired is how many of the snapshots, oldest first, are not to be kept. The newest always is, and of the log all
// that follows the oldest that is kept. (Kafka's KafkaRaftLog.maybeClean.) logBytes is the size of the whole log.
func (r Retention) Expired(snapshots []SnapshotFile, logBytes, nowMillis int64) (n int) {
	for i := range snapshots {
		logBytes += snapshots[i].Bytes
	}
	gone := int64(0) // what has gone with those before
	for ; n+1 < len(snapshots); n++ {
		tooLarge := r.Bytes >= 0 && logBytes-gone > r.Bytes
		tooOld := r.Millis >= 0 && nowMillis-snapshots[n].TimestampMillis > r.Millis
		if !tooLarge && !tooOld {
			break
		}
		gone += snapshots[n].Bytes + snapshots[n+1].LogBytes - snapshots[n].LogBytes
	}
	return n
}
