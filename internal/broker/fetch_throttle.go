package broker

import "slipstream/protocol"

// throttle accounts for the fetch with its client's quotas. One that has used too
// much is answered with nothing, as in Kafka: no partition, no range of a log, and
// its session does not take notice of what was found.
func (op *fetchOp) throttle(q *quotas) {
	bytes := protocol.FetchFixedBytes
	for i := range op.parts {
		bytes += protocol.FetchPartitionBytes + op.parts[i].at.Len
	}
	op.throttleMillis = q.fetched(op.req, op.clientID, bytes)
	if op.throttleMillis == 0 {
		return
	}
	for i := range op.parts {
		op.parts[i].at.Release()
	}
	if op.session != nil && op.full {
		// One that is just beginning begins with the next fetch.
		op.home.sessions.remove(op.sessionID)
		op.session, op.sessionID = nil, noSession
	}
}
