package share

import (
	"math"
	"slices"
	"unicode/utf16"

	"slipstream/protocol"
)

// Session epochs with a meaning of their own.
const (
	InitialEpoch = 0  // begin a session
	FinalEpoch   = -1 // end it
)

// SessionKey names a member's share session.
type SessionKey struct {
	Group, Member string
}

// maxMemberID is how many UTF-16 units Kafka lets the id of a share group's member have: a UUID with its hyphens.
const maxMemberID = 36

// ValidMemberID says whether a member may have this id: it is neither empty nor longer than 36 UTF-16 units.
func ValidMemberID(id string) bool {
	units := 0
	for _, r := range id {
		if units += utf16.RuneLen(r); units > maxMemberID {
			return false
		}
	}
	return units > 0
}

// TopicPartition is a partition of a topic.
type TopicPartition struct {
	Topic     protocol.UUID
	Partition int32
}

// Session is what a member fetches from this broker, from request to request. Each
// request but the first and the last changes it and carries the next epoch.
type Session struct {
	Key        SessionKey
	Connection uint64 // the one that it was begun on; it ends with it
	Epoch      int32  // of the next request

	partitions []TopicPartition
	places     map[TopicPartition]int
	of         *Sessions // nil: it has ended
}

// Partitions are what the member fetches, in the order of asking but that the last takes
// the place of one that is forgotten. The slice is good until the session changes.
func (s *Session) Partitions() []TopicPartition { return s.partitions }

// Add has the member fetch a partition, if it does not yet.
func (s *Session) Add(tp TopicPartition) {
	if _, ok := s.places[tp]; ok {
		return
	}
	s.places[tp] = len(s.partitions)
	s.partitions = append(s.partitions, tp)
	s.counted(1)
}

// counted keeps the count of all sessions' partitions.
func (s *Session) counted(n int) {
	if s.of != nil {
		s.of.partitions += n
	}
}

// Forget has the member fetch a partition no more.
func (s *Session) Forget(tp TopicPartition) {
	at, ok := s.places[tp]
	if !ok {
		return
	}
	last := len(s.partitions) - 1
	moved := s.partitions[last]
	s.partitions[at], s.places[moved] = moved, at
	s.partitions = s.partitions[:last]
	delete(s.places, tp)
	s.counted(-1)
}

// Sessions are the share sessions of one core: Kafka's ShareSessionCache. It is bounded:
// a session that does not fit is refused (SHARE_SESSION_LIMIT_REACHED), because one
// that is thrown out would lose its member's records to others.
type Sessions struct {
	limit        int
	byKey        map[SessionKey]*Session
	byConnection map[uint64][]*Session
	partitions   int // of all sessions
}

// NewSessions has room for limit sessions.
func NewSessions(limit int) *Sessions {
	return &Sessions{limit: limit, byKey: map[SessionKey]*Session{}, byConnection: map[uint64][]*Session{}}
}

// Len is how many sessions there are.
func (c *Sessions) Len() int { return len(c.byKey) }

// Partitions is how many partitions all sessions have together.
func (c *Sessions) Partitions() int { return c.partitions }

// Find is the member's session, or nil.
func (c *Sessions) Find(key SessionKey) *Session { return c.byKey[key] }

// Begin makes a session. A session that the member still has is replaced by it: its
// records stay with the member.
func (c *Sessions) Begin(key SessionKey, connection uint64) (*Session, protocol.ErrorCode) {
	c.End(key)
	if len(c.byKey) >= c.limit {
		return nil, protocol.SHARE_SESSION_LIMIT_REACHED
	}
	s := &Session{Key: key, Connection: connection, Epoch: 1, places: map[TopicPartition]int{}, of: c}
	c.byKey[key] = s
	c.byConnection[connection] = append(c.byConnection[connection], s)
	return s, protocol.NONE
}

// Next finds the session of a request that carries epoch. The caller has it go on to
// the next epoch with [Session.Advance].
func (c *Sessions) Next(key SessionKey, epoch int32) (*Session, protocol.ErrorCode) {
	s := c.byKey[key]
	switch {
	case s == nil:
		return nil, protocol.SHARE_SESSION_NOT_FOUND
	case epoch != FinalEpoch && epoch != s.Epoch:
		return nil, protocol.INVALID_SHARE_SESSION_EPOCH
	}
	return s, protocol.NONE
}

// Advance moves to the next epoch, which is never 0 or negative.
func (s *Session) Advance() {
	if s.Epoch == math.MaxInt32 {
		s.Epoch = 0
	}
	s.Epoch++
}

// End ends the member's session and returns it, or nil if there is none.
func (c *Sessions) End(key SessionKey) *Session {
	s := c.byKey[key]
	if s == nil {
		return nil
	}
	delete(c.byKey, key)
	s.counted(-len(s.partitions))
	s.of = nil
	list := c.byConnection[s.Connection]
	at := slices.Index(list, s)
	if list = slices.Delete(list, at, at+1); len(list) == 0 {
		delete(c.byConnection, s.Connection)
	} else {
		c.byConnection[s.Connection] = list
	}
	return s
}

// Closed ends the sessions of a connection that is gone and returns them.
func (c *Sessions) Closed(connection uint64) []*Session {
	ended := slices.Clone(c.byConnection[connection])
	for _, s := range ended {
		c.End(s.Key)
	}
	return ended
}
