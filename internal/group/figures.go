package group

// Stats count what coordinators have done since they were made. Several may share
// one, and one outlives a coordinator that is loaded anew.
type Stats struct {
	OffsetsCommitted   uint64 // by clients, in transactions and without
	OffsetsExpired     uint64
	OffsetsDeleted     uint64 // by OffsetDelete
	ClassicRebalances  uint64 // of classic groups, completed
	ConsumerRebalances uint64 // of consumer groups: new epochs
}

// Figures are how many groups there are.
type Figures struct {
	Classic  [4]int // by state: Empty, PreparingRebalance, CompletingRebalance, Stable
	Consumer [4]int // Empty, Assigning, Reconciling, Stable
	Share    [2]int // Empty, Stable
	Offsets  int    // committed
}

// ClassicStates, ConsumerStates and ShareStates are Kafka's names of the states, in the order of Figures.
var (
	ClassicStates  = [4]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}
	ConsumerStates = [4]string{"Empty", "Assigning", "Reconciling", "Stable"}
	ShareStates    = [2]string{"Empty", "Stable"}
)

// Count adds the groups from the place from on to f, at most n of them, and returns
// the place to go on from; 0: that was all. Groups may come and go between two
// calls: one that is there all the while is counted, or nearly always once.
func (c *Coordinator) Count(from, n int, f *Figures) (next int) {
	if c.phase != active {
		return 0
	}
	for ; from < len(c.sorted) && n > 0; n-- {
		c.sorted[from].count(f)
		from++
	}
	if from < len(c.sorted) {
		return from
	}
	for _, sg := range c.shares.sorted[min(from-len(c.sorted), len(c.shares.sorted)):] {
		if n--; n < 0 {
			return from
		}
		from++
		f.Share[place(sg.state(), ShareStates[:])]++
	}
	return 0
}

func (g *group) count(f *Figures) {
	switch {
	case g.classic != nil:
		f.Classic[g.classic.state]++
	case g.consumer != nil:
		f.Consumer[place(g.consumer.state().String(), ConsumerStates[:])]++
	}
	for _, of := range g.offsets.table {
		f.Offsets += len(of.list)
	}
}

// place is where a state is in a list that has it.
func place(state string, states []string) int {
	for i, s := range states {
		if s == state {
			return i
		}
	}
	return 0
}
