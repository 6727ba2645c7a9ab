package storage

import (
	"errors"
	"math"
	"syscall"

	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/ring"

	"golang.org/x/sys/unix"
)

// Syncing: fsync in the ring, one at a time per partition, each covering all that was written before it.
// The recovery point follows segment by segment:
//
//	sync(target): recovery point's segment -> names and indexes (helper) -> FSYNC (ring) -> recovery point
//	                    ^                                                                    |
//	                    +------------------------- below target -----------------------------+
type syncing struct {
	waiting   appendList // written, not yet answered: the first that must wait for an fsync and all behind it
	target    int64
	running   bool
	held      bool     // running, until leader-epoch-checkpoint is written, or the segment's other files are
	segment   *segment // being synced
	end       int64    // what is durable once that has succeeded
	bytes     int64    // of the segment, likewise
	average   int64    // bytes that an fsync covers
	tookOf    *segment // what the last one covered
	tookBytes int64
	file      *File // retained for the request in flight
	unsynced  int64 // messages since the last append that had to wait
	timer     reactor.Timer
	again     settleAgain
}

const maxFlushMillis = math.MaxInt64 / 1_000_000

// syncLater arranges for flush.ms.
func (p *Partition) syncLater() {
	if p.config.FlushMillis < maxFlushMillis && !p.syncing.timer.Armed() {
		p.store.core.After(p.config.FlushMillis*1e6, &p.syncing.timer, p)
	}
}

// Fire implements reactor.TimerHandler: flush.ms has passed since something was written.
func (p *Partition) Fire(*reactor.Timer) { p.sync(p.offsets.LogEnd) }

// sync makes the log durable up to an offset. Whoever needs to know waits in syncing.waiting.
func (p *Partition) sync(upTo int64) {
	y := &p.syncing
	y.target = max(y.target, upTo)
	if y.running || p.trouble == unsyncable || p.state == gone {
		return
	}
	y.running = true
	p.syncNext()
}

// syncNext syncs the segment that the recovery point is in, having settled the ones before it: what was synced
// while a segment was being appended to was its .log.
func (p *Partition) syncNext() {
	y := &p.syncing
	i, before := p.firstUnsettled()
	if !before && p.offsets.RecoveryPoint >= min(y.target, p.offsets.LogEnd) {
		y.running = false
		p.dropBelow()
		p.quieted()
		return
	}
	s := p.segments[i]
	y.segment, y.end = s, p.endOf(i)
	if p.savingEpochs || s.finishing {
		// One writer of leader-epoch-checkpoint at a time; and the recovery point may not pass a segment before its indexes
		// and its snapshot are written, or they would never be synced. The end of either goes on here.
		y.held = true
		return
	}
	if p.fresh || s.unnamed || s.unsettled || p.epochsChanged {
		j := &settleJob{p: p, segment: s, dir: p.dir, fresh: p.fresh, settled: !s.unsettled, end: y.end}
		if s.aborts.unwritten && s.unsettled {
			j.aborted = s.aborts.list[:len(s.aborts.list):len(s.aborts.list)]
		}
		if p.epochsChanged {
			p.epochsChanged, j.epochs = false, p.epochs.encode()
		}
		p.store.core.Offload(j)
		return
	}
	p.submitSync()
}

// resumeSync goes on with a sync that waited for a helper.
func (p *Partition) resumeSync() {
	if p.syncing.held {
		p.syncing.held = false
		p.syncNext()
	}
}

// firstUnsettled is the place of the first segment of which something may not be durable: the one that the recovery
// point is in, or, before tells, one before it, whose .log is durable and its indexes may not be.
func (p *Partition) firstUnsettled() (i int, before bool) {
	i = p.segmentFor(p.offsets.RecoveryPoint)
	for ; i > 0 && p.segments[i-1].unsettled; i-- {
		before = true
	}
	return i, before
}

func (p *Partition) submitSync() {
	y := &p.syncing
	if !y.segment.live() { // it was replaced while a helper settled it
		p.syncNext()
		return
	}
	f, err := p.store.files.get(p, y.segment, logFile)
	if err != nil {
		p.store.note("the log of %s could not be opened to be synced: %v", &p.id, err)
		y.running = false
		p.syncFailed(err)
		return
	}
	f.Retain()
	y.file, y.bytes = f, y.segment.size
	if y.segment == p.activeSegment() {
		y.end = p.offsets.LogEnd
	}
	p.store.core.Submit(p, tagSync).PrepFsync(f.fd, ring.FsyncDatasync)
	p.store.Stats.Syncs++
}

// synced takes the end of an fsync in.
func (p *Partition) synced(res int32) {
	y := &p.syncing
	y.file.Release()
	y.file = nil
	if p.trouble == unsyncable { // writeback failed meanwhile
		y.running = false
		p.quieted()
		return
	}
	switch errno := syscall.Errno(-res); {
	case res >= 0 && y.segment.unsettled: // it was closed meanwhile: its indexes first
		p.syncNext()
	case res >= 0:
		o := p.offsets
		o.RecoveryPoint = max(o.RecoveryPoint, y.end)
		p.offsets.set(o)
		p.cleaned(y.segment, y.segment.size-y.bytes)
		y.took(y.segment, y.bytes)
		y.unsynced = min(y.unsynced, o.LogEnd-o.RecoveryPoint)
		p.answer()
		p.syncNext()
	case errno == syscall.EINTR || errno == syscall.EAGAIN || errno == syscall.ECANCELED:
		// It never began, so no error of the file was taken by it. (ECANCELED: the kernel could not start the thread that
		// waits for the disk, which signals can keep it from on a busy machine.)
		p.submitSync()
	default:
		p.store.note("fsync of %s failed: %v; its log takes no more appends until the broker is restarted", &p.id, errno)
		y.running = false
		p.syncFailed(errno)
	}
}

// syncFailed ends the log's writing for good: after a failed fsync the kernel may have dropped the pages
// and a second try would succeed without them. A sync under way, if it was writeback that failed, comes to its end.
func (p *Partition) syncFailed(err error) {
	p.trouble = unsyncable
	p.store.writeback.forget(p)
	p.store.Stats.FailedSyncs++
	p.refuseUnsynced()
	if p.state == idle {
		p.refuseQueued(protocol.KAFKA_STORAGE_ERROR)
	}
	p.dropCache()
	p.suspect(err)
	p.quieted()
}

// dropCache takes what may not be on the disk out of the page cache, where it is: clean pages whose writing has failed.
// A start without a reboot would read them there, and find a log that is whole.
func (p *Partition) dropCache() {
	if p.state == gone {
		return
	}
	j := &dropCacheJob{}
	i, _ := p.firstUnsettled()
	for _, s := range p.segments[i:] {
		j.paths = append(j.paths, p.path(s.base, logSuffix))
	}
	p.store.jobs++
	j.store = p.store
	p.store.core.Offload(j)
}

type dropCacheJob struct {
	store *Store
	paths []string
}

// Work implements reactor.Job. It is advice: a file that is not there, or cannot be opened, is left alone.
func (j *dropCacheJob) Work(k kernel) reactor.Message {
	for _, path := range j.paths {
		if fd, err := k.Open(path, readOnly, 0); err == nil {
			_ = k.Advise(fd, 0, 0, unix.FADV_DONTNEED)
			closeQuietly(k, fd)
		}
	}
	return j
}

// Deliver implements reactor.Message.
func (j *dropCacheJob) Deliver(*reactor.Core) { j.store.jobEnded() }

// refuseUnsynced answers those who wait for an fsync that will not come.
func (p *Partition) refuseUnsynced() {
	refused := p.syncing.waiting
	p.syncing.waiting = appendList{}
	for !refused.empty() {
		refused.pop().refuse(protocol.KAFKA_STORAGE_ERROR)
	}
}

// settleAgain goes on with a sync that found no room for leader-epoch-checkpoint. Whoever waits for the sync waits on.
type settleAgain struct {
	p     *Partition
	timer reactor.Timer
	said  bool // to the operator
}

const settleAgainNanos = 200e6

func (a *settleAgain) begin(p *Partition) {
	a.p = p
	if !a.said {
		a.said = true
		p.store.note("leader-epoch-checkpoint of %s finds no room: what waits for an fsync waits for room", &p.id)
	}
	p.store.core.After(settleAgainNanos, &a.timer, a)
}

// Fire implements reactor.TimerHandler.
func (a *settleAgain) Fire(*reactor.Timer) {
	if a.p.trouble == unsyncable { // writeback failed meanwhile, or it was abandoned
		a.p.syncing.running = false
		a.p.quieted()
		return
	}
	a.p.syncNext()
}

// settleJob makes durable what belongs to a segment beside its .log: names, indexes, and the
// producers' snapshot at its end, and the leader epochs so far.
type settleJob struct {
	p              *Partition
	segment        *segment
	dir            string
	end            int64
	fresh, settled bool
	aborted        []abortedTxn // that the .txnindex does not have yet
	epochs         []byte       // nil: the file is as it should be
	full           bool         // err is that there was no room for a file that is written as a whole: it may be tried again
	err            error
}

// Work implements reactor.Job.
func (j *settleJob) Work(k kernel) reactor.Message {
	base := j.dir + "/" + fileName(j.segment.base, "")
	if !j.settled {
		j.err = errors.Join(
			finishAborted(k, base, j.aborted, false),
			syncFile(k, base+txnIndexSuffix),
			syncFile(k, base+indexSuffix),
			syncFile(k, base+timeIndexSuffix),
			syncFile(k, j.dir+"/"+fileName(j.end, snapshotSuffix)))
	}
	if j.fresh {
		parent, _ := splitPath(j.dir)
		j.err = errors.Join(j.err,
			syncFile(k, j.dir+"/"+partitionMetadataName),
			syncFile(k, j.dir+"/"+epochCheckpointName),
			k.SyncDir(parent))
	}
	if j.err != nil {
		return j // an fsync that has failed is not for a second try
	}
	if j.epochs != nil {
		j.err = replaceFile(k, j.dir+"/"+epochCheckpointName, j.epochs) // syncs the directory
		j.full = Full(j.err)
	} else {
		j.err = k.SyncDir(j.dir)
	}
	return j
}

// Deliver implements reactor.Message.
func (j *settleJob) Deliver(*reactor.Core) {
	p := j.p
	if p.trouble == unsyncable { // writeback failed meanwhile
		p.syncing.running = false
		p.quieted()
		return
	}
	if j.full && !p.closed {
		p.epochsChanged = true
		p.syncing.again.begin(p)
		return
	}
	if j.err != nil {
		p.syncing.running = false
		p.store.note("a segment of %s could not be synced: %v; its log takes no more appends until the broker is restarted", &p.id, j.err)
		p.syncFailed(j.err)
		return
	}
	p.fresh, j.segment.unnamed, p.syncing.again.said = false, false, false
	if !j.settled {
		j.segment.unsettled = false
		p.abortsWritten(j.segment)
	}
	p.submitSync()
}
