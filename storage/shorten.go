package storage

// For logs whose front somebody else decides about: the metadata log, of which a snapshot takes the place.

// Roll begins a new segment at the log's end, so that what is before can be deleted one day. It reports false where something
// is in the way now: ask again later. A log whose last segment is empty needs no new one.
func (p *Partition) Roll() bool {
	if p.closed || p.state == gone || p.trouble == unsyncable {
		return false
	}
	if p.activeSegment().base == p.offsets.LogEnd {
		return true
	}
	if p.state != idle || p.trouble != sound || !p.writing.queued.empty() || p.preallocating {
		return false
	}
	p.roll()
	return true
}

// BytesBelow is the size of the segments that lie wholly below an offset.
func (p *Partition) BytesBelow(offset int64) (bytes int64) {
	for i := 0; i+1 < len(p.segments) && p.segments[i+1].base <= offset; i++ {
		bytes += p.segments[i].size
	}
	return bytes
}
