package reactor

// Where a request's time went. Its time is cut into stretches that touch: each
// ends at a reading of the clock and is put to one stage, so that the stages add
// up to the total.
//
//	first byte    whole    handed to    handler,       next for     last byte
//	  known        |      the service   append  done   the socket    taken
//	    |          |           |           |    |          |           |
//	    +-receive--+---queue---+---local---+-remote--------+--send-----+
//	                                            +-response-+
//	                                              queue
//
// The clock is not read for each request but where something was done that takes
// longer than reading it: at the start of a turn, after a write or a send on the
// core, after so many bytes of requests (see lapBytes). What arrived while the
// core was in a turn is known with the next.

// Stage is what a request spends its time on.
type Stage uint8

// The stages. A request may come back to one: a fetch that is woken is planned
// again.
const (
	// StageReceive is from its first byte known to its last: a client that sends
	// slowly, a frame that waits for memory to be received into.
	StageReceive Stage = iota
	// StageQueue is waiting for this broker: for earlier requests of the
	// connection, for a helper, on the way to another core and back.
	StageQueue
	// StageLocal is work on a core: checking, appending, finding what to send.
	StageLocal
	// StageRead is waiting for the disk to bring what is to be sent.
	StageRead
	// StageRemote is waiting for something to happen: a long poll for an append,
	// an append for its fsync, a change of metadata to be committed.
	StageRemote
	// StageResponseQueue is waiting for earlier responses of the connection.
	StageResponseQueue
	// StageResponseSend is from when the response is next for its socket until its
	// last byte is taken: a client that reads slowly.
	StageResponseSend
	// Stages is their number.
	Stages
)

// String is the stage's name in metrics.
func (s Stage) String() string {
	return [...]string{"receive", "queue", "local", "read", "remote", "response_queue", "response_send", "?"}[min(s, Stages)]
}

// RequestKinds is one more than the highest Request.Kind.
const RequestKinds = 129

// RequestTimes are the times of one kind of request on one core.
type RequestTimes struct {
	Stages [Stages]Histogram
	// Received is all of it but StageReceive: what Kafka calls the total.
	Received Histogram
	// Total is all of it.
	Total Histogram
}

// times is the account of one request.
type times struct {
	began int64 // its first byte was known
	mark  int64 // up to here is accounted for
	spent [Stages]int64
}

func (t *times) to(s Stage, until int64) {
	if until > t.mark {
		t.spent[s] += until - t.mark
		t.mark = until
	}
}

// Spent says what the request's time was spent on, from where the last call left
// off until a time of some core's Clock: they are one clock. What is before that
// was said already, and counts no second time.
func (r *Request) Spent(s Stage, until int64) { r.times.to(s, until) }

// lapBytes of requests, each with lapPerRequest added, are handed to the service
// before the clock is read again. The checks of as many take about two
// microseconds; a reading takes 28 ns.
const (
	lapBytes      = 16 << 10
	lapPerRequest = 2 << 10
)

// lap reads the clock if the requests since the last reading may have taken
// longer than that.
func (c *Core) lap(payload int) {
	if c.lapped += payload + lapPerRequest; c.lapped > lapBytes {
		c.ReadClock()
	}
}

// ReadClock reads the clock into Clock and returns it: after what took long on
// the core, so that it is put to the request that it was done for.
func (c *Core) ReadClock() int64 {
	c.Clock, c.lapped = c.Kernel.Monotonic(), 0
	return c.Clock
}

// received starts the account of a frame that came whole.
func (t *times) received(began, whole int64) {
	t.began, t.mark = began, began
	t.to(StageReceive, whole)
}

// record counts a request whose last byte has left, or that had no answer.
func (c *Core) record(r *Request) {
	if r.Kind == 0 {
		return
	}
	h := c.Latency[r.Kind]
	if h == nil {
		h = new(RequestTimes) // once for each kind
		c.Latency[r.Kind] = h
	}
	t := &r.times
	for s := range t.spent {
		h.Stages[s].Observe(t.spent[s])
	}
	total := t.mark - t.began
	h.Received.Observe(total - t.spent[StageReceive])
	h.Total.Observe(total)
}

// offer notes that the oldest response of the connection is the socket's next, and
// has its bytes if it had to wait for the disk to bring them.
func (c *Conn) offer() {
	r := c.send.head
	if r == nil {
		return
	}
	if !r.offered {
		r.offered = true
		r.times.to(StageResponseQueue, c.Core.Clock)
	}
	if c.send.onDisk {
		c.send.onDisk = false
		r.times.to(StageRead, c.Core.Clock)
	}
}

// awaitDisk notes that the response that is the socket's next waits for the disk,
// until the connection is next offered to the socket.
func (c *Conn) awaitDisk() {
	c.send.onDisk = true
	if r := c.send.head; r != nil {
		r.times.to(StageResponseSend, c.Core.Clock)
	}
}

// responseLeft takes the oldest response of the connection off: its last segment
// was sent, or dropped.
func (c *Conn) responseLeft(sent bool) {
	s := &c.send
	r := s.head
	s.head = r.next
	if s.head == nil {
		s.tail = nil
	}
	if sent {
		if !r.offered { // it left with the one before it
			r.times.to(StageResponseQueue, s.since)
		}
		r.times.to(StageResponseSend, c.Core.Clock)
		c.Core.record(r)
	} else {
		c.Core.Stats.ResponsesDropped++
	}
	c.Core.putRequest(r)
}
