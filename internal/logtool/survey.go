package logtool

import (
	"slipstream/protocol"
)

// placing is where a whole batch is, held against where it should be.
type placing uint8

const (
	inPlace       placing = iota
	missingBefore         // it is right where it is, and what is due before it is missing
	beyond                // its offsets belong to the next segment
	astray                // its offsets belong somewhere else, or were there already
)

// stretch is a run of whole batches in a .log, without a byte between them: what there is to keep.
type stretch struct {
	from, to    int64 // bytes of the file
	first, next int64 // offsets: of the first record, and behind the last
	epoch       int32 // of the last batch
	where       placing
}

// segmentMap is what was found in a segment's .log: stretches in the order of the file. What lies between them, or
// behind the last, is damaged.
type segmentMap struct {
	base       int64
	path       string
	size       int64
	stretches  []stretch
	unreadable bool // the disk does not give all of it
}

// continues says whether a batch at a position belongs to the run before it.
func (m *segmentMap) continues(where placing, position int64) bool {
	n := len(m.stretches)
	return n > 0 && m.stretches[n-1].where == where && m.stretches[n-1].to == position
}

// maxStretches of a segment are told apart; damage beyond that is one with what follows it.
const maxStretches = 10_000

// add takes a batch in. gaps is the offset below which compaction may have left gaps.
func (m *segmentMap) add(where placing, position, after int64, b protocol.Batch, gaps int64) {
	if where == missingBefore {
		where = inPlace
	} else if m.continues(where, position) {
		s := &m.stretches[len(m.stretches)-1]
		if b.BaseOffset() == s.next || where == inPlace && b.BaseOffset() > s.next && s.next < gaps {
			s.to, s.next, s.epoch = after, b.NextOffset(), b.LeaderEpoch()
			return
		}
	}
	if len(m.stretches) < maxStretches {
		m.stretches = append(m.stretches, stretch{position, after, b.BaseOffset(), b.NextOffset(), b.LeaderEpoch(), where})
	}
}
