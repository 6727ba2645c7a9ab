package storage

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Zeros ahead of the end: where appends wait for fdatasync, a write that would make the file longer now and then takes
// zeros with it, and the writes that follow fall into blocks that are written and into a file that is long enough already.
//
//	.log  |-- batches --|-- zeros --|          the next write:  |-- batches ------|- zeros -|
//	                    ^ size      ^ filled
//
// An append that moves the end of a file is metadata: fdatasync(2) has to commit the file system's journal for it, and preallocation with
// FALLOC_FL_KEEP_SIZE does not change that, nor do blocks that are allocated and unwritten (without KEEP_SIZE), each of which is metadata once
// more when it is written. Measured, 1 KiB and fdatasync, p50 on a loop device: ext4 788 us, with zeros ahead 201 us; XFS 374 and
// 123 us. (On an ext4 without a journal there is no difference.)
//
// What it costs is that those bytes are written twice, and one fsync in some dozens that has the journal and the zeros to write. So it is done
// where fsyncs are of little, and by as much as some dozens of them take.
//
// Kafka does the same with preallocate=true: the active segment of a broker that was killed ends in zeros, and its recovery, like ours,
// cuts them off. A segment is cut to its size, durably, before the next one has a batch: bytes behind the last batch of any other
// segment would be taken for damage, by Kafka's recovery too, and cost all that follows.
const (
	fillFrom    = 16 << 10  // a smaller segment gets none: most partitions stay small
	fillSyncs   = 64        // as many fsyncs are to find the file long enough
	fillMost    = 1 << 20   // with one write
	fillPiece   = 64 << 10  // of zeros in memory
	fillBelow   = 128 << 10 // bytes an fsync covers: above that the journal is not what takes the time
	fillIovecs  = fillMost / fillPiece
	fillPageMin = 4 << 10
)

// fill is how many zeros the write of so many bytes is to take with it.
func (p *Partition) fill(bytes int) int {
	s, st := p.activeSegment(), p.store
	end := s.size + int64(bytes)
	if !p.disk.ZerosAhead || p.config.FlushMessages == neverFlush || end <= p.active.filled || s.size < fillFrom ||
		p.syncing.average >= fillBelow || st.core.Now < p.noPreallocation {
		return 0
	}
	n := min(max(fillSyncs*p.syncing.average, fillPageMin), fillMost, s.size)
	to := min((end+n)&^(fillPageMin-1), int64(p.config.SegmentBytes))
	return int(max(to-end, 0))
}

// appendZeros makes iovecs of n zeros; fewer, or none, where there is no memory for them.
func (s *Store) appendZeros(iovecs []unix.Iovec, n int) (added, zeros int) {
	if s.zeros == nil {
		if s.zeros = s.core.Arena.Alloc(fillPiece); s.zeros == nil {
			return 0, 0
		}
		clear(s.zeros.Bytes())
	}
	base := unsafe.SliceData(s.zeros.Bytes())
	for zeros < n && added < len(iovecs) {
		piece := min(n-zeros, fillPiece)
		iovecs[added] = unix.Iovec{Base: base}
		iovecs[added].SetLen(piece)
		zeros += piece
		added++
	}
	return added, zeros
}

// took keeps the average of what an fsync covers: bytes of a segment are on the disk now.
func (y *syncing) took(s *segment, bytes int64) {
	if s != y.tookOf {
		y.tookOf, y.tookBytes = s, 0
	}
	y.average += (bytes - y.tookBytes - y.average) / 8
	y.tookBytes = bytes
}
