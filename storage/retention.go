package storage

import (
	"math"

	"slipstream/reactor"
)

// Retention: every log.retention.check.interval.ms each log's oldest segments are looked at, and those go that are wholly
// below the log's start, beyond retention.bytes, or whose newest record is older than retention.ms. The rules are Kafka's
// (UnifiedLog.deleteOldSegments): from the front only, never at or above the high watermark, and where all would go
// the last segment rolls first. A core looks at a bounded number of segments in one turn.

// firstRetentionNanos is when the first check is, as in Kafka.
const firstRetentionNanos = 30e9

// retentionLooks is how many segments a core looks at in one turn, about; a partition counts as some.
const (
	retentionLooks     = 4096
	retentionPartition = 16
)

// never is a setting's value that stands for no limit.
const never = -1

// retention is a store's round over its partitions.
type retention struct {
	store    *Store
	interval int64 // nanoseconds; 0: no rounds
	at       int   // the partition that is next in the round
	begun    bool
	timer    reactor.Timer
}

// begin has the first round come. Partitions are adopted before their core has a clock: the first turn is waited for.
func (r *retention) begin() {
	if r.interval > 0 && !r.timer.Armed() {
		r.store.core.After(0, &r.timer, r)
	}
}

func (r *retention) stop() {
	r.interval = 0
	if r.timer.Armed() {
		r.store.core.Cancel(&r.timer)
	}
}

// Fire implements reactor.TimerHandler: a piece of a round.
func (r *retention) Fire(*reactor.Timer) {
	if !r.begun {
		r.begun = true
		r.store.core.After(min(r.interval, firstRetentionNanos), &r.timer, r)
		return
	}
	now := r.store.core.Wall / 1e6
	for looks := 0; r.at < len(r.store.partitions); r.at++ {
		if looks >= retentionLooks {
			r.store.core.After(0, &r.timer, r) // the next turn goes on
			return
		}
		p := r.store.partitions[r.at]
		looks += retentionPartition + p.retain(now)
	}
	r.at = 0
	r.store.core.After(r.interval, &r.timer, r)
}

// retain deletes what the settings do not keep. It returns how many segments it has looked at.
func (p *Partition) retain(nowMillis int64) (looks int) {
	if p.closed || p.state == gone || p.trouble == unsyncable {
		return 0
	}
	if p.config.Deletable && !p.Surveyed() {
		p.retainSurveyed()
		return 1
	}
	n, looks := p.expired(nowMillis)
	switch {
	case n == len(p.segments):
		p.rollToDelete()
	case n > 0:
		p.advanceStart(p.segments[n].base)
	}
	return looks
}

// retainSurveyed looks at the log again when its segments' sizes and timestamps are known.
func (p *Partition) retainSurveyed() {
	if p.retainLater {
		return
	}
	p.retainLater = true
	p.Survey(func() {
		p.retainLater = false
		p.retain(p.store.core.Wall / 1e6)
	})
}

// rollToDelete begins a new segment, so that the last one can go; the roll's end looks at the log again.
func (p *Partition) rollToDelete() {
	if p.state != idle || p.trouble != sound || !p.writing.queued.empty() || p.preallocating {
		return // the next round will see
	}
	p.rollThenRetain = true
	p.roll()
}

// expired is how many segments, counted from the oldest, are not to be kept.
func (p *Partition) expired(nowMillis int64) (n, looks int) {
	for n+1 < len(p.segments) && p.segments[n+1].base <= p.offsets.LogStart {
		n++
	}
	if !p.config.Deletable {
		return n, n
	}
	if limit := p.config.RetentionBytes; limit >= 0 {
		looks = len(p.segments)
		over := p.Bytes() - limit
		for i := range p.segments[:n] {
			over -= p.segments[i].size
		}
		for n < len(p.segments) && p.mayExpire(n) && over >= p.segments[n].size {
			over -= p.segments[n].size
			n++
		}
	}
	if limit := p.config.RetentionMillis; limit >= 0 {
		for n < len(p.segments) && p.mayExpire(n) && nowMillis-p.newestRecord(n) > limit {
			n++
		}
		if n < len(p.segments) && p.mayExpire(n) && p.newestRecord(n) > nowMillis {
			p.noteFuture(p.segments[n])
		}
	}
	return n, looks + n
}

// mayExpire says whether a segment may go at all: not one that could not be examined, not one that has what consumers have not been shown yet, nor one that is
// empty and the last.
func (p *Partition) mayExpire(i int) bool {
	return p.segments[i].known.Load() && p.endOf(i) <= p.offsets.HighWatermark && (i+1 < len(p.segments) || p.segments[i].size > 0)
}

// newestRecord is the largest timestamp (ms) of a segment; of one whose records have none, when it was written last.
func (p *Partition) newestRecord(i int) int64 {
	s := p.segments[i]
	largest := s.largest
	if i+1 == len(p.segments) {
		largest = p.active.maxTimestamp
	}
	if largest < 0 {
		return s.modified
	}
	return largest
}

// noteFuture tells, once, of a segment that time does not come to because a producer's clock was ahead.
func (p *Partition) noteFuture(s *segment) {
	if s.noted {
		return
	}
	s.noted = true
	p.store.note("segment %d of %s has records with timestamps in the future: retention.ms does not delete it, nor what follows, before then", s.base, &p.id)
}

// maxSegmentMillis is after how long a segment rolls: what compaction must look at before max.compaction.lag.ms must
// not stay in the active segment for longer.
func (c *Config) maxSegmentMillis() int64 {
	if c.Compacted && c.MaxCompactionLagMillis > 0 {
		return min(c.SegmentMillis, c.MaxCompactionLagMillis)
	}
	return c.SegmentMillis
}

// noLag is Config.MaxCompactionLagMillis of a topic that has no such limit.
const noLag = math.MaxInt64
