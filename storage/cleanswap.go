package storage

import "slices"

// swap puts the new segment in the place of those that it was made from, on the core. Its files are still called .swap.
func (j *cleaning) swap() {
	p, w, g := j.p, &j.writing, j.groups[j.group]
	old := j.segments[g[0]:g[1]]
	j.cleaner.out = w.out
	s := &segment{
		base: w.base, size: w.size, phase: segmentMade, largest: w.builder.maxTimestamp, oldest: w.first,
		modified: old[len(old)-1].modified, entries: int32(len(w.builder.index)), timeEntries: int32(len(w.builder.time)),
	}
	s.known.Store(true)
	s.aborts.count = int32(len(w.aborted))
	s.moveTo(segmentSwapped)
	at := p.segmentFor(old[0].base)
	p.takeOut(at, at+len(old), []*segment{s})
	if s.aborts.count > 0 {
		i, _ := p.txns.abortingAt(s.base)
		p.txns.aborting = slices.Insert(slices.Clone(p.txns.aborting), i, s)
		p.store.aborts.keep(s, slices.Clone(w.aborted))
	}
	p.store.Stats.CleanedSegments += uint64(len(old))
}

// replacedSuffixes are the files of a segment that was replaced by one of the same base offset.
var replacedSuffixes = segmentSuffixes[:4]

// name gives the files of what was replaced, and then those of the new segment, their names.
func (j *cleaning) name(k kernel) error {
	g := j.groups[j.group]
	for i, s := range j.segments[g[0]:g[1]] {
		suffixes := segmentSuffixes[:]
		if i == 0 {
			suffixes = replacedSuffixes // the producers' snapshot of the beginning is the new segment's
		}
		for _, suffix := range suffixes {
			path := j.dir + "/" + fileName(s.base, suffix)
			if err := renameSegmentFile(k, path, path+deletedSuffix); err != nil {
				return err
			}
		}
	}
	if err := k.SyncDir(j.dir); err != nil {
		return err
	}
	for _, suffix := range replacedSuffixes {
		if err := renameSegmentFile(k, j.writing.path(suffix, swapSuffix), j.writing.path(suffix, "")); err != nil {
			return err
		}
	}
	return k.SyncDir(j.dir)
}

// named takes note, on the core, that the new segment's files have their names.
func (j *cleaning) named() {
	p, g := j.p, j.groups[j.group]
	if j.result.Err != nil { // the files keep the names that they have, and are found by them, until the next start
		p.store.note("files of a cleaned segment of %s could not be renamed: %v", &p.id, j.result.Err)
		return
	}
	s := p.segments[p.segmentFor(j.writing.base)]
	s.moveTo(segmentClosed)
	p.generation++
	p.removeSegmentsLater(j.segments[g[0]:g[1]], segmentSuffixes[:])
	p.dropBelow()
}
