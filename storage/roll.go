package storage

import (
	"errors"
	"syscall"

	"slipstream/protocol"
	"slipstream/reactor"
)

// Rolling: a helper makes the next segment's files, while the partition's appends queue. That takes about as long as three
// file creations (20 us each on ext4, a good deal more where files were just deleted). What the closed segment still needs is
// done while the appends go on: another helper gives preallocated blocks back and writes the producers' snapshot (a truncation may wait: XFS
// writes dirty pages back for it, a file system mounted with discard trims), and then come writeback and the fsync, in the ring. A
// kill in between costs a recovery that begins at an older snapshot, which is what it has to be able to do anyhow.

// roll starts a new segment at the log's end.
func (p *Partition) roll() {
	if p.preallocating {
		return // it would give the closed file blocks again; its end tries again
	}
	p.state = rolling
	p.active.addTime()
	p.flushIndex(1)
	s, next := p.activeSegment(), p.offsets.LogEnd
	j := &rollJob{p: p, next: next, finish: finishJob{
		p: p, segment: s, old: closedFiles(p, s), next: next, path: p.path(next, snapshotSuffix), snapshot: p.snapshotNow(),
	}}
	// Searches of a closed segment go by its index files: they must be whole before it is one. And nothing may be
	// behind its batches, not even after a power cut: see ahead.go.
	j.finish.sync = p.active.filled > s.size
	j.first = len(p.active.index)+len(p.active.time) > 0 || j.finish.sync
	p.store.core.Offload(j)
}

// snapshotNow encodes the producers as they are at the log's end: without what is queued.
func (p *Partition) snapshotNow() []byte {
	queued := &p.writing.queued
	if queued.empty() {
		return p.producers.encode()
	}
	after := producers{}
	for a := queued.tail; a != nil; a = a.prev { // newest first: each puts back what was before it
		if a.remembered != nil {
			copied := a.before
			copied.id = a.remembered.id
			after.put(&copied)
			if !a.wasKnown {
				copied.count = 0
			}
		}
	}
	now := producers{}
	for id, q := range p.producers.byID {
		if after.get(id) == nil {
			now.put(q)
		}
	}
	for a := queued.head; a != nil; a = a.next {
		if a.remembered == nil {
			continue
		}
		if q := after.get(a.remembered.id); q != nil {
			if a.wasKnown {
				now.put(q)
			}
			delete(after.byID, q.id) // only the oldest append of a producer tells
		}
	}
	return now.encode()
}

// closingFiles is what a helper needs to put the files of a segment in order that gets no more batches.
type closingFiles struct {
	path        string // without suffix
	size        int64
	entries     int32
	timeEntries int32
	index       []indexEntry
	time        []timeEntry
	aborted     []abortedTxn // all there are; a segment without has no .txnindex
}

func closedFiles(p *Partition, s *segment) closingFiles {
	return closingFiles{
		path: p.path(s.base, ""), size: s.size, entries: s.entries, timeEntries: s.timeEntries,
		index: p.active.index, time: p.active.time, aborted: s.aborts.list[:len(s.aborts.list):len(s.aborts.list)],
	}
}

// finish writes what the indexes lack and cuts the files to their true sizes.
func (c *closingFiles) finish(k kernel, sync bool) error {
	return errors.Join(
		finishAborted(k, c.path, c.aborted, sync),
		finishFile(k, c.path+indexSuffix, int64(c.entries)*indexEntryBytes, encodeIndex(c.index), sync),
		finishFile(k, c.path+timeIndexSuffix, int64(c.timeEntries)*timeIndexEntryBytes, encodeTimeIndex(c.time), sync),
		finishFile(k, c.path+logSuffix, c.size, nil, sync),
	)
}

// finishFile writes tail at off and cuts the file behind it, which also gives preallocated blocks back.
func finishFile(k kernel, path string, off int64, tail []byte, sync bool) error {
	fd, err := k.Open(path, syscall.O_RDWR|syscall.O_CREAT, fileMode)
	if err != nil {
		return err
	}
	if len(tail) > 0 {
		_, err = k.WriteAt(fd, tail, off)
	}
	if err == nil {
		err = k.Truncate(fd, off+int64(len(tail)))
	}
	if err == nil && sync {
		err = k.Sync(fd)
	}
	return errors.Join(err, k.Close(fd))
}

// truncateFile cuts a file.
func truncateFile(k kernel, path string, size int64) error {
	fd, err := k.Open(path, syscall.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(k.Truncate(fd, size), k.Close(fd))
}

// makeSegment makes the three empty files of a segment. What is there already is what a failed attempt left.
func makeSegment(k kernel, dir string, base int64) error {
	for _, suffix := range fileSuffixes {
		if err := writeFile(k, dir+"/"+fileName(base, suffix), nil); err != nil {
			removeSegment(k, dir, base)
			return err
		}
	}
	return nil
}

func removeSegment(k kernel, dir string, base int64) {
	for _, suffix := range fileSuffixes {
		_ = removeFile(k, dir+"/"+fileName(base, suffix)) // what brought us here is the error to tell
	}
}

type rollJob struct {
	p      *Partition
	next   int64
	finish finishJob
	first  bool // finish before the new segment begins
	err    error
}

// Work implements reactor.Job.
func (j *rollJob) Work(k kernel) reactor.Message {
	if j.err = makeSegment(k, j.p.dir, j.next); j.err != nil || !j.first {
		return j
	}
	j.finish.Work(k)
	if j.err = j.finish.err; j.err != nil {
		removeSegment(k, j.p.dir, j.next)
		_ = removeFile(k, j.finish.path)
	}
	return j
}

// Deliver implements reactor.Message.
func (j *rollJob) Deliver(c *reactor.Core) {
	p := j.p
	p.state = idle
	if j.err != nil {
		p.active.allocated, p.active.filled = j.finish.old.size, 0
		p.store.note("a new segment of %s could not be made: %v", &p.id, j.err)
		p.rollThenRetain = false
		p.refuseQueued(protocol.KAFKA_STORAGE_ERROR)
		p.suspect(j.err)
		p.quieted()
		return
	}
	p.store.Stats.Rolls++
	p.beginSegment(j.next)
	if !p.writing.queued.empty() {
		p.store.markDirty(p)
	}
	p.finishing++
	j.finish.segment.finishing = true
	if p.rollThenRetain {
		p.rollThenRetain = false
		p.retain(p.store.core.Wall / 1e6) // moves the log's start; the segment goes when it is in order
	}
	if j.first {
		j.finish.Deliver(c)
		return
	}
	c.Offload(&j.finish)
}

// finishJob puts a closed segment's files in order.
type finishJob struct {
	p        *Partition
	segment  *segment
	old      closingFiles
	next     int64
	path     string // of the producers' snapshot
	snapshot []byte
	sync     bool
	err      error
}

// Work implements reactor.Job.
func (j *finishJob) Work(k kernel) reactor.Message {
	j.err = errors.Join(putFile(k, j.path, j.snapshot), j.old.finish(k, j.sync))
	return j
}

// Deliver implements reactor.Message. Without a snapshot the next recovery begins at an older one; blocks that could not be
// given back are waste.
func (j *finishJob) Deliver(*reactor.Core) {
	p := j.p
	p.finishing--
	j.segment.finishing = false
	if j.err != nil {
		p.store.note("a closed segment of %s could not be put in order: %v", &p.id, j.err)
		p.suspect(j.err)
	} else {
		p.abortsWritten(j.segment)
	}
	p.syncClosed(j.next)
	p.resumeSync()
	p.dropBelow()
	p.quieted()
}

// beginSegment closes the active segment, whose files a helper has put in order, and goes on in the next.
func (p *Partition) beginSegment(base int64) {
	s, a := p.activeSegment(), &p.active
	s.entries += int32(len(a.index))
	s.timeEntries += int32(len(a.time))
	s.unsettled = true
	s.moveTo(segmentClosed)
	s.largest, s.oldest = a.maxTimestamp, a.firstTimestamp
	index, time := a.index[:0], a.time[:0]
	*a = active{indexBuilder: newIndexBuilder(), firstTimestamp: -1, createdMillis: p.store.core.Wall / 1e6, jitterMillis: p.jitter(base)}
	a.index, a.time = index, time
	next := &segment{base: base, unnamed: true}
	next.known.Store(true)
	p.segments = append(p.segments, next)
	if p.visible.offset == base {
		p.visible = place{next, 0, base}
	}
	p.store.writeback.relist(p)
}

// jitter is what this segment takes off segment.ms, so that partitions made together do not all roll
// together: spread by name and offset, the same in every run.
func (p *Partition) jitter(base int64) int64 {
	limit := min(p.config.SegmentJitterMillis, p.config.maxSegmentMillis())
	if limit <= 0 {
		return 0
	}
	h := uint64(14695981039346656037)
	for _, c := range []byte(p.id.Topic) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h = (h ^ uint64(p.id.Partition)) * 1099511628211
	h = (h ^ uint64(base)) * 1099511628211
	return int64(h % uint64(limit))
}
