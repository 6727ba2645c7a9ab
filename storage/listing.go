package storage

import (
	"errors"
	"math"
	"slices"
	"strings"

	"slipstream/protocol"
)

// listing is what a partition's directory holds. It is the one thing of a start that grows with the number of segments: four names each, of which
// no more is kept than what there is of each base offset.
type listing struct {
	logs       []int64 // base offsets, rising
	snapshots  []int64 // offsets, rising
	kinds      map[int64]uint8
	names      []string // of all files, in order
	unfinished bool     // some are leftovers
}

// listedSuffixes are the kinds of files that kinds has a bit for each of.
var listedSuffixes = [...]string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix, snapshotSuffix}

func kindOf(suffix string) uint8 {
	for i, s := range listedSuffixes {
		if s == suffix {
			return 1 << i
		}
	}
	return 0
}

func (l *listing) has(base int64, suffix string) bool { return l.kinds[base]&kindOf(suffix) != 0 }

// list reads the directory, having finished or undone what was under way when the broker stopped:
// .deleted files and unfinished cleanings (.cleaned) go; a finished one (.swap) takes the place of the
// segments that it was made from.
func (op *opening) list() error {
	if err := op.read(); err != nil {
		return err
	}
	if op.files.unfinished {
		if err := op.tidy(); err != nil {
			return err
		}
		if err := op.read(); err != nil {
			return err
		}
	}
	return op.removeOrphans()
}

func (op *opening) read() error {
	entries, err := op.k.ReadDir(op.p.dir)
	if err != nil {
		return err
	}
	op.files = listing{names: make([]string, 0, len(entries)), kinds: make(map[int64]uint8, len(entries)/len(listedSuffixes))}
	for _, e := range entries {
		if !e.Dir {
			op.files.add(e.Name)
		}
	}
	slices.Sort(op.files.logs)
	slices.Sort(op.files.snapshots)
	slices.Sort(op.files.names)
	return nil
}

func (l *listing) add(name string) {
	l.names = append(l.names, name)
	l.unfinished = l.unfinished || isLeftover(name)
	base, suffix, ok := parseFileName(name)
	if !ok {
		return
	}
	switch suffix {
	case logSuffix:
		l.logs = append(l.logs, base)
	case snapshotSuffix:
		l.snapshots = append(l.snapshots, base)
	}
	if kind := kindOf(suffix); kind != 0 {
		l.kinds[base] |= kind
	}
}

func isLeftover(name string) bool {
	for _, suffix := range []string{deletedSuffix, cleanedSuffix, swapSuffix, tmpSuffix} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// tidy deals with the leftovers. A cleaning renames its results to .swap from the highest on, once all are
// written: so a .swap at or above the lowest .cleaned is part of an unfinished one.
func (op *opening) tidy() error {
	lowestCleaned := int64(-1)
	for _, name := range op.files.names {
		if base, suffix, ok := parseFileName(name); ok && suffix == logSuffix+cleanedSuffix && lowestCleaned < 0 {
			lowestCleaned = base
		}
	}
	kept := op.files.names[:0]
	for _, name := range op.files.names {
		base, suffix, ok := parseFileName(name)
		if !isLeftover(name) || ok && strings.HasSuffix(suffix, swapSuffix) && (lowestCleaned < 0 || base < lowestCleaned) {
			kept = append(kept, name)
			continue
		}
		if err := removeFile(op.k, op.p.dir+"/"+name); err != nil {
			return err
		}
	}
	op.files.names = kept
	return op.finishSwaps()
}

// finishSwaps replaces the segments whose offsets a .swap covers by it.
func (op *opening) finishSwaps() error {
	for _, name := range op.files.names {
		base, suffix, ok := parseFileName(name)
		if !ok || suffix != logSuffix+swapSuffix {
			continue
		}
		end, err := op.endOfSwap(base, name)
		if err != nil {
			return err
		}
		op.report.note("a finished cleaning takes the place of the segments from %d to %d", base, end)
		if err := op.removeSwapped(base, end); err != nil {
			return err
		}
	}
	for _, name := range op.files.names {
		if final, ok := strings.CutSuffix(name, swapSuffix); ok {
			if err := op.k.Rename(op.p.dir+"/"+name, op.p.dir+"/"+final); err != nil {
				return err
			}
		}
	}
	return op.k.SyncDir(op.p.dir)
}

// removeSwapped removes the old segments within [base, end).
func (op *opening) removeSwapped(base, end int64) error {
	for _, old := range op.files.logs {
		if old < base || old >= end && old != base {
			continue
		}
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix} {
			if err := removeFile(op.k, op.p.path(old, suffix)); err != nil {
				return err
			}
		}
	}
	return nil
}

// endOfSwap is the offset after the last of a .swap log.
func (op *opening) endOfSwap(base int64, name string) (int64, error) {
	r, err := openLog(op.k, op.p.dir+"/"+name, -1)
	if err != nil {
		return 0, err
	}
	defer r.close()
	next := base
	for position := int64(0); position < r.size; {
		h, err := r.header(position)
		if errors.Is(err, errNoBatch) {
			break
		}
		if err != nil {
			return 0, err
		}
		next = h.NextOffset()
		position += batchBytes(h)
	}
	return next, nil
}

// removeOrphans removes indexes without a log.
func (op *opening) removeOrphans() error {
	for _, name := range op.files.names {
		base, suffix, ok := parseFileName(name)
		if !ok || suffix != indexSuffix && suffix != timeIndexSuffix && suffix != txnIndexSuffix || op.files.has(base, logSuffix) {
			continue
		}
		op.report.note("%s has no log and is removed", name)
		if err := removeFile(op.k, op.p.dir+"/"+name); err != nil {
			return err
		}
		op.files.kinds[base] &^= kindOf(suffix)
	}
	return nil
}

// loadProducers reads the newest good snapshot and replays what the log has beyond it; where segments were
// validated, one that is older than they are, because replay makes their .txnindex anew. Snapshots that belong to no segment, other than
// that one, go, and so do those beyond the log's end.
func (op *opening) loadProducers() error {
	p := op.p
	from, newest := int64(-1), int64(math.MaxInt64)
	if op.scanned != nil {
		newest = op.scannedFrom
	}
	for i := len(op.files.snapshots) - 1; i >= 0; i-- {
		at := op.files.snapshots[i]
		if at > p.offsets.LogEnd || at < p.offsets.LogStart || (from >= 0 || at > newest) && !op.files.has(at, logSuffix) {
			if err := removeFile(op.k, p.path(at, snapshotSuffix)); err != nil {
				return err
			}
			continue
		}
		if from >= 0 {
			continue
		}
		load := op.loadSnapshot
		if at > newest { // not needed, and a power cut may have left it empty
			load = op.readSnapshot
		}
		if err := load(at); err != nil {
			op.report.note("the producers' snapshot at %d is removed: %v", at, err)
			if err := removeFile(op.k, p.path(at, snapshotSuffix)); err != nil {
				return err
			}
			continue
		}
		if at <= newest {
			from = at
		}
	}
	if from < 0 && op.o.Clean && op.report.SegmentsScanned == 0 && len(op.files.snapshots) == 0 {
		return nil // no idempotent producer, as far as anybody remembers
	}
	if err := op.replay(max(from, p.offsets.LogStart)); err != nil {
		return err
	}
	p.producers.expire(op.k.Wall()/1e6, p.config.ProducerIDMillis)
	return nil
}

// readSnapshot says whether a snapshot is whole.
func (op *opening) readSnapshot(at int64) error {
	b, err := ReadFile(op.k, op.p.path(at, snapshotSuffix), maxCheckpointBytes)
	if err == nil {
		_, err = decodeProducers(b)
	}
	return err
}

func (op *opening) loadSnapshot(at int64) error {
	b, err := ReadFile(op.k, op.p.path(at, snapshotSuffix), maxCheckpointBytes)
	if err != nil {
		return err
	}
	if op.p.producers, err = decodeProducers(b); err == nil {
		op.p.txns.openFromSnapshot(&op.p.producers)
	}
	return err
}

// replay takes the producers of all batches from an offset on in.
func (op *opening) replay(from int64) error {
	p := op.p
	if from >= p.offsets.LogEnd {
		return nil
	}
	for _, s := range p.segments[p.segmentFor(from):] {
		err := op.eachHeader(s.base, 0, func(r *logReader, position int64, h header) error {
			if h.ProducerID() < 0 || h.LastOffset() < from || h.BaseOffset() >= p.offsets.LogEnd {
				return nil
			}
			at := place{s, position, h.BaseOffset()}
			if !h.IsControl() {
				op.replayBatch(h, at)
				return nil
			}
			b, err := r.view(position, int(batchBytes(h)))
			if err == nil {
				op.replayBatch(protocol.Batch(b), at)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
