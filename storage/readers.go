package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"slipstream/ring"
)

// Where readers are: of each partition the lowest place that readers near its end have asked for lately. A restarted
// broker reads ahead from there (warm.go). Kept in slipstream-readers-checkpoint, beside Kafka's checkpoint files and in
// the format of its offset checkpoints (checkpoint.go); Kafka looks at directories and at files that it knows, and leaves it alone.
//
// Two windows, the one that is running and the one before: a reader that polls has been in either, one that has stopped is in
// neither before long. What a consumer commits is a few seconds older than what it fetches (auto.commit.interval.ms is 5 s), so the lowest
// place of some seconds is what it asks for if it is restarted too.
const readersWindowNanos = 10e9

// readersSegments is how many segments back a reader may be: what every fetch goes through takes constant time.
const readersSegments = 16

const readersCheckpointName = "slipstream-readers-checkpoint"

const nobody = math.MaxInt64

// readers are the places of a partition's tail readers.
type readers struct {
	lowest int64 // in the window that is running; nobody: none
	before int64 // in the one before
	since  int64 // when the running one began (core.Now)
}

// turn begins a new window when the last one is over.
func (r *readers) turn(now int64) {
	switch gone := now - r.since; {
	case gone < readersWindowNanos:
		return
	case gone < 2*readersWindowNanos:
		r.before = r.lowest
	default:
		r.before = nobody
	}
	r.lowest, r.since = nobody, now
}

// readAt notes that a reader asks for an offset which is so many bytes from what may be read. Constant time, for every fetch
// goes through it.
func (p *Partition) readAt(offset, bytesFromEnd int64) {
	if bytesFromEnd > p.store.tailBytes || p.store.tailBytes == 0 {
		return // a laggard: it will be the cold lane's in any case
	}
	r := &p.readers
	r.turn(p.store.core.Now)
	r.lowest = min(r.lowest, offset)
}

// ReadersAt is the lowest offset that readers near the log's end have asked for in the last seconds; ok is false if there
// were none.
func (p *Partition) ReadersAt() (offset int64, ok bool) {
	p.readers.turn(p.store.core.Now)
	offset = min(p.readers.lowest, p.readers.before)
	return offset, offset != nobody
}

// SetReaders says where readers were when the broker was stopped, until they come again or not. now is
// CLOCK_MONOTONIC in nanoseconds.
func (p *Partition) SetReaders(offset, now int64) {
	p.readers = readers{lowest: offset, before: nobody, since: now}
}

// fromEnd is how many bytes a place is from what may be read, or that it is beyond counting.
func (p *Partition) fromEnd(at place) int64 {
	n := p.visible.position
	for i := len(p.segments) - 1; i >= 0 && i >= len(p.segments)-readersSegments; i-- {
		s := p.segments[i]
		if s == at.segment {
			return n - at.position
		}
		if n > p.store.tailBytes {
			break
		}
		if s.base <= p.visible.segment.base && i > 0 {
			if !p.segments[i-1].known.Load() {
				break
			}
			n += p.segments[i-1].size
		}
	}
	return math.MaxInt64
}

// ReadReaders reads the readers' places, by directory name ([DirName]). A file that is not there has none; one that is damaged counts
// as none, and the note says so.
func ReadReaders(k ring.Files, dataDir string) (places map[string]int64, note string) {
	b, err := ReadFile(k, dataDir+"/"+readersCheckpointName, maxCheckpointBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ""
	}
	var entries []OffsetEntry
	if err == nil {
		entries, err = DecodeOffsets(b)
	}
	if err != nil {
		return nil, fmt.Sprintf("%s is ignored: %v", readersCheckpointName, err)
	}
	places = make(map[string]int64, len(entries))
	for _, e := range entries {
		places[DirName(e.Topic, e.Partition)] = e.Offset
	}
	return places, ""
}

// writeReaders replaces the readers' places; without any there is no file.
func writeReaders(k ring.Files, dataDir string, entries []OffsetEntry) error {
	if len(entries) == 0 {
		return removeFile(k, dataDir+"/"+readersCheckpointName)
	}
	return writeOffsets(k, dataDir, readersCheckpointName, entries)
}
