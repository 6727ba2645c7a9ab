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

// name gives the files of what was replaced, and then those of the new segment, their names. It may be done again after a rename has
// failed, not after a sync has: what it did not make durable the next one would not either, and say nothing.
func (j *cleaning) name(k kernel) error {
	if !j.oldNamed {
		if err := j.nameOld(k); err != nil {
			return err
		}
		j.oldNamed = true
	}
	for _, suffix := range replacedSuffixes {
		if err := renameSegmentFile(k, j.writing.path(suffix, swapSuffix), j.writing.path(suffix, "")); err != nil {
			return err
		}
	}
	return j.syncNames(k)
}

func (j *cleaning) syncNames(k kernel) error {
	err := k.SyncDir(j.dir)
	j.unsynced = err != nil
	return err
}

// nameOld renames what was replaced.
func (j *cleaning) nameOld(k kernel) error {
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
	return j.syncNames(k)
}

// How long it is until files that could not be renamed are renamed again: doubled each time.
const (
	firstNaming = 100e6 // nanoseconds
	maxNaming   = 60e9
)

// nameLater has the files that could not be renamed renamed again, later. Until then they are found by the names that they have; if
// the broker ends before, the next start does it. False: there will be no other time.
func (j *cleaning) nameLater() bool {
	p := j.p
	if j.result.Err == nil {
		return false
	}
	if j.namingNanos == 0 {
		p.store.note("files of a cleaned segment of %s could not be renamed: %v", &p.id, j.result.Err)
	}
	if j.unsynced && p.trouble != unsyncable {
		p.syncFailed(j.result.Err)
	}
	if p.closed || p.trouble == unsyncable {
		return false
	}
	j.result.Err = nil
	j.namingNanos = min(max(2*j.namingNanos, firstNaming), maxNaming)
	p.store.core.After(j.namingNanos, &j.timer, j)
	return true
}

// named takes note, on the core, that the new segment's files have their names.
func (j *cleaning) named() {
	p, g := j.p, j.groups[j.group]
	if j.result.Err != nil { // the files keep the names that they have, and are found by them, until the next start
		return
	}
	j.oldNamed, j.namingNanos = false, 0
	s := p.segments[p.segmentFor(j.writing.base)]
	s.moveTo(segmentClosed)
	p.generation++
	p.removeSegmentsLater(j.segments[g[0]:g[1]], segmentSuffixes[:])
	p.dropBelow()
}
