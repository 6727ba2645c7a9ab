package reactor

// Request is one frame and the response to it. It belongs to the connection's
// core and is used again, with its Ext, for a later frame once it is finished.
type Request struct {
	Conn *Conn
	// Payload is the frame without its length prefix. It aliases receive memory
	// that the kernel may be told about (a batch can be written from it) and that
	// stays until the request is finished.
	Payload []byte
	// Received is the core's time, in nanoseconds, when the frame was dispatched.
	Received int64
	// Ext is the service's own state. It is kept when the Request is used again,
	// so that the service can use its state again too.
	Ext any
	// Kind is what the service counts the request's times under, from 1 to
	// RequestKinds-1; 0: nothing.
	Kind uint8

	in            *Block // what Payload aliases
	first, last   *segment
	responseBytes int // what its segments cost
	state         requestPhase
	offered       bool // the socket was offered its response
	relays        bool // some of its segments are relayed
	times         times
	next          *Request // younger one of the connection, or free list
}

type requestPhase uint8

const (
	requestFree requestPhase = iota
	requestDispatched
	requestFinished // waits for earlier ones, or for its response to leave
)

// File is what a response can send from: a log segment. All of it may be called
// on any core.
type File interface {
	FD() int
	// StreamFD is a descriptor for long reads that go on one behind the other.
	StreamFD() int
	// Observed is the file's number with the CacheObserver, 0 if it has none.
	Observed() uint32
	// Readable is how far, from its beginning, the file's bytes are final: nothing
	// before that will ever change. What the cold lane reads ahead ends there.
	Readable() int64
	// EndedEarly says that the file was found to be shorter than what was to be sent
	// of it: somebody else has truncated it.
	EndedEarly()
	// Retain adds a reference to one that the caller has; Release gives one back.
	Retain()
	Release()
}

// segment is a stretch of a response: n bytes of a block from a position, or of
// a file from an offset.
type segment struct {
	block *Block
	file  File
	off   int64
	n     int
	// reader is who the file's bytes are for, with the CacheObserver.
	reader uint32
	tail   bool // they are near the end of a log that grows
	tally  *RungBytes
	rung   Rung // what sent, or is to send, some of them last
	last   bool // of its response
	// relayed is the file that a block's bytes are in as well, shift bytes further
	// on; nil if they are in none.
	relayed File
	shift   int64
	next    *segment
}

// cost is what a segment counts against its connection's pending bytes: those of
// a block, and no less than the smallest block has. Files cost no memory here, and
// what is relayed is not kept.
func (s *segment) cost() int {
	if s.block == nil || s.relayed != nil {
		return 0
	}
	return s.n + 1<<minBlockShift
}

// requestState is a connection's requests in the order of their frames.
type requestState struct {
	head, tail *Request
	held       *Request // the one that the next frame waits for
	pending    int
	bytes      int  // of these requests and of response blocks not yet sent
	stalled    bool // the bounds, Hold or the drain keep frames waiting
}

const requestBatch = 64

func (c *Core) takeRequest() *Request {
	if c.requests == nil {
		batch := make([]Request, requestBatch)
		for i := range batch {
			batch[i].next, c.requests = c.requests, &batch[i]
		}
	}
	r := c.requests
	c.requests, r.next = r.next, nil
	return r
}

func (c *Core) putRequest(r *Request) {
	ext := r.Ext
	*r = Request{Ext: ext, next: c.requests}
	c.requests = r
}

func (c *Core) takeSegment() *segment {
	if c.segments == nil {
		batch := make([]segment, requestBatch)
		for i := range batch {
			batch[i].next, c.segments = c.segments, &batch[i]
		}
	}
	s := c.segments
	c.segments, s.next = s.next, nil
	return s
}

// putSegment releases what a segment holds and keeps it for the next.
func (c *Core) putSegment(s *segment) {
	if s.block != nil {
		s.block.Release()
	}
	if s.file != nil {
		s.file.Release()
	}
	if s.relayed != nil {
		s.relayed.Release()
	}
	*s = segment{next: c.segments}
	c.segments = s
}

// dispatch gives a frame to the service. in is a reference that passes to the
// request.
func (c *Conn) dispatch(payload []byte, in *Block) {
	core := c.Core
	r := core.takeRequest()
	r.Conn, r.Payload, r.Received, r.in, r.state = c, payload, core.Now, in, requestDispatched
	core.lap(len(payload))
	r.times.received(c.receive.frameBegan, c.receive.frameWhole)
	r.times.to(StageQueue, core.Clock)
	q := &c.requests
	if q.tail == nil {
		q.head = r
	} else {
		q.tail.next = r
	}
	q.tail = r
	q.pending++
	q.bytes += len(payload) + prefixBytes
	// Held until the service says otherwise: should it finish the request at
	// once, Finish lets go of it.
	q.held = r
	core.Stats.Requests++
	core.Stats.RequestsOpen++
	if !c.send.large {
		core.servedOther = core.Now
	}
	if core.service.Request(r) == Next && q.held == r {
		q.held = nil
	}
}

// mayDispatch reports whether the bounds and the service allow the next frame.
func (c *Conn) mayDispatch() bool {
	q, limits := &c.requests, &c.Core.limits
	if q.held != nil || c.closing || c.linger || c.mute.Armed() || c.Core.drain.phase != drainNone {
		return false
	}
	return !c.overBounds(q, limits)
}

func (c *Conn) overBounds(q *requestState, limits *Limits) bool {
	return q.pending >= limits.MaxPendingRequestsPerConn || q.bytes >= limits.MaxPendingBytesPerConn
}

// AddBlock appends bytes [from, to) of b to the response. One reference to b
// passes to the request.
func (r *Request) AddBlock(b *Block, from, to int) {
	if from < 0 || from > to || to > len(b.mem) {
		panic("reactor: AddBlock outside of its block")
	}
	r.mustBeOpen("added to")
	if from == to {
		b.Release()
		return
	}
	s := r.Conn.Core.takeSegment()
	s.block, s.off, s.n = b, int64(from), to-from
	r.add(s)
	r.responseBytes += s.cost()
}

// Purpose is what a stretch of a file is read for.
type Purpose struct {
	// Reader is who it is for, with the CacheObserver; 0: nobody in particular.
	Reader uint32
	// Tail says that it is near the end of a log that grows: should it not be in the
	// page cache, that counts as a Counters.TailMisses, which cold readers may be
	// slowed down for.
	Tail bool
	// Sent is where its bytes are counted as they leave; nil: with the core's only.
	Sent *RungBytes
}

// AddFile appends n bytes of f from off to the response. One reference to f passes
// to the request. The bytes are read when they are sent: they must not change until
// f is released.
func (r *Request) AddFile(f File, off int64, n int, why Purpose) {
	r.mustBeOpen("added to")
	if n <= 0 {
		f.Release()
		return
	}
	s := r.Conn.Core.takeSegment()
	s.file, s.off, s.n = f, off, n
	s.reader, s.tail, s.tally = why.Reader, why.Tail, why.Sent
	r.add(s)
}

func (r *Request) add(s *segment) {
	if r.last == nil {
		r.first = s
	} else {
		r.last.next = s
	}
	r.last = s
}

func (r *Request) mustBeOpen(what string) {
	if r.state != requestDispatched {
		panic("reactor: a finished Request was " + what)
	}
}

// Finish ends the request: its response is complete and leaves once those to
// all earlier requests of the connection have. The request must not be used
// again; its payload may be overwritten.
func (r *Request) Finish() {
	r.mustBeOpen("finished again")
	r.Conn.Core.Stats.Responses++
	r.times.to(StageLocal, r.Conn.Core.Clock)
	if !r.relays {
		r.end()
		return
	}
	c := r.Conn
	if !r.mayRelay() {
		c.Core.dropRelays(r.first)
		r.end()
		return
	}
	r.end()
	c.relay()
}

// Pass lets the connection's next frame be dispatched although this request,
// which was answered with Hold, is not finished: its order is settled. The frame
// comes after the handler that is running, never inside it.
func (r *Request) Pass() {
	r.mustBeOpen("passed")
	if q := &r.Conn.requests; q.held == r {
		q.held = nil
		r.Conn.unstall()
	}
}

// FinishSilent ends the request without a response (acks=0). What was added to
// it is released.
func (r *Request) FinishSilent() {
	r.mustBeOpen("finished again")
	r.Conn.Core.Stats.Silent++
	r.times.to(StageLocal, r.Conn.Core.Clock)
	r.dropResponse()
	r.end()
}

func (r *Request) dropResponse() {
	for s := r.first; s != nil; {
		next := s.next
		r.Conn.Core.putSegment(s)
		s = next
	}
	r.first, r.last, r.responseBytes = nil, nil, 0
}

func (r *Request) end() {
	c := r.Conn
	q := &c.requests
	c.Core.Stats.RequestsOpen--
	r.state = requestFinished
	c.lastActive = c.Core.Now // waiting for the service was not idleness
	q.bytes += r.responseBytes - len(r.Payload) - prefixBytes
	r.Payload = nil
	if r.in != nil {
		r.in.Release()
		r.in = nil
	}
	if q.held == r {
		q.held = nil
	}
	c.settle()
}

// settle moves the responses whose turn has come to the send queue.
func (c *Conn) settle() {
	core, q := c.Core, &c.requests
	for r := q.head; r != nil && r.state == requestFinished; r = q.head {
		q.head = r.next
		if q.head == nil {
			q.tail = nil
		}
		q.pending--
		switch {
		case r.first == nil:
			core.record(r)
			core.putRequest(r)
		case c.closing:
			q.bytes -= r.responseBytes
			r.dropResponse()
			core.Stats.ResponsesDropped++
			core.putRequest(r)
		default:
			c.send.append(r)
			core.sending.push(c)
		}
	}
	if c.closing {
		if q.pending == 0 {
			core.dead.push(c)
		}
		return
	}
	c.unstall()
	if c.finish {
		core.ready.push(c)
	}
}

// unstall lets waiting frames be dispatched, later in this turn or in the next.
func (c *Conn) unstall() {
	if c.requests.stalled && c.requests.held == nil && !c.mute.Armed() && !c.overBounds(&c.requests, &c.Core.limits) {
		c.requests.stalled = false
		c.Core.ready.push(c)
	}
}

// resume serves the connections that were ready when it was called.
func (c *Core) resume() bool {
	last := c.ready.tail
	if last == nil {
		return false
	}
	for {
		conn := c.ready.pop()
		if !conn.closing {
			conn.process()
			conn.finishIfDone()
		}
		if conn == last {
			return true
		}
	}
}
