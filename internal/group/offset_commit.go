package group

import (
	"slices"

	"slipstream/protocol"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetCommit serves OffsetCommit (key 8) v2-10. Topics that the image does not
// have are answered one by one; what is wrong with the member is the answer for
// all the others.
func (c *Coordinator) offsetCommit(r *Request, req *kmsg.OffsetCommitRequest) {
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = req.Version
	asks := c.commitAsks(req, resp)
	if asks == nil {
		c.respond(nil, r, resp)
		return
	}
	g := c.find(req.Group)
	fence := commitFence{}
	code := protocol.NONE
	switch {
	case g != nil:
		code = c.validateCommit(g, &commitBy{req.MemberID, req.InstanceID, req.Generation, req.Version, false}, &fence)
	case req.Generation < 0: // no group to be a member of
	case req.Version >= 9:
		code = protocol.GROUP_ID_NOT_FOUND
	default:
		code = protocol.ILLEGAL_GENERATION
	}
	for i := 0; i < len(asks) && code == protocol.NONE; i++ {
		code = fence.check(asks[i].id, asks[i].part.Partition)
	}
	if code == protocol.NONE {
		code = c.commit(req, asks)
	}
	if code != protocol.NONE {
		for _, a := range asks {
			a.answer.ErrorCode = int16(code)
		}
	}
	c.respond(c.groups[req.Group], r, resp)
}

// commitAsk is one partition of a commit.
type commitAsk struct {
	topic  string
	id     protocol.UUID
	part   *kmsg.OffsetCommitRequestTopicPartition
	answer *kmsg.OffsetCommitResponseTopicPartition
}

// commitAsks lists what of a request can be committed at all, with the places of
// the answers in resp. Everything else is answered there.
func (c *Coordinator) commitAsks(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) []commitAsk {
	var asks []commitAsk
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	for i := range req.Topics {
		t := &req.Topics[i]
		topic, code := c.resolve(t.Topic, t.TopicID, req.Version >= 10)
		answer := &resp.Topics[i]
		answer.Topic, answer.TopicID = t.Topic, t.TopicID
		answer.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			p := &t.Partitions[j]
			at := &answer.Partitions[j]
			at.Partition, at.ErrorCode = p.Partition, int16(code)
			switch {
			case code != protocol.NONE:
			case p.Partition < 0 || p.Partition >= topic.Partitions:
				at.ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
			default:
				asks = append(asks, commitAsk{topic: topic.Name, id: topic.ID, part: p, answer: at})
			}
		}
	}
	return asks
}

// resolve finds the topic that a request means, by name or by id.
func (c *Coordinator) resolve(name string, id protocol.UUID, byID bool) (Topic, protocol.ErrorCode) {
	if byID {
		if t, ok := c.topics.TopicByID(id); ok {
			return t, protocol.NONE
		}
		return Topic{}, protocol.UNKNOWN_TOPIC_ID
	}
	if t, ok := c.topics.TopicByName(name); ok {
		return t, protocol.NONE
	}
	return Topic{}, protocol.UNKNOWN_TOPIC_OR_PARTITION
}

// commit writes what can be written.
func (c *Coordinator) commit(req *kmsg.OffsetCommitRequest, asks []commitAsk) protocol.ErrorCode {
	expires := int64(-1)
	if req.Version <= 4 && req.RetentionTimeMillis != -1 {
		expires = c.now + req.RetentionTimeMillis
	}
	g := c.place(req.Group)
	records := make([]Record, 0, len(asks))
	offsets := make([]committed, 0, len(asks))
	for _, a := range asks {
		if code := c.checkMetadata(a.part.Metadata); code != protocol.NONE {
			a.answer.ErrorCode = int16(code)
			continue
		}
		o := committed{partition: a.part.Partition, leaderEpoch: leaderEpoch(a.part.LeaderEpoch, req.Version >= 6), offset: a.part.Offset,
			metadata: orEmpty(a.part.Metadata), at: c.now, expires: expires, topicID: a.id}
		offsets = append(offsets, o)
		records = append(records, Record{offsetKey(g, a.topic, o.partition), o.value()})
	}
	at := c.position
	if !c.append(g, records...) {
		c.sweep(g)
		return protocol.INVALID_COMMIT_OFFSET_SIZE
	}
	for i := range offsets {
		offsets[i].position = at + int64(i)
		c.putOffset(g, records[i].Key.Name, -1, offsets[i])
	}
	c.stats.OffsetsCommitted += uint64(len(offsets))
	c.sweep(g)
	return protocol.NONE
}

func leaderEpoch(epoch int32, has bool) int32 {
	if !has || epoch < 0 {
		return -1
	}
	return epoch
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// checkMetadata holds offset.metadata.max.bytes, which in Kafka counts UTF-16
// code units.
func (c *Coordinator) checkMetadata(m *string) protocol.ErrorCode {
	limit := int(c.settings.OffsetMetadataMaxBytes)
	if m == nil || len(*m) <= limit {
		return protocol.NONE
	}
	units := 0
	for _, r := range *m {
		if units++; r > 0xffff {
			units++
		}
	}
	if units > limit || len(*m) > maxString {
		return protocol.OFFSET_METADATA_TOO_LARGE
	}
	return protocol.NONE
}

// commitBy is who commits.
type commitBy struct {
	memberID      string
	instance      *string
	generation    int32 // or member epoch
	version       int16
	transactional bool
}

// validateCommit says whether a member may commit. A consumer with an older epoch
// may still commit what it already had then: fence says which.
func (c *Coordinator) validateCommit(g *group, by *commitBy, fence *commitFence) protocol.ErrorCode {
	if g.consumer != nil {
		return c.validateConsumerCommit(g, by, fence)
	}
	cg := g.classic
	if by.generation < 0 && cg.state == classicEmpty {
		return protocol.NONE // a consumer that manages its partitions itself, or an administrator
	}
	var member *classicMember
	switch {
	case by.generation >= 0 || by.memberID != "" || by.instance != nil:
		m, code := cg.validate(by.memberID, by.instance)
		switch {
		case code != protocol.NONE:
			return code
		case by.generation != cg.generation:
			return protocol.ILLEGAL_GENERATION
		}
		member = m
	case !by.transactional && cg.state != classicEmpty:
		return protocol.UNKNOWN_MEMBER_ID
	}
	if by.transactional {
		return protocol.NONE
	}
	if cg.state == completingRebalance {
		return protocol.REBALANCE_IN_PROGRESS // it will know what to do with the next assignment
	}
	if member != nil && (cg.state == classicStable || cg.state == preparingRebalance) {
		c.timers.arm(&member.session, c.now+int64(member.sessionMillis))
	}
	return protocol.NONE
}

// txnOffsetCommit serves TxnOffsetCommit (key 28) v0-5. The driver has checked
// that the producer's transaction is under way; the log checks its epoch.
func (c *Coordinator) txnOffsetCommit(r *Request, req *kmsg.TxnOffsetCommitRequest) {
	resp := kmsg.NewPtrTxnOffsetCommitResponse()
	resp.Version = req.Version
	asks := c.txnAsks(req, resp)
	if asks == nil {
		c.respond(nil, r, resp)
		return
	}
	g := c.find(req.Group)
	fence := commitFence{}
	code := protocol.NONE
	switch {
	case req.Group == "":
		code = protocol.INVALID_GROUP_ID
	case g != nil:
		by := commitBy{req.MemberID, req.InstanceID, req.Generation, req.Version, true}
		if req.Version < 3 {
			by.memberID, by.instance, by.generation = "", nil, -1
		}
		if code = c.validateCommit(g, &by, &fence); code == protocol.STALE_MEMBER_EPOCH {
			code = protocol.ILLEGAL_GENERATION
		}
	case req.Version >= 3 && req.Generation >= 0:
		code = protocol.ILLEGAL_GENERATION
	}
	for i := 0; i < len(asks) && code == protocol.NONE; i++ {
		if fence.check(asks[i].id, asks[i].part.Partition) != protocol.NONE {
			code = protocol.ILLEGAL_GENERATION
		}
	}
	if code != protocol.NONE {
		answerTxn(asks, code)
		c.respond(g, r, resp)
		return
	}
	c.commitPending(r, req, asks, resp)
}

type txnAsk struct {
	topic  string
	id     protocol.UUID
	part   *kmsg.TxnOffsetCommitRequestTopicPartition
	answer *kmsg.TxnOffsetCommitResponseTopicPartition
}

func answerTxn(asks []txnAsk, code protocol.ErrorCode) {
	for _, a := range asks {
		a.answer.ErrorCode = int16(code)
	}
}

func (c *Coordinator) txnAsks(req *kmsg.TxnOffsetCommitRequest, resp *kmsg.TxnOffsetCommitResponse) []txnAsk {
	var asks []txnAsk
	resp.Topics = make([]kmsg.TxnOffsetCommitResponseTopic, len(req.Topics))
	for i := range req.Topics {
		t := &req.Topics[i]
		topic, code := c.resolve(t.Topic, t.TopicID, req.Version >= 6)
		answer := &resp.Topics[i]
		answer.Topic, answer.TopicID = t.Topic, t.TopicID
		answer.Partitions = make([]kmsg.TxnOffsetCommitResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			p := &t.Partitions[j]
			at := &answer.Partitions[j]
			at.Partition, at.ErrorCode = p.Partition, int16(code)
			switch {
			case code != protocol.NONE:
			case p.Partition < 0 || p.Partition >= topic.Partitions:
				at.ErrorCode = int16(protocol.UNKNOWN_TOPIC_OR_PARTITION)
			default:
				asks = append(asks, txnAsk{topic.Name, topic.ID, p, at})
			}
		}
	}
	return asks
}

// commitPending appends a batch of the producer's transaction. The log may refuse
// it, because the producer has been fenced; that concerns nobody else, and what it
// has put into the state is taken back.
func (c *Coordinator) commitPending(r *Request, req *kmsg.TxnOffsetCommitRequest, asks []txnAsk, resp *kmsg.TxnOffsetCommitResponse) {
	g := c.place(req.Group)
	var records []Record
	var offsets []committed
	for _, a := range asks {
		if code := c.checkMetadata(a.part.Metadata); code != protocol.NONE {
			a.answer.ErrorCode = int16(code)
			continue
		}
		o := committed{partition: a.part.Partition, leaderEpoch: leaderEpoch(a.part.LeaderEpoch, req.Version >= 2), offset: a.part.Offset,
			metadata: orEmpty(a.part.Metadata), at: c.now, expires: -1, topicID: a.id, position: c.position + int64(len(offsets))}
		offsets = append(offsets, o)
		records = append(records, Record{offsetKey(g, a.topic, o.partition), o.value()})
	}
	if len(records) == 0 {
		c.respond(nil, r, resp)
		c.sweep(g)
		return
	}
	token := r.Token
	var undo []func()
	done := func(c *Coordinator) { c.respondTo(nil, token, resp) }
	refused := func(c *Coordinator, code protocol.ErrorCode) {
		for _, u := range slices.Backward(undo) {
			u()
		}
		c.sweep(g)
		answerTxn(asks, txnAppendError(code))
		c.respondTo(nil, token, resp)
	}
	if !c.appendTransactional(req.ProducerID, req.ProducerEpoch, records, done, refused) {
		refused(c, protocol.RECORD_LIST_TOO_LARGE)
		return
	}
	for i := range offsets {
		undo = append(undo, c.putPending(g, records[i].Key.Name, req.ProducerID, offsets[i]))
	}
	c.stats.OffsetsCommitted += uint64(len(offsets))
}

// putPending is putOffset for a transaction; what it returns takes the offset back
// if it is still there.
func (c *Coordinator) putPending(g *group, topic string, producerID int64, o committed) (undo func()) {
	var old *committed
	if i, ok := g.offsets.searchPending(producerID); ok {
		if have := g.offsets.pending[i].table.find(topic, o.partition); have != nil {
			copied := *have
			old = &copied
		}
	}
	c.putOffset(g, topic, producerID, o)
	return func() {
		i, ok := g.offsets.searchPending(producerID)
		if !ok {
			return
		}
		table := g.offsets.pending[i].table
		switch have := table.find(topic, o.partition); {
		case have == nil || have.position != o.position:
		case old != nil:
			table.put(topic, *old)
		default:
			table.remove(topic, o.partition)
			if len(table) == 0 {
				g.offsets.pending = slices.Delete(g.offsets.pending, i, i+1)
			}
		}
	}
}

// txnAppendError is what a producer is told when its batch was refused.
func txnAppendError(code protocol.ErrorCode) protocol.ErrorCode {
	switch code {
	case protocol.NETWORK_EXCEPTION:
		return protocol.COORDINATOR_LOAD_IN_PROGRESS
	case protocol.MESSAGE_TOO_LARGE, protocol.RECORD_LIST_TOO_LARGE, protocol.INVALID_FETCH_SIZE:
		return protocol.INVALID_COMMIT_OFFSET_SIZE
	}
	return appendError(code)
}
