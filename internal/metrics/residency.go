package metrics

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"slipstream/storage"

	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"
)

// residencyLimit is how long one scrape of residency may look at files.
const residencyLimit = 5 * time.Second

var (
	residentBytes    = optional("at /metrics/residency", gauge, "slipstream_partition_resident_bytes", "Bytes of the log that are in the page cache.", "topic", "partition")
	residencySize    = optional("at /metrics/residency", gauge, "slipstream_partition_bytes", "Bytes of the log's files.", "topic", "partition")
	residencySeconds = optional("at /metrics/residency", gauge, "slipstream_residency_seconds", "How long it took to look.")
	residencySkipped = optional("at /metrics/residency", gauge, "slipstream_residency_skipped_partitions", "Partitions that were not looked at for want of time.")
)

// residency asks the kernel, file by file, how much of each log is in the page
// cache. That takes some microseconds a segment and is nothing that a core does,
// nor something for every scrape.
type residency struct {
	collector *collector
	dirs      []string // data directories
}

// Gather implements prometheus.Gatherer.
func (r *residency) Gather() ([]*dto.MetricFamily, error) {
	out, begun := newOutput(), time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), residencyLimit)
	defer cancel()
	skipped := 0
	for _, id := range r.partitions() {
		if ctx.Err() != nil {
			skipped++
			continue
		}
		resident, size := int64(0), int64(0)
		for _, dir := range r.dirs { // it is in one of them
			inMemory, bytes := logResidency(ctx, filepath.Join(dir, storage.DirName(id.Topic, id.Partition)))
			resident, size = resident+inMemory, size+bytes
		}
		partition := strconv.Itoa(int(id.Partition))
		out.put(residentBytes, float64(resident), id.Topic, partition)
		out.put(residencySize, float64(size), id.Topic, partition)
	}
	out.put(residencySeconds, time.Since(begun).Seconds())
	out.put(residencySkipped, float64(skipped))
	return out.gathered(), nil
}

// partitions are those that the cores tell of.
func (r *residency) partitions() []storage.TopicPartition {
	c := r.collector
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cores.gather(answerLimit)
	c.view.merge(c.cores)
	ids := make([]storage.TopicPartition, 0, len(c.view.partitions))
	for _, p := range c.view.partitions {
		ids = append(ids, p.ID)
	}
	return ids
}

// logResidency adds up a log's segments. One that is gone meanwhile counts nothing.
func logResidency(ctx context.Context, dir string) (resident, size int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".log") || ctx.Err() != nil {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err == nil && info.Size() > 0 {
			size += info.Size()
			resident += min(cachedBytes(int(f.Fd()), info.Size()), info.Size())
		}
		f.Close()
	}
	return resident, size
}

// cachedBytes is how much of a file is in the page cache, by cachestat(2); by
// mincore(2) before Linux 6.5, and where cachestat finds nothing, as on overlayfs.
func cachedBytes(fd int, size int64) int64 {
	asked := struct{ off, n uint64 }{0, uint64(size)}
	var stat struct{ cached, dirty, writeback, evicted, recentlyEvicted uint64 }
	_, _, errno := unix.Syscall6(unix.SYS_CACHESTAT, uintptr(fd), uintptr(unsafe.Pointer(&asked)), uintptr(unsafe.Pointer(&stat)), 0, 0, 0)
	if errno == 0 && stat.cached > 0 {
		return int64(stat.cached) * int64(os.Getpagesize())
	}
	return mincoreBytes(fd, size)
}

// mincoreStep is how much of a file is mapped at a time.
const mincoreStep = 64 << 20

func mincoreBytes(fd int, size int64) (cached int64) {
	page := int64(os.Getpagesize())
	vector := make([]byte, mincoreStep/page)
	for off := int64(0); off < size; off += mincoreStep {
		n := min(size-off, mincoreStep)
		mapped, err := unix.Mmap(fd, off, int(n), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return cached
		}
		pages := (n + page - 1) / page
		_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(n), uintptr(unsafe.Pointer(&vector[0])))
		if errno == 0 {
			for _, v := range vector[:pages] {
				cached += int64(v&1) * page
			}
		}
		if unix.Munmap(mapped) != nil {
			return cached
		}
	}
	return cached
}
