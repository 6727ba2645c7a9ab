package broker

import (
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListOffsets (2), versions 1-11: latest (-1), earliest (-2), max timestamp (-3,
// v7), earliest local (-4, v8), latest tiered (-5, v9), earliest pending upload
// (-6, v11), and by time. Searches by time read the log and run on a helper.
//
// Departures from Kafka: without a remote tier, -4 is the log start, -5 and -6 answer
// offset -1, as Kafka does when tiering is off.

// Timestamps with a meaning of their own (ListOffsetsRequest in Kafka).
const (
	latestTimestamp                = -1
	earliestTimestamp              = -2
	maxTimestamp                   = -3
	earliestLocalTimestamp         = -4
	latestTieredTimestamp          = -5
	earliestPendingUploadTimestamp = -6
)

// listedOffset is one partition's question and answer.
type listedOffset struct {
	key       partitionKey
	believed  int32
	timestamp int64
	committed bool // offsets from the last stable one on are not told
	answer    *kmsg.ListOffsetsResponseTopicPartition
}

func (s *Shard) serveListOffsets(c *call) {
	req := c.body.(*kmsg.ListOffsetsRequest)
	resp := kmsg.NewPtrListOffsetsResponse()
	var parts []listedOffset
	seen := make(map[partitionKey]int)
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if topic := s.topicsByName[t.Topic]; topic != nil {
				seen[partitionKey{topic.id, p.Partition}]++
			}
		}
	}
	for _, t := range req.Topics {
		topic, code := s.findTopicByString(t.Topic, protocol.UUID{}, false)
		rt := kmsg.ListOffsetsResponseTopic{Topic: t.Topic}
		rt.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, 0, len(t.Partitions))
		for _, p := range t.Partitions {
			if topic != nil && seen[partitionKey{topic.id, p.Partition}] < 0 {
				continue // named before, and refused then
			}
			rt.Partitions = append(rt.Partitions, kmsg.ListOffsetsResponseTopicPartition{})
			a := &rt.Partitions[len(rt.Partitions)-1]
			a.Default()
			a.Partition, a.Timestamp, a.Offset, a.LeaderEpoch = p.Partition, -1, -1, -1
			switch {
			case code != protocol.NONE:
				a.ErrorCode = int16(code)
			case p.Partition < 0 || int(p.Partition) >= topic.partitions:
				a.ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
			case seen[partitionKey{topic.id, p.Partition}] > 1:
				a.ErrorCode = int16(protocol.INVALID_REQUEST)
				seen[partitionKey{topic.id, p.Partition}] = -1
			case !timestampServed(p.Timestamp, req.Version):
				a.ErrorCode = int16(protocol.UNSUPPORTED_VERSION)
			default:
				parts = append(parts, listedOffset{partitionKey{topic.id, p.Partition}, p.CurrentLeaderEpoch, p.Timestamp, req.IsolationLevel == 1, a})
			}
		}
		resp.Topics = append(resp.Topics, rt)
	}
	sp := newSpread(s, func(owner *Shard, i int, done func()) { owner.listOffset(&parts[i], done) }, func() { c.reply(resp) })
	for i := range parts {
		sp.add(parts[i].key, i)
	}
	sp.start()
}

// timestampServed says whether a special timestamp exists in a version.
func timestampServed(timestamp int64, version int16) bool {
	switch timestamp {
	case maxTimestamp:
		return version >= 7
	case earliestLocalTimestamp:
		return version >= 8
	case latestTieredTimestamp:
		return version >= 9
	case earliestPendingUploadTimestamp:
		return version >= 11
	}
	return timestamp >= earliestTimestamp
}

// listOffset answers one partition's question on the core that owns it.
func (s *Shard) listOffset(q *listedOffset, done func()) {
	h := s.hosted[q.key]
	if h == nil || h.log == nil {
		q.answer.ErrorCode = int16(protocol.NOT_LEADER_OR_FOLLOWER)
		done()
		return
	}
	if code := checkLeaderEpoch(q.believed, h.leaderEpoch); code != protocol.NONE {
		q.answer.ErrorCode = int16(code)
		done()
		return
	}
	offsets := h.log.Offsets()
	switch q.timestamp {
	case latestTimestamp:
		q.answer.Offset, q.answer.LeaderEpoch = q.limit(offsets), h.leaderEpoch
	case earliestTimestamp, earliestLocalTimestamp:
		q.answer.Offset = offsets.LogStart
		q.answer.LeaderEpoch = h.log.EpochForOffset(offsets.LogStart)
	case latestTieredTimestamp, earliestPendingUploadTimestamp:
	default:
		s.core.Offload(&timeSearch{question: q, log: h.log, searcher: h.log.Searcher(), below: q.limit(offsets), done: done})
		return
	}
	done()
}

// limit is the offset from which on records are not for who asks.
func (q *listedOffset) limit(o storage.Offsets) int64 {
	if q.committed {
		return o.LastStable
	}
	return o.HighWatermark
}

// timeSearches is how often a log is searched that segments are taken out of meanwhile.
const timeSearches = 4

// timeSearch looks for a timestamp in a log, on a helper.
type timeSearch struct {
	question *listedOffset
	log      *storage.Partition
	tries    int
	searcher *storage.Searcher
	below    int64 // what is found at or beyond it counts as not found
	done     func()
	found    storage.Found
	err      error
}

// Work implements reactor.Job.
func (j *timeSearch) Work(k kernel) reactor.Message {
	if j.question.timestamp == maxTimestamp {
		j.found, j.err = j.searcher.MaxTimestamp(k)
	} else {
		j.found, j.err = j.searcher.OffsetForTimestamp(k, j.question.timestamp)
	}
	return j
}

// Deliver implements reactor.Message.
func (j *timeSearch) Deliver(c *reactor.Core) {
	if j.tries++; j.searcher.Stale(j.log) && j.tries < timeSearches {
		j.searcher = j.log.Searcher()
		c.Offload(j)
		return
	}
	a := j.question.answer
	if j.err != nil {
		a.ErrorCode = int16(protocol.KAFKA_STORAGE_ERROR)
	} else if j.found.Offset < j.below {
		a.Offset, a.Timestamp, a.LeaderEpoch = j.found.Offset, j.found.Timestamp, j.found.LeaderEpoch
	}
	j.done()
}
