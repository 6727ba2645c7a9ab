package storage

import "fmt"

// phase is where a segment is in its life:
//
//	                                      +-- given up -+
//	                                      v             |
//	active --roll--> closed --clean--> closed, read by the cleaner (cleaning)
//	                  ^  |                              | another is in its place
//	           named  |  | below the log's start        v
//	made ----swap--> swapped            +----------> deleted --file.delete.delay.ms--> removed
//	  |                  |              |
//	  +--- given up ---> | -------------+
//
// Only what is active, closed, cleaning or swapped is in the log. The phase says what the files are called, and with
// that what a start makes of them after a crash (listing.go). Whoever wants to keep closed segments somewhere else too
// adds its phases between closed and deleted.
type phase uint8

const (
	segmentActive   phase = iota // being appended to
	segmentClosed                // will not change any more
	segmentCleaning              // closed, and a cleaner reads it, to put another in its place
	segmentMade                  // a cleaner's result: .cleaned, complete or not
	segmentSwapped               // .swap: complete, durable, and in the log; what it replaces counts no more
	segmentDeleted               // out of the log: .deleted, or about to be; who has it open may go on reading
	segmentRemoved               // its files have no names any more
	phaseCount
)

var phaseNames = [phaseCount]string{"active", "closed", "cleaning", "made", "swapped", "deleted", "removed"}

// String names a phase.
func (f phase) String() string {
	if f < phaseCount {
		return phaseNames[f]
	}
	return fmt.Sprintf("phase %d", uint8(f))
}

// phaseSuffixes is what the names of a segment's files end in. A swapped segment's lose theirs while it is in use.
var phaseSuffixes = [phaseCount]string{
	segmentMade: cleanedSuffix, segmentSwapped: swapSuffix, segmentDeleted: deletedSuffix, segmentRemoved: deletedSuffix,
}

// phaseMoves says where a segment may go from each phase.
var phaseMoves = [phaseCount][phaseCount]bool{
	segmentActive:   {segmentClosed: true},
	segmentClosed:   {segmentCleaning: true, segmentDeleted: true},
	segmentCleaning: {segmentClosed: true, segmentDeleted: true},
	segmentMade:     {segmentSwapped: true, segmentRemoved: true},
	segmentSwapped:  {segmentClosed: true},
	segmentDeleted:  {segmentRemoved: true},
}

// moveTo is the only way that a phase changes.
func (s *segment) moveTo(next phase) {
	if next >= phaseCount || !phaseMoves[s.phase][next] {
		panic(fmt.Sprintf("storage: segment %d cannot become %v: it is %v", s.base, next, s.phase))
	}
	s.phase = next
}

// live says whether a segment is part of its log.
func (s *segment) live() bool {
	switch s.phase {
	case segmentActive, segmentClosed, segmentCleaning, segmentSwapped:
		return true
	}
	return false
}

// deletable says whether a segment may leave the log now: it is closed, put in order, and nobody works on its files.
func (p *Partition) deletable(s *segment) bool {
	return s.phase == segmentClosed && !s.finishing && s.examination == nil && !(p.syncing.running && p.syncing.segment == s)
}
