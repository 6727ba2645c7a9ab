package group

// What bounds memory and the time of a step. Where Kafka has a setting for a
// bound it is in Settings; these are our own.
const (
	// maxPendingMembers is how many members of one group may have been given an id
	// and not yet joined with it (KIP-394). One more, and the oldest is forgotten:
	// should it still come, it is told UNKNOWN_MEMBER_ID and asks again.
	maxPendingMembers = 10_000

	// timersATick is how many timers one Tick lets expire.
	timersATick = 64

	// workUnits is how much one call of Work does. A unit is about 10 to 50 ns:
	// one partition handed out, one member looked at, one step of a match.
	workUnits = 8_000

	// syncUnits is up to which cost an assignment is computed on the spot.
	syncUnits = 2_000

	// maxRegexBytes and maxRegexProgram bound a regular expression: its text, and
	// what it compiles to, in instructions.
	maxRegexBytes   = 4_096
	maxRegexProgram = 2_000

	// batchOverhead and recordOverhead are what a batch and a record weigh beside
	// keys and values, at most.
	batchOverhead  = 61
	recordOverhead = 21
)
