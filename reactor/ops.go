package reactor

import "slipstream/ring"

// Completion is told how a ring request ended, on the core: res is the result or
// minus an errno, flags the CQE's. It is called once, or, for a multishot
// request, again while flags has IORING_CQE_F_MORE.
type Completion interface {
	Complete(tag uint64, res int32, flags uint32)
}

// The user data of a ring request names a slot of the op table and the slot's
// generation, so that a completion that comes when it should not is recognized
// and never reaches another request's handler:
//
//	63           32 31            0
//	+--------------+---------------+
//	| generation   | slot          |   generation 1 and up
//	+--------------+---------------+
//	| 0            | 0             |   nobody waits for it (a cancel)
//	| 0            | 1             |   another core's MSG_RING
//	| 0            | 2^30 + peer   |   our MSG_RING to a peer
//	+--------------+---------------+
const (
	userDataIgnored = 0
	userDataRung    = 1
	userDataRinging = 1 << 30
	ringingMask     = userDataRinging - 1
)

// op is one slot.
type op struct {
	handler    Completion
	tag        uint64
	generation uint32
	nextFree   int32
}

const (
	opChunk = 1024
	noOp    = -1
)

// opTable grows by chunks to its limit and never shrinks.
type opTable struct {
	chunks   []*[opChunk]op
	made     int
	limit    int
	free     int32
	inFlight int
}

func newOpTable(limit int) opTable { return opTable{limit: limit, free: noOp} }

func (t *opTable) at(slot uint32) *op { return &t.chunks[slot/opChunk][slot%opChunk] }

// take fills a free slot and returns its user data; ok is false at the limit.
func (t *opTable) take(h Completion, tag uint64) (userData uint64, ok bool) {
	slot := t.free
	if slot == noOp {
		if t.made == t.limit {
			return 0, false
		}
		if t.made == len(t.chunks)*opChunk {
			t.chunks = append(t.chunks, new([opChunk]op))
		}
		slot = int32(t.made)
		t.made++
		t.at(uint32(slot)).generation = 1
	} else {
		t.free = t.at(uint32(slot)).nextFree
	}
	o := t.at(uint32(slot))
	o.handler, o.tag = h, tag
	t.inFlight++
	return uint64(o.generation)<<32 | uint64(uint32(slot)), true
}

// find returns the slot that userData names, or nil if it is not in use.
func (t *opTable) find(userData uint64) *op {
	slot, generation := uint32(userData), uint32(userData>>32)
	if generation == 0 || int(slot) >= t.made {
		return nil
	}
	o := t.at(slot)
	if o.generation != generation || o.handler == nil {
		return nil
	}
	return o
}

// put frees a slot; its next user has another generation.
func (t *opTable) put(userData uint64, o *op) {
	o.handler, o.tag = nil, 0
	o.generation++
	if o.generation == 0 {
		o.generation = 1
	}
	o.nextFree = t.free
	t.free = int32(uint32(userData))
	t.inFlight--
}

// Submit returns a submission entry to fill with a Prep method; h is called with
// tag when the request completes. The entry is submitted with the turn's one
// enter. Every address in it must be outside the Go heap and stay valid until
// the completion. It returns nil when Limits.OpSlots requests are in flight,
// which the caller answers by waiting for one of its own.
func (c *Core) Submit(h Completion, tag uint64) *ring.SQE {
	sqe, _ := c.submit(h, tag)
	return sqe
}

// submit is Submit, and returns the user data to cancel the request by.
func (c *Core) submit(h Completion, tag uint64) (*ring.SQE, uint64) {
	userData, ok := c.ops.take(h, tag)
	if !ok {
		c.Stats.OpSlotsExhausted++
		return nil, 0
	}
	sqe := c.entry()
	sqe.UserData = userData
	return sqe, userData
}
