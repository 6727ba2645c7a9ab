package broker

import (
	"hash/fnv"
	"slices"

	"slipstream/internal/share"
	"slipstream/protocol"
	"slipstream/reactor"
)

// A member's share session is with the core that its name is hashed to, wherever its
// connection is: a member that comes back on another connection must find its old
// session, and end it.
//
// group.share.max.share.sessions is the broker's limit: each core may have an equal part
// of it. There are never more than it says. Since names are not hashed evenly, a session
// may be refused when as many are not quite there yet; Kafka's is one count.

// shareSessionsOf is the core that has the session of a member.
func (s *Shard) shareSessionsOf(key share.SessionKey) int {
	h := fnv.New32a()
	h.Write([]byte(key.Group))
	h.Write([]byte{0})
	h.Write([]byte(key.Member))
	return int(h.Sum32() % uint32(sessionCores(len(s.broker.shards), s.shares.settings().MaxSessions)))
}

// sessionCores is how many cores have sessions: no more than there may be sessions, so
// that none of them has to refuse all.
func sessionCores(cores, limit int) int { return max(min(cores, limit), 1) }

// sessionsPerCore is core's part of the limit.
func sessionsPerCore(core, cores, limit int) int {
	cores = sessionCores(cores, limit)
	switch {
	case core >= cores:
		return 0
	case core < limit%cores:
		return limit/cores + 1
	}
	return limit / cores
}

// connectionNumber is a connection's number among those of all cores.
func (s *Shard) connectionNumber(c *reactor.Conn) uint64 {
	return c.ID*uint64(len(s.broker.shards)) + uint64(s.core.ID)
}

// shareSessionRequest is what a ShareFetch or ShareAcknowledge does with its session.
type shareSessionRequest struct {
	key        share.SessionKey
	epoch      int32
	on         *reactor.Conn
	connection uint64
	fetches    bool // it changes what the member fetches
	add        []share.TopicPartition
	forget     []share.TopicPartition
	limit      int // of partitions

	code       protocol.ErrorCode
	partitions []share.TopicPartition // to be fetched; of one that ends: to be released
}

// askSession has a session take a request; done is called on this core.
func (s *Shard) askSession(r *shareSessionRequest, done func()) {
	owner := s.broker.shards[s.shareSessionsOf(r.key)]
	r.connection = s.connectionNumber(r.on)
	if r.fetches && r.epoch == share.InitialEpoch {
		s.shares.opened[r.on] = true
	}
	s.askCore(owner, func(back func()) {
		owner.shares.session(r)
		back()
	}, done)
}

// session does what a request wants with its session.
func (g *sharing) session(r *shareSessionRequest) {
	sessions := g.allSessions()
	var of *share.Session
	switch {
	case !r.fetches && r.epoch == share.InitialEpoch:
		r.code = protocol.INVALID_SHARE_SESSION_EPOCH
	case r.epoch == share.InitialEpoch:
		of, r.code = sessions.Begin(r.key, r.connection)
	default:
		of, r.code = sessions.Next(r.key, r.epoch)
	}
	if r.code != protocol.NONE {
		return
	}
	if r.fetches {
		for _, tp := range r.add {
			of.Add(tp)
		}
		for _, tp := range r.forget {
			of.Forget(tp)
		}
		if len(of.Partitions()) > r.limit {
			g.endSession(r.key)
			r.code = protocol.SHARE_SESSION_NOT_FOUND
			return
		}
	}
	r.partitions = slices.Clone(of.Partitions())
	if r.epoch == share.FinalEpoch {
		sessions.End(r.key)
		return
	}
	if r.epoch != share.InitialEpoch {
		of.Advance()
	}
	// Partitions take turns at being first.
	if n := len(r.partitions); n > 1 {
		at := int(of.Epoch) % n
		r.partitions = append(r.partitions[at:n:n], r.partitions[:at]...)
	}
}

func (g *sharing) allSessions() *share.Sessions {
	if g.sessions == nil {
		g.sessions = share.NewSessions(sessionsPerCore(g.shard.core.ID, len(g.shard.broker.shards), g.settings().MaxSessions))
	}
	return g.sessions
}

// endSession ends a member's session, if it has one: what it has is free.
func (g *sharing) endSession(key share.SessionKey) {
	if of := g.allSessions().End(key); of != nil {
		g.releaseAll(of.Key, of.Partitions(), func() {})
	}
}

// releaseAll takes back what a member has of some partitions.
func (g *sharing) releaseAll(key share.SessionKey, partitions []share.TopicPartition, done func()) {
	s := g.shard
	byOwner := make([][]partitionKey, len(s.broker.shards))
	for _, tp := range partitions {
		k := partitionKey{tp.Topic, tp.Partition}
		owner := s.broker.ownerOf(k)
		byOwner[owner] = append(byOwner[owner], k)
	}
	left := 1
	ended := func() {
		if left--; left == 0 {
			done()
		}
	}
	for i, keys := range byOwner {
		if len(keys) == 0 {
			continue
		}
		left++
		owner := s.broker.shards[i]
		s.askCore(owner, func(back func()) {
			for _, k := range keys {
				if sp := owner.shares.partitions[sharePartitionKey{key.Group, k}]; sp != nil && sp.machine != nil {
					sp.release(key.Member)
				}
			}
			back()
		}, ended)
	}
	ended()
}

// closed ends the sessions that were begun on a connection that is gone.
func (g *sharing) closed(c *reactor.Conn) {
	if !g.opened[c] {
		return
	}
	delete(g.opened, c)
	number := g.shard.connectionNumber(c)
	for _, owner := range g.shard.broker.shards {
		g.shard.tellCore(owner, func() {
			for _, of := range owner.shares.allSessions().Closed(number) {
				owner.shares.releaseAll(of.Key, of.Partitions(), func() {})
			}
		})
	}
}
