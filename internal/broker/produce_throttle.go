package broker

// throttle accounts for the request with its client's quotas, once.
func (op *produceOp) throttle(q *quotas) {
	op.accounted = true
	work := int64(0)
	for i := range op.parts {
		work += op.parts[i].append.WriteNanos
	}
	op.throttleMillis = q.produced(op.req, op.clientID, len(op.req.Payload), work, op.decoded.Acks == 0)
}
