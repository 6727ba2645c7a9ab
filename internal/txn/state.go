package txn

// State is the state of a transactional id. The values are those of Kafka's
// records, the names those of its tools and of ListTransactions.
type State int8

// The states. An id that is unknown has none.
const (
	Empty             State = iota // it has a producer, but no transaction yet
	Ongoing                        // partitions take part
	PrepareCommit                  // decided: markers are being written
	PrepareAbort                   // likewise
	CompleteCommit                 // all markers are written
	CompleteAbort                  // likewise
	Dead                           // expired: its tombstone is being written
	PrepareEpochFence              // its producer is being fenced; only ever between two states
	noState           State = -1
)

var stateNames = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"}

func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return "Unknown"
	}
	return stateNames[s]
}

// ParseState is the state of that name.
func ParseState(name string) (State, bool) {
	for i, n := range stateNames {
		if n == name {
			return State(i), true
		}
	}
	return noState, false
}

// from are the states that may come before a state.
var from = [...]uint16{
	Empty:             set(Empty, CompleteCommit, CompleteAbort),
	Ongoing:           set(Ongoing, Empty, CompleteCommit, CompleteAbort),
	PrepareCommit:     set(Ongoing),
	PrepareAbort:      set(Ongoing, Empty, CompleteCommit, CompleteAbort),
	CompleteCommit:    set(PrepareCommit),
	CompleteAbort:     set(PrepareAbort),
	Dead:              set(Empty, CompleteCommit, CompleteAbort),
	PrepareEpochFence: set(Ongoing),
}

func set(states ...State) (bits uint16) {
	for _, s := range states {
		bits |= 1 << s
	}
	return bits
}

// follows says whether s may come after before.
func (s State) follows(before State) bool { return from[s]>>before&1 == 1 }

// ending says that the outcome is decided and markers are being written.
func (s State) ending() bool { return s == PrepareCommit || s == PrepareAbort }

// quiet says that there is no transaction: a new one may begin, or the id expire.
func (s State) quiet() bool { return s == Empty || s == CompleteCommit || s == CompleteAbort }
