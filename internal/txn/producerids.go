package txn

import "slipstream/protocol"

// idRange are producer ids that nobody has been given.
type idRange struct{ next, end int64 }

// again goes on with what had to wait for a producer id, from its beginning: other things have happened since.
// With an error there will be none.
type again func(nowMillis int64, refused protocol.ErrorCode)

// AddProducerIDs gives the coordinator count fresh producer ids from first on.
// Requests that wait for one go on.
func (c *Coordinator) AddProducerIDs(nowMillis, first int64, count int) {
	c.ids = append(c.ids, idRange{first, first + int64(count)})
	waiting := c.waiting
	c.waiting, c.asked = nil, 0
	for i, w := range waiting {
		if len(c.ids) == 0 {
			// Already asked for, with the others: those are on their way.
			c.waiting = append(c.waiting, waiting[i:]...)
			c.asked = len(c.waiting)
			return
		}
		w(nowMillis, protocol.NONE)
	}
}

// RefuseProducerIDs says that there are none: requests that wait are answered with code.
func (c *Coordinator) RefuseProducerIDs(nowMillis int64, code protocol.ErrorCode) {
	waiting := c.waiting
	c.waiting, c.asked = nil, 0
	for _, w := range waiting {
		w(nowMillis, code)
	}
}

// takeID takes a producer id from the store. If there is none, then is called when there is,
// or with the reason why there will be none.
func (c *Coordinator) takeID(then again) (int64, bool) {
	if len(c.ids) == 0 {
		c.waiting = append(c.waiting, then)
		return 0, false
	}
	r := &c.ids[0]
	id := r.next
	if r.next++; r.next == r.end {
		c.ids = c.ids[1:]
	}
	return id, true
}

// unlessRefused makes a request into one that goes on when there is a producer id.
func (c *Coordinator) unlessRefused(tag Tag, do func(nowMillis int64)) again {
	return func(nowMillis int64, refused protocol.ErrorCode) {
		if refused != protocol.NONE {
			c.refuse(tag, refused)
			return
		}
		do(nowMillis)
	}
}

// giveBack puts producer ids into the store again that a failed record of t would have been the first to name.
func (c *Coordinator) giveBack(t *transaction) {
	id := t.to.nextProducerID
	switch {
	case t.producerEpoch == -1:
		id = t.producerID
	case t.to.producerID != t.producerID:
		id = t.to.producerID
	}
	if id != -1 {
		c.ids = append(c.ids, idRange{id, id + 1})
	}
}
