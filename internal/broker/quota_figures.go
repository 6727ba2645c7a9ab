package broker

import "slipstream/internal/quota"

// quotasShown is the most scopes of quotas that a core tells of in a snapshot.
const quotasShown = 1000

// quotasPerSlice is how many of them a turn copies.
const quotasPerSlice = 64

// QuotaFigures is what a core knows of one scope of a quota.
type QuotaFigures struct {
	Kind         quota.Kind
	User, Client string
	// Rate is what is used a second, on all cores; known on the scope's home core
	// only, where Home is set.
	Rate float64
	Home bool
	// Throttled is how often clients were, on this core, and for how long together;
	// Recent and RecentMillis are the rates of both, a second.
	Throttled, ThrottledMillis uint64
	Recent, RecentMillis       float64
}

// ThrottledFigures is how often clients of a core were told to wait, and for how long
// together.
type ThrottledFigures struct{ Count, Millis uint64 }

// copyQuotas goes through the core's accounts, from the end of their list as
// copyPartitions does.
func (s *CoreSnapshot) copyQuotas() {
	q := s.shard.quotas
	if q == nil || cap(s.Quotas) == 0 {
		s.step = snapshotDone
		return
	}
	s.index = min(s.index, len(q.list))
	now := q.millis()
	for n := 0; s.index > 0 && len(s.Quotas) < cap(s.Quotas); n++ {
		if n == quotasPerSlice {
			return
		}
		s.index--
		a := q.list[s.index]
		f := QuotaFigures{
			Kind: a.key.kind, User: a.key.scope.UserName, Client: a.key.scope.ClientName, Home: a.atHome,
			Throttled: a.throttled.Count, ThrottledMillis: a.throttled.Millis,
		}
		if a.atHome {
			f.Rate = a.Rate(q.shape, now)
		}
		if a.throttled.Count > 0 {
			f.Recent, _ = a.throttled.recent[0].Rate(q.shape, now)
			f.RecentMillis, _ = a.throttled.recent[1].Rate(q.shape, now)
		}
		s.Quotas = append(s.Quotas, f)
	}
	s.step = snapshotDone
}
