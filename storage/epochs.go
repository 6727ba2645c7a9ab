package storage

import (
	"fmt"
	"math"
	"sort"
	"strconv"
)

// epochEntry says that a leader epoch began at an offset.
type epochEntry struct {
	epoch int32
	start int64
}

// epochs is a partition's history of leader epochs, both fields rising. It is what
// leader-epoch-checkpoint holds (see checkpoint.go).
type epochs struct {
	entries []epochEntry
}

// latest is the last epoch, -1 if there is none.
func (e *epochs) latest() int32 {
	if len(e.entries) == 0 {
		return -1
	}
	return e.entries[len(e.entries)-1].epoch
}

// assign notes that epoch begins at start. Epochs that would have begun there or later, or are not
// smaller, go: nothing was appended in them. It reports whether anything changed.
func (e *epochs) assign(epoch int32, start int64) bool {
	n := len(e.entries)
	if epoch < 0 || n > 0 && e.entries[n-1].epoch == epoch && start >= e.entries[n-1].start {
		return false
	}
	for n > 0 && (e.entries[n-1].epoch >= epoch || e.entries[n-1].start >= start) {
		n--
	}
	e.entries = append(e.entries[:n], epochEntry{epoch, start})
	return true
}

// assignSeen is assign for a batch found in the log: only a later epoch is news.
func (e *epochs) assignSeen(epoch int32, start int64) bool {
	return epoch > e.latest() && e.assign(epoch, start)
}

// truncateEnd forgets epochs that began at or after end, and reports whether there were any.
func (e *epochs) truncateEnd(end int64) bool {
	n := len(e.entries)
	for n > 0 && e.entries[n-1].start >= end {
		n--
	}
	changed := n < len(e.entries)
	e.entries = e.entries[:n]
	return changed
}

// clampEnd moves an epoch that begins after the log's end to the end: what was to be its first
// batch could not be written.
func (e *epochs) clampEnd(end int64) bool {
	latest := e.latest()
	if latest < 0 || e.entries[len(e.entries)-1].start <= end {
		return false
	}
	return e.assign(latest, end)
}

// truncateStart makes the history begin at start: the epoch that start is in keeps its place from
// there on.
func (e *epochs) truncateStart(start int64) bool {
	i := sort.Search(len(e.entries), func(i int) bool { return e.entries[i].start > start })
	if i == 0 || i == 1 && e.entries[0].start == start {
		return false
	}
	e.entries = append(e.entries[:0], e.entries[i-1:]...)
	e.entries[0].start = start
	return true
}

// endOffset is the largest epoch not larger than epoch, and where it ended, given the log's end;
// (-1, -1) if that is not known. Kafka's LeaderEpochFileCache.endOffsetFor.
func (e *epochs) endOffset(epoch int32, logEnd int64) (int32, int64) {
	if epoch < 0 || len(e.entries) == 0 {
		return -1, -1
	}
	if epoch == e.latest() {
		return epoch, logEnd
	}
	i := sort.Search(len(e.entries), func(i int) bool { return e.entries[i].epoch > epoch })
	switch i {
	case len(e.entries): // later than any known
		return -1, -1
	case 0: // earlier than any known
		return epoch, e.entries[0].start
	}
	return e.entries[i-1].epoch, e.entries[i].start
}

// at is the epoch that offset belongs to, -1 if it lies before the first.
func (e *epochs) at(offset int64) int32 {
	i := sort.Search(len(e.entries), func(i int) bool { return e.entries[i].start > offset })
	if i == 0 {
		return -1
	}
	return e.entries[i-1].epoch
}

func (e *epochs) encode() []byte {
	b := appendCheckpointHead(nil, len(e.entries))
	for _, entry := range e.entries {
		b = append(strconv.AppendInt(b, int64(entry.epoch), 10), ' ')
		b = append(strconv.AppendInt(b, entry.start, 10), '\n')
	}
	return b
}

func decodeEpochs(b []byte) (epochs, error) {
	var e epochs
	err := eachCheckpointLine(b, 2, func(f []string) error {
		epoch, err := strconv.ParseInt(f[0], 10, 32)
		if err != nil || epoch < 0 || epoch > math.MaxInt32 {
			return fmt.Errorf("%q is not a leader epoch", f[0])
		}
		start, err := parseOffset(f[1])
		if err != nil {
			return err
		}
		if n := len(e.entries); n > 0 && (e.entries[n-1].epoch >= int32(epoch) || e.entries[n-1].start >= start) {
			return fmt.Errorf("epoch %d at offset %d does not follow epoch %d at offset %d", epoch, start, e.entries[n-1].epoch, e.entries[n-1].start)
		}
		e.entries = append(e.entries, epochEntry{int32(epoch), start})
		return nil
	})
	if err != nil {
		return epochs{}, err
	}
	return e, nil
}
