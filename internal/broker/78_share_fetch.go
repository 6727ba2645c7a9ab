package broker

import (
	"slipstream/internal/share"
	"slipstream/protocol"
	"slipstream/reactor"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ShareFetch (78), versions 1-2 (KIP-932, KIP-1206, KIP-1222).
//
// Departures from Kafka: it is answered as soon as anything was acquired, whatever
// min.bytes says; a limit of bytes is shared out among partitions in turn, not evenly;
// the batch size is not looked at: acquired records that follow one another and were
// delivered as often are one batch. Records are not held back from members because
// others have failed at them before.
//
// Like Fetch's, the response is a header in the arena and ranges of log files.

func (s *Shard) serveShareFetch(c *call) {
	req := c.body.(*kmsg.ShareFetchRequest)
	op := s.newShareOp(c, req.GroupID, req.MemberID)
	op.then = (*shareFetchOp).respondFetch
	op.maxWaitMillis, op.maxRecords, op.exact = req.MaxWaitMillis, int64(req.MaxRecords), req.ShareAcquireMode == 1
	op.maxBytes = int(min(req.MaxBytes, s.broker.fetchMaxBytes))
	if op.code, op.message = s.checkShareFetch(req); op.code != protocol.NONE {
		op.then(op)
		return
	}
	r := &shareSessionRequest{key: op.member, epoch: req.ShareSessionEpoch, on: c.req.Conn, fetches: true, limit: partitionsPerRequest + s.image.PartitionCount()}
	if r.epoch != share.FinalEpoch {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				r.add = append(r.add, share.TopicPartition{Topic: req.Topics[i].TopicID, Partition: req.Topics[i].Partitions[j].Partition})
			}
		}
		for _, t := range req.ForgottenTopicsData {
			for _, p := range t.Partitions {
				r.forget = append(r.forget, share.TopicPartition{Topic: t.TopicID, Partition: p})
			}
		}
	}
	s.askSession(r, func() {
		if op.code = r.code; op.code != protocol.NONE {
			op.then(op)
			return
		}
		op.every = r.epoch == share.InitialEpoch
		fetches := r.epoch != share.FinalEpoch && !req.IsRenewAck && op.maxRecords > 0 && op.maxBytes > 0
		op.fetchAll(req, r.partitions, fetches)
		op.assign()
		if r.epoch == share.FinalEpoch {
			op.acks++ // until what the member has is given back
		}
		op.start()
		if r.epoch == share.FinalEpoch {
			s.shares.releaseAll(op.member, r.partitions, op.acknowledged)
		}
	})
}

// checkShareFetch refuses what no ShareFetch may be.
func (s *Shard) checkShareFetch(req *kmsg.ShareFetchRequest) (protocol.ErrorCode, string) {
	switch {
	case !s.shareGroupsEnabled():
		return protocol.UNSUPPORTED_VERSION, ""
	case req.GroupID == nil || req.MemberID == nil || !share.ValidMemberID(*req.MemberID):
		return protocol.INVALID_REQUEST, ""
	case req.ShareSessionEpoch == share.InitialEpoch && acknowledgesAny(req):
		return protocol.INVALID_REQUEST, ""
	case req.IsRenewAck && (req.MaxWaitMillis != 0 || req.MinBytes != 0 || req.MaxBytes != 0 || req.MaxRecords != 0):
		return protocol.INVALID_REQUEST, ""
	}
	return protocol.NONE, ""
}

func acknowledgesAny(req *kmsg.ShareFetchRequest) bool {
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			if len(req.Topics[i].Partitions[j].AcknowledgementBatches) > 0 {
				return true
			}
		}
	}
	return false
}

// newShareOp is an op for a call.
func (s *Shard) newShareOp(c *call, groupID, member *string) *shareFetchOp {
	op := &shareFetchOp{home: s, c: c, version: c.header.Version}
	if groupID != nil && member != nil {
		op.member = share.SessionKey{Group: *groupID, Member: *member}
	}
	return op
}

// fetchAll makes a part of each partition of the session, and of what is acknowledged.
func (op *shareFetchOp) fetchAll(req *kmsg.ShareFetchRequest, partitions []share.TopicPartition, fetches bool) {
	at := make(map[share.TopicPartition]int, len(partitions))
	if fetches {
		for _, tp := range partitions {
			at[tp] = len(op.parts)
			op.addPart(tp).fetched = true
		}
	}
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[j]
			if len(p.AcknowledgementBatches) == 0 {
				continue
			}
			tp := share.TopicPartition{Topic: req.Topics[i].TopicID, Partition: p.Partition}
			k, ok := at[tp]
			if !ok {
				k = len(op.parts)
				at[tp] = k
				op.addPart(tp)
			}
			batches := make([]share.AcknowledgementBatch, len(p.AcknowledgementBatches))
			for n, b := range p.AcknowledgementBatches {
				batches[n] = share.AcknowledgementBatch{First: b.FirstOffset, Last: b.LastOffset, Types: b.AcknowledgeTypes}
			}
			op.parts[k].acknowledgeBy(batches, req.IsRenewAck)
		}
	}
}

// addPart adds a part for a partition.
func (op *shareFetchOp) addPart(tp share.TopicPartition) *sharePart {
	op.parts = append(op.parts, sharePart{key: partitionKey{tp.Topic, tp.Partition}, leaderEpoch: -1})
	p := &op.parts[len(op.parts)-1]
	var code protocol.ErrorCode
	if p.topic, code = op.home.findTopic(nil, tp.Topic, true); code == protocol.NONE && (tp.Partition < 0 || int(tp.Partition) >= p.topic.partitions) {
		code = protocol.UNKNOWN_TOPIC_OR_PARTITION
	}
	p.code = code
	return p
}

// acknowledgeBy notes what the request says of a part's records.
func (p *sharePart) acknowledgeBy(batches []share.AcknowledgementBatch, renewals bool) {
	p.acked, p.batches = true, batches
	switch {
	case p.code != protocol.NONE:
		p.ackCode = p.code
	case !share.Valid(batches, renewals):
		p.ackCode, p.malformed = protocol.INVALID_REQUEST, true
	}
}

// respondFetch sends the answer to a ShareFetch.
func (op *shareFetchOp) respondFetch() {
	s, r := op.home, op.c.req
	bytes, topics := op.choose()
	block := s.core.Arena.Alloc(bytes)
	if block == nil {
		s.shares.unanswered.push(op)
		return
	}
	op.c.done = true
	e := protocol.ShareFetchEncoder{Version: op.version}
	b := e.Begin(block.Bytes()[:0], op.c.header.CorrelationID, op.code, op.message, op.lockMillis(), topics)
	from, outside := 0, 0
	var result protocol.ShareFetchResult
	for i := 0; i < len(op.parts); {
		end, count := op.topicEnd(i)
		if count > 0 {
			b = e.Topic(b, op.parts[i].key.topic, count)
		}
		for ; i < end; i++ {
			p := &op.parts[i]
			if !op.tells(p) {
				continue
			}
			op.result(p, &result)
			b = e.Partition(b, &result)
			if n := p.at.Len; n > 0 {
				block.Retain()
				r.AddBlock(block, from, len(b))
				from = len(b)
				outside += n
				p.send(r)
			}
			b = e.EndPartition(b, &result)
		}
		if count > 0 {
			b = e.EndTopic(b)
		}
	}
	b = e.End(b, 0, outside)
	r.AddBlock(block, from, len(b))
	if op.c.late {
		r.Spent(reactor.StageRemote, s.core.Clock)
	}
	r.Spent(reactor.StageLocal, s.core.ReadClock())
	r.Finish()
}

// lockMillis is how long what was acquired is locked; 0 with an error.
func (op *shareFetchOp) lockMillis() int32 {
	if op.code != protocol.NONE {
		return 0
	}
	return op.home.shares.limits(op.member.Group).LockMillis
}

// send adds a part's range of the log to the response.
func (p *sharePart) send(r *reactor.Request) {
	c := &p.topic.counters
	c.BytesOut += uint64(p.at.Len)
	p.visit.op.home.counters.BytesOut += uint64(p.at.Len)
	r.AddFile(p.at.File, p.at.Pos, p.at.Len, reactor.Purpose{Tail: p.behind <= tailBytes, Sent: &c.Sent})
	p.at.File = nil
}

// tells says whether a part is in the response.
func (op *shareFetchOp) tells(p *sharePart) bool {
	return op.every || p.acked || p.code != protocol.NONE || len(p.got) > 0
}

// choose is the room that the response's header needs and how many topics it has.
func (op *shareFetchOp) choose() (bytes, topics int) {
	bytes = protocol.ShareFetchFixedBytes + len(op.message)
	for i := 0; i < len(op.parts); {
		end, count := op.topicEnd(i)
		if count > 0 {
			topics++
			bytes += protocol.ShareFetchTopicBytes
		}
		for ; i < end; i++ {
			if p := &op.parts[i]; op.tells(p) {
				bytes += protocol.ShareFetchPartitionBytes + len(p.ackText()) + protocol.ShareAcquiredBytes*len(p.got)
			}
		}
	}
	return bytes, topics
}

// group puts the parts of a topic behind the first of them, unless they are there.
func (op *shareFetchOp) group() {
	var order []protocol.UUID
	byTopic := make(map[protocol.UUID][]sharePart)
	for i := range op.parts {
		id := op.parts[i].key.topic
		if _, ok := byTopic[id]; !ok {
			order = append(order, id)
		}
		byTopic[id] = append(byTopic[id], op.parts[i])
	}
	at := 0
	for _, id := range order {
		at += copy(op.parts[at:], byTopic[id])
	}
}

// topicEnd finds where the topic of parts[first] ends and how many of its parts are told.
func (op *shareFetchOp) topicEnd(first int) (end, count int) {
	for end = first; end < len(op.parts) && op.parts[end].key.topic == op.parts[first].key.topic; end++ {
		if op.tells(&op.parts[end]) {
			count++
		}
	}
	return end, count
}

func (op *shareFetchOp) result(p *sharePart, r *protocol.ShareFetchResult) {
	*r = protocol.ShareFetchResult{Index: p.key.partition, Code: p.code, AcknowledgeCode: p.ackCode, RecordsBytes: p.at.Len, Acquired: r.Acquired[:0]}
	if !p.fetched {
		r.Code = protocol.NONE
	}
	r.AcknowledgeMessage = p.ackText()
	for _, a := range p.got {
		r.Acquired = append(r.Acquired, protocol.ShareAcquired(a))
	}
	if p.code == protocol.NOT_LEADER_OR_FOLLOWER || p.ackCode == protocol.NOT_LEADER_OR_FOLLOWER {
		r.CurrentLeader = protocol.Leader{ID: op.home.broker.nodeID, Epoch: p.leaderEpoch, Known: true}
	}
}

// ackText says more of why a part's acknowledgements were refused by their
// share-partition, in Kafka's words.
func (p *sharePart) ackText() string {
	switch {
	case p.noRenewal:
		return "Renewing acquisition locks is not enabled for the group."
	case p.ackCode == protocol.INVALID_RECORD_STATE:
		return "The record cannot be acknowledged. The record is not in the acquired state."
	case p.ackCode != protocol.INVALID_REQUEST || p.malformed || len(p.batches) == 0:
	case p.batches[len(p.batches)-1].First >= p.end:
		return "Batch record not found. The first offset in request is past acquired records."
	default:
		return "Batch record not found. The last offset in request is past acquired records."
	}
	return ""
}
