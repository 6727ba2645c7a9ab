package storage

import (
	"fmt"

	"slipstream/protocol"
	"slipstream/reactor"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	TopicID   protocol.UUID // zero: not known
	Partition int32
}

// String is Kafka's way of writing it: topic-partition.
func (tp *TopicPartition) String() string { return fmt.Sprintf("%s-%d", tp.Topic, tp.Partition) }

// Partition is one log. Create and Open make one; [Store.Adopt] gives it to a core,
// and from then on only that core may touch it.
//
// One that is idle costs about a kilobyte: no descriptors, no buffers.
type Partition struct {
	id     TopicPartition
	dir    string
	config Config

	segments  []*segment // by base offset; the last is being appended to. Never empty.
	active    active
	offsets   Offsets
	next      int64 // the next offset to give out: LogEnd and what is queued
	visible   place // where the high watermark is
	previous  place // where it was before it last moved: where tail readers ask next
	cursors   [cursorCount]cursor
	cursorAt  uint8
	relaying  relaying
	producers producers
	txns      transactions
	epochs    epochs
	epoch     int32 // the leader's, stamped on batches
	readers   readers

	store   *Store
	disk    *Directory // of the store's: what it is written by
	listed  int        // place in store.partitions
	waiters waiterList // for the high watermark
	settled waiterList // for the last stable offset

	state                       state
	closed                      bool // no more appends: the store is being closed, or the partition deleted
	fresh                       bool // the directory itself is not known to be durable
	trouble                     trouble
	touched                     bool // there is something to be put in order when the log is closed
	dirty                       bool // on the store's list of partitions with something to write
	writing                     writing
	syncing                     syncing
	trail                       trail
	savingEpochs, epochsChanged bool  // epochsChanged: leader-epoch-checkpoint is not what epochs says
	epochsLost                  bool  // nor can it be read: to be written without waiting for an append
	noPreallocation             int64 // until this time (core.Now): the disk was full
	failures                    failures
	preallocating               bool
	finishing                   int        // closed segments that a helper puts in order
	deleting                    bool       // a helper renames the files of segments that were taken out of the log
	rollThenRetain              bool       // retention waits for the roll that is under way
	cleaning                    *cleaning  // being compacted
	cleanedTo                   int64      // compacted up to here: cleaner-offset-checkpoint
	uncleanable                 bool       // compaction has failed, and would fail again
	generation                  uint32     // counts the times that closed segments left the log
	removal                     *removal   // being deleted
	abandoned                   *abandoned // its directory has failed
	unknown                     int        // closed segments that have not been examined since the start
	examining                   int        // examinations under way
	surveying                   bool       // one of them is the survey's
	retainLater                 bool       // retention waits for that
	surveyed                    []func()   // who waits for the survey's end
}

// state is what the log's writer is about. Appends queue in all of them but the last.
type state uint8

const (
	idle    state = iota
	busy          // a write is in the ring
	rolling       // a helper makes the next segment
	cutting       // a helper cuts a failed write off
	gone          // closed or deleted: the files are a helper's
)

// trouble is what is wrong with a log.
type trouble uint8

const (
	sound      trouble = iota
	mustCut            // bytes of a failed write may be behind the end; cut them before the next write
	unsyncable         // an fsync failed: nobody knows what is on the disk. For good.
)

// ID names the partition; TopicID is as in partition.metadata.
func (p *Partition) ID() TopicPartition { return p.id }

// Dir is the partition's directory.
func (p *Partition) Dir() string { return p.dir }

// Offsets returns the log's offsets as they are now.
func (p *Partition) Offsets() Offsets { return p.offsets }

// Segments is the number of segments.
func (p *Partition) Segments() int { return len(p.segments) }

// Bytes is the size of the log, once it is Surveyed.
func (p *Partition) Bytes() int64 {
	var n int64
	for _, s := range p.segments {
		n += s.size
	}
	return n
}

// Producers is the number of idempotent producers remembered.
func (p *Partition) Producers() int { return p.producers.len() }

// Failed reports whether the log takes no more appends because an fsync failed.
func (p *Partition) Failed() bool { return p.trouble == unsyncable }

// LeaderEpoch is the epoch that batches are stamped with.
func (p *Partition) LeaderEpoch() int32 { return p.epoch }

// SetConfig replaces the topic's settings: from the next append on, but for flush.ms, which holds for what is written already
// as well.
func (p *Partition) SetConfig(cfg Config) {
	waited := p.config.FlushMillis
	p.config = cfg
	if p.store == nil || p.closed || cfg.FlushMillis == waited {
		return
	}
	if p.syncing.timer.Armed() {
		p.store.core.Cancel(&p.syncing.timer)
	}
	if p.offsets.RecoveryPoint < p.offsets.LogEnd {
		p.syncLater()
	}
}

// SetLeaderEpoch makes epoch the one that batches are stamped with; the history of
// epochs gets an entry at the log's end, as when a Kafka broker becomes leader. It reaches leader-epoch-checkpoint before
// the recovery point passes it: until then it is in batches that a recovery reads, or in none. (Every start begins an epoch in every partition:
// saved at once, those of ten thousand kept a start from being ready for five seconds.)
func (p *Partition) SetLeaderEpoch(epoch int32) {
	p.epoch = epoch
	if p.epochs.assign(epoch, p.next) {
		p.epochsChanged = true
	}
}

// EndOffsetForEpoch returns the largest leader epoch that is not larger than epoch, and the offset at which it
// ended (for the latest: the log's end); (-1, -1) if that is not known.
func (p *Partition) EndOffsetForEpoch(epoch int32) (int32, int64) {
	return p.epochs.endOffset(epoch, p.offsets.LogEnd)
}

// EpochForOffset is the leader epoch that offset belongs to, -1 if it is not known.
func (p *Partition) EpochForOffset(offset int64) int32 { return p.epochs.at(offset) }

// saveEpochs writes leader-epoch-checkpoint on a helper: one write at a time.
func (p *Partition) saveEpochs() {
	p.touched = true
	if p.savingEpochs || p.store == nil {
		p.epochsChanged = true
		return
	}
	p.savingEpochs, p.epochsChanged = true, false
	p.store.core.Offload(&epochJob{p: p, path: p.dir + "/" + epochCheckpointName, contents: p.epochs.encode()})
}

// epochJob replaces leader-epoch-checkpoint. A failure is not an append's: the history is in the
// batches too, and a later save or the log's closing tries again.
type epochJob struct {
	p        *Partition
	path     string
	contents []byte
	err      error
}

// Work implements reactor.Job.
func (j *epochJob) Work(k kernel) reactor.Message {
	j.err = replaceFile(k, j.path, j.contents)
	return j
}

// Deliver implements reactor.Message.
func (j *epochJob) Deliver(*reactor.Core) {
	p := j.p
	p.savingEpochs = false
	if j.err != nil {
		p.store.note("leader-epoch-checkpoint of %s could not be written: %v", &p.id, j.err)
	} else if p.epochsChanged && p.state != gone {
		p.saveEpochs()
	}
	p.resumeSync()
	p.quieted()
}

// Waiter is a place among those who wait for a partition to grow: a parked fetch's. It is embedded in what
// waits; waiting does not allocate.
type Waiter struct {
	Owner WaiterOwner
	// Committed waits for the last stable offset to advance instead of the high watermark. Not to be changed while
	// waiting.
	Committed  bool
	next, prev *Waiter
	waiting    bool
}

// WaiterOwner is told on the partition's core that what it waits for has advanced, or that the
// partition is no more. The waiter is off the list by then and may wait again.
type WaiterOwner interface{ Woken(w *Waiter) }

type waiterList struct{ head, tail *Waiter }

// Wait puts w on the partition's list. Waiting twice is waiting once.
func (p *Partition) Wait(w *Waiter) {
	if w.waiting {
		return
	}
	l := p.waitersLike(w)
	w.waiting, w.prev, w.next = true, l.tail, nil
	if l.tail != nil {
		l.tail.next = w
	} else {
		l.head = w
	}
	l.tail = w
}

// Unwait takes w off the list; if it is not on it, nothing happens.
func (p *Partition) Unwait(w *Waiter) {
	if !w.waiting {
		return
	}
	l := p.waitersLike(w)
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.tail = w.prev
	}
	w.waiting, w.prev, w.next = false, nil, nil
}

func (p *Partition) waitersLike(w *Waiter) *waiterList {
	if w.Committed {
		return &p.settled
	}
	return &p.waiters
}

// wake tells everyone who waits for anything of a partition that is no more.
func (p *Partition) wake() {
	p.wakeAll(&p.waiters)
	p.wakeAll(&p.settled)
}

// wakeAll tells everyone who waits now; those who wait again at once stay.
func (p *Partition) wakeAll(l *waiterList) {
	last := l.tail
	for w := l.head; w != nil; w = l.head {
		p.Unwait(w)
		w.Owner.Woken(w)
		if w == last {
			return
		}
	}
}
