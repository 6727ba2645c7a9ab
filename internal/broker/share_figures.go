package broker

import (
	"slipstream/internal/share"
	"slipstream/protocol"
)

// ShareFigures are a core's share groups, in a snapshot.
type ShareFigures struct {
	Partitions        int // share-partitions of its data
	Sessions          int
	SessionPartitions int // of all sessions
	ShareCounts
}

// ShareCounts count records since the core was started.
type ShareCounts struct {
	Acquired     uint64
	Acknowledged [share.Renew + 1]uint64 // by what the members said, where that was taken
}

// copyShares copies what the core knows of its share groups.
func (s *CoreSnapshot) copyShares() {
	g := &s.shard.shares
	s.Shares = ShareFigures{Partitions: len(g.partitions), ShareCounts: g.counts}
	if g.sessions != nil {
		s.Shares.Sessions, s.Shares.SessionPartitions = g.sessions.Len(), g.sessions.Partitions()
	}
}

// add counts what a batch of acknowledgements says.
func (c *ShareCounts) add(b *share.AcknowledgementBatch) {
	if len(b.Types) == 1 {
		c.Acknowledged[b.Types[0]] += uint64(b.Last - b.First + 1)
		return
	}
	for _, t := range b.Types {
		c.Acknowledged[t]++
	}
}

// count counts an op that has its answer: once for each of its topics, whose parts are next to one another.
func (op *shareFetchOp) count() {
	for i := 0; i < len(op.parts); {
		first := &op.parts[i]
		var one TopicCounters
		for ; i < len(op.parts) && op.parts[i].key.topic == first.key.topic; i++ {
			p := &op.parts[i]
			if p.fetched {
				one.ShareFetchRequests = 1
				if failsFetch(p.code) {
					one.FailedShareFetch = 1
				}
			}
			if p.acked {
				one.ShareAcknowledgeRequests = 1
				if p.ackCode != protocol.NONE {
					one.FailedShareAcknowledge = 1
				}
			}
		}
		if first.topic == nil {
			continue
		}
		for _, c := range [...]*TopicCounters{&first.topic.counters, &op.home.counters} {
			c.ShareFetchRequests += one.ShareFetchRequests
			c.FailedShareFetch += one.FailedShareFetch
			c.ShareAcknowledgeRequests += one.ShareAcknowledgeRequests
			c.FailedShareAcknowledge += one.FailedShareAcknowledge
		}
	}
}
