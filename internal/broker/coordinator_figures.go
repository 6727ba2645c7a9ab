package broker

import "slipstream/internal/group"

// What a core's coordinators tell of themselves in a snapshot.

// CoordinatorCounts is what has happened to the coordinators of one internal topic.
type CoordinatorCounts struct {
	Loads            uint64 // ended well
	FailedLoads      uint64
	LoadedRecords    uint64
	LoadNanos        int64 // of all loads together
	LongestLoadNanos int64
	FailedAppends    uint64 // batches that the log refused
}

// CoordinatorFigures are a core's coordinators of one internal topic.
type CoordinatorFigures struct {
	Topic                   string
	Loading, Active, Failed int // partitions
	CoordinatorCounts
}

// GroupCount is how many groups are in a state.
type GroupCount struct {
	Type, State string // as ListGroups names them
	Groups      int
}

// GroupFigures are a core's groups.
type GroupFigures struct {
	Counts  []GroupCount
	Offsets int // committed
	group.Stats
}

// groupsPerSlice is how many groups are counted in one turn.
const groupsPerSlice = 256

func (c *coordinated) counts() *CoordinatorCounts {
	for i, t := range internalTopics {
		if t == c.of {
			return &c.shard.coordinating.counts[i]
		}
	}
	return new(CoordinatorCounts)
}

// copyCoordinators copies what the core knows of its coordinators.
func (s *CoreSnapshot) copyCoordinators() {
	g := &s.shard.coordinating
	s.Coordinators = s.Coordinators[:0]
	for i, t := range internalTopics {
		s.Coordinators = append(s.Coordinators, CoordinatorFigures{Topic: t.name, CoordinatorCounts: g.counts[i]})
	}
	for _, c := range g.all {
		for i, t := range internalTopics {
			if t != c.of {
				continue
			}
			switch at := &s.Coordinators[i]; c.state {
			case coordinatorServing:
				at.Active++
			case coordinatorFailed:
				at.Failed++
			default:
				at.Loading++
			}
		}
	}
	s.Groups.Stats = g.groups
	s.counting, s.index, s.group = group.Figures{}, 0, 0
}

// copyGroups counts the groups of the next coordinators, some hundred at a time.
func (s *CoreSnapshot) copyGroups() {
	all := s.shard.coordinating.all
	for left := groupsPerSlice; left > 0 && s.index < len(all); left -= 8 {
		if m, ok := all[s.index].machine.(*groupMachine); ok {
			left -= groupsPerSlice / 4
			if s.group = m.groups.Count(s.group, groupsPerSlice/4, &s.counting); s.group != 0 {
				continue
			}
		}
		s.index++
	}
	if s.index < len(all) {
		return
	}
	f := &s.counting
	s.Groups.Offsets, s.Groups.Counts = f.Offsets, s.Groups.Counts[:0]
	add := func(kind string, states []string, counts []int) {
		for i, n := range counts {
			s.Groups.Counts = append(s.Groups.Counts, GroupCount{kind, states[i], n})
		}
	}
	add("classic", group.ClassicStates[:], f.Classic[:])
	add("consumer", group.ConsumerStates[:], f.Consumer[:])
	add("share", group.ShareStates[:], f.Share[:])
	s.step, s.index = snapshotPartitions, s.shard.store.Partitions()
}
