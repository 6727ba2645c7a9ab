package broker

import (
	"slipstream/protocol"
	"slipstream/storage"
)

// Fetch sessions (KIP-227): a client names its partitions once, later fetches
// carry only what changed, and responses carry only partitions that have
// something to say. The cache belongs to one core: a client whose next
// connection lands on another core is told FETCH_SESSION_ID_NOT_FOUND and starts
// over with a full fetch, which every client does by itself.

// Session ids and epochs with a meaning of their own (FetchMetadata in Kafka).
const (
	noSession    int32 = 0
	initialEpoch int32 = 0
	finalEpoch   int32 = -1
)

// sessionEvictionMillis is how long a session must have been idle before a new
// one may take its slot: min.incremental.fetch.session.eviction.ms.
const sessionEvictionMillis = 120_000

// maxCachedPartitions bounds a core's sessions together, some 200 bytes each. A
// client past it goes on without a session.
const maxCachedPartitions = 500_000

// topicPartition names a partition as the client did: by id from Fetch v13 on,
// by name before.
type topicPartition struct {
	id        [16]byte
	name      string
	partition int32
}

// fetchPartition is what a client asked of one partition, and what it was last
// told, kept from fetch to fetch of its session.
type fetchPartition struct {
	key  topicPartition
	want fetchWant

	topicName string // of the topic when it was last there

	toldHighWatermark int64
	toldLogStart      int64

	// lookup is one that the last fetch did not wait for: a partition whose pages
	// leave the cache as fast as they are read is answered all the same.
	lookup *storage.Lookup

	prev, next *fetchPartition
}

// fetchWant is what a client wants of a partition.
type fetchWant struct {
	currentLeaderEpoch int32
	lastFetchedEpoch   int32
	fetchOffset        int64
	logStartOffset     int64
	maxBytes           int32
}

// worthTelling says whether an incremental response must carry this partition,
// and remembers what it is about to be told.
func (p *fetchPartition) worthTelling(code protocol.ErrorCode, highWatermark, logStart int64, recordBytes int) bool {
	tell := recordBytes > 0 || code != protocol.NONE ||
		p.toldHighWatermark != highWatermark || p.toldLogStart != logStart
	p.toldHighWatermark, p.toldLogStart = highWatermark, logStart
	if code != protocol.NONE {
		// After an error the next good answer is news again.
		p.toldHighWatermark = -1
	}
	return tell
}

// fetchSession is one client's set of partitions, in the order in which they
// are served: a partition that returned data moves to the end, so that none is
// starved by the response's size limit.
type fetchSession struct {
	id         int32
	epoch      int32 // expected of the next request
	byID       bool  // topics are named by id (Fetch v13+)
	partitions map[topicPartition]*fetchPartition
	head, tail *fetchPartition
	usedMillis int64
	counted    int // partitions that count towards the cache's bound: those of its first fetch

	older, newer *fetchSession // the cache's order of use
}

// nextEpoch follows epoch; it wraps to 1, since 0 means a new session.
func nextEpoch(epoch int32) int32 {
	if epoch < 0 {
		return finalEpoch
	}
	if epoch == 1<<31-1 {
		return 1
	}
	return epoch + 1
}

func newFetchSession(byID bool) *fetchSession {
	return &fetchSession{byID: byID, partitions: make(map[topicPartition]*fetchPartition)}
}

// upsert adds or updates a partition. The name in key may alias a request's
// frame: it is cloned when kept. An update of a known partition does not allocate.
func (s *fetchSession) upsert(key topicPartition) *fetchPartition {
	p := s.partitions[key]
	if p == nil {
		key.name = cloneString(key.name)
		p = &fetchPartition{key: key, toldHighWatermark: -1, toldLogStart: -1}
		s.partitions[key] = p
		s.pushBack(p)
	}
	return p
}

func (s *fetchSession) forget(key topicPartition) {
	if p := s.partitions[key]; p != nil {
		delete(s.partitions, key)
		s.unlink(p)
	}
}

func (s *fetchSession) moveToEnd(p *fetchPartition) {
	if s.tail != p {
		s.unlink(p)
		s.pushBack(p)
	}
}

func (s *fetchSession) pushBack(p *fetchPartition) {
	p.prev, p.next = s.tail, nil
	if s.tail == nil {
		s.head = p
	} else {
		s.tail.next = p
	}
	s.tail = p
}

func (s *fetchSession) unlink(p *fetchPartition) {
	if p.prev == nil {
		s.head = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		s.tail = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
}

// sessionCache holds a core's fetch sessions, at most slots of them.
type sessionCache struct {
	slots          int
	partitions     int // of all sessions, as they began
	evicted        uint64
	sessions       map[int32]*fetchSession
	oldest, newest *fetchSession
	random         func([]byte)
}

func newSessionCache(slots int, random func([]byte)) *sessionCache {
	return &sessionCache{slots: slots, sessions: make(map[int32]*fetchSession), random: random}
}

// get finds a session and checks the epoch that the client believes in.
func (c *sessionCache) get(id, epoch int32, byID bool, nowMillis int64) (*fetchSession, protocol.ErrorCode) {
	s := c.sessions[id]
	if s == nil {
		return nil, protocol.FETCH_SESSION_ID_NOT_FOUND
	}
	if s.epoch != epoch {
		return nil, protocol.INVALID_FETCH_SESSION_EPOCH
	}
	if s.byID != byID {
		return nil, protocol.FETCH_SESSION_TOPIC_ID_ERROR
	}
	s.usedMillis = nowMillis
	c.unlink(s)
	c.pushNewest(s)
	return s, protocol.NONE
}

// admit gives the session an id and a slot, evicting the one that has been idle
// the longest if it has been idle long enough. It returns false when there is no
// slot: the client then goes on without a session.
func (c *sessionCache) admit(s *fetchSession, nowMillis int64) bool {
	if c.slots <= 0 || len(s.partitions) == 0 || c.partitions+len(s.partitions) > maxCachedPartitions {
		return false
	}
	if len(c.sessions) >= c.slots {
		if nowMillis-c.oldest.usedMillis < sessionEvictionMillis {
			return false
		}
		c.remove(c.oldest.id)
		c.evicted++
	}
	var b [4]byte
	for s.id == noSession || c.sessions[s.id] != nil {
		c.random(b[:])
		s.id = int32(uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16|uint32(b[3])<<24) & 0x7fffffff
	}
	s.epoch = 1
	s.usedMillis = nowMillis
	s.counted = len(s.partitions)
	c.partitions += s.counted
	c.sessions[s.id] = s
	c.pushNewest(s)
	return true
}

func (c *sessionCache) remove(id int32) {
	if s := c.sessions[id]; s != nil {
		delete(c.sessions, id)
		c.partitions -= s.counted
		c.unlink(s)
	}
}

func (c *sessionCache) pushNewest(s *fetchSession) {
	s.older, s.newer = c.newest, nil
	if c.newest == nil {
		c.oldest = s
	} else {
		c.newest.newer = s
	}
	c.newest = s
}

func (c *sessionCache) unlink(s *fetchSession) {
	if s.older == nil {
		c.oldest = s.newer
	} else {
		s.older.newer = s.newer
	}
	if s.newer == nil {
		c.newest = s.older
	} else {
		s.newer.older = s.older
	}
	s.older, s.newer = nil, nil
}
