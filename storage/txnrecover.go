package storage

import (
	"errors"
	"math"
	"slices"
)

// What a partition knows of its transactions after a start: those that are open come from the producers' snapshot and from
// the batches behind it, the aborted ones of a segment from its .txnindex, or, where that is not to be trusted, from its
// markers. A marker does not say where its transaction began, so for that the replay begins at or before the segment.

// loadAborted reads the .txnindex of the active segment, which is not validated and ends before end.
func (op *opening) loadAborted(s *segment, end int64) error {
	f := segmentFiles{k: op.k, dir: op.p.dir, base: s.base, end: end}
	list, err := f.aborted()
	if err != nil {
		return err
	}
	if s.aborts.count = int32(len(list)); len(list) > 0 {
		s.aborts.list = list
	}
	return nil
}

// forgetAborted takes away the .txnindex of a segment that is being validated: replay makes it anew.
func (op *opening) forgetAborted(s *segment) error {
	s.aborts = aborts{}
	if op.scanned == nil {
		op.scanned = map[int64]bool{}
		op.scannedFrom = s.base
	}
	op.scanned[s.base] = true
	return removeFile(op.k, op.p.path(s.base, txnIndexSuffix))
}

// openFromSnapshot opens the transactions that the producers' snapshot knows.
func (t *transactions) openFromSnapshot(ps *producers) {
	t.open, t.ended = nil, nil
	for _, q := range ps.byID {
		if q.txnFirstOffset >= 0 {
			t.open = append(t.open, openTxn{producer: q.id, first: place{offset: q.txnFirstOffset}, marker: -1})
		}
	}
	slices.SortFunc(t.open, func(a, b openTxn) int {
		if a.first.offset < b.first.offset {
			return -1
		}
		return 1
	})
}

// replayBatch takes a batch in that is at a place in the log. Of a control batch it is whole, else it may be its header.
func (op *opening) replayBatch(b header, at place) {
	p := op.p
	first := int64(-1)
	if q := p.producers.get(b.ProducerID()); q != nil {
		first = q.txnFirstOffset
	}
	marker, ended := p.producers.replay(b)
	switch {
	case ended && first >= 0:
		stable := p.txns.end(marker.ProducerID, first, b.BaseOffset())
		p.txns.decided(math.MaxInt64)
		if !marker.Commit && op.scanned[at.segment.base] {
			p.abortedIn(at.segment, abortedTxn{marker.ProducerID, first, b.BaseOffset(), stable})
		}
	case !b.IsControl() && b.IsTransactional() && first < 0:
		p.txns.begin(b.ProducerID(), b.BaseOffset())
		p.txns.open[len(p.txns.open)-1].first = at
	}
}

// finishTransactions writes the .txnindex files that replay has made, finds the places of open transactions, and sets
// the last stable offset.
func (op *opening) finishTransactions() error {
	p := op.p
	p.txns.aborting = nil
	for i, s := range p.segments {
		if s.aborts.count == 0 && (s.known.Load() || !op.mayAbort(s.base)) {
			continue
		}
		p.txns.aborting = append(p.txns.aborting, s)
		if s.aborts.unwritten && i+1 < len(p.segments) {
			if err := finishAborted(op.k, p.path(s.base, ""), s.aborts.list, false); err != nil {
				return err
			}
			s.aborts.unwritten, s.aborts.list = false, nil
		}
	}
	if err := op.settleRebuilt(); err != nil {
		return err
	}
	for i := range p.txns.open {
		if e := &p.txns.open[i]; e.first.segment == nil && e.first.offset >= p.offsets.LogStart {
			if err := op.findPlace(&e.first); err != nil {
				return err
			}
		}
	}
	o := p.offsets
	p.stabilize(&o)
	p.offsets.set(o)
	return nil
}

// mayAbort says whether a segment that is not known may have aborted transactions: it has a .txnindex, or may have lost it with
// another index.
func (op *opening) mayAbort(base int64) bool {
	return op.files.has(base, txnIndexSuffix) || !op.files.has(base, indexSuffix) || !op.files.has(base, timeIndexSuffix)
}

// settleRebuilt makes durable what was made anew of segments below the recovery point: nothing else would before the
// next crash, and that a .txnindex is missing then shows nowhere.
func (op *opening) settleRebuilt() error {
	p := op.p
	rebuilt := false
	for _, s := range p.segments[:len(p.segments)-1] {
		if !op.scanned[s.base] || s.unsettled {
			continue
		}
		rebuilt = true
		if err := p.syncSegment(op.k, s); err != nil {
			return err
		}
	}
	if !rebuilt {
		return nil
	}
	return op.k.SyncDir(p.dir)
}

// findPlace finds where the batch of an offset begins.
func (op *opening) findPlace(at *place) error {
	s := op.p.segments[op.p.segmentFor(at.offset)]
	if err := op.examineNow(s); err != nil {
		return err
	}
	src := diskSource{k: op.k, size: s.size, log: -1, index: -1}
	var err error
	if src.log, err = op.k.Open(op.p.path(s.base, logSuffix), readOnly, 0); err != nil {
		return err
	}
	defer closeQuietly(op.k, src.log)
	f := finder{
		segment: s, base: s.base, size: s.size, end: s.size, endOffset: op.p.offsets.LogEnd,
		entries: int(s.entries), scratch: make([]byte, indexWindow*indexEntryBytes), brokeAt: -1,
	}
	if f.entries > 0 {
		if src.index, err = op.k.Open(op.p.path(s.base, indexSuffix), readOnly, 0); err != nil {
			return err
		}
		defer closeQuietly(op.k, src.index)
	}
	c, o := f.search(&src, at.offset)
	if o != present {
		return errors.New("the first batch of an open transaction cannot be found")
	}
	at.segment, at.position = s, c.position
	return nil
}

// examineNow examines a closed segment that cannot wait for its first reader.
func (op *opening) examineNow(s *segment) error {
	if s.known.Load() {
		return nil
	}
	rebuilt, notes, err := op.p.examineNow(op.k, s)
	if rebuilt != nil {
		op.report.IndexesRebuilt++
		op.report.note("the indexes of segment %d are made anew: %v", s.base, rebuilt)
		op.report.Notes = append(op.report.Notes, notes...)
	}
	return err
}
