package storage

import "fmt"

// Offsets are the places of a log that others ask for:
//
//	LogStart <= LastStable <= HighWatermark <= LogEnd
//	LogStart <= RecoveryPoint <= LogEnd
//
// LogStart is the first offset there is; all below LastStable is decided (no open
// transaction), all below HighWatermark may be read by consumers, all below LogEnd
// is written. What is below RecoveryPoint is on the disk, synced.
type Offsets struct {
	LogStart      int64
	RecoveryPoint int64
	LastStable    int64
	HighWatermark int64
	LogEnd        int64
}

// set replaces the offsets by o, which must be in order: the only way they change.
func (o *Offsets) set(n Offsets) {
	if n.LogStart > n.LastStable || n.LastStable > n.HighWatermark || n.HighWatermark > n.LogEnd ||
		n.LogStart > n.RecoveryPoint || n.RecoveryPoint > n.LogEnd || n.LogStart < 0 {
		panic(fmt.Sprintf("storage: offsets out of order: %+v", n))
	}
	*o = n
}
