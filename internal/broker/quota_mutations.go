package broker

import (
	"slipstream/internal/metadata"
	"slipstream/internal/quota"
	"slipstream/protocol"
)

// Changes of the cluster's metadata (controller_mutation_rate, KIP-599) are counted
// where they are decided: on the controller's core, in partitions created and
// deleted. A client that knows THROTTLING_QUOTA_EXCEEDED is refused what it has no
// tokens for; one that does not is only made to wait, as in Kafka.

// mutation is one request's share of it. It is made on the request's core, used by
// the controller, and read by the request's core again.
type mutation struct {
	clientID    string
	strict      bool
	delayMillis int32
}

// mutating begins one for a call, whose versions from strictSince on know the error.
func (c *call) mutating(strictSince int16) *mutation {
	return &mutation{clientID: string(c.header.ClientID), strict: c.header.Version >= strictSince}
}

// on gives the decisions that decide takes their bound. It runs on the controller's
// core.
func (m *mutation) on(ctl *metadata.Controller, s *Shard, decide func()) {
	if q := s.quotas; q != nil && q.limits[quota.ControllerMutations].Len() > 0 {
		ctl.Admit = func(partitions int) *metadata.Refusal { return q.mutate(m, partitions) }
	}
	decide()
	ctl.Admit = nil
}

// mutationBuckets are the tokens of the scopes that changed something of late.
type mutationBuckets map[quota.Scope]*quota.Bucket

// maxBuckets bounds them. Past it, and with none of them full again, a client that
// has none is not bound: it has a client id that nobody used, with all of its tokens.
const maxBuckets = 10_000

// mutate asks for n partitions' worth of a change.
func (q *quotas) mutate(m *mutation, n int) *metadata.Refusal {
	bound, scope, ok := q.limits[quota.ControllerMutations].Find(anonymous, m.clientID)
	if !ok {
		return nil
	}
	shape, now := q.shard.broker.settings.Topics.Quotas().Mutations, q.millis()
	b := q.mutations[scope]
	if b == nil {
		if len(q.mutations) >= maxBuckets {
			q.forgetFull(shape, now)
		}
		if q.mutations == nil {
			q.mutations = make(mutationBuckets)
		}
		b = new(quota.Bucket)
		if len(q.mutations) < maxBuckets {
			q.mutations[scope] = b
		}
	}
	if !m.strict {
		m.delayMillis = max(m.delayMillis, b.Take(shape, bound, now, float64(n)))
		return nil
	}
	ok, delay := b.TryTake(shape, bound, now, float64(n))
	m.delayMillis = max(m.delayMillis, delay)
	if ok {
		return nil
	}
	return &metadata.Refusal{Code: protocol.THROTTLING_QUOTA_EXCEEDED, Message: "The throttling quota has been exceeded."}
}

// forgetFull forgets the buckets that are as good as new.
func (q *quotas) forgetFull(shape quota.Shape, nowMillis int64) {
	for scope, b := range q.mutations {
		if bound, _, ok := q.limits[quota.ControllerMutations].Find(anonymous, scope.ClientName); !ok || b.Full(shape, bound, nowMillis) {
			delete(q.mutations, scope)
		}
	}
}
