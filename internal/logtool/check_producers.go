package logtool

import (
	"errors"
	"fmt"
	"io/fs"

	"slipstream/protocol"
	"slipstream/storage"
)

// seen is what the batches so far say of a producer.
type seen struct {
	epoch        int16
	lastSequence int32 // -1: not known
	lastOffset   int64 // of its last data batch; -1: none was seen in this epoch
	txnFirst     int64 // of the open transaction; -1: none
	txnKnown     bool  // whether one is open is known
	doubtful     bool  // its sequences were told not to follow each other
}

type producers struct {
	byID  map[int64]*seen
	since int64 // the offset from which on everything was seen; -1: set by the next batch
}

func (ps *producers) init() { ps.byID, ps.since = map[int64]*seen{}, -1 }

func (ps *producers) forget() { ps.init() }

// sequence holds a batch against what its producer wrote before: epochs never fall, sequences follow each other. Where
// compaction has been, batches are missing and only epochs are told.
func (c *check) sequence(s *segmentCheck, b protocol.Batch, position int64) {
	if c.producers.since < 0 {
		c.producers.since = b.BaseOffset()
	}
	id := b.ProducerID()
	if id < 0 {
		return
	}
	q := c.producers.byID[id]
	fresh := q == nil
	if fresh {
		q = &seen{epoch: b.ProducerEpoch(), lastSequence: -1, lastOffset: -1, txnFirst: -1}
		c.producers.byID[id] = q
	}
	if b.ProducerEpoch() < q.epoch {
		c.wrong(KindRecords, s.path, position, "producer %d writes with epoch %d after epoch %d", id, b.ProducerEpoch(), q.epoch)
		return
	}
	if b.IsControl() {
		c.marker(s, b, q)
		return
	}
	bumped := b.ProducerEpoch() > q.epoch
	problems := len(c.problems)
	switch due := int32((int64(q.lastSequence) + 1) & 0x7fffffff); {
	case b.BaseOffset() < c.gaps || fresh:
	case b.BaseSequence() < 0:
		c.wrong(KindRecords, s.path, position, "a batch of producer %d has no sequence", id)
	case bumped && b.BaseSequence() != 0:
		c.wrong(KindRecords, s.path, position, "producer %d begins epoch %d with sequence %d, not 0", id, b.ProducerEpoch(), b.BaseSequence())
	case !bumped && q.lastSequence >= 0 && b.BaseSequence() != due:
		c.wrong(KindRecords, s.path, position, "producer %d, epoch %d, writes sequence %d where %d is due", id, q.epoch, b.BaseSequence(), due)
	}
	q.doubtful = q.doubtful || len(c.problems) > problems
	q.epoch, q.lastSequence, q.lastOffset = b.ProducerEpoch(), b.LastSequence(), b.LastOffset()
	switch {
	case !b.IsTransactional():
		q.txnFirst, q.txnKnown = -1, true
	case q.txnFirst < 0:
		// One that was open before what was seen began may have begun there.
		q.txnFirst = b.BaseOffset()
		q.txnKnown = q.txnKnown || !fresh || c.producers.since == 0
	}
}

// marker ends a producer's transaction.
func (c *check) marker(s *segmentCheck, b protocol.Batch, q *seen) {
	m, ok := protocol.ParseMarker(b)
	if !ok {
		return
	}
	if q.epoch != m.ProducerEpoch {
		q.lastSequence, q.lastOffset = -1, -1
	}
	q.epoch = m.ProducerEpoch
	if !m.Commit && q.txnFirst >= 0 {
		s.aborted.found = append(s.aborted.found, abortedTxn{m.ProducerID, q.txnFirst, b.BaseOffset(), q.txnKnown})
	} else if !m.Commit {
		s.aborted.unknown = append(s.aborted.unknown, b.BaseOffset())
	}
	q.txnFirst, q.txnKnown = -1, true
}

// abortedTxn is a transaction that a marker in the segment has aborted; known: where it began is sure.
type abortedTxn struct {
	producer, first, last int64
	known                 bool
}

// abortedCheck holds a .txnindex against the markers.
type abortedCheck struct {
	path    string
	bad     bool
	entries []storage.AbortedEntry
	found   []abortedTxn
	unknown []int64 // abort markers of transactions of which nothing was seen
}

func (c *check) openAborted(s *segmentCheck) {
	if !c.dir.has[c.dir.file(s.base, ".txnindex")] {
		return
	}
	end := s.end
	if end < 0 {
		end = 1<<63 - 1
	}
	b, err := readWhole(c.k, s.aborted.path)
	if err == nil {
		s.aborted.entries, err = storage.DecodeAborted(b, s.base, end)
	}
	if err != nil {
		s.aborted.bad = true
		c.cannot(KindTxnIndex, s.aborted.path, err, s.loose)
	}
}

// closeAborted compares, where nothing was compacted.
func (c *check) closeAborted(s *segmentCheck) {
	x := &s.aborted
	if x.bad || s.base < c.gaps || s.last && !c.a.clean {
		return
	}
	byMarker := map[int64]storage.AbortedEntry{}
	for _, e := range x.entries {
		byMarker[e.LastOffset] = e
	}
	for _, f := range x.found {
		e, ok := byMarker[f.last]
		delete(byMarker, f.last)
		switch {
		case !ok:
			c.indexWrong(s, x.path, -1, "the transaction of producer %d, aborted at offset %d, is missing: its records would be read as committed", f.producer, f.last)
		case e.ProducerID != f.producer || f.known && e.FirstOffset != f.first || e.FirstOffset > f.first:
			c.indexWrong(s, x.path, -1, "it has producer %d from offset %d aborted at offset %d, and the log producer %d from %d", e.ProducerID, e.FirstOffset, e.LastOffset, f.producer, f.first)
		}
	}
	for _, at := range x.unknown {
		delete(byMarker, at)
	}
	for _, e := range x.entries {
		if _, left := byMarker[e.LastOffset]; left {
			c.indexWrong(s, x.path, -1, "no abort marker is at offset %d, where the transaction of producer %d ends", e.LastOffset, e.ProducerID)
		}
	}
}

// snapshot holds the next .snapshot against the producers at its offset.
func (c *check) snapshot(loose bool) {
	offset := c.snapshots[0]
	c.snapshots = c.snapshots[1:]
	path := c.path(offset, ".snapshot")
	note := loose && offset > c.recovery
	b, err := readWhole(c.k, path)
	var list []storage.ProducerEntry
	if err == nil {
		list, err = storage.DecodeSnapshot(b)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return // it was there when the directory was listed
	}
	if err != nil {
		c.cannot(KindSnapshot, path, err, note)
		return
	}
	if c.next < 0 || offset < c.gaps || c.producers.since < 0 {
		return
	}
	if offset > c.next {
		c.add(Problem{KindSnapshot, path, -1, fmt.Sprintf("it lies behind the log's end, %d", c.next), note})
		return
	}
	if offset != c.next {
		return // of a place within a batch, or before the first segment
	}
	last := map[int64]storage.ProducerEntry{}
	for _, e := range list {
		last[e.ProducerID] = e
	}
	for _, e := range list {
		if last[e.ProducerID] == e {
			c.producerEntry(path, e, note)
		}
	}
}

func (c *check) producerEntry(path string, e storage.ProducerEntry, note bool) {
	q := c.producers.byID[e.ProducerID]
	why := ""
	switch {
	case q == nil && e.LastOffset >= c.producers.since:
		why = fmt.Sprintf("producer %d is said to have written offset %d, and has not", e.ProducerID, e.LastOffset)
	case q == nil || q.doubtful:
	case e.Epoch != q.epoch:
		why = fmt.Sprintf("producer %d has epoch %d, and in the log %d", e.ProducerID, e.Epoch, q.epoch)
	case e.LastOffset >= 0 && q.lastOffset >= 0 && (e.LastOffset != q.lastOffset || e.LastSequence != q.lastSequence):
		why = fmt.Sprintf("producer %d has written sequence %d at offset %d, and in the log %d at %d", e.ProducerID, e.LastSequence, e.LastOffset, q.lastSequence, q.lastOffset)
	case q.txnKnown && e.TxnFirstOffset != q.txnFirst:
		why = fmt.Sprintf("producer %d has a transaction open from offset %d, and in the log from %d (-1: none)", e.ProducerID, e.TxnFirstOffset, q.txnFirst)
	}
	if why != "" {
		c.add(Problem{KindSnapshot, path, -1, why, note})
	}
}
