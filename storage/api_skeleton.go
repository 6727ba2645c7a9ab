package storage

import (
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/ring"
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	TopicID   protocol.UUID
	Partition int32
}

// Partition is one log.
type Partition struct{}

// OpenOptions say what is known of a partition before its directory is read.
type OpenOptions struct {
	RecoveryPoint int64 // from recovery-point-offset-checkpoint; 0 if it is not in there
	LogStart      int64 // from log-start-offset-checkpoint; 0 if it is not in there
	Clean         bool  // the broker was shut down cleanly
	NowMillis     int64 // wall clock: producers silent for too long are forgotten
	Progress      func(p Progress)
}

// Progress is told now and then while a log is recovered.
type Progress struct {
	Partition  TopicPartition
	DoneBytes  int64
	TotalBytes int64
}

// RecoveryReport says what opening a partition came to.
type RecoveryReport struct {
	Segments        int // of the log
	SegmentsScanned int // read whole, since past the recovery point or doubtful
	BytesScanned    int64
	BytesCut        int64 // of a torn tail
	IndexesRebuilt  int
	ProducersLoaded int
	Notes           []string // what was unusual, one sentence each
}

// Create makes a partition's directory and files. Blocking.
func Create(k ring.Kernel, dir string, id TopicPartition, cfg Config, leaderEpoch int32) (*Partition, error) {
	panic("unfinished")
}

// Open opens and, if need be, recovers a partition. Blocking.
func Open(k ring.Kernel, dir string, cfg Config, o OpenOptions) (*Partition, RecoveryReport, error) {
	panic("unfinished")
}

// Writer is how batches get into the page cache.
type Writer uint8

const (
	WriterAuto Writer = iota
	WriterRing
	WriterInline
)

// StoreOptions make a Store. Zero fields take their defaults.
type StoreOptions struct {
	Writer          Writer // WriterAuto is WriterInline here: probe first with ProbeWriter
	MaxFiles        int    // open files at rest; 0: DefaultMaxFiles
	NoPreallocation bool
}

// Store is a core's partitions together.
type Store struct{}

func NewStore(core *reactor.Core, o StoreOptions) *Store { panic("unfinished") }

// Adopt makes the partition one of this core's.
func (s *Store) Adopt(p *Partition) {}

// Flush writes what this turn's appends queued; from Service.EndTurn.
func (s *Store) Flush() {}

// Close ends all partitions of the store; done is called on the core.
func (s *Store) Close(done func(errs []error)) {}

// Delete takes p out of service: what is queued is refused, waiters are woken. Its directory is renamed on
// a helper, done (may be nil) is called on the core when it has its new name, and removed after DeleteDelayMillis.
func (s *Store) Delete(p *Partition, done func(error)) {}

// Append is one batch on its way into a partition.
type Append struct {
	Batch protocol.Batch // off the Go heap; pinned until Appended
	Owner AppendOwner

	// Results, valid in Appended.
	Err           protocol.ErrorCode
	Message       string // with some errors
	BaseOffset    int64
	LogAppendTime int64 // ms, -1 unless the log stamps batches
	LogStart      int64
}

// AppendOwner is told how an append ended.
type AppendOwner interface{ Appended(a *Append) }

func (p *Partition) Append(a *Append) {}

// File is an open segment.
type File struct{}

func (f *File) FD() int  { return -1 }
func (f *File) Release() {}

// Range is whole batches in a file. File is retained for the caller; nil when Len is 0.
type Range struct {
	File *File
	Pos  int64
	Len  int
}

func (p *Partition) Plan(offset int64, maxBytes int, atLeastOne bool) (Range, protocol.ErrorCode) {
	panic("unfinished")
}
func (p *Partition) ID() TopicPartition         { panic("unfinished") }
func (p *Partition) Offsets() Offsets           { panic("unfinished") }
func (p *Partition) SetConfig(cfg Config)       {}
func (p *Partition) SetLeaderEpoch(epoch int32) {}

// EndOffsetForEpoch is where the largest epoch that is not larger than epoch ended: (-1, -1) if that is not known.
func (p *Partition) EndOffsetForEpoch(epoch int32) (int32, int64) { panic("unfinished") }

// EpochForOffset is the leader epoch that offset was, or would be, appended in; -1 if not known.
func (p *Partition) EpochForOffset(offset int64) int32 { panic("unfinished") }

// Waiter is a parked fetch.
type Waiter struct {
	Owner WaiterOwner
}

// WaiterOwner is told that the high watermark advanced (or the partition went away); the waiter is off the list by then.
type WaiterOwner interface{ Woken(w *Waiter) }

func (p *Partition) Wait(w *Waiter)   {}
func (p *Partition) Unwait(w *Waiter) {}

// Searcher is a snapshot for a helper.
type Searcher struct{}

// Found is a record found by time; Offset -1 if there is none.
type Found struct {
	Offset      int64
	Timestamp   int64
	LeaderEpoch int32
}

func (p *Partition) Searcher() *Searcher { panic("unfinished") }
func (s *Searcher) OffsetForTimestamp(k ring.Kernel, timestamp int64) (Found, error) {
	panic("unfinished")
}
func (s *Searcher) MaxTimestamp(k ring.Kernel) (Found, error) { panic("unfinished") }
func (s *Searcher) Release()                                  {}
