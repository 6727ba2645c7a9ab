package broker

import (
	"slipstream/internal/share"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// Acquiring, on the core that owns the partitions.

// acquire tries a visit's parts in turn and calls back when all have been tried, or no
// more is wanted.
func (v *shareVisit) acquire(back func()) {
	op := v.op
	for v.at < len(v.parts) && op.maxRecords > 0 && op.maxBytes > 0 {
		p := v.parts[v.at]
		if !p.fetched || p.code != protocol.NONE || len(p.got) > 0 {
			v.at++
			continue
		}
		sp, code := v.owner.shares.get(sharePartitionKey{op.member.Group, p.key}, func(code protocol.ErrorCode) {
			if code != protocol.NONE {
				p.code = code
			}
			v.acquire(back)
		})
		if code == protocol.NONE && sp == nil {
			return // it is being loaded
		}
		v.at++
		if code != protocol.NONE {
			p.code = code
			continue
		}
		p.acquire(sp)
	}
	back()
}

// rounds is how often a part looks on when all that it found was archived.
const rounds = 8

// acquire gives the member what there is of one partition, up to the op's limits.
func (p *sharePart) acquire(sp *sharePartition) {
	op, log := p.visit.op, sp.hosted.log
	p.leaderEpoch = sp.hosted.leaderEpoch
	sp.machine.SetLimits(sp.shard.shares.limits(sp.key.group))
	sp.machine.LogStart(log.Offsets().LogStart)
	for range rounds {
		from, ok := sp.machine.NextFetchOffset()
		if !ok || from >= sp.visibleEnd() {
			break
		}
		to, planned := p.plan(sp, from)
		if !planned {
			break
		}
		p.got = sp.machine.Acquire(sp.now(), op.member.Member, from, to, p.aborts.take())
		if len(p.got) > 0 {
			break
		}
		p.at.Release()
	}
	if len(p.got) == 0 {
		p.at.Release()
	}
	for _, r := range p.got {
		op.maxRecords -= r.Last - r.First + 1
		sp.shard.shares.counts.Acquired += uint64(r.Last - r.First + 1)
	}
	if len(p.got) > 0 {
		op.acquired = true
		op.maxBytes -= p.at.Len
		p.behind = log.BytesFromEnd(p.at)
	}
	sp.pump()
}

// plan finds the range of the log to send and the offset to acquire up to.
func (p *sharePart) plan(sp *sharePartition, from int64) (to int64, ok bool) {
	op, log := p.visit.op, sp.hosted.log
	q := storage.Query{Offset: from, MaxBytes: op.maxBytes, AtLeastOne: true, Committed: sp.shard.shares.committed(sp.key.group)}
	p.at.Release()
	p.at, p.lookup, p.code = log.Plan(q, p.lookup)
	if p.at.Len == 0 {
		return 0, false
	}
	to = p.at.End
	last := sp.machine.LastOf(from, to, op.maxRecords)
	if last < from {
		return 0, false
	}
	if last+1 < to {
		to = p.cut(log, q, last)
	}
	if q.Committed && !p.aborts.find(sp, p, from) {
		return 0, false
	}
	return to, true
}

// cut shortens the range to what is behind last: to the end of the batch that holds it.
// That is also how far is acquired, unless the member has asked for no more records
// than it said. Where the batch cannot be found without the disk, the range stays.
func (p *sharePart) cut(log *storage.Partition, q storage.Query, last int64) (to int64) {
	q.Offset, q.MaxBytes = last, 0
	batch, _, code := log.Plan(q, nil)
	to = last + 1
	if code == protocol.NONE && batch.Len > 0 && batch.File == p.at.File && batch.Pos >= p.at.Pos {
		p.at.Shorten(int(batch.Pos+int64(batch.Len)-p.at.Pos), batch.End)
		if !p.visit.op.exact {
			to = batch.End
		}
	}
	batch.Release()
	return to
}

// shareAborts finds the records of aborted transactions in a part's range: what of
// [from, upTo) is to be left out.
type shareAborts struct {
	from, upTo int64
	running    bool // a helper is looking
	known      bool // it has found ranges
	failed     bool
	ranges     []share.Range
	lookup     *storage.AbortedLookup
}

// take is what was found of [from, to), known before.
func (a *shareAborts) take() []share.Range {
	r := a.ranges
	*a = shareAborts{}
	return r
}

// find says whether it is known which records of the part's range are aborted; else
// somebody is looking, or it cannot be known.
func (a *shareAborts) find(sp *sharePartition, p *sharePart, from int64) bool {
	log := sp.hosted.log
	switch {
	case a.running:
		return false
	case a.failed:
		p.code = protocol.KAFKA_STORAGE_ERROR
		return false
	case a.known && a.from == from && p.at.End <= a.upTo:
		return true
	case !log.AbortsFrom(from):
		a.ranges = nil
		return true
	}
	list, lookup, err := log.AbortedTransactions(from, p.at.End, nil, a.lookup)
	a.lookup, a.failed = lookup, err != nil
	if lookup != nil || err != nil {
		return false
	}
	if len(list) == 0 {
		a.ranges = nil
		return true
	}
	a.from, a.upTo, a.running, a.known = from, p.at.End, true, false
	job := &abortSearch{part: p, at: p.at}
	p.at = storage.Range{}
	job.search = storage.NewAbortSearch(job.at, list)
	sp.shard.core.Offload(job)
	return false
}

// waits says whether somebody is looking still.
func (a *shareAborts) waits(p *sharePart) bool {
	if a.lookup != nil && !a.lookup.Done() {
		a.lookup.Wait(p)
		return true
	}
	return a.running
}

// changed says whether there is news that the part has not looked at.
func (a *shareAborts) changed() bool {
	return a.known || a.failed || a.lookup != nil && a.lookup.Done()
}

// AbortedFound implements storage.AbortedWaiter for a part.
func (p *sharePart) AbortedFound(*storage.AbortedLookup) {
	p.visit.owner.shares.wokenLater(nil, p.visit)
}

// abortSearch reads the heads of a range's batches, on a helper.
type abortSearch struct {
	part   *sharePart
	at     storage.Range
	search *storage.AbortSearch
	err    error
}

// Work implements reactor.Job.
func (j *abortSearch) Work(k kernel) reactor.Message {
	j.err = j.search.Run(k)
	return j
}

// Deliver implements reactor.Message.
func (j *abortSearch) Deliver(*reactor.Core) {
	a := &j.part.aborts
	j.at.Release()
	a.running, a.known, a.failed = false, j.err == nil, j.err != nil
	a.ranges = nil
	for _, r := range j.search.Found {
		a.ranges = append(a.ranges, share.Range{First: r.First, Last: r.Last})
	}
	j.part.visit.wake()
}
