package broker

import (
	"strconv"

	"slipstream/internal/metadata"
	"slipstream/internal/quota"
	"slipstream/internal/regret"
	"slipstream/internal/txn"
	"slipstream/protocol"
	"slipstream/reactor"
	"slipstream/storage"
)

// Shard is what one core serves: its partitions, its image of the cluster, its
// fetch sessions. It implements reactor.Service. Everything in it belongs to its
// core; other cores reach it by messages only.
type Shard struct {
	broker *Broker
	core   *reactor.Core
	store  *storage.Store

	offline      []bool    // by logDir.index: out of service
	outOfService int       // partitions of this core that are in none that works
	trials       dirTrials // on core 0 only

	image          *metadata.Image
	metadataOffset int64 // of the last record in the image
	topics         map[protocol.UUID]*topicState
	topicsByName   map[string]*topicState
	hosted         map[partitionKey]*hosted

	sessions    *sessionCache
	readers     readerNumbers
	fetching    list[fetchOp, *fetchOp] // under way
	producerIDs producerIDs
	controller  *controller // on core 0 only
	// quotas is nil while none is set; quotaGeneration counts their changes.
	quotas          *quotas
	quotaGeneration uint64
	throttled       [quota.Kinds]ThrottledFigures
	door            door
	doorkeeper      doorkeeper // on core 0 only
	wokenVisits     queue[fetchVisit, *fetchVisit]
	fetchRequest    protocol.FetchRequest
	askedAt         map[topicPartition]int32 // empty but while a fetch is read

	unsent            queue[call, *call] // this and the next two: responses that found the arena full
	unansweredProduce queue[produceOp, *produceOp]
	unansweredFetch   queue[fetchOp, *fetchOp]
	freeProduce       *produceOp
	freeFetch         *fetchOp

	requests      []RequestCounts // by place in apis
	refused       []RefusalCount
	checkpoints   *checkpointRound // core 0's
	counters      TopicCounters    // of all topics
	produceErrors ErrorCounts
	fetchErrors   ErrorCounts
	parkedFetches int

	topicList []*topicState // in no order
	closing   closing
	cleaning  cleaning // on core 0 only
	regret    regretting
	telemetry telemetry

	coordinating                       coordinating
	verifications, failedVerifications uint64 // asked of transaction coordinators
	markers                            markerLanes
	shares                             sharing
	transactionConfig                  txn.Config // what transaction coordinators run with
}

func newShard(b *Broker) *Shard {
	s := &Shard{
		broker:       b,
		image:        metadata.NewImage(),
		topics:       make(map[protocol.UUID]*topicState),
		topicsByName: make(map[string]*topicState),
		hosted:       make(map[partitionKey]*hosted),
		askedAt:      make(map[topicPartition]int32),
		sessions:     newSessionCache(b.fetchSessionSlots, b.kernel.Random),
		requests:     make([]RequestCounts, len(apis)),
		offline:      make([]bool, len(b.dirs)),
	}
	s.regret.shard, s.regret.limits = s, regret.Defaults()
	s.coordinating.shard, s.markers.shard = s, s
	s.shares.init(s)
	s.coordinating.members.LimitBytes = groupMemberBytes
	return s
}

// Opened implements reactor.Service.
func (s *Shard) Opened(*reactor.Conn) {}

// Closed implements reactor.Service.
func (s *Shard) Closed(c *reactor.Conn) {
	s.shares.closed(c)
	s.left(c)
}

// EndTurn implements reactor.Service: coordinators take their turn, what was appended is written,
// what they said that rests on it is answered,
// fetches that it woke are answered, and responses that found no memory before
// try again, all before the turn's one enter.
func (s *Shard) EndTurn(*reactor.Core) {
	for range coordinatorRounds {
		worked := s.coordinating.turn()
		s.store.Flush()
		if woke := s.shares.endTurn(); !worked && !woke {
			break
		}
	}
	s.coordinating.waitForTurn()
	s.shares.waitForTurn()
	s.sendVisitsHome()
	s.retryUnanswered()
	s.store.EndTurn()
	if s.quotas != nil {
		s.quotas.endTurn()
	}
	s.regret.watch()
}

// findTopic looks a topic up by what the request's version names it by.
func (s *Shard) findTopic(name []byte, id protocol.UUID, byID bool) (*topicState, protocol.ErrorCode) {
	if byID {
		if t := s.topics[id]; t != nil {
			return t, protocol.NONE
		}
		return nil, protocol.UNKNOWN_TOPIC_ID
	}
	if t := s.topicsByName[string(name)]; t != nil {
		return t, protocol.NONE
	}
	return nil, protocol.UNKNOWN_TOPIC_OR_PARTITION
}

// findTopicByString is findTopic for a name that is already a string.
func (s *Shard) findTopicByString(name string, id protocol.UUID, byID bool) (*topicState, protocol.ErrorCode) {
	if byID {
		return s.findTopic(nil, id, true)
	}
	if t := s.topicsByName[name]; t != nil {
		return t, protocol.NONE
	}
	return nil, protocol.UNKNOWN_TOPIC_OR_PARTITION
}

func itoa(n int) string { return strconv.Itoa(n) }
