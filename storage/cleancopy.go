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
			b, err := j.reading.next()
			if err != nil {
				return err
			}
			j.moved += int64(len(b))
			j.result.ReadBytes += int64(len(b))
			last := j.reading.done() && j.lastOfGroup(g)
			if err := j.copyBatch(k, b, last, j.reading.warm); err != nil {
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
	case b.IsControl() && !(discard && horizonReached):
		rules.Keep = keepAll
	case discard:
		rules.Keep = keepNone
	default:
		m := &j.cleaner.offsets
		rules.Digest = m.digestOf
		rules.Keep = func(run []protocol.RecordShape) { m.keep(run, horizonReached) }
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

func keepNone([]protocol.RecordShape) {}

func keepAll(run []protocol.RecordShape) {
	for i := range run {
		run[i].Keep = true
	}
}

// keep is Kafka's rule for the records of a batch: the last of each key stays, a tombstone until its horizon is reached, what lies
// behind the map stays, too.
func (m *offsetMap) keep(run []protocol.RecordShape, horizonReached bool) {
	m.near(run)
	for i := range run {
		r := &run[i]
		switch {
		case r.Offset > m.latest:
			r.Keep = true
		case r.HasKey:
			r.Keep = r.Offset >= m.last(r.Key) && (r.HasValue || !horizonReached)
		}
	}
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
	begun    int64  // on its way to the disk
	settled  int64  // on the disk, and dropped from the page cache unless it lies before warm
	warm     int64  // what is before came, at least in part, from pages that were in the page cache
	noRange  bool   // the file system does not write ranges of a file back
	builder  indexBuilder
	first    int64 // timestamp
	aborted  []abortedTxn
	made     bool // its files are .swap, durably
}

const (
	cleanWriteBytes  = 256 << 10 // a call, as with quietRead
	cleanBeginBytes  = 1 << 20   // given to the disk at a time
	cleanBehindBytes = 8 << 20   // on their way to the disk while the next are made, at most: what a commit of the journal may have to wait for
	cleanSyncBytes   = 16 << 20  // dirty pages that a cleaning leaves at most where it cannot write them behind
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
	w.builder.addBatch(w.size, len(b), b, w.base, w.interval)
	w.out = append(w.out, b...)
	w.size += int64(len(b))
	if warm {
		w.warm = w.size
	}
	if len(w.out) < cleanWriteBytes {
		return nil
	}
	return w.flush(k)
}

// flush writes what is gathered, and has it on its way to the disk.
func (w *cleanWriter) flush(k kernel) error {
	if len(w.out) > 0 {
		if _, err := k.WriteAt(w.fd, w.out, w.size-int64(len(w.out))); err != nil {
			return err
		}
		w.out = w.out[:0]
	}
	if w.noRange {
		return w.syncNowAndThen(k)
	}
	upTo := w.size &^ (writebackAlign - 1) // the next write is to the page that this one ended in
	if upTo-w.begun < cleanBeginBytes {
		return nil
	}
	err := k.WriteBack(w.fd, w.begun, upTo-w.begun, false)
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ESPIPE) {
		w.noRange = true
		return w.syncNowAndThen(k)
	}
	w.begun = upTo
	if behind := upTo - cleanBehindBytes; err == nil && behind > w.settled {
		if err = k.WriteBack(w.fd, w.settled, behind-w.settled, true); err == nil {
			w.drop(k, behind)
		}
	}
	return err
}

// syncNowAndThen is for file systems that do not write ranges of a file back.
func (w *cleanWriter) syncNowAndThen(k kernel) error {
	if w.size-w.settled < cleanSyncBytes {
		return nil
	}
	return w.sync(k)
}

func (w *cleanWriter) sync(k kernel) error {
	if err := k.Sync(w.fd); err != nil {
		return err
	}
	w.drop(k, w.size)
	return nil
}

// drop takes what is on the disk up to a place out of the page cache, where nobody has been reading what it comes from.
func (w *cleanWriter) drop(k kernel, upTo int64) {
	if from := max(w.settled, w.warm); from < upTo {
		_ = k.Advise(w.fd, from, upTo-from, unix.FADV_DONTNEED) // advice
	}
	w.settled = upTo
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
	w.builder.complete()
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
