package storage

import (
	"errors"
	"fmt"
	"math"
	"syscall"

	"slipstream/protocol"
	"slipstream/reactor"
)

// Cleaning one log (compaction). A helper does the work, a piece at a time, and the core decides between the pieces when the next
// one comes, or that none does. No piece waits for anything, so that a helper is never kept for long.
//
//	map       read the dirty part: the offset at which each key is last
//	copy      read a group of segments, write what is kept into .cleaned files            for each group
//	commit    once the producers' last batches are durable: .cleaned made so, and renamed to .swap: from here on they count
//	swap      on the core: the log has the new segment instead of the old ones
//	name      the old files renamed to .deleted, then .swap to the names that segments have
//
// A crash before the end of commit leaves the old segments, one after it the new one (listing.go): the renames of each step are durable
// before those of the next begin. Offsets do not change, nor does the log end or begin elsewhere; a new segment ends with the
// batch that the old ones ended with, as an empty one if need be, so that no gap arises between segments.

// CleanOptions are what a cleaner may take.
type CleanOptions struct {
	MapBytes       int64   // log.cleaner.dedupe.buffer.size: memory for the map of keys
	BytesPerSecond float64 // log.cleaner.io.max.bytes.per.second: read and written; math.MaxFloat64: no limit
}

// CleanResult is what a cleaning came to.
type CleanResult struct {
	From, To          int64 // the offsets that were dirty and are clean now
	SegmentsBefore    int
	SegmentsAfter     int
	MapBytes          int64 // read for the map
	MapRecords        int64
	ReadBytes         int64 // of segments that were cleaned
	WrittenBytes      int64
	ReadRecords       int64
	KeptRecords       int64
	BufferUtilization float64 // of the map
	Nanos             int64
	Err               error // nil: it was done, or ended because the log is going away (then To is From)
}

// Cleaner is the memory of one cleaner, used for one log after the other.
type Cleaner struct {
	offsets offsetMap
	filter  protocol.Filter
	out     []byte
}

// cleanStage is what the next piece of a cleaning does.
type cleanStage uint8

const (
	cleanMap cleanStage = iota
	cleanCopy
	cleanCommit
	cleanName
	cleanGiveUp
)

// cleaning is a cleaning under way. Between Offload and Deliver it is the helper's.
type cleaning struct {
	p       *Partition
	cleaner *Cleaner
	options CleanOptions
	config  Config
	dir     string
	done    func(CleanResult)

	stage     cleanStage
	segments  []*segment // all below upTo, in order; what changes of them is not looked at
	ends      []int64    // the offset after each
	later     []laterAborts
	last      map[int64]lastOfProducer
	lastEnd   int64 // all of last lie before it
	retracted bool  // an append that last may have in it could not be written
	now       int64 // ms, when it began
	from, to  int64 // dirty; to: the first that must not be cleaned, then what was taken into the map
	began     int64
	piece     int64 // bytes
	moved     int64 // bytes read and written by the last piece
	timer     reactor.Timer
	offered   int64 // when the last piece was given to a helper
	hurried   bool  // and not to one that gives way to everything

	reading  quietReader
	at       int // the segment being read
	opened   bool
	prepared bool // the map has its room

	oldNamed    bool  // the files of what was replaced have their names
	unsynced    bool  // the directory could not be synced
	namingNanos int64 // how long it was until a rename was tried again; 0: none has failed

	txns    cleanedTransactions
	groups  [][2]int // places in segments, [from, to)
	group   int
	writing cleanWriter
	result  CleanResult
}

const (
	// cleanPiece is how much one piece of a cleaning reads, on a helper that gives way to everything: on the way from one piece to the next
	// two threads are woken up, which a busy machine takes a millisecond for.
	cleanPiece = 8 << 20
	// cleanHurried is the same on an ordinary helper, which takes its share of a processor.
	cleanHurried = 1 << 20
	// cleanPatience is how long a piece may take on a helper that gives way to everything. The one that comes after one that took longer
	// goes to an ordinary helper, so that on a machine that is never idle a log is compacted all the same, at some 20 MB/s.
	cleanPatience = 500e6 // nanoseconds
)

// Clean begins to clean a log that Cleanable has spoken of. done is told on the core when it is over, and how it went.
func (p *Partition) Clean(c *Cleanable, cleaner *Cleaner, o CleanOptions, done func(CleanResult)) {
	core := p.store.core
	n := p.segmentFor(c.UpTo)
	j := &cleaning{
		p: p, cleaner: cleaner, options: o, config: p.config, dir: p.dir, done: done,
		segments: append([]*segment(nil), p.segments[:n]...), ends: make([]int64, n), last: p.lastOfProducers(), lastEnd: p.next,
		now: core.Wall / 1e6, from: c.From, to: c.UpTo, began: core.Now, txns: newCleanedTransactions(),
	}
	for i := range j.segments {
		j.ends[i] = p.endOf(i)
		j.segments[i].moveTo(segmentCleaning)
	}
	for _, s := range p.txns.abortingFrom(p.segments[0].base) {
		j.later = append(j.later, laterAborts{s.base, p.endOf(p.segmentFor(s.base)), s.aborts.list[:len(s.aborts.list):len(s.aborts.list)]})
	}
	for j.at < n && j.ends[j.at] <= c.From {
		j.at++
	}
	j.result.From, j.result.To = c.From, c.From
	j.result.SegmentsBefore = len(p.segments)
	p.cleaning = j
	j.offload()
}

// offload gives the next piece to a helper.
func (j *cleaning) offload() {
	core := j.p.store.core
	j.piece = cleanPiece
	if j.hurried {
		j.piece = cleanHurried
	}
	if tenth := j.options.BytesPerSecond / 10; tenth < float64(j.piece) {
		j.piece = max(int64(tenth), 64<<10)
	}
	j.offered = core.Now
	core.Offload(j)
}

// Work implements reactor.Job.
func (j *cleaning) Work(k kernel) reactor.Message {
	j.moved = 0
	var err error
	switch j.stage {
	case cleanMap:
		err = j.buildMap(k)
	case cleanCopy:
		err = j.copyOn(k)
	case cleanCommit:
		err = j.writing.commit(k)
	case cleanName:
		err = j.name(k) // alone in its result: a cleaning comes here without an error
	case cleanGiveUp:
		j.reading.close()
		j.writing.giveUp(k)
	}
	if err != nil && j.result.Err == nil {
		j.result.Err = err
	}
	return j
}

// Deliver implements reactor.Message.
func (j *cleaning) Deliver(*reactor.Core) {
	p := j.p
	if j.stage == cleanGiveUp {
		j.end()
		return
	}
	j.hurried = !j.hurried && p.store.core.Now-j.offered > cleanPatience
	if j.stage == cleanName {
		if j.nameLater() {
			return
		}
		j.named()
	}
	switch {
	case j.result.Err != nil || (p.closed || p.trouble == unsyncable) && j.stage != cleanCommit:
		j.stage = cleanGiveUp
		j.offload()
		return
	case j.stage == cleanMap && j.at == len(j.segments):
		j.beginCopying()
	case j.stage == cleanCopy && j.at == j.groups[j.group][1]:
		j.stage = cleanCommit
	case j.stage == cleanCommit:
		j.swap()
		j.stage = cleanName
	case j.stage == cleanName:
		j.stage, j.group = cleanCopy, j.group+1
		if j.group == len(j.groups) {
			j.result.To = j.to
			p.cleanedTo = j.to
			j.end()
			return
		}
	}
	j.pace()
}

// pace has the next piece come when the budget allows it.
func (j *cleaning) pace() {
	core := j.p.store.core
	if wait := float64(j.moved) / j.options.BytesPerSecond * 1e9; wait >= 1e5 && j.stage != cleanName {
		core.After(int64(min(wait, 3600e9)), &j.timer, j)
		return
	}
	j.goOn()
}

// awaitSyncNanos is how often a cleaning looks whether what it waits for is durable.
const awaitSyncNanos = 1e6

// goOn gives the next piece to a helper. What makes a producer's older batches superfluous must be durable before they go: a power cut that
// takes its last batch, of which nobody was told, would else leave none, and the producer would be told that it is out of order.
func (j *cleaning) goOn() {
	p := j.p
	switch {
	case j.stage != cleanCommit:
	case j.retracted || p.closed || p.trouble == unsyncable || p.state == gone:
		j.stage = cleanGiveUp
	case p.offsets.RecoveryPoint < j.lastEnd:
		p.sync(j.lastEnd)
		p.store.core.After(awaitSyncNanos, &j.timer, j)
		return
	}
	j.offload()
}

// Fire implements reactor.TimerHandler.
func (j *cleaning) Fire(*reactor.Timer) { j.goOn() }

// end is the end of a cleaning, on the core.
func (j *cleaning) end() {
	p := j.p
	for _, s := range j.segments {
		if s.phase == segmentCleaning {
			s.moveTo(segmentClosed)
		}
	}
	j.result.SegmentsAfter = len(p.segments)
	j.result.BufferUtilization = j.cleaner.offsets.utilization()
	j.result.Nanos = p.store.core.Now - j.began
	j.cleaner.offsets.release()
	j.cleaner.filter, j.cleaner.out = protocol.Filter{}, nil
	if err := j.result.Err; err != nil && !passing(err) {
		p.uncleanable = true
		p.store.note("the log of %s cannot be compacted, and is left alone until the broker is restarted: %v", &p.id, err)
	}
	p.cleaning = nil
	p.store.Stats.count(&j.result)
	p.dropBelow()
	j.done(j.result)
	p.quieted()
}

// stopCleaning has a cleaning that waits for its budget end now: the log is going away.
func (p *Partition) stopCleaning() {
	if j := p.cleaning; j != nil && j.timer.Armed() {
		p.store.core.Cancel(&j.timer)
		j.stage = cleanGiveUp
		j.offload()
	}
}

// passing says whether an error may be another time's: the disk was full, or the process had no descriptors left.
func passing(err error) bool {
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Uncleanable reports whether compaction of the log has failed, and is not tried again.
func (p *Partition) Uncleanable() bool { return p.uncleanable }

// CleanedTo is the offset up to which the log was compacted.
func (p *Partition) CleanedTo() int64 { return p.cleanedTo }

// beginCopying plans what is written anew: segments are put together as far as one segment may hold them.
func (j *cleaning) beginCopying() {
	j.reading.close()
	j.opened = false // a full map ends the reading within a segment
	if j.to = j.cleaner.offsets.latest + 1; j.to <= j.from {
		j.to, j.result.Err = j.from, errNoRoom
		j.stage = cleanGiveUp
		return
	}
	n := 0
	for n < len(j.segments) && j.segments[n].base < j.to {
		n++
	}
	j.groups = groupSegments(j.segments[:n], j.ends, &j.config)
	j.stage, j.at, j.txns = cleanCopy, 0, newCleanedTransactions()
	j.result.MapBytes = j.result.ReadBytes
	j.result.ReadBytes = 0
}

// groupSegments puts neighbours together whose sizes, indexes and offsets one segment has room for, before anything is taken
// out of them, as Kafka does.
func groupSegments(segments []*segment, ends []int64, c *Config) (groups [][2]int) {
	for i := 0; i < len(segments); {
		from := i
		var size, index, time int64
		for ; i < len(segments); i++ {
			s := segments[i]
			size += s.size
			index += int64(s.entries) * indexEntryBytes
			time += int64(s.timeEntries) * timeIndexEntryBytes
			fits := size <= int64(c.SegmentBytes) && index <= int64(c.IndexBytes) && time <= int64(c.IndexBytes) &&
				(s.size == 0 || ends[i]-1-segments[from].base <= math.MaxInt32)
			if i > from && !fits {
				break
			}
		}
		groups = append(groups, [2]int{from, i})
	}
	return groups
}

var (
	errCleanedTooLarge = errors.New("what is left of its segments does not fit into one")
	errNoRoom          = errors.New("log.cleaner.dedupe.buffer.size has no room for the keys of one batch")
)

func (r *CleanResult) String() string {
	return fmt.Sprintf("offsets %d to %d: %d segments of %d bytes and %d records became %d bytes and %d records",
		r.From, r.To, r.SegmentsBefore-r.SegmentsAfter+1, r.ReadBytes, r.ReadRecords, r.WrittenBytes, r.KeptRecords)
}

// count enters a cleaning into the store's figures.
func (s *StoreStats) count(r *CleanResult) {
	s.Cleanings++
	if r.Err != nil {
		s.FailedCleanings++
	}
	s.CleanerReadBytes += uint64(r.MapBytes + r.ReadBytes)
	s.CleanerWrittenBytes += uint64(r.WrittenBytes)
	s.CleanerReadRecords += uint64(r.ReadRecords)
	s.CleanerKeptRecords += uint64(r.KeptRecords)
}

// Background implements reactor.BackgroundJob.
func (j *cleaning) Background() bool { return !j.hurried }
