package storage

import (
	"errors"
	"io/fs"
	"math"
	"syscall"

	"slipstream/protocol"

	"golang.org/x/sys/unix"
)

// copyOn copies a piece of the group's segments.
func (j *cleaning) copyOn(k kernel) error {
	g := j.groups[j.group]
	for j.moved < j.piece && j.at < g[1] {
		if !j.opened {
			if err := j.openToCopy(k, g); err != nil {
				return err
			}
		}
		for j.moved < j.piece && !j.reading.done() {
			warm := !j.reading.wasAbsent(j.reading.at)
			b, err := j.reading.next()
			if err != nil {
				return err
			}
			j.moved += int64(len(b))
			j.result.ReadBytes += int64(len(b))
			last := j.reading.done() && j.lastOfGroup(g)
			if err := j.copyBatch(k, b, last, warm); err != nil {
				return err
			}
		}
		if j.reading.done() {
			j.closeRead()
		}
	}
	return nil
}

// openToCopy opens the next segment, and with the first of a group the files that it goes into.
func (j *cleaning) openToCopy(k kernel, g [2]int) error {
	if j.at == g[0] {
		base := j.segments[j.at].base
		if err := j.writing.begin(k, j.dir, base, j.config.IndexIntervalBytes, j.cleaner.out); err != nil {
			return err
		}
		j.txns.index = &j.writing.aborted
	}
	aborted, err := j.abortedWithin(k, j.segments[j.at].base, j.ends[j.at])
	if err != nil {
		return err
	}
	j.txns.expect(aborted)
	return j.openNext(k)
}

// lastOfGroup says whether no segment that follows in the group has a batch.
func (j *cleaning) lastOfGroup(g [2]int) bool {
	for _, s := range j.segments[j.at+1 : g[1]] {
		if s.size > 0 {
			return false
		}
	}
	return true
}

// copyBatch writes what is to be kept of a batch. The rules are Kafka's (Cleaner.cleanInto).
func (j *cleaning) copyBatch(k kernel, b protocol.Batch, last, warm bool) error {
	discard := false
	if b.IsControl() {
		discard = j.txns.control(b)
	} else {
		discard = j.txns.batch(b)
	}
	rules := protocol.FilterRules{
		DeleteHorizonMillis: j.now + min(j.config.DeleteRetentionMillis, math.MaxInt64-j.now),
		NeedsHorizon:        discard && b.IsControl(),
		KeepEmpty:           last,
	}
	horizonReached := b.HasDeleteHorizon() && b.BaseTimestamp() <= j.now
	switch {
	case b.IsControl():
		gone := discard && horizonReached
		rules.Keep = func(*protocol.RecordShape) bool { return !gone }
	case discard:
		rules.Keep = func(*protocol.RecordShape) bool { return false }
	default:
		m := &j.cleaner.offsets
		rules.Keep = func(r *protocol.RecordShape) bool {
			switch {
			case r.Offset > m.latest:
				return true
			case r.Key == nil:
				return false
			}
			return r.Offset >= m.last(hashOf(r.Key)) && (r.HasValue || !horizonReached)
		}
	}
	if id := b.ProducerID(); id >= 0 {
		if l, known := j.last[id]; known && l.keeps(b) {
			rules.KeepEmpty = true
		}
	}
	left, records, kept, err := j.cleaner.filter.Apply(b, &rules)
	if err != nil {
		return err
	}
	j.result.ReadRecords += int64(records)
	j.result.KeptRecords += int64(kept)
	if left == nil {
		return nil
	}
	j.moved += int64(len(left))
	j.result.WrittenBytes += int64(len(left))
	return j.writing.add(k, left, warm)
}

// cleanWriter writes a .cleaned segment.
type cleanWriter struct {
	k        kernel
	dir      string
	base     int64
	fd       int
	open     bool
	interval int32
	out      []byte // not written yet
	size     int64  // with out
	synced   int64  // durable, and dropped from the page cache where warm is not set
	warm     bool   // some of what is written is of pages that were in the page cache
	builder  indexBuilder
	first    int64 // timestamp
	aborted  []abortedTxn
	made     bool // its files are .swap, durably
}

const (
	cleanWriteBytes = 1 << 20
	cleanSyncBytes  = 16 << 20 // dirty pages that a cleaning leaves at most
)

func (w *cleanWriter) begin(k kernel, dir string, base int64, interval int32, out []byte) error {
	*w = cleanWriter{k: k, dir: dir, base: base, interval: interval, out: out[:0], builder: newIndexBuilder(), first: protocol.NoTimestamp}
	fd, err := k.Open(w.path(logSuffix, cleanedSuffix), syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC, fileMode)
	w.fd, w.open = fd, err == nil
	return err
}

func (w *cleanWriter) path(suffix, stage string) string {
	return w.dir + "/" + fileName(w.base, suffix) + stage
}

// add appends a batch. It copies it.
func (w *cleanWriter) add(k kernel, b protocol.Batch, warm bool) error {
	if w.size+int64(len(b)) > math.MaxInt32 || b.LastOffset()-w.base > math.MaxInt32 {
		return errCleanedTooLarge
	}
	if w.size == 0 {
		w.first = b.MaxTimestamp()
	}
	w.builder.add(w.size, len(b), int32(b.LastOffset()-w.base), b.MaxTimestamp(), w.interval)
	w.out = append(w.out, b...)
	w.size += int64(len(b))
	w.warm = w.warm || warm
	if len(w.out) < cleanWriteBytes {
		return nil
	}
	return w.flush(k)
}

// flush writes what is gathered. Now and then it is made durable, so that dirty pages do not pile up, and taken out of the page cache, where
// nobody has been reading what it comes from.
func (w *cleanWriter) flush(k kernel) error {
	if len(w.out) > 0 {
		if _, err := k.WriteAt(w.fd, w.out, w.size-int64(len(w.out))); err != nil {
			return err
		}
		w.out = w.out[:0]
	}
	if w.size-w.synced < cleanSyncBytes {
		return nil
	}
	return w.sync(k)
}

func (w *cleanWriter) sync(k kernel) error {
	if err := k.Sync(w.fd); err != nil {
		return err
	}
	if !w.warm {
		_ = k.Advise(w.fd, w.synced, w.size-w.synced, unix.FADV_DONTNEED) // advice
	}
	w.synced, w.warm = w.size, false
	return nil
}

// commit makes the segment durable and gives its files the names with which a start takes them for what counts: the log's comes
// last, durably after the others'.
func (w *cleanWriter) commit(k kernel) error {
	if err := w.flush(k); err != nil {
		return err
	}
	if err := w.sync(k); err != nil {
		return err
	}
	w.open = false
	if err := k.Close(w.fd); err != nil {
		return err
	}
	w.builder.addTime()
	files := []struct {
		suffix   string
		contents []byte
	}{{indexSuffix, encodeIndex(w.builder.index)}, {timeIndexSuffix, encodeTimeIndex(w.builder.time)}, {txnIndexSuffix, encodeAborted(w.aborted)}}
	for _, f := range files {
		if f.suffix == txnIndexSuffix && len(f.contents) == 0 {
			continue
		}
		if err := writeFileWith(k, w.path(f.suffix, cleanedSuffix), f.contents, true); err != nil {
			return err
		}
		if err := k.Rename(w.path(f.suffix, cleanedSuffix), w.path(f.suffix, swapSuffix)); err != nil {
			return err
		}
	}
	if err := k.SyncDir(w.dir); err != nil {
		return err
	}
	if err := k.Rename(w.path(logSuffix, cleanedSuffix), w.path(logSuffix, swapSuffix)); err != nil {
		return err
	}
	if err := k.SyncDir(w.dir); err != nil {
		return err
	}
	w.made = true
	return nil
}

// giveUp removes what was written, unless it counts.
func (w *cleanWriter) giveUp(k kernel) {
	if w.open {
		closeQuietly(k, w.fd)
		w.open = false
	}
	if w.dir == "" || w.made {
		return
	}
	for _, suffix := range replacedSuffixes {
		_ = removeFile(k, w.path(suffix, swapSuffix)) // what brought us here is the error to tell; a start removes the rest
		_ = removeFile(k, w.path(suffix, cleanedSuffix))
	}
}

// renameSegmentFile renames one of a segment's files; one that is not there is no matter.
func renameSegmentFile(k kernel, from, to string) error {
	if err := k.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
