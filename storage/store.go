package storage

import (
	"fmt"
	"unsafe"

	"slipstream/reactor"

	"golang.org/x/sys/unix"
)

// StoreOptions make a Store. Zero fields take their defaults.
type StoreOptions struct {
	// Writer is WriterRing or WriterInline; WriterAuto, for which see ProbeWriter, is WriterInline here.
	Writer Writer
	// MaxFiles is the most segment files that are open without being in use; DefaultMaxFiles if 0.
	MaxFiles int
	// NoPreallocation leaves disk blocks to be found as they are written.
	NoPreallocation bool
	// WritebackMillis is how far behind the head dirty pages are given to the disk, at a steady rate of appends; 0 leaves
	// that to the kernel.
	WritebackMillis int64
	// ZerosAhead has the logs whose appends wait for an fsync filled ahead with zeros, which makes the fsyncs shorter
	// where the file system has a journal.
	ZerosAhead bool
	// Directories are the data directories, where they differ from Writer and ZerosAhead.
	Directories []Directory
	// Suspect is told, on the core, that something a partition needs of its data directory has failed, a full disk
	// apart: an fsync, a write, a roll. Whether the directory is at fault is to be found out. Nil: nobody is.
	Suspect func(p *Partition, err error)
	// TailBytes is how near a log's end a reader is a tail reader, whose place is kept for a warm start; 0: no place is kept.
	TailBytes int64
	// Note is told, on the core, what an operator should know: one sentence. Nil: nobody is.
	Note func(message string)
	// RetentionCheckMillis is how often logs are looked at for segments that need not be kept; 0: never.
	RetentionCheckMillis int64
}

// DefaultMaxFiles is StoreOptions.MaxFiles unless set.
const DefaultMaxFiles = 1024

// StoreStats counts since the store was made. Read on the core.
type StoreStats struct {
	InlineWrites, RingWrites, FailedWrites uint64
	Syncs, FailedSyncs                     uint64
	Rolls, Preallocations                  uint64
	BadIndexEntries                        uint64 // index entries that did not fit the log
	Lookups                                uint64 // plans that a helper had to make
	AbortedLookups                         uint64 // reads of .txnindex files
	Examined                               uint64 // closed segments that were looked at for the first time since the start
	IndexesRebuilt                         uint64 // of these, whose indexes were made anew
	DeletedSegments                        uint64 // taken out of their logs: below the log's start, or replaced by a cleaned one
	DeletedBytes                           uint64 // of those

	Cleanings           uint64 // logs compacted
	FailedCleanings     uint64
	CleanedSegments     uint64 // replaced by cleaned ones
	CleanerReadBytes    uint64 // by compaction, for the map of keys and to copy
	CleanerWrittenBytes uint64
	CleanerReadRecords  uint64 // of segments that were copied
	CleanerKeptRecords  uint64 // of those

	DirtyBytes        int64  // now: of logs, written here and neither written behind nor synced
	WritebackBytes    uint64 // written behind: given to the disk ahead of any fsync
	WritebackSteps    uint64 // requests that did so
	WritebackNanos    uint64 // that such requests were in flight
	WritebackFailures uint64 // of these, failed
}

// Store is a core's partitions together: one writer, one table of open files, one list of partitions with
// something to write. It belongs to its core.
type Store struct {
	Stats StoreStats

	core        *reactor.Core
	writer      Writer
	noting      func(string)
	suspecting  func(*Partition, error)
	directories []Directory
	elsewhere   Directory // what goes for any other
	preallocate bool
	files       fileTable
	aborts      abortedCache
	unverified  bool   // transactions are not verified
	guards      uint64 // the last guard given out
	writeback   writeback
	tailBytes   int64
	zeros       *reactor.Block
	partitions  []*Partition
	dirty       []*Partition
	flushing    []*Partition

	iovecBlock   *reactor.Block
	iovecSpare   []unix.Iovec // until the arena has room
	indexBlock   *reactor.Block
	indexScratch [indexWindow * indexEntryBytes]byte
	finder       finder
	reads        memorySource
	window       window
	turn         uint64          // from 1
	relays       []reactor.Piece // retained until the turn ends
	expiry       reactor.Timer
	retention    retention
	survey       survey
	again        reactor.Timer

	closed func([]error)
	errs   []error
	jobs   int // closing jobs under way
}

const expiryCheckNanos = 10 * 60 * 1e9

// NewStore makes a core's store. It may be made before the core is started.
func NewStore(core *reactor.Core, o StoreOptions) *Store {
	if o.Writer == WriterAuto {
		o.Writer = WriterInline
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = DefaultMaxFiles
	}
	s := &Store{
		core: core, writer: o.Writer, noting: o.Note, preallocate: !o.NoPreallocation, tailBytes: o.TailBytes,
		suspecting: o.Suspect, directories: o.Directories, elsewhere: Directory{Writer: o.Writer, ZerosAhead: o.ZerosAhead},
		files: fileTable{kernel: core.Kernel, observer: core.Observer, limit: max(o.MaxFiles, int(fileKinds))},
		turn:  1, relays: make([]reactor.Piece, 0, relayPieces),
	}
	s.writeback = newWriteback(s, o.WritebackMillis)
	s.survey.store = s
	s.retention = retention{store: s, interval: min(max(o.RetentionCheckMillis, 0), maxFlushMillis) * 1e6}
	return s
}

// Writer is the writer in force.
func (s *Store) Writer() Writer { return s.writer }

// OpenFiles is the number of files in the store's table.
func (s *Store) OpenFiles() int { return s.files.open }

// Partitions is the number of partitions adopted.
func (s *Store) Partitions() int { return len(s.partitions) }

// Partition is the i-th of them. When one leaves, the last takes its place.
func (s *Store) Partition(i int) *Partition { return s.partitions[i] }

// Adopt makes p one of this core's partitions. Whoever made p must not touch it any more.
func (s *Store) Adopt(p *Partition) {
	p.store = s
	p.disk = s.directoryOf(p)
	p.listed = len(s.partitions)
	s.partitions = append(s.partitions, p)
	if p.epochsLost {
		p.saveEpochs()
	}
	if !s.expiry.Armed() {
		s.core.After(expiryCheckNanos, &s.expiry, s)
	}
	s.retention.begin()
	if p.unknown > 0 {
		s.survey.next()
	}
}

// release takes a partition off the store.
func (s *Store) release(p *Partition) {
	last := s.partitions[len(s.partitions)-1]
	s.partitions[p.listed], last.listed = last, p.listed
	s.partitions[len(s.partitions)-1] = nil
	s.partitions = s.partitions[:len(s.partitions)-1]
	s.survey.at = min(s.survey.at, p.listed)
	s.writeback.forget(p)
	for _, segment := range p.segments {
		s.files.dropSegment(segment)
		if segment.observed != 0 {
			s.files.observer.Forget(segment.observed)
		}
		s.aborts.drop(segment)
	}
	s.window.segment = nil
	if p.syncing.timer.Armed() {
		s.core.Cancel(&p.syncing.timer)
	}
}

// Fire implements reactor.TimerHandler: producers that have been silent for too long are forgotten.
func (s *Store) Fire(*reactor.Timer) {
	for _, p := range s.partitions {
		p.producers.expire(s.core.Wall/1e6, p.config.ProducerIDMillis)
		p.txns.expireVerifications(s.core.Wall, p.config.ProducerIDMillis)
	}
	if s.closed == nil {
		s.core.After(expiryCheckNanos, &s.expiry, s)
	}
}

// Flush writes what has been queued, one write per partition; from Service.EndTurn. With the inline writer
// the answers come before it returns. What they queue is written too, so that nothing waits for a turn that may be far
// off; should that not come to an end, the next turn goes on.
func (s *Store) Flush() {
	for range flushRounds {
		if len(s.dirty) == 0 {
			return
		}
		s.flushing, s.dirty = s.dirty, s.flushing[:0]
		for i, p := range s.flushing {
			s.flushing[i] = nil
			p.dirty = false
			p.write()
		}
	}
	if len(s.dirty) > 0 && !s.again.Armed() {
		s.core.After(0, &s.again, nextTurn{})
	}
}

// flushRounds is how often Flush looks again for what answers have queued.
const flushRounds = 16

// nextTurn keeps the core from parking: the turn that its timer begins is all that is wanted.
type nextTurn struct{}

func (nextTurn) Fire(*reactor.Timer) {}

// markDirty has p's queue looked at by the next Flush.
func (s *Store) markDirty(p *Partition) {
	if p.dirty {
		return
	}
	p.dirty = true
	s.dirty = append(s.dirty, p)
}

// note tells the operator something; it happens rarely enough to allocate.
func (s *Store) note(format string, args ...any) {
	if s.noting != nil {
		s.noting(fmt.Sprintf(format, args...))
	}
}

// iovecs is where a write is gathered.
func (s *Store) iovecs() []unix.Iovec {
	if s.iovecBlock == nil {
		if s.iovecBlock = s.core.Arena.Alloc(maxIovecs * iovecBytes); s.iovecBlock == nil {
			return s.spareIovecs()
		}
	}
	b := s.iovecBlock.Bytes()
	return unsafe.Slice((*unix.Iovec)(unsafe.Pointer(unsafe.SliceData(b))), maxIovecs)
}

// spareIovecs stands in while the arena is full. pwritev(2) reads iovecs only while it runs, so for the inline writer
// they may be anywhere; the ring writer copies or uses one only.
func (s *Store) spareIovecs() []unix.Iovec {
	if s.iovecSpare == nil {
		s.iovecSpare = make([]unix.Iovec, 16)
	}
	return s.iovecSpare
}

// Checkpoints appends what the checkpoint files keep of each partition.
func (s *Store) Checkpoints(all []Checkpoint) []Checkpoint {
	for _, p := range s.partitions {
		all = append(all, p.Checkpoint())
	}
	return all
}

// checkpointed is how far the files can be believed after a crash without being read: not beyond a segment whose indexes
// may not be durable. That is the active one too, however much of it is synced, for it may be closed before the next checkpoint.
func (p *Partition) checkpointed() int64 {
	if p.state == gone { // closed, all of it durable, or deleted
		return p.offsets.RecoveryPoint
	}
	i, before := p.firstUnsettled()
	if s := p.segments[i]; before || s == p.activeSegment() && p.offsets.RecoveryPoint == p.offsets.LogEnd && s.size > 0 {
		return min(max(s.base, p.offsets.LogStart), p.offsets.RecoveryPoint)
	}
	return p.offsets.RecoveryPoint
}

// Checkpoint is what the checkpoint files keep of the partition.
func (p *Partition) Checkpoint() Checkpoint {
	readers := int64(-1)
	if at, ok := p.ReadersAt(); ok {
		readers = at
	}
	return Checkpoint{
		DataDir:   p.DataDir(),
		CleanedTo: p.cleanedTo,
		Readers:   readers,
		Topic:     p.id.Topic, Partition: p.id.Partition, RecoveryPoint: p.checkpointed(),
		HighWatermark: p.offsets.HighWatermark, LogStart: p.offsets.LogStart, FirstSegment: p.segments[0].base,
	}
}
