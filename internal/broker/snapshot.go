package broker

import (
	"slices"

	"slipstream/internal/group"
	"slipstream/internal/quota"
	"slipstream/reactor"
	"slipstream/storage"
)

// A snapshot is a core's figures for somebody outside. The core copies them a
// bounded slice a turn, so that a scrape never holds requests up:
//
//	Ask --inject--> counters -> one API key's times -> ... -> groups -> partitions -> topics -> done
//	                   ^   a message of the core to itself: a turn between   |
//	                   +------------------- no room: Ask again --------------+
//
// Between Ask and done the snapshot is the core's. Its slices are made by who
// asks: a core with more to tell than there is room for hands the snapshot back
// and is asked to go on.

// The most that is copied in one turn, beside one API key's times (24 KiB): some ten
// microseconds' worth. What takes the time is that a partition is in no cache.
const (
	partitionsPerSlice = 64
	segmentsPerSlice   = 1024 // summed up
	topicsPerSlice     = 64
)

// CoreSnapshot is what one core tells. The lists hold what was there all the
// while; what changed places meanwhile may be there twice.
type CoreSnapshot struct {
	Level     string // of the ring, in force
	Counters  reactor.Counters
	Gauges    reactor.Gauges
	Storage   storage.StoreStats
	OpenFiles int
	TurnTimes reactor.Histogram

	Times    [reactor.RequestKinds]*reactor.RequestTimes // by API key plus 1; nil: no such request yet
	Requests [apiKeys]*RequestCounts                     // by API key; nil: not served
	Produce  ErrorCounts
	Fetch    ErrorCounts
	Refused  []RefusalCount

	All        TopicCounters // topics that are no more included
	Topics     []TopicFigures
	Partitions []PartitionFigures

	Quotas    []QuotaFigures
	Throttled [quota.Kinds]ThrottledFigures // by what
	Door      DoorFigures                   // of core 0

	ParkedFetches        int
	Telemetry            TelemetryCounters
	FetchSessions        int
	FetchPartitions      int // of all sessions
	FetchSessionsEvicted uint64
	ColdRate             int64  // bytes/s that cold readers may read, 0 as much as they can
	ColdSlowed           uint64 // times that they were slowed down for tail readers
	MetadataOffset       int64  // of the last record of the image; the same on all cores, sooner or later

	Cleaner CleanerFigures // of core 0

	OfflineDirs  int // data directories that are out of service, as the core knows
	OutOfService int // the core's partitions in those, or in one that is not here

	// LongestSliceNanos is the longest that a slice took the core; Slices how many
	// there were.
	LongestSliceNanos int64
	Slices            int
	// At is the core's Clock when the last slice was copied.
	At int64

	Coordinators []CoordinatorFigures // by internal topic
	Groups       GroupFigures
	Transactions TransactionFigures
	Shares       ShareFigures

	counting group.Figures
	group    int // of the coordinator at index

	shard *Shard
	done  func(more bool)
	step  snapshotStep
	key   int
	index int
}

type snapshotStep uint8

const (
	snapshotCounters snapshotStep = iota
	snapshotTimes
	snapshotGroups
	snapshotPartitions
	snapshotTopics
	snapshotQuotas
	snapshotDone
)

// Ask has a core fill a snapshot. done is called on the core: it must not block.
// more says that there was not enough room in Partitions or Topics, whose
// capacities are the most that is copied: make more and call Continue. Ask
// returns false when the core has stopped or cannot take a message.
func (b *Broker) Ask(core int, s *CoreSnapshot, done func(more bool)) bool {
	s.shard, s.done = b.shards[core], done
	s.step, s.key, s.index, s.Slices, s.LongestSliceNanos = snapshotCounters, 0, 0, 0, 0
	s.Partitions, s.Topics, s.Quotas = s.Partitions[:0], s.Topics[:0], s.Quotas[:0]
	return s.Continue()
}

// Continue has the core go on with a snapshot that it handed back.
func (s *CoreSnapshot) Continue() bool { return s.shard.core.Inject(s) }

// Deliver implements reactor.Message: it copies the next slice.
func (s *CoreSnapshot) Deliver(c *reactor.Core) {
	begun := c.ReadClock()
	room := true
	switch s.step {
	case snapshotCounters:
		s.copyCounters()
		s.step = snapshotTimes
	case snapshotTimes:
		s.copyTimes()
	case snapshotGroups:
		s.copyGroups()
	case snapshotPartitions:
		room = s.copyPartitions()
	case snapshotTopics:
		room = s.copyTopics()
	case snapshotQuotas:
		s.copyQuotas()
	}
	s.Slices++
	s.At = c.ReadClock()
	s.LongestSliceNanos = max(s.LongestSliceNanos, s.At-begun)
	if room && s.step != snapshotDone {
		c.Send(c, s)
		return
	}
	s.done(!room)
}

func (s *CoreSnapshot) copyCounters() {
	h := s.shard
	c := h.core
	s.Level = c.Level().String()
	s.Counters, s.Gauges, s.TurnTimes = c.Stats, c.Gauges(), c.TurnTimes
	s.Storage, s.OpenFiles = h.store.Stats, h.store.OpenFiles()
	s.OutOfService, s.OfflineDirs = h.outOfService, 0
	for _, offline := range h.offline {
		if offline {
			s.OfflineDirs++
		}
	}
	s.Produce, s.Fetch = h.produceErrors, h.fetchErrors
	s.Refused = append(s.Refused[:0], h.refused...)
	s.All = h.counters
	s.Cleaner = h.cleaning.figures
	s.Throttled, s.Door = h.throttled, h.doorkeeper.Figures
	s.ParkedFetches = h.parkedFetches
	s.Telemetry = h.telemetry.counters
	s.FetchSessions, s.FetchPartitions, s.FetchSessionsEvicted = len(h.sessions.sessions), h.sessions.partitions, h.sessions.evicted
	s.MetadataOffset = h.metadataOffset
	s.ColdRate, s.ColdSlowed = h.regret.state.Rate, h.regret.state.Slowed
	for i := range apis {
		key := apis[i].key
		if s.Requests[key] == nil {
			s.Requests[key] = new(RequestCounts) // once
		}
		*s.Requests[key] = h.requests[i]
	}
}

// copyTimes copies the times of the next kind of request that there were any of.
func (s *CoreSnapshot) copyTimes() {
	for ; s.key < reactor.RequestKinds; s.key++ {
		if from := s.shard.core.Latency[s.key]; from != nil {
			if s.Times[s.key] == nil {
				s.Times[s.key] = new(reactor.RequestTimes) // once
			}
			*s.Times[s.key] = *from
			s.key++
			return
		}
	}
	s.step = snapshotGroups
	s.copyCoordinators()
	s.copyTransactions()
	s.copyShares()
}

// copyPartitions goes through the store's list from its end: one that is taken
// off the list is replaced by the last, which has been copied already.
func (s *CoreSnapshot) copyPartitions() (room bool) {
	store := s.shard.store
	s.index = min(s.index, store.Partitions())
	for n, segments := 0, 0; s.index > 0; n++ {
		if n == partitionsPerSlice || segments > segmentsPerSlice {
			return true
		}
		if len(s.Partitions) == cap(s.Partitions) {
			return false
		}
		s.index--
		p := store.Partition(s.index)
		segments += p.Segments()
		s.Partitions = append(s.Partitions, PartitionFigures{
			ID: p.ID(), Offsets: p.Offsets(), Bytes: p.Bytes(), Segments: p.Segments(), Failed: p.Failed(),
			Uncleanable: p.Uncleanable(), Producers: p.Producers(),
		})
	}
	s.step, s.index = snapshotTopics, len(s.shard.topicList)
	return true
}

// copyTopics goes through the topics in the same way.
func (s *CoreSnapshot) copyTopics() (room bool) {
	list := s.shard.topicList
	s.index = min(s.index, len(list))
	for n := 0; s.index > 0; n++ {
		if n == topicsPerSlice {
			return true
		}
		if len(s.Topics) == cap(s.Topics) {
			return false
		}
		s.index--
		t := list[s.index]
		s.Topics = append(s.Topics, TopicFigures{
			Name: t.name, ID: t.id, Partitions: t.partitions, MinInsyncReplicas: t.minInsyncReplicas, Counters: t.counters,
		})
	}
	s.step, s.index = snapshotQuotas, maxAccounts
	return true
}

// MakeRoom makes room for n partitions and as many topics, keeping what is there.
func (s *CoreSnapshot) MakeRoom(n int) {
	s.Quotas = slices.Grow(s.Quotas, max(quotasShown-len(s.Quotas), 0))
	s.Partitions = slices.Grow(s.Partitions, max(n-len(s.Partitions), 0))
	s.Topics = slices.Grow(s.Topics, max(n-len(s.Topics), 0))
}
