package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"slipstream/ring"
)

// Making a closed segment's indexes anew while the log is in use. The .log is not touched: what is below the recovery point was
// found good once, and cutting a log in its middle would lose what lies behind the damage too (Kafka does cut there). Batches
// behind one that cannot be walked over are not found any more, and said to be so; `slipstream log repair` is for that.
//
// The order makes it safe to be killed at any moment. Each file is replaced whole (temporary file, sync, rename, sync of the directory), the
// .txnindex first: that one is missing shows nowhere, so as long as it may be wrong one of the others must be.

// examineOrRebuild examines a closed segment and makes its indexes anew where they are doubtful: that is why, and notes is what else an
// operator should know. log are the log's segments up to this one. Blocking.
func (f *segmentFiles) examineOrRebuild(k ring.Kernel, c *Config, log []*segment) (x facts, rebuilt error, notes []string, err error) {
	if x, err = f.examine(); !errors.Is(err, errDoubtful) {
		return x, nil, nil, err
	}
	rebuilt = err
	x, notes, err = f.rebuild(k, c, log)
	return x, rebuilt, notes, err
}

// rebuild makes a segment's indexes from its batches.
func (f *segmentFiles) rebuild(k ring.Kernel, c *Config, log []*segment) (x facts, notes []string, err error) {
	s, err := f.walk(k, c.IndexIntervalBytes)
	if err != nil {
		return x, nil, err
	}
	var list []abortedTxn
	if s.markers {
		if list, err = f.replayAborted(k, c, log); err != nil {
			return x, nil, err
		}
	}
	if err = f.replaceAborted(list); err != nil {
		return x, nil, err
	}
	err = replaceFile(k, f.path(timeIndexSuffix), encodeTimeIndex(s.builder.time))
	if err == nil {
		err = replaceFile(k, f.path(indexSuffix), encodeIndex(s.builder.index))
	}
	x = s.facts
	x.entries, x.timeEntries, x.aborted = int32(len(s.builder.index)), int32(len(s.builder.time)), int32(len(list))
	return x, s.notes, err
}

// walked is what a walk over a segment's batches finds.
type walked struct {
	facts
	builder indexBuilder
	markers bool // some batches are markers
	notes   []string
}

// walk reads a segment whole.
func (f *segmentFiles) walk(k ring.Files, interval int32) (w walked, err error) {
	info, err := k.Stat(f.path(logSuffix))
	if err != nil {
		return w, err
	}
	r, err := openLog(k, f.path(logSuffix), -1)
	if err != nil {
		return w, err
	}
	defer r.close()
	w.facts = facts{size: r.size, modified: info.ModifiedNanos / 1e6, oldest: -1}
	w.builder = newIndexBuilder()
	next := f.base
	for position := int64(0); position < r.size; {
		h, err := r.header(position)
		if err == nil {
			err = fits(h, f.base, next, f.end)
		}
		if errors.Is(err, errNoBatch) {
			if next == f.end || r.zeroFrom(position) {
				w.size = position // room that was made ahead; nothing is missing
			} else {
				w.notes = append(w.notes, fmt.Sprintf("segment %d has no batch at position %d of %d, what follows in it cannot be read: %v", f.base, position, r.size, err))
			}
			break
		}
		if err != nil {
			return w, err
		}
		size := batchBytes(h)
		switch _, err := r.batch(position); {
		case err == nil:
			h, _ = r.header(position)
			if w.oldest < 0 {
				w.oldest = h.MaxTimestamp()
			}
			w.markers = w.markers || h.IsControl()
			w.builder.addBatch(position, int(size), h, f.base, interval)
		case errors.Is(err, errNoBatch):
			w.notes = append(w.notes, fmt.Sprintf("segment %d has a damaged batch at position %d, offset %d: %v", f.base, position, h.BaseOffset(), err))
			w.builder.sinceEntry += size
		default:
			return w, err
		}
		next = h.NextOffset()
		position += size
	}
	w.builder.complete()
	w.largest = w.builder.maxTimestamp
	return w, nil
}

// replaceAborted makes a segment's .txnindex, or takes it away where it has nothing to say.
func (f *segmentFiles) replaceAborted(list []abortedTxn) error {
	if len(list) > 0 {
		return replaceFile(f.k, f.path(txnIndexSuffix), encodeAborted(list))
	}
	if err := f.k.Remove(f.path(txnIndexSuffix)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return f.k.SyncDir(f.dir)
}

// replayAborted finds the transactions that a segment's markers have aborted. A marker does not say where its transaction began, so the
// batches are replayed from the producers' snapshot on that is nearest at or before the segment; most have one of their own.
func (f *segmentFiles) replayAborted(k ring.Kernel, c *Config, log []*segment) ([]abortedTxn, error) {
	op := &opening{k: k, p: newPartition(f.dir, TopicPartition{}, *c), scanned: map[int64]bool{f.base: true}}
	for _, s := range log {
		op.p.segments = append(op.p.segments, &segment{base: s.base})
	}
	op.p.offsets.LogEnd = f.end
	from, err := op.nearestSnapshot(f.base)
	if err != nil {
		return nil, err
	}
	if err := op.replay(max(from, log[0].base)); err != nil {
		return nil, err
	}
	return op.p.activeSegment().aborts.list, nil
}

// nearestSnapshot loads the last good producers' snapshot at or before an offset, and returns where that is, -1 if there is none.
func (op *opening) nearestSnapshot(offset int64) (int64, error) {
	entries, err := op.k.ReadDir(op.p.dir)
	if err != nil {
		return -1, err
	}
	var all []int64
	for _, e := range entries {
		if base, suffix, ok := parseFileName(e.Name); ok && suffix == snapshotSuffix && base <= offset {
			all = append(all, base)
		}
	}
	slices.Sort(all)
	for _, at := range slices.Backward(all) {
		switch err := op.loadSnapshot(at); {
		case err == nil:
			return at, nil
		case !errors.Is(err, errSnapshot):
			return -1, err
		}
	}
	op.p.producers = producers{}
	return -1, nil
}
