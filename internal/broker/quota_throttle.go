package broker

import (
	"slipstream/internal/quota"
	"slipstream/reactor"
)

// The places where quotas are enforced. Each says for how long, in milliseconds, the
// client is throttled: it is told in its response, and its connection is muted for
// as long from then on.

// charge adds to what a scope has used.
func (q *quotas) charge(b *clientBound, value float64) {
	a, now := b.account, q.millis()
	a.bound = b.bound
	a.Record(b.shape(q), now, b.bound, value)
	q.used(a, now)
	q.settling.mark(a)
}

// shape is how the bound's use is measured: for time there is no pace, as a request's
// time is known too late to keep one.
func (b *clientBound) shape(q *quotas) quota.Shape { return q.shapeOf(b.account.key.kind) }

func (q *quotas) shapeOf(kind quota.Kind) quota.Shape {
	shape := q.shape
	if kind == quota.RequestTime {
		shape.BurstMillis = -1
	}
	return shape
}

// produced accounts for a produce of so many bytes, when its response is made.
func (q *quotas) produced(r *reactor.Request, clientID []byte, bytes int, workNanos int64, silent bool) (throttleMillis int32) {
	conn := r.Conn
	c := q.client(conn, clientID)
	delay, from := int32(0), quota.ProduceBytes
	if b := &c.bounds[quota.ProduceBytes]; b.account != nil {
		q.charge(b, float64(bytes))
		delay = b.account.Delay(b.shape(q), q.millis(), b.bound)
	}
	q.worked(c, workNanos)
	if !silent {
		if d := q.requestDelay(c); d > delay {
			delay, from = d, quota.RequestTime
		}
	}
	q.throttle(conn, c, from, delay)
	return delay
}

// fetched accounts for a fetch whose response would have so many bytes. If it is
// throttled they are not used: the response must be empty.
func (q *quotas) fetched(r *reactor.Request, clientID []byte, bytes int) (throttleMillis int32) {
	c := q.client(r.Conn, clientID)
	delay, from := q.fetchDelay(&c.bounds[quota.FetchBytes], bytes), quota.FetchBytes
	if d := q.requestDelay(c); d > delay {
		if b := &c.bounds[quota.FetchBytes]; delay == 0 && b.account != nil {
			q.charge(b, -float64(bytes))
		}
		delay, from = d, quota.RequestTime
	}
	q.throttle(r.Conn, c, from, delay)
	return delay
}

// fetchDelay accounts for a fetch unless it has to wait: for what is owed already, or
// because the rate over the windows would be too high with it.
func (q *quotas) fetchDelay(b *clientBound, bytes int) int32 {
	if b.account == nil {
		return 0
	}
	now := q.millis()
	if wait := b.account.Line(b.shape(q), now, b.bound, float64(bytes)); wait > 0 {
		return wait
	}
	q.charge(b, float64(bytes))
	delay := b.account.Excess(b.shape(q), now, b.bound)
	if delay > 0 {
		q.charge(b, -float64(bytes))
	}
	return delay
}

// fetchMost is the most bytes that a fetch of the client may return.
func (q *quotas) fetchMost(conn *reactor.Conn, clientID []byte, atMost int32) int32 {
	b := &q.client(conn, clientID).bounds[quota.FetchBytes]
	if b.account == nil {
		return atMost
	}
	return int32(min(float64(atMost), b.account.Most(b.shape(q), q.millis(), b.bound)))
}

// answered is for every other request: it is throttled for the time that the
// client's requests take.
func (q *quotas) answered(c *call) (throttleMillis int32) {
	who := q.client(c.req.Conn, c.header.ClientID)
	delay := q.requestDelay(who)
	from := quota.RequestTime
	if c.throttleMillis > delay {
		delay, from = c.throttleMillis, quota.ControllerMutations
	}
	q.throttle(c.req.Conn, who, from, delay)
	return delay
}

// requestDelay is the delay for the time that a client's requests took so far.
func (q *quotas) requestDelay(c *client) int32 {
	b := &c.bounds[quota.RequestTime]
	if b.account == nil {
		return 0
	}
	return min(b.account.Excess(q.shape, q.millis(), b.bound), quota.MaxRequestDelay(q.shape))
}

// throttle mutes a connection.
func (q *quotas) throttle(conn *reactor.Conn, c *client, from quota.Kind, delayMillis int32) {
	if delayMillis <= 0 {
		return
	}
	conn.Mute(int64(delayMillis) * 1e6)
	sum := &q.shard.throttled[from]
	sum.Count++
	sum.Millis += uint64(delayMillis)
	if int(from) < measured {
		if a := c.bounds[from].account; a != nil {
			a.throttled.add(q.shape, q.millis(), delayMillis)
		}
	}
}

// percent is nanoseconds of a core as a share of a second of one.
func percent(nanos int64) float64 { return float64(nanos) * 100 / 1e9 }

// worked accounts for time that a core spent for a client.
func (q *quotas) worked(c *client, nanos int64) {
	if b := &c.bounds[quota.RequestTime]; b.account != nil && nanos > 0 {
		q.charge(b, percent(nanos))
	}
}

// times says whether handlers are to be timed: there is a bound for that.
func (q *quotas) times() bool { return q.limits[quota.RequestTime].Len() > 0 }

// serve serves a request, and accounts for the time that it takes the core, with that
// of the sends that the connection's earlier responses took.
func (q *quotas) serve(r *reactor.Request) reactor.Disposition {
	s, conn := q.shard, r.Conn
	begun := s.core.ReadClock()
	d := s.serve(r)
	spent := s.core.ReadClock() - begun
	if state, ok := conn.User.(*connState); ok && state.client.known && state.client.generation == q.generation {
		c := &state.client
		spent += conn.SendNanos - c.sent
		c.sent = conn.SendNanos
		q.worked(c, spent)
	}
	return d
}
