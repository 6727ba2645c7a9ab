package logtool

import (
	"errors"
	"fmt"
	"syscall"

	"slipstream/protocol"
	"slipstream/ring"
	"slipstream/storage"
)

// PartitionStat is how much there is of a partition.
type PartitionStat struct {
	Topic            string `json:"topic"`
	Partition        int32  `json:"partition"`
	Segments         int    `json:"segments"`
	Bytes            int64  `json:"bytes"`            // of the .log files
	DiskBytes        int64  `json:"diskBytes"`        // what they take on the disk, room made ahead included
	IndexBytes       int64  `json:"indexBytes"`       // of the files beside them
	StartOffset      int64  `json:"startOffset"`      // of the first segment, or what log-start-offset-checkpoint says
	EndOffset        int64  `json:"endOffset"`        // behind the last whole batch; -1: there is no segment
	LargestTimestamp int64  `json:"largestTimestamp"` // ms; -1: none
	ResidentBytes    int64  `json:"residentBytes"`    // of the logs, in the page cache; -1: the kernel does not say
	DirtyBytes       int64  `json:"dirtyBytes"`       // of the logs, not on the disk yet; -1: the kernel does not say
	Why              string `json:"why,omitempty"`    // what could not be read
}

// Kernel is what Stat needs: files, and what is known of the page cache.
type Kernel interface {
	ring.Files
	Resident(fd int, off int64, n int) int
	Absent(fd int, off int64, n int) int
	Dirty(fd int, off, n int64) (int64, syscall.Errno)
}

// Stat sizes up the partitions of a data directory, or of one partition's directory, by their names. It reads the indexes'
// ends and the batches' headers behind them, not the data.
func Stat(k Kernel, path string) ([]PartitionStat, error) {
	dir, err := findDir(k, path)
	if err != nil {
		return nil, err
	}
	starts := look(k, dir, &Report{}).offsets[startFile]
	stats := []PartitionStat{}
	for _, p := range dir.partitions {
		d, err := listPartition(k, p)
		if err != nil {
			return nil, err
		}
		stats = append(stats, statPartition(k, d, starts[d.name]))
	}
	return stats, nil
}

func statPartition(k Kernel, d *partitionDir, start int64) PartitionStat {
	st := PartitionStat{Topic: d.topic, Partition: d.partition, Segments: len(d.bases), StartOffset: start, EndOffset: -1, LargestTimestamp: -1}
	for i, base := range d.bases {
		if i == 0 {
			st.StartOffset = max(start, base)
		}
		if err := st.addSegment(k, d, base, i+1 == len(d.bases)); err != nil && st.Why == "" {
			st.Why = err.Error()
		}
	}
	return st
}

func (st *PartitionStat) addSegment(k Kernel, d *partitionDir, base int64, last bool) error {
	path := d.path + "/" + d.file(base, ".log")
	info, err := k.Stat(path)
	if err != nil {
		return err
	}
	st.Bytes += info.Size
	st.DiskBytes += info.Blocks * 512
	for _, suffix := range []string{".index", ".timeindex", ".txnindex", ".snapshot"} {
		if i, err := k.Stat(d.path + "/" + d.file(base, suffix)); err == nil {
			st.IndexBytes += i.Size
		}
	}
	if err := st.addCache(k, path, info.Size); err != nil {
		return err
	}
	return errors.Join(st.addTime(k, d, base), st.addEnd(k, d, base, last))
}

// addCache asks the kernel how much of a file it holds.
func (st *PartitionStat) addCache(k Kernel, path string, size int64) error {
	fd, err := k.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer k.Close(fd)
	for off := int64(0); off < size; {
		n := int(min(size-off, 1<<30))
		there := k.Resident(fd, off, n)
		if there == 0 {
			gone := k.Absent(fd, off, n)
			if gone == 0 {
				break // the kernel would not say
			}
			off += int64(gone)
			continue
		}
		if st.ResidentBytes >= 0 {
			st.ResidentBytes += int64(there)
		}
		off += int64(there)
	}
	dirty, errno := k.Dirty(fd, 0, size)
	if errno != 0 || st.DirtyBytes < 0 {
		st.DirtyBytes = -1
	} else {
		st.DirtyBytes += min(dirty, (size+4095)&^4095)
	}
	return nil
}

// addTime takes in the last entry of a time index.
func (st *PartitionStat) addTime(k Kernel, d *partitionDir, base int64) error {
	name := d.file(base, ".timeindex")
	if !d.has[name] {
		return nil
	}
	b, err := readWhole(k, d.path+"/"+name)
	if err != nil {
		return err
	}
	list, _, err := storage.DecodeTimeIndex(b)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if n := len(list); n > 0 {
		st.LargestTimestamp = max(st.LargestTimestamp, list[n-1].Timestamp)
	}
	return nil
}

// addEnd finds the log's end: from the last index entry on, header by header.
func (st *PartitionStat) addEnd(k Kernel, d *partitionDir, base int64, last bool) error {
	if !last {
		return nil
	}
	st.EndOffset = base
	f, err := storage.OpenLogFile(k, d.path+"/"+d.file(base, ".log"))
	if err != nil {
		return err
	}
	defer f.Close()
	position := int64(0)
	if b, err := readWhole(k, d.path+"/"+d.file(base, ".index")); err == nil {
		if list, _, err := storage.DecodeIndex(b); err == nil && len(list) > 0 {
			position = int64(list[len(list)-1].Position)
		}
	}
	for _, from := range []int64{position, 0} { // from the beginning if the index lies
		if end, ok := st.walkHeaders(f, from, base); ok || from == 0 {
			st.EndOffset = end
			break
		}
	}
	return nil
}

func (st *PartitionStat) walkHeaders(f *storage.LogFile, position, end int64) (int64, bool) {
	ok := false
	for position >= 0 && position < f.Size() {
		var h protocol.Batch
		h, err := f.Header(position)
		if err != nil || h.BaseOffset() < end {
			break
		}
		ok = true
		end, position = h.NextOffset(), position+storage.BatchBytes(h)
		st.LargestTimestamp = max(st.LargestTimestamp, h.MaxTimestamp())
	}
	return end, ok
}
