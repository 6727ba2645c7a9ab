package storage

import "slipstream/protocol"

// What of a log could be cleaned, and how much that is worth. The rules are Kafka's (LogCleanerManager).
//
//	|------ clean ------|---------- dirty: cleanable ----------|-- not to be cleaned yet --|
//	start        cleanedTo                                   upTo                        end
//
// Not to be cleaned are the active segment, what is at or above the last stable offset, what is younger than
// min.compaction.lag.ms, and what is not durable yet: a cleaned segment takes the place of one that a power cut cannot touch.

// Cleanable is what there is to clean in a log.
type Cleanable struct {
	Partition   *Partition
	From        int64   // the first offset that is dirty
	UpTo        int64   // the first that must not be cleaned: a segment begins there
	CleanBytes  int64   // below From
	DirtyBytes  int64   // in [From, UpTo)
	Ratio       float64 // DirtyBytes of both
	DelayMillis int64   // by how much the oldest dirty record has outstayed max.compaction.lag.ms, 0 if it has not
}

// Due says whether it is worth it, or must be.
func (c *Cleanable) Due() bool {
	return c.DirtyBytes > 0 && (c.DelayMillis > 0 || c.Ratio > c.Partition.config.MinDirtyRatio)
}

// Filthier says which of two logs is cleaned first.
func (c *Cleanable) Filthier(than *Cleanable) bool {
	return than.Partition == nil || c.Ratio > than.Ratio
}

// Cleanable says what there is to clean. ok is false where nothing ever is, or not now: the log is not compacted, or is
// being cleaned, or could not be. It takes time for every segment of the log, some nanoseconds each.
func (p *Partition) Cleanable(nowMillis int64) (c Cleanable, ok bool) {
	if !p.config.Compacted || p.cleaning != nil || p.uncleanable || p.closed || p.state == gone || p.trouble == unsyncable || !p.Surveyed() {
		return c, false
	}
	c = Cleanable{Partition: p, From: p.firstDirty()}
	n := p.cleanableSegments(c.From, nowMillis)
	c.UpTo = p.segments[n].base
	for i, s := range p.segments[:n] {
		if p.endOf(i) <= c.From {
			c.CleanBytes += s.size
			continue
		}
		c.DirtyBytes += s.size
		if oldest := s.oldest; oldest > 0 && nowMillis-oldest > p.config.MaxCompactionLagMillis {
			c.DelayMillis = max(c.DelayMillis, nowMillis-oldest-p.config.MaxCompactionLagMillis)
		}
	}
	if total := c.CleanBytes + c.DirtyBytes; total > 0 {
		c.Ratio = float64(c.DirtyBytes) / float64(total)
	}
	return c, true
}

// SyncForCleaning has the closed segments of a compacted log synced, where that is missing, and says whether it was. A
// roll does it; after a crash the recovery point lies behind segments that rolled long ago, and a log that is seldom written to
// would wait for its next roll before it is compacted at all.
func (p *Partition) SyncForCleaning() bool {
	if !p.config.Compacted || p.closed || p.state == gone || p.trouble == unsyncable || p.syncing.running || p.trail.sync > 0 {
		return false
	}
	base := p.activeSegment().base
	if p.offsets.RecoveryPoint >= base {
		return false
	}
	p.syncClosed(base)
	return true
}

// firstDirty is the first offset that was not cleaned. Where the checkpoint does not fit the log, all of it is dirty.
func (p *Partition) firstDirty() int64 {
	if p.cleanedTo < p.offsets.LogStart || p.cleanedTo > p.offsets.LogEnd {
		return p.offsets.LogStart
	}
	return p.cleanedTo
}

// cleanableSegments is how many segments from the first on may be cleaned.
func (p *Partition) cleanableSegments(from, nowMillis int64) int {
	n := 0
	for ; n < len(p.segments)-1; n++ {
		s, end := p.segments[n], p.endOf(n)
		if !s.known.Load() || s.phase != segmentClosed || s.finishing || s.unsettled || end > p.offsets.LastStable || end > p.offsets.RecoveryPoint {
			break
		}
		if lag := p.config.MinCompactionLagMillis; lag > 0 && end > from && p.newestRecord(n) > nowMillis-lag {
			break
		}
	}
	return n
}

// lastOfProducer is what compaction must leave of a producer: its last batch, which has its last sequence number, or, where
// that is not known, its last marker, which has its epoch.
type lastOfProducer struct {
	offset int64 // of its last record, -1: none is known
	epoch  int16
}

// lastOfProducers is that of all of them. It takes time for each producer that is remembered.
func (p *Partition) lastOfProducers() map[int64]lastOfProducer {
	all := make(map[int64]lastOfProducer, len(p.producers.byID))
	for id, q := range p.producers.byID {
		last := lastOfProducer{offset: -1, epoch: q.epoch}
		if q.count > 0 {
			last.offset = q.last().lastOffset
		}
		all[id] = last
	}
	return all
}

// keeps says whether a batch is the one that must be left.
func (l lastOfProducer) keeps(b protocol.Batch) bool {
	if l.offset >= 0 {
		return b.LastOffset() == l.offset
	}
	return b.IsControl() && b.ProducerEpoch() == l.epoch
}
