package storage

import (
	"errors"
	"fmt"

	"slipstream/protocol"
	"slipstream/reactor"
)

// Close ends the store's partitions: no more appends; what was queued is written; then helpers write indexes and
// producer snapshots, cut the files to their sizes and sync them. done is called on the core with what
// went wrong, nothing if the directory may be marked as cleanly shut down. The checkpoints then say that everything is durable.
func (s *Store) Close(done func(errs []error)) {
	s.closed = done
	if s.expiry.Armed() {
		s.core.Cancel(&s.expiry)
	}
	s.writeback.stop()
	s.retention.stop()
	for _, p := range s.partitions {
		p.closed = true
		p.stopCleaning()
		if p.syncing.timer.Armed() {
			s.core.Cancel(&p.syncing.timer)
		}
	}
	s.Flush()
	s.jobs++
	for _, p := range s.partitions {
		p.quieted()
	}
	s.jobEnded()
}

// quiet says whether nothing of the partition is under way.
func (p *Partition) quiet() bool {
	return p.state == idle && p.writing.queued.empty() && p.writing.flight.empty() && !p.syncing.running &&
		p.syncing.waiting.empty() && !p.preallocating && p.finishing == 0 && !p.savingEpochs && !p.deleting && p.cleaning == nil && p.examining == 0
}

// quieted is called wherever something of a partition has ended: one that is to be closed or deleted may
// have been waiting for it.
func (p *Partition) quieted() {
	if !p.closed || !p.quiet() {
		return
	}
	if p.abandoned != nil {
		p.leave()
		return
	}
	if p.removal != nil {
		p.startRemoval()
		return
	}
	if p.store.closed != nil {
		p.startClosing()
	}
}

// startClosing gives a quiet partition to a helper.
func (p *Partition) startClosing() {
	p.state = gone
	p.store.writeback.forget(p)
	p.wake()
	for _, s := range p.segments {
		p.store.files.dropSegment(s)
	}
	p.store.jobs++
	if !p.touched {
		p.store.jobEnded()
		return
	}
	p.store.core.Offload(&closeJob{p: p})
}

// jobEnded counts a closing or deleting job that has ended; after the last a store that is being closed is.
func (s *Store) jobEnded() {
	s.jobs--
	if s.jobs > 0 || s.closed == nil {
		return
	}
	for _, p := range s.partitions {
		if p.state != gone {
			return // its end is still under way and will come here through quieted
		}
	}
	done := s.closed
	s.closed = nil
	for _, b := range []**reactor.Block{&s.iovecBlock, &s.indexBlock, &s.zeros} {
		if *b != nil {
			(*b).Release()
			*b = nil
		}
	}
	done(s.errs)
}

type closeJob struct {
	p   *Partition
	err error
}

// Work implements reactor.Job. The partition is the helper's until Deliver.
func (j *closeJob) Work(k kernel) reactor.Message {
	j.err = j.p.closeFiles(k)
	return j
}

// Deliver implements reactor.Message.
func (j *closeJob) Deliver(*reactor.Core) {
	s := j.p.store
	if j.err != nil {
		s.errs = append(s.errs, &CloseError{DataDir: j.p.DataDir(), Err: fmt.Errorf("close %s: %w", &j.p.id, j.err)})
	}
	s.jobEnded()
}

// CloseError says that a partition could not be closed: its data directory may not be marked as cleanly shut down.
type CloseError struct {
	DataDir string
	Err     error
}

// Error names the partition.
func (e *CloseError) Error() string { return e.Err.Error() }

// Unwrap is what went wrong.
func (e *CloseError) Unwrap() error { return e.Err }

var errUnsyncable = errors.New("an fsync failed: what is on the disk must be read again")

// closeFiles puts a partition's files in order and makes them durable: blocking.
func (p *Partition) closeFiles(k kernel) error {
	if p.trouble == unsyncable {
		return errUnsyncable
	}
	p.active.addTime()
	c := closedFiles(p, p.activeSegment())
	if err := c.finish(k, true); err != nil {
		return err
	}
	for i, _ := p.firstUnsettled(); i < len(p.segments)-1; i++ {
		if err := p.syncSegment(k, p.segments[i]); err != nil {
			return err
		}
	}
	err := errors.Join(
		replaceFile(k, p.path(p.offsets.LogEnd, snapshotSuffix), p.producers.encode()),
		replaceFile(k, p.dir+"/"+epochCheckpointName, p.epochs.encode()))
	if err == nil && p.fresh {
		parent, _ := splitPath(p.dir)
		err = errors.Join(syncFile(k, p.dir+"/"+partitionMetadataName), k.SyncDir(parent))
	}
	if err != nil {
		return err
	}
	o := p.offsets
	o.RecoveryPoint = o.LogEnd
	p.offsets.set(o)
	return nil
}

// syncSegment makes a closed segment durable.
func (p *Partition) syncSegment(k kernel, s *segment) error {
	if s.aborts.unwritten {
		if err := finishAborted(k, p.path(s.base, ""), s.aborts.list, false); err != nil {
			return err
		}
	}
	for _, suffix := range [...]string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix, snapshotSuffix} {
		if err := syncFile(k, p.path(s.base, suffix)); err != nil {
			return err
		}
	}
	return nil
}

// removal is a partition being deleted.
type removal struct {
	done func(error)
	to   string
}

// Delete takes p out of service: what is queued is refused, waiters are woken. Its directory gets a new name on a
// helper, whereupon done (which may be nil) is called on the core and the old name is free; the files are removed after
// file.delete.delay.ms. Responses that are being sent from the files are not disturbed.
func (s *Store) Delete(p *Partition, done func(error)) {
	p.closed = true
	p.stopCleaning()
	p.removal = &removal{done: done}
	queued := p.writing.queued
	p.writing.queued = appendList{}
	for !queued.empty() {
		queued.pop().refuse(protocol.NOT_LEADER_OR_FOLLOWER)
	}
	p.wake()
	p.quieted()
}

func (p *Partition) startRemoval() {
	p.state = gone
	s := p.store
	s.release(p)
	parent, _ := splitPath(p.dir)
	s.jobs++
	p.removal.to = parent + "/" + deletedDirName(p.id, randomUUID(s.core.Kernel))
	s.core.Offload(&renameJob{p: p})
}

type renameJob struct {
	p   *Partition
	err error
}

// Work implements reactor.Job.
func (j *renameJob) Work(k kernel) reactor.Message {
	p := j.p
	if j.err = k.Rename(p.dir, p.removal.to); j.err == nil {
		parent, _ := splitPath(p.dir)
		j.err = k.SyncDir(parent)
	}
	return j
}

// Deliver implements reactor.Message.
func (j *renameJob) Deliver(c *reactor.Core) {
	p := j.p
	if j.err != nil {
		p.store.note("the directory of %s could not be renamed to be deleted: %v", &p.id, j.err)
	} else {
		p.dir = p.removal.to
		r := &removeLater{p: p}
		c.After(min(p.config.DeleteDelayMillis, maxFlushMillis)*1e6, &r.timer, r)
	}
	if p.removal.done != nil {
		p.removal.done(j.err)
	}
	p.store.jobEnded()
}

// removeLater removes a deleted partition's files when its time has come. A broker that stops before leaves them to
// the next start.
type removeLater struct {
	timer reactor.Timer
	p     *Partition
	err   error
}

// Fire implements reactor.TimerHandler.
func (r *removeLater) Fire(*reactor.Timer) {
	if r.p.store.closed == nil {
		r.p.store.core.Offload(r)
	}
}

// Work implements reactor.Job.
func (r *removeLater) Work(k kernel) reactor.Message {
	r.err = removeTree(k, r.p.dir)
	return r
}

// Deliver implements reactor.Message.
func (r *removeLater) Deliver(*reactor.Core) {
	if r.err != nil {
		r.p.store.note("a deleted partition's files could not all be removed: %v", r.err)
	}
}
