package share

import "slipstream/protocol"

// AcknowledgeType is what a member says of a record that it has.
type AcknowledgeType int8

// The types, by Kafka's numbers.
const (
	Gap     AcknowledgeType = 0 // there is no record at that offset
	Accept  AcknowledgeType = 1
	Release AcknowledgeType = 2 // let somebody have it again
	Reject  AcknowledgeType = 3 // let nobody have it again
	Renew   AcknowledgeType = 4 // let me have it for longer
)

// AcknowledgementBatch is what a member says of the records from First to Last: one
// type for all of them, or one for each.
type AcknowledgementBatch struct {
	First, Last int64
	Types       []int8
}

// Valid says whether a request's acknowledgements of one partition are well-formed:
// in order, with as many types as there must be, of those that there are. Renewals are
// refused unless they are announced.
func Valid(batches []AcknowledgementBatch, renewals bool) bool {
	end := int64(-1)
	for _, b := range batches {
		n := int64(len(b.Types))
		if b.First > b.Last || b.First <= end || n == 0 || n > 1 && n != b.Last-b.First+1 {
			return false
		}
		end = b.Last
		for _, t := range b.Types {
			if t < int8(Gap) || t > int8(Renew) || t == int8(Renew) && !renewals {
				return false
			}
		}
	}
	return true
}

// after is the state that a type leads to.
func (t AcknowledgeType) after(count, limit int16) RecordState {
	switch {
	case t == Accept:
		return Acknowledged
	case t == Release && count < limit:
		return Available
	}
	return Archived
}

// Acknowledge takes what a member says of records that it has, all or, if any of it
// does not hold, nothing. The answer comes with Answers, under the token, once it is
// written; or is here, if it is an error or nothing needs to be written. Records before
// the window are passed over: they are done with. (Locks that a refused request renews
// stay renewed.)
func (p *Partition) Acknowledge(nowMillis int64, token uint64, member string, batches []AcknowledgementBatch) (code protocol.ErrorCode, answered bool) {
	p.advanceClock(nowMillis)
	p.renewalRefused = false
	if p.fenced != 0 {
		return p.fenced, true
	}
	waits := false
	for i, b := range batches {
		moved, code := p.acknowledge(member, b)
		waits = waits || moved
		if code != protocol.NONE {
			for _, done := range batches[:i+1] {
				p.takeBack(done)
			}
			return code, true
		}
	}
	for _, b := range batches {
		p.each(b.First, b.Last, func(r *run) { // from here on it is the next write's
			if r.write == fresh {
				r.write = 0
			}
		})
		p.join(b.First, b.Last)
	}
	if waits {
		p.out.queued = append(p.out.queued, token)
	}
	return protocol.NONE, !waits
}

// RenewalRefused says whether the latest Acknowledge was refused because it renews a
// lock and the limits forbid that; Kafka has the same code for it as for records that
// the member does not have.
func (p *Partition) RenewalRefused() bool { return p.renewalRefused }

// fresh marks what the request that is being looked at has moved.
const fresh = ^uint64(0)

// acknowledge does one batch. moved: there is something to be written.
func (p *Partition) acknowledge(member string, b AcknowledgementBatch) (moved bool, _ protocol.ErrorCode) {
	if b.Last < p.start {
		return false, protocol.NONE
	}
	if b.Last >= p.end {
		return false, protocol.INVALID_REQUEST
	}
	theirs := true
	p.each(b.First, b.Last, func(r *run) {
		theirs = theirs && r.state == Acquired && !r.moving && r.member == member
	})
	if !theirs {
		return false, protocol.INVALID_RECORD_STATE
	}
	at := max(b.First, p.start)
	for at <= b.Last {
		t, last := AcknowledgeType(b.Types[0]), b.Last
		if len(b.Types) > 1 {
			t, last = sameTypes(b, at)
		}
		if t == Renew && p.limits.NoRenewals {
			p.renewalRefused = true
			return moved, protocol.INVALID_RECORD_STATE
		}
		p.each(at, last, func(r *run) {
			if t == Renew {
				r.deadline = p.now + int64(p.limits.LockMillis)
				p.locked(r.deadline)
				return
			}
			r.moving, r.next, r.write, r.unsaved = true, t.after(r.count, p.limits.DeliveryCountLimit), fresh, false
			moved = true
		})
		at = last + 1
	}
	return moved, protocol.NONE
}

// sameTypes is the type of the record at offset and the last one in a row with the same.
func sameTypes(b AcknowledgementBatch, at int64) (t AcknowledgeType, last int64) {
	i := at - b.First
	for last = at; last < b.Last && b.Types[last+1-b.First] == b.Types[i]; last++ {
	}
	return AcknowledgeType(b.Types[i]), last
}

// takeBack undoes what the request that is being looked at has moved.
func (p *Partition) takeBack(b AcknowledgementBatch) {
	p.each(b.First, b.Last, func(r *run) {
		if r.moving && r.write == fresh {
			r.moving, r.next, r.write = false, 0, 0
		}
	})
	p.join(b.First, b.Last)
}
