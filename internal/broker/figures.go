package broker

import (
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// TopicCounters count what happened to a topic, or to all topics, since the core
// was started. They are Kafka's BrokerTopicMetrics, counted where Kafka counts
// them: a produce per partition that its log was asked to append to, a fetch per
// partition that was read.
type TopicCounters struct {
	MessagesIn      uint64
	BytesIn         uint64 // of batches appended, compressed as they came
	BytesOut        uint64 // of batches in fetch responses
	BytesRejected   uint64 // of batches larger than the topic takes
	ProduceRequests uint64
	FetchRequests   uint64
	// FailedProduce and FailedFetch leave out what Kafka leaves out: errors that
	// are a matter of course (no such partition, not its leader, a batch too large
	// or corrupt, an offset out of range). Errors has all of them.
	FailedProduce uint64
	FailedFetch   uint64
	// Requests of share groups, once for each topic of one; failed: one of its
	// partitions was, but a matter of course.
	ShareFetchRequests, FailedShareFetch             uint64
	ShareAcknowledgeRequests, FailedShareAcknowledge uint64
	// Sent is what left of BytesOut, by the rung of the fetch ladder; of topics only.
	Sent reactor.RungBytes
}

// ErrorCodes is one more than the highest error code that is counted by itself.
const ErrorCodes = 160

// ErrorCounts count answers for one partition by their error code, NONE
// included; code -1 (UNKNOWN_SERVER_ERROR) is at 0, NONE at 1.
type ErrorCounts [ErrorCodes]uint64

func (e *ErrorCounts) count(code protocol.ErrorCode) {
	if i := int(code) + 1; i >= 0 && i < len(e) {
		e[i]++
	}
}

// countProduce counts a part that has its answer.
func (s *Shard) countProduce(p *producePart) {
	code := p.result.Code
	s.produceErrors.count(code)
	if p.topic == nil {
		return
	}
	for _, c := range [...]*TopicCounters{&p.topic.counters, &s.counters} {
		c.ProduceRequests++
		switch {
		case code == protocol.NONE:
			c.MessagesIn += uint64(p.batch.LastOffsetDelta()) + 1
			c.BytesIn += uint64(len(p.batch))
		case code == protocol.MESSAGE_TOO_LARGE || code == protocol.RECORD_LIST_TOO_LARGE:
			c.BytesRejected += uint64(len(p.batch))
		case tellsLogStart(code):
			c.FailedProduce++
		}
	}
}

// countFetch counts a part that has its answer.
func (s *Shard) countFetch(p *fetchPart) {
	s.fetchErrors.count(p.code)
	if p.topic == nil {
		return
	}
	failed := uint64(0)
	if failsFetch(p.code) {
		failed = 1
	}
	for _, c := range [...]*TopicCounters{&p.topic.counters, &s.counters} {
		c.FetchRequests++
		c.FailedFetch += failed
		if p.included {
			c.BytesOut += uint64(p.at.Len)
		}
	}
}

// failsFetch says whether Kafka counts a fetch that is answered so as failed.
func failsFetch(code protocol.ErrorCode) bool {
	switch code {
	case protocol.NONE, protocol.UNKNOWN_TOPIC_OR_PARTITION, protocol.NOT_LEADER_OR_FOLLOWER, protocol.UNKNOWN_LEADER_EPOCH,
		protocol.FENCED_LEADER_EPOCH, protocol.REPLICA_NOT_AVAILABLE, protocol.KAFKA_STORAGE_ERROR,
		protocol.OFFSET_OUT_OF_RANGE, protocol.INCONSISTENT_TOPIC_ID, protocol.UNKNOWN_TOPIC_ID:
		return false
	}
	return true
}

// Versions is one more than the highest version of any request that is served.
const Versions = 24

// RequestCounts count the requests of one API key by version.
type RequestCounts [Versions]uint64

// RefusalCount is how often connections were closed for one reason.
type RefusalCount struct {
	Reason string
	Count  uint64
}

// refused counts a connection closed for a reason: a short list, found in the
// order in which they came.
func (s *Shard) countRefusal(reason string) {
	for i := range s.refused {
		if s.refused[i].Reason == reason {
			s.refused[i].Count++
			return
		}
	}
	s.refused = append(s.refused, RefusalCount{reason, 1})
}

// TopicFigures are a topic's, as one core sees it.
type TopicFigures struct {
	Name              string
	ID                protocol.UUID
	Partitions        int
	MinInsyncReplicas int
	Counters          TopicCounters // what came to this core
}

// PartitionFigures are a partition's.
type PartitionFigures struct {
	ID       storage.TopicPartition
	Offsets  storage.Offsets
	Bytes    int64
	Segments int
	Failed   bool // takes no more appends

	Producers int // that it remembers

	Uncleanable bool // compaction has failed and is not tried again
}
