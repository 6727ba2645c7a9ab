package broker

import (
	"slipstream/internal/metadata"
	"slipstream/internal/quota"
	"slipstream/reactor"
)

// Quotas bound what clients may use: bytes of produces and fetches, time of the
// cores, changes of the cluster's metadata (connections: doorkeeper.go). The
// arithmetic is internal/quota's. A client that has used too much is told so in
// throttle_time_ms, and its connection is muted for as long; a fetch returns
// nothing then, so that a slow consumer holds neither memory nor files.
//
//	handler ---> account (by kind and scope) ---> delay ---> mute, throttle_time_ms
//	                |  ^
//	   a few times a second, by message: used since / used by all cores
//	                v  |
//	             the scope's home core
//
// Departures from Kafka: only clients with a bound are measured, so that others cost
// nothing. Principals are all ANONYMOUS on a PLAINTEXT listener, as in Kafka. The
// time of the cores is what they spend in handlers, inline writes and inline sends;
// what a ring's worker or another core does for a request is not counted.

// quotas is a core's part in it. Shard.quotas is nil while there is no quota of
// clients: that is all that the hot path looks at.
type quotas struct {
	shard  *Shard
	shape  quota.Shape
	limits [quota.Kinds]quota.Limits
	// generation moves on with limits: what connections remember of them is stale.
	generation uint64

	accounts  map[accountKey]*account
	list      []*account  // in no order
	recent    accountList // by when they were used last
	settling  settling
	mutations mutationBuckets // on the controller's core
}

// QuotaSettings are quota.window.*, controller.quota.window.* and
// slipstream.quota.burst.ms.
type QuotaSettings struct{ Clients, Mutations quota.Shape }

// Quotas implements TopicSettings.
func (k kafkaSettings) Quotas() QuotaSettings {
	shape := func(prefix string) quota.Shape {
		return quota.Shape{
			Samples:      int(k.static.Int(prefix + "quota.window.num")),
			WindowMillis: k.static.Int(prefix+"quota.window.size.seconds") * 1000,
		}
	}
	q := QuotaSettings{Clients: shape(""), Mutations: shape("controller.")}
	q.Clients.BurstMillis = k.static.Int("slipstream.quota.burst.ms")
	return q
}

// followQuota takes in a quota that was set or removed.
func (s *Shard) followQuota(r *metadata.ClientQuotaRecord) {
	kind, ok := quota.KindOf(r.QuotaKey)
	if !ok {
		return
	}
	if kind == quota.ConnectionRate {
		s.door.configure()
		return
	}
	if s.quotas == nil {
		s.quotas = newQuotas(s)
	}
	q := s.quotas
	e := quotaEntity(r.Entity)
	if r.Remove {
		q.limits[kind].Remove(e)
	} else {
		q.limits[kind].Set(e, r.Value)
	}
	s.quotaGeneration++
	q.generation = s.quotaGeneration
	for i := range q.limits {
		if q.limits[i].Len() > 0 {
			return
		}
	}
	q.end()
	s.quotas = nil
}

// loadQuotas takes the quotas in that the image has when the broker starts.
func (s *Shard) loadQuotas() {
	s.image.ClientQuotas(func(r *metadata.ClientQuotaRecord, _ bool) {
		if k, ok := quota.KindOf(r.QuotaKey); ok && k != quota.ConnectionRate {
			s.followQuota(r)
		}
	})
	s.door.configure()
}

func newQuotas(s *Shard) *quotas {
	q := &quotas{shard: s, shape: s.broker.settings.Topics.Quotas().Clients, accounts: make(map[accountKey]*account)}
	q.settling.init(q)
	return q
}

// quotaEntity is an entity of the metadata log as a bound's.
func quotaEntity(entity []metadata.EntityData) (e quota.Entity) {
	for i := range entity {
		part, name := quota.Default, ""
		if entity[i].EntityName != nil {
			part, name = quota.Named, *entity[i].EntityName
		}
		switch entity[i].EntityType {
		case metadata.QuotaUser:
			e.User, e.UserName = part, name
		case metadata.QuotaClientID:
			e.Client, e.ClientName = part, name
		}
	}
	return e
}

// client is what a connection remembers of who speaks on it.
type client struct {
	id         string
	generation uint64
	known      bool // it has been looked up
	bounds     [measured]clientBound
	sent       int64 // of the connection's SendNanos, those that are accounted for
}

// measured is how many kinds are measured by rate: produces, fetches, time.
const measured = int(quota.RequestTime) + 1

// clientBound is a bound in force, and what is used of it; without account there is
// none.
type clientBound struct {
	bound   float64
	account *account
}

// client is who speaks on a connection. It is looked up anew when a request has
// another client id than the last, when quotas have changed, and when an account was
// given up meanwhile.
func (q *quotas) client(conn *reactor.Conn, id []byte) *client {
	c := &stateOf(conn).client
	if c.known && c.generation == q.generation && c.id == string(id) && !c.stale() {
		return c
	}
	if !c.known {
		c.known, c.sent = true, conn.SendNanos
	}
	if c.id != string(id) {
		c.id = string(id)
	}
	c.generation = q.generation
	for kind := range c.bounds {
		b := &c.bounds[kind]
		*b = clientBound{}
		if bound, scope, ok := q.limits[kind].Find(anonymous, c.id); ok {
			b.bound, b.account = bound, q.account(accountKey{quota.Kind(kind), scope})
		}
	}
	return c
}

func (c *client) stale() bool {
	for i := range c.bounds {
		if a := c.bounds[i].account; a != nil && a.gone {
			return true
		}
	}
	return false
}

// millis is the time that quotas go by: all cores share one clock.
func (q *quotas) millis() int64 { return q.shard.core.Now / 1e6 }
