package storage

import (
	"errors"
	"io/fs"
	"slices"

	"slipstream/protocol"
	"slipstream/reactor"
)

// Leaving the log. The log's start moves at once, in memory: because records were deleted (DeleteRecords) or because
// segments were (retention). What lies wholly below it is then taken out of the log, from the front, a piece at a time:
// a helper renames its files (.deleted), and removes them after file.delete.delay.ms. Who reads from them goes on: an open
// file needs no name.
//
// Names are given up in the order of the offsets, each durably before the next: the other way a power cut could leave a hole,
// and recovery ends a log at a hole.

// HighWatermark is DeleteRecords' upTo for all that consumers can see.
const HighWatermark = -1

// DeleteRecords moves the log's start to upTo, at most to the high watermark: what is below may not be read any more, and
// whole segments of it are deleted. It returns the log's start, which may have been further on. The start is in
// log-start-offset-checkpoint with the next checkpoint, as in Kafka: after a crash before that, records may be back.
func (p *Partition) DeleteRecords(upTo int64) (logStart int64, code protocol.ErrorCode) {
	switch {
	case p.store == nil || p.closed:
		return -1, protocol.NOT_LEADER_OR_FOLLOWER
	case p.trouble == unsyncable:
		return -1, protocol.KAFKA_STORAGE_ERROR
	case !p.config.Deletable:
		return -1, protocol.POLICY_VIOLATION
	}
	if upTo == HighWatermark {
		upTo = p.offsets.HighWatermark
	}
	if upTo < 0 || upTo > p.offsets.HighWatermark {
		return -1, protocol.OFFSET_OUT_OF_RANGE
	}
	p.advanceStart(upTo)
	return p.offsets.LogStart, protocol.NONE
}

// advanceStart moves the log's start forward, at most to the high watermark. Producers are remembered for as long as
// ever, and a transaction that began below stays open: its coordinator will end it.
func (p *Partition) advanceStart(to int64) {
	o := p.offsets
	if to <= o.LogStart {
		return
	}
	o.LogStart = to
	o.RecoveryPoint = max(o.RecoveryPoint, to)
	p.stabilize(&o)
	p.offsets.set(o)
	if p.epochs.truncateStart(to) {
		p.saveEpochs()
	}
	p.dropBelow()
}

// deletePiece is how many segments are taken out of a log at a time.
const deletePiece = 32

// dropBelow takes segments that lie wholly below the log's start out of the log, as many as may go now. Where something keeps one,
// its end calls this again.
func (p *Partition) dropBelow() {
	if p.deleting || p.closed || p.state == gone {
		return
	}
	n := 0
	for n < min(len(p.segments)-1, deletePiece) && p.segments[n+1].base <= p.offsets.LogStart && p.deletable(p.segments[n]) {
		n++
	}
	if n == 0 {
		return
	}
	p.deleting = true
	p.store.core.Offload(&retireJob{p: p, segments: p.takeOut(0, n, nil)})
}

// takeOut takes segments [from, to) out of the log and puts others in their place. It returns those taken out.
func (p *Partition) takeOut(from, to int, instead []*segment) []*segment {
	out := slices.Clone(p.segments[from:to])
	segments := make([]*segment, 0, len(p.segments)-len(out)+len(instead)) // helpers may be reading the old list
	p.segments = append(append(append(segments, p.segments[:from]...), instead...), p.segments[to:]...)
	p.generation++
	st := p.store
	for _, s := range out {
		if !s.known.Load() {
			p.unknown--
		}
		p.cleaned(s, 0)
		st.files.dropSegment(s)
		if s.observed != 0 {
			st.files.observer.Forget(s.observed)
			s.observed = 0
		}
		st.Stats.DeletedSegments++
		st.Stats.DeletedBytes += uint64(s.size)
		st.aborts.drop(s)
		s.moveTo(segmentDeleted)
	}
	p.txns.aborting = p.txns.aborting[:len(p.txns.aborting):len(p.txns.aborting)]
	p.txns.aborting = slices.DeleteFunc(slices.Clone(p.txns.aborting), func(s *segment) bool { return !s.live() })
	p.forgetPlaces()
	return out
}

// forgetPlaces forgets places in segments that are not in the log any more.
func (p *Partition) forgetPlaces() {
	if s := p.store.window.segment; s != nil && !s.live() {
		p.store.window.segment = nil
	}
	for i := range p.cursors {
		if s := p.cursors[i].segment; s != nil && !s.live() {
			p.cursors[i] = cursor{}
		}
	}
	if s := p.previous.segment; s != nil && !s.live() {
		p.previous = place{}
	}
	if !p.visible.segment.live() { // the high watermark was at its end
		p.visible = place{p.segments[p.segmentFor(p.visible.offset)], 0, p.visible.offset}
	}
	for i := range p.txns.open {
		if first := &p.txns.open[i].first; first.segment != nil && !first.segment.live() {
			first.segment = nil // it began below the log's start
		}
	}
}

// segmentSuffixes are the kinds of files that belong to a segment, the .log first: without it the others are orphans, which
// a start removes. The producers' snapshot is that of the segment's beginning.
var segmentSuffixes = [...]string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix, snapshotSuffix}

// retireJob renames the files of segments that were taken out of the log's front.
type retireJob struct {
	p        *Partition
	segments []*segment
	err      error
}

// Work implements reactor.Job.
func (j *retireJob) Work(k kernel) reactor.Message {
	for _, s := range j.segments {
		for i, suffix := range segmentSuffixes {
			path := j.p.path(s.base, suffix)
			err := k.Rename(path, path+deletedSuffix)
			if err == nil && i == 0 {
				err = k.SyncDir(j.p.dir)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				j.err = err
				return j
			}
		}
	}
	return j
}

// Deliver implements reactor.Message.
func (j *retireJob) Deliver(*reactor.Core) {
	p := j.p
	p.deleting = false
	if j.err != nil {
		p.store.note("files of deleted segments of %s could not be renamed, they stay until the next start: %v", &p.id, j.err)
	}
	p.removeSegmentsLater(j.segments, segmentSuffixes[:])
	p.dropBelow()
	p.quieted()
}

// removeSegmentsLater removes .deleted files after file.delete.delay.ms. A broker that stops before leaves them to the
// next start.
func (p *Partition) removeSegmentsLater(segments []*segment, suffixes []string) {
	r := &removeSegments{p: p, segments: segments, suffixes: suffixes}
	p.store.core.After(min(p.config.DeleteDelayMillis, maxFlushMillis)*1e6, &r.timer, r)
}

// removeSegments removes the files of deleted segments when their time has come.
type removeSegments struct {
	timer    reactor.Timer
	p        *Partition
	dir      string
	segments []*segment
	suffixes []string
	err      error
}

// Fire implements reactor.TimerHandler.
func (r *removeSegments) Fire(*reactor.Timer) {
	if p := r.p; p.store.closed == nil && p.removal == nil && !p.closed {
		r.dir = p.dir
		p.store.core.Offload(r)
	}
}

// Work implements reactor.Job.
func (r *removeSegments) Work(k kernel) reactor.Message {
	for _, s := range r.segments {
		for _, suffix := range r.suffixes {
			r.err = errors.Join(r.err, removeFile(k, r.dir+"/"+fileName(s.base, suffix)+deletedSuffix))
		}
	}
	return r
}

// Deliver implements reactor.Message.
func (r *removeSegments) Deliver(*reactor.Core) {
	if r.err != nil {
		r.p.store.note("files of deleted segments of %s could not all be removed: %v", &r.p.id, r.err)
	}
	for _, s := range r.segments {
		s.moveTo(segmentRemoved)
	}
}
