package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"slipstream/ring"
)

// OpenOptions say what is known of a partition before its directory is read.
type OpenOptions struct {
	RecoveryPoint int64 // from recovery-point-offset-checkpoint; 0 if it is not in there
	LogStart      int64 // from log-start-offset-checkpoint; 0 if it is not in there
	CleanedTo     int64 // from cleaner-offset-checkpoint; 0 if it is not in there
	Clean         bool  // the broker was shut down cleanly: the log is as its files say
	// ID, if its Topic is not empty, is whose log the caller expects: another topic id in the directory is an error.
	ID TopicPartition
	// Told, if not nil, is told of bytes as they are validated: now and then, on any of Parallel's threads.
	Told func(bytes int64)
	// Parallel, if not nil, has do called for each number below n, on as many threads as there are to spare, and returns when all is
	// done: segments are validated beside each other. Nil: one after the other.
	Parallel func(n int, do func(i int))
}

// BytesToValidate is how many bytes Open will read of a log that was not shut down cleanly: what is not of segments wholly below
// the recovery point. Blocking; for progress.
func BytesToValidate(k ring.Kernel, dir string, recoveryPoint int64) (bytes int64) {
	entries, err := k.ReadDir(dir)
	if err != nil {
		return 0
	}
	var logs []int64
	for _, e := range entries {
		if base, suffix, ok := parseFileName(e.Name); ok && suffix == logSuffix {
			logs = append(logs, base)
		}
	}
	slices.Sort(logs)
	for _, base := range logs[firstToValidate(logs, recoveryPoint):] {
		if info, err := k.Stat(dir + "/" + fileName(base, logSuffix)); err == nil {
			bytes += info.Size
		}
	}
	return bytes
}

// firstToValidate is the place of the segment that the recovery point is in.
func firstToValidate(logs []int64, recoveryPoint int64) (first int) {
	for first+1 < len(logs) && logs[first+1] <= recoveryPoint {
		first++
	}
	return first
}

// RecoveryReport is what opening a partition came to.
type RecoveryReport struct {
	Segments        int   // of the log
	SegmentsScanned int   // read whole and validated: past the recovery point, or with a bad index
	BytesScanned    int64 // of those
	BytesCut        int64 // behind the last whole batch
	SegmentsRemoved int   // behind a cut
	IndexesRebuilt  int   // of segments below the recovery point
	Producers       int   // remembered
	Notes           []string
}

func (r *RecoveryReport) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// opening is a partition on its way up.
type opening struct {
	k      ring.Kernel
	p      *Partition
	o      OpenOptions
	report RecoveryReport
	files  listing
	ahead  []validated // segments that were read together, and not settled yet

	scanned     map[int64]bool // the segments that were validated, by base offset
	scannedFrom int64          // the first of them
	whole       bool           // the segment validated last has every offset from its base on
}

// Open opens a partition. After a clean shutdown the log is taken as it is; otherwise every segment from the
// recovery point on is read and validated, what is behind the last whole batch is cut off, and indexes and producers are made anew.
// A log that Kafka wrote, or was killed writing, opens just so. Blocking.
//
// It fails where going on would lose or mix data: a directory of another topic, a log in a format before
// record batches, or one that cannot be read.
func Open(k ring.Kernel, dir string, cfg Config, o OpenOptions) (*Partition, RecoveryReport, error) {
	id, err := identify(k, dir, o.ID)
	if err != nil {
		return nil, RecoveryReport{}, err
	}
	op := &opening{k: k, p: newPartition(dir, id, cfg), o: o}
	op.p.fresh = !o.Clean
	op.p.cleanedTo = o.CleanedTo
	if err := op.open(); err != nil {
		return nil, op.report, fmt.Errorf("open the log of %s: %w", &id, err)
	}
	op.report.Segments = len(op.p.segments)
	op.report.Producers = op.p.producers.len()
	return op.p, op.report, nil
}

func (op *opening) open() error {
	if err := op.list(); err != nil {
		return err
	}
	if len(op.files.logs) == 0 {
		if err := op.startAnew(op.o.LogStart, "there is no segment"); err != nil {
			return err
		}
		return op.loadEpochs()
	}
	if err := op.loadEpochs(); err != nil {
		return err
	}
	if err := op.loadSegments(); err != nil {
		return err
	}
	if err := op.place(); err != nil {
		return err
	}
	op.trimEpochs()
	if err := op.loadProducers(); err != nil {
		return err
	}
	if err := op.finishTransactions(); err != nil {
		return err
	}
	return op.makeDurable()
}

// makeDurable syncs what was found behind the recovery point, where the topic's appends wait for an fsync. After
// a kill it may be in the page cache only, and from here on it counts: consumers read it, and a producer that sends it again
// is told that it is there. (Without an fsync at all there is no such promise, and a start need not wait for it.)
func (op *opening) makeDurable() error {
	p := op.p
	if op.o.Clean || p.config.FlushMessages == DefaultConfig().FlushMessages || p.offsets.RecoveryPoint == p.offsets.LogEnd {
		return nil
	}
	parent, _ := splitPath(p.dir)
	for i := p.segmentFor(p.offsets.RecoveryPoint); i < len(p.segments); i++ {
		if err := syncFile(op.k, p.path(p.segments[i].base, logSuffix)); err != nil {
			return err
		}
	}
	return errors.Join(op.k.SyncDir(parent), op.k.SyncDir(p.dir))
}

// startAnew makes an empty segment the log.
func (op *opening) startAnew(base int64, why string) error {
	op.report.note("the log begins empty at offset %d: %s", base, why)
	if err := makeSegment(op.k, op.p.dir, base); err != nil {
		return err
	}
	op.p.begin(&segment{base: base, unnamed: true}, op.k.Wall()/1e6)
	return nil
}

// loadSegments opens each segment, validating those from the recovery point on unless the shutdown was clean.
func (op *opening) loadSegments() error {
	logs := op.files.logs
	first := len(logs) // to validate
	if !op.o.Clean {
		first = firstToValidate(logs, op.o.RecoveryPoint)
	}
	for i, base := range logs {
		s := &segment{base: base, unnamed: i >= first, unsettled: i >= first && i+1 < len(logs)}
		op.p.segments = append(op.p.segments, s)
		end := endOfLog(logs, i)
		if i >= first && len(op.ahead) == 0 {
			op.validateAhead(logs, i)
		}
		cut, err := op.loadSegment(s, end, i >= first)
		if err != nil {
			return err
		}
		if i+1 < len(logs) && (cut || i >= first && op.gapBefore(end)) {
			s.unsettled = false
			return op.removeBehind(logs[i+1:])
		}
	}
	return nil
}

// endOfLog is where the segment behind the i-th begins, -1: it is the last.
func endOfLog(logs []int64, i int) int64 {
	if i+1 < len(logs) {
		return logs[i+1]
	}
	return -1
}

// aheadSegments is how many segments are read together before they are settled, in order: what is kept of one is its index, at most
// some megabytes.
const aheadSegments = 16

// validateAhead reads the segments from the i-th on together.
func (op *opening) validateAhead(logs []int64, i int) {
	n := min(len(logs)-i, aheadSegments)
	op.ahead = make([]validated, n)
	read := func(j int) {
		f := segmentFiles{k: op.k, dir: op.p.dir, base: logs[i+j], end: endOfLog(logs, i+j)}
		op.ahead[j] = f.validateLog(&op.p.config, op.o.Told)
	}
	if op.o.Parallel != nil && n > 1 {
		op.o.Parallel(n, read)
		return
	}
	op.ahead = op.ahead[:1]
	read(0)
}

// gapBefore says whether the log so far ends before the next segment begins: a power cut took the end of a
// segment that was not synced yet, between two batches, and the next one survived. What is behind the gap goes too: a log
// is what was written up to some moment, or producers that send again what is missing would be taken for mad.
//
// Compaction leaves gaps, too: Kafka's at the end of a segment, ours only within. What it may have cleaned is below the
// cleaners' checkpoint, or above it if Kafka was killed between a cleaning and its checkpoint; such a segment has gaps
// within as well. So in a compacted log a gap counts behind a segment that has all that was ever written to it.
func (op *opening) gapBefore(next int64) bool {
	return op.p.next < next && next > op.o.CleanedTo && (!op.p.config.Compacted || op.whole)
}

// loadSegment opens one segment, validated if it must be. Else a closed one is not looked at before somebody wants to know of
// it; the last one is, and validated if its files do not fit each other.
func (op *opening) loadSegment(s *segment, end int64, validate bool) (cut bool, err error) {
	if !validate && end >= 0 {
		op.p.unknown++
		return false, nil
	}
	s.known.Store(true)
	if !validate {
		err = op.trustActive(s)
		if err == nil {
			err = op.loadAborted(s, op.p.next)
		}
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, errDoubtful) {
			return false, err
		}
		op.report.note("segment %d is validated: %v", s.base, err)
		op.report.IndexesRebuilt++
		return op.validate(s, end)
	}
	v := op.ahead[0]
	op.ahead = op.ahead[1:]
	if !v.read {
		return false, fmt.Errorf("segment %d was not read", s.base) // to go on as if it were empty would end the log here
	}
	return op.settle(s, end, &v)
}

// removeBehind removes the segments behind one that had to be cut: their offsets would leave a gap.
func (op *opening) removeBehind(bases []int64) error {
	for _, base := range bases {
		op.report.note("segment %d lies behind a cut and is removed", base)
		op.report.SegmentsRemoved++
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix, snapshotSuffix} {
			if err := removeFile(op.k, op.p.path(base, suffix)); err != nil {
				return err
			}
		}
	}
	return op.k.SyncDir(op.p.dir)
}

// place sets the offsets: the log's end is where the last segment's batches end.
func (op *opening) place() error {
	p := op.p
	end := p.next
	if op.o.LogStart > end { // the checkpoint is ahead of what survived
		why := fmt.Sprintf("log-start-offset-checkpoint says %d, and what is there ends at %d", op.o.LogStart, end)
		bases := make([]int64, len(p.segments))
		for i, s := range p.segments {
			bases[i] = s.base
		}
		if err := op.removeBehind(bases); err != nil {
			return err
		}
		return op.startAnew(op.o.LogStart, why)
	}
	start := max(op.o.LogStart, p.segments[0].base)
	recovery := max(min(op.o.RecoveryPoint, end), start)
	if op.o.Clean && op.report.SegmentsScanned == 0 {
		recovery = end
	}
	p.offsets.set(Offsets{LogStart: start, RecoveryPoint: recovery, LastStable: end, HighWatermark: end, LogEnd: end})
	s := p.activeSegment()
	for _, closed := range p.segments[:len(p.segments)-1] {
		closed.moveTo(segmentClosed)
	}
	p.visible = place{s, s.size, end}
	p.previous = p.visible
	p.active.createdMillis = op.k.Wall() / 1e6
	p.active.jitterMillis = p.jitter(s.base)
	return nil
}

// loadEpochs reads leader-epoch-checkpoint. A missing or damaged one is made again from the batches.
func (op *opening) loadEpochs() error {
	b, err := ReadFile(op.k, op.p.dir+"/"+epochCheckpointName, maxCheckpointBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && len(b) > 0 {
		if op.p.epochs, err = decodeEpochs(b); err == nil {
			return nil
		}
		op.report.note("leader-epoch-checkpoint is made again from the log: %v", err)
	}
	op.p.epochsLost = true
	for _, base := range op.files.logs {
		if err := op.readEpochs(base); err != nil {
			return err
		}
	}
	return nil
}

// readEpochs enters the epochs of a segment's batches, as far as they can be read.
func (op *opening) readEpochs(base int64) error {
	return op.eachHeader(base, 0, func(_ *logReader, _ int64, h header) error {
		op.p.epochs.assignSeen(h.LeaderEpoch(), h.BaseOffset())
		return nil
	})
}

// trimEpochs takes out what lies outside the log.
func (op *opening) trimEpochs() {
	end := op.p.epochs.truncateEnd(op.p.offsets.LogEnd)
	start := op.p.epochs.truncateStart(op.p.offsets.LogStart)
	if end || start {
		op.p.epochsChanged = true
	}
	op.p.epoch = op.p.epochs.latest()
}
